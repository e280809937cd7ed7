"""Model signatures made by hand: any signer, any statement, with or without a log entry."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.dsse import IN_TOTO_PAYLOAD_TYPE, pae
from gitchain.instance.keys import key_usage
from tests.support.forged_bundles import b64

FILES = {"config.json": b"{}", "weights/a.bin": b"a", "weights/b.bin": b"b"}
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
Key = ec.EllipticCurvePrivateKey


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP384R1())


def spki(key: Key) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def write(root: Path, files: Mapping[str, bytes] = FILES) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def statement(files: Mapping[str, bytes] = FILES, **changed: Any) -> dict[str, Any]:
    """Return the statement over these files; `changed` replaces fields of the predicate, or `subject`, `kind`."""
    resources = [
        {"name": name, "algorithm": "sha256", "digest": sha256_hex(data)}
        for name, data in sorted(files.items())
    ]
    root = sha256_hex(b"".join(bytes.fromhex(one["digest"]) for one in resources))
    serialization = {
        "method": "files",
        "hash_type": "sha256",
        "allow_symlinks": False,
        "ignore_paths": [".git"],
    }
    kind = changed.pop("kind", "https://model_signing/signature/v1.0")
    subject = changed.pop("subject", [{"name": "model", "digest": {"sha256": root}}])
    serialization |= changed.pop("serialization", {})
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subject,
        "predicateType": kind,
        "predicate": {"serialization": serialization, "resources": resources, **changed},
    }


def bundle(
    value: Mapping[str, Any], key: Key, certificates: Sequence[x509.Certificate] = (), **material: Any
) -> dict[str, Any]:
    """Return a bundle without a log entry, by the key alone or with its certificates."""
    payload = json.dumps(value).encode()
    signature = key.sign(pae(IN_TOTO_PAYLOAD_TYPE, payload), ec.ECDSA(hashes.SHA384()))
    raws = [{"rawBytes": b64(one.public_bytes(Encoding.DER))} for one in certificates]
    signer: dict[str, Any] = (
        {"x509CertificateChain": {"certificates": raws}} if raws else {"publicKey": {"hint": "x"}}
    )
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {**signer, "tlogEntries": [], **material},
        "dsseEnvelope": {
            "payload": b64(payload),
            "payloadType": IN_TOTO_PAYLOAD_TYPE,
            "signatures": [{"sig": b64(signature), "keyid": ""}],
        },
    }


def certificate(
    name: str,
    key: Key,
    issuer: tuple[x509.Certificate, Key] | None = None,
    *,
    ca: bool = True,
    path_length: int | None = None,
    start: datetime = NOW - timedelta(days=1),
    end: datetime = NOW + timedelta(days=1),
    without: type[x509.ExtensionType] | None = None,
    usage: x509.KeyUsage | None = None,
    extended: x509.ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING,
    extra: x509.ExtensionType | None = None,
    digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None = None,
) -> x509.Certificate:
    """Return a certificate, self-signed or issued; a signer's has `ca=False`."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    above, signer = issuer or (None, key)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(above.subject if above else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
    extensions: list[x509.ExtensionType] = [
        x509.BasicConstraints(ca=ca, path_length=path_length),
        usage or key_usage(certificates=ca),
    ]
    extensions += [] if ca else [x509.ExtendedKeyUsage([extended])]
    extensions += [] if extra is None else [extra]
    for one in extensions:
        if without is None or not isinstance(one, without):
            builder = builder.add_extension(one, critical=True)
    return builder.sign(signer, digest or hashes.SHA256())

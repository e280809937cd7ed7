"""Commits with signatures made by hand: CMS by asn1crypto, SSH from the format. Honest unless told otherwise."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from asn1crypto import cms, core
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gitchain.evidence.gitobject import GitObject
from tests.support.bundle_kinds import body_of, v1_entry, v2_entry
from tests.support.forged_bundles import Forge

PAYLOAD = (
    b"tree " + b"a" * 40 + b"\nauthor Ada <ada@example.com> 1700000000 +0000\n"
    b"committer Ada <ada@example.com> 1700000000 +0000\n\na message\n"
)
LOG_ENTRY = "1.3.6.1.4.1.57264.3.1"
TIMESTAMP = "1.2.840.113549.1.9.16.2.14"


def chunk(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def number(field_number: int, value: int) -> bytes:
    return varint(field_number << 3) + varint(value) if value else b""


def varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def protobuf(entry: dict[str, Any]) -> bytes:
    """The entry of a bundle in protobuf, without its body: as gitsign keeps it."""
    decode = base64.b64decode
    proof, kind = entry["inclusionProof"], entry["kindVersion"]
    promise = entry.get("inclusionPromise", {}).get("signedEntryTimestamp", "")
    inner = number(1, int(proof["logIndex"])) + chunk(2, decode(proof["rootHash"]))
    inner += number(3, int(proof["treeSize"])) + b"".join(chunk(4, decode(one)) for one in proof["hashes"])
    inner += chunk(5, chunk(1, proof["checkpoint"]["envelope"].encode()))
    return (
        number(1, int(entry["logIndex"]))
        + chunk(2, chunk(1, decode(entry["logId"]["keyId"])))
        + chunk(3, chunk(1, kind["kind"].encode()) + chunk(2, kind["version"].encode()))
        + number(4, int(entry.get("integratedTime", 0)))
        + chunk(5, chunk(1, decode(promise)) if promise else b"")
        + chunk(6, inner)
    )


Edit = Callable[[Any], object]


@dataclass
class Cms:
    """One CMS signature in the making; each edit sees its part before what follows is made from it."""

    forge: Forge
    payload: bytes = PAYLOAD
    v1: bool = False
    stamped: bool = True
    signed: Edit = field(default=lambda attributes: None)
    unsigned: Edit = field(default=lambda attributes: None)
    info: Edit = field(default=lambda info: None)
    entry: Edit = field(default=lambda entry: None)
    algorithm: hashes.HashAlgorithm = field(default_factory=hashes.SHA256)
    raw: Callable[[bytes], bytes] = field(default=lambda signature: signature)

    def der(self) -> bytes:
        certificate = self.forge.certificate()
        leaf = certificate.public_bytes(Encoding.DER)
        attributes = [
            {"type": "content_type", "values": ["data"]},
            {"type": "signing_time", "values": [cms.Time("utc_time", datetime.now(UTC))]},
            {"type": "message_digest", "values": [hashlib.sha256(self.payload).digest()]},
        ]
        self.signed(attributes)
        signed = cms.CMSAttributes(attributes)
        message = signed.dump()
        signature = self.raw(self.forge.key.sign(message, ec.ECDSA(self.algorithm)))
        more = [
            {
                "type": LOG_ENTRY,
                "values": [core.OctetString(protobuf(self._logged(leaf, message, signature)))],
            }
        ]
        if self.stamped:
            token = cms.ContentInfo.load(self._token(signature))
            more.append({"type": TIMESTAMP, "values": [token]})
        self.unsigned(more)
        chosen = _certificate(leaf)
        signer = {
            "version": "v1",
            "sid": cms.SignerIdentifier(
                "issuer_and_serial_number",
                {"issuer": chosen.issuer, "serial_number": chosen.serial_number},
            ),
            "digest_algorithm": {"algorithm": "sha256"},
            "signed_attrs": signed,
            "signature_algorithm": {"algorithm": "sha256_ecdsa"},
            "signature": signature,
            "unsigned_attrs": cms.CMSAttributes(more) if more else None,
        }
        info = {
            "version": "v1",
            "digest_algorithms": [{"algorithm": "sha256"}],
            "encap_content_info": {"content_type": "data"},
            "certificates": [cms.CertificateChoices("certificate", chosen)],
            "signer_infos": [signer],
        }
        self.info(info)
        # Not with force: that would write all that was ever parsed in this process anew, twice for each level.
        return bytes(cms.ContentInfo({"content_type": "signed_data", "content": cms.SignedData(info)}).dump())

    def commit(self) -> GitObject:
        return signed_commit(armor("SIGNED MESSAGE", self.der()), self.payload)

    def _logged(self, leaf: bytes, message: bytes, signature: bytes) -> dict[str, Any]:
        kind = f"hashedrekord 0.0.{1 if self.v1 else 2}"
        body = json.dumps(
            body_of(kind, self.forge.key, leaf, message, signature, b""),
            sort_keys=True,
            separators=(",", ":"),
        ).encode()
        entry = v1_entry(kind, body) if self.v1 else v2_entry(self.forge.instance, body)
        self.entry(entry)
        return entry

    def _token(self, signature: bytes) -> bytes:
        return core.Sequence.load(self.forge.stamp(signature))[1].dump()  # type: ignore[no-any-return]


def _certificate(der: bytes) -> Any:
    from asn1crypto import x509

    return x509.Certificate.load(der)


def armor(label: str, data: bytes) -> bytes:
    text = base64.b64encode(data).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    return "\n".join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----"]).encode()


def signed_commit(armored: bytes, payload: bytes = PAYLOAD) -> GitObject:
    head, _, message = payload.partition(b"\n\n")
    raw = head + b"\ngpgsig " + armored.replace(b"\n", b"\n ") + b"\n\n" + message
    oid = hashlib.sha1(b"commit %d\0" % len(raw) + raw, usedforsecurity=False).hexdigest()
    return GitObject.parse("commit", oid, raw)


def string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def mpint(value: int) -> bytes:
    return string(value.to_bytes(value.bit_length() // 8 + 1))


def ssh_blob(public: Any) -> bytes:
    text: bytes = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return base64.b64decode(text.split()[1])


def sshsig(
    blob: bytes,
    sign: Callable[[bytes], bytes],
    *,
    namespace: bytes = b"git",
    reserved: bytes = b"",
    hashed: bytes = b"sha512",
    payload: bytes = PAYLOAD,
    magic: bytes = b"SSHSIG",
    version: int = 1,
) -> bytes:
    """An SSH signature by `sign`, which returns algorithm and signature in SSH's format."""
    digest = hashlib.new(hashed.decode() if hashed in {b"sha256", b"sha512"} else "sha512", payload).digest()
    inner = sign(b"SSHSIG" + b"".join(map(string, (namespace, reserved, hashed, digest))))
    head = magic + struct.pack(">I", version)
    return head + b"".join(map(string, (blob, namespace, reserved, hashed, inner)))

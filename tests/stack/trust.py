"""The public half of the tests' stack as Sigstore's trusted root, signing config and ClientTrustConfig.

Formats: https://github.com/sigstore/protobuf-specs (trusted root v0.1, signing config v0.2).
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.stack.keys import public_der

TYPES = "application/vnd.dev.sigstore."
OPERATOR = "gitchain.test"
ED25519 = b"\x01"  # the algorithm, in a note key id
START = datetime.now(UTC) - timedelta(minutes=4)  # after the certificates' own, before any signature


@dataclass(frozen=True, slots=True)
class LogKey:
    """A log's key: `origin` is set where the log's id hangs on it, that is for Rekor v2."""

    url: str
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    origin: str = ""

    @property
    def key_id(self) -> bytes:
        """Return the log id: the untruncated note key id (https://c2sp.org/signed-note), SHA-256 of SPKI for ECDSA."""
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            return hashlib.sha256(self.origin.encode() + b"\n" + ED25519 + raw).digest()
        return hashlib.sha256(public_der(self.key)).digest()

    @property
    def verifier(self) -> str:
        """Return the key as a note verifier (https://c2sp.org/signed-note), which log tools take; Ed25519 only."""
        assert isinstance(self.key, ed25519.Ed25519PrivateKey)
        raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return f"{self.origin}+{self.key_id[:4].hex()}+{_b64(ED25519 + raw)}"

    def document(self) -> dict[str, object]:
        """Return the log as the trusted root has it."""
        pure = isinstance(self.key, ed25519.Ed25519PrivateKey)
        details = "PKIX_ED25519" if pure else "PKIX_ECDSA_P256_SHA_256"
        key = {"rawBytes": _b64(public_der(self.key)), "keyDetails": details, "validFor": _since()}
        names = {"baseUrl": self.url, "hashAlgorithm": "SHA2_256"}
        return names | {"publicKey": key, "logId": {"keyId": _b64(self.key_id)}}


@dataclass(frozen=True, slots=True)
class Services:
    """Where each service is, and what it signs with."""

    fulcio: str
    issuer: str
    tsa: str
    rekor: str
    logs: tuple[LogKey, ...]
    ct: LogKey
    authority: tuple[x509.Certificate, ...]
    timestamps: tuple[x509.Certificate, ...]

    def trusted_root(self) -> dict[str, object]:
        """Return the trusted root: every log, and both authorities."""
        return {
            "mediaType": TYPES + "trustedroot+json;version=0.1",
            "tlogs": [item.document() for item in self.logs],
            "certificateAuthorities": [_authority(self.fulcio, self.authority)],
            "ctlogs": [self.ct.document()],
            "timestampAuthorities": [_authority(self.tsa, self.timestamps)],
        }

    def signing_config(self, rekor: str = "") -> dict[str, object]:
        """Return the signing config; its log is the first one, or the one at `rekor`."""
        return {
            "mediaType": TYPES + "signingconfig.v0.2+json",
            "caUrls": _service(self.fulcio, 1),
            "oidcUrls": _service(self.issuer, 1),
            "rekorTlogUrls": _service(rekor or self.rekor, 2),
            "tsaUrls": _service(self.tsa, 1),
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaConfig": {"selector": "ANY"},
        }

    def write(self, folder: Path) -> None:
        """Write trusted_root.json, signing_config.json and trust.json, which holds both."""
        root, signing = self.trusted_root(), self.signing_config()
        both = {
            "mediaType": TYPES + "clienttrustconfig.v0.1+json",
            "trustedRoot": root,
            "signingConfig": signing,
        }
        for name, document in (("trusted_root", root), ("signing_config", signing), ("trust", both)):
            (folder / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _authority(uri: str, chain: tuple[x509.Certificate, ...]) -> dict[str, object]:
    return {
        "subject": {"organization": OPERATOR, "commonName": OPERATOR},
        "uri": uri,
        "certChain": {
            "certificates": [{"rawBytes": _b64(item.public_bytes(Encoding.DER))} for item in chain]
        },
        "validFor": _since(),
    }


def _service(url: str, version: int) -> list[dict[str, object]]:
    return [{"url": url, "majorApiVersion": version, "validFor": _since(), "operator": OPERATOR}]


def _since() -> dict[str, str]:
    return {"start": f"{START:%Y-%m-%dT%H:%M:%SZ}"}


def _b64(data: bytes) -> str:
    return b64encode(data).decode()

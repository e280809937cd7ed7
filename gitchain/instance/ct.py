"""Signed certificate timestamps of the instance's CT log (RFC 6962 sections 3.2 and 3.3).

One SCT is embedded in every certificate that the CA issues. Its signature covers the certificate without the
SCT.
It does NOT keep a log of certificates: the transparency log holds every certificate that signed something.
"""

from __future__ import annotations

import struct
from datetime import datetime
from hashlib import sha256

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from gitchain.instance import der
from gitchain.instance.keys import public_der

SCT_EXTENSION_OID = "1.3.6.1.4.1.11129.2.4.2"
_V1 = 0
_CERTIFICATE_TIMESTAMP = 0
_PRECERT_ENTRY = 1
_SHA256_ECDSA = b"\x04\x03"  # RFC 5246 section 7.4.1.4.1


def log_id(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the CT log id: SHA-256 of the SubjectPublicKeyInfo (RFC 6962 section 3.2)."""
    return sha256(public_der(key)).digest()


def sct_extension(
    key: ec.EllipticCurvePrivateKey, issuer: ec.EllipticCurvePublicKey, precertificate: bytes, now: datetime
) -> bytes:
    """Return the SCT list extension for a certificate whose TBS, without it, is `precertificate`."""
    moment = int(now.timestamp() * 1000)
    entry = sha256(public_der(issuer)).digest() + len(precertificate).to_bytes(3, "big") + precertificate
    signed = struct.pack(">BBQH", _V1, _CERTIFICATE_TIMESTAMP, moment, _PRECERT_ENTRY) + entry + b"\0\0"
    signature = key.sign(signed, ec.ECDSA(hashes.SHA256()))
    sct = struct.pack(">B32sQH", _V1, log_id(key.public_key()), moment, 0)
    sct += _SHA256_ECDSA + struct.pack(">H", len(signature)) + signature
    return der.octets(struct.pack(">HH", len(sct) + 2, len(sct)) + sct)

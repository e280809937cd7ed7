"""Parse and build DSSE envelopes with their signed bytes (the PAE), and parse the signature over a separate file.

The signature covers `DSSEv1 <len type> <type> <len payload> <payload>`, lengths in bytes of UTF-8.
A message signature covers the bytes of a file, which it may name by digest: a hint that has to be true.

Format: https://github.com/secure-systems-lab/dsse/blob/master/{protocol,envelope}.md
https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_common.proto (MessageSignature)
Does NOT verify signatures, and does not read the payload.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.canonical import MAX_JSON_BYTES, Json
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.fields import (
    as_object,
    find_object,
    find_string,
    get_array,
    get_bytes,
    get_string,
)

AttestationId = NewType("AttestationId", str)
"""The id of an attestation: 64 hex digits, see attestation_id()."""

IN_TOTO_PAYLOAD_TYPE = "application/vnd.in-toto+json"

MAX_PAYLOAD_TYPE = 256
"""Longest payload type: a media type; IANA allows 127 characters on each side of the slash."""

MAX_SIGNATURES = 32
"""Most signatures that are counted. One is allowed; beyond the limit, the error is a LimitError."""

MAX_SIGNATURE_BYTES = 1024
"""Longest signature: RSA-8192; Sigstore's are ECDSA P-256, 72 bytes."""

MAX_KEYID = 1024
"""Longest key id, which is an unauthenticated hint and never decides anything."""


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the pre-authentication encoding: the bytes that a DSSE signature covers (protocol section 1)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def attestation_id(payload: bytes) -> AttestationId:
    """Return the id of the attestation with this in-toto payload: SHA-256 over its PAE, in hex.

    The id is over what was signed, so that no change to a bundle's unsigned parts makes a second one.
    """
    return AttestationId(sha256_hex(pae(IN_TOTO_PAYLOAD_TYPE, payload)))


@dataclass(frozen=True, slots=True)
class Envelope:
    """A DSSE envelope with exactly one signature, as a Sigstore bundle carries it."""

    payload_type: str
    payload: bytes
    signature: bytes
    keyid: str = ""

    @classmethod
    def parse(cls, value: Json, where: str = "dsseEnvelope") -> Envelope:
        """Return the envelope that the JSON object holds.

        Raises MalformedError if a field is missing or wrong or there is not exactly one signature, LimitError
        beyond the limits above.
        """
        source = as_object(value, where)
        payload_type = get_string(source, "payloadType", where)
        if not 1 <= len(payload_type) <= MAX_PAYLOAD_TYPE or not payload_type.isprintable():
            raise MalformedError("payload type is malformed", where=where, got=ascii(payload_type[:100]))
        payload = get_bytes(source, "payload", where)
        if len(payload) > MAX_JSON_BYTES:
            raise LimitError("payload is too large", where=where, expected=f"at most {MAX_JSON_BYTES} bytes")
        signatures = get_array(source, "signatures", where, limit=MAX_SIGNATURES)
        if len(signatures) != 1:
            raise MalformedError(
                "envelope must hold one signature", where=where, expected="1", got=str(len(signatures))
            )
        inner = f"{where}.signatures[0]"
        signature = _signature(get_bytes(as_object(signatures[0], inner), "sig", inner), inner)
        keyid = find_string(as_object(signatures[0], inner), "keyid", inner) or ""
        if len(keyid) > MAX_KEYID:
            raise LimitError("key id is too long", where=inner, expected=f"at most {MAX_KEYID} characters")
        return cls(payload_type, payload, signature, keyid)


DIGESTS = {"SHA2_256": "sha256", "SHA2_384": "sha384", "SHA2_512": "sha512"}
"""The digests that a message signature may name, by Sigstore's names, and hashlib's name for each."""


@dataclass(frozen=True, slots=True)
class MessageSignature:
    """A signature over a file, and the file's digest if the bundle names it (`algorithm` is hashlib's name)."""

    signature: bytes
    algorithm: str = ""
    digest: bytes = b""

    @classmethod
    def parse(cls, value: Json, where: str = "messageSignature") -> MessageSignature:
        """Return the message signature that the JSON object holds, or raise MalformedError."""
        source = as_object(value, where)
        signature = _signature(get_bytes(source, "signature", where), where)
        named = find_object(source, "messageDigest", where)
        if named is None:
            return cls(signature)
        inner = f"{where}.messageDigest"
        algorithm, digest = get_string(named, "algorithm", inner), get_bytes(named, "digest", inner)
        if algorithm not in DIGESTS:
            raise MalformedError(
                "digest is of an unknown kind", where=inner, expected=", ".join(DIGESTS), got=ascii(algorithm)
            )
        return cls(signature, DIGESTS[algorithm], digest)


def _signature(data: bytes, where: str) -> bytes:
    if not 1 <= len(data) <= MAX_SIGNATURE_BYTES:
        raise MalformedError("signature has no possible length", where=where, got=str(len(data)))
    return data

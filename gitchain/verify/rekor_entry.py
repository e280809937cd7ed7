"""L12: check that the log entry is about this signature: same digest, signature, and certificate or key.

| kind | version | log | of |
|---|---|---|---|
| `hashedrekord` | 0.0.2 | Rekor v2 | an envelope (digest of its PAE) or a file |
| `hashedrekord` | 0.0.1 | Rekor v1 | a file |
| `dsse` | 0.0.1 | Rekor v1 | an envelope |
| `intoto` | 0.0.2 | Rekor v1, no longer written | an envelope |

The expected body is built from the bundle and compared as a whole. Only the digest of the envelope's JSON, which
Rekor v1 also stores, cannot be computed afterwards.

Spec: https://github.com/sigstore/rekor/tree/main/pkg/types, https://github.com/sigstore/rekor-tiles/blob/main/CLIENTS.md
Does NOT verify that the entry is in the log: `gitchain.verify.log_inclusion` does.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gitchain.errors import GitchainError, InclusionError, MalformedError
from gitchain.evidence.canonical import Json, canonical_json, strict_json
from gitchain.evidence.dsse import Envelope
from gitchain.evidence.entry import LogEntry
from gitchain.evidence.fields import decode_base64, encode_base64
from gitchain.verify.keys import Key

_DETAILS = {"sha256": "SHA2_256", "sha384": "SHA2_384", "sha512": "SHA2_512"}
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class SignatureRecord:
    """A signature with everything that a log entry can contain.

    `digest` is the signed digest, empty for keys that sign the bytes themselves. `certificate` is None for a bare key,
    `envelope` is None for a signature over a file.
    """

    signature: bytes = field(repr=False)
    digest: bytes
    key: Key
    certificate: bytes | None = field(repr=False)
    envelope: Envelope | None = field(repr=False)


def is_v2(entry: LogEntry) -> bool:
    """Return whether the entry is of Rekor v2. Others are of Rekor v1, or unknown."""
    return (entry.kind, entry.version) == ("hashedrekord", "0.0.2")


def check_body(entry: LogEntry, signed: SignatureRecord) -> None:
    """Check L12, and L7 for Rekor v2 (canonical JSON): the entry is about this signature. Raises InclusionError."""
    kind = (entry.kind, entry.version, signed.envelope is not None)
    if kind not in _BODIES:
        raise InclusionError(
            "entry is of a kind that cannot be about this", got=ascii(f"{entry.kind} {entry.version}")
        )
    if not signed.digest and entry.kind == "hashedrekord":
        raise InclusionError("entry holds a digest, and this key signs none", got=signed.key.details)
    if is_v2(entry) and _ascii_json(_v2(signed, None)) == entry.body:
        return  # the usual case, without parsing the body
    found = _read(entry)
    if is_v2(entry) and canonical_json(found) != entry.body:  # L7
        raise InclusionError("log entry body is not canonical JSON", where="canonicalizedBody")
    expected = _BODIES[kind](signed, found)
    if found != expected:
        where = _difference(expected, found, "body")
        raise InclusionError("log entry is about another signature", where=where)


def body_of(signed: SignatureRecord, *, v2: bool) -> bytes:
    """Return the body of the `hashedrekord` entry for this signature over a file."""
    return _ascii_json((_v2 if v2 else _v1_file)(signed, None))


def _ascii_json(value: Json) -> bytes:
    """Return the canonical JSON (RFC 8785) of a value with ASCII text alone."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _read(entry: LogEntry) -> Json:
    try:
        return strict_json(entry.body, "log entry")
    except GitchainError as error:
        raise InclusionError("log entry body cannot be read", got=str(error)) from error


def _v2(signed: SignatureRecord, _found: Json) -> Json:
    signer: dict[str, Json] = {"keyDetails": signed.key.details}
    if signed.certificate is None:
        signer["publicKey"] = {"rawBytes": encode_base64(signed.key.spki)}
    else:
        signer["x509Certificate"] = {"rawBytes": encode_base64(signed.certificate)}
    data: Json = {"algorithm": _DETAILS[signed.key.algorithm], "digest": encode_base64(signed.digest)}
    signature: Json = {"content": encode_base64(signed.signature), "verifier": signer}
    spec: Json = {"hashedRekordV002": {"data": data, "signature": signature}}
    return {"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": spec}


def _v1_file(signed: SignatureRecord, _found: Json) -> Json:
    data: Json = {"hash": {"algorithm": signed.key.algorithm, "value": signed.digest.hex()}}
    signature: Json = {"content": encode_base64(signed.signature), "publicKey": {"content": _pem(signed)}}
    spec: Json = {"data": data, "signature": signature}
    return {"apiVersion": "0.0.1", "kind": "hashedrekord", "spec": spec}


def _v1_envelope(signed: SignatureRecord, found: Json) -> Json:
    signature = {"signature": encode_base64(signed.signature), "verifier": _pem(signed)}
    spec: dict[str, Json] = {
        "envelopeHash": _some_hash(found, "spec", "envelopeHash"),
        "payloadHash": _payload_hash(signed),
        "signatures": [signature],
    }
    return {"apiVersion": "0.0.1", "kind": "dsse", "spec": spec}


def _v1_intoto(signed: SignatureRecord, found: Json) -> Json:
    """Return the body of an `intoto` entry: the envelope, its fields encoded twice, usually without payload."""
    envelope = _envelope(signed)
    signature: dict[str, Json] = {"publicKey": _pem_like(found, signed), "sig": _twice(signed.signature)}
    keyid = _at(_first_signature(found), "keyid")
    if isinstance(keyid, str):  # of the uploaded envelope: a hint, which is not signed
        signature["keyid"] = keyid
    logged: dict[str, Json] = {"payloadType": envelope.payload_type, "signatures": [signature]}
    if _at(found, "spec", "content", "envelope", "payload") is not None:
        logged["payload"] = _twice(envelope.payload)
    content: dict[str, Json] = {
        "envelope": logged,
        "hash": _some_hash(found, "spec", "content", "hash"),
        "payloadHash": _payload_hash(signed),
    }
    return {"apiVersion": "0.0.2", "kind": "intoto", "spec": {"content": content}}


_BODIES: Mapping[tuple[str, str, bool], Callable[[SignatureRecord, Json], Json]] = {
    ("hashedrekord", "0.0.2", True): _v2,
    ("hashedrekord", "0.0.2", False): _v2,
    ("hashedrekord", "0.0.1", False): _v1_file,
    ("dsse", "0.0.1", True): _v1_envelope,
    ("intoto", "0.0.2", True): _v1_intoto,
}


def _envelope(signed: SignatureRecord) -> Envelope:
    assert signed.envelope is not None  # noqa: S101 - the table above has these kinds for envelopes alone
    return signed.envelope


def _payload_hash(signed: SignatureRecord) -> Json:
    payload = _envelope(signed).payload
    return {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()}


def _some_hash(found: Json, *path: str) -> Json:
    """Return the hash at this place of the body, of the uploaded envelope. Raises InclusionError without one."""
    value = _at(found, *path, "value")
    if not isinstance(value, str) or _SHA256.fullmatch(value) is None:
        raise InclusionError("log entry is about another signature", where=".".join(("body", *path, "value")))
    return {"algorithm": "sha256", "value": value}


def _at(value: Json, *path: str) -> Json:
    for key in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(key)
    return value


def _difference(expected: Json, found: Json, where: str) -> str:
    """Return the path of the first field that differs."""
    if not isinstance(expected, Mapping) or not isinstance(found, Mapping):
        return where
    one_sided = expected.keys() ^ found.keys()
    key = min(one_sided or [key for key in expected if expected[key] != found[key]])
    return _difference(expected.get(key), found.get(key), f"{where}.{ascii(key)[1:-1]}"[:200])


def _pem(signed: SignatureRecord) -> str:
    """Return the certificate or key as Rekor v1 stores it: base64 of its PEM."""
    if signed.certificate is None:
        return encode_base64(signed.key.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return encode_base64(x509.load_der_x509_certificate(signed.certificate).public_bytes(Encoding.PEM))


def _first_signature(found: Json) -> Json:
    signatures = _at(found, "spec", "content", "envelope", "signatures")
    return signatures[0] if isinstance(signatures, list) and signatures else None


def _pem_like(found: Json, signed: SignatureRecord) -> str:
    """Return the certificate or key from the body, if it differs in line endings alone."""
    given, ours = _at(_first_signature(found), "publicKey"), _pem(signed)
    with suppress(MalformedError):
        if isinstance(given, str) and _unwrapped(given) == _unwrapped(ours):
            return given
    return ours


def _unwrapped(text: str) -> bytes:
    return decode_base64(text, "publicKey").replace(b"\n", b"")


def _twice(data: bytes) -> str:
    return encode_base64(encode_base64(data).encode())

"""The one kind of entry that the log takes: Rekor v2's `hashedrekord` 0.0.2.

    request   {"hashedRekordRequestV002":{"digest":…,"signature":<S>}}
    body      {"apiVersion":…,"kind":"hashedrekord","spec":{"hashedRekordV002":{"data":…,"signature":<S>}}}
    <S>       {"content":…,"verifier":{"keyDetails":…,"x509Certificate":{"rawBytes":…}}}   or a publicKey there

Format: https://github.com/sigstore/rekor-tiles/blob/main/CLIENTS.md; a body is canonical JSON (RFC 8785).
An entry is taken only if this instance issued its certificate, which is valid now, and its signature verifies
over the digest. An entry of a bare key is accepted only from this process, which can read the instance's own keys:
over HTTP it would let every user of this machine write to the log.
It does NOT see payloads: a DSSE envelope is logged as the SHA-256 of its PAE.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from gitchain.errors import MalformedError, SignatureError
from gitchain.evidence.canonical import Json, canonical_json
from gitchain.evidence.fields import encode_base64
from gitchain.verify.keys import Key

KIND = "hashedrekord"
VERSION = "0.0.2"
KEY_DETAILS = "PKIX_ECDSA_P256_SHA_256"
MAX_FIELD_CHARS = 32768
CLOCK_STEP = timedelta(seconds=5)  # a client's second may begin before ours


def entry_body(request: object, issuer: x509.Certificate, now: datetime, *, keys: bool = False) -> bytes:
    """Return the canonical body to log for a CreateEntryRequest; `keys` is whether a bare key may have signed.

    MalformedError if the request has not exactly that form. Raises SignatureError if the certificate is not
    `issuer`'s or not valid now, or the signature does not verify over the digest.
    """
    inner = _object(request, "request", "hashedRekordRequestV002")["hashedRekordRequestV002"]
    fields = _object(inner, "hashedRekordRequestV002", "digest", "signature")
    signature = _object(fields["signature"], "signature", "content", "verifier")
    digest = _bytes(fields["digest"], "digest")
    content = _bytes(signature["content"], "content")
    if keys and isinstance(signature["verifier"], dict) and "publicKey" in signature["verifier"]:
        return _body_of_key(digest, content, signature["verifier"])
    verifier = _object(signature["verifier"], "verifier", "keyDetails", "x509Certificate")
    certificate = _object(verifier["x509Certificate"], "x509Certificate", "rawBytes")
    if verifier["keyDetails"] != KEY_DETAILS:
        raise MalformedError("the key type is not accepted", where="keyDetails", expected=KEY_DETAILS)
    raw = _bytes(certificate["rawBytes"], "rawBytes")
    _check_signature(digest, content, _check_certificate(raw, issuer, now))
    return _render("SHA2_256", digest, _signature(content, raw))


def request_of(digest: bytes, signature: bytes, certificate: bytes) -> Mapping[str, Json]:
    """Return the CreateEntryRequest for a signature over a SHA-256 digest and its DER certificate."""
    return {
        "hashedRekordRequestV002": {
            "digest": encode_base64(digest),
            "signature": _signature(signature, certificate),
        }
    }


def request_of_key(digest: bytes, signature: bytes, key: Key) -> Mapping[str, Json]:
    """Return the CreateEntryRequest for a signature over the digest by a key without a certificate."""
    return {
        "hashedRekordRequestV002": {
            "digest": encode_base64(digest),
            "signature": _key_signature(signature, key),
        }
    }


def _body_of_key(digest: bytes, signature: bytes, verifier: Mapping[str, object]) -> bytes:
    public = _object(
        _object(verifier, "verifier", "keyDetails", "publicKey")["publicKey"], "publicKey", "rawBytes"
    )
    key = Key.load(_bytes(public["rawBytes"], "rawBytes"))
    if not key.algorithm or verifier["keyDetails"] != key.details:
        raise MalformedError("the key type is not accepted", where="keyDetails", got=key.details)
    key.verify_digest(signature, digest)
    algorithm = key.algorithm.replace("sha", "SHA2_")
    return _render(algorithm, digest, _key_signature(signature, key))


def _render(algorithm: str, digest: bytes, signature: Json) -> bytes:
    data: Json = {"algorithm": algorithm, "digest": encode_base64(digest)}
    spec: Json = {"data": data, "signature": signature}
    return canonical_json({"apiVersion": VERSION, "kind": KIND, "spec": {"hashedRekordV002": spec}})


def _signature(signature: bytes, certificate: bytes) -> Json:
    verifier: Json = {"keyDetails": KEY_DETAILS, "x509Certificate": {"rawBytes": encode_base64(certificate)}}
    return {"content": encode_base64(signature), "verifier": verifier}


def _key_signature(signature: bytes, key: Key) -> Json:
    verifier: Json = {"keyDetails": key.details, "publicKey": {"rawBytes": encode_base64(key.spki)}}
    return {"content": encode_base64(signature), "verifier": verifier}


def _check_certificate(raw: bytes, issuer: x509.Certificate, now: datetime) -> ec.EllipticCurvePublicKey:
    try:
        certificate = x509.load_der_x509_certificate(raw)
        certificate.verify_directly_issued_by(issuer)
        key = certificate.public_key()
    except InvalidSignature as error:
        raise SignatureError(
            "the certificate was not issued by this instance", where="x509Certificate"
        ) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SignatureError(
            "the certificate is not one of this instance", where="x509Certificate"
        ) from error
    if not certificate.not_valid_before_utc - CLOCK_STEP <= now <= certificate.not_valid_after_utc:
        raise SignatureError(
            "the certificate is not valid now",
            where="x509Certificate",
            expected=f"{certificate.not_valid_before_utc:%FT%TZ} to {certificate.not_valid_after_utc:%FT%TZ}",
            got=f"{now:%FT%TZ}",
        )
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SignatureError("the certificate's key is not ECDSA P-256", where="x509Certificate")
    return key


def _check_signature(digest: bytes, signature: bytes, key: ec.EllipticCurvePublicKey) -> None:
    if len(digest) != 32:
        raise MalformedError(
            "the digest is not SHA-256", where="digest", expected="32 bytes", got=str(len(digest))
        )
    try:
        key.verify(signature, digest, ec.ECDSA(Prehashed(hashes.SHA256())))
    except InvalidSignature as error:
        raise SignatureError("the entry's signature does not verify", where="signature") from error


def _object(value: object, where: str, *names: str) -> Mapping[str, object]:
    if isinstance(value, dict) and set(value) == set(names):
        return value
    raise MalformedError(
        "the entry has not the form of hashedrekord 0.0.2", where=where, expected=" ".join(names)
    )


def _bytes(value: object, where: str) -> bytes:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_FIELD_CHARS:
        raise MalformedError("a field is not base64 text of a fair length", where=where)
    try:
        return b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError("a field is not base64", where=where) from error

"""Parse an OpenPGP public key in a layout: return its packets, and fingerprint and DER of each key that could sign.

A block holds one public key with its subkeys. Each that could sign must be of a kind that `gitchain.layout.keys` accepts:
RSA, ECDSA, or EdDSA on Ed25519. Subkeys that only encrypt are accepted too; DSA is not.
Does NOT check what a key may still be used for: `gpg` reads its flags, its expiry and its revocation at verification.

Format: `gitchain.evidence.openpgp`, RFC 9580 section 9.1 and 9.2.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from gitchain.errors import GitchainError, LayoutError, MalformedError
from gitchain.evidence.openpgp import PUBLIC_KEY, PgpKey, PgpReader, dearmored, parse_key
from gitchain.layout.keys import spki_digest

if TYPE_CHECKING:
    from gitchain.layout.keys import Accepted

MAX_BLOCK_CHARS = 32 * 1024
"""Longest block: a key with a few names and subkeys has 5 kB; with the signatures of others it can have any size."""

RSA, ECDSA, EDDSA = 1, 19, 22
"""Algorithms that sign, by their numbers."""

_ENCRYPT = frozenset({2, 16, 18, 25, 26})
_CURVES = {
    bytes.fromhex("2a8648ce3d030107"): "SECP256R1",
    bytes.fromhex("2b81040022"): "SECP384R1",
    bytes.fromhex("2b81040023"): "SECP521R1",
}
_ED25519 = bytes.fromhex("2b06010401da470f01")
_NATIVE = b"\x40"  # before a point of Ed25519 that is as the curve spells it
_KINDS = "RSA, ECDSA on P-256/384/521, EdDSA on Ed25519"
_FINGERPRINT = re.compile(r"[0-9A-F]{40}")
_HELP = "gpg --armor --export-options export-minimal --export FINGERPRINT"


def read_block(text: str) -> bytes:
    """Return the packets in the block of a public key. Raises LayoutError for anything else, without a private key."""
    if "PRIVATE KEY" in text:
        raise LayoutError(
            "the layout contains a private key",
            where="openpgp",
            expected=f"-----BEGIN {PUBLIC_KEY}-----",
            help=f"every reader of the file has the key: revoke it. To print the public key: {_HELP}",
        )
    if len(text) > MAX_BLOCK_CHARS:
        raise LayoutError(
            "key is too long", where="openpgp", expected=f"at most {MAX_BLOCK_CHARS} characters", help=_HELP
        )
    try:
        return dearmored(text.replace("\r\n", "\n").encode("ascii", "replace"), PUBLIC_KEY)
    except MalformedError as error:
        raise _here(error) from error


@lru_cache(maxsize=1024)
def signing_keys(packets: bytes) -> tuple[tuple[str, bytes], ...]:
    """Return fingerprint and DER of the primary key, then of each subkey that could sign.

    Raises LayoutError unless the packets are one accepted public key.
    """
    try:
        primary, *subkeys = parse_key(packets)
        keys = (primary, *(one for one in subkeys if one.algorithm not in _ENCRYPT))
        return tuple((one.fingerprint, _spki(one)) for one in keys)
    except GitchainError as error:
        raise _here(error) from error


def check_fingerprint(packets: bytes, fingerprint: str) -> None:
    """Raise LayoutError unless this is the primary key's whole fingerprint, as gpg prints it without spaces."""
    if _FINGERPRINT.fullmatch(fingerprint) is None:
        raise LayoutError(
            "not the whole fingerprint of an OpenPGP key",
            where="fingerprint",
            expected="40 digits, 0-9 and A-F, without spaces",
            got=ascii(fingerprint[:80]),
        )
    found = signing_keys(packets)[0][0]
    if fingerprint != found:
        raise LayoutError(
            "fingerprint is another key's", where="fingerprint", expected=found, got=fingerprint
        )


def _here(error: GitchainError) -> LayoutError:
    return LayoutError(error.what, where="openpgp", expected=error.expected, got=error.got, help=_HELP)


def _spki(key: PgpKey) -> bytes:
    """Return the DER of a key that signs. Raises MalformedError or LayoutError unless it is of an accepted kind."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    source = PgpReader(key.numbers)
    try:
        public = _public(key.algorithm, source)
    except ValueError as error:
        raise MalformedError("not a public key", got=key.fingerprint) from error
    source.end()
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    spki_digest(spki)
    return spki


def _public(algorithm: int, source: PgpReader) -> Accepted:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if algorithm == RSA:
        modulus, exponent = (int.from_bytes(source.integer()) for _ in range(2))
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    if algorithm in {ECDSA, EDDSA}:
        curve, point = source.take(source.number(1)), source.integer()
        if algorithm == EDDSA and curve == _ED25519 and point[:1] == _NATIVE:
            return ed25519.Ed25519PublicKey.from_public_bytes(point[1:])
        if algorithm == ECDSA and curve in _CURVES:
            return ec.EllipticCurvePublicKey.from_encoded_point(getattr(ec, _CURVES[curve])(), point)
    raise MalformedError("OpenPGP key is of a kind that is not accepted", expected=_KINDS, got=str(algorithm))

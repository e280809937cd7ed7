"""Verify one bundle for one file: `gitchain bundle verify`. No layout, repository or network.

The trusted root is a file, or sigstore-python's copy for the public or staging instance. The required signer is exact:
an identity with its issuer, or a key. Only `gitchain verify` checks layouts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.errors import GitchainError, SignatureError, UsageError, os_errors_as
from gitchain.evidence.bundle import MAX_BUNDLE_BYTES, Bundle
from gitchain.evidence.subjects import read_subjects
from gitchain.platform.files import open_regular, read_input
from gitchain.trust.load_profile import load_profile

if TYPE_CHECKING:
    from gitchain.layout.model import Identity
    from gitchain.verify.keys import Key
    from gitchain.verify.trust import Trust
    from gitchain.verify.verified import VerifiedArtifact

DIGESTS = ("sha256", "sha384", "sha512")
"""Digest algorithms that every file is hashed with, because any of them may be signed."""
MAX_KEY_BYTES = 64 * 1024
_DIGEST = re.compile(r"(sha256|sha384|sha512|sha3_256|sha3_384|sha3_512):((?:[0-9a-f]{2})+)")
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class ExpectedSigner:
    """The required signer: an identity, which a key (DER SubjectPublicKeyInfo) has too."""

    identity: Identity
    keys: tuple[bytes, ...] = ()


def verify_file(
    bundle: Path, target: str, wanted: ExpectedSigner, trust: Trust, now: datetime
) -> VerifiedArtifact:
    """Return the verified content of the bundle for a file or `sha256:…`.

    Raises the errors of `verify_artifact`, SignatureError for another signer or a signing time in the future, and
    UsageError for an unreadable file.
    """
    from gitchain.verify.bundle import verify_artifact
    from gitchain.verify.verified import check_time

    raw = read_file(bundle, "bundle", MAX_BUNDLE_BYTES)
    verified = verify_artifact(raw, trust, digests_of(target, _named(raw)), wanted.keys)
    if verified.identity != wanted.identity:  # a key cannot verify a bundle with a certificate
        raise SignatureError("unexpected signer", expected=str(wanted.identity), got=str(verified.identity))
    check_time(verified.time, verified.log, now)
    return verified


def wanted_signer(subject: str | None, issuer: str | None, key: Path | None) -> ExpectedSigner:
    """Return the required signer. Raises UsageError unless it is an identity with its issuer, or a readable key."""
    from gitchain.errors import LayoutError
    from gitchain.layout.model import KEY_ISSUER, Identity

    if (subject is None) != (issuer is None) or (subject is None) == (key is None):
        raise UsageError(
            "give exactly one expected signer",
            expected="an identity with its issuer, or a key",
            help="--certificate-identity IDENTITY --certificate-oidc-issuer URL, or --key FILE",
        )
    if key is not None:
        public = _public_key(key)
        return ExpectedSigner(Identity(KEY_ISSUER, f"sha256:{public.digest}"), (public.spki,))
    try:
        return ExpectedSigner(Identity(str(issuer), str(subject)))
    except LayoutError as error:
        raise UsageError(error.what, where=error.where, got=error.got) from error


def bundle_trust(trusted_root: Path | None, name: str | None, *, staging: bool) -> Trust:
    """Return the trusted root to verify a bundle with, without network. Raises TrustError if unavailable."""
    from gitchain.verify.public_trust import public_trust_config
    from gitchain.verify.trust import Trust

    if trusted_root is not None:
        return load_profile(str(trusted_root.absolute())).trust
    if name is not None and not staging:
        return load_profile(name, offline=True).trust
    if staging:
        return Trust.parse(public_trust_config(offline=True, staging=True))
    return load_profile("public", offline=True).trust


def _named(raw: bytes) -> frozenset[str]:
    """Return the additional digest algorithms in the bundle's subjects that a file must be hashed with."""
    try:
        subjects = read_subjects(Bundle.parse(raw).envelope.payload)
    except GitchainError:
        return frozenset()  # verification reports the invalid bundle
    return frozenset(name for subject in subjects for name in subject.compared).difference(DIGESTS)


def digests_of(target: str, more: Iterable[str] = ()) -> Mapping[str, bytes]:
    """Return the digests of the file (DIGESTS and `more`), or the digest that the target is.

    Raises UsageError if the file cannot be read.
    """
    given = _DIGEST.fullmatch(target)
    if given is not None:
        algorithm, digest = given[1], bytes.fromhex(given[2])
        if len(digest) != hashlib.new(algorithm).digest_size:
            raise UsageError(
                "digest has the wrong length", got=target[:200], help="sha256: takes 64 hexadecimal digits"
            )
        return {algorithm: digest}
    algorithms = (*DIGESTS, *sorted(more))
    hashers = [hashlib.new(algorithm) for algorithm in algorithms]
    reading = os_errors_as(UsageError, "cannot read the file", ascii(target), help="check the path")
    with reading, open_regular(Path(target)) as file:
        while chunk := file.read(_CHUNK):
            for hasher in hashers:
                hasher.update(chunk)
    return {algorithm: hasher.digest() for algorithm, hasher in zip(algorithms, hashers, strict=True)}


def _public_key(path: Path) -> Key:
    """Return the public key in a PEM file."""
    from gitchain.verify.keys import Key

    data = read_file(path, "key", MAX_KEY_BYTES)
    try:
        return Key.from_pem(data)
    except SignatureError as error:
        raise UsageError(
            "not a public key",
            where=str(path),
            expected="-----BEGIN PUBLIC KEY-----",
            got=error.got,
            help="give the public key as PEM: openssl pkey -in KEY -pubout",
        ) from error


def read_file(path: Path, what: str, limit: int) -> bytes:
    """Return the file's bytes, at most `limit` + 1 so that its parser refuses a longer one. Raises UsageError."""
    return read_input(path, limit, UsageError, f"cannot read the {what}", help="check the path")

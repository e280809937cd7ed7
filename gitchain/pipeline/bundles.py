"""Verify one bundle about one file: what `gitchain bundle verify` does. No layout, no repository, no network.

The trust is a file's, or that of the public or the staging instance as sigstore-python carries it. Who may have
signed is said exactly: an identity with its issuer, or a key.

Does NOT decide whether the file got there as a layout demands: `gitchain verify` does.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.errors import GitchainError, SignatureError, UsageError
from gitchain.evidence.bundle import MAX_BUNDLE_BYTES, Bundle
from gitchain.evidence.subjects import read_subjects
from gitchain.pipeline.profiles import load_profile
from gitchain.platform.files import open_regular

if TYPE_CHECKING:
    from gitchain.layout.model import Identity
    from gitchain.verify.keys import Key
    from gitchain.verify.trust import Trust
    from gitchain.verify.verified import VerifiedArtifact

DIGESTS = ("sha256", "sha384", "sha512")
"""What a file is always hashed with: any key may sign one of these."""
MAX_KEY_BYTES = 64 * 1024
_DIGEST = re.compile(r"(sha256|sha384|sha512|sha3_256|sha3_384|sha3_512):((?:[0-9a-f]{2})+)")
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """Who must have signed: an identity, which a key (DER SubjectPublicKeyInfo) has too."""

    identity: Identity
    keys: tuple[bytes, ...] = ()


def verify_file(bundle: Path, target: str, wanted: Wanted, trust: Trust, now: datetime) -> VerifiedArtifact:
    """Return what the bundle proves about the file or `sha256:…`; raises as `verify_artifact`.

    SignatureError too if somebody else signed, or if it was signed in the future; UsageError if a file cannot be read.
    """
    from gitchain.verify.bundle import verify_artifact
    from gitchain.verify.clock import check_time

    raw = read_file(bundle, "bundle", MAX_BUNDLE_BYTES)
    verified = verify_artifact(raw, trust, digests_of(target, _named(raw)), wanted.keys)
    if verified.identity != wanted.identity:  # a key says nothing about a bundle with a certificate
        raise SignatureError(
            "somebody else signed this", expected=str(wanted.identity), got=str(verified.identity)
        )
    check_time(verified.time, verified.log, now)
    return verified


def wanted_signer(subject: str | None, issuer: str | None, key: Path | None) -> Wanted:
    """Return who must have signed; UsageError unless it is an identity with its issuer, or a key that can be read."""
    from gitchain.errors import LayoutError
    from gitchain.layout.model import KEY_ISSUER, Identity

    if (subject is None) != (issuer is None) or (subject is None) == (key is None):
        raise UsageError(
            "say who must have signed",
            expected="an identity with its issuer, or a key",
            help="--certificate-identity IDENTITY --certificate-oidc-issuer URL, or --key FILE",
        )
    if key is not None:
        public = _public_key(key)
        return Wanted(Identity(KEY_ISSUER, f"sha256:{public.digest}"), (public.spki,))
    try:
        return Wanted(Identity(str(issuer), str(subject)))
    except LayoutError as error:
        raise UsageError(error.what, where=error.where, got=error.got) from error


def bundle_trust(trusted_root: Path | None, name: str | None, *, staging: bool) -> Trust:
    """Return the trust to verify a bundle with; TrustError if it cannot be had. Uses no network."""
    from gitchain.verify.trust import Trust, public_trust_config

    if trusted_root is not None:
        return load_profile(str(trusted_root.absolute())).trust
    if name is not None and not staging:
        return load_profile(name, offline=True).trust
    if staging:
        return Trust.parse(public_trust_config(offline=True, staging=True))
    return load_profile("public", offline=True).trust


def _named(raw: bytes) -> frozenset[str]:
    """Return the digests beside DIGESTS that the bundle's subjects have, and a file has to be hashed with for them."""
    try:
        subjects = read_subjects(Bundle.parse(raw).envelope.payload)
    except GitchainError:
        return frozenset()  # what is wrong with the bundle is said when it is verified
    return frozenset(name for one in subjects for name in one.compared).difference(DIGESTS)


def digests_of(target: str, more: Iterable[str] = ()) -> Mapping[str, bytes]:
    """Return the digests of the file, DIGESTS and `more`, or the one that the target is.

    UsageError if the file cannot be read.
    """
    given = _DIGEST.fullmatch(target)
    if given is not None:
        algorithm, digest = given[1], bytes.fromhex(given[2])
        if len(digest) != hashlib.new(algorithm).digest_size:
            raise UsageError("digest has the wrong length", got=target[:200])
        return {algorithm: digest}
    algorithms = (*DIGESTS, *sorted(more))
    hashers = [hashlib.new(algorithm) for algorithm in algorithms]
    try:
        with open_regular(Path(target)) as file:
            while chunk := file.read(_CHUNK):
                for hasher in hashers:
                    hasher.update(chunk)
    except (OSError, ValueError) as error:
        raise UsageError("cannot read the file", where=ascii(target), got=str(error)) from error
    return {algorithm: hasher.digest() for algorithm, hasher in zip(algorithms, hashers, strict=True)}


def _public_key(path: Path) -> Key:
    """Return the public key that this PEM file holds."""
    from gitchain.verify.keys import Key

    data = read_file(path, "key", MAX_KEY_BYTES)
    try:
        return Key.from_pem(data)
    except SignatureError as error:
        raise UsageError(
            "not a public key", where=str(path), expected="-----BEGIN PUBLIC KEY-----", got=error.got
        ) from error


def read_file(path: Path, what: str, limit: int) -> bytes:
    """Return the file's bytes, one more than the limit at most: then its parser refuses it. Raises UsageError."""
    try:
        with open_regular(path) as file:
            return file.read(limit + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the {what}", where=ascii(str(path)), got=str(error)) from error

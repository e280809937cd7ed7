"""Verify a bundle under a trusted root, and return a VerifiedStatement. All evidence passes through here.

 1. The bundle is parsed strictly (`gitchain.evidence.bundle`).
    B1 its payload type is in-toto's, exactly.
 2. The signer is a certificate for signing (C3, C4) with one identity (B4), or K1 a key that the caller named.
 3. The proven times are those of timestamps (T1, T4, T5) and of the signed entry timestamp (L11).
 4. The certificate was issued under this trust and valid then (`gitchain.verify.certificate`: C1, C2, T2, T3).
 5. The log holds the entry (`gitchain.verify.log_inclusion`: L1 to L10), which is about this signature (L12).
 6. B2 the signature verifies over the PAE of the envelope, or over the file's digest (B5).
 7. B3 the statement is read from exactly the bytes that were signed, and
    B7 its type is not the one that is reserved for signed commits and tags (`gitchain.verify.gitsource`).

The earliest proven time is the statement's: a timestamp authority's, or that of a signed entry timestamp. An
integrated time without one is ignored. Only public interfaces of `cryptography` and `rfc3161-client` are used.
Does NOT check revocation, freshness, or consistency between checkpoints.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from gitchain.errors import AlgorithmError, SignatureError
from gitchain.evidence.bundle import Bundle, KeyHint
from gitchain.evidence.dsse import Envelope, MessageSignature, pae
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import SOURCE
from gitchain.layout.model import KEY_ISSUER, Identity
from gitchain.verify.certificate import Leaf, check_certificate, leaf_of
from gitchain.verify.keys import SHA2, Key, check_algorithm
from gitchain.verify.log_inclusion import check_logged, known_log, promised_time
from gitchain.verify.rekor_entry import SignatureRecord, check_body
from gitchain.verify.timestamp import proven_times
from gitchain.verify.trust import Trust
from gitchain.verify.verified import NEVER, LogRef, VerifiedArtifact, VerifiedStatement

if TYPE_CHECKING:
    from gitchain.evidence.subjects import Subject

__all__ = [
    "Identity",
    "LogRef",
    "VerifiedStatement",
    "verify_artifact",
    "verify_bundle",
    "verify_subjects",
    "verify_uncosigned",
]

MAX_KEYS = 100
"""Most keys that are tried for a bundle; layouts name a few."""

MAX_NAMED = 3
"""Most subjects that an error names."""


def verify_bundle(raw: bytes, trust: Trust, keys: Sequence[bytes] = ()) -> VerifiedStatement:
    """Return the verified statement of a bundle.

    `keys` are the keys in the verifier's policy (DER SubjectPublicKeyInfo); a key in the bundle is never used.
    Raises MalformedError or LimitError for a malformed bundle or statement, SignatureError if
    signature, certificate or time do not verify, InclusionError if the log entry does not.
    """
    bundle = Bundle.parse(raw)  # B1
    proven = _prove(bundle, trust, keys, {})
    statement = Statement.parse(bundle.envelope.payload)  # B3
    if statement.predicate_type == SOURCE:  # B7
        raise SignatureError(
            "a source statement is derived from a Git signature, not taken from a bundle", got=SOURCE
        )
    return VerifiedStatement(
        statement,
        proven.identity,
        proven.time,
        proven.log,
        statement.attestation_id,
        raw,
        proven.claims,
    )


def verify_uncosigned(raw: bytes, trust: Trust, keys: Sequence[bytes] = ()) -> VerifiedStatement:
    """Return the verified statement of a bundle, without checking for witness cosignatures.

    Its `log.cosigned` is NEVER, so it counts as negative evidence only (docs/negative-evidence.md).
    Raises the errors of verify_bundle().
    """
    bare = trust.memory.once("without witnesses", 0, lambda: replace(trust, witnesses=None))
    found = verify_bundle(raw, bare, keys)
    return replace(found, log=replace(found.log, cosigned=NEVER))


def verify_artifact(
    raw: bytes, trust: Trust, digests: Mapping[str, bytes], keys: Sequence[bytes] = ()
) -> VerifiedArtifact:
    """Return the verified signature over the file with these digests (by hashlib's names).

    The file was signed itself, or is a subject of the signed in-toto statement. Statements of other tools are accepted
    too: only their subjects' digests are used.
    Raises the errors of verify_bundle(), and SignatureError if the bundle is about another file.
    """
    bundle = Bundle.parse_any(raw)
    if isinstance(bundle.content, MessageSignature):
        return _prove(bundle, trust, keys, digests)
    proven, subjects = verify_subjects(raw, trust, keys)
    _check_subjects(subjects, {name: digest.hex() for name, digest in digests.items()})  # B6
    return proven


def verify_subjects(
    raw: bytes, trust: Trust, keys: Sequence[bytes] = ()
) -> tuple[VerifiedArtifact, tuple[Subject, ...]]:
    """Return the verified signature and the subjects of the statement. Raises the errors of verify_bundle()."""
    from gitchain.evidence.subjects import read_subjects

    bundle = Bundle.parse(raw)  # B1
    proven = _prove(bundle, trust, keys, {})
    return proven, read_subjects(bundle.envelope.payload)  # B3


def _check_subjects(subjects: Sequence[Subject], digests: Mapping[str, str]) -> None:
    """Check that the artifact with these digests is a subject (B6), or raise SignatureError with the reason."""
    from gitchain.evidence.subjects import COMPARED, subjects_with

    if subjects_with(subjects, digests):
        return
    compared = {name for one in subjects for name in one.compared}
    if not compared.intersection(digests):
        kinds = sorted({name for one in subjects for name in one.digest})
        raise SignatureError(
            "statement has no digest to compare with",
            expected=" or ".join(digests),
            got=", ".join(ascii(name[:60])[1:-1] for name in kinds[:10]) or "no digest",
        )
    if one := next((one for one in subjects if set(one.compared.items()) & set(digests.items())), None):
        raise SignatureError("digests of the subject contradict each other", got=str(one))
    name = next(name for name in COMPARED if name in compared.intersection(digests))
    others = [str(one) for one in subjects[:MAX_NAMED]]
    more = f" and {len(subjects) - MAX_NAMED} more" if len(subjects) > MAX_NAMED else ""
    raise SignatureError(
        "statement is about other artifacts", expected=f"{name}:{digests[name]}", got=", ".join(others) + more
    )


def _prove(
    bundle: Bundle, trust: Trust, keys: Sequence[bytes], digests: Mapping[str, bytes]
) -> VerifiedArtifact:
    """Return signer, proven time and log entry. Raises the errors of verify_bundle() for every check but B1, B3 and B6."""
    signer = _signer(bundle, trust, keys, digests)  # K1, C3, C4, B2, B4, B5
    log = known_log(bundle.entry, trust)  # L1
    promised = promised_time(bundle.entry, log, trust)  # L11
    times = proven_times(bundle.timestamps, bundle.content.signature, trust, promised)  # T1, T4, T5
    if signer.leaf is not None:
        check_certificate(signer.leaf, trust, times)  # C1, C2, T2, T3
    check_body(bundle.entry, signer.signed)  # L7, L12
    place = check_logged(bundle.entry, log, trust, times[0])  # L2 to L6, L8 to L10
    claims = {} if signer.leaf is None else signer.leaf.claims
    return VerifiedArtifact(signer.identity, times[0], place, claims)


@dataclass(frozen=True, slots=True)
class _BundleSigner:
    """A signer and the signature. `leaf` is None for a signature by a bare key."""

    signed: SignatureRecord
    identity: Identity
    leaf: Leaf | None


def _signer(
    bundle: Bundle, trust: Trust, keys: Sequence[bytes], digests: Mapping[str, bytes]
) -> _BundleSigner:
    if not isinstance(bundle.signer, KeyHint):
        leaf = leaf_of(bundle.signer, trust)  # C3, C4, B4
        return _BundleSigner(_signed(bundle.content, leaf.key, leaf.raw, digests), leaf.identity, leaf)
    for spki in keys[:MAX_KEYS]:
        key = trust.memory.once("key", spki, partial(Key.load, spki))
        try:
            signed = _signed(bundle.content, key, None, digests)
        except AlgorithmError:
            raise  # the key did sign this
        except SignatureError:
            continue
        return _BundleSigner(signed, Identity(KEY_ISSUER, f"sha256:{key.digest}"), None)
    raise SignatureError(  # K1
        "bundle is signed with a key, and none that is accepted made the signature",
        got=f"{len(keys)} accepted keys",
    )


def _signed(
    content: Envelope | MessageSignature, key: Key, certificate: bytes | None, digests: Mapping[str, bytes]
) -> SignatureRecord:
    """Return the signed bytes or digest, after B2: the signature verifies."""
    if isinstance(content, MessageSignature):
        digest = _digest(content, key, digests)
        try:
            key.verify_digest(content.signature, digest)  # B2
        except SignatureError:
            check_algorithm(key, content.signature, digests)
            raise
        return SignatureRecord(content.signature, digest, key, certificate, None)
    message = pae(content.payload_type, content.payload)
    digest = hashlib.new(key.algorithm, message).digest() if key.algorithm else b""
    try:
        if digest:
            key.verify_digest(content.signature, digest)  # B2
        else:
            key.verify(content.signature, message)  # B2
    except SignatureError:
        check_algorithm(key, content.signature, {name: hashlib.new(name, message).digest() for name in SHA2})
        raise
    return SignatureRecord(content.signature, digest, key, certificate, content)


def _digest(content: MessageSignature, key: Key, digests: Mapping[str, bytes]) -> bytes:
    """Return the digest of the file that the key signs, after B5: a digest in the bundle is the file's."""
    if content.algorithm and content.algorithm not in digests:
        raise SignatureError(
            "bundle names a digest that cannot be compared",
            expected=" or ".join(digests),
            got=content.algorithm,
        )
    if content.algorithm and digests[content.algorithm] != content.digest:
        raise SignatureError(
            "bundle is about another file",
            expected=f"{content.algorithm}:{digests[content.algorithm].hex()}",
            got=f"{content.algorithm}:{content.digest.hex()}",
        )
    if key.algorithm not in digests:
        raise SignatureError(
            "this key's signature cannot be checked by the digest that is known",
            expected=key.algorithm or "the file itself",
            got=" ".join(digests) or "none",
        )
    return digests[key.algorithm]

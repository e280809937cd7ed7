"""Sign and verify OpenSSF model signatures: who signed, and that the model's files are exactly those that were signed.

The files are compared by name and digest, all of them: a changed, missing or extra file fails. A signer may say
which paths it left out, but not hide files behind that: only Git's own files, and what the caller names, are ever
left out, and the bundle itself.

Does NOT decide by the root digest, which says nothing of names, and follows no link.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.collect.model_files import model_files, single_file
from gitchain.errors import GitchainError, UsageError, VerificationError
from gitchain.evidence.bundle import MAX_BUNDLE_BYTES, Unlogged
from gitchain.evidence.names import check_name
from gitchain.evidence.oms import OMS, SINGLE, ModelSignature, model_statement
from gitchain.evidence.statement import Statement
from gitchain.pipeline.bundles import MAX_KEY_BYTES, Wanted, read_file
from gitchain.pipeline.home import write_atomically

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from gitchain.pipeline.profiles import Profile
    from gitchain.pipeline.record import Identity as SigningIdentity
    from gitchain.verify.oms import VerifiedModel
    from gitchain.verify.trust import Trust

GIT_PATHS = (".git", ".gitattributes", ".github", ".gitignore")
"""What a signer may leave out without being asked: no framework loads a model from these."""

MAX_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Signer:
    """Who must have signed the model: an identity or a key, or else somebody under these authorities."""

    wanted: Wanted | None
    authorities: tuple[Certificate, ...] = ()


def is_model(bundle: Path, target: str) -> bool:
    """Tell whether the target is a directory, or the bundle claims to be a model signature: nothing is believed."""
    if "\0" not in target and Path(target).is_dir():
        return True
    try:
        statement = Statement.parse(
            Unlogged.parse(read_file(bundle, "bundle", MAX_BUNDLE_BYTES)).envelope.payload
        )
    except (GitchainError, UnicodeError):
        return False
    return statement.predicate_type == OMS


def authorities_of(paths: Sequence[Path]) -> tuple[Certificate, ...]:
    """Return the certificates in these PEM files; UsageError if one holds none."""
    from cryptography import x509

    found: list[Certificate] = []
    for path in paths:
        try:
            found += x509.load_pem_x509_certificates(read_file(path, "certificate chain", MAX_KEY_BYTES))
        except ValueError as error:
            raise UsageError(
                "not a certificate",
                where=str(path),
                expected="-----BEGIN CERTIFICATE-----",
                got=str(error)[:200],
            ) from error
    return tuple(found)


def verify_model(
    bundle: Path,
    target: Path,
    signer: Signer,
    trust: Callable[[], Trust],
    now: datetime,
    ignored: Iterable[str] = (),
) -> VerifiedModel:
    """Return what the bundle proves about the model; `ignored` are the paths that the caller leaves out.

    Raises MalformedError, SignatureError and InclusionError as `gitchain.verify.oms`, VerificationError if the
    files are not those that were signed.
    """
    raw = read_file(bundle, "bundle", MAX_BUNDLE_BYTES)
    verified = _verified(raw, signer, trust, now)
    left_out = (*_named(ignored), *(path for path in verified.signature.ignored if path in GIT_PATHS))
    _compare(verified.signature, _files(verified.signature, target, left_out, bundle), target)
    return verified


def sign_model(
    target: Path,
    output: Path,
    profile: Profile,
    who: SigningIdentity,
    ignored: Iterable[str] = (),
) -> VerifiedModel:
    """Sign the files of a model as they are now, and write the bundle; return what it proves.

    Left out are Git's own files, the paths in `ignored`, and the bundle itself. Nothing is written unless the bundle
    verifies. Raises UsageError for a target or output that cannot be, and what signing raises.
    """
    from gitchain.verify import oms
    from gitchain.verify.bundle import verify_bundle

    single = target.is_file()
    left_out = () if single else (*_named(ignored), *GIT_PATHS, *_own(output, target))
    files = {SINGLE: single_file(target)} if single else model_files(target, left_out)
    statement = model_statement(target.resolve().name or "model", files, left_out)
    with profile.signer(who) as signer:
        (raw,) = signer.sign((statement,))
        if signer.keys:
            verified = oms.verify_model_by_key(raw, lambda: profile.trust, signer.keys[0])
        else:
            found = verify_bundle(raw, profile.trust)
            verified = oms.verify_model_by_identity(raw, profile.trust, found.identity)
    if verified.signature.files != files:
        raise VerificationError("the signer returned a bundle for another model", where=str(target))
    write_atomically(output, raw)
    return verified


def _own(bundle: Path, target: Path) -> tuple[str, ...]:
    """Return the bundle's path below the model, if it lies there."""
    try:
        return (bundle.resolve().relative_to(target.resolve()).as_posix(),)
    except ValueError:
        return ()


def _verified(raw: bytes, signer: Signer, trust: Callable[[], Trust], now: datetime) -> VerifiedModel:
    from gitchain.verify import oms

    if signer.wanted is None:
        return oms.verify_model_by_certificate(raw, signer.authorities, now)
    if signer.wanted.keys:
        return oms.verify_model_by_key(raw, trust, signer.wanted.keys[0])
    return oms.verify_model_by_identity(raw, trust(), signer.wanted.identity)


def _named(ignored: Iterable[str]) -> list[str]:
    try:
        return [check_name(path.rstrip("/"), "ignored path") for path in ignored]
    except GitchainError as error:
        raise UsageError(error.what, where=error.where, expected="a path below the model") from error


def _files(
    signature: ModelSignature, target: Path, ignored: Sequence[str], bundle: Path
) -> Mapping[str, str]:
    is_file = target.is_file()
    if signature.single or (is_file and list(signature.files) == [target.name]):
        (name,) = signature.files
        return {name: single_file(target)}
    if is_file:
        names = list(signature.files)
        raise VerificationError(
            "the model signature is not of this file",
            where=os.fspath(target),
            expected=", ".join(ascii(name[:100]) for name in names[:MAX_SHOWN])
            + ("…" if len(names) > MAX_SHOWN else ""),
            got=ascii(target.name[:100]),
            help="a model that is one file has the name that it was signed under",
        )
    return model_files(target, (*ignored, *_own(bundle, target)))


def _compare(signature: ModelSignature, found: Mapping[str, str], target: Path) -> None:
    signed = signature.files
    changed = sorted(name for name in signed.keys() & found.keys() if signed[name] != found[name])
    for what, names in (
        ("files of the model were changed", changed),
        ("files of the model are missing", sorted(signed.keys() - found.keys())),
        ("files are there that were not signed", sorted(found.keys() - signed.keys())),
    ):
        if names:
            shown = ", ".join(ascii(name[:100]) for name in names[:MAX_SHOWN])
            raise VerificationError(
                what,
                where=os.fspath(target),
                expected=f"sha256:{signed[names[0]]}" if names is changed else "",
                got=f"{len(names)}: {shown}" + ("…" if len(names) > MAX_SHOWN else ""),
                help="remove them, or leave them out yourself: --ignore-path PATH"
                if names[0] not in signed
                else "",
            )

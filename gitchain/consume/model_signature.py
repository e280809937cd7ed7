"""Verify OpenSSF model signatures: the signer, and that the model's files are exactly the signed ones.

All files are compared by name and digest: a changed, missing or extra file fails. A signer may declare ignored paths,
but only Git's own files, the caller's ignored paths and the bundle itself are ever ignored.

The root digest alone is not accepted, because it does not cover names. Links are not followed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.collect.model_files import model_files, single_file
from gitchain.consume.single_bundle import MAX_KEY_BYTES, ExpectedSigner, read_file
from gitchain.errors import GitchainError, UsageError, VerificationError
from gitchain.evidence.bundle import MAX_BUNDLE_BYTES, Unlogged
from gitchain.evidence.names import check_name
from gitchain.evidence.oms import ModelSignature
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import OMS

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from gitchain.verify.oms import VerifiedModel
    from gitchain.verify.trust import Trust

GIT_PATHS = (".git", ".gitattributes", ".github", ".gitignore")
"""Paths that a signer may ignore without the caller's consent: no framework loads a model from these."""

MAX_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ExpectedModelSigner:
    """The required signer of the model: an identity or a key, or any signer under these authorities."""

    wanted: ExpectedSigner | None
    authorities: tuple[Certificate, ...] = ()


def is_model(bundle: Path, target: str) -> bool:
    """Return True if the target is a directory, or the unverified bundle claims to be a model signature."""
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
    """Return the certificates in these PEM files. Raises UsageError for a file without any."""
    from cryptography import x509

    certificates: list[Certificate] = []
    for path in paths:
        try:
            certificates += x509.load_pem_x509_certificates(
                read_file(path, "certificate chain", MAX_KEY_BYTES)
            )
        except ValueError as error:
            raise UsageError(
                "not a certificate",
                where=str(path),
                expected="-----BEGIN CERTIFICATE-----",
                got=str(error)[:200],
            ) from error
    return tuple(certificates)


def verify_model(
    bundle: Path,
    target: Path,
    signer: ExpectedModelSigner,
    trust: Callable[[], Trust],
    now: datetime,
    ignored: Iterable[str] = (),
) -> VerifiedModel:
    """Return the verified content of the bundle; `ignored` are paths that the caller ignores.

    Raises the errors of `gitchain.verify.oms`, and VerificationError if the files differ from the signed ones.
    """
    raw = read_file(bundle, "bundle", MAX_BUNDLE_BYTES)
    verified = _verified(raw, signer, trust, now)
    left_out = (*ignored_names(ignored), *(path for path in verified.signature.ignored if path in GIT_PATHS))
    _compare(verified.signature, _files(verified.signature, target, left_out, bundle), target)
    return verified


def bundle_inside(bundle: Path, target: Path) -> tuple[str, ...]:
    """Return the bundle's path relative to the model, if it is inside."""
    try:
        return (bundle.resolve().relative_to(target.resolve()).as_posix(),)
    except ValueError:
        return ()


def _verified(
    raw: bytes, signer: ExpectedModelSigner, trust: Callable[[], Trust], now: datetime
) -> VerifiedModel:
    from gitchain.verify import oms

    if signer.wanted is None:
        return oms.verify_model_by_certificate(raw, signer.authorities, now)
    if signer.wanted.keys:
        return oms.verify_model_by_key(raw, trust, signer.wanted.keys[0])
    return oms.verify_model_by_identity(raw, trust(), signer.wanted.identity)


def ignored_names(ignored: Iterable[str]) -> list[str]:
    """Return the validated ignored paths. Raises UsageError for a path outside of the model."""
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
    return model_files(target, (*ignored, *bundle_inside(bundle, target)))


def _compare(signature: ModelSignature, files: Mapping[str, str], target: Path) -> None:
    signed = signature.files
    changed = sorted(name for name in signed.keys() & files.keys() if signed[name] != files[name])
    for what, names in (
        ("files of the model were changed", changed),
        ("files of the model are missing", sorted(signed.keys() - files.keys())),
        ("the model has files that were not signed", sorted(files.keys() - signed.keys())),
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

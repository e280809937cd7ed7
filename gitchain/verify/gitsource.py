"""A signed commit or tag as evidence for a step: its files, each with its SHA-256.

 S1 the files are of the commit that was signed, or that the signed tag names
 S2 the signature binds their content by SHA-256: by the ids of a SHA-256 repository, which the reader of the files has
    checked, or by the manifest of exactly these files in the signed message (`gitchain.evidence.gittree`)
 S3 there is a proven time: the signature's own, or that of a logged statement about the same object

Its attestation id is the SHA-256 of the signed bytes, so another encoding of the signature does not change it. The
object's own SHA-256, which it does change, is a second id for revocations.

So an SSH or OpenPGP signature counts once a log has a statement about the commit, and a SHA-1 alone never binds content.
Only this module and `gitchain.verify.bundle` make a VerifiedStatement.
Does NOT read a repository, nor check whether the signer is allowed: `gitchain.verify.authorization` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from gitchain.errors import SignatureError
from gitchain.evidence.canonical import Json
from gitchain.evidence.claim import StepFacts
from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.gitobject import GitObject
from gitchain.evidence.gittree import trailer, trailer_in
from gitchain.evidence.manifest import FileEntry, build_manifest
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import SOURCE, STEP_FIELD
from gitchain.verify.verified import LogRef, VerifiedObject, VerifiedStatement

SHA256_CHARS = 64
"""Length of an id in a SHA-256 repository."""


def source_evidence(
    signed: VerifiedObject,
    commit: GitObject,
    files: Sequence[FileEntry],
    step: str,
    layout: str,
    about: Iterable[VerifiedStatement],
) -> VerifiedStatement:
    """Return the signed object as evidence for the step of the layout.

    `about` are verified statements that may be about the object. Raises SignatureError unless S1 to S3 hold,
    MalformedError or LimitError if the files cannot form a statement.
    """
    found = signed.object
    _check_commit(found, commit)  # S1
    _check_bound(found, files)  # S2
    time, log = _proof(signed, about)  # S3
    facts = StepFacts(step, f"{found.kind}-{found.oid}", "declared", layout)
    predicate: dict[str, Json] = {
        "kind": found.kind,
        "id": found.oid,
        "commit": commit.oid,
        "tree": commit.points_at,
        STEP_FIELD: facts.to_json(),
    }
    subject = [ResourceDescriptor(one.path, DigestSet({"sha256": one.sha256})) for one in files]
    statement = Statement.build(subject, SOURCE, predicate)
    return VerifiedStatement(
        statement,
        signed.identity,
        time,
        log,
        AttestationId(sha256_hex(found.payload)),
        found.payload,
        signed.claims,
        (found.sha256,),
    )


def _check_commit(found: GitObject, commit: GitObject) -> None:
    named = found.oid if found.kind == "commit" else found.points_at
    if commit.kind != "commit" or named != commit.oid:
        raise SignatureError("signature is over another commit", expected=named, got=commit.oid)


def _check_bound(found: GitObject, files: Sequence[FileEntry]) -> None:
    if len(found.oid) == SHA256_CHARS:
        return
    named, digest = trailer_in(found.message), build_manifest(files, 1).digest
    if named is None:
        raise SignatureError(
            "the signature binds the files by SHA-1 alone",
            expected=f"a line {trailer('…')} in the signed message",
            help='git commit -S --trailer "$(gitchain-git-sign --trailer)"',
        )
    if named != digest:
        raise SignatureError(
            "the signed message names the manifest of other files",
            expected=f"sha256:{digest}",
            got=f"sha256:{named}",
        )


def _proof(signed: VerifiedObject, about: Iterable[VerifiedStatement]) -> tuple[datetime, LogRef]:
    """Return the earliest proven time of the object, and its log entry."""
    if signed.time is not None and signed.log is not None:
        return signed.time, signed.log
    sha256 = signed.object.sha256
    found = [
        one for one in about if any(item.digest.get("sha256") == sha256 for item in one.statement.subject)
    ]
    if not found:
        raise SignatureError(
            "no logged statement is about it, so its time is not proven",
            expected=f"a statement about sha256:{sha256}",
            help="gitchain sync   attests what a commit or tag pins",
        )
    first = min(found, key=lambda one: one.time)
    return first.time, first.log

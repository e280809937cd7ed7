"""Verify an archive: the verifier decides with exactly the archive's evidence, and the verdict has what it rests on.

The archive chose its evidence, layout, trusted root and time. So a verdict is VERIFIED only if the reader named the
trusted root and the layout's signer, by options or by a pin. Otherwise it is CONSISTENT: everything fits together, and
anyone could have made it. docs/archive.md
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeAlias

from gitchain.consume.load_layout import AcceptedLayout, LayoutOptions
from gitchain.consume.targets import GivenTarget
from gitchain.consume.verifier import Verification, Verifier
from gitchain.errors import ExitCode, MalformedError, VerificationError
from gitchain.evidence.canonical import Json, strict_json
from gitchain.evidence.vocabulary import CHECKPOINT, REVOCATION, time_text
from gitchain.platform.files import write_durably
from gitchain.sources.archive_file import Archive, ArchiveSource
from gitchain.sources.archive_manifest import LAYOUT, SIGNER_KEY, TRUST, VERDICT
from gitchain.trust.load_profile import MAX_TRUST_BYTES
from gitchain.verify.findings import FindingCode
from gitchain.verify.target import Target
from gitchain.verify.trust import trust_digest
from gitchain.verify.verified import is_ahead
from gitchain.workspace.user_directory import has_no_home, read_pins

Basis: TypeAlias = Literal["reader", "pin", "archive"]
"""Who named something: the reader with an option, the reader's pin, or only the archive."""


@dataclass(frozen=True)
class ArchiveVerdict:
    """The decisions about the archived artifacts, or about the reader's own copy of one, and what they rest on."""

    archive: Archive
    verification: Verification
    time: datetime
    """The time as of which the verifier decided."""
    basis: Mapping[str, Basis]
    """Who named `trust`, `signer`, `layout` and `time`."""
    coverage: Coverage

    @property
    def passed(self) -> bool:
        """Return whether every decision passed."""
        return all(one.passed for one in self.verification.decisions)

    @property
    def is_anchored(self) -> bool:
        """Return whether the reader named the trusted root and the layout's signer."""
        return "archive" not in {self.basis["trust"], self.basis["signer"]}

    @property
    def result(self) -> Literal["VERIFIED", "CONSISTENT", "FAILED"]:
        """Return VERIFIED, CONSISTENT if root or signer are the archive's own, or FAILED."""
        if not self.passed:
            return "FAILED"
        return "VERIFIED" if self.is_anchored else "CONSISTENT"

    @property
    def exit_code(self) -> ExitCode:
        """Return OK for VERIFIED, TRUST for CONSISTENT, else the lowest code of a decision that failed."""
        codes = [one.exit_code for one in self.verification.decisions if not one.passed]
        if codes:
            return min(codes)
        return ExitCode.OK if self.is_anchored else ExitCode.TRUST

    @property
    def newest(self) -> datetime | None:
        """Return the newest proven time of the evidence that the decisions use."""
        steps = [step for one in self.verification.decisions for step in one.steps]
        return max((one.time for step in steps for one in step.attestations), default=None)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many attestations and manifest nodes there are, and how many of them checkpoints that count cover."""

    total: int
    covered: int

    def to_json(self) -> dict[str, Json]:
        """Return the coverage as in the documents of `archive`."""
        return {"total": self.total, "covered": self.covered}

    @classmethod
    def of(cls, verifier: Verifier, names: frozenset[str]) -> Coverage:
        """Return the coverage of the evidence with these names. Checkpoints themselves are not counted."""
        from gitchain.consume.store_checkpoints import Checkpoints
        from gitchain.verify.checkpoints import behind, covered
        from gitchain.verify.revocations import Revocations

        evidence, layout = verifier.evidence, verifier.accepted.signed.layout
        revocations = Revocations.of(layout, evidence.of_type(REVOCATION), verifier.now)
        checkpoints = Checkpoints(layout, evidence, revocations)
        before, _ = behind(checkpoints.known, checkpoints.tops)
        counted = names - {one.name for one in evidence.candidates_of(CHECKPOINT)}
        return cls(len(counted), len(counted & covered(checkpoints.known, before)))


def verify_archive(
    archive: Archive,
    policy: LayoutOptions,
    now: datetime,
    *,
    at: datetime | None = None,
    path: Path | None = None,
    explain: bool = False,
) -> ArchiveVerdict:
    """Verify the archived artifacts as of the archive's time or `at`; or the file or directory at `path` instead.

    What `policy` does not name is taken from the reader's pin for the layout, else from the archive.
    Raises the errors of `Verifier.open`; VerificationError if `path` has other content, or if the evidence leads to
    PASSED where the archive recorded a failure, or if revocations or checkpoints are newer than the archive's time;
    MalformedError for parts that contradict each other.
    """
    moment = at or archive.manifest.created
    if is_ahead(moment, now):
        raise VerificationError(
            "the archive was made in the future",
            where=str(archive.path),
            expected=f"not after {time_text(now)}",
            got=time_text(moment),
            help="check the clock of this machine: gitchain doctor",
        )
    with TemporaryDirectory(prefix="gitchain-") as folder, _home_in(folder):
        named, basis = _named(archive, policy, Path(folder))
        verifier = Verifier.open(None, named, moment, (), [ArchiveSource(archive)])
        if at is None:
            _check_times(archive, verifier)
        found = [verifier.verify(given, explain=explain) for given in _targets(archive, path)]
        coverage = Coverage.of(verifier, _evidence_names(archive))
    decisions = tuple(decision for one in found for decision in one.decisions)
    verification = replace(found[0], decisions=decisions, accepted=_renamed(verifier, basis["trust"]))
    basis |= {"time": "archive" if at is None else "reader"}
    verdict = ArchiveVerdict(archive, verification, moment, basis, coverage)
    _compare(verdict, path)
    return verdict


def _named(archive: Archive, policy: LayoutOptions, folder: Path) -> tuple[LayoutOptions, dict[str, Basis]]:
    """Return the options with what the reader and the pins leave open, and who named each."""
    manifest = archive.manifest
    text = archive.read(TRUST)[: MAX_TRUST_BYTES + 1].decode("utf-8", "replace")
    digest = trust_digest(text)
    if digest != manifest.trust_digest:
        raise MalformedError(
            "the archive's trusted root is not the one in its manifest",
            where=str(archive.path),
            expected=f"sha256:{manifest.trust_digest}",
            got=f"sha256:{digest}",
        )
    name = policy.name or manifest.layout
    pin = read_pins().get(name)
    basis: dict[str, Basis] = {
        "trust": "reader" if policy.trust else "pin" if pin else "archive",
        "signer": "reader" if policy.signers else "pin" if pin else "archive",
        "layout": "reader" if policy.layout else "archive",
    }
    trust, signers, layout = policy.trust, policy.signers, policy.layout
    if trust == f"sha256:{digest}" or basis["trust"] == "archive":
        write_durably(folder / "trusted-root.json", archive.read(TRUST))
        trust = str(folder / "trusted-root.json")
    if basis["signer"] == "archive":
        signers = (manifest.signer,)
    if layout is None:
        layout = folder / LAYOUT
        write_durably(layout, archive.read(LAYOUT))
    keys = (archive.read(SIGNER_KEY),) if SIGNER_KEY in archive else ()
    return replace(policy, trust=trust, signers=signers, layout=layout, name=name, keys=keys), basis


def _targets(archive: Archive, path: Path | None) -> tuple[GivenTarget, ...]:
    if path is not None:
        return (GivenTarget(str(path), path=path),)
    return tuple(
        GivenTarget(f"sha256:{one.sha256}", artifact=Target(one.sha256, one.name, one.directory))
        for one in archive.manifest.artifacts
    )


def _evidence_names(archive: Archive) -> frozenset[str]:
    members = archive.manifest.members
    return frozenset(one.sha256 for one in members if one.is_evidence)


def _renamed(verifier: Verifier, basis: Basis) -> AcceptedLayout:
    """Return the accepted layout; a trusted root that was read from the archive is not called by a temporary path."""
    accepted = verifier.accepted
    if basis != "archive":
        return accepted
    return replace(accepted, profile=replace(accepted.profile, name="the archive's own"))


def _compare(verdict: ArchiveVerdict, path: Path | None) -> None:
    archive = verdict.archive
    wanted = {one.sha256 for one in archive.manifest.artifacts}
    for decision in verdict.verification.decisions:
        if wanted.isdisjoint(decision.target.digests):
            raise VerificationError(
                "this is not the archived model",
                where=str(path or decision.target),
                expected=" or ".join(f"sha256:{one}" for one in sorted(wanted)),
                got=f"sha256:{decision.target.sha256}",
                help="name the file or directory that the archive is about",
            )
    for decision in verdict.verification.decisions:
        result = _recorded(archive, decision.target if path is not None else None)
        if verdict.passed and result != "PASSED":
            raise VerificationError(
                "the evidence leads to another verdict than the archive recorded",
                where=str(archive.path),
                expected=ascii(result)[:40],
                got="PASSED",
                help="evidence against the model is missing: ask for the archive again, from another source",
            )


def _recorded(archive: Archive, target: Target | None) -> Json:
    """Return the result that the archive recorded: of the reader's copy of an artifact, or of all artifacts together."""
    recorded: Any = strict_json(archive.read(VERDICT), VERDICT)
    try:
        if target is None:
            result: Json = recorded["verificationResult"]
            return result
        about = [one for one in recorded["results"] if one["resource"]["digest"]["sha256"] in target.digests]
        return "PASSED" if any(map(_is_passed, about)) else "FAILED"
    except (KeyError, TypeError):
        return None


def _is_passed(result: Any) -> bool:
    """Return whether a recorded result passed, or lacked nothing but the bytes, which are here now."""
    codes = {one["code"] for one in result["findings"] if one["severity"] == "error"}
    return bool(result["verificationResult"] == "PASSED" or codes == {FindingCode.NO_BYTES.value})


def _check_times(archive: Archive, verifier: Verifier) -> None:
    """Raise VerificationError for a revocation or checkpoint that is newer than the archive's time: that time is wrong."""
    created = archive.manifest.created
    for one in verifier.evidence.of_type(REVOCATION, CHECKPOINT):
        if is_ahead(one.time, created):
            raise VerificationError(
                "the archive has evidence that is newer than its own time",
                where=f"{archive.path}: {one.attestation_id}",
                expected=f"not after {time_text(created)}",
                got=time_text(one.time),
                help="verify it as of a time that you choose: --at now",
            )


@contextmanager
def _home_in(folder: str) -> Iterator[None]:
    """Without a home directory there are no pins and no states: use an empty directory for the block."""
    if not has_no_home():
        yield
        return
    os.environ["GITCHAIN_HOME"] = str(Path(folder) / "home")
    try:
        yield
    finally:
        del os.environ["GITCHAIN_HOME"]

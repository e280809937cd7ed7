"""Signed commits and tags of the repository as evidence, and their findings for a given revision.

Reads the commits and tags that appear in the evidence around a target, and the revision given to `gitchain verify`.
Objects are read raw and checked against their ids; `gitchain.verify.gitsource` binds the files of their tree. An
object that does not verify, or cannot be checked, is reported and does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from gitchain.collect.git_objects import raw_object, refs_named, resolve
from gitchain.consume.commit_files import read_files
from gitchain.consume.signature_report import NOT_RUN, SignatureReport
from gitchain.errors import (
    GitchainError,
    LimitError,
    ProjectError,
    SignatureError,
)
from gitchain.evidence.digest import Sha256
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.gitobject import GitObject
from gitchain.evidence.vocabulary import SOURCE
from gitchain.layout.model import Layout
from gitchain.sources.bundles import RefusedBundle
from gitchain.verify.findings import Finding, FindingCode
from gitchain.verify.gitsigned import verify_object
from gitchain.verify.gitsource import source_evidence
from gitchain.verify.openpgp import OpenPgp, RunGpg
from gitchain.verify.report import Decision, ReportedCheck
from gitchain.verify.trust import Trust
from gitchain.verify.verified import VerifiedObject, VerifiedStatement, check_time

MAX_OBJECTS = 64
"""Most commits and tags read for one target."""


About = Callable[[Sha256], Iterable[VerifiedStatement]]
"""Function that returns the verified statements with this SHA-256 as a subject."""


@dataclass
class GitEvidence:
    """Signed objects of one repository under one trusted root and layout. Each is read once."""

    root: Path
    trust: Trust
    layout: Layout
    about: About
    run_gpg: RunGpg
    now: datetime
    refused: dict[tuple[str, str], str] = field(default_factory=dict)
    """Why an object does not count, by step and id."""
    _found: dict[tuple[str, str], VerifiedStatement | None] = field(default_factory=dict)
    _signers: dict[str, tuple[GitObject, VerifiedObject | GitchainError]] = field(default_factory=dict)

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps for which signed commits and tags are evidence."""
        return tuple(step.name for step in self.layout.steps if step.predicate_type == SOURCE)

    def named_in(
        self, statements: Sequence[VerifiedStatement], reports: Sequence[SignatureReport]
    ) -> tuple[VerifiedStatement, ...]:
        """Return the evidence of the commits and tags that these statements and reports contain."""
        if not self.steps:
            return ()
        named = [(report.object.oid, report.object.sha256) for report in reports]
        wanted = dict.fromkeys([*named, *(item for statement in statements for item in _named(statement))])
        if len(wanted) > MAX_OBJECTS:
            raise LimitError(
                "the evidence names too many commits", expected=f"at most {MAX_OBJECTS}", got=str(len(wanted))
            )
        found = (self._evidence(oid, sha256, step) for oid, sha256 in wanted for step in self.steps)
        return tuple(item for item in found if item is not None)

    def not_counted(self) -> tuple[RefusedBundle, ...]:
        """Return the signed objects that do not count, with reasons."""
        return tuple(
            RefusedBundle(step, AttestationId(oid), reason) for (step, oid), reason in self.refused.items()
        )

    def report(self, revision: str) -> tuple[SignatureReport, ...]:
        """Return the signature reports of a revision's tag and commit."""
        kind, oid = resolve(self.root, revision)
        named = _tag_name(self.root, revision, oid)
        reports: list[SignatureReport] = []
        while kind == "tag" and len(reports) < MAX_OBJECTS:
            reports.append(self._report(self._object(oid), named))
            oid, kind, named = reports[-1].object.points_at, reports[-1].object.target, None
        if kind == "commit":
            reports.append(self._report(self._object(oid), None))
        return tuple(reports)

    def findings(self, reports: Sequence[SignatureReport]) -> Iterator[Finding]:
        """Yield findings about the revision itself: an invalid signature, or a missing required one."""
        for one in reports:
            if one.problem is not None and one.state in {"invalid", "unchecked"}:
                yield _problem(one.object, one.problem)
        first = reports[0] if reports else None
        if (
            first is not None
            and self.steps
            and not first.allowed
            and first.state not in {"invalid", "unchecked"}
        ):
            what = f"{first.object.kind} {first.object.name or first.object.oid[:12]}"
            signer = str(first.verified.identity) if first.verified else first.state
            sign = "git tag -s" if first.object.kind == "tag" else "git commit --amend -S"
            yield Finding(
                FindingCode.GIT_UNSIGNED,
                f"{what} has no signature by a functionary who may sign it",
                step=self.steps[0],
                expected=", ".join(
                    sorted({signer for step in self.steps for signer in self.layout.step(step).functionaries})
                ),
                got=signer,
                help=first.problem.help if first.state == "unread" and first.problem is not None else sign,
            )

    def applied_to(self, decision: Decision, signatures: Sequence[SignatureReport]) -> Decision:
        """Return the decision with findings about the revision itself, which make it FAILED.

        If it failed already, adds findings about unchecked signatures that it may lack.
        """
        if not decision.passed:
            lacking = tuple(self.unchecked(decision.findings))
            return replace(decision, findings=(*decision.findings, *lacking)) if lacking else decision
        findings = tuple(self.findings(signatures))
        checks = [
            ReportedCheck(
                "signature", passed=False, message=finding.message, expected=finding.expected, got=finding.got
            )
            for finding in findings
        ]
        return decision.with_inspections(findings, checks) if findings else decision

    def unchecked(self, findings: Sequence[Finding]) -> Iterator[Finding]:
        """Yield one finding per reason for unchecked signatures that a failed step may lack."""
        if any(one.step in self.steps for one in findings):
            failed = [
                (found, outcome) for found, outcome in self._signers.values() if isinstance(outcome, NOT_RUN)
            ]
            yield from {error.what: _problem(found, error) for found, error in failed}.values()

    def _report(self, git_object: GitObject, named: str | None) -> SignatureReport:
        try:
            if named is not None and git_object.name != named:
                raise SignatureError(
                    "the tag was signed under another name", expected=named, got=ascii(git_object.name)
                )
            verified = self._signer(git_object)
        except GitchainError as error:
            return SignatureReport(git_object, None, error)
        names = tuple(
            one.name for one in self.layout.functionaries if one.matches(verified.identity, verified.claims)
        )
        steps = tuple(step for step in self.steps if set(names) & set(self.layout.step(step).functionaries))
        return SignatureReport(git_object, verified, None, names, steps)

    def _evidence(self, oid: str, sha256: Sha256, step: str) -> VerifiedStatement | None:
        key = (step, oid)
        if key not in self._found:
            try:
                self._found[key] = self._read(oid, sha256, step)
            except GitchainError as error:
                self._found[key] = None
                self.refused[key] = str(error)
        return self._found[key]

    def _read(self, oid: str, sha256: Sha256, step: str) -> VerifiedStatement | None:
        git_object = self._object(oid)
        if git_object.sha256 != sha256:
            raise ProjectError(
                "Git object is another than was attested", expected=sha256, got=git_object.sha256
            )
        if git_object.signature is None:
            return None
        verified = self._signer(git_object)
        commit = git_object if git_object.kind == "commit" else self._object(git_object.points_at)
        files = read_files(self.root, commit.points_at)
        return source_evidence(verified, commit, files, step, self.layout.name, self.about(git_object.sha256))

    def _signer(self, git_object: GitObject) -> VerifiedObject:
        """Return the signer. Each object is checked once. Raises the errors of `verify_object`."""
        if git_object.oid not in self._signers:
            self._signers[git_object.oid] = git_object, self._verify_once(git_object)
        _, outcome = self._signers[git_object.oid]
        if isinstance(outcome, GitchainError):
            raise outcome
        return outcome

    def _verify_once(self, git_object: GitObject) -> VerifiedObject | GitchainError:
        try:
            verified = verify_object(git_object, self.trust, OpenPgp(self.layout.openpgp, self.run_gpg))
            check_time(verified.time, verified.log, self.now)
        except GitchainError as error:
            return error
        return verified

    def _object(self, oid: str) -> GitObject:
        kind, raw = raw_object(self.root, oid)
        return GitObject.parse(kind, oid, raw)


def _problem(git_object: GitObject, bad: GitchainError) -> Finding:
    what = f"{git_object.kind} {git_object.name or git_object.oid[:12]}: {bad.what}"
    code = FindingCode.GIT_UNCHECKED if isinstance(bad, NOT_RUN) else FindingCode.GIT_SIGNATURE
    return Finding(code, what, expected=bad.expected, got=bad.got, help=bad.help)


def _named(source: VerifiedStatement) -> Iterator[tuple[str, Sha256]]:
    """Yield id and SHA-256 of the commits and tags in a statement: as a subject, or as the source of a step."""
    for one in source.statement.subject:
        notes, sha256 = one.annotations, one.digest.sha256
        oid = notes.get("gitTag") or notes.get("gitCommit")
        if (one.name or "").startswith(("git:commit:", "git:tag:")) and isinstance(oid, str) and sha256:
            yield oid, sha256
    definition = source.statement.predicate.get("buildDefinition")
    dependencies = definition.get("resolvedDependencies") if isinstance(definition, dict) else None
    for item in dependencies if isinstance(dependencies, (list, tuple)) else ():
        if (
            isinstance(item, dict)
            and isinstance(item.get("digest"), dict)
            and isinstance(item.get("annotations"), dict)
        ):
            oid, sha256 = item["digest"].get("gitCommit"), item["annotations"].get("sha256")
            if isinstance(oid, str) and isinstance(sha256, str):
                yield oid, Sha256(sha256)


def _tag_name(root: Path, revision: str, oid: str) -> str | None:
    """Return the name that a tag object must have, from the ref in the revision; None without a ref.

    All spellings of the ref are accepted: `v1`, `tags/v1`, `refs/tags/v1^{tag}`. Everything below `refs/tags/` is
    part of the name.
    """
    for ref, (_, target) in refs_named(root, revision).items():
        if target == oid:
            return ref.removeprefix("refs/tags/")
    return None

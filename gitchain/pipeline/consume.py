"""Verify: target → evidence → decision. Trust and the layout's signer come from flags or pins, never from the repository."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

from gitchain.collect.gpg import Gpg
from gitchain.errors import ExitCode, GitchainError, StoreError, UsageError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import CHECKPOINT, DATASET, LAYOUT, REVOCATION
from gitchain.layout.model import Layout
from gitchain.pipeline.acceptance import Accepted, Policy, load_policy
from gitchain.pipeline.checkpoints import Checkpoints
from gitchain.pipeline.gitevidence import GitEvidence, SignatureReport
from gitchain.pipeline.home import remember_version
from gitchain.pipeline.inspections import inspected
from gitchain.pipeline.line_endings import with_line_endings
from gitchain.pipeline.project import Project
from gitchain.pipeline.seen import check_seen, remember
from gitchain.pipeline.snapshots import Snapshot, Source
from gitchain.pipeline.sources import Evidence, Refused, gather
from gitchain.pipeline.targets import Subjects, bundle_file, is_revision, resolve_targets, subjects_of
from gitchain.store.shape import is_sha256
from gitchain.verify.clock import is_early
from gitchain.verify.decide import Decision, Target, decide
from gitchain.verify.findings import Finding
from gitchain.verify.other_statements import about_other_steps, names_target, unverified
from gitchain.verify.report import Check, StepReport
from gitchain.verify.revocations import Revocations
from gitchain.verify.verified import VerifiedStatement

__all__ = ["Accepted", "Policy", "Verification", "Verifier", "load_policy", "verify", "verify_batch"]


@dataclass(frozen=True)
class Verification:
    """The decisions about one target, which may stand for several artifacts, and the evidence that did not verify."""

    accepted: Accepted
    decisions: tuple[Decision, ...]
    refused: tuple[Refused, ...] = ()
    forgotten: StoreError | None = None
    """Why the layout's version, or what the store held, could not be remembered."""
    signatures: tuple[SignatureReport, ...] = ()
    """Who signed the tag and the commit, where the target is a revision."""
    bundle: Subjects | None = None
    """What a target that is a bundle file stands for: the decisions are about these subjects, not about the file."""


def verify(
    project: Project | None,
    target: str,
    policy: Policy,
    now: datetime,
    *,
    explain: bool = False,
    sources: Sequence[Source] = (),
) -> Verification:
    """Verify one target, and remember the layout version that decided and what the store held.

    Raises what `Verifier.open` raises, and NoEvidenceError when the target names nothing that could be verified.
    """
    return Verifier.open(project, policy, now, [target], sources).verify(target, explain=explain)


def verify_batch(
    project: Project | None,
    targets: Iterable[str],
    policy: Policy,
    now: datetime,
    *,
    explain: bool = False,
    sources: Sequence[Source] = (),
) -> Iterator[tuple[str, Verification | GitchainError]]:
    """Verify many targets with one layout, one trust and one look at the evidence; yield each with its verification.

    A target that cannot be verified yields the error. Raises what `Verifier.open` raises, before the first.
    """
    named = tuple(targets)
    verifier = Verifier.open(project, policy, now, named, sources)
    for target in named:
        try:
            yield target, verifier.verify(target, explain=explain)
        except GitchainError as error:
            yield target, error


@dataclass(frozen=True)
class Verifier:
    """A layout, the evidence and what is revoked, ready to decide about any number of targets."""

    project: Project | None
    accepted: Accepted
    evidence: Evidence
    always: Sequence[VerifiedStatement]
    """What counts whatever chain it is on, such as revocations."""
    now: datetime
    forgotten: StoreError | None = None

    @classmethod
    def open(
        cls,
        project: Project | None,
        policy: Policy,
        now: datetime,
        targets: Iterable[str] = (),
        sources: Sequence[Source] = (),
    ) -> Verifier:
        """Accept the layout, read the evidence, check that none of it was taken away, and remember both.

        `sources` are read besides the repository's own store. `targets` that are bundle files bring their own evidence.
        Raises what `load_policy` and `Source.read` raise, and RollbackError where the store or a source lacks what was
        seen of it before, or what a checkpoint covers.
        """
        accepted = load_policy(project, policy, now)
        read = [(source, source.read()) for source in sources]
        checkpoint = _checkpoint(policy.checkpoint)
        bundles = [bundle for target in targets if (bundle := bundle_file(target)) is not None]
        layout = accepted.signed.layout
        extra = (*bundles, *filter(None, checkpoint.values()))
        evidence = gather(
            project, accepted.profile.trust, extra, layout.keys, [snapshot for _, snapshot in read]
        )
        negative = evidence.of_type(REVOCATION)
        if project is not None:
            check_seen(project, evidence.tip, evidence.unreadable)
        for source, snapshot in read:
            source.check(snapshot)
        Checkpoints(layout, evidence, Revocations.of(layout, negative, now)).check(checkpoint)
        forgotten = _remember(project, accepted, evidence, now, read)
        return cls(project, accepted, evidence, _always(layout, evidence, negative), now, forgotten)

    def verify(self, target: str, *, explain: bool = False) -> Verification:
        """Decide about one target, and inspect its bytes if the layout asks for it.

        Raises NoEvidenceError or UsageError for a target that names nothing, SignatureError or InclusionError for a
        bundle file that does not verify.
        """
        bundle = self._bundle(target)
        layout = self.accepted.signed.layout
        targets = bundle.targets if bundle else resolve_targets(self.project, target, layout)
        git, signatures = self._git, self._signatures(target)
        decided = (self.decide(one, explain=explain, signatures=signatures) for one in targets)
        decisions = tuple(
            with_line_endings(inspected(one, self.project, target), self.project) for one in decided
        )
        if git is not None:
            decisions = tuple(_with_git(one, git, signatures) for one in decisions)
        refused = (*self.evidence.refused, *(git.not_counted() if git is not None else ()))
        return Verification(self.accepted, decisions, refused, self.forgotten, signatures, bundle)

    def _bundle(self, target: str) -> Subjects | None:
        """Return the subjects of a target that is a bundle file, which has to verify, None for another target."""
        raw = bundle_file(target)
        if raw is None:
            return None
        return subjects_of(raw, target, self.accepted.profile.trust, self.accepted.signed.layout.keys)

    @cached_property
    def _git(self) -> GitEvidence | None:
        """The repository's signed commits and tags."""
        if self.project is None:
            return None
        profile, layout = self.accepted.profile, self.accepted.signed.layout

        def about(sha256: str) -> Sequence[VerifiedStatement]:
            found = self.evidence.verified(self.evidence.about(sha256))
            return [one for one in found if not is_early(one, self.now)]

        gpg = Gpg(self.project.root, self.now)
        return GitEvidence(self.project.root, profile.trust, layout, about, gpg, self.now)

    def _signatures(self, target: str) -> tuple[SignatureReport, ...]:
        if self._git is None or not is_revision(target):
            return ()
        return self._git.report(target)

    def decide(
        self, target: Target, *, explain: bool = False, signatures: Sequence[SignatureReport] = ()
    ) -> Decision:
        """Decide on the evidence around the target first; when that does not pass, on all evidence there is.

        A pass holds only with all that may count against the artifacts of its chain: what is missing of that is added,
        and decided about again. So a pass on less evidence is a pass on more: the look at everything is only needed to
        fail for the right reason.
        """
        beside: Sequence[Finding] = ()

        def decided(statements: Sequence[VerifiedStatement]) -> Decision:
            signed, manifest = self.accepted.signed, self.evidence.manifest
            return decide(signed, statements, target, self.now, manifest, explain=explain, beside=beside)

        digests = target.digests if self.evidence.has_version_1 else (target.sha256,)
        near = self._with_git(self.evidence.around(digests, self._steps), signatures)
        decision = self._settled(near, decided, signatures)
        if decision.passed:
            return decision
        everything = self._with_git(self.evidence.of_steps(self._steps), signatures)
        if len(everything) > len(near):
            decision = self._settled(everything, decided, signatures)
        if decision.exit_code is ExitCode.NOTHING and (beside := self._beside(target)):
            decision = decided(everything)
        return decision

    def _beside(self, target: Target) -> Sequence[Finding]:
        """Return why what names the target does not count, for a target that no step of the layout has evidence of."""
        candidates = [one for one in self.evidence.candidates if names_target(one.claim, target)]
        found = about_other_steps(self.accepted.signed.layout, self.evidence.verified(candidates), target)
        ids = {one.attestation_id for one in candidates}
        refused = [one for one in self.evidence.refused if one.attestation_id in ids]
        return (*found, *(unverified(one.attestation_id, one.step, one.reason, target) for one in refused))

    def _settled(
        self,
        statements: Sequence[VerifiedStatement],
        decided: Callable[[Sequence[VerifiedStatement]], Decision],
        signatures: Sequence[SignatureReport],
    ) -> Decision:
        """Decide on these statements, and while that passes on all that may count against the artifacts of its chain."""
        while True:
            decision = decided(statements)
            chain = _statements_of(decision.steps, statements)
            wider = self._with_git((*statements, *self.evidence.against(chain, self._steps)), signatures)
            if not decision.passed or len(wider) == len(statements):
                return decision
            statements = wider

    @cached_property
    def _steps(self) -> frozenset[str] | None:
        """The steps whose evidence may count, None where it may be of any name: a supplier's, a summary's."""
        layout = self.accepted.signed.layout
        outside = any(step.sublayout or step.verifier for step in layout.steps)
        return None if outside else frozenset(step.name for step in layout.steps)

    def _with_git(
        self, statements: Sequence[VerifiedStatement], signatures: Sequence[SignatureReport]
    ) -> Sequence[VerifiedStatement]:
        """Return the statements, each once, with those that count whatever chain they are on, and signed commits."""
        found = tuple({id(one): one for one in (*statements, *self.always)}.values())
        named = () if self._git is None else self._git.named_in(found, signatures)
        return tuple({id(one): one for one in (*found, *named)}.values())


def _statements_of(
    steps: Sequence[StepReport], statements: Sequence[VerifiedStatement]
) -> tuple[Statement, ...]:
    """Return what the attestations of a chain say, those of the chains behind its steps too."""
    ids, waiting = set(), [*steps]
    while waiting:
        one = waiting.pop()
        ids |= {found.id for found in one.attestations}
        waiting += one.sublayout.steps if one.sublayout else ()
    return tuple(one.statement for one in statements if one.attestation_id in ids)


def _with_git(decision: Decision, git: GitEvidence, signatures: Sequence[SignatureReport]) -> Decision:
    """Return the decision with what is wrong with the revision itself, which makes it FAILED.

    Where it has failed already, with why signatures could not be checked that it may lack.
    """
    if not decision.passed:
        lacking = tuple(git.unchecked(decision.findings))
        return replace(decision, findings=(*decision.findings, *lacking)) if lacking else decision
    findings = tuple(git.findings(signatures))
    checks = [
        Check("signature", passed=False, message=one.message, expected=one.expected, got=one.got)
        for one in findings
    ]
    return decision.with_inspections(findings, checks) if findings else decision


def _always(
    layout: Layout, evidence: Evidence, negative: Sequence[VerifiedStatement]
) -> Sequence[VerifiedStatement]:
    """Return what counts wherever it stands: revocations, facts about data sets, layouts of suppliers."""
    types = [DATASET] if layout.datasets else []
    suppliers = any(step.sublayout for step in layout.steps)
    types += [LAYOUT] if suppliers else []
    types += [CHECKPOINT] if suppliers or layout.freshness is not None else []
    return (*negative, *evidence.of_type(*types))


def _checkpoint(named: str | None) -> dict[str, bytes]:
    """Return the checkpoint that must be there by its attestation id, with its bundle if it is a file."""
    if named is None:
        return {}
    if is_sha256(named):
        return {named: b""}
    raw = bundle_file(named)
    if raw is None:
        raise UsageError(
            "no such checkpoint", got=named, expected="an attestation id of 64 digits, or a bundle file"
        )
    return {Bundle.parse(raw).attestation_id: raw}


def _remember(
    project: Project | None,
    accepted: Accepted,
    evidence: Evidence,
    now: datetime,
    read: Sequence[tuple[Source, Snapshot]],
) -> StoreError | None:
    """Remember the layout's version and what the store held; a user directory that is read-only still verifies."""
    layout = accepted.signed.layout
    try:
        remember_version(layout.name, layout.version, accepted.signed.digest)
        if project is not None:
            remember(project, evidence.tip, now, evidence.unreadable)
        for source, snapshot in read:
            source.remember(snapshot, now)
    except StoreError as error:
        return error
    return None

"""Verify a target: resolve it, gather evidence, decide. Trusted root and layout signer come from flags or pins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from gitchain.consume.load_layout import AcceptedLayout, LayoutOptions, load_policy
from gitchain.consume.targets import GivenTarget, resolve_targets
from gitchain.errors import ExitCode, GitchainError, LayoutError, StoreError
from gitchain.evidence.digest import Sha256
from gitchain.evidence.vocabulary import CHECKPOINT, RELEASE, REVOCATION, SOURCE
from gitchain.layout.model import Layout
from gitchain.sources.bundles import RefusedBundle
from gitchain.sources.evidence import Evidence
from gitchain.sources.gather import always, gather, unconnected
from gitchain.sources.rollback_protection import check_seen, last_seen, remember_all
from gitchain.verify.decide import Decision, Target, decide
from gitchain.verify.findings import Finding
from gitchain.verify.report import attestations_in
from gitchain.verify.verified import VerifiedStatement, is_early
from gitchain.workspace.project import Project

if TYPE_CHECKING:
    from gitchain.consume.bundle_subjects import Subjects
    from gitchain.consume.git_evidence import GitEvidence
    from gitchain.consume.signature_report import SignatureReport
    from gitchain.sources.interface import EvidenceSource

__all__ = ["AcceptedLayout", "Verification", "Verifier", "load_policy", "verify", "verify_batch"]


@dataclass(frozen=True)
class Verification:
    """The decisions about one target, which may resolve to several artifacts, and the refused evidence."""

    accepted: AcceptedLayout
    decisions: tuple[Decision, ...]
    refused: tuple[RefusedBundle, ...] = ()
    forgotten: StoreError | None = None
    """Why the layout's version or the state of the store could not be stored."""
    signatures: tuple[SignatureReport, ...] = ()
    """The signatures of tag and commit, if the target is a revision."""
    bundle: Subjects | None = None
    """The subjects of a target that is a bundle file: the decisions are about these subjects."""


def verify(
    project: Project | None,
    target: str,
    policy: LayoutOptions,
    now: datetime,
    *,
    explain: bool = False,
    sources: Sequence[EvidenceSource] = (),
) -> Verification:
    """Verify one target, and store the accepted layout version and the state of the store.

    Raises the errors of `Verifier.open`, and NoEvidenceError if the target has nothing to verify.
    """
    given = GivenTarget.parse(target)
    try:
        verifier = Verifier.open(project, policy, now, [given], sources)
    except LayoutError as error:
        from gitchain.consume.nested_repository import verifying_there

        if policy.layout is None and (there := verifying_there(project, target)):
            error.help = f"{there}   or {error.help}"
        raise
    return verifier.verify(given, explain=explain)


def verify_batch(
    project: Project | None,
    targets: Iterable[str],
    policy: LayoutOptions,
    now: datetime,
    *,
    explain: bool = False,
    sources: Sequence[EvidenceSource] = (),
) -> Iterator[tuple[str, Verification | GitchainError]]:
    """Verify many targets with the same layout, trusted root and evidence; yield each with its verification.

    A target that cannot be verified yields the error. Raises the errors of `Verifier.open` before the first.
    """
    named = [(target, GivenTarget.try_parse(target)) for target in targets]
    known = [given for _, given in named if isinstance(given, GivenTarget)]
    verifier = Verifier.open(project, policy, now, known, sources)
    for target, given in named:
        try:
            yield target, verifier.verify(given, explain=explain) if isinstance(given, GivenTarget) else given
        except GitchainError as error:
            yield target, error


@dataclass(frozen=True)
class Verifier:
    """A layout, the evidence and the revocations: decides about any number of targets."""

    project: Project | None
    accepted: AcceptedLayout
    evidence: Evidence
    always: Sequence[VerifiedStatement]
    """Statements that count for every chain, such as revocations."""
    now: datetime
    forgotten: StoreError | None = None

    @classmethod
    def open(
        cls,
        project: Project | None,
        policy: LayoutOptions,
        now: datetime,
        targets: Iterable[GivenTarget] = (),
        sources: Sequence[EvidenceSource] = (),
        before: Evidence | None = None,
    ) -> Verifier:
        """Load the layout, read the evidence, check that none was removed, and store the new states.

        `sources` are read in addition to the repository's store. `targets` that are bundle files add their own
        evidence. Bundles in the index of `before`, an earlier reading, are not parsed again.
        Raises the errors of `load_policy` and `Source.read`, and RollbackError if the store or a source
        lacks evidence that was seen before or that a checkpoint covers.
        """
        accepted = load_policy(project, policy, now)
        seen = last_seen(project) if project is not None else None
        read = [(source, source.read()) for source in sources]
        checkpoint = _required(policy.checkpoint)
        bundles = [target.bundle for target in targets if target.bundle is not None]
        layout = accepted.signed.layout
        extra = (*bundles, *filter(None, checkpoint.values()))
        snapshots = [snapshot for _, snapshot in read]
        evidence = gather(project, accepted.profile.trust, extra, layout.keys, snapshots, before)
        negative = evidence.of_type(REVOCATION)
        if project is not None:
            check_seen(project, seen, evidence.tip, evidence.unreadable)
        for source, snapshot in read:
            source.check(snapshot)
        _check_checkpoints(layout, evidence, negative, now, checkpoint)
        forgotten = remember_all(project, accepted.signed, evidence, now, read)
        return cls(project, accepted, evidence, always(evidence, layout, negative), now, forgotten)

    def verify(self, target: GivenTarget, *, explain: bool = False) -> Verification:
        """Decide about one target, and run the layout's inspections on its bytes.

        Raises NoEvidenceError or UsageError for an unknown target, SignatureError or InclusionError for a bundle file
        that does not verify.
        """
        bundle, layout = self._bundle(target), self.accepted.signed.layout
        targets = bundle.targets if bundle else resolve_targets(self.project, target, layout)
        signatures = self._signatures(target)
        git = self._git if signatures or self._has_sources else None
        decided = (self.decide(artifact, explain=explain, signatures=signatures) for artifact in targets)
        decisions = tuple(self._looked_at(artifact, target) for artifact in decided)
        if git is not None:
            decisions = tuple(git.applied_to(artifact, signatures) for artifact in decisions)
        refused = (*self.evidence.refused, *(git.not_counted() if git is not None else ()))
        return Verification(self.accepted, decisions, refused, self.forgotten, signatures, bundle)

    def _bundle(self, target: GivenTarget) -> Subjects | None:
        """Return the verified subjects of a bundle file, or None for another kind of target."""
        if target.bundle is None:
            return None
        from gitchain.consume.bundle_subjects import subjects_of

        return subjects_of(
            target.bundle, target.text, self.accepted.profile.trust, self.accepted.signed.layout.keys
        )

    def _looked_at(self, decision: Decision, target: GivenTarget) -> Decision:
        """Return the decision with inspection results and, if it failed, changes of line endings by Git."""
        if decision.passed and self.accepted.signed.layout.inspections:
            from gitchain.consume.inspections import inspected

            decision = inspected(decision, self.project, target)
        if not decision.passed and self.project is not None:
            from gitchain.consume.line_endings import with_line_endings
            from gitchain.consume.nested_repository import with_nested_repository

            decision = with_nested_repository(
                with_line_endings(decision, self.project), self.project, target.text
            )
        return decision

    @property
    def _has_sources(self) -> bool:
        """Return True if signed commits and tags are evidence for a step of the layout."""
        return any(step.predicate_type == SOURCE for step in self.accepted.signed.layout.steps)

    @cached_property
    def _git(self) -> GitEvidence | None:
        """The repository's signed commits and tags, if the layout or the target refers to them."""
        if self.project is None:
            return None
        from gitchain.consume.git_evidence import GitEvidence
        from gitchain.platform.gpg import GpgVerifier

        profile, layout = self.accepted.profile, self.accepted.signed.layout

        def about(sha256: Sha256) -> Sequence[VerifiedStatement]:
            statements = self.evidence.verified(self.evidence.about(sha256))
            return [statement for statement in statements if not is_early(statement, self.now)]

        gpg = GpgVerifier(self.project.root, self.now)
        return GitEvidence(self.project.root, profile.trust, layout, about, gpg, self.now)

    def _signatures(self, target: GivenTarget) -> tuple[SignatureReport, ...]:
        git = self._git if target.is_revision else None
        return () if git is None else git.report(target.text)

    def decide(
        self, target: Target, *, explain: bool = False, signatures: Sequence[SignatureReport] = ()
    ) -> Decision:
        """Decide on the evidence around the target first, and on all evidence if that does not pass.

        A pass requires all negative evidence about the artifacts of its chain: missing statements are added, and the
        decision is repeated. So a pass on partial evidence is a pass on all evidence. All evidence is needed only to
        fail with the right reason.
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
        others = unconnected(self.evidence, self.accepted.signed.layout)
        everything = self._with_git((*near, *others), signatures)
        if len(everything) > len(near):
            decision = self._settled(everything, decided, signatures)
        if decision.exit_code is ExitCode.NOTHING:
            from gitchain.consume.not_counted import why_not_counted

            beside = why_not_counted(self.evidence, self.accepted.signed.layout, target)
            decision = decided(everything) if beside else decision
        return decision

    def _settled(
        self,
        statements: Sequence[VerifiedStatement],
        decided: Callable[[Sequence[VerifiedStatement]], Decision],
        signatures: Sequence[SignatureReport],
    ) -> Decision:
        """Decide on these statements; repeat with all negative evidence about the chain's artifacts while it passes."""
        while True:
            decision = decided(statements)
            ids = attestations_in(decision.steps)
            chain = tuple(one.statement for one in statements if one.attestation_id in ids)
            wider = self._with_git((*statements, *self.evidence.against(chain, self._steps)), signatures)
            if not decision.passed or len(wider) == len(statements):
                return decision
            statements = wider

    @cached_property
    def _steps(self) -> frozenset[str] | None:
        """Return the steps whose evidence may count; None if statements may count that name another step or none."""
        layout = self.accepted.signed.layout
        outside = any(step.sublayout or step.verifier or step.select for step in layout.steps)
        return None if outside else frozenset(step.name for step in layout.steps)

    def _with_git(
        self, statements: Sequence[VerifiedStatement], signatures: Sequence[SignatureReport]
    ) -> Sequence[VerifiedStatement]:
        """Return the statements without duplicates, with those that count for every chain and signed commits."""
        gathered = tuple({id(statement): statement for statement in (*statements, *self.always)}.values())
        git = self._git if self._has_sources else None
        named = () if git is None else git.named_in(gathered, signatures)
        return tuple({id(statement): statement for statement in (*gathered, *named)}.values())


def _required(checkpoint: str | None) -> dict[str, bytes]:
    """Return the required checkpoint by its attestation id, with its bundle if it is a file; empty without one."""
    if checkpoint is None:
        return {}
    from gitchain.consume.store_checkpoints import required_checkpoint

    return required_checkpoint(checkpoint)


def _check_checkpoints(
    layout: Layout,
    evidence: Evidence,
    negative: Sequence[VerifiedStatement],
    now: datetime,
    required: dict[str, bytes],
) -> None:
    """Raise RollbackError if the evidence lacks what its checkpoints cover, or a required checkpoint."""
    if not required and not any(evidence.candidates_of(kind) for kind in (CHECKPOINT, RELEASE)):
        return
    from gitchain.consume.store_checkpoints import Checkpoints
    from gitchain.verify.revocations import Revocations

    Checkpoints(layout, evidence, Revocations.of(layout, negative, now)).check(required)

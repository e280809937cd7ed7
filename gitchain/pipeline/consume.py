"""Verify: target → evidence → decision. Trust and the layout's signer come from flags or pins, never from the repository."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gitchain.errors import GitchainError, LayoutError, StoreError, TrustError, UsageError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.vocabulary import DATASET, LAYOUT, REVOCATION
from gitchain.layout.model import Identity, Layout
from gitchain.pipeline.checkpoints import Checkpoints
from gitchain.pipeline.home import Pin, pin_for_repository, read_pins, remember_version
from gitchain.pipeline.inspections import inspected
from gitchain.pipeline.policy import read_signed_layout
from gitchain.pipeline.profiles import Profile, load_profile
from gitchain.pipeline.project import SIGNED_LAYOUT, Project
from gitchain.pipeline.seen import check_seen, remember
from gitchain.pipeline.sources import Evidence, Refused, gather
from gitchain.pipeline.targets import bundle_file, resolve_targets
from gitchain.store.shape import is_sha256
from gitchain.verify.decide import Decision, Target, decide
from gitchain.verify.layout import verify_layout
from gitchain.verify.revocations import Revocations
from gitchain.verify.verified import SignedLayout, VerifiedStatement


@dataclass(frozen=True, slots=True)
class Policy:
    """What the caller says about the layout; what is left out comes from the user's own pins."""

    layout: Path | None = None
    signers: tuple[Identity, ...] = ()
    trust: str | None = None
    offline: bool = False
    minimum_version: int = 0
    checkpoint: str | None = None
    """A checkpoint of the attestation set that the store must hold: its attestation id, or a bundle file."""


@dataclass(frozen=True)
class Accepted:
    """A layout that may decide: signed by the one who may sign it, in force, not rolled back."""

    signed: SignedLayout
    profile: Profile
    path: Path


@dataclass(frozen=True)
class Verification:
    """The decisions about one target, which may stand for several artifacts, and the evidence that did not verify."""

    accepted: Accepted
    decisions: tuple[Decision, ...]
    refused: tuple[Refused, ...] = ()
    forgotten: StoreError | None = None
    """Why the layout's version, or what the store held, could not be remembered."""


def load_policy(project: Project | None, policy: Policy, now: datetime) -> Accepted:
    """Find, verify and accept the layout.

    Raises LayoutError (no layout, wrong signer, expired, older than seen) or TrustError (nothing pinned, other trust).
    """
    if policy.layout is None and project is None:
        raise UsageError(
            "outside a repository the layout has to be named", help="gitchain verify … --layout FILE"
        )
    candidates = [policy.layout] if policy.layout else [project.root / SIGNED_LAYOUT]  # type: ignore[union-attr]
    path, raw = read_signed_layout(candidates)
    name = _claimed_name(raw, path)
    pin = _pin_of(project if policy.layout is None else None, name)
    signers, trust = _who_and_trust(policy, pin, name)
    profile = load_profile(trust, offline=policy.offline)
    if pin and not policy.trust and pin.trust_digest not in {"", profile.trust.digest}:
        raise TrustError(
            "the trust configuration is not the one that was pinned",
            where=trust,
            expected=f"sha256:{pin.trust_digest}",
            got=f"sha256:{profile.trust.digest}",
            help="if you replaced it yourself: gitchain trust pin …",
        )
    minimum = max(policy.minimum_version, pin.version if pin else 0)
    signed = verify_layout(raw, profile.trust, signers, now, minimum)
    if signed.layout.name != name:
        raise LayoutError(
            "the layout's name is not the one it was looked up by", expected=name, got=signed.layout.name
        )
    if pin and signed.layout.version == pin.version and pin.digest not in {"", signed.digest}:
        raise LayoutError(
            "another layout with the same version was accepted before",
            where=str(path),
            expected=f"sha256:{pin.digest}",
            got=f"sha256:{signed.digest}",
            help="its owner must raise the version",
        )
    return Accepted(signed, profile, path)


def verify(
    project: Project | None, target: str, policy: Policy, now: datetime, *, explain: bool = False
) -> Verification:
    """Verify one target, and remember the layout version that decided and what the store held.

    Raises what `Verifier.open` raises, and NoEvidenceError when the target names nothing that could be verified.
    """
    return Verifier.open(project, policy, now, [target]).verify(target, explain=explain)


def verify_batch(
    project: Project | None, targets: Iterable[str], policy: Policy, now: datetime, *, explain: bool = False
) -> Iterator[tuple[str, Verification | GitchainError]]:
    """Verify many targets with one layout, one trust and one look at the evidence; yield each with its verification.

    A target that cannot be verified yields the error. Raises what `Verifier.open` raises, before the first.
    """
    named = tuple(targets)
    verifier = Verifier.open(project, policy, now, named)
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
        cls, project: Project | None, policy: Policy, now: datetime, targets: Iterable[str] = ()
    ) -> Verifier:
        """Accept the layout, read the evidence, check that none of it was taken away, and remember both.

        `targets` that are bundle files bring their own evidence. Raises what `load_policy` raises, and RollbackError
        where the store lacks what was seen of it before, or what a checkpoint covers.
        """
        accepted = load_policy(project, policy, now)
        checkpoint = _checkpoint(policy.checkpoint)
        bundles = [bundle for target in targets if (bundle := bundle_file(target)) is not None]
        layout = accepted.signed.layout
        evidence = gather(
            project, accepted.profile.trust, (*bundles, *filter(None, checkpoint.values())), layout.keys
        )
        negative = evidence.of_type(REVOCATION)
        if project is not None:
            check_seen(project, evidence.tip, evidence.unreadable)
        Checkpoints(layout, evidence, Revocations.of(layout, negative)).check(checkpoint)
        forgotten = _remember(project, accepted, evidence, now)
        return cls(project, accepted, evidence, _always(layout, evidence, negative), now, forgotten)

    def verify(self, target: str, *, explain: bool = False) -> Verification:
        """Decide about one target, and inspect its bytes if the layout asks for it.

        Raises NoEvidenceError or UsageError for a target that names nothing.
        """
        targets = resolve_targets(self.project, target, self.accepted.signed.layout)
        decided = (self.decide(one, explain=explain) for one in targets)
        decisions = tuple(inspected(one, self.project, target) for one in decided)
        return Verification(self.accepted, decisions, tuple(self.evidence.refused), self.forgotten)

    def decide(self, target: Target, *, explain: bool = False) -> Decision:
        """Decide on the evidence around the target first; when that does not pass, on all evidence there is.

        All that may count against the target is around it, so a pass on less evidence is a pass on more: the second
        look is only needed to fail for the right reason.
        """
        decision = None
        for statements in self._widening(target):
            decision = decide(
                self.accepted.signed, statements, target, self.now, self.evidence.manifest, explain=explain
            )
            if decision.passed:
                return decision
        assert decision is not None  # noqa: S101 - _widening yields at least once
        return decision

    def _widening(self, target: Target) -> Iterator[Sequence[VerifiedStatement]]:
        layout = self.accepted.signed.layout
        outside = any(step.sublayout or step.verifier for step in layout.steps)
        steps = None if outside else {step.name for step in layout.steps}  # a supplier's steps have any name
        near = self._with_always(self.evidence.around(target.sha256, steps))
        yield near
        everything = self._with_always(self.evidence.of_steps(steps))
        if len(everything) > len(near):
            yield everything

    def _with_always(self, statements: Sequence[VerifiedStatement]) -> Sequence[VerifiedStatement]:
        return tuple({id(one): one for one in (*statements, *self.always)}.values())


def _always(
    layout: Layout, evidence: Evidence, negative: Sequence[VerifiedStatement]
) -> Sequence[VerifiedStatement]:
    """Return what counts wherever it stands: revocations, facts about data sets, layouts of suppliers."""
    types = [DATASET] if layout.datasets else []
    if any(step.sublayout for step in layout.steps):
        types.append(LAYOUT)
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
    project: Project | None, accepted: Accepted, evidence: Evidence, now: datetime
) -> StoreError | None:
    """Remember the layout's version and what the store held; a user directory that is read-only still verifies."""
    layout = accepted.signed.layout
    try:
        remember_version(layout.name, layout.version, accepted.signed.digest)
        if project is not None:
            remember(project, evidence.tip, now, evidence.unreadable)
    except StoreError as error:
        return error
    return None


def _claimed_name(raw: bytes, path: Path) -> str:
    try:
        name = Bundle.parse(raw).statement().predicate.get("name")
    except GitchainError as error:
        raise LayoutError(
            "the signed layout is not a bundle", where=str(path), got=str(error), help="gitchain layout sign"
        ) from error
    if not isinstance(name, str):
        raise LayoutError("the signed layout has no name", where=str(path))
    return name


def _pin_of(project: Project | None, name: str) -> Pin | None:
    """Return the pin for the layout; a repository pinned to one layout cannot swap in another."""
    bound = pin_for_repository(project.git.common_dir) if project else None
    if bound and bound.layout != name:
        raise LayoutError(
            "this repository brings another layout than the one it is pinned to",
            expected=bound.layout,
            got=name,
            help="gitchain trust pin   if you mean it",
        )
    return bound or read_pins().get(name)


def _who_and_trust(policy: Policy, pin: Pin | None, name: str) -> tuple[tuple[Identity, ...], str]:
    signers = policy.signers or (tuple(Identity(*signer) for signer in pin.signers) if pin else ())
    trust = policy.trust or (pin.trust if pin else None)
    if not signers or trust is None:
        raise TrustError(
            "nobody has said who may sign this layout",
            where=f"layout {name}",
            help=f"gitchain trust pin --layout {name} --signer IDENTITY   (or --signer, --issuer and --trust on verify)",
        )
    return signers, trust

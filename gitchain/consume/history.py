"""History of a model: all attestations on its chain, ordered by proven time, with signers and deployments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from gitchain.consume.history_rows import AffectedArtifacts, DerivedArtifact, HistoryEvent
from gitchain.consume.load_layout import LayoutOptions, load_policy
from gitchain.consume.targets import target_digests
from gitchain.errors import GitchainError, NoEvidenceError, TrustError, UsageError
from gitchain.evidence.predicates import REVOCATION
from gitchain.evidence.statement import Statement
from gitchain.layout.model import Layout
from gitchain.sources.bundle_facts import claim_in
from gitchain.sources.bundles import IndexedBundle
from gitchain.sources.evidence import Evidence
from gitchain.sources.gather import gather
from gitchain.sources.interface import Snapshot
from gitchain.sources.rollback_protection import check_seen, last_seen
from gitchain.trust.load_profile import load_profile
from gitchain.trust.profiles import Profile
from gitchain.verify.revocations import Revocations, Revoked
from gitchain.verify.trust import Trust
from gitchain.verify.verified import VerifiedStatement, is_early
from gitchain.workspace.project import Project
from gitchain.workspace.user_directory import pin_for_repository

UNNAMED_KEY = "signed with a key, and none that is accepted"
KEY_HELP = "--key FILE, with the signer's public key, counts what that key signed"
MIN_ID = 6  # shorter prefixes match too many attestations


@dataclass(frozen=True)
class History:
    """The events of one target, and the evidence that does not count."""

    events: tuple[HistoryEvent, ...]
    evidence: Evidence
    profile: Profile
    tainted: tuple[AffectedArtifacts, ...] = ()
    warnings: tuple[str, ...] = ()


def reading_profile(project: Project, trust: str | None, *, offline: bool) -> Profile:
    """Return the trust profile for reading: of the flag, of the pin, or the repository's own for signing."""
    pin = pin_for_repository(project.git.common_dir)
    if trust or pin:
        return load_profile(trust or pin.trust, offline=offline)  # type: ignore[union-attr]
    return load_profile(project.configured().trust, base=project.root, offline=offline)


def history(
    project: Project,
    target: str | None,
    trust: str | None,
    *,
    offline: bool = False,
    layout_name: str | None = None,
    keys: Sequence[bytes] = (),
    everything: bool = False,
) -> History:
    """Return the history of a target, or of the whole repository if `target` is None.

    The history of a revision is that of the artifacts which the layout serves, with `everything` of all artifacts that
    the commit pins. `keys` (DER) count as signers in addition to the layout's. Raises NoEvidenceError without any
    evidence.
    """
    profile = reading_profile(project, trust, offline=offline)
    policy = LayoutOptions(trust=trust, offline=offline, name=layout_name)
    layout, warnings = _layout(project, policy)
    evidence, lost = _gathered(project, profile.trust, (*(layout.keys if layout else ()), *keys))
    warnings += lost
    if target is None:
        found = evidence.verified(evidence.candidates)
    else:
        layouts = (None, layout) if everything and layout else (layout,)
        digests = [
            digest
            for serving in layouts
            for digest in target_digests(project, target, profile.trust, evidence.keys, serving)
        ]
        found = evidence.around(digests, None)
    now = datetime.now(UTC)
    early = [statement for statement in found if is_early(statement, now)]
    if early:
        warnings += (
            f"not shown: {len(early)} attestations whose proven time is ahead of this machine's clock",
        )
        found = tuple(statement for statement in found if not is_early(statement, now))
    if not found:
        raise NoEvidenceError(
            "nothing is attested",
            where=target or str(project.root),
            got=_not_counted(evidence),
            help=_help(project, evidence),
        )
    ordered = sorted(found, key=lambda statement: (statement.time, statement.log.index))
    negative = evidence.of_type(REVOCATION)
    revocations = Revocations.of(layout, negative, now) if layout else Revocations()
    warnings += tuple(finding.message for finding in revocations.problems)
    events = tuple(HistoryEvent(statement, tuple(_revoked(statement, revocations))) for statement in ordered)
    return History(
        events, evidence, profile, tuple(_tainted(events, evidence, revocations, layout)), warnings
    )


def lacks_key(evidence: Evidence) -> bool:
    """Return True if an attestation does not count because its key was not given."""
    return any(UNNAMED_KEY in one.reason for one in evidence.refused)


def _help(project: Project, evidence: Evidence) -> str:
    """Return the command to show if nothing counts."""
    if lacks_key(evidence):
        return KEY_HELP
    if project.git.has_work_tree:
        return "gitchain attest   or gitchain run -- dvc repro"
    return "git fetch origin 'refs/gitchain/*:refs/gitchain/*'"


def layout_keys(project: Project, trust: str | None, *, offline: bool = False) -> tuple[bytes, ...]:
    """Return the keys (DER) in the pinned layout; empty if no layout is accepted."""
    layout, _ = _layout(project, LayoutOptions(trust=trust, offline=offline))
    return layout.keys if layout else ()


def _not_counted(evidence: Evidence) -> str:
    """Return how much evidence does not count, with the first reason; empty if all evidence counts."""
    refused = evidence.refused
    return f"{len(refused)} that do not count: {refused[0].reason}" if refused else ""


def _layout(project: Project, policy: LayoutOptions) -> tuple[Layout | None, tuple[str, ...]]:
    """Return the pinned layout, which defines whose revocations count, or the reason why there is none."""
    try:
        accepted = load_policy(project, policy, datetime.now(UTC))
    except GitchainError as error:
        return None, (f"revocations are not shown: {error}",)
    return accepted.signed.layout, ()


def _gathered(project: Project, trust: Trust, keys: Sequence[bytes]) -> tuple[Evidence, tuple[str, ...]]:
    """Return the evidence, and a warning if the store lost some or its stored state is damaged."""
    try:
        seen = last_seen(project)
    except TrustError as error:
        return gather(project, trust, keys=keys), (str(error),)
    evidence = gather(project, trust, keys=keys)
    try:
        check_seen(project, seen, evidence.tip, evidence.unreadable)
    except TrustError as error:
        return evidence, (str(error),)
    return evidence, ()


def _revoked(statement: VerifiedStatement, revocations: Revocations) -> Iterator[tuple[str, Revoked]]:
    revocations_found = (
        ("attestation", revocations.attestation(statement.attestation_id)),
        ("signer", revocations.signer(statement.identity, statement.time)),
    )
    yield from ((what, revoked) for what, revoked in revocations_found if revoked)
    if statement.statement.predicate_type != REVOCATION:
        digests = dict.fromkeys(pair for item in statement.statement.subject for pair in item.digest.accepted)
        yield from (("artifact", revoked) for digest in digests if (revoked := revocations.artifact(digest)))


def _tainted(
    events: Sequence[HistoryEvent], evidence: Evidence, revocations: Revocations, layout: Layout | None
) -> Iterator[AffectedArtifacts]:
    """Yield the revoked artifacts in the events, with the artifacts derived from them."""
    spoken = {
        (*pair, item.digest["sha256"])
        for event in events
        for item in (*event.verified.statement.subject, *claim_in(event.verified.statement).materials)
        if "sha256" in item.digest
        for pair in item.digest.accepted
    }
    served = {(one.step, pattern) for one in layout.serve for pattern in one.products} if layout else set()
    tainted = {
        sha256: revoked
        for algorithm, value, sha256 in sorted(spoken)
        if (revoked := revocations.artifact((algorithm, value)))
    }
    for sha256, revoked in tainted.items():
        made = (
            DerivedArtifact(
                item.rule_name,
                item.digest["sha256"],
                claim.step,
                one.attestation_id,
                any(
                    claim.step == step and fnmatchcase(item.rule_name or "", pattern)
                    for step, pattern in served
                ),
            )
            for one in evidence.made_of(sha256)
            for claim in [claim_in(one.statement)]
            for item in claim.products
            if "sha256" in item.digest
        )
        yield AffectedArtifacts(sha256, revoked, tuple(made))


def find_attestation(
    project: Project | None,
    prefix: str,
    trust: str | None,
    *,
    offline: bool = False,
    keys: Sequence[bytes] = (),
    snapshots: Sequence[Snapshot] = (),
) -> tuple[Statement, VerifiedStatement | None, str]:
    """Return the attestation whose id starts with `prefix`: verified, or with the reason why it does not verify.

    `keys` as in `history`; `snapshots` are read besides the repository, which may be None if `trust` is given.
    """
    if len(prefix) < MIN_ID:
        raise UsageError(
            "an id needs more digits",
            expected=f"at least {MIN_ID}",
            got=prefix,
            help="gitchain log   shows the ids",
        )
    if project is None:
        profile, named = load_profile(trust or "public", offline=offline), tuple[bytes, ...]()
    else:
        profile = reading_profile(project, trust, offline=offline)
        named = layout_keys(project, trust, offline=offline)
    evidence = gather(project, profile.trust, keys=(*named, *keys), snapshots=snapshots)
    is_hex = re.fullmatch("[0-9a-f]+", prefix.lower()) is not None
    matches = [*evidence.bundles.with_id(prefix.lower())] if is_hex else []
    if not matches:
        raise NoEvidenceError("no attestation has this id", where=prefix, help="gitchain log")
    if len({one.attestation_id for one in matches}) > 1:
        raise UsageError(
            "several attestations have an id that starts so", got=prefix, help="give more digits"
        )
    return _verified_or_reason(evidence, matches)


def _verified_or_reason(
    evidence: Evidence, matches: list[IndexedBundle]
) -> tuple[Statement, VerifiedStatement | None, str]:
    statement = matches[0].statement
    try:
        verified = evidence.verified(matches)
    except GitchainError as error:
        return statement, None, str(error)
    reason = "; ".join(
        refused.reason for refused in evidence.refused if refused.attestation_id == statement.attestation_id
    )
    return statement, verified[0] if verified else None, reason

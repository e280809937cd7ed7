"""Attest the commits and tags that the hooks queued or missed. The queue holds hints, the repository the facts.

Commits: those in the queue that are still reachable, those of the work trees, and those between them and the newest
attested commit. Tags: those of attested versions, and those in the queue; tags older than gitchain are ignored.
Deleted and rewritten commits are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from gitchain.errors import GitchainError
from gitchain.evidence.vocabulary import RELEASE, VERSION
from gitchain.hooks.history import heads, raw_digests, reachable, recent, tags
from gitchain.platform.files import hold_lock, make_private
from gitchain.platform.git import Git
from gitchain.produce.checkpoint import newest_checkpoints
from gitchain.produce.draft import StatementDraft
from gitchain.produce.sign_and_store import SigningIdentity, SigningResult, project_profile, record
from gitchain.produce.versions import is_stored, package_url, release_draft, version_draft
from gitchain.store.queue import HookEvent, HookQueue
from gitchain.trust.profiles import Profile
from gitchain.workspace.project import Project

LOCK = "attest.lock"
COMMIT_EVENTS = frozenset({"post-commit", "post-merge", "post-rewrite"})

Report = Callable[[str, GitchainError], None]


@dataclass(frozen=True, slots=True)
class EventsResult:
    """Result of attesting events; `problems` are commits and tags that could not be attested, with reasons."""

    recorded: SigningResult
    problems: tuple[tuple[str, GitchainError], ...]


def catch_up(
    project: Project,
    identity: SigningIdentity | None = None,
    *,
    trust: str | None = None,
    offline: bool = False,
) -> EventsResult:
    """Attest unattested commits and tags; statements that cannot be signed now remain in the outbox.

    Raises ProjectError without a configuration, StoreError if the disk refuses: the events then stay in the queue.
    """
    profile = project_profile(project, trust, offline=offline)
    with _one_at_a_time(project.state_dir):
        return _catch_up(project, profile, identity or SigningIdentity())


def outstanding(project: Project) -> EventsResult:
    """Return the statements that `catch_up` would sign now (`recorded.queued`), and problems; signs nothing."""
    problems: list[tuple[str, GitchainError]] = []
    made = _drafts(project, (), lambda what, error: problems.append((what, error)))
    drafts = {draft.statement.attestation_id: draft.statement for draft in made}
    return EventsResult(SigningResult((), tuple(drafts.values())), tuple(problems))


def _catch_up(project: Project, profile: Profile, identity: SigningIdentity) -> EventsResult:
    batch = HookQueue(project.state_dir).take()
    problems: list[tuple[str, GitchainError]] = []
    try:
        made = _drafts(project, batch.events, lambda what, error: problems.append((what, error)))
        drafts = list({draft.statement.attestation_id: draft for draft in made}.values())
        result = record(project, profile, drafts, identity) if drafts else SigningResult(stored=())
    except BaseException:
        batch.release()
        raise
    batch.done()
    return EventsResult(result, tuple(problems))


@contextmanager
def _one_at_a_time(home: Path) -> Iterator[None]:
    """Wait for a running drainer, `gitchain sync` or push."""
    make_private(home)
    with hold_lock(home / LOCK):
        yield


def _drafts(project: Project, events: Sequence[HookEvent], report: Report) -> Iterator[StatementDraft]:
    git = project.store.git()
    pinning = set()
    for commit in _commits(project, git, events):
        for draft in _draft(partial(version_draft, project, commit), commit, report):
            pinning.add(commit)
            yield draft
    released = list(_tags(project, git, events, pinning))
    checkpoints = newest_checkpoints(project, datetime.now(UTC)) if released else ()
    for tag in released:
        yield from _draft(partial(release_draft, project, tag, checkpoints), tag, report)


def _draft(make: Callable[[], StatementDraft | None], what: str, report: Report) -> Iterator[StatementDraft]:
    try:
        draft = make()
    except GitchainError as error:
        report(what, error)
    else:
        if draft is not None:
            yield draft


def _commits(project: Project, git: Git, events: Sequence[HookEvent]) -> tuple[str, ...]:
    """Return the commits without a version attestation, oldest first."""
    named = reachable(
        git, (arg for event in events if event.event in COMMIT_EVENTS for arg in event.args[:1])
    )
    tips = heads(git)
    seen = dict.fromkeys([*recent(git, tips), *named])
    attested = {oid for oid, digest in raw_digests(git, seen).items() if is_stored(project, VERSION, digest)}
    missed = recent(git, tips, attested) if attested else tips
    return tuple(oid for oid in dict.fromkeys([*reversed(missed), *named]) if oid not in attested)


def _tags(project: Project, git: Git, events: Sequence[HookEvent], pinning: set[str]) -> Iterator[str]:
    """Yield the tags without a release attestation: of attested versions, or in the queue."""
    found = tags(git)
    digests = raw_digests(git, {oid for tag in found for oid in (tag.oid, tag.commit)})
    named = {arg for event in events if event.event == "tag" for arg in event.args[:1]}
    for tag in found:
        ours = f"refs/tags/{tag.name}" in named or tag.commit in pinning
        if not ours and not is_stored(project, VERSION, digests[tag.commit]):
            continue
        if not is_stored(project, RELEASE, digests[tag.oid], package_url(project, tag.name)):
            yield tag.name

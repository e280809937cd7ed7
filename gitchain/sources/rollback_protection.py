"""Rollback protection: detects that an attestation store lost bundles since this user last saw it.

After each verification, attestation and exchange with a remote, `seen/` in the user's directory stores the commit,
the number of bundles and the digest of their tree (docs/formats/history.md, schemas/seen.schema.json):

- by the repository's common directory, or the mirrored remote's URL: the content of this clone;
- by the first commits of the store's history, after an exchange: the content of a remote. New clones start with it.

`refs/gitchain-seen/attestations` keeps the commit, so that lost attestations can be listed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from gitchain.errors import GitchainError, RollbackError, StoreError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.claim import claim_of
from gitchain.evidence.vocabulary import time_text
from gitchain.sources.seen_store import SeenState, read_seen, seen_file, write_seen
from gitchain.store.history import bundle_at, held, keep, listed_more, lost, roots, tree_of
from gitchain.store.tree_paths import ATTESTATIONS, MANIFESTS, Oid
from gitchain.workspace.user_directory import home_lock, remember_version

if TYPE_CHECKING:
    from gitchain.sources.evidence import Evidence
    from gitchain.sources.interface import EvidenceSource, Snapshot
    from gitchain.store.git_ref import AttestationStore
    from gitchain.verify.verified import SignedLayout

MAX_UNREADABLE = 1000  # a store with more unreadable bundles is not recorded
NAMED = 5  # lost attestations listed in a message
FORGET = "gitchain sync   brings back what a remote has; if the loss is meant: gitchain trust forget-history"


class WatchedStore(Protocol):
    """A repository whose store must not shrink: the user's own (`Project`) or a mirrored one."""

    @property
    def store(self) -> AttestationStore:
        """Return its attestation store."""

    @property
    def seen_key(self) -> str:
        """Return the key of its records in `seen/`."""


def last_seen(project: WatchedStore) -> SeenState | None:
    """Return the stored state of this clone, or None. Raises TrustError if it is damaged.

    Call it before the store is read, and `check_seen` afterwards: another process may add to the store and store its
    state meanwhile, and what this process read is then older, with nothing lost.
    """
    return read_seen(_clone_key(project))


def check_seen(
    project: WatchedStore, own: SeenState | None, tip: Oid | None, unreadable: Collection[str] = ()
) -> None:
    """Check that the store at `tip` holds every bundle that was seen in it before.

    `own` is what `last_seen` returned before `tip` was read. Without it, the states that exchanges of other clones
    stored are compared. Raises RollbackError with the list of lost bundles, TrustError if a stored state is damaged.
    """
    for seen in _recalled(project, own, tip):
        if seen.commit != tip or unreadable:
            _check(project, seen, tip, unreadable)


def remember(
    project: WatchedStore, tip: Oid | None, now: datetime, unreadable: Collection[str] | None = None
) -> None:
    """Store the state of the store at `tip`, unless it lost evidence: the earlier state is then kept.

    `unreadable` are the paths of unreadable bundles, None if they were not checked. Raises StoreError if the user's
    directory or the repository is not writable.
    """
    if tip is not None and len(unreadable or ()) <= MAX_UNREADABLE:
        broken = None if unreadable is None else tuple(sorted(unreadable))
        _advance(project, _clone_key(project), tip, now, broken)


def remember_all(
    project: WatchedStore | None,
    signed: SignedLayout,
    evidence: Evidence,
    now: datetime,
    read: Sequence[tuple[EvidenceSource, Snapshot]],
) -> StoreError | None:
    """Store the layout's version and the state of the store and of each source that was read.

    Returns the error if the user's directory is read-only, which does not fail a verification.
    """
    try:
        remember_version(signed.layout.name, signed.layout.version, signed.digest)
        if project is not None:
            remember(project, evidence.tip, now, evidence.unreadable)
        for source, snapshot in read:
            source.remember(snapshot, now)
    except StoreError as error:
        return error
    return None


def lacks_exchanged(project: WatchedStore, theirs: Oid) -> bool:
    """Return True if another clone of this user exchanged more of the store than this clone holds.

    It may have done so since `theirs` was fetched: fetch again before `remember_exchange`.
    """
    for root in roots(project.store, theirs):
        seen = read_seen(_root_key(root))
        if seen is not None and seen.commit != theirs:
            try:
                _check(project, seen, project.store.tip(), ())
            except RollbackError:
                return True
    return False


def remember_exchange(project: WatchedStore, theirs: Oid, now: datetime) -> None:
    """Store the content of a remote after an exchange with it: the commit `theirs`.

    Raises RollbackError if another clone saw more of this store at a remote, because this clone then receives a
    different history. The loss is also recorded for this clone. Raises StoreError as in `remember`.
    """
    for root in roots(project.store, theirs):
        seen = read_seen(_root_key(root))
        if seen is not None and seen.commit != theirs:
            try:
                _check(project, seen, project.store.tip(), ())
            except RollbackError:
                with home_lock():
                    write_seen(replace(seen, key=_clone_key(project)))
                raise
        _advance(project, _root_key(root), theirs, now, None)
    remember(project, project.store.tip(), now)


def forget(project: WatchedStore) -> tuple[SeenState, ...]:
    """Delete all stored states of this repository's store, and return them."""
    tip = project.store.tip()
    keys = [_clone_key(project)]
    own = read_seen(keys[0])
    for commit in filter(None, (tip, own.commit if own else None)):
        keys += map(_root_key, _roots(project, commit))
    found = {key: seen for key in keys if (seen := read_seen(key)) is not None}
    with home_lock():
        for key in found:
            seen_file(key).unlink(missing_ok=True)
    return tuple(found.values())


def recalled(project: WatchedStore) -> tuple[SeenState, ...]:
    """Return the stored states that verification compares this repository's store with."""
    return tuple(_recalled(project, last_seen(project), project.store.tip()))


def _recalled(project: WatchedStore, own: SeenState | None, tip: Oid | None) -> Iterator[SeenState]:
    if own is not None:
        yield own
    elif tip is not None:
        yield from filter(None, (read_seen(_root_key(root)) for root in _roots(project, tip)))


def _check(project: WatchedStore, seen: SeenState, tip: Oid | None, unreadable: Collection[str]) -> None:
    same = (seen.tree, seen.manifests) == _trees(project, tip)
    try:
        missing = [] if same else list(lost(project.store, seen.commit, tip))
        nodes = [] if same else list(lost(project.store, seen.commit, tip, MANIFESTS))
    except GitchainError as error:
        raise RollbackError(
            "the attestation store is not the one that was seen here before",
            where=project.store.ref,
            expected=f"{seen.size} attestations or more, as at {seen.time} (commit {seen.commit})",
            got=f"another history, which does not have that commit: {error.what}",
            help=FORGET,
        ) from error
    broken = _gone(project, seen, unreadable)
    if missing or broken or nodes:
        listed = [_named(project, seen.commit, missing, broken)] if missing or broken else []
        listed += [f"manifest {name[:12]}" for name in nodes[:NAMED]]
        listed += [f"and {len(nodes) - NAMED} more manifests"] if len(nodes) > NAMED else []
        raise RollbackError(
            "the attestation store has lost attestations that it had before",
            where=project.store.ref,
            expected=f"all of the {seen.size} attestations seen at {seen.time}, and their manifests",
            got=f"{len(missing) + len(broken) + len(nodes)} missing: {', '.join(listed)}",
            help=FORGET,
        )


def _gone(project: WatchedStore, seen: SeenState, unreadable: Collection[str]) -> list[str]:
    """Return the bundles that are listed but unreadable now, and were readable before."""
    suspects = sorted(set(unreadable).difference(seen.unreadable))
    try:
        return [path for path in suspects if held(project.store, seen.commit, path)]
    except GitchainError:
        return suspects


def _named(project: WatchedStore, commit: str, missing: Sequence[str], broken: Sequence[str]) -> str:
    listed = [_name(bundle_at(project.store, commit, name), name) for name in missing[:NAMED]]
    listed += [f"{path} cannot be read" for path in broken[: NAMED - len(listed)]]
    more = len(missing) + len(broken) - len(listed)
    return ", ".join(listed) + (f" and {more} more" if more > 0 else "")


def _name(raw: bytes | None, name: str) -> str:
    """Return a readable name of a bundle: its attestation id and step, else its name in the store."""
    try:
        statement = Bundle.parse(raw or b"").statement()
        what = claim_of(statement).step or statement.predicate_type.rstrip("/").rsplit("/", 2)[-2]
    except (GitchainError, IndexError):
        return f"bundle {name[:12]}"
    return f"{statement.attestation_id[:12]} ({what[:80]})"


def _advance(
    project: WatchedStore, key: str, tip: Oid, now: datetime, unreadable: tuple[str, ...] | None
) -> None:
    with home_lock():
        old = read_seen(key)
        broken = (old.unreadable if old else ()) if unreadable is None else unreadable
        if old is not None and (old.commit, old.unreadable) == (tip, broken):
            return
        tree, manifests = _trees(project, tip)
        size = _grown(project, old, tip, (tree, manifests))
        if size is None:
            return
        time = time_text(now)
        write_seen(SeenState(key, tip, tree, size, time, broken, manifests))
    keep(project.store, tip)


def _trees(project: WatchedStore, commit: str | None) -> tuple[str | None, str | None]:
    """Return the trees of the bundles and of the manifest nodes at a commit; None for a missing tree."""
    found = (tree_of(project.store, commit, room) for room in (ATTESTATIONS, MANIFESTS))
    bundles, manifests = (entry.oid if entry else None for entry in found)
    return bundles, manifests


def _grown(
    project: WatchedStore, old: SeenState | None, tip: Oid, trees: tuple[str | None, str | None]
) -> int | None:
    """Return the number of bundles at `tip`, or None if a bundle or manifest node that was seen is missing."""
    if old is not None and (old.tree, old.manifests) == trees:
        return old.size
    before = old.commit if old else None
    try:
        for room in (ATTESTATIONS, MANIFESTS):
            if next(lost(project.store, before, tip, room), None) is not None:
                return None
        return (old.size if old else 0) + listed_more(project.store, before, tip)
    except GitchainError:
        return None  # the old commit is not available: `check_seen` reports that


def _roots(project: WatchedStore, commit: str) -> tuple[str, ...]:
    try:
        return roots(project.store, commit)
    except GitchainError:
        return ()  # reading the store reports what is wrong with it


def _clone_key(project: WatchedStore) -> str:
    return project.seen_key


def _root_key(root: str) -> str:
    return f"store {root}"

"""Read the evidence of a store, of other sources and of single bundles, through their indexes.

The index of a store is kept in the user's directory: `index/<sha256 of the store's key>-<generation>.sqlite`.
`index/<sha256 of the store's key>.seal` names the file, with its inode, size and times after the last change. An index
that does not fit its seal, or is of another format or store, is made anew in a file of another name: SQLite finds the
journal of a transaction by the file's name, so no name is given to a second file while the first one may be open.
Without a writable directory the index is made for this process alone: verification is then slower, and has the same
result.
"""

from __future__ import annotations

import os
import re
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.errors import GitchainError, LimitError, StoreError, TrustError
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.vocabulary import CHECKPOINT, DATASET, LAYOUT
from gitchain.layout.model import Layout
from gitchain.platform.files import make_directory, open_lock, read_regular, take_lock, write_durably
from gitchain.sources.bundle_index import FORMAT, BundleIndex
from gitchain.sources.bundles import IndexedBundles, Load, RefusedBundles
from gitchain.sources.evidence import Evidence
from gitchain.store.git_ref import AttestationStore
from gitchain.store.history import room_of
from gitchain.store.tree_paths import ATTESTATIONS, MANIFESTS, Oid
from gitchain.verify.trust import Trust
from gitchain.verify.verified import VerifiedStatement
from gitchain.workspace.project import Project
from gitchain.workspace.user_directory import user_directory

if TYPE_CHECKING:
    from gitchain.sources.interface import Snapshot

LOCK_SECONDS = 30.0  # to wait for another process that follows the same store
FOLLOWED_LEAVES = 20_000  # entries that are added to a file in use; for more, another file is made
KEPT_LEAVES = 2_000_000  # entries that one run adds to a kept index: it reads them once
KEPT_BYTES = 8 << 30
MAX_SEAL_BYTES = 1000
MAX_INDEXES = 64  # files that are kept: those written last
_UNUSABLE = (OSError, sqlite3.Error, StoreError, TrustError)


def index_of(store: AttestationStore, key: str, tip: Oid | None) -> BundleIndex:
    """Return an index with at least the store's attestations at a commit. `key` names the store in the user's directory.

    Raises the errors of `Follower.follow`.
    """
    if tip is None:
        found = BundleIndex()
        with found.filling():
            return found
    if not store.is_rehearsing:
        with suppress(*_UNUSABLE, _IncompleteError):
            return _kept(store, key, tip)
    return _made(store, tip)


class _IncompleteError(Exception):
    """Raised if something cannot be read now: an index without it must not be kept."""


def _made(store: AttestationStore, tip: Oid) -> BundleIndex:
    """Return an index for this process alone."""
    from gitchain.sources.follow_store import IndexUpdater

    index = BundleIndex()
    with index.filling():
        IndexUpdater(store, index).follow(tip)
    return index


def _kept(store: AttestationStore, key: str, tip: Oid) -> BundleIndex:
    key = sha256_hex(key.encode("utf-8", "surrogateescape"))
    seal = user_directory() / "index" / f"{key}.seal"
    if (found := _current(seal, store, tip)) is not None:
        return found
    make_directory(seal.parent)
    with _turn(seal.with_suffix(".lock")):
        if (found := _current(seal, store, tip)) is not None:
            return found
        place = _followed(seal, store, tip) or _made_anew(seal, store, tip)
        write_durably(seal, f"{place.name} {_state(place)}".encode("ascii"))
        _remove_old(seal, place)
        return BundleIndex(str(place))  # before others may replace it


def _sealed(seal: Path) -> Path | None:
    """Return the file that the seal names, if it is as it was sealed."""
    try:
        name, _, state = read_regular(seal, MAX_SEAL_BYTES).decode("ascii").partition(" ")
        place = seal.with_name(name)
        is_own = re.fullmatch(f"{seal.stem}-[0-9a-f]{{16}}\\.sqlite", name) is not None
        return place if is_own and state == _state(place) else None
    except (OSError, ValueError, GitchainError):
        return None


def _current(seal: Path, store: AttestationStore, tip: Oid) -> BundleIndex | None:
    """Return the stored index if it is sealed and has all attestations of the commit."""
    place = _sealed(seal)
    if place is None:
        return None
    index = BundleIndex(str(place))
    try:
        root = store.root(Oid(tip))
        if _is_of(index, seal) and all(
            index.value(room) == (room_of(store, root, room) or "") for room in (ATTESTATIONS, MANIFESTS)
        ):
            return index
    except GitchainError:
        index.close()
        return None
    index.close()
    return None


def _is_of(index: BundleIndex, seal: Path) -> bool:
    return (index.value("format"), index.value("store")) == (FORMAT, seal.stem)


def _followed(seal: Path, store: AttestationStore, tip: Oid) -> Path | None:
    """Return the stored index, brought up to the commit, or None if it must be built anew."""
    from gitchain.sources.follow_store import MustRebuildError

    place = _sealed(seal)
    if place is None:
        return None
    try:
        with closing(BundleIndex(str(place))) as index:
            if not _is_of(index, seal):
                return None
            index.let_others_read()
            _bring(index, store, tip, FOLLOWED_LEAVES)
    except (MustRebuildError, LimitError, sqlite3.Error, StoreError):
        return None
    return place


def _made_anew(seal: Path, store: AttestationStore, tip: Oid) -> Path:
    place = seal.with_name(f"{seal.stem}-{secrets.token_hex(8)}.sqlite")
    try:
        with closing(BundleIndex(str(place))) as index:
            place.chmod(0o600)
            with index.filling():
                index.set_value("store", seal.stem)
            _bring(index, store, tip, KEPT_LEAVES)
    except BaseException:
        place.unlink(missing_ok=True)
        place.with_name(f"{place.name}-journal").unlink(missing_ok=True)
        raise
    return place


def _bring(index: BundleIndex, store: AttestationStore, tip: Oid, most: int) -> None:
    from gitchain.sources.follow_store import IndexUpdater

    with index.filling():
        follower = IndexUpdater(store, index, most, KEPT_BYTES)
        follower.follow(tip)
        if follower.incomplete:
            raise _IncompleteError


def _remove_old(seal: Path, place: Path) -> None:
    """Remove earlier files of this store, which readers keep open, and the indexes that were written longest ago."""
    for old in seal.parent.glob(f"{seal.stem}-*"):
        if not old.name.startswith(place.name):
            old.unlink(missing_ok=True)
    seals = sorted(seal.parent.glob("*.seal"), key=lambda one: one.stat().st_mtime, reverse=True)
    for one in seals[MAX_INDEXES:]:
        for file in (*seal.parent.glob(f"{one.stem}-*"), one):
            file.unlink(missing_ok=True)


def _state(place: Path) -> str:
    """Return values of a file's stat that change with every write."""
    found = os.lstat(place)
    return f"{found.st_mode} {found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}\n"


@contextmanager
def _turn(path: Path) -> Iterator[None]:
    """Hold the lock of an index. Raises StoreError if another process holds it for too long."""
    with open_lock(path) as lock:
        if not take_lock(lock, LOCK_SECONDS):
            raise StoreError("another process holds the lock", where=str(path))
        yield


def gather(
    project: Project | None,
    trust: Trust,
    extra: Iterable[bytes] = (),
    keys: Sequence[bytes] = (),
    snapshots: Sequence[Snapshot] = (),
    before: Evidence | None = None,
) -> Evidence:
    """Index all bundles of the repository's store, of the snapshots, and of `extra`.

    Bundles that cannot be parsed are refused. What an earlier reading `before` indexed is not parsed again.
    `keys` are the keys in the policy; a key is never taken from a bundle.
    Raises NoEvidenceError if a partial clone lacks a bundle, LimitError as `Follower.follow` and `Indexer.add`.
    """
    tip = project.store.tip() if project else None
    held = {name: raw for snapshot in snapshots for name, raw in snapshot.bundles.items()}
    held |= {sha256_hex(raw): raw for raw in extra}
    indexes: list[tuple[BundleIndex, Load]] = []
    refused = RefusedBundles()
    unreadable: frozenset[str] = frozenset()
    if project is not None:
        index = index_of(project.store, project.seen_key, tip)
        store = project.store
        indexes.append((index, lambda facts: store.bundle(Oid(facts.place), facts.name)))
        problems = index.problems()
        refused.add_all(f"{message}, in {path}" for path, message in problems)
        unreadable = frozenset(path for path, _ in problems if path.split("/")[0] == ATTESTATIONS)
    for snapshot in snapshots:
        refused.add_all(snapshot.problems)
        indexes += [snapshot.stored] if snapshot.stored is not None else []
    in_memory = None
    if held or any(snapshot.nodes for snapshot in snapshots):
        in_memory = _in_memory(held, snapshots, before.in_memory if before else None)
        indexes.append((in_memory, lambda facts: held[facts.name]))
    for index, load in indexes:
        refused.add_bundles(index, load)
    lookups: list[Callable[[str], bytes | None]] = [project.store.manifest] if project else []
    lookups += [snapshot.manifest for snapshot in snapshots]
    if len(lookups) == 1:
        manifest = lookups[0]
    else:
        from gitchain.sources.interface import together

        manifest = together(lookups)
    bundles = IndexedBundles(indexes)
    return Evidence(bundles, trust, manifest, refused.reasons(), keys, tip, unreadable, bundles, in_memory)


def _in_memory(
    held: Mapping[str, bytes], snapshots: Iterable[Snapshot], before: BundleIndex | None
) -> BundleIndex:
    """Return the index of these bundles; the facts that `before` has about them are copied."""
    from gitchain.sources.follow_store import add_bundles

    index = BundleIndex()
    if before is not None and before.names() <= held.keys():
        before.copy_to(index)
    with index.filling():
        index.forget_nodes()
        add_bundles(index, held.items())
        for snapshot in snapshots:
            index.add_nodes(snapshot.nodes)
    return index


def unconnected(evidence: Evidence, layout: Layout) -> tuple[VerifiedStatement, ...]:
    """Return the statements that may count for a step although nothing connects them to the target, up to a number.

    Found by their step, or by their type for a step that selects. With a sublayout or a verifier any statement may count.
    """
    if any(step.sublayout or step.verifier for step in layout.steps):
        return evidence.of_steps(None)
    types = {step.predicate_type for step in layout.steps if step.select}
    return evidence.of_steps({step.name for step in layout.steps}, *types)


def always(
    evidence: Evidence, layout: Layout, negative: Sequence[VerifiedStatement]
) -> Sequence[VerifiedStatement]:
    """Return the statements that count for every chain: revocations, facts about data sets, suppliers' layouts."""
    types = [DATASET] if layout.datasets else []
    suppliers = any(step.sublayout for step in layout.steps)
    types += [LAYOUT] if suppliers else []
    types += [CHECKPOINT] if suppliers or layout.freshness is not None else []
    return (*negative, *evidence.of_type(*types))

"""Compare the store at two commits, and keep the last commit seen by this clone.

A store only grows, in any commit history: every bundle of the older tree must be in the newer one. Equal subtrees are
skipped, so the cost is proportional to the difference.

`refs/gitchain-seen/attestations` keeps the last seen commit available, so that lost attestations can be listed. It is
no proof: the seen state is stored in the user's directory (`gitchain.sources.rollback_protection`).
"""

from __future__ import annotations

from collections.abc import Iterator

from gitchain.errors import LimitError, MalformedError, NoEvidenceError, StoreError
from gitchain.store import tree_paths
from gitchain.store.git_ref import AttestationStore
from gitchain.store.tree_paths import Oid, StoredTreeEntry
from gitchain.store.trees import UNREADABLE, Path, StoreProblem, Trees

SEEN_REF = "refs/gitchain-seen/attestations"


def tree_of(
    store: AttestationStore, commit: str | None, room: str = tree_paths.ATTESTATIONS
) -> StoredTreeEntry | None:
    """Return the tree of the bundles (or manifest nodes) at a commit of the store, or None without any.

    Raises StoreError if the commit is not available, MalformedError if it is not a store's.
    """
    return None if commit is None else store.trees.find(store.root(Oid(commit)), (room,))


def lost(
    store: AttestationStore, old: str | None, new: str | None, room: str = tree_paths.ATTESTATIONS
) -> Iterator[str]:
    """Yield the names of bundles or nodes in `old` that are missing or changed in `new`.

    Removed entries that were no bundle or node are ignored: junk may be removed. Raises the errors of `tree_of`.
    """
    for path, entry in _gone(store, old, new, room):
        if _may_be_attestation(store, path, entry):
            yield tree_paths.leaf_name(path)


def listed_more(store: AttestationStore, old: str | None, new: str | None) -> int:
    """Return the number of bundles listed at the new commit but not at the old one, without reading them."""
    if old is None:
        return 0 if tree_of(store, new) is None else sum(1 for _ in store.all_names(new))
    return sum(1 for _ in _gone(store, new, old, tree_paths.ATTESTATIONS))


def _gone(
    store: AttestationStore, old: str | None, new: str | None, room: str
) -> Iterator[tuple[Path, StoredTreeEntry]]:
    before = tree_of(store, old, room)
    if before is not None:
        yield from _lost(store.trees, (room,), before, tree_of(store, new, room))


def _may_be_attestation(store: AttestationStore, path: Path, entry: StoredTreeEntry) -> bool:
    """Return True if a removed leaf was an attestation, or is unreadable and may have been one."""
    try:
        store.trees.leaves_of(path, entry)
    except (MalformedError, LimitError):
        return False
    except (StoreError, NoEvidenceError):
        return True
    return True


def _lost(
    trees: Trees, path: Path, old: StoredTreeEntry, new: StoredTreeEntry | None
) -> Iterator[tuple[Path, StoredTreeEntry]]:
    if old == new:
        return
    if not old.is_tree:
        yield path, old
        return
    inside = trees.entries(path, new.oid) if new is not None and new.is_tree else ()
    after = {entry.name: entry for entry in inside}
    changed = (one for one in trees.children(path, old.oid, _ignore) if one[1] != after.get(one[1].name))
    for inner, entry in trees.ahead(changed, after):
        yield from _lost(trees, inner, entry, after.get(entry.name))


def bundle_at(store: AttestationStore, commit: str, name: str) -> bytes | None:
    """Return the bytes of a bundle at a commit, or None if it cannot be read."""
    path = tree_paths.content_path(tree_paths.ATTESTATIONS, name)
    try:
        entry = store.trees.find(store.root(Oid(commit)), path)
        return None if entry is None else store.trees.leaf(path, entry)
    except UNREADABLE:
        return None


def held(store: AttestationStore, commit: str, path: str) -> bool:
    """Return True if the store listed a bundle, or a directory of bundles, at a commit.

    Raises StoreError if the commit or one of its trees is not available.
    """
    root = store.root(Oid(commit))
    try:
        return store.trees.find(root, tuple(path.split("/"))) is not None
    except MalformedError:
        return False  # not a bundle's path


def roots(store: AttestationStore, commit: str) -> tuple[str, ...]:
    """Return the first commits of the store's history, which identify the store in all clones."""
    done = store.git().run("rev-list", "--max-parents=0", "--end-of-options", commit)
    return tuple(sorted(done.stdout.decode("ascii").split()))


def keep(store: AttestationStore, commit: str) -> None:
    """Keep a commit reachable as the last one seen. Raises StoreError if the disk refuses.

    If another process wins the race, its commit is kept.
    """
    now = store.backend.read_ref(SEEN_REF)
    if now != commit:
        store.backend.swap_ref(SEEN_REF, Oid(commit), now)


def _ignore(_problem: StoreProblem) -> None:
    return


def room_of(store: AttestationStore, root: Oid, room: str) -> Oid | None:
    """Return the tree of the bundles or of the manifest nodes in a store's tree; None without any.

    Raises the errors of `Trees.find` if it is no directory.
    """
    entry = store.trees.find(root, (room,))
    return entry.oid if entry else None

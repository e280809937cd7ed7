"""What a store held at one commit and does not hold at another; and the commit that this clone has seen last.

A store only grows, whatever way its commits go: what counts is that every bundle of the older tree is in the newer
one. Subtrees that are the same are not looked into, so the cost is that of the difference.

`refs/gitchain-seen/attestations` keeps the commit that was seen last at hand, so that what is lost can be named. It is
a help, not a proof: what was seen is kept in the user's own directory (`gitchain.pipeline.seen`).
"""

from __future__ import annotations

from collections.abc import Iterator

from gitchain.errors import LimitError, MalformedError, NoEvidenceError, StoreError
from gitchain.store import shape
from gitchain.store.git_ref import AttestationStore
from gitchain.store.objects import Entry, Oid
from gitchain.store.trees import UNREADABLE, Path, Problem, Trees

SEEN_REF = "refs/gitchain-seen/attestations"


def tree_of(store: AttestationStore, commit: str | None, room: str = shape.ATTESTATIONS) -> Entry | None:
    """Return the tree of the bundles (or manifest nodes) at a commit of the store, None where it holds none.

    StoreError where the commit is not at hand, MalformedError where it is no store's.
    """
    return None if commit is None else store.trees.find(store.root(Oid(commit)), (room,))


def lost(
    store: AttestationStore, old: str | None, new: str | None, room: str = shape.ATTESTATIONS
) -> Iterator[str]:
    """Yield the names of what the store held in a room at one commit and does not hold, or holds changed, at another.

    What was listed there and was no bundle or node is not missed: junk may be removed. Raises as `tree_of`.
    """
    for path, entry in _gone(store, old, new, room):
        if _may_be_attestation(store, path, entry):
            yield shape.leaf_name(path)


def listed_more(store: AttestationStore, old: str | None, new: str | None) -> int:
    """Return how many bundles the store lists at the new commit that it does not list at the old one, unread."""
    return sum(1 for _ in _gone(store, new, old, shape.ATTESTATIONS))


def _gone(
    store: AttestationStore, old: str | None, new: str | None, room: str
) -> Iterator[tuple[Path, Entry]]:
    before = tree_of(store, old, room)
    if before is not None:
        yield from _lost(store.trees, (room,), before, tree_of(store, new, room))


def _may_be_attestation(store: AttestationStore, path: Path, entry: Entry) -> bool:
    """Tell whether a leaf that is gone held an attestation, or cannot be read to say that it did not."""
    try:
        store.trees.leaves_of(path, entry)
    except (MalformedError, LimitError):
        return False
    except (StoreError, NoEvidenceError):
        return True
    return True


def _lost(trees: Trees, path: Path, old: Entry, new: Entry | None) -> Iterator[tuple[Path, Entry]]:
    if old == new:
        return
    if not old.is_tree:
        yield path, old
        return
    inside = trees.entries(path, new.oid) if new is not None and new.is_tree else ()
    after = {entry.name: entry for entry in inside}
    for inner, entry in trees.children(path, old.oid, _ignore):
        yield from _lost(trees, inner, entry, after.get(entry.name))


def bundle_at(store: AttestationStore, commit: str, name: str) -> bytes | None:
    """Return a bundle as it was at a commit, None where it cannot be read."""
    path = shape.content_path(shape.ATTESTATIONS, name)
    try:
        entry = store.trees.find(store.root(Oid(commit)), path)
        return None if entry is None else store.trees.leaf(path, entry)
    except UNREADABLE:
        return None


def held(store: AttestationStore, commit: str, path: str) -> bool:
    """Tell whether the store listed a bundle, or a directory of them, at a commit.

    StoreError where the commit or a tree on the way is not at hand.
    """
    root = store.root(Oid(commit))
    try:
        return store.trees.find(root, tuple(path.split("/"))) is not None
    except MalformedError:
        return False  # no bundle, and never was one


def roots(store: AttestationStore, commit: str) -> tuple[str, ...]:
    """Return the first commits of the store's history: they name the store wherever it is cloned to."""
    done = store.git().run("rev-list", "--max-parents=0", "--end-of-options", commit)
    return tuple(sorted(done.stdout.decode("ascii").split()))


def keep(store: AttestationStore, commit: str) -> None:
    """Keep a commit reachable as the one seen last; StoreError where the disk refuses.

    Who loses the race against another process leaves what that one kept.
    """
    now = store.backend.read_ref(SEEN_REF)
    if now != commit:
        store.backend.swap_ref(SEEN_REF, Oid(commit), now)


def _ignore(_problem: Problem) -> None:
    return

"""Exchange with a remote: fetch and import its evidence, then push, and repeat if another clone pushed first.

The remote's ref is fetched into `refs/gitchain-remotes/<remote>/attestations`, never over the store's own ref.
Well-formed attestations and manifest nodes are imported. Junk is reported and ignored: it is not imported and does
not block other entries. A push adds missing entries to the remote's tree and removes nothing, unless `prune` is
given. It is never forced: the server's refusal of non-fast-forwards is the compare-and-swap between clones. Content
of a remote is imported before the tracking ref moves, so a rewound or emptied remote loses nothing and is completed
again.

Work tree, branches and configuration are unchanged. Fetched content is checked for form, not verified.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from gitchain.errors import ConflictError, LimitError
from gitchain.store import tree_paths
from gitchain.store.git_ref import AttestationStore
from gitchain.store.leaf_checks import checked_leaves, count_attestations, within
from gitchain.store.remote_git import RemoteGit
from gitchain.store.remote_names import check_named, remotes
from gitchain.store.tree_paths import Oid
from gitchain.store.trees import UNREADABLE, Path, StoreProblem

MAX_ATTEMPTS = 20  # rounds of fetch and push while other clones push
MAX_REFUSALS = 5  # consecutive refused pushes without another writer: the server refuses for good
MAX_NEW = 200_000  # most entries of one exchange
MAX_NEW_BYTES = 512 << 20  # of their decompressed bytes: smallest first, so that large junk blocks nothing
MAX_JUNK = 1000  # most problems in the report


@dataclass(frozen=True, slots=True)
class SyncResult:
    """Result of one synchronisation."""

    fetched: int
    """Number of attestations that are new here."""
    pushed: int
    """Number of attestations that are new at the remote."""
    attempts: int
    """Rounds of fetch and push."""
    rewound: bool
    """Whether the remote's ref had lost commits that were seen there before; they were pushed again."""
    tip: Oid | None = None
    """The commit of the remote's ref, or None if it does not exist."""
    junk: tuple[StoreProblem, ...] = ()
    """Entries of the remote's store that are no evidence and were not imported."""
    unread: int = 0
    """Number of entries beyond MAX_NEW and MAX_NEW_BYTES, which were not imported."""


def wait_for_others(attempt: int) -> None:
    """Wait a random time that grows with the attempts: a push takes a second, not a millisecond."""
    longest = min(0.05 * 2 ** min(attempt, 10), 3.0)
    time.sleep(random.uniform(0, longest))  # noqa: S311 - jitter, no secret


def sync(
    store: AttestationStore,
    remote: str,
    *,
    wait: Callable[[int], None] = wait_for_others,
    prune: bool = False,
) -> SyncResult:
    """Import the remote's evidence and push the own, as `Exchange.fetch` and `Exchange.push`."""
    exchange = RemoteExchange(store, remote, wait=wait)
    exchange.fetch()
    return exchange.push(prune=prune)


class RemoteExchange:
    """An exchange with a remote: `fetch`, then `push`. In between the caller may add to the store.

    Without `imports` nothing is imported. With `rehearses` the store keeps changes in memory, and `forget` deletes
    the fetched ref. Raises ProjectError for an unknown remote.
    """

    def __init__(
        self,
        store: AttestationStore,
        remote: str,
        *,
        imports: bool = True,
        rehearses: bool = False,
        wait: Callable[[int], None] = wait_for_others,
    ) -> None:
        self._store = store
        self._git = store.git()
        self.remote = self._remote = remote
        self._imports = imports
        self._wait = wait
        self._rehearses = rehearses
        name = "rehearsal" if rehearses else "attestations" if imports else "pushed"
        self._tracking = f"refs/gitchain-remotes/{remote}/{name}"
        self._theirs: Oid | None = None
        self._fetched = 0
        self._rewound = False
        self._junk: dict[str, StoreProblem] = {}
        self._unread = 0
        self._lacked: tuple[tuple[Oid | None, Oid], dict[Path, Oid]] | None = None
        check_named(remote, remotes(store))
        self._network = RemoteGit(self._git, remote, store.ref, self._tracking, partial=store.backend.partial)

    @property
    def junk(self) -> tuple[StoreProblem, ...]:
        """Return the entries at the remote so far that are no evidence."""
        return tuple(self._junk.values())

    @property
    def unread(self) -> int:
        """Return the number of the remote's entries beyond the limits at the last fetch."""
        return self._unread

    @property
    def fetched(self) -> int:
        """Return the number of attestations imported so far."""
        return self._fetched

    def fetch(self) -> None:
        """Fetch the remote's store and import its evidence.

        Raises TransportError if the remote does not respond. Raises StoreError or MalformedError if its ref has another
        format or is not a store.
        """
        before = None if self._rehearses else self._readable(self._seen())
        if self._imports:
            self._take(before)  # left over from an interrupted run
        self._again(before)

    def _readable(self, tip: Oid | None) -> Oid | None:
        """Return the earlier fetched commit, or None if it is not a store: the remote may be repaired since."""
        try:
            if tip is not None:
                self._store.foreign_root(tip, _ignore)
        except UNREADABLE:
            return None
        return tip

    def _again(self, before: Oid | None) -> None:
        self._theirs = self._seen() if self._network.fetch() else None
        if self._theirs is not None:
            self._store.foreign_root(self._theirs, self._note)  # a ref may point to any object
        self._rewound = self._rewound or (before is not None and not self._contains(self._theirs, before))
        if self._imports:
            self._take(self._theirs)

    def push(self, *, prune: bool = False) -> SyncResult:
        """Push the attestations and manifest nodes that the remote lacks, in one commit on top of its own.

        With `prune` the pushed tree contains only evidence, and so does the own store afterwards. Raises
        TransportError if the remote refuses, with its message. Raises ConflictError if other clones keep pushing; LimitError
        if evidence of the remote was not read, which `prune` would remove.
        """
        try:
            return self._push_until_accepted(prune=prune)
        finally:
            self._store.backend.discard()

    def _push_until_accepted(self, *, prune: bool) -> SyncResult:
        refused = 0
        for attempt in range(1, MAX_ATTEMPTS + 1):
            if prune:
                self._prune()
            commit, count = self._commit_to_push(prune=prune)
            if commit is None:
                return self._result(0, attempt, self._theirs)
            done = self._network.push(commit)
            if done.code == 0:
                self._git.run("update-ref", "--no-deref", self._tracking, commit)
                return self._result(count, attempt, commit)
            self._wait(attempt)
            theirs = self._theirs
            self._again(theirs)
            refused = refused + 1 if self._theirs == theirs else 0
            if refused == MAX_REFUSALS:
                raise self._network.refusal(done)
        raise ConflictError("other clones kept pushing", where=self._remote, help="try again: gitchain sync")

    def lacking(self) -> int:
        """Return the number of attestations that the remote lacks."""
        tip, theirs = self._store.tip(), self._theirs
        base = None if theirs is None else self._store.foreign_root(theirs, self._note)
        return 0 if tip is None else count_attestations(self._lacking(base, Oid(tip)))

    def forget(self) -> None:
        """Delete the fetched ref, after a dry run."""
        self._git.run("update-ref", "--no-deref", "-d", self._tracking)

    def _result(self, pushed: int, attempts: int, tip: Oid | None) -> SyncResult:
        return SyncResult(self._fetched, pushed, attempts, self._rewound, tip, self.junk, self._unread)

    def _note(self, problem: StoreProblem) -> None:
        if len(self._junk) < MAX_JUNK:
            self._junk.setdefault(problem.path, problem)

    def _seen(self) -> Oid | None:
        return self._store.backend.read_ref(self._tracking)

    def _take(self, theirs: Oid | None) -> None:
        """Add the evidence of the remote's commit to the own store; use that commit itself if it has everything."""
        if theirs is None or self._contains(self._store.tip(), theirs):
            return
        other = self._store.foreign_root(theirs, self._note)
        taken = 0

        def change(tip: Oid | None) -> Oid:
            nonlocal taken
            root = None if tip is None else self._store.root(tip)
            leaves, whole = self._new_leaves(root, other)
            taken = count_attestations(leaves)
            if tip is not None and not leaves:
                return tip
            tree = self._store.trees.insert(root, leaves | self._version())
            if tree == other and (tip is None or self._contains(theirs, tip)):
                return theirs
            parents = (*([tip] if tip else []), *([theirs] if whole else []))  # else it is read again
            return self._store.commit(tree, parents, f"unite with {self._remote}")

        self._store.advance(change)
        self._fetched += taken

    def _version(self) -> dict[Path, Oid]:
        return {(tree_paths.VERSION_NAME,): self._store.backend.write("blob", tree_paths.VERSION_BYTES)}

    def _new_leaves(self, root: Oid | None, other: Oid) -> tuple[dict[Path, Oid], bool]:
        """Return the leaves of new evidence, and whether everything was read.

        The smallest are read first, until the limits are reached.
        """
        backend, trees = self._store.backend, self._store.trees
        listed = list(islice(trees.added(root, other, self._note), MAX_NEW + 1))
        some, beyond = within(listed[:MAX_NEW], backend.size, backend.expect, MAX_NEW_BYTES)
        self._unread = beyond + len(listed[MAX_NEW:])
        return checked_leaves(trees, some, self._note), not self._unread

    def _commit_to_push(self, *, prune: bool) -> tuple[Oid | None, int]:
        """Return the commit for the remote's ref, None if it is unchanged, and the number of added attestations."""
        tip, theirs = self._store.tip(), self._theirs
        if tip is None or tip == theirs:
            return None, 0
        ours = Oid(tip)
        base = None if theirs is None else self._store.foreign_root(theirs, self._note)
        leaves = self._lacking(base, ours)
        mine = self._store.root(ours)
        if not leaves and not (prune and base != mine):
            return None, 0
        tree = mine if prune else self._store.trees.insert(base, leaves | self._version())
        if tree == mine and self._follows(ours, theirs):
            self._store.backend.discard()
            return ours, count_attestations(leaves)
        parents = (ours,) if theirs is None else (ours, theirs)
        commit = self._store.commit(tree, parents, f"add to {self._remote}")
        self._store.backend.flush()
        return commit, count_attestations(leaves)

    def _follows(self, ours: Oid, theirs: Oid | None) -> bool:
        return theirs is None or self._contains(ours, theirs)

    def _lacking(self, base: Oid | None, ours: Oid) -> dict[Path, Oid]:
        """Return the leaves of evidence that the own commit has and a tree lacks."""
        if self._lacked is None or self._lacked[0] != (base, ours):
            trees = self._store.trees
            added = trees.added(base, self._store.root(ours), _ignore)
            # junk of the own store stays here: `gitchain doctor` reports it
            self._lacked = (base, ours), checked_leaves(trees, added, _ignore)
        return self._lacked[1]

    def _prune(self) -> None:
        """Remove everything but evidence from the own store."""
        if self._unread:
            raise LimitError(
                "the remote's store holds more than can be read in one exchange: nothing was removed",
                where=self._remote,
                got=f"{self._unread} entries that were not read",
                help="git gc, then gitchain sync, until nothing is left unread",
            )

        def change(tip: Oid | None) -> Oid | None:
            if tip is None:
                return None
            leaves = self._lacking(None, tip)
            tree = self._store.trees.insert(None, leaves | self._version())
            return tip if tree == self._store.root(tip) else self._store.commit(tree, (tip,), "remove junk")

        if self._store.tip() is not None:
            self._store.advance(change)  # type: ignore[arg-type]

    def _contains(self, tip: Oid | None, ancestor: Oid) -> bool:
        if tip is None or tip == ancestor:
            return tip == ancestor
        return self._git.run("merge-base", "--is-ancestor", ancestor, tip, accept=(0, 1)).code == 0


def _ignore(_problem: StoreProblem) -> None:
    return

"""Bringing two stores together: fetch, unite, push, and again if someone was faster.

The remote's ref is fetched into `refs/gitchain-remotes/<remote>/attestations`, never over the store's own
ref. The two trees are united (add-only, so there is nothing to resolve), committed with both tips as
parents, and pushed without force: the server's refusal of what is no fast-forward is the compare-and-swap
between clones. What a remote once had is united before the tracking ref moves on, so a rewound or emptied
remote loses nothing and gets everything back.

No working tree, no branch and no configuration is touched. What is fetched is checked for form, not for
truth.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from gitchain.errors import ConflictError, ProjectError, TransportError
from gitchain.platform.git import Done
from gitchain.store.git_ref import AttestationStore
from gitchain.store.objects import Oid

MAX_ATTEMPTS = 20  # rounds of fetch and push against other clones that keep pushing
MAX_DEPTH = 8  # of the store's tree, and one: each round finds what a missing tree hid
MAX_REFUSALS = 5  # pushes refused although nobody else moved the ref: then the server means it


@dataclass(frozen=True, slots=True)
class SyncResult:
    """What one synchronisation did."""

    fetched: int
    """Bundles and manifest nodes that are new here."""
    pushed: int
    """Bundles and manifest nodes that are new at the remote."""
    attempts: int
    """Rounds of fetch and push."""
    rewound: bool
    """The remote's ref had lost commits that were seen there before; they are back."""
    tip: str | None = None
    """The commit that both hold now, None where there is nothing yet."""


def wait_for_others(attempt: int) -> None:
    """Wait a random time that grows with the attempts: a push over a network takes a second, not a millisecond."""
    longest = min(0.05 * 2 ** min(attempt, 10), 3.0)
    time.sleep(random.uniform(0, longest))  # noqa: S311 - jitter, no secret


def sync(
    store: AttestationStore, remote: str, *, wait: Callable[[int], None] = wait_for_others
) -> SyncResult:
    """Make the store and the remote's both hold the union of the two.

    ProjectError where there is no such remote; TransportError where it does not answer or refuses;
    StoreError or MalformedError where its store holds something that cannot be united, which names the
    leaf: then nothing is taken. ConflictError where others keep pushing: try again.
    """
    return _Sync(store, remote).run(wait)


class _Sync:
    def __init__(self, store: AttestationStore, remote: str) -> None:
        self._store = store
        self._git = store.git()
        self._remote = remote
        self._tracking = f"refs/gitchain-remotes/{remote}/attestations"
        self._check_remote()

    def _check_remote(self) -> None:
        names = self._git.run("remote").stdout.decode("utf-8", "replace").splitlines()
        if not names:
            raise ProjectError("the repository has no remote", help="git remote add origin <url>")
        if self._remote not in names:
            known = ", ".join(sorted(names))
            raise ProjectError(
                "no such remote", where=repr(self._remote), expected=known, help="git remote -v"
            )

    def run(self, wait: Callable[[int], None]) -> SyncResult:
        before = self._seen()
        fetched = self._unite(before)  # left over from a run that was interrupted after its fetch
        theirs = self._fetch()
        rewound = before is not None and not self._contains(theirs, before)
        refused = 0
        for attempt in range(1, MAX_ATTEMPTS + 1):
            fetched += self._unite(theirs)
            ours = self._store.tip()
            if ours is None or ours == theirs:
                return SyncResult(fetched, 0, attempt, rewound, ours)
            done = self._push(Oid(ours))
            if done.code == 0:
                return SyncResult(fetched, self._gained(theirs, Oid(ours)), attempt, rewound, ours)
            wait(attempt)
            now = self._fetch()
            refused = refused + 1 if now == theirs else 0
            if refused == MAX_REFUSALS:
                raise TransportError("the remote refused the push", where=self._remote, got=_refusal(done))
            rewound = rewound or (theirs is not None and not self._contains(now, theirs))
            theirs = now
        raise ConflictError("other clones kept pushing", where=self._remote, help="try again: gitchain sync")

    def _seen(self) -> Oid | None:
        return self._store.backend.read_ref(self._tracking)

    def _fetch(self) -> Oid | None:
        options = (
            "--quiet",
            "--no-tags",
            "--no-prune",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--refmap=",
        )
        refspec = f"+{self._store.ref}:{self._tracking}"
        for _ in range(MAX_REFUSALS):
            done = self._git.talk("fetch", *options, "--end-of-options", self._remote, refspec)
            if done.code == 0:
                self._fill()
                return self._seen()
            if not self._remote_has_ref():  # nor had it, unless another clone has just made it
                return None
        raise TransportError("cannot fetch the attestations", where=self._remote, got=done.reason)

    def _fill(self) -> None:
        """Fetch what a partial clone left out of the newest tree, so that it can be verified offline."""
        tip = self._tracking  # the commit, not its tree: a clone may lack even that
        for _ in range(MAX_DEPTH if self._store.backend.partial else 0):
            listed = self._git.run("rev-list", "--objects", "--no-walk", "--missing=print", tip).stdout
            lacking = [line[1:] for line in listed.splitlines() if line.startswith(b"?")]
            if not lacking:
                return
            options = (
                "--quiet",
                "--no-tags",
                "--no-write-fetch-head",
                "--no-recurse-submodules",
                "--filter=blob:none",
            )
            config = ("fetch.negotiationAlgorithm=noop",)
            wanted = b"\n".join(lacking)
            done = self._git.talk(
                "fetch", *options, "--stdin", "--", self._remote, config=config, stdin=wanted
            )
            if done.code != 0:
                raise TransportError("cannot fill the partial clone", where=self._remote, got=done.reason)

    def _remote_has_ref(self) -> bool:
        done = self._git.talk("ls-remote", "--quiet", "--end-of-options", self._remote, self._store.ref)
        if done.code != 0:
            remedy = f"check the network, then: git ls-remote {self._remote}"
            raise TransportError("cannot reach the remote", where=self._remote, got=done.reason, help=remedy)
        names = [line.split(b"\t")[-1].decode("utf-8", "replace") for line in done.stdout.splitlines()]
        return self._store.ref in names

    def _unite(self, theirs: Oid | None) -> int:
        if theirs is None or self._contains(self._store.tip(), theirs):
            return 0
        gained = 0

        def change(tip: Oid | None) -> Oid:
            nonlocal gained
            root, other = None if tip is None else self._store.root(tip), self._store.root(theirs)
            tree, gained = self._store.trees.unite(root, other)
            if tree == other and (tip is None or self._contains(theirs, tip)):
                return theirs
            parents = (theirs,) if tip is None else (tip, theirs)
            return self._store.commit(tree, parents, f"unite with {self._remote}")

        self._store.advance(change)
        return gained

    def _contains(self, tip: str | None, ancestor: Oid) -> bool:
        if tip is None or tip == ancestor:
            return tip == ancestor
        return self._git.run("merge-base", "--is-ancestor", ancestor, tip, accept=(0, 1)).code == 0

    def _push(self, ours: Oid) -> Done:
        options = ("--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no")
        refspec = f"{ours}:{self._store.ref}"
        config = (f"remote.{self._remote}.mirror=false",)  # a mirror's push takes no refspec
        return self._git.talk("push", *options, "--end-of-options", self._remote, refspec, config=config)

    def _gained(self, theirs: Oid | None, ours: Oid) -> int:
        """Count what the remote had not, and note where it stands now."""
        self._git.run("update-ref", "--no-deref", self._tracking, ours)
        before = None if theirs is None else self._store.root(theirs)
        return self._store.trees.count_new(before, self._store.root(ours))


def _refusal(done: Done) -> str:
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    told = [line.split("\t")[-1] for line in lines if line.startswith("!")]
    return told[0] if told else done.reason

"""Run git to fetch a store from a remote and to push it there, with bounds and clear errors."""

from __future__ import annotations

from gitchain.errors import TransportError
from gitchain.platform.git import Git, GitResult
from gitchain.store.tree_paths import Oid

MAX_FETCHES = 5  # of a ref that another clone may just have created
MAX_DEPTH = 8  # depth of the store's tree, plus one: each round finds what a missing tree hid
MAX_WORDS = 10  # lines of a server's message
MAX_WORD_CHARS = 200

UNCHECKED = ("fetch.fsckObjects=false", "transfer.fsckObjects=false")
"""Git would refuse the whole fetch, revocations included, for one malformed tree. Nothing is checked out."""

SMALL = (
    "core.bigFileThreshold=1m",
    "core.deltaBaseCacheLimit=16m",
    "pack.threads=1",
    "pack.windowMemory=32m",
    "pack.deltaCacheSize=16m",
)
"""Limits git's own memory: blobs beyond a megabyte are streamed and never deltified."""


class RemoteGit:
    """A remote's ref of attestations, and the local ref `tracking` that a fetch moves."""

    def __init__(self, git: Git, remote: str, ref: str, tracking: str, *, partial: bool) -> None:
        self.remote, self.ref, self.tracking = remote, ref, tracking
        self._git, self._partial = git, partial

    def fetch(self) -> bool:
        """Fetch the ref; return False if the remote does not have it. Raises TransportError with git's message."""
        options = (
            "--quiet",
            "--no-tags",
            "--no-prune",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--refmap=",
        )
        refspec = f"+{self.ref}:{self.tracking}"
        for _ in range(MAX_FETCHES):
            done = self._git.talk(
                "fetch", *options, "--end-of-options", self.remote, refspec, config=UNCHECKED + SMALL
            )
            if done.code == 0:
                self._fill()
                return True
            if (
                not self._remote_has_ref()
            ):  # it did not exist before, unless another clone has just created it
                return False
        raise TransportError(
            "cannot fetch the attestations", where=f"{self.remote} {self.ref}", got=_words(done)
        )

    def _fill(self) -> None:
        """Fetch objects of the newest tree that a partial clone lacks, for offline verification."""
        tip = self.tracking  # the commit, not its tree: a clone may lack even that
        for _ in range(MAX_DEPTH if self._partial else 0):
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
                "fetch", *options, "--stdin", "--", self.remote, config=config, stdin=wanted
            )
            if done.code != 0:
                raise TransportError("cannot fill the partial clone", where=self.remote, got=_words(done))

    def _remote_has_ref(self) -> bool:
        done = self._git.talk("ls-remote", "--quiet", "--end-of-options", self.remote, self.ref)
        if done.code != 0:
            remedy = f"check the network, then: git ls-remote {self.remote}"
            raise TransportError("cannot reach the remote", where=self.remote, got=_words(done), help=remedy)
        names = [line.split(b"\t")[-1].decode("utf-8", "replace") for line in done.stdout.splitlines()]
        return self.ref in names

    def push(self, commit: Oid) -> GitResult:
        """Push a commit to the ref, and return what git answered."""
        options = ("--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no")
        refspec = f"{commit}:{self.ref}"
        config = (f"remote.{self.remote}.mirror=false", *SMALL)  # a mirror's push accepts no refspec
        return self._git.talk("push", *options, "--end-of-options", self.remote, refspec, config=config)

    def refusal(self, done: GitResult) -> TransportError:
        """Return the error for a push that the remote refused."""
        return TransportError(
            "the remote refused the push of the attestations",
            where=f"{self.remote} {self.ref}",
            got=_words(done),
            help=f"allow pushes to {self.ref} at the server (its hooks, rulesets and rights), "
            "or exchange with another remote: git config gitchain.remote NAME",
        )


def _words(done: GitResult) -> str:
    """Return the server's message and git's error on one line, truncated and without control characters."""
    said = [line for line in done.stderr.splitlines() if line.startswith("remote:")]
    refused = [line.split("\t")[-1] for line in done.stdout.decode("utf-8", "replace").splitlines()[:1000]]
    refused = [word for word in refused if word.startswith("[")]
    lines = [_plain(line) for line in (*refused[:1], *said)] or [_plain(done.reason)]
    return "; ".join(list(filter(None, lines))[:MAX_WORDS])


def _plain(line: str) -> str:
    shown = "".join(char for char in line if char.isprintable()).strip()
    return shown if len(shown) <= MAX_WORD_CHARS else f"{shown[:MAX_WORD_CHARS]}…"

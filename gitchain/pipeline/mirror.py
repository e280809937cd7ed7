"""The attestation ref of another repository as a source: fetched into a bare repository of the user's own.

Git talks to the named place over the named protocol and no other; it runs no hooks, follows no redirects, and gives up
on a line that is slow. The mirror lies in the user's directory, and what the ref held is remembered by its URL: a
remote that was rewound, emptied or replaced is refused like this repository's own store (docs/formats/history.md).
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.errors import (
    GitchainError,
    LimitError,
    MalformedError,
    StoreError,
    TransportError,
    UsageError,
)
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.digest import sha256_hex
from gitchain.pipeline.home import home_lock, user_directory
from gitchain.pipeline.seen import check_seen, remember
from gitchain.pipeline.snapshots import Budget, Snapshot
from gitchain.platform.git import Git
from gitchain.store.git_ref import AttestationStore
from gitchain.store.http import checked_url
from gitchain.store.remote import SMALL, UNCHECKED
from gitchain.store.shape import ATTESTATIONS, MANIFESTS

if TYPE_CHECKING:
    from gitchain.store.trees import Problem

MAX_PROBLEMS = 200  # that are kept one by one
SECONDS = 120.0  # one fetch of what is new
_SLOW = ("http.lowSpeedLimit=1000", "http.lowSpeedTime=20", "http.followRedirects=false")
_OPTIONS = (
    "--quiet",
    "--no-tags",
    "--no-prune",
    "--no-write-fetch-head",
    "--no-recurse-submodules",
    "--refmap=",
    "--no-auto-maintenance",
)


@dataclass(frozen=True)
class Mirror:
    """A remote's attestations, and the bare repository that they are fetched into."""

    name: str
    url: str
    place: Path
    offline: bool = False

    @classmethod
    def of(cls, text: str, *, offline: bool = False) -> Mirror:
        """Return the mirror of `git+https://…` or `git+file://…`; UsageError for what git is not to be given."""
        url = text.removeprefix("git+")
        if url.startswith("file://"):
            if not url.startswith("file:///") or not url.isprintable():
                raise UsageError("not a path", got=text[:200], expected="git+file:///ABSOLUTE/PATH")
        else:
            checked_url(url)
        place = user_directory() / "mirrors" / f"{sha256_hex(url.encode('utf-8', 'surrogateescape'))}.git"
        return cls(text, url, place, offline)

    @property
    def remembers(self) -> bool:
        """What the remote held is remembered."""
        return True

    @property
    def seen_key(self) -> str:
        """What the remote is remembered by; see `gitchain.pipeline.seen`."""
        return f"mirror {self.url}"

    @cached_property
    def store(self) -> AttestationStore:
        """The mirrored store: nothing is fetched by reading it."""
        return AttestationStore.open(self.place, offline=True)

    def version(self) -> str:
        """Fetch, and return the ref's commit."""
        self._fetch()
        return self.store.tip() or "empty"

    def read(self) -> Snapshot:
        """Fetch, and return what the ref holds; TransportError, StoreError."""
        self._fetch()
        problems: list[str] = []
        unreadable: set[str] = set()

        def report(problem: Problem) -> None:
            if len(problems) < MAX_PROBLEMS:
                problems.append(f"{problem.message}, in {problem.path} of {self.name}")
            if problem.path.split("/")[0] == ATTESTATIONS:
                unreadable.add(problem.path)

        tip = self.store.tip()
        bundles: dict[str, bytes] = {}
        budget = Budget(self.name)
        for name, raw in self.store.items(tip, report):
            try:
                Bundle.parse(raw)
            except (MalformedError, LimitError) as error:
                if len(problems) < MAX_PROBLEMS:
                    problems.append(f"{error}, in bundle {name[:12]} of {self.name}")
                continue
            budget.take(len(raw))
            bundles[name] = raw
        return Snapshot(
            bundles,
            self.store.manifest,
            tip or "empty",
            tuple(problems),
            tip,
            frozenset(unreadable),
            frozenset(self.store.names(room=MANIFESTS)),
        )

    def check(self, found: Snapshot) -> None:
        """Raise RollbackError if the remote lost what was seen there."""
        try:
            check_seen(self, found.tip, found.unreadable)
        except GitchainError as error:
            error.where = self.name
            error.help = "its owner can bring back what is missing: gitchain sync, in a clone that has it"
            raise

    def remember(self, found: Snapshot, now: datetime) -> None:
        """Remember what the remote holds; StoreError."""
        remember(self, found.tip, now, found.unreadable)

    def _fetch(self) -> None:
        if self.offline:
            if not (self.place / "HEAD").is_file():
                raise TransportError(
                    "there is no mirror of this yet", where=self.name, help="run it without --offline"
                )
            return
        with home_lock():
            self._make()
        with _turn(self.place / "fetch.lock"):
            self._take(Git(self.place))

    def _take(self, git: Git) -> None:
        scheme = self.url.split("://", 1)[0]
        allowed = ("protocol.file.allow=never", "protocol.allow=never", f"protocol.{scheme}.allow=always")
        ref = self.store.ref
        refspec = f"+{ref}:{ref}"  # what was in it before is held by the ref of what was seen last
        done = git.talk(
            "fetch",
            *_OPTIONS,
            "--end-of-options",
            self.url,
            refspec,
            config=(*_SLOW, *allowed, *UNCHECKED, *SMALL),
            seconds=SECONDS,
        )
        if done.code == 0:
            return
        if "couldn't find remote ref" not in done.stderr:
            raise TransportError("cannot fetch the attestations", where=self.name, got=done.reason)
        git.run("update-ref", "-d", ref)  # emptied: whoever compares it with what was seen says so

    def _make(self) -> None:
        if (self.place / "HEAD").is_file():
            return
        try:
            self.place.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                "cannot make a mirror", where=str(self.place), got=str(error.strerror)
            ) from error
        Git(self.place).run("init", "--quiet", "--bare", "--template=", "--initial-branch=main", ".")


@contextmanager
def _turn(path: Path) -> Iterator[None]:
    """Let one process at a time fetch into a mirror; StoreError."""
    try:
        lock = path.open("a")
    except OSError as error:
        raise StoreError("cannot take a lock", where=str(path), got=str(error.strerror)) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield

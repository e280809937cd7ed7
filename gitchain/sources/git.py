"""Evidence source: the attestation ref of another repository, fetched into the user's own bare mirror.

Git connects to the given host with the given protocol only. It runs no hooks, follows no redirects, and times out on
slow connections. The mirror is in the user's directory. The last seen state is stored by URL: a remote that was
rewound, emptied or replaced is refused like this repository's own store (docs/formats/history.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from gitchain.errors import (
    GitchainError,
    StoreError,
    TransportError,
    UsageError,
    os_errors_as,
)
from gitchain.evidence.digest import sha256_hex
from gitchain.platform.files import hold_lock
from gitchain.platform.git import Git, refused_owner
from gitchain.platform.http import checked_url
from gitchain.sources.gather import index_of
from gitchain.sources.interface import Snapshot
from gitchain.sources.rollback_protection import check_seen, last_seen, remember
from gitchain.store.git_ref import AttestationStore
from gitchain.store.remote_git import SMALL, UNCHECKED
from gitchain.store.tree_paths import ATTESTATIONS, Oid
from gitchain.workspace.user_directory import home_lock, user_directory

FETCHED = "gitchain-fetched"  # a file of a mirror: a fetch was completed
SECONDS = 120.0  # a single fetch
_SLOW = ("http.lowSpeedLimit=1000", "http.lowSpeedTime=20", "http.followRedirects=false")
_OTHER_FORMAT = re.compile(r"mismatched algorithms: client \w+; server (\w+)")
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
    """The attestation ref of a remote, and the local bare mirror of it."""

    name: str
    url: str
    sha1_place: Path
    offline: bool = False
    _stores: dict[Path, AttestationStore] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, text: str, *, offline: bool = False) -> Mirror:
        """Return the mirror of `git+https://…` or `git+file://…`. Raises UsageError for an unsafe URL."""
        url = remote_url(text)
        place = user_directory() / "mirrors" / f"{sha256_hex(url.encode('utf-8', 'surrogateescape'))}.git"
        return cls(text, url, place, offline)

    @property
    def remembers(self) -> bool:
        """Return True: the last seen state of the remote is stored."""
        return True

    @property
    def seen_key(self) -> str:
        """Return the key of the remote in `gitchain.sources.rollback_protection`."""
        return f"mirror {self.url}"

    @property
    def sha256_place(self) -> Path:
        """Return the path of the mirror for a remote with SHA-256 object ids."""
        return self.sha1_place.with_suffix(".sha256.git")

    @property
    def place(self) -> Path:
        """Return the path of the mirror. A remote that once had SHA-256 ids must keep them."""
        return self.sha256_place if (self.sha256_place / "HEAD").is_file() else self.sha1_place

    @property
    def store(self) -> AttestationStore:
        """Return the mirrored store. Reading it fetches nothing."""
        return self._store_at(self.place)

    def _store_at(self, place: Path) -> AttestationStore:
        if place not in self._stores:
            self._stores[place] = AttestationStore.open(place, offline=True)
        return self._stores[place]

    def version(self) -> str:
        """Fetch, and return the commit of the attestation ref."""
        self._fetch()
        return self.store.tip() or "empty"

    def read(self) -> Snapshot:
        """Fetch, and return the content of the attestation ref. Raises TransportError or StoreError."""
        seen = last_seen(self)
        self._fetch()
        store, tip = self.store, self.store.tip()
        index = index_of(store, self.seen_key, tip)
        problems = index.problems()
        return Snapshot(
            {},
            store.manifest,
            tip or "empty",
            tuple(f"{message}, in {path} of {self.name}" for path, message in problems),
            seen,
            tip,
            frozenset(path for path, _ in problems if path.split("/")[0] == ATTESTATIONS),
            stored=(index, lambda facts: store.bundle(Oid(facts.place), facts.name)),
        )

    def check(self, snapshot: Snapshot) -> None:
        """Raise RollbackError if the remote lost evidence that was seen there."""
        try:
            check_seen(self, snapshot.seen, snapshot.tip, snapshot.unreadable)
        except GitchainError as error:
            error.where = self.name
            error.help = "its owner can bring back what is missing: gitchain sync, in a clone that has it"
            raise

    def remember(self, snapshot: Snapshot, now: datetime) -> None:
        """Store the current state of the remote. Raises StoreError."""
        remember(self, snapshot.tip, now, snapshot.unreadable)

    @property
    def _is_fetched(self) -> bool:
        """Return True if a fetch was completed: a mirror whose first one failed is empty, as one of an empty remote is."""
        place = self.place
        return (place / "HEAD").is_file() and ((place / FETCHED).is_file() or self.store.tip() is not None)

    def _fetch(self) -> None:
        if self.offline:
            if not self._is_fetched:
                raise TransportError(
                    "the source was never fetched on this machine, and --offline fetches nothing",
                    where=self.name,
                    expected=f"its mirror, {self.place}",
                    help="run the same command once without --offline; later ones read the mirror",
                )
            return
        try:
            self._take(self.place)
        except _OtherFormatError as error:
            if self.place == self.sha256_place or error.got != "sha256":
                raise
            self._take(self.sha256_place)

    def _take(self, place: Path) -> None:
        with home_lock():
            self._make(place)
        with hold_lock(place / "fetch.lock"):
            self._fetch_into(Git(place))
            self._note_fetched(place)

    def _note_fetched(self, place: Path) -> None:
        with os_errors_as(StoreError, "cannot write to a mirror", place):
            (place / FETCHED).touch(mode=0o600)

    def _fetch_into(self, git: Git) -> None:
        scheme = self.url.split("://", 1)[0]
        allowed = ("protocol.file.allow=never", "protocol.allow=never", f"protocol.{scheme}.allow=always")
        ref = self._store_at(git.directory).ref
        refspec = f"+{ref}:{ref}"  # the ref of the last seen state holds the earlier content
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
        if match := _OTHER_FORMAT.search(done.stderr):
            raise _OtherFormatError(
                "the repository has another object format than before", where=self.name, got=match[1]
            )
        if "couldn't find remote ref" not in done.stderr:
            raise TransportError(
                "cannot fetch the attestations", where=self.name, got=done.reason, help=_help(done.stderr)
            )
        git.run(
            "update-ref", "-d", ref
        )  # the remote is empty: `check` compares that with the last seen state

    def _make(self, place: Path) -> None:
        if (place / "HEAD").is_file():
            return
        with os_errors_as(StoreError, "cannot make a mirror", place):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
        object_format = "sha256" if place == self.sha256_place else "sha1"
        options = ("--quiet", "--bare", "--template=", "--initial-branch=main")
        Git(place).run("init", *options, f"--object-format={object_format}", ".")


def remote_url(text: str) -> str:
    """Return the URL in `git+https://…` or `git+file://…`. Raises UsageError for an unsafe one."""
    url = text.removeprefix("git+")
    if not url.startswith("file://"):
        checked_url(url)
    elif not url.startswith("file:///") or not url.isprintable():
        raise UsageError("not a path", got=text[:200], expected="git+file:///ABSOLUTE/PATH")
    return url


class _OtherFormatError(TransportError):
    """Raised if the remote and the mirror use different object hashes."""


def _help(stderr: str) -> str:
    """Return the command that lets the local git open the repository at a path."""
    return refused_owner(stderr, "") if "dubious ownership" in stderr else ""

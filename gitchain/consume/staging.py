"""Staging directories next to a destination, published by one rename; leftovers of killed processes are deleted.

The staging directory is `.gitchain-partial-…` next to the destination. Its creator locks it until the end. One
without a lock is a leftover of a dead process: it is deleted if this user owns it. Nothing else is ever deleted.

A destination that cannot be replaced (a mount point, or a directory in a read-only parent) is filled from a staging
directory inside it, entry by entry. A journal with name and inode of each entry is written first: after a crash, the
next process deletes exactly these entries.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gitchain.consume.private_copy import remove
from gitchain.errors import ConflictError, StoreError, UsageError, os_errors_as
from gitchain.platform.files import read_regular, take_lock
from gitchain.platform.mounts import read_mounts

PREFIX = ".gitchain-partial-"
FILES, JOURNAL = "files", "journal.json"
MAX_JOURNAL_BYTES = 64 << 20
_NAME = re.compile(re.escape(PREFIX) + r"(?:.*-)?[0-9a-f]{16}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Staging:
    """A locked staging directory for `destination`: write files below `files`, then call `publish`."""

    place: Path
    destination: Path

    @property
    def files(self) -> Path:
        """Return the directory to fill."""
        return self.place / FILES

    def publish(self, source: Path) -> None:
        """Publish the content of a directory below `files` at the destination, atomically if possible.

        Raises StoreError if the disk refuses, UsageError if the destination was created meanwhile.
        """
        with os_errors_as(StoreError, "cannot move the model to its place", self.destination):
            if self.place.parent == self.destination:
                self._fill(source)
            else:
                self._replace(source)

    def _replace(self, source: Path) -> None:
        source.chmod(
            self.destination.stat().st_mode & 0o7777 | 0o200
        )  # a read-only directory cannot be renamed
        try:
            source.rename(self.destination)
        except OSError as error:
            if any(self.destination.iterdir()):
                raise _taken(self.destination) from error
            raise

    def _fill(self, source: Path) -> None:
        entries = sorted(source.iterdir())
        if any(entry != self.place for entry in self.destination.iterdir()):
            raise _taken(self.destination)
        journal = {entry.name: entry.lstat().st_ino for entry in entries}
        written = self.place / f"{JOURNAL}.new"
        written.write_text(json.dumps(journal))
        written.rename(self.place / JOURNAL)
        for entry in entries:
            mode = entry.lstat().st_mode & 0o7777
            if entry.is_dir():
                entry.chmod(mode | 0o200)
            moved = entry.rename(self.destination / entry.name)
            if moved.is_dir():
                moved.chmod(mode)
        (self.place / JOURNAL).unlink()


@contextmanager
def staged(destination: Path) -> Iterator[Staging]:
    """Yield a staging directory for a destination, created if missing, and delete it at the end.

    Raises UsageError for a destination that is not empty, ConflictError while another process fills it, StoreError.
    """
    try:
        destination.mkdir(parents=True, exist_ok=True)
        destination = Path(os.path.realpath(destination))
        recover(destination)
        if any(destination.iterdir()):
            raise _taken(destination)
        place, lock = _make(destination)
        try:
            (place / FILES).mkdir(mode=0o700)
            yield Staging(place, destination)
        finally:
            remove(place)
            os.close(lock)
    except OSError as error:
        raise StoreError(
            "cannot write to the destination", where=str(destination), got=str(error.strerror)
        ) from error


def recover(destination: Path) -> None:
    """Delete this user's leftovers next to and in a destination. Raises ConflictError if its process is running."""
    beside = destination.parent.glob(f"{PREFIX}*")
    for path in beside:
        if path.name.startswith(_beside(destination)) and (lock := _abandoned(path)) is not None:
            remove(path)
            os.close(lock)
    for path in destination.glob(f"{PREFIX}*"):
        if not _is_ours(path):
            continue
        lock = _abandoned(path)
        if lock is None:
            raise ConflictError(
                "another process writes to the destination", where=str(destination), help="wait for its end"
            )
        _take_back(path, destination)
        remove(path)
        os.close(lock)


def _beside(destination: Path) -> str:
    """Return how the names of staging directories next to a destination start, within the 255 bytes of a name."""
    return f"{PREFIX}{os.fsdecode(os.fsencode(destination.name)[:128])}-"


def _take_back(place: Path, destination: Path) -> None:
    """Delete the entries in a journal, if their inodes still match."""
    with suppress(OSError, ValueError, AttributeError):
        journal = json.loads(read_regular(place / JOURNAL, MAX_JOURNAL_BYTES))
        for name, inode in journal.items():
            entry = destination / name
            if entry.parent == destination and os.path.lexists(entry) and entry.lstat().st_ino == inode:
                remove(entry)


def _make(destination: Path) -> tuple[Path, int]:
    """Return a new locked staging directory: next to the destination if that can be replaced, else inside it."""
    is_mount = any(
        mount.place == destination for mount in read_mounts()
    )  # also for mounts of the same file system
    if not is_mount and destination.stat().st_uid == os.geteuid():
        with suppress(PermissionError):
            return _locked(destination.parent, _beside(destination))
    return _locked(destination, PREFIX)


def _locked(folder: Path, prefix: str) -> tuple[Path, int]:
    while True:
        place = folder / f"{prefix}{secrets.token_hex(8)}"
        place.mkdir(mode=0o700)
        lock = _abandoned(place)
        if lock is not None:
            return place, lock  # else another process deleted it as a leftover


def _is_ours(path: Path) -> bool:
    """Return True if a path has a staging directory's name and is this user's directory."""
    info = path.lstat()
    return (
        bool(_NAME.fullmatch(path.name))
        and path.is_dir()
        and not path.is_symlink()
        and info.st_uid == os.geteuid()
    )


def _abandoned(path: Path) -> int | None:
    """Return the lock of a staging directory without a running process, or None for every other path."""
    try:
        if not _is_ours(path):
            return None
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if take_lock(lock) and path.lstat().st_ino == os.fstat(lock).st_ino:
            return lock
    except OSError:
        pass
    os.close(lock)
    return None


def _taken(destination: Path) -> UsageError:
    return UsageError(
        "the destination is not empty",
        where=str(destination),
        expected="an empty directory",
        help="name a directory that does not exist yet, or remove what is there",
    )

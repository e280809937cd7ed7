"""Stage files beside their destination, and publish them by one rename; what a process that was killed left is cleared.

The staging directory is `.gitchain-partial-…` next to the destination. Its maker holds a lock on it until the end, so one
without a lock was left by a process that is dead: it is removed if it is this user's, and nothing else ever is.

A destination that cannot be replaced (a mount point, or a directory whose parent this user may not write) is filled from
a staging directory inside of it, entry by entry. A journal with name and inode of each entry is written before: if the
process is killed meanwhile, the next one takes away exactly these.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gitchain.errors import ConflictError, StoreError, UsageError
from gitchain.pipeline.copies import remove
from gitchain.platform.files import read_regular
from gitchain.platform.mounts import read_mounts

PREFIX = ".gitchain-partial-"
FILES, JOURNAL = "files", "journal.json"
MAX_JOURNAL_BYTES = 64 << 20
_NAME = re.compile(re.escape(PREFIX) + r"(?:.*-)?[0-9a-f]{16}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Staging:
    """A locked directory for what becomes `destination`: put the files below `files`, then `publish`."""

    place: Path
    destination: Path

    @property
    def files(self) -> Path:
        """The directory to fill."""
        return self.place / FILES

    def publish(self, source: Path) -> None:
        """Let the content of a directory below `files` appear at the destination, all at once where that can be done.

        StoreError where the disk refuses; UsageError if something is at the destination meanwhile.
        """
        try:
            if self.place.parent == self.destination:
                self._fill(source)
            else:
                self._replace(source)
        except OSError as error:
            raise StoreError(
                "cannot move the model to its place", where=str(self.destination), got=str(error.strerror)
            ) from error

    def _replace(self, source: Path) -> None:
        source.chmod(
            self.destination.stat().st_mode & 0o7777 | 0o200
        )  # a read-only directory cannot be moved
        try:
            source.rename(self.destination)
        except OSError as error:
            if any(self.destination.iterdir()):
                raise _taken(self.destination) from error
            raise

    def _fill(self, source: Path) -> None:
        entries = sorted(source.iterdir())
        if any(one != self.place for one in self.destination.iterdir()):
            raise _taken(self.destination)
        journal = {one.name: one.lstat().st_ino for one in entries}
        written = self.place / f"{JOURNAL}.new"
        written.write_text(json.dumps(journal))
        written.rename(self.place / JOURNAL)
        for one in entries:
            mode = one.lstat().st_mode & 0o7777
            if one.is_dir():
                one.chmod(mode | 0o200)
            moved = one.rename(self.destination / one.name)
            if moved.is_dir():
                moved.chmod(mode)
        (self.place / JOURNAL).unlink()


@contextmanager
def staged(destination: Path) -> Iterator[Staging]:
    """Yield a staging directory for a destination, which is made if it is missing, and remove it at the end.

    UsageError for a destination that is not empty, ConflictError while another process fills it, StoreError.
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
    """Remove what dead processes left of this user, beside and in a destination; ConflictError if one in it lives."""
    beside = destination.parent.glob(f"{PREFIX}*")
    for one in beside:
        if one.name.startswith(f"{PREFIX}{destination.name}-") and (lock := _abandoned(one)) is not None:
            remove(one)
            os.close(lock)
    for one in destination.glob(f"{PREFIX}*"):
        if not _is_ours(one):
            continue
        lock = _abandoned(one)
        if lock is None:
            raise ConflictError(
                "another process writes to the destination", where=str(destination), help="wait for its end"
            )
        _take_back(one, destination)
        remove(one)
        os.close(lock)


def _take_back(place: Path, destination: Path) -> None:
    """Remove the entries that a journal names, if they are still the ones that it was written for."""
    with suppress(OSError, ValueError, AttributeError):
        journal = json.loads(read_regular(place / JOURNAL, MAX_JOURNAL_BYTES))
        for name, inode in journal.items():
            entry = destination / name
            if entry.parent == destination and os.path.lexists(entry) and entry.lstat().st_ino == inode:
                remove(entry)


def _make(destination: Path) -> tuple[Path, int]:
    """Return a new staging directory with its lock: beside the destination if that can be replaced, else in it."""
    is_mount = any(one.place == destination for one in read_mounts())  # also of the same file system
    if not is_mount and destination.stat().st_uid == os.geteuid():
        with suppress(PermissionError):
            return _locked(destination.parent, f"{PREFIX}{destination.name[:128]}-")
    return _locked(destination, PREFIX)


def _locked(folder: Path, prefix: str) -> tuple[Path, int]:
    while True:
        place = folder / f"{prefix}{secrets.token_hex(8)}"
        place.mkdir(mode=0o700)
        lock = _abandoned(place)
        if lock is not None:
            return place, lock  # else another process took it for one that was left


def _is_ours(path: Path) -> bool:
    """Tell whether a path has the form of a staging directory and is this user's own directory."""
    info = path.lstat()
    return (
        bool(_NAME.fullmatch(path.name))
        and path.is_dir()
        and not path.is_symlink()
        and info.st_uid == os.geteuid()
    )


def _abandoned(path: Path) -> int | None:
    """Return the lock of a staging directory that no process holds, None for every other path."""
    try:
        if not _is_ours(path):
            return None
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.lstat().st_ino == os.fstat(lock).st_ino:
            return lock
    except OSError:
        pass
    os.close(lock)
    return None


def _taken(destination: Path) -> UsageError:
    return UsageError(
        "something lies at the destination", where=str(destination), expected="an empty directory"
    )

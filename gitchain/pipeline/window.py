"""Who could change a file or directory between its verification and its loading.

    closed    nobody but this user and root can: owners and modes say so for everything in it and above it, on a file
              system of this machine, and no file is open for writing now (a read lease could be had on each)
    narrowed  nobody else can as far as the modes say, but something cannot be excluded; the reason says what
    open      somebody else can; the reason says where

This user and root are taken for granted: they could change the program that loads the model as well. Look before the
bytes are hashed: who cannot open a file for writing now cannot later.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gitchain.errors import ProjectError

State = Literal["closed", "narrowed", "open"]
STATES: tuple[State, ...] = ("closed", "narrowed", "open")
LOCAL = frozenset(
    {"bcachefs", "btrfs", "erofs", "ext2", "ext3", "ext4", "f2fs", "iso9660"}
    | {"overlay", "ramfs", "squashfs", "tmpfs", "xfs", "zfs"}
)
"""File systems that only this machine writes to."""

_OTHERS = stat.S_IWGRP | stat.S_IWOTH  # an access control list grants no more than the group's bits


@dataclass(frozen=True, slots=True)
class Window:
    """Whether others can change what was verified, and why."""

    state: State
    reason: str

    def satisfies(self, wanted: State) -> bool:
        """Tell whether this is at least as good as what is wanted."""
        return STATES.index(self.state) <= STATES.index(wanted)


def window(path: Path, *, fresh: bool = False) -> Window:
    """Return who could change what lies at `path`; `fresh` if this process has just made it.

    ProjectError for what is not there or cannot be looked at.
    """
    try:
        return _window(Path(os.path.normpath(Path.cwd() / path)), fresh=fresh)
    except OSError as error:
        raise ProjectError("cannot be looked at", where=str(path), got=str(error.strerror)) from error


def _window(path: Path, *, fresh: bool) -> Window:
    worst = Window("closed", f"only uid {os.geteuid()} and root can change it")
    for found in _problems(path, fresh=fresh):
        if found.state == "open":
            return (
                found
                if not _is_read_only(path)
                else Window("narrowed", f"read-only here, but {found.reason}")
            )
        worst = found if worst.state == "closed" else worst
    return worst


def _problems(path: Path, *, fresh: bool) -> Iterator[Window]:
    if path.resolve() != path:
        yield Window("narrowed", f"its path leads through a link to {path.resolve()}: name that")
        path = path.resolve()
    kind = _file_system(path)
    if kind not in LOCAL:
        yield Window("narrowed", f"it is on {kind}, which others may write to from elsewhere")
    below = path.lstat()
    for parent in path.parents:
        info = parent.lstat()
        yield from _writable(parent, info, below)
        below = info
    seen = {path, *path.parents}
    for one, info in _inside(path):
        if stat.S_ISLNK(info.st_mode):
            yield Window("narrowed", f"{one} is a link")
            yield from _behind(one, fresh=fresh, seen=seen)
            continue
        yield from _writable(one, info, None)
        if stat.S_ISREG(info.st_mode) and not fresh:
            yield from _open_elsewhere(one)


def _behind(link: Path, *, fresh: bool, seen: set[Path]) -> Iterator[Window]:
    """Yield what is wrong with what a link leads to, and with the directories above that which were not looked at yet."""
    target = link.resolve()
    if not target.exists():
        return  # hashing refuses it
    below = info = target.lstat()
    yield from _writable(target, info, None)
    if stat.S_ISREG(info.st_mode) and not fresh:
        yield from _open_elsewhere(target)
    for parent in target.parents:
        if parent in seen:
            return
        seen.add(parent)
        above = parent.lstat()
        yield from _writable(parent, above, below)
        below = above


def _writable(path: Path, info: os.stat_result, below: os.stat_result | None) -> Iterator[Window]:
    """Yield what is wrong with owner and mode; in a sticky directory others cannot replace what is not theirs."""
    own = {0, os.geteuid()}
    if info.st_uid not in own:
        yield Window("open", f"{path} belongs to uid {info.st_uid}")
    if not info.st_mode & _OTHERS:
        return
    sticky = bool(info.st_mode & stat.S_ISVTX) and below is not None and below.st_uid in own
    if not sticky:
        yield Window("open", f"others may write {path} (mode {stat.S_IMODE(info.st_mode):04o})")


def _inside(path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    info = path.lstat()
    yield path, info
    if not stat.S_ISDIR(info.st_mode):
        return
    for root, folders, files in os.walk(path, onerror=_raise):
        for name in (*folders, *files):
            one = Path(root, name)
            yield one, one.lstat()


def _raise(error: OSError) -> None:
    raise error


def _open_elsewhere(path: Path) -> Iterator[Window]:
    """Take a read lease for a moment: it is refused while somebody has the file open for writing."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            yield Window("open", f"{path} is open for writing")
        else:
            yield Window("narrowed", f"whether {path} is open for writing elsewhere cannot be seen")
    finally:
        os.close(descriptor)


def _is_read_only(path: Path) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _file_system(path: Path) -> str:
    """Return the type of the file system that a path is on: that of the mount with the same device."""
    device = path.stat().st_dev
    name = f"{os.major(device)}:{os.minor(device)}"
    found = "an unknown file system"
    with Path("/proc/self/mountinfo").open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            fields, _, rest = line.partition(" - ")
            if fields.split(" ")[2] == name:
                found = rest.split(" ")[0]
    return found

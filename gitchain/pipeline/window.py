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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gitchain.errors import ProjectError
from gitchain.platform.mounts import Mount, mount_of, mounts_below, read_mounts

State = Literal["closed", "narrowed", "open"]
STATES: tuple[State, ...] = ("closed", "narrowed", "open")
LOCAL = frozenset(
    {"bcachefs", "btrfs", "erofs", "ext2", "ext3", "ext4", "f2fs", "iso9660"}
    | {"overlay", "ramfs", "squashfs", "tmpfs", "xfs", "zfs"}
)
"""File systems that only this machine writes to."""

MAX_LINKS = 40
"""Most links of one path: what Linux follows."""

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
        return _window(Path.cwd() / path, fresh=fresh)
    except OSError as error:
        raise ProjectError("cannot be looked at", where=str(path), got=str(error.strerror)) from error


def _window(path: Path, *, fresh: bool) -> Window:
    worst = Window("closed", f"only uid {os.geteuid()} and root can change it")
    for found in _Look(read_mounts(), fresh=fresh).problems(path):
        if found.state == "open":
            return found
        worst = found if worst.state == "closed" else worst
    return worst


class _Look:
    """One look at a path: every directory and link that opening it passes, everything in it, and what is mounted there."""

    def __init__(self, mounts: Sequence[Mount], *, fresh: bool) -> None:
        self._mounts = mounts
        self._fresh = fresh
        self._seen: set[Path] = set()

    def problems(self, path: Path) -> Iterator[Window]:
        real = Path(os.path.realpath(path))
        yield from self._mount("it", mount_of(real, self._mounts))
        yield from self._way(path)
        yield from self._contents(real)

    def _way(self, path: Path) -> Iterator[Window]:
        """Yield what is wrong with the directories and links that opening an absolute path passes."""
        for directory, entry in _lookups(path):
            info = entry.lstat()
            yield from _writable(directory, directory.lstat(), info)
            yield from self._mount(str(directory), mount_of(directory, self._mounts))
            if stat.S_ISLNK(info.st_mode):
                yield Window(
                    "narrowed", f"its path leads through a link to {os.path.realpath(path)}: name that"
                )

    def _contents(self, real: Path) -> Iterator[Window]:
        """Yield what is wrong with a file or directory without links on the way to it, and with what is in it."""
        if self._seen & {real, *real.parents}:
            return
        self._seen.add(real)
        for mount in mounts_below(real, self._mounts):
            yield from self._mount(str(mount.place), mount)
            yield Window(
                "narrowed", f"a file system ({mount.kind}) is mounted inside of it, at {mount.place}"
            )
        for one, info in _inside(real):
            if stat.S_ISLNK(info.st_mode):
                yield Window("narrowed", f"{one} is a link")
                yield from self._linked(one)
                continue
            yield from _writable(one, info, None)
            if stat.S_ISREG(info.st_mode) and not self._fresh:
                yield from _open_elsewhere(one)

    def _linked(self, link: Path) -> Iterator[Window]:
        if not link.exists():
            return  # leads nowhere: what hashes it says so
        target = Path(os.path.realpath(link))
        yield from self._mount(str(target), mount_of(target, self._mounts))
        yield from self._way(link)
        yield from self._contents(target)

    def _mount(self, what: str, mount: Mount | None) -> Iterator[Window]:
        """Yield what is wrong with the file system that `what` is on."""
        kind = mount.kind if mount else "an unknown file system"
        if mount is not None and mount.user not in {None, 0, os.geteuid()}:
            yield Window("open", f"{what} is on {kind}, which a program of uid {mount.user} serves")
        if kind not in LOCAL:
            yield Window("narrowed", f"{what} is on {kind}, which others may write to from elsewhere")


def _lookups(path: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each directory, and the entry in it, that is looked up to open an absolute path; OSError for too many links."""
    here, pending, links = Path("/"), list(reversed(path.parts[1:])), 0
    while pending:
        name = pending.pop()
        if name == "..":
            here = here.parent
            continue
        entry = here / name
        yield here, entry
        if not entry.is_symlink():
            here = entry
            continue
        links += 1
        if links > MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
        target = entry.readlink()
        here = Path("/") if target.is_absolute() else here
        pending += reversed(target.parts[1:] if target.is_absolute() else target.parts)


def _writable(path: Path, info: os.stat_result, below: os.stat_result | None) -> Iterator[Window]:
    """Yield what is wrong with owner and mode; in a sticky directory others cannot replace what is not theirs."""
    own = {0, os.geteuid()}
    if info.st_uid not in own:
        yield _changeable(path, f"{path} belongs to uid {info.st_uid}")
    if not info.st_mode & _OTHERS:
        return
    sticky = bool(info.st_mode & stat.S_ISVTX) and below is not None and below.st_uid in own
    if not sticky:
        yield _changeable(path, f"others may write {path} (mode {stat.S_IMODE(info.st_mode):04o})")


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
            yield _changeable(path, f"{path} is open for writing")
        else:
            yield Window("narrowed", f"whether {path} is open for writing elsewhere cannot be seen")
    finally:
        os.close(descriptor)


def _changeable(path: Path, reason: str) -> Window:
    """Return that others can change what is at `path`; only from elsewhere where its file system is read-only here."""
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return Window("narrowed", f"read-only here, but {reason}")
    return Window("open", reason)

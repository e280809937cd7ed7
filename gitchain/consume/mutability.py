"""Determine who could change a file or directory between its verification and its loading.

closed    only this user and root: by owners and modes of the path, its contents and its parents, on a local file
          system, with no file open for writing (a read lease succeeds on each)
narrowed  no other user according to the modes, but something cannot be excluded; the reason is given
open      other users can; the reason is given

This user and root are trusted, since they could change the program that loads the model as well. Check before
hashing: a user who cannot open a file for writing now cannot do so later.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from gitchain.errors import ProjectError, os_errors_as
from gitchain.platform.mounts import Mount, mount_of, mounts_below, read_mounts

State = Literal["closed", "narrowed", "open"]
STATES: tuple[State, ...] = ("closed", "narrowed", "open")
LOCAL = frozenset(
    {"bcachefs", "btrfs", "erofs", "ext2", "ext3", "ext4", "f2fs", "iso9660"}
    | {"devtmpfs", "overlay", "ramfs", "squashfs", "tmpfs", "xfs", "zfs"}
)
"""Local file systems, which only this machine writes to."""

_SERVED = re.compile(r"/dev/(loop|nbd)\d")
"""Devices backed by a file or a program, which a user with access to it could change."""

MAX_LINKS = 40
"""Most links of one path: the limit of Linux."""

_OTHERS = stat.S_IWGRP | stat.S_IWOTH  # an access control list grants no more than the group's bits


@dataclass(frozen=True, slots=True)
class Exposure:
    """Whether others can change the verified bytes, and why."""

    state: State
    reason: str

    def satisfies(self, wanted: State) -> bool:
        """Return True if this state is at least as strict as `wanted`."""
        return STATES.index(self.state) <= STATES.index(wanted)


def window(path: Path, *, fresh: bool = False) -> Exposure:
    """Return who could change the file or directory at `path`; `fresh` if this process created it.

    Raises ProjectError if it is missing or cannot be examined.
    """
    with os_errors_as(ProjectError, "cannot be looked at", path):
        return _window(Path.cwd() / path, fresh=fresh)


def _window(path: Path, *, fresh: bool) -> Exposure:
    worst = Exposure("closed", f"only uid {os.geteuid()} and root can change it")
    for problem in _PathExamination(read_mounts(), fresh=fresh).problems(path):
        if problem.state == "open":
            return problem
        worst = problem if worst.state == "closed" else worst
    return worst


class _PathExamination:
    """Examines one path: all directories and links on the way, all contents, and the mounts."""

    def __init__(self, mounts: Sequence[Mount], *, fresh: bool) -> None:
        self._mounts = mounts
        self._fresh = fresh
        self._seen: set[Path] = set()

    def problems(self, path: Path) -> Iterator[Exposure]:
        real = Path(os.path.realpath(path))
        yield from self._mount("it", mount_of(real, self._mounts))
        yield from self._way(path)
        yield from self._contents(real)

    def _way(self, path: Path) -> Iterator[Exposure]:
        """Yield problems of the directories and links on the way to an absolute path."""
        for directory, entry in _lookups(path):
            info = entry.lstat()
            yield from _writable(directory, directory.lstat(), info)
            yield from self._mount(str(directory), mount_of(directory, self._mounts))
            if stat.S_ISLNK(info.st_mode):
                yield Exposure(
                    "narrowed", f"its path leads through a link to {os.path.realpath(path)}: name that"
                )

    def _contents(self, real: Path) -> Iterator[Exposure]:
        """Yield problems of a file or directory (resolved) and of its contents."""
        if self._seen & {real, *real.parents}:
            return
        self._seen.add(real)
        for mount in mounts_below(real, self._mounts):
            yield from self._mount(str(mount.place), mount)
            yield Exposure(
                "narrowed", f"a file system ({mount.kind}) is mounted inside of it, at {mount.place}"
            )
        for path, info in _inside(real):
            if stat.S_ISLNK(info.st_mode):
                yield Exposure("narrowed", f"{path} is a link")
                yield from self._linked(path)
                continue
            yield from _writable(path, info, None)
            if stat.S_ISREG(info.st_mode) and not self._fresh:
                yield from _open_elsewhere(path)

    def _linked(self, link: Path) -> Iterator[Exposure]:
        if not link.exists():
            return  # dangling link: hashing reports it
        target = Path(os.path.realpath(link))
        yield from self._mount(str(target), mount_of(target, self._mounts))
        yield from self._way(link)
        yield from self._contents(target)

    def _mount(self, what: str, mount: Mount | None) -> Iterator[Exposure]:
        """Yield problems of the file system of `what`."""
        kind = mount.kind if mount else "an unknown file system"
        if mount is not None and mount.user not in {None, 0, os.geteuid()}:
            yield Exposure("open", f"{what} is on {kind}, which a program of uid {mount.user} serves")
        if mount is not None and _SERVED.match(mount.source):
            yield Exposure(
                "narrowed", f"{what} is on {mount.source}, whose content others may write to from elsewhere"
            )
        if kind not in LOCAL:
            yield Exposure("narrowed", f"{what} is on {kind}, which others may write to from elsewhere")


def _lookups(path: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each directory and entry that opening an absolute path looks up. Raises OSError for too many links."""
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


def _writable(path: Path, info: os.stat_result, below: os.stat_result | None) -> Iterator[Exposure]:
    """Yield problems of owner and mode. In a sticky directory others cannot replace foreign files."""
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
            path = Path(root, name)
            yield path, path.lstat()


def _raise(error: OSError) -> None:
    raise error


def _open_elsewhere(path: Path) -> Iterator[Exposure]:
    """Take a read lease for a moment. It fails if any process has the file open for writing."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            yield _changeable(path, f"{path} is open for writing")
        else:
            yield Exposure("narrowed", f"whether {path} is open for writing elsewhere cannot be seen")
    finally:
        os.close(descriptor)


def _changeable(path: Path, reason: str) -> Exposure:
    """Return the exposure of a path that others can change; on a read-only mount only through another mount."""
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return Exposure("narrowed", f"read-only here, but {reason}")
    return Exposure("open", reason)

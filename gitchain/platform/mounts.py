"""File systems of paths, and mounts below them, from Linux's mount table.

Format: https://www.kernel.org/doc/html/latest/filesystems/proc.html, /proc/PID/mountinfo.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gitchain.errors import MalformedError

TABLE = Path("/proc/self/mountinfo")
_ESCAPE = re.compile(r"\\([0-7]{3})")
_USER = re.compile(r"(?:^|,)user_id=(\d+)(?:,|$)")


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount: its place, its device as `major:minor`, its kind, who serves it if a user's program does, its source."""

    place: Path
    device: str
    kind: str
    user: int | None = None
    source: str = ""

    @classmethod
    def parse(cls, line: str) -> Mount:
        """Return the mount in a line of the table. Raises MalformedError."""
        fields, mark, rest = line.partition(" - ")
        parts, more = fields.split(" "), rest.split(" ")
        if not mark or len(parts) < 6 or len(more) < 3:
            raise MalformedError("not a line of the table of mounts", got=ascii(line[:200]))
        user = _USER.search(more[2])
        place = _ESCAPE.sub(lambda found: chr(int(found[1], 8)), parts[4])
        return cls(Path(place), parts[2], more[0], int(user[1]) if user else None, more[1])


def read_mounts() -> tuple[Mount, ...]:
    """Return all mounts visible to this process, in order. Raises OSError or MalformedError."""
    text = os.fsdecode(TABLE.read_bytes())
    return tuple(Mount.parse(line) for line in text.splitlines())


def mount_of(path: Path, mounts: Sequence[Mount]) -> Mount | None:
    """Return the mount of a path without links, or None if the table has none. Raises OSError for a missing path.

    Selects the deepest mount above it, and the last one at the same place. Mounts with the path's device are
    preferred, because hidden mounts stay in the table.
    """
    number = path.lstat().st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    above = [one for one in mounts if path.is_relative_to(one.place)]
    own = [one for one in above if one.device == device] or above  # btrfs gives each subvolume its own number
    return max(enumerate(own), key=lambda item: (len(item[1].place.parts), item[0]))[1] if own else None


def mounts_below(path: Path, mounts: Sequence[Mount]) -> tuple[Mount, ...]:
    """Return the mounts inside a directory, at any depth."""
    return tuple(one for one in mounts if one.place != path and one.place.is_relative_to(path))

"""The table of mounts says which file system a path is on, and what is mounted inside."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gitchain.errors import MalformedError
from gitchain.platform.mounts import Mount, mount_of, mounts_below, read_mounts

LINE = r"36 35 98:0 /mnt1 /a\040b\134c rw,noatime master:1 - fuse.sshfs user@host: rw,user_id=1000,group_id=0"


def test_mount_parse() -> None:
    """Escapes in the place, optional fields before the dash, and who serves it."""
    assert Mount.parse(LINE) == Mount(Path("/a b\\c"), "98:0", "fuse.sshfs", 1000, "user@host:")
    assert Mount.parse("1 0 0:1 / / rw - ext4 /dev/x rw,xuser_id=5") == Mount(
        Path("/"), "0:1", "ext4", None, "/dev/x"
    )


@pytest.mark.parametrize(
    "line", ["", "36 35 98:0 / /mnt rw", "36 35 98:0 / /mnt rw - ext4", "36 35 - ext4 x rw"]
)
def test_mount_parse_refuses_other_lines(line: str) -> None:
    with pytest.raises(MalformedError):
        Mount.parse(line)


def test_read_mounts_knows_this_machine(tmp_path: Path) -> None:
    mounts = read_mounts()
    found = mount_of(Path("/proc"), mounts)
    assert found
    assert found == Mount(Path("/proc"), found.device, "proc", None, found.source)
    assert mount_of(tmp_path, mounts) is not None


def test_mount_of_takes_the_deepest_then_the_last(tmp_path: Path) -> None:
    number = tmp_path.stat().st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    root, above, first, last = (
        Mount(Path("/"), "9:9", "nfs"),
        Mount(tmp_path.parent, "9:8", "btrfs"),
        Mount(tmp_path, "9:7", "ext4"),
        Mount(tmp_path, "9:6", "fuse"),
    )
    sibling = Mount(tmp_path.parent / f"{tmp_path.name}x", "9:5", "xfs")
    assert mount_of(tmp_path, [first, root, last, above, sibling]) == last
    assert mount_of(tmp_path, [root, above]) == above
    hidden = Mount(tmp_path.parent, device, "fuse")
    assert mount_of(tmp_path, [first, hidden]) == hidden
    assert mount_of(tmp_path, [sibling]) is None


def test_mounts_below() -> None:
    inside, here, beside = (Mount(Path(place), "1:1", "x") for place in ("/m/a/b", "/m", "/mx"))
    assert mounts_below(Path("/m"), [inside, here, beside]) == (inside,)

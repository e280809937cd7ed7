"""What is staged appears at once or not at all; what a killed process left is cleared, and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gitchain.consume.staging import PREFIX, recover, staged
from gitchain.errors import ConflictError, StoreError, UsageError

KILLED = """\
import os, signal, sys
from pathlib import Path
from gitchain.consume.staging import staged
at, to = int(sys.argv[1]), Path(sys.argv[2])
rename, count = Path.rename, 0
def killed(self, target):
    global count
    count += 1
    if count > at:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
with staged(to) as staging:
    for number in range(5):
        (staging.files / f"f{number}").write_text("x")
    (staging.files / "sub").mkdir()
    Path.rename = killed
    staging.publish(staging.files)
"""


def killed_after(renames: int, to: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(renames), str(to)], check=False)
    assert done.returncode == -signal.SIGKILL


def publish(to: Path) -> None:
    with staged(to) as staging:
        (staging.files / "model").write_text("whole")
        staging.publish(staging.files)
    assert [one.name for one in to.iterdir()] == ["model"]


@pytest.fixture
def foreign_owner(tmp_path: Path) -> Path:
    """Return a destination that cannot be replaced, as a mount point cannot: another user owns it."""
    if os.geteuid() != 0:
        pytest.skip("only root can give directories away")
    to = tmp_path / "mounted"
    to.mkdir()
    os.chown(to, 12345, -1)
    return to


def test_staged_publishes_by_one_rename_and_leaves_nothing_behind(tmp_path: Path) -> None:
    to = tmp_path / "a" / "dest"
    publish(to)
    assert [one.name for one in to.parent.iterdir()] == ["dest"]
    with pytest.raises(UsageError, match="destination is not empty"), staged(to):
        pass


def test_staged_follows_a_link_to_the_destination(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    publish(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()


def test_process_killed_before_the_rename_leaves_nothing_at_the_destination(tmp_path: Path) -> None:
    to = tmp_path / "dest"
    killed_after(0, to)
    assert list(to.iterdir()) == []
    assert any(one.name.startswith(PREFIX) for one in tmp_path.iterdir())
    publish(to)
    assert not any(one.name.startswith(PREFIX) for one in tmp_path.iterdir())


@pytest.mark.parametrize("name", ["d" * 200, "ä" * 120, "d" * 255])
def test_leftovers_beside_a_destination_with_a_long_name_are_cleared(tmp_path: Path, name: str) -> None:
    """A name has at most 255 bytes: only its start is in the name of what is staged."""
    to = tmp_path / "models" / name
    killed_after(0, to)
    killed_after(0, to)
    assert len([one for one in to.parent.iterdir() if one.name.startswith(PREFIX)]) == 1
    publish(to)
    assert [one.name for one in to.parent.iterdir()] == [name]


@pytest.mark.parametrize("renames", [0, 1, 2, 4, 6])
def test_process_killed_while_it_fills_a_mount_point_is_recovered(foreign_owner: Path, renames: int) -> None:
    """The first rename is the journal's; what was moved since is taken away, and the same call works again."""
    killed_after(renames, foreign_owner)
    moved = [one.name for one in foreign_owner.iterdir() if not one.name.startswith(PREFIX)]
    assert len(moved) == max(0, renames - 1)
    publish(foreign_owner)


def test_recover_never_touches_what_is_not_in_the_journal(foreign_owner: Path) -> None:
    """Neither another file, nor one of the same name that is not the one that was moved."""
    killed_after(3, foreign_owner)
    (foreign_owner / "f0").unlink()
    (foreign_owner / "other").write_text("mine")
    (foreign_owner / "f0").write_text("mine")
    with pytest.raises(UsageError, match="destination is not empty"), staged(foreign_owner):
        pass
    assert sorted(one.name for one in foreign_owner.iterdir()) == ["f0", "other"]


def test_recover_leaves_living_and_foreign_directories(tmp_path: Path) -> None:
    to = tmp_path / "dest"
    with staged(to) as staging:
        recover(to)
        assert staging.files.is_dir()
        names = [f"{PREFIX}dest-short", f"{PREFIX}other-0123456789abcdef", f"{PREFIX}0123456789abcdef"]
        for name in names:
            (tmp_path / name).mkdir()
        (tmp_path / f"{PREFIX}dest-0123456789abcdef").write_text("a file")
        (tmp_path / f"{PREFIX}dest-1123456789abcdef").symlink_to(tmp_path)
        recover(to)
        assert all((tmp_path / name).is_dir() for name in names)
        assert (tmp_path / f"{PREFIX}dest-0123456789abcdef").is_file()
        assert (tmp_path / f"{PREFIX}dest-1123456789abcdef").is_symlink()
    assert not staging.place.exists()


def test_staged_waits_for_nobody_who_fills_the_destination(foreign_owner: Path) -> None:
    with staged(foreign_owner) as staging:
        assert staging.place.parent == foreign_owner
        with pytest.raises(ConflictError, match="another process"), staged(foreign_owner):
            pass
        assert staging.files.is_dir()


def test_publish_does_not_mix_with_what_appeared_meanwhile(tmp_path: Path, foreign_owner: Path) -> None:
    for to in (tmp_path / "dest", foreign_owner):
        with staged(to) as staging:
            (staging.files / "model").write_text("x")
            (to / "foreign").write_text("y")
            with pytest.raises(UsageError, match="destination is not empty"):
                staging.publish(staging.files)
        assert [one.name for one in to.iterdir()] == ["foreign"]


def test_staged_says_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot write"), staged(tmp_path / "file"):
        pass

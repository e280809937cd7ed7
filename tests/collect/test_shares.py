"""Trees whose small files several processes read: the same result, the same errors, and nothing left."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitchain.collect import files, shares
from gitchain.collect.file_digests import BUFFER, FileHasher
from gitchain.collect.files import hash_path
from gitchain.collect.shares import TOGETHER, Share
from gitchain.errors import ProjectError
from tests.support.children import children

COUNT = 500


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Divide trees of ten files among four processes; count the processes of each tree."""
    used: list[int] = []

    def processes(_small_files: int) -> int:
        used.append(4)
        return 4

    monkeypatch.setattr(files, "MIN_SHARED", 10)
    monkeypatch.setattr(shares, "processes", processes)
    started = children()
    yield used
    assert children() == started  # no copy is left


def tree(root: Path) -> None:
    """Write small files in several directories, and a large one."""
    for number in range(COUNT):
        folder = root / "data" / f"{number % 7}" / ("x" * (number % 3))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"ä{number}").write_bytes(os.urandom(number))
    (root / "data" / "large").write_bytes(os.urandom(BUFFER + 1))
    (root / "data" / "large").chmod(0o755)


@pytest.mark.parametrize("md5", [True, False])
def test_shares_find_what_one_process_finds(tmp_path: Path, several: list[int], md5: bool) -> None:
    """Each file is read once, whoever reads it."""
    tree(tmp_path)
    found = hash_path(str(tmp_path), "data", md5=md5)
    assert several == [4]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shares, "processes", lambda _small: 1)
        assert hash_path(str(tmp_path), "data", md5=md5) == found
    assert isinstance(found, tuple)
    assert len(found) == COUNT + 1


def test_share_takes_each_name_in_one_process() -> None:
    """Large files and links are those of process 0; the small ones are spread."""
    names = [(f"{number}", 4) for number in range(TOGETHER * 5)] + [("large", BUFFER), ("link", 4)]
    taken = [list(Share(process, 3).take(names, {"link"})) for process in range(3)]
    assert sorted(name for share in taken for name in share) == sorted(name for name, _ in names)
    assert {"large", "link"} <= set(taken[0])
    assert [len(share) for share in taken] == [TOGETHER * 2 + 2, TOGETHER * 2, TOGETHER]


def test_shares_tell_progress_of_every_file(tmp_path: Path, several: list[int]) -> None:
    """The total comes first, and is reached."""
    tree(tmp_path)
    told: list[tuple[str, int, int]] = []

    class Told:
        def total(self, number: int, size: int) -> None:
            told.append(("total", number, size))

        def advance(self, number: int, size: int) -> None:
            told.append(("advance", number, size))

    hash_path(str(tmp_path), "data", progress=Told())
    (first, number, size), *rest = told
    assert several == [4]
    assert (first, number) == ("total", COUNT + 1)
    assert (sum(one[1] for one in rest), sum(one[2] for one in rest)) == (number, size)


@pytest.mark.parametrize("number", [0, TOGETHER, 2 * TOGETHER, COUNT - 1])
def test_shares_raise_the_error_of_any_process(tmp_path: Path, several: list[int], number: int) -> None:
    """A pointer is refused by name, in whichever share it is."""
    folder = tmp_path / "data"
    folder.mkdir()
    for one in range(COUNT):
        (folder / f"{one:03}").write_bytes(b"1")
    names = [
        entry.name for entry in os.scandir(folder)
    ]  # in the order of the disk, in which shares are taken
    path = folder / names[number]
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12\n")
    with pytest.raises(ProjectError, match="Git LFS pointer") as caught:
        hash_path(str(tmp_path), "data")
    assert path.name in caught.value.where
    assert several == [4]


def test_share_of_a_killed_process_is_read_here(
    tmp_path: Path, several: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copies end by a signal; the result is whole."""
    tree(tmp_path)
    here, real = os.getpid(), FileHasher.several

    def killed(self: FileHasher, places: object) -> object:
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, places)  # type: ignore[arg-type]

    expected = hash_path(str(tmp_path), "data")
    monkeypatch.setattr(FileHasher, "several", killed)
    assert hash_path(str(tmp_path), "data") == expected
    assert several == [4, 4]


def test_processes_are_few_for_few_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """One process for few files, too many, other threads, or one processor."""
    monkeypatch.setattr(shares, "can_fork", lambda: True)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(64)))
    assert [shares.processes(count) for count in (0, 3_999, 4_000, 8_000, 100_000, 1_000_001)] == [
        1,
        1,
        2,
        4,
        8,
        1,
    ]
    monkeypatch.setattr(shares, "can_fork", lambda: False)
    assert shares.processes(100_000) == 1

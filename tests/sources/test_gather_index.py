"""The kept index, spoiled: it is made anew, or done without, and finds the same; verification never fails by it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import LimitError, StoreError
from gitchain.evidence.digest import sha256_hex
from gitchain.sources import bundle_index, follow_store, gather
from gitchain.sources.bundle_index import BundleIndex
from gitchain.sources.follow_store import Indexer
from gitchain.sources.gather import index_of
from gitchain.workspace.project import Project, open_project
from tests.support.store_samples import bundle, manifest

Git = Callable[..., str]
REF = "refs/gitchain/attestations"
NAMES = ("one", "two", "three")


@pytest.fixture
def project(git_repo: Path) -> Project:
    """Return a repository with three bundles in its store, added by two commits."""
    found = open_project(git_repo, configured=False)
    found.store.add([bundle("one"), bundle("two")], manifest("a/b", "c").nodes)
    found.store.add([bundle("three")])
    return found


@pytest.fixture
def kept(project: Project, isolated: Path) -> Path:
    """Return the file of the project's index."""
    assert listed(project) == names()
    (found,) = (isolated / "index").glob("*.sqlite")
    return found


def names(*more: str) -> set[str]:
    return {sha256_hex(bundle(name)) for name in (*NAMES, *more)}


def listed(project: Project) -> set[str]:
    index = index_of(project.store, project.seen_key, project.store.tip())
    found = {one.name for one in index.everything()}
    index.close()
    return found


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the bundles that were read for the index."""
    found: list[str] = []
    real = Indexer.add

    def add(self: Indexer, name: str, place: str, raw: bytes) -> None:
        found.append(name)
        real(self, name, place, raw)

    monkeypatch.setattr(Indexer, "add", add)
    return found


def test_index_reads_only_what_is_new(project: Project, kept: Path, read: list[str]) -> None:
    assert listed(project) == names()
    assert read == []
    project.store.add([bundle("four")])
    assert listed(project) == names("four")
    assert read == [sha256_hex(bundle("four"))]
    assert kept.stat().st_mode & 0o077 == 0


SPOILED: dict[str, Callable[[Path], object]] = {
    "gone": lambda file: file.unlink(),
    "without its seal": lambda file: seal_of(file).unlink(),
    "empty": lambda file: file.write_bytes(b""),
    "cut short": lambda file: os.truncate(file, file.stat().st_size // 2),
    "garbage": lambda file: file.write_bytes(b"garbage" * 10_000),
    "a byte changed": lambda file: flip(file),  # noqa: PLW0108 - it is defined below
    "rows removed by somebody": lambda file: run(file, "DELETE FROM bundle"),
    "a newer format": lambda file: (
        run(file, "UPDATE meta SET value = '99' WHERE key = 'format'"),
        seal(file),
    ),
    "of another store": lambda file: (
        run(file, "UPDATE meta SET value = 'x' WHERE key = 'store'"),
        seal(file),
    ),
    "without tables": lambda file: (file.write_bytes(b""), seal(file)),
    "half of a transaction": lambda file: (
        file.with_name(f"{file.name}-journal").write_bytes(b"x" * 600),
        flip(file),
    ),
    "a seal of a file elsewhere": lambda file: (
        file.rename(file.parent.parent / file.name),
        seal_of(file).write_text(f"../{file.name} {gather._state(file.parent.parent / file.name)}"),
    ),
    "a link": lambda file: (file.rename(file.with_name("moved")), file.symlink_to("moved")),
    "the seal a directory": lambda file: (
        seal_of(file).unlink(),
        seal_of(file).mkdir(),
    ),
}


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


def run(file: Path, sql: str) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute(sql)
    connection.close()


def seal(file: Path) -> None:
    seal_of(file).write_text(f"{file.name} {gather._state(file)}")


def seal_of(file: Path) -> Path:
    return file.with_name(f"{file.stem.partition('-')[0]}.seal")


@pytest.mark.parametrize("how", SPOILED)
def test_a_spoiled_index_is_made_anew(project: Project, kept: Path, read: list[str], how: str) -> None:
    SPOILED[how](kept)
    assert listed(project) == names()
    assert set(read) == names()
    read.clear()
    assert listed(project) == names()
    if how != "the seal a directory":  # nothing can be written in its place: each run makes its own index
        assert read == []


def test_an_index_of_another_machine_is_made_anew(
    project: Project, kept: Path, read: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A copied user directory: the files are others now."""
    shutil.copytree(kept.parent.parent, tmp_path / "copied")
    monkeypatch.setenv("GITCHAIN_HOME", str(tmp_path / "copied"))
    assert listed(project) == names()
    assert set(read) == names()


@pytest.mark.parametrize("where", ["the directory", "a file in its place", "no home"])
def test_without_a_writable_directory_each_run_reads_all(
    project: Project, isolated: Path, monkeypatch: pytest.MonkeyPatch, where: str, read: list[str]
) -> None:
    isolated.mkdir(exist_ok=True)
    if where == "no home":
        monkeypatch.delenv("GITCHAIN_HOME")
        monkeypatch.setenv("HOME", "")
    elif where == "a file in its place":
        (isolated / "index").write_text("x")
    else:
        monkeypatch.setattr(gather, "_turn", full_disk)
    for _ in range(2):
        assert listed(project) == names()
        assert set(read) == names()
        read.clear()


def full_disk(path: Path) -> Iterator[None]:
    raise OSError(28, "No space left on device", str(path))


def test_a_full_disk_leaves_no_half_index(
    project: Project, isolated: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]
) -> None:
    """What SQLite cannot write is not kept, and the answer is the same."""
    real = BundleIndex.add_all

    def add(self: BundleIndex, *args: Any) -> None:
        if self._connection.execute("PRAGMA database_list").fetchall()[0][2]:
            raise sqlite3.OperationalError("database or disk is full")
        real(self, *args)

    monkeypatch.setattr(BundleIndex, "add_all", add)
    assert listed(project) == names()
    assert [one.suffix for one in (isolated / "index").iterdir()] == [".lock"]
    monkeypatch.setattr(BundleIndex, "add_all", real)
    assert listed(project) == names()
    read.clear()
    assert listed(project) == names()
    assert read == []


def test_a_rewound_store_is_not_found_in_its_old_index(project: Project, kept: Path, git: Git) -> None:
    """The index follows the ref wherever it points: what is gone is gone, and comes back."""
    tip = project.store.tip()
    git(project.root, "update-ref", REF, f"{tip}~1")
    assert listed(project) == names() - {sha256_hex(bundle("three"))}
    git(project.root, "update-ref", REF, str(tip))
    assert listed(project) == names()
    git(project.root, "update-ref", "-d", REF)
    assert listed(project) == set()
    git(project.root, "update-ref", REF, str(tip))
    assert listed(project) == names()


def test_a_reader_keeps_what_its_state_held_while_others_follow(
    project: Project, kept: Path, git: Git
) -> None:
    """Another process indexes a rewound store: who reads the longer one still finds all of it."""
    tip = project.store.tip()
    index = index_of(project.store, project.seen_key, tip)
    git(project.root, "update-ref", REF, f"{tip}~1")
    assert len(listed(project)) == 2
    assert {one.name for one in index.everything()} == names()


def test_a_name_never_stands_for_two_files(project: Project, kept: Path, git: Git) -> None:
    """SQLite finds the journal by the name: a reader of a replaced file must not meet that of another one."""
    tip = project.store.tip()
    index = index_of(project.store, project.seen_key, tip)
    git(project.root, "update-ref", REF, f"{tip}~1")
    assert len(listed(project)) == 2
    (now,) = kept.parent.glob("*.sqlite")
    assert now.name != kept.name
    now.with_name(f"{now.name}-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + b"x" * 600)
    assert {one.name for one in index.everything()} == names()


def test_the_index_is_opened_before_others_may_replace_it(
    project: Project, isolated: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process indexes a rewound store as soon as the lock is free."""
    tip = project.store.tip()
    real = gather._turn
    nested: list[Any] = []

    @contextlib.contextmanager
    def turn(path: Path) -> Iterator[None]:
        with real(path):
            yield
        if not nested:
            nested.append(path)
            git(project.root, "update-ref", REF, f"{tip}~1")
            assert len(listed(project)) == 2

    monkeypatch.setattr(gather, "_turn", turn)
    index = index_of(project.store, project.seen_key, tip)
    assert nested
    assert {one.name for one in index.everything()} == names()


def test_readers_are_not_locked_out_while_others_follow(
    project: Project, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With more additions than the cache of the writer holds."""
    monkeypatch.setattr(bundle_index, "CACHE_KIB", 1)
    monkeypatch.setattr(bundle_index, "BUSY_SECONDS", 0.0)
    monkeypatch.setattr(follow_store, "WRITTEN_TOGETHER", 1)
    reader = index_of(project.store, project.seen_key, project.store.tip())
    project.store.add([bundle(f"more-{number}") for number in range(200)])
    real, read = BundleIndex.add_all, []

    def add(self: BundleIndex, *args: Any) -> None:
        real(self, *args)
        read.append(len([*reader.everything()]))

    monkeypatch.setattr(BundleIndex, "add_all", add)
    assert len(listed(project)) == 203
    assert read == [3] * 200
    assert [*kept.parent.glob("*.sqlite")] == [kept]


def test_many_additions_go_into_another_file(
    project: Project, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written to a file in use is bounded, as it waits in memory."""
    monkeypatch.setattr(gather, "FOLLOWED_LEAVES", 2)
    project.store.add([bundle(name) for name in ("four", "five", "six")])
    assert listed(project) == names("four", "five", "six")
    assert kept not in [*kept.parent.glob("*.sqlite")]


def test_two_processes_at_once(project: Project, isolated: Path) -> None:
    project.store.add([bundle(f"more-{number}") for number in range(200)])
    with multiprocessing.get_context("fork").Pool(4) as pool:
        found = pool.map(counted, [str(project.root)] * 8)
    assert found == [203] * 8
    assert len([*(isolated / "index").glob("*.sqlite")]) == 1


def counted(root: str) -> int:
    return len(listed(open_project(Path(root), configured=False)))


def test_a_process_that_holds_the_lock_stops_nobody(
    project: Project, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "LOCK_SECONDS", 0.1)
    project.store.add([bundle("four")])
    with gather._turn(seal_of(kept).with_suffix(".lock")):
        assert listed(project) == names("four")
    before = kept.stat().st_mtime_ns
    assert listed(project) == names("four")
    assert kept.stat().st_mtime_ns != before


def test_what_cannot_be_read_now_is_not_kept(project: Project, isolated: Path, git: Git) -> None:
    """An object is missing: it is reported, nothing is kept, and it is found when it is there again."""
    name = sha256_hex(bundle("one"))
    path = f"{REF}:att/{name[:2]}/{name[2:4]}/{name[4:]}"
    oid = git(project.root, "rev-parse", path)
    loose = project.root / ".git/objects" / oid[:2] / oid[2:]
    data = loose.read_bytes()
    loose.unlink()
    index = index_of(project.store, project.seen_key, project.store.tip())
    assert [one.name for one in index.everything()] == sorted(names() - {name})
    assert len(index.problems()) == 1
    assert not [*(isolated / "index").glob("*.sqlite")]
    loose.write_bytes(data)
    assert listed(project) == names()


def test_problems_of_a_folder_stay_while_it_grows(project: Project, git: Git) -> None:
    """Junk is reported at each reading, also after the folder that holds it was followed."""
    name = sha256_hex(bundle("one"))
    place = f"att/{name[:2]}/{name[2:4]}"
    junk = (
        subprocess.run(
            ["git", "hash-object", "-w", "--stdin"],
            cwd=project.root,
            input=b"junk",
            capture_output=True,
            check=True,
        )
        .stdout.decode()
        .strip()
    )
    for leaf in ("0" * 60, "not-a-name"):
        env = {**os.environ, "GIT_INDEX_FILE": str(project.root / ".git/other")}
        for command in (
            ("read-tree", REF),
            ("update-index", "--add", "--cacheinfo", f"100644,{junk},{place}/{leaf}"),
        ):
            subprocess.run(["git", *command], cwd=project.root, env=env, check=True)
        tree = subprocess.run(
            ["git", "write-tree"], cwd=project.root, env=env, capture_output=True, check=True
        )
        commit = git(project.root, "commit-tree", "-p", REF, "-m", "x", tree.stdout.decode().strip())
        git(project.root, "update-ref", REF, commit)
        followed = index_of(project.store, project.seen_key, project.store.tip())
        assert {path.rpartition("/")[2] for path, _ in followed.problems()} >= {leaf, "0" * 60}
        assert {one.name for one in followed.everything()} == names()


@pytest.mark.parametrize("limit", ["KEPT_LEAVES", "KEPT_BYTES"])
def test_what_one_run_indexes_is_bounded(
    project: Project, isolated: Path, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    """Of what is new: what was indexed before does not count."""
    assert listed(project) == names()
    monkeypatch.setattr(gather, limit, 2 if limit == "KEPT_LEAVES" else len(bundle("four")) + 1)
    project.store.add([bundle("four")])
    assert listed(project) == names("four")
    shutil.rmtree(isolated / "index")
    with pytest.raises(LimitError, match="the store holds too much"):
        listed(project)


def test_old_indexes_are_removed(project: Project, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "MAX_INDEXES", 2)
    for key in ("a", "b", "c"):
        index_of(project.store, key, project.store.tip()).close()
    assert len([*(isolated / "index").glob("*.sqlite")]) == 2


def test_a_damaged_page_is_one_error(kept: Path) -> None:
    """What the seal did not notice SQLite does: no traceback, and no answer."""
    data = bytearray(kept.read_bytes())
    index = BundleIndex(str(kept))
    kept.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    with pytest.raises(StoreError, match="the index of the evidence cannot be read"):
        [*index.everything()]


def test_names_that_are_no_text_are_indexed(isolated: Path, git_repo: Path) -> None:
    """A repository below a name that is not UTF-8, and a reason that quotes one."""
    place = git_repo.parent / os.fsdecode(b"caf\xe9")
    git_repo.rename(place)
    project = open_project(place, configured=False)
    project.store.add([bundle("one")])
    for _ in range(2):
        assert listed(project) == {sha256_hex(bundle("one"))}
    assert len([*(isolated / "index").glob("*.sqlite")]) == 1
    index = BundleIndex()
    with index.filling():
        index.replace_problems("att", [(os.fsdecode(b"att/\xff"), "\ud800 is no name")])
    assert index.problems() == [("att/\\udcff", "\\ud800 is no name")]


def test_no_place_for_a_temporary_index_is_one_error(
    project: Project, isolated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the user's directory nor the temporary one takes more."""

    def add(self: BundleIndex, *_: Any) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(BundleIndex, "add_all", add)
    with pytest.raises(StoreError, match="cannot be indexed") as caught:
        listed(project)
    assert "TMPDIR" in caught.value.help


def test_rehearsed_changes_are_indexed_in_memory_alone(project: Project, isolated: Path) -> None:
    project.store.rehearse()
    project.store.add([bundle("four")])
    assert listed(project) == names("four")
    assert not (isolated / "index").exists()

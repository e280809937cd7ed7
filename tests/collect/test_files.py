"""Files and trees are read as they are, and nothing is followed that leads elsewhere."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gitchain.collect.artifacts import collect_artifact, directory_md5
from gitchain.collect.file_digests import BUFFER, HashedFile
from gitchain.collect.files import hash_path
from gitchain.collect.hash_cache import StateCache
from gitchain.errors import GitchainError, LimitError, ProjectError, VerificationError
from gitchain.evidence.digest import Sha256
from gitchain.evidence.manifest import FileEntry, build_manifest, expand


def write(path: Path, data: bytes = b"x", mode: int = 0o644) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("size", [0, 1, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER + 7])
def test_both_digests_are_those_of_hashlib(tmp_path: Path, size: int) -> None:
    """One pass gives what two passes of hashlib give, around every buffer edge."""
    data = os.urandom(size)
    write(tmp_path / "f", data, 0o755)
    found = hash_path(str(tmp_path), "f")
    assert found == HashedFile(
        "", True, size, Sha256(hashlib.sha256(data).hexdigest()), hashlib.md5(data).hexdigest()
    )


def test_a_directory_is_its_manifest(tmp_path: Path) -> None:
    """Names, sizes and digests are in the manifest, and its nodes expand to the same files; version 1 has modes too."""
    write(tmp_path / "d" / "a.csv", b"1")
    write(tmp_path / "d" / "sub" / "run.sh", b"2", 0o755)
    (tmp_path / "d" / "empty").mkdir()
    artifact = collect_artifact(tmp_path, "d")
    entries = [
        FileEntry("a.csv", False, 1, Sha256(hashlib.sha256(b"1").hexdigest())),
        FileEntry("sub/run.sh", True, 1, Sha256(hashlib.sha256(b"2").hexdigest())),
    ]
    assert artifact.manifest is not None
    assert artifact.descriptor.digest["sha256"] == build_manifest(entries).digest
    old = artifact.manifest_v1()
    assert list(expand(old.digest, old.nodes.get, 1)) == entries
    plain = [replace(entry, executable=False) for entry in entries]
    assert list(expand(artifact.manifest.digest, artifact.manifest.nodes.get)) == plain
    (tmp_path / "d" / "sub" / "run.sh").chmod(0o644)
    assert collect_artifact(tmp_path, "d").descriptor == artifact.descriptor
    assert (artifact.files, artifact.size) == (2, 2)
    assert artifact.descriptor.is_directory


def test_an_empty_directory_is_an_artifact(tmp_path: Path) -> None:
    """A directory without files has the digest of the empty manifest."""
    (tmp_path / "d").mkdir()
    assert collect_artifact(tmp_path, "d").descriptor.digest["sha256"] == build_manifest(()).digest


def test_the_directory_md5_is_dvcs(pipeline: Path) -> None:
    """What DVC wrote into dvc.lock for the directory is what we compute from the bytes."""
    lock = (pipeline / "dvc.lock").read_text(encoding="utf-8")
    artifact = collect_artifact(pipeline, "data/prepared")
    assert artifact.md5 in lock
    assert artifact.descriptor.annotations["dvc.md5"] == artifact.md5


def test_the_directory_md5_sorts_as_dvc_does() -> None:
    """DVC sorts by code point of the path, escapes what is not ASCII, and adds .dir."""
    listed = b'[{"md5": "%s", "relpath": "B"}, {"md5": "%s", "relpath": "a/\\u00e9"}]' % (
        b"1" * 32,
        b"2" * 32,
    )
    assert directory_md5([("a/é", "2" * 32), ("B", "1" * 32)]) == hashlib.md5(listed).hexdigest() + ".dir"


@pytest.mark.parametrize("make", ["file", "directory", "parent", "dangling", "inner", "loop"])
def test_symlinks_are_refused_by_name(tmp_path: Path, make: str) -> None:
    """A link out of the tree, inside it, over a parent, to nothing or to itself: each is refused and named."""
    root, outside = tmp_path / "r", tmp_path / "outside"
    write(outside / "secret", b"s")
    write(root / "d" / "plain", b"p")
    target = {
        "file": outside / "secret",
        "directory": outside,
        "parent": outside,
        "dangling": tmp_path / "no",
        "inner": root / "d" / "plain",
        "loop": root / "d" / "link",
    }[make]
    (root / "d" / "link").symlink_to(target)
    name = "d/link/secret" if make == "parent" else "d"
    with pytest.raises(ProjectError, match="symbolic link") as caught:
        collect_artifact(root, name)
    assert "d/link" in caught.value.where


def test_a_link_into_dvcs_cache_is_read_and_its_bytes_checked(
    pipeline: Path, dvc: Callable[..., str]
) -> None:
    """With DVC's `symlink` cache type the work tree holds links: same digests, and a tampered object is refused."""
    plain = collect_artifact(pipeline, "data/prepared")
    dvc(pipeline, "config", "cache.type", "symlink")
    shutil.rmtree(pipeline / "data")
    (pipeline / "src" / "model us.bin").unlink()
    dvc(pipeline, "checkout", "-q", "--relink")
    link = pipeline / "data" / "prepared" / "train.csv"
    assert link.is_symlink()
    linked = collect_artifact(pipeline, "data/prepared")
    assert linked.md5 == plain.md5
    assert [part.sha256 for part in linked.parts] == [part.sha256 for part in plain.parts]
    assert (pipeline / "src" / "model us.bin").is_symlink()
    collect_artifact(pipeline, "src/model us.bin")
    target = link.readlink()
    target.chmod(0o644)
    target.write_bytes(b"other")
    with pytest.raises(VerificationError, match="cache object") as caught:
        collect_artifact(pipeline, "data/prepared")
    assert "data/prepared/train.csv" in caught.value.where


def test_a_link_that_only_looks_like_dvcs_cache_is_refused(pipeline: Path, tmp_path: Path) -> None:
    """The right shape of path in another directory is not DVC's cache."""
    fake = write(tmp_path / "files" / "md5" / "ab" / ("c" * 30))
    (pipeline / "link").symlink_to(fake)
    with pytest.raises(ProjectError, match="symbolic link"):
        collect_artifact(pipeline, "link")


@pytest.mark.parametrize("kind", ["fifo", "socket"])
def test_specials_are_refused_and_do_not_block(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe without a writer would wait for ever."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    if kind == "fifo":
        os.mkfifo("d/x")
    else:
        socket.socket(socket.AF_UNIX).bind("d/x")
    for name in ("d", "d/x"):
        with pytest.raises(ProjectError, match="not a regular file") as caught:
            collect_artifact(tmp_path, name)
        assert "d/x" in caught.value.where


@pytest.mark.parametrize(
    "name", [b"new\nline", b"not-\xff-utf8", b"back\\slash", "e\u0301".encode(), b"bell\x07"]
)
def test_names_that_no_statement_may_hold_are_refused_escaped(tmp_path: Path, name: bytes) -> None:
    """One ProjectError, on one line, with the name escaped."""
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / os.fsdecode(name)).write_bytes(b"x")
    with pytest.raises(ProjectError) as caught:
        collect_artifact(tmp_path, "d")
    text = str(caught.value)
    assert text.isascii()
    assert text.isprintable()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/../b", "/etc/passwd", "a//b", "a/", "x" * 10_000, "a\nb", "a/./b"]
)
def test_asked_names_outside_the_grammar_are_refused(tmp_path: Path, name: str) -> None:
    """10,000 characters, `..` and absolute paths never reach the disk."""
    with pytest.raises(ProjectError):
        collect_artifact(tmp_path, name)


def test_long_paths_are_refused(tmp_path: Path) -> None:
    """A path longer than a statement may hold is refused, not cut."""
    deep = tmp_path
    for _ in range(6):
        deep /= "d" * 200
    deep.mkdir(parents=True)
    (deep / "f").write_bytes(b"x")
    with pytest.raises(ProjectError, match="too long"):
        collect_artifact(tmp_path, "d" * 200)


def test_deep_trees_hit_the_limit(tmp_path: Path) -> None:
    """Depth costs handles, so it is bounded."""
    deep = tmp_path / "a"
    deep.joinpath(*["a"] * 300).mkdir(parents=True)
    with pytest.raises(LimitError, match="deep"):
        collect_artifact(tmp_path, "a")


def test_what_is_missing_or_unreadable_is_named(tmp_path: Path) -> None:
    """No traceback for a missing file."""
    with pytest.raises(ProjectError, match="no such file") as caught:
        collect_artifact(tmp_path, "a/b")
    assert "a/b" in caught.value.where


def test_a_file_that_grows_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Digest and size would be of no moment in the file's life."""
    path = write(tmp_path / "f", b"x" * (2 * BUFFER))
    readv = os.readv

    def growing(handle: int, buffers: list[memoryview]) -> int:
        with path.open("ab") as file:
            file.write(b"y")
        return readv(handle, buffers) if path.stat().st_size < 3 * BUFFER + 20 else 0

    calls = iter(range(10))

    def bounded(handle: int, buffers: list[memoryview]) -> int:
        return growing(handle, buffers) if next(calls) < 2 else readv(handle, buffers)

    monkeypatch.setattr(os, "readv", bounded)
    with pytest.raises(ProjectError, match="changed while"):
        collect_artifact(tmp_path, "f")


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def opened_by(handle: int) -> str:
    try:
        return str(Path(f"/proc/self/fd/{handle}").readlink())
    except OSError:
        return ""


def large_files(root: Path, count: int = 9) -> None:
    """Write files around the size from which threads read them, in two directories."""
    for number in range(count):
        write(
            root / "d" / ("s" if number % 2 else "") / f"f{number}", bytes([number]) * (BUFFER - 1 + number)
        )


@pytest.mark.parametrize("md5", [False, True])
@pytest.mark.parametrize("threads", [2, 4, 32])
def test_threads_find_what_one_thread_finds(tmp_path: Path, threads: int, md5: bool) -> None:
    """Files of a directory that are read at once have the digests, order and true total of one at a time."""
    large_files(tmp_path)
    heard: list[tuple[int, int]] = []

    class Bar:
        def total(self, files: int, size: int) -> None:
            heard.append((-files, -size))

        def advance(self, files: int, size: int) -> None:
            heard.append((files, size))

    one = hash_path(str(tmp_path), "d", md5=md5, threads=1)
    assert hash_path(str(tmp_path), "d", md5=md5, threads=threads, progress=Bar()) == one
    assert tuple(map(sum, zip(*heard, strict=True))) == (0, 0)


def test_threads_are_used_and_few_files_are_open_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large files are read by other threads than the one that walks; at most twice as many are open as there are threads."""
    for number in range(20):
        write(tmp_path / "d" / f"f{number}", bytes([number]) * BUFFER)
    readv, seen, most = os.readv, set(), 0

    def watched(handle: int, buffers: list[memoryview]) -> int:
        nonlocal most
        seen.add(threading.get_ident())
        most = max(most, sum("/d/f" in name for name in map(opened_by, range(200))))
        return readv(handle, buffers)

    monkeypatch.setattr(os, "readv", watched)
    hash_path(str(tmp_path), "d", md5=False, threads=2)
    assert len(seen) >= 2
    assert threading.get_ident() not in seen
    assert 2 <= most <= 5


@pytest.mark.parametrize("victim", [0, 4, 8])
def test_a_file_that_changes_while_threads_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: int
) -> None:
    """The error names the file; afterwards no file and no directory is left open."""
    large_files(tmp_path)
    path = next((tmp_path / "d").rglob(f"f{victim}"))
    readv, before = os.readv, open_files()

    def growing(handle: int, buffers: list[memoryview]) -> int:
        if opened_by(handle) == str(path) and path.stat().st_size < 2 * BUFFER:
            with path.open("ab") as file:
                file.write(b"y" * BUFFER)
        return readv(handle, buffers)

    write(path, b"x" * BUFFER)
    monkeypatch.setattr(os, "readv", growing)
    with pytest.raises(ProjectError, match="changed while") as caught:
        hash_path(str(tmp_path), "d", md5=False, threads=3)
    assert f"f{victim}" in caught.value.where
    assert open_files() == before


def test_one_file_is_read_ahead_of_its_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads for one large file: one reads, the other hashes; MD5 gets one of its own. The digests are the same."""
    data = os.urandom(5 * BUFFER + 7)
    write(tmp_path / "f", data)
    readv, readers = os.readv, set()

    def watched(handle: int, buffers: list[memoryview]) -> int:
        readers.add(threading.get_ident())
        return readv(handle, buffers)

    monkeypatch.setattr(os, "readv", watched)
    found = hash_path(str(tmp_path), "f", threads=2)
    assert isinstance(found, HashedFile)
    assert (found.sha256, found.md5) == (hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest())
    assert threading.get_ident() not in readers
    readers.clear()
    assert hash_path(str(tmp_path), "f", threads=1) == found
    assert readers == {threading.get_ident()}


def test_reading_ahead_ends_with_an_error(tmp_path: Path) -> None:
    """Ctrl-C in the middle of a large file: no thread reads on from a number that another file may get."""

    class Interrupted:
        def total(self, files: int, size: int) -> None: ...

        def advance(self, files: int, size: int) -> None:
            raise KeyboardInterrupt

    write(tmp_path / "f", b"x" * (8 * BUFFER))
    threads, files = threading.active_count(), open_files()
    with pytest.raises(KeyboardInterrupt) as caught:  # its traceback keeps the frames
        hash_path(str(tmp_path), "f", threads=2, progress=Interrupted())
    assert (threading.active_count(), open_files()) == (threads, files)
    assert caught.value is not None


def test_the_hash_cache_serves_files_that_threads_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several large files: each is in the cache afterwards, and none is read again."""
    large_files(tmp_path)
    later = time.time_ns() + 10**9
    monkeypatch.setattr(time, "time_ns", lambda: later)
    with StateCache(tmp_path / "state.db") as state:
        found = hash_path(str(tmp_path), "d", state=state, threads=2)
        state.flush()
        monkeypatch.setattr(os, "readv", None)
        assert hash_path(str(tmp_path), "d", state=state, threads=2) == found


def test_an_error_stops_the_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pointer of Git LFS among large files: what other threads read is not read to its end first."""
    for name in "ab":
        write(tmp_path / "d" / name)
    first, last = os.scandir(tmp_path / "d")
    os.truncate(first, 400 * BUFFER)
    write(Path(last), b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1\n")
    calls: list[int] = []
    readv = os.readv

    def counted(handle: int, buffers: list[memoryview]) -> int:
        calls.append(handle)
        return readv(handle, buffers)

    monkeypatch.setattr(os, "readv", counted)
    with pytest.raises(ProjectError, match="Git LFS"):
        hash_path(str(tmp_path), "d", md5=False, threads=2)
    assert len(calls) < 400


@pytest.mark.parametrize("size", [5, 2 * BUFFER])
def test_md5_is_left_out_where_it_is_not_compared(tmp_path: Path, size: int) -> None:
    """Without md5 nothing computes it, and nothing that looks like one is recorded."""
    write(tmp_path / "d" / "f", b"x" * size)
    whole, file = (collect_artifact(tmp_path, name, md5=False) for name in ("d", "d/f"))
    assert (whole.md5, file.md5, whole.parts[0].md5) == ("", "", "")
    assert whole.descriptor.annotations == file.descriptor.annotations == {}
    assert whole.descriptor.digest == collect_artifact(tmp_path, "d").descriptor.digest
    assert file.descriptor.digest == collect_artifact(tmp_path, "d/f").descriptor.digest


@pytest.mark.parametrize("threads", [1, 3])
def test_a_link_into_dvcs_cache_is_checked_without_md5_too(pipeline: Path, threads: int) -> None:
    """Bytes of DVC's cache that are not those of their name are refused although md5 is not wanted otherwise."""
    data = b"x" * (BUFFER + 1)
    name = hashlib.md5(data).hexdigest()
    held = write(pipeline / ".dvc" / "cache" / "files" / "md5" / name[:2] / name[2:], data)
    (pipeline / "linked").mkdir()
    (pipeline / "linked" / "f").symlink_to(held)
    found = hash_path(str(pipeline), "linked", md5=False, threads=threads)
    assert isinstance(found[0], HashedFile)
    assert found[0].sha256 == hashlib.sha256(data).hexdigest()
    held.write_bytes(b"y" + data[1:])
    with pytest.raises(VerificationError):
        hash_path(str(pipeline), "linked", md5=False, threads=threads)


def test_progress_hears_the_true_total_first(tmp_path: Path) -> None:
    """A bar with a true total: count first, then read."""
    write(tmp_path / "d" / "a", b"12345")
    write(tmp_path / "d" / "s" / "b", b"123")
    heard: list[tuple[str, int, int]] = []

    class Bar:
        def total(self, files: int, size: int) -> None:
            heard.append(("total", files, size))

        def advance(self, files: int, size: int) -> None:
            heard.append(("advance", files, size))

    collect_artifact(tmp_path, "d", progress=Bar())
    assert heard[0] == ("total", 2, 8)
    assert sorted(heard[1:]) == [("advance", 1, 3), ("advance", 1, 5)]


def test_progress_of_one_large_file_moves_while_it_is_read(tmp_path: Path) -> None:
    """A single file of gigabytes does not stand at zero until it is done; the sum is the true total."""
    write(tmp_path / "f", b"x" * (5 << 20))
    heard: list[tuple[int, int]] = []

    class Bar:
        def total(self, files: int, size: int) -> None:
            assert (files, size) == (1, 5 << 20)

        def advance(self, files: int, size: int) -> None:
            heard.append((files, size))

    collect_artifact(tmp_path, "f", progress=Bar())
    assert len(heard) > 2
    assert tuple(map(sum, zip(*heard, strict=True))) == (1, 5 << 20)


def test_the_order_of_the_disk_does_not_matter(tmp_path: Path) -> None:
    """Two directories with the same files, made in another order, are one artifact."""
    names = ["b", "a/z", "a-b", "a/b/c"]
    for folder, order in (("x", names), ("y", names[::-1])):
        for name in order:
            write(tmp_path / folder / name, name.encode())
    left, right = (collect_artifact(tmp_path, name).descriptor.digest for name in ("x", "y"))
    assert left == right


def test_every_error_is_ours(tmp_path: Path) -> None:
    """A file where a directory should be is no OSError."""
    write(tmp_path / "f")
    with pytest.raises(GitchainError):
        collect_artifact(tmp_path, "f/g")

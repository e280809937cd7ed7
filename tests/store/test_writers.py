"""Many writers, killed writers, refusing disks: nothing acknowledged is lost, and the next writer works."""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gitchain.errors import ConflictError, StoreError
from gitchain.store import git_ref
from gitchain.store.git_ref import DEFAULT_REF, AttestationStore
from gitchain.store.libgit2 import Libgit2
from gitchain.store.lock import WriterLock
from gitchain.store.loose import write_loose
from gitchain.store.tree_paths import NewObject, Oid, content_path
from tests.support.store_samples import bundle, name_of

Git = Callable[..., str]
ROOT = Path(__file__).parents[2]
WRITER = ROOT / "tests/support/store_writer.py"


def start_writer(repo: Path, label: str, count: int) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(WRITER), str(repo), label, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env)


def write_together(repo: Path, processes: int, each: int) -> set[str]:
    """Run writers at once and return the names that they acknowledged."""
    writers = [start_writer(repo, str(number), each) for number in range(processes)]
    outputs = [writer.communicate()[0].split() for writer in writers]
    assert [writer.returncode for writer in writers] == [0] * processes
    return {name for output in outputs for name in output}


@pytest.mark.parametrize(("object_format", "processes", "each"), [("sha1", 4, 25), ("sha256", 3, 3)])
def test_writers_at_once_lose_nothing(
    tmp_path: Path, git: Git, object_format: str, processes: int, each: int
) -> None:
    """Every attestation that any process added is there, found by name and by subject."""
    git(tmp_path, "init", "-q", f"--object-format={object_format}", "project")
    names = write_together(tmp_path / "project", processes, each)
    store = AttestationStore.open(tmp_path / "project")
    assert len(names) == processes * each
    assert set(store.names()) == names
    assert store.problems() == ()
    git(tmp_path / "project", "fsck", "--full", "--strict")


@pytest.mark.slow
def test_eight_writers_of_a_hundred(git_repo: Path, git: Git) -> None:
    """8 processes x 100 attestations: 800."""
    names = write_together(git_repo, 8, 100)
    assert len(names) == 800
    assert set(AttestationStore.open(git_repo).names()) == names
    git(git_repo, "fsck", "--full", "--strict")


class Rival:
    """A backend that lets another writer in before each of the first swaps: outside of any lock of ours."""

    def __init__(self, inner: Libgit2, rival: Callable[[int], None], times: int) -> None:
        self._inner = inner
        self._rival = rival
        self._left = times

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    def swap_ref(self, name: str, new: Oid, old: Oid | None) -> bool:
        if self._left:
            self._left -= 1
            self._rival(self._left)
        return self._inner.swap_ref(name, new, old)


@pytest.mark.parametrize("existing", [True, False])
def test_lost_race_is_run_again_on_what_the_winner_left(git_repo: Path, git: Git, existing: bool) -> None:
    """A ref moved by a writer outside of the lock is never overwritten."""
    plain = AttestationStore.open(git_repo)
    if existing:
        plain.add([bundle("start")])
    backend = plain.backend

    def rival(turn: int) -> None:
        root = plain.backend.read_ref(DEFAULT_REF)
        path = content_path("att", name_of(bundle("rival", note=str(turn))))
        leaves = {
            path: backend.write("blob", bundle("rival", note=str(turn))),
            ("VERSION",): backend.write("blob", b"1\n"),
        }
        tree = plain.trees.insert(None if root is None else plain.root(root), leaves)
        commit = plain.commit(tree, () if root is None else (root,), "rival")
        backend.flush()
        git(git_repo, "update-ref", DEFAULT_REF, commit)

    store = AttestationStore(Rival(backend, rival, 3), git_repo, offline=True)  # type: ignore[arg-type]
    store.add([bundle("mine")])
    expected = {bundle("mine"), *(bundle("rival", note=str(turn)) for turn in range(3))}
    assert set(plain.all()) == expected | ({bundle("start")} if existing else set())


def test_writer_that_never_wins_gives_up(git_repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attempts are bounded, and the error says to try again."""
    monkeypatch.setattr(git_ref, "MAX_ATTEMPTS", 3)
    monkeypatch.setattr(Libgit2, "swap_ref", lambda *_: False)
    with pytest.raises(ConflictError, match="other writers"):
        AttestationStore.open(git_repo).add([bundle("m")])


def kill_at_random(repo: Path, seed: int) -> set[str]:
    """Start a writer, kill it at a random moment, and return what it acknowledged."""
    writer = start_writer(repo, f"kill-{seed}", 1000)
    assert writer.stdout is not None
    first = writer.stdout.readline()  # it is at work now
    time.sleep(random.Random(seed).uniform(0, 0.03))
    writer.send_signal(signal.SIGKILL)
    return {
        first.strip(),
        *(line.strip() for line in writer.communicate()[0].splitlines(keepends=True) if line.endswith("\n")),
    }


def check_kills(repo: Path, git: Git, kills: range) -> None:
    acknowledged: set[str] = set()
    for seed in kills:
        acknowledged |= kill_at_random(repo, seed)
        store = AttestationStore.open(repo)
        store.add([bundle("after", note=str(seed))])
        acknowledged.add(name_of(bundle("after", note=str(seed))))
        assert acknowledged <= set(store.names())
    assert AttestationStore.open(repo).problems() == ()
    git(repo, "fsck", "--full", "--strict")


def test_killed_writers_lose_nothing(git_repo: Path, git: Git) -> None:
    """kill -9 at random moments: what was acknowledged is there, fsck is clean, the next add works."""
    check_kills(git_repo, git, range(15))


@pytest.mark.slow
def test_two_hundred_killed_writers(git_repo: Path, git: Git) -> None:
    """kill -9 at 200 random moments."""
    check_kills(git_repo, git, range(1000, 1200))


@pytest.mark.parametrize("content", ["empty", "own"])
def test_ref_lock_of_a_killed_writer_is_cleared(git_repo: Path, content: str) -> None:
    """A writer killed between locking and moving the ref does not block the next one."""
    store = AttestationStore.open(git_repo)
    store.add([bundle("a")])
    oid = str(store.tip())
    (git_repo / ".git/gitchain/store.lock").write_text(oid + "\n")
    (git_repo / f".git/{DEFAULT_REF}.lock").write_text("" if content == "empty" else oid + "\n")
    store.add([bundle("b")])
    assert store.count() == 2
    assert (git_repo / ".git/gitchain/store.lock").read_bytes().strip() == b""


@pytest.mark.parametrize("noted", [True, False])
def test_ref_lock_of_another_program_is_left_alone(
    git_repo: Path, monkeypatch: pytest.MonkeyPatch, noted: bool
) -> None:
    """A lock that no writer of ours noted is not ours to break."""
    monkeypatch.setattr(git_ref, "MAX_ATTEMPTS", 3)
    store = AttestationStore.open(git_repo)
    store.add([bundle("a")])
    if noted:
        (git_repo / ".git/gitchain/store.lock").write_text("1" * 40 + "\n")
    lock = git_repo / f".git/{DEFAULT_REF}.lock"
    lock.write_text("2" * 40 + "\n")
    with pytest.raises(ConflictError):
        store.add([bundle("b")])
    assert lock.exists()
    lock.unlink()
    store.add([bundle("b")])


def test_stopped_holder_of_the_lock_does_not_stop_others(
    git_repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock is a courtesy: a writer whose patience ends goes ahead, and compare-and-swap keeps order."""
    store = AttestationStore.open(git_repo)
    monkeypatch.setattr("gitchain.store.lock.PATIENCE", 0.05)
    holder = WriterLock(git_repo / ".git/gitchain/store.lock", git_repo / "none")
    with holder.turn(), holder.about_to_point_to(Oid("3" * 40)):
        store.add([bundle("a")])
        assert (git_repo / ".git/gitchain/store.lock").read_text().strip() == "3" * 40
    assert store.count() == 1


def in_child(work: Callable[[], None]) -> int:
    """Run a function in a forked process and return its exit code: 0 if it returned, 7 for StoreError."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            work()
            code = 0
        except StoreError as error:
            code = 7 if error.help and error.where else 98
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_full_disk_leaves_the_store_as_it_was(git_repo: Path, git: Git) -> None:
    """No room for an object: StoreError, ref unmoved, fsck clean, and the next add works."""
    store = AttestationStore.open(git_repo)
    store.add([bundle("a")])
    tip = store.tip()

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
        AttestationStore.open(git_repo).add([bundle("b", note=os.urandom(3000).hex())])

    assert in_child(work) == 7
    assert store.tip() == tip
    git(git_repo, "fsck", "--full", "--strict")
    store.add([bundle("b")])
    assert store.count() == 2


def test_nothing_is_named_before_it_is_on_disk(git_repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Power may fail at any call: bytes are flushed before their name, names before the ref that needs them."""
    flushed: set[int] = set()
    unnamed: list[Path] = []
    pending: set[int] = set()
    fsync, rename, swap = os.fsync, Path.rename, Libgit2.swap_ref

    def recording_fsync(descriptor: int) -> None:
        fsync(descriptor)
        flushed.add(os.fstat(descriptor).st_ino)
        pending.discard(os.fstat(descriptor).st_ino)

    def recording_rename(self: Path, target: Path) -> Path:
        if self.stat().st_ino not in flushed:
            unnamed.append(target)
        pending.add(target.parent.stat().st_ino)
        pending.add(target.parent.parent.stat().st_ino)
        return rename(self, target)

    def checked_swap(self: Libgit2, name: str, new: Oid, old: Oid | None) -> bool:
        assert not pending
        assert new in self._repo.odb
        return swap(self, name, new, old)

    monkeypatch.setattr(os, "fsync", recording_fsync)
    monkeypatch.setattr(Path, "rename", recording_rename)
    monkeypatch.setattr(Libgit2, "swap_ref", checked_swap)
    AttestationStore.open(git_repo).add([bundle("m")])
    assert unnamed == []
    assert len(flushed) > 10


def test_a_flush_that_fails_in_any_thread_names_nothing(
    git_repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Objects are flushed several at a time: one that the disk refuses leaves no object, and no ref, behind."""
    AttestationStore.open(git_repo).add([bundle("a")])
    before = {path for path in (git_repo / ".git").rglob("*") if path.is_file()}
    fsync, caller, refused = os.fsync, threading.get_ident(), threading.Event()

    def refusing(descriptor: int) -> None:
        if threading.get_ident() != caller:
            refused.set()
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        refused.wait(10)  # another thread comes to its turn
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refusing)
    with pytest.raises(StoreError):
        AttestationStore.open(git_repo).add([bundle("b")])
    assert {path for path in (git_repo / ".git").rglob("*") if path.is_file()} == before


def test_objects_are_many_more_than_files_may_be_open(tmp_path: Path) -> None:
    """Thousands of manifest nodes are written under a limit of a few hundred descriptors, and none is lost."""
    items = [NewObject.of("blob", str(number).encode(), 20) for number in range(1000)]

    def work() -> None:
        limit = (
            max(int(path.name) for path in Path("/proc/self/fd").iterdir()) + 300
        )  # the other tests of this process have files open too
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        write_loose(tmp_path, items)

    assert in_child(work) == 0
    assert sorted(path.parent.name + path.name for path in tmp_path.glob("??/*")) == sorted(
        item.oid for item in items
    )
    assert not list(tmp_path.glob("tmp_obj_*"))


def test_object_that_is_there_is_made_young_not_written_again(git_repo: Path) -> None:
    """A blob that `git gc` was about to prune as unreachable is safe once the store names it."""
    data = bundle("m")
    oid = NewObject.of("blob", data, 20).oid
    writer = AttestationStore.open(git_repo).backend
    writer.write("blob", data)
    writer.flush()
    path = git_repo / ".git/objects" / oid[:2] / oid[2:]
    os.utime(path, (1, 1))
    inode = path.stat().st_ino
    AttestationStore.open(git_repo).add([data])
    assert path.stat().st_ino == inode
    assert path.stat().st_mtime > 1000


SETPRIV = shutil.which("setpriv")


@pytest.mark.parametrize("folder", [".git/objects", ".git/refs/gitchain", ".git/gitchain"])
def test_read_only_repository_reads_and_refuses_to_write(git_repo: Path, folder: str) -> None:
    """Where the disk refuses, reading goes on and writing says what refused."""
    store = AttestationStore.open(git_repo)
    store.add([bundle("a")])
    (git_repo / ".git/gitchain/store.lock").unlink()
    for path in [git_repo / folder, *(entry for entry in (git_repo / folder).rglob("*") if entry.is_dir())]:
        path.chmod(0o500)
    script = (
        "from pathlib import Path; import sys\n"
        "from tests.support.store_samples import bundle\n"
        "from gitchain.errors import StoreError\n"
        "from gitchain.store.git_ref import AttestationStore\n"
        "store = AttestationStore.open(Path(sys.argv[1]))\n"
        "assert store.count() == 1\n"
        "try: store.add([bundle('b')])\n"
        "except StoreError as error: assert error.help, error; sys.exit(7)\n"
    )
    command = [sys.executable, "-c", script, str(git_repo)]
    if os.geteuid() == 0:
        if SETPRIV is None:
            pytest.skip("root writes everywhere, and setpriv is not here to take that away")
        command = [SETPRIV, "--bounding-set=-dac_override,-dac_read_search,-fowner", *command]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr
    assert store.count() == 1

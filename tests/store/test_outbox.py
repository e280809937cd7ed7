"""The outbox keeps what is not signed yet: whole, private, and until it is in the store."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gitchain.errors import MalformedError, StoreError
from gitchain.evidence.statement import Statement
from gitchain.store.git_ref import AttestationStore
from gitchain.store.outbox import Outbox
from gitchain.store.trees import StoreProblem
from tests.support.store_samples import bundle, manifest, payload

ROOT = Path(__file__).parents[2]


@pytest.fixture
def outbox(tmp_path: Path) -> Outbox:
    return Outbox(tmp_path / "state" / "outbox")


def test_what_is_put_comes_back(outbox: Outbox) -> None:
    """Payload, manifests and meta come back byte for byte, named by the attestation's id."""
    nodes = dict(manifest("a", "b/c").nodes)
    item_id = outbox.put(payload("m"), nodes, {"identity": "ada@example.com"})
    (item,) = outbox.items()
    assert item_id == item.id == Statement.parse(payload("m")).attestation_id
    assert (item.payload, item.manifests, item.meta) == (payload("m"), nodes, {"identity": "ada@example.com"})


def test_putting_again_keeps_one(outbox: Outbox) -> None:
    """The same statement is one item."""
    assert outbox.put(payload("m")) == outbox.put(payload("m"))
    assert len(outbox) == 1


def test_items_come_oldest_first(outbox: Outbox) -> None:
    """Statements are signed in the order in which they were made."""
    ids = [outbox.put(payload(name)) for name in ("c", "a", "b")]
    for number, item_id in enumerate(ids):
        os.utime(outbox.directory / f"{item_id}.json", ns=(number, number))
    assert [item.id for item in outbox.items()] == ids


def test_nothing_there_is_nothing(outbox: Outbox) -> None:
    """An outbox that was never used reads as empty, and reading creates nothing."""
    assert (list(outbox.items()), len(outbox)) == ([], 0)
    outbox.remove("0" * 64)
    assert not outbox.directory.exists()


def test_items_are_private(outbox: Outbox) -> None:
    """Nobody else reads a statement before it is published."""
    before = os.umask(0)
    try:
        item_id = outbox.put(payload("m"))
    finally:
        os.umask(before)
    assert (outbox.directory / f"{item_id}.json").stat().st_mode & 0o777 == 0o600
    assert outbox.directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff"])
def test_what_is_no_statement_is_refused(outbox: Outbox, data: bytes) -> None:
    """The outbox takes statements only."""
    with pytest.raises(MalformedError):
        outbox.put(data)
    with pytest.raises(MalformedError, match="does not have its digest"):
        outbox.put(payload("m"), {"0" * 64: b"x"})
    assert len(outbox) == 0


@pytest.mark.parametrize("name", ["", "../x", "0" * 63, "A" * 64])
def test_remove_takes_ids_only(outbox: Outbox, name: str) -> None:
    """Nothing outside of the outbox can be removed."""
    with pytest.raises(MalformedError):
        outbox.remove(name)


def test_removed_item_is_gone(outbox: Outbox) -> None:
    """Removing takes one item away, once or twice."""
    first, second = outbox.put(payload("a")), outbox.put(payload("b"))
    outbox.remove(first)
    outbox.remove(first)
    assert [item.id for item in outbox.items()] == [second]


def break_item(path: Path, how: str) -> None:
    value = json.loads(path.read_bytes())
    node = next(iter(value["manifests"]))
    match how:
        case "cut":
            path.write_bytes(path.read_bytes()[:-5])
        case "empty":
            path.write_bytes(b"")
        case "symlink":
            path.rename(path.with_suffix(".real"))
            path.symlink_to(path.with_suffix(".real"))
        case "fifo":
            path.unlink()
            os.mkfifo(path)
        case "directory":
            path.unlink()
            path.mkdir()
        case "renamed":
            path.rename(path.with_name("0" * 64 + ".json"))
        case _:
            changed = {
                "schema": {"schema": "https://gitchain.dev/outbox/v2"},
                "base64": {"payload": value["payload"][:-1] + "!"},
                "other payload": {"payload": "e30="},
                "no payload": {"payload": None},
                "no manifests": {"manifests": None},
                "node": {"manifests": {node: "e30="}},
                "meta": {"meta": {"a": 1}},
            }[how]
            path.write_text(json.dumps(value | changed))


BREAKS = [
    "cut",
    "empty",
    "symlink",
    "fifo",
    "directory",
    "renamed",
    "schema",
    "base64",
    "other payload",
    "no payload",
    "no manifests",
    "node",
    "meta",
]


@pytest.mark.parametrize("how", BREAKS)
def test_broken_item_is_reported_and_stops_nobody(outbox: Outbox, how: str) -> None:
    """A broken file is named and left where it is; the other items are drained."""
    bad = outbox.put(payload("bad"), manifest("a").nodes, {"a": "b"})
    good = outbox.put(payload("good"))
    break_item(outbox.directory / f"{bad}.json", how)
    found: list[StoreProblem] = []
    assert [item.id for item in outbox.items(found.append)] == [good]
    assert len(found) == 1
    assert str(outbox.directory) in found[0].path
    assert len(outbox) == 2


def test_crash_between_store_and_remove_is_harmless(outbox: Outbox, git_repo: Path) -> None:
    """An item that is in the store already is drained again into the same store, and then gone."""
    store = AttestationStore.open(git_repo)
    outbox.put(payload("m"))
    store.add([bundle("m")])  # and the drainer dies here
    for item in outbox.items():
        assert item.payload == payload("m")
        store.add([bundle("m")])
        outbox.remove(item.id)
    assert (len(outbox), store.count()) == (0, 1)


def test_one_drainer_at_a_time(outbox: Outbox) -> None:
    """A second drainer is told to leave; when the first ends, or dies, the lock is free."""
    with outbox.draining() as first, outbox.draining() as second:
        assert (first, second) == (True, False)
    script = "import sys, os, signal\nfrom pathlib import Path\nfrom gitchain.store.outbox import Outbox\nwith Outbox(Path(sys.argv[1])).draining() as held:\n    assert held\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script, str(outbox.directory)], env=env, check=False)
    assert done.returncode == -signal.SIGKILL
    with outbox.draining() as held:
        assert held


def test_item_is_held_while_its_maker_signs_it(outbox: Outbox) -> None:
    """What is put under `holding` is not free for a drainer until the block ends; what was put before is."""
    outbox.put(payload("before"))
    other = Outbox(outbox.directory)
    with outbox.holding():
        outbox.put(payload("held"))
        assert [other.is_free(item) for item in other.items()] == [True, False]
    assert [other.is_free(item) for item in other.items()] == [True, True]
    outbox.put(payload("after"))
    assert not any("holder" in item.meta for item in list(outbox.items())[2:])
    assert not list(outbox.directory.glob(".tmp-*"))


def test_item_that_its_maker_has_delivered_is_not_free(outbox: Outbox) -> None:
    """A drainer that has read an item before its maker stored and removed it does not sign it again."""
    with outbox.holding():
        outbox.put(payload("m"))
        (item,) = outbox.items()
        outbox.remove(item.id)
    assert not outbox.is_free(item)


def test_items_of_a_killed_holder_are_free(outbox: Outbox) -> None:
    """A holder that dies holds nothing."""
    script = "import sys, os, signal\nfrom pathlib import Path\nfrom gitchain.store.outbox import Outbox\nbox = Outbox(Path(sys.argv[1]))\nwith box.holding():\n    box.put(sys.stdin.buffer.read())\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", script, str(outbox.directory)]
    done = subprocess.run(command, env=env, check=False, input=payload("m"))
    assert done.returncode == -signal.SIGKILL
    (item,) = outbox.items()
    assert len(item.meta["holder"]) == 32
    assert outbox.is_free(item)


@pytest.mark.parametrize("holder", ["", "../../etc/passwd", "x" * 32, "0" * 32])
def test_holder_that_is_none_holds_nothing(outbox: Outbox, holder: str) -> None:
    """An item cannot block its own signing with a made-up holder, nor point out of the outbox."""
    outbox.put(payload("m"), meta={"holder": holder})
    (item,) = outbox.items()
    assert outbox.is_free(item)


def test_leftovers_of_dead_writers_are_swept(outbox: Outbox) -> None:
    """A file that was written aside and never renamed goes away after a while; a fresh one is left alone."""
    outbox.put(payload("m"))
    old, fresh = outbox.directory / ".tmp-1-a", outbox.directory / ".tmp-2-b"
    old.touch()
    fresh.touch()
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    with outbox.draining():
        assert (old.exists(), fresh.exists()) == (False, True)
    assert len(list(outbox.items())) == 1


def test_sweeping_beside_writers_that_finish_is_no_failure(tmp_path: Path) -> None:
    """A writer renames its file between the sweeper's listing and its look at it: gone is gone."""
    directory = tmp_path / "outbox"

    def clock() -> float:  # asked before each look
        for path in directory.glob(".tmp-*"):
            path.unlink()
        return time.time()

    outbox = Outbox(directory, clock)
    directory.mkdir()
    (directory / ".tmp-1-written").write_bytes(b"")
    with outbox.draining() as held:
        assert held
    assert sorted(path.name for path in directory.iterdir()) == ["drainer.lock"]


def test_what_is_held_for_hours_is_not_swept(tmp_path: Path) -> None:
    """The lock of a living holder stays, however old: what it holds is not signed a second time."""
    later = Outbox(tmp_path / "outbox", lambda: time.time() + 86400)
    with later.holding():
        later.put(payload("m"))
        with Outbox(later.directory, lambda: time.time() + 86400).draining():
            (item,) = later.items()
            assert not later.is_free(item)
    (item,) = later.items()
    assert later.is_free(item)


def test_full_disk_leaves_no_half_item(outbox: Outbox) -> None:
    """No room for an item: StoreError, and the outbox is as it was."""
    outbox.put(payload("a"))
    child = os.fork()
    if child == 0:
        code = 99
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
            outbox.put(payload("b", note="x" * 1000))
        except StoreError as error:
            code = 7 if error.help else 98
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert [path.suffix for path in outbox.directory.iterdir()] == [".json"]
    assert [item.payload for item in outbox.items()] == [payload("a")]


def test_outbox_in_the_place_of_a_file_is_told(tmp_path: Path) -> None:
    """A directory that cannot be made is one error of ours."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot make a directory"):
        Outbox(tmp_path / "file" / "outbox").put(payload("m"))

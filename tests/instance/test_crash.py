"""The log after a crash: processes killed at any moment, and power cut between any two flushes."""

from __future__ import annotations

import os
import random
import select
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gitchain.instance.log import TransparencyLog
from tests.support.local_log import (
    check_entry,
    check_history,
    check_log,
    new_log,
    on_disk,
    open_log,
    read_checkpoint,
)

SEED = 20261122


def forked(work: Callable[[int], None]) -> tuple[int, int]:
    """Run `work` in a child with the writing end of a pipe; return its id and the reading end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            work(writing)
        finally:
            os._exit(1)
    os.close(writing)
    return child, reading


def acknowledged(reading: int) -> list[tuple[int, bytes, str]]:
    """Return (index, body, checkpoint) of every append that the dead child reported as done."""
    with os.fdopen(reading, "rb") as pipe:
        records = pipe.read().split(b"\0")[:-1]
    found = []
    for record in records:
        index, body, checkpoint = record.split(b"|")
        found.append((int(index), body, checkpoint.decode()))
    return found


def writer(directory: Path, run: int, seed: int) -> Callable[[int], None]:
    def work(writing: int) -> None:
        log, dice = open_log(directory), random.Random(seed)
        for step in range(10_000):
            batch = [
                b"run %d step %d entry %d" % (run, step, n) for n in range(dice.choice((1, 1, 1, 2, 90)))
            ]
            done = log.append(batch)
            os.write(
                writing, b"".join(b"%d|%b|%b\0" % (e.index, e.body, e.checkpoint.encode()) for e in done)
            )

    return work


def check_after_crash(directory: Path, acks: list[tuple[int, bytes, str]]) -> TransparencyLog:
    """Raise unless the log opens, holds every acknowledged entry at its place, and goes on."""
    log = open_log(directory)
    size = log.size()
    known = log.append([body for _, body, _ in acks])
    assert log.size() == size, "an acknowledged entry was lost and logged again"
    for entry, (index, _, _) in zip(known, acks, strict=True):
        assert entry.index == index
        check_entry(entry)
    (entry,) = log.append([b"after a crash at %d" % size])
    assert entry.index == size
    check_entry(entry)
    return log


def kill_at_random(directory: Path, runs: int, seconds: float) -> None:
    dice, checkpoints, begun = random.Random(SEED), [], time.monotonic()
    done = 0
    while done < runs and time.monotonic() - begun < seconds:
        child, reading = forked(writer(directory, done, dice.randrange(1 << 30)))
        select.select([reading], [], [], 5)  # the first append is done
        select.select([], [], [], dice.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        acks = acknowledged(reading)
        assert acks
        checkpoints += [acks[0][2], acks[-1][2]]
        log = check_after_crash(directory, acks)
        checkpoints.append(log.checkpoint())
        done += 1
    check_log(on_disk(directory), log.checkpoint())
    check_history(log, checkpoints)


def test_kill_at_random_moments(tmp_path: Path) -> None:
    """kill -9 at 30 random moments: no acknowledged entry is lost, the log opens, and no checkpoint is contradicted."""
    kill_at_random(new_log(tmp_path / "log").directory, 30, 30)


@pytest.mark.slow
def test_kill_at_200_random_moments(tmp_path: Path) -> None:
    """The same at 200 moments, for a minute at most."""
    kill_at_random(new_log(tmp_path / "log").directory, 200, 60)


CALLS = ("open", "write", "fsync", "close")


@pytest.mark.parametrize("after", [False, True])
def test_kill_at_every_system_call(tmp_path: Path, *, after: bool) -> None:
    """kill -9 before or after each system call of an append across a tile boundary leaves a log that goes on."""
    log = new_log(tmp_path / "log")
    log.append([b"%d" % n for n in range(250)])
    checkpoints = [log.checkpoint()]
    for call in range(1, 200):
        child, reading = forked(dying_writer(log.directory, call, after=after))
        _, status = os.waitpid(child, 0)
        acks = acknowledged(reading)
        checkpoints += [check_after_crash(log.directory, acks).checkpoint()]
        if not os.WIFSIGNALED(status):
            break
    else:
        pytest.fail("the append never ran to its end")
    assert call > 20
    check_log(on_disk(log.directory), checkpoints[-1])
    check_history(log, checkpoints)


def dying_writer(directory: Path, call: int, *, after: bool) -> Callable[[int], None]:
    def work(writing: int) -> None:
        log = open_log(directory)
        log.size()
        report, calls = os.write, 0
        for name in CALLS:
            genuine = getattr(os, name)

            def counting(*args: object, genuine: Callable[..., object] = genuine, **named: object) -> object:
                nonlocal calls
                calls += 1
                if calls == call and not after:
                    os.kill(os.getpid(), signal.SIGKILL)
                result = genuine(*args, **named)
                if calls == call:
                    os.kill(os.getpid(), signal.SIGKILL)
                return result

            setattr(os, name, counting)
        entries = log.append([b"call %d entry %d" % (call, n) for n in range(20)])
        for entry in entries:
            report(writing, b"%d|%b|%b\0" % (entry.index, entry.body, entry.checkpoint.encode()))
        os._exit(0)

    return work


class Disk:
    """A model of a disk without mercy: it keeps what was flushed, and tears what was not."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.contents: dict[int, bytes] = {}
        self.names: dict[Path, dict[str, int | None]] = {}
        self.cutting = False
        self.lost: Path | None = None
        self.at_flush: Callable[[], None] = lambda: None
        self._genuine = os.fsync
        monkeypatch.setattr(os, "fsync", self.flush)

    def flush(self, descriptor: int) -> None:
        """Remember what this fsync makes durable, then look at what a power cut would leave."""
        self._genuine(descriptor)
        if self.cutting:
            return
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path == self.lost:
            return
        if path.is_dir():
            self.names[path] = {
                item.name: None if item.is_dir() else item.stat().st_ino for item in path.iterdir()
            }
        else:
            self.contents[os.fstat(descriptor).st_ino] = path.read_bytes()
        self.cutting = True
        self.at_flush()
        self.cutting = False

    def cut(self, target: Path, source: Path | None = None) -> None:
        """Write to `target` what is on the disk if the power fails now."""
        source = source or self.root
        target.mkdir(mode=0o700)
        for name, inode in self.names.get(source, {}).items():
            if inode is None:
                self.cut(target / name, source / name)
            elif not name.startswith("index.db"):
                now = (source / name).read_bytes() if (source / name).exists() else None
                kept = self.contents.get(inode, b"torn")
                (target / name).write_bytes(kept if now in {None, kept} or name == "checkpoint" else b"torn")
                (target / name).chmod(0o600)


def test_power_cut_between_any_two_flushes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With only flushed bytes and names left, each acknowledged entry and checkpoint is there, after each flush."""
    directory = tmp_path / "log"
    disk = Disk(directory, monkeypatch)
    log = new_log(directory)
    given: list[str] = [log.checkpoint()]
    cuts = 0

    def power_cut() -> None:
        nonlocal cuts
        cuts += 1
        target = tmp_path / f"cut-{cuts}"
        disk.cut(target)
        left = open_log(target)
        text = left.checkpoint()
        check_log(on_disk(target), text)
        assert read_checkpoint(text).size >= read_checkpoint(given[-1]).size

    disk.at_flush = power_cut
    batches = (
        [b"a"],
        [b"b", b"c"],
        [b"%d" % n for n in range(252)],
        [b"d"],
        [b"%d" % n for n in range(300, 700)],
    )
    for batch in batches:
        (*_, last) = log.append(batch)
        given += [last.checkpoint]
    disk.at_flush = lambda: None
    check_history(log, given)
    assert cuts > 30


def test_checkpoint_is_durable_before_it_is_handed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint whose writer died between rename and flush is flushed by the first reader, so it cannot be lost."""
    directory = tmp_path / "log"
    disk = Disk(directory, monkeypatch)
    log = new_log(directory)
    disk.lost = directory  # the writer's last flush never happens
    log.append([b"entry"])
    disk.cut(tmp_path / "before")
    assert open_log(tmp_path / "before").size() == 1
    disk.lost = None
    handed_out = open_log(directory).checkpoint()
    disk.cut(tmp_path / "after")
    assert open_log(tmp_path / "after").checkpoint() == handed_out

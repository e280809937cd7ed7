"""The hook queue: no line is lost between the hooks that append and the drainer that takes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gitchain.store import queue as queue_module
from gitchain.store.files import open_plain
from gitchain.store.queue import HookEvent, HookQueue

ROOT = Path(__file__).parents[2]


@pytest.fixture
def queue(tmp_path: Path) -> HookQueue:
    (tmp_path / "gitchain").mkdir()
    return HookQueue(tmp_path / "gitchain")


def append(queue: HookQueue, text: str | bytes) -> None:
    with (queue.directory / "queue").open("ab") as file:
        file.write(text.encode() if isinstance(text, str) else text)


def test_lines_become_events(queue: HookQueue) -> None:
    """Each line is an event with its arguments, in order."""
    append(queue, "v1 post-commit 1111\nv1 tag refs/tags/é/v1.0 2222\nv1 pre-push\n")
    batch = queue.take()
    assert batch.events == (
        HookEvent("post-commit", ("1111",)),
        HookEvent("tag", ("refs/tags/é/v1.0", "2222")),
        HookEvent("pre-push", ()),
    )
    assert batch.problems == ()
    batch.done()
    assert len(queue) == 0
    assert queue.take().events == ()


def test_spent_files_go_away_after_a_while(queue: HookQueue) -> None:
    """What was read is kept for late writers for a minute, and not for ever."""
    append(queue, "v1 a 1\n")
    queue.take().done()
    queue.take().done()
    assert len(list(queue.directory.iterdir())) == 1
    HookQueue(queue.directory, clock=lambda: time.time() + 61).take().done()
    assert list(queue.directory.iterdir()) == []


def test_no_queue_is_no_event(tmp_path: Path) -> None:
    """Nothing queued is nothing taken."""
    queue = HookQueue(tmp_path / "none" / "gitchain")
    assert len(queue) == 0
    batch = queue.take()
    assert (batch.events, batch.problems) == ((), ())
    batch.done()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"v2 post-commit 1",
        b"v1",
        b"v1 ",
        b"v1 Post",
        b"v1 a  b",
        b"v1 a b ",
        b"v1 a \x00",
        b"v1 a \x1b[31m",
        b"v1 a\rb",
        b"v1 a \xff",
        b"v1 a " + b"x" * 5000,
        b"v1 a" + b" b" * 9,
        b"v1 a \xc2\x85",
    ],
)
def test_malformed_line_is_reported_and_stops_nobody(queue: HookQueue, line: bytes) -> None:
    """A line that no hook writes is named by its number; the others count."""
    append(queue, b"v1 a 1\n" + line + b"\nv1 b 2\n")
    batch = queue.take()
    assert [event.event for event in batch.events] == ["a", "b"]
    assert [problem.path.rsplit(":", 1)[1] for problem in batch.problems] == ["2"]


def test_line_cut_short_is_reported(queue: HookQueue) -> None:
    """Half a line, as a crash leaves it, is no event."""
    append(queue, "v1 a 1\nv1 b 22")
    batch = queue.take()
    assert batch.events == (HookEvent("a", ("1",)),)
    assert "cut short" in batch.problems[0].message


def test_what_is_appended_while_draining_waits_its_turn(queue: HookQueue) -> None:
    """A hook that runs during the draining is in the next batch, not lost with the file."""
    append(queue, "v1 a 1\n")
    batch = queue.take()
    append(queue, "v1 b 2\n")
    batch.done()
    assert [event.event for event in queue.take().events] == ["b"]


def test_late_writer_is_heard(queue: HookQueue) -> None:
    """A hook that had the file open before it was taken, and wrote after, is heard, and nobody else again."""
    append(queue, "v1 a 1\n")
    with (queue.directory / "queue").open("ab") as late:
        batch = queue.take()
        late.write(b"v1 b 2\n")
        late.flush()
        batch.done()
        late.write(b"v1 c 3\n")
    assert len(queue) == 14
    assert [event.event for event in queue.take().events] == ["b", "c"]


def test_crashed_drainer_leaves_its_events_to_the_next(queue: HookQueue) -> None:
    """What a killed drainer had taken is taken again, before what came later."""
    append(queue, "v1 a 1\n")
    script = "import sys, os, signal\nfrom pathlib import Path\nfrom gitchain.store.queue import HookQueue\nbatch = HookQueue(Path(sys.argv[1])).take()\nassert len(batch.events) == 1\nos.kill(os.getpid(), signal.SIGKILL)\n"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script, str(queue.directory)], env=env, check=False)
    assert done.returncode == -signal.SIGKILL
    append(queue, "v1 b 2\n")
    assert len(queue) == 14
    batch = queue.take()
    assert [event.event for event in batch.events] == ["a", "b"]
    batch.done()
    assert len(queue) == 0


def test_batch_given_back_is_taken_again(queue: HookQueue) -> None:
    """A batch that was not dealt with is not lost."""
    append(queue, "v1 a 1\n")
    queue.take().release()
    assert [event.event for event in queue.take().events] == ["a"]


def test_living_drainer_keeps_what_it_took(queue: HookQueue) -> None:
    """Two drainers do not get the same events."""
    append(queue, "v1 a 1\n")
    first = queue.take()
    assert queue.take().events == ()
    first.done()


def test_endless_queue_is_cut(queue: HookQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory that a queue takes is bounded, and the cut is told."""
    monkeypatch.setattr(queue_module, "MAX_QUEUE_BYTES", 20)
    append(queue, "v1 a 1\n" * 10)
    batch = queue.take()
    assert len(batch.events) == 2
    assert any("cut after 20 bytes" in problem.message for problem in batch.problems)


def test_shells_appending_at_once_lose_nothing(queue: HookQueue) -> None:
    """Shells append while the drainer takes: every line arrives, once."""
    script = 'i=0; while [ $i -lt 200 ]; do echo "v1 post-commit $1-$i" >> queue; i=$((i+1)); done'
    shells = [
        subprocess.Popen(["/bin/sh", "-c", script, "sh", str(number)], cwd=queue.directory)
        for number in range(3)
    ]
    seen: list[str] = []
    while any(shell.poll() is None for shell in shells) or len(queue):
        batch = queue.take()
        assert batch.problems == ()
        seen += [event.args[0] for event in batch.events]
        batch.done()
    assert len(seen) == 600
    assert set(seen) == {f"{number}-{item}" for number in range(3) for item in range(200)}


def test_symlinked_work_file_is_not_followed(queue: HookQueue, tmp_path: Path) -> None:
    """A file that is not ours is never read as a queue, and is named."""
    (tmp_path / "secret").write_text("v1 a 1\n")
    (queue.directory / "queue.1-a.0.work").symlink_to(tmp_path / "secret")
    os.mkfifo(queue.directory / "queue.2-b.0.work")
    batch = queue.take()
    assert batch.events == ()
    assert [Path(problem.path).name for problem in batch.problems] == ["queue.1-a.0.work", "queue.2-b.0.work"]


def test_file_finished_by_another_drainer_is_not_read_twice(
    queue: HookQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that another drainer finished between our opening and our locking of it is left alone."""
    append(queue, "v1 a 1\n")
    queue.take().release()
    (path,) = queue.directory.iterdir()
    plain = open_plain

    def late(opened: Path) -> int:
        descriptor = plain(opened)
        path.rename(path.with_name(path.name.replace(".0.", ".7.")))
        return descriptor

    monkeypatch.setattr(queue_module, "open_plain", late)
    assert queue.take().events == ()

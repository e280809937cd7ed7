"""What a monitor remembers survives anything, and never goes back."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gitchain.errors import MalformedError, TrustError
from gitchain.evidence.canonical import canonical_json
from gitchain.monitor.state import FollowedLog, advance, place, recall
from tests.support.adversarial_log import HOST, TestLog, bodies, log_key

LOG = log_key()
ROOT = Path(__file__).parents[2]


def at(size: int, read: int | None = None) -> FollowedLog:
    checkpoint = TestLog(bodies(size)).checkpoint()
    return FollowedLog(LOG.log_id.hex(), HOST, checkpoint, size if read is None else read, "0" * 64, "tip")


def test_what_is_remembered_is_recalled() -> None:
    assert recall(LOG.log_id) is None
    assert advance(at(5)) == at(5)
    assert recall(LOG.log_id) == at(5)
    assert oct(place(LOG.log_id).stat().st_mode)[-3:] == "600"
    schema = json.loads((ROOT / "schemas/monitor.schema.json").read_text())
    Draft202012Validator(schema).validate(json.loads(place(LOG.log_id).read_bytes()))


def test_it_never_goes_back() -> None:
    """Of two monitors the one that is further wins, by size and then by what was read."""
    advance(at(9, 4))
    assert advance(at(8)) == at(9, 4)
    assert advance(at(9, 3)) == at(9, 4)
    assert advance(at(9, 5)) == at(9, 5)
    assert recall(LOG.log_id) == at(9, 5)


def test_more_than_there_is_was_not_read() -> None:
    with pytest.raises(MalformedError):
        at(3, 4)
    with pytest.raises(MalformedError):
        at(3, -1)


@pytest.mark.parametrize("field", ["schema", "logId", "host", "checkpoint", "next", "trust", "store"])
def test_a_damaged_memory_is_told(field: str) -> None:
    """Each field, absent or of another type, is a trust error that says what to do: never a fresh start."""
    advance(at(5))
    good = json.loads(place(LOG.log_id).read_bytes())
    wrong: Any
    for wrong in (None, {}, "AAAA", True, [1]):
        if good[field] == wrong or (field in {"host", "trust", "store"} and isinstance(wrong, str)):
            continue
        place(LOG.log_id).write_bytes(canonical_json(good | {field: wrong}))
        with pytest.raises(TrustError) as told:
            recall(LOG.log_id)
        assert "move the file away" in told.value.help
    del good[field]
    place(LOG.log_id).write_bytes(canonical_json(good))
    with pytest.raises(TrustError):
        recall(LOG.log_id)


def test_every_prefix_is_refused() -> None:
    advance(at(5))
    whole = place(LOG.log_id).read_bytes()
    for length in range(len(whole)):
        place(LOG.log_id).write_bytes(whole[:length])
        with pytest.raises(TrustError):
            recall(LOG.log_id)


def test_a_memory_that_cannot_be_read_is_told() -> None:
    place(LOG.log_id).parent.mkdir(parents=True)
    place(LOG.log_id).mkdir()
    with pytest.raises(TrustError):
        recall(LOG.log_id)


WRITER = """
import sys
sys.path.insert(0, "")
from tests.monitor.test_state import at
from gitchain.monitor.state import advance
for size in range(1, 1000):
    advance(at(size))
    print(size, flush=True)
"""


def test_killed_at_any_moment_nothing_is_lost() -> None:
    """kill -9 while it writes: what was said to be remembered is, and the file is whole."""
    chance = random.Random(7)
    for _ in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER], cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ
        )
        assert process.stdout
        said = int(process.stdout.readline())
        time.sleep(chance.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        said = max([said, *map(int, process.stdout.read().split("\n")[:-1])])
        process.wait()
        found = recall(LOG.log_id)
        assert found is not None
        assert found.size >= said
        assert found.next == found.size
        place(LOG.log_id).unlink()

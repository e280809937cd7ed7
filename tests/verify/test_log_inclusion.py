"""The log of an entry and its promise, one check at a time: what is told, and which times are times."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gitchain.errors import InclusionError
from gitchain.evidence.entry import LogEntry
from gitchain.instance import Instance
from gitchain.verify.log_inclusion import known_log, promised_time
from gitchain.verify.trust import LogKey, Trust
from tests.support.bundle_kinds import V1_HOST, V1_ID, both_logs, craft, v1_entry
from tests.support.forged_bundles import Forge, entry_of


@pytest.fixture
def both(instance: Instance) -> Trust:
    """The instance's trust, with a Rekor v1 log beside its own."""
    return both_logs(instance)


def entry(time: int) -> LogEntry:
    return LogEntry.parse(v1_entry("dsse 0.0.1", b"body", time=time), "tlogEntries[0]")


def log_of(trust: Trust) -> LogKey:
    found = trust.log(V1_ID)
    assert found is not None
    return found


def test_known_log_lists_the_logs_of_the_trusted_root(forge: Forge, both: Trust) -> None:
    """An unknown log is told by its id, with the hosts of those that are known."""
    own = LogEntry.parse(entry_of(craft(forge)), "tlogEntries[0]")
    assert known_log(own, both) is both.logs[0]
    with pytest.raises(InclusionError) as told:
        known_log(replace(own, key_id=b"x" * 32), both)
    assert told.value.expected == f"{both.logs[0].host}, {V1_HOST}"
    assert told.value.got == f"log id {(b'x' * 32).hex()}"


def test_promised_time_is_any_second_after_1970(both: Trust) -> None:
    """Zero stands for no time; the first second is one."""
    assert promised_time(entry(1), log_of(both), both) == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    with pytest.raises(InclusionError, match="no promise with a time"):
        promised_time(entry(0), log_of(both), both)


def test_promised_time_says_whose_promise_it_is_not(both: Trust) -> None:
    """The log signs the time with the entry: another time is not promised."""
    with pytest.raises(InclusionError) as told:
        promised_time(replace(entry(1), integrated_time=2), log_of(both), both)
    assert told.value.what == "promise is not signed by its log"

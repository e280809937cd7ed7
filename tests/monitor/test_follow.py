"""A log that changes, forks, shrinks or lies is noticed at the next look; one that grows is not."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from gitchain.errors import TransportError
from gitchain.evidence.checkpoint import SignedCheckpoint
from gitchain.evidence.merkle import leaf_hash
from gitchain.monitor.alerts import AlertCode
from gitchain.monitor.follow import LogMonitor, MonitorRun, OwnEntries, StoredLogEntry
from gitchain.monitor.log_clients import TiledLog
from gitchain.monitor.state import FollowedLog
from tests.support.adversarial_log import HOST, NOW, OTHER_KEY, TestLog, bodies, log_key, trust_in
from tests.support.fuzzing import sized

LOG = log_key()
TRUST = trust_in(LOG)
CHANCE = random.Random(20261126)


NOTHING = OwnEntries()


def look(
    log: TestLog, before: FollowedLog | None = None, mine: OwnEntries = NOTHING, **more: object
) -> MonitorRun:
    return LogMonitor(LOG, TiledLog(log.fetch), TRUST, **more).look(before, mine, NOW)  # type: ignore[arg-type]


def followed(log: TestLog) -> FollowedLog:
    found = look(log)
    assert found.alerts == ()
    assert found.followed is not None
    return found.followed


def errors(found: MonitorRun) -> list[AlertCode]:
    return [one.code for one in found.alerts if one.severity == "error"]


def stored(log: TestLog, name: str = "abc") -> OwnEntries:
    return OwnEntries(stored=(StoredLogEntry(name, SignedCheckpoint.parse(log.checkpoint()).checkpoint),))


def root_of(log: TestLog) -> str:
    return SignedCheckpoint.parse(log.checkpoint()).checkpoint.root.hex()


def test_the_first_look_reads_what_there_is() -> None:
    """All of a small log; of one that is too long for a look, nothing but the end, unless told otherwise."""
    found = look(TestLog(bodies(300)))
    assert (found.read, found.size) == (300, 300)
    assert found.followed is not None
    assert found.followed.next == 300
    found = look(TestLog(bodies(300)), limit=100)
    assert (found.read, found.followed and found.followed.next) == (0, 300)
    found = look(TestLog(bodies(300)), limit=100, start=50)
    assert (found.read, found.followed and found.followed.next) == (100, 150)
    assert look(TestLog(bodies(3)), start=10).read == 0


def test_a_long_way_is_gone_in_parts() -> None:
    """What one look does not reach, the next one reads, and each entry is read once."""
    log = TestLog(bodies(700))
    before, reads = followed(TestLog(bodies(1))), []
    while before.next < 700:
        found = look(log, before, limit=150)
        assert errors(found) == []
        assert found.followed is not None
        reads.append(found.read)
        before = found.followed
    assert reads == [150, 150, 150, 150, 99]


def test_growth_is_no_alarm() -> None:
    """Many steps of an honest log, of every size and width, raise nothing and cost few requests."""
    log = TestLog(bodies(1))
    before = followed(log)
    for step in range(sized(200, 5000)):
        log.bodies += [f"{step} {number}".encode() for number in range(CHANCE.choice((0, 1, 1, 2, 3, 7)))]
        log.asked.clear()
        found = look(log, before)
        assert found.alerts == (), step
        assert found.followed is not None
        assert found.followed.size == found.followed.next == len(log.bodies)
        assert len(log.asked) <= 10
        before = found.followed


def forked(log: TestLog) -> TestLog:
    """One entry of the past is another."""
    other = replace(log, bodies=[*log.bodies], tiles={}, asked=[])
    other.bodies[CHANCE.randrange(len(log.bodies))] = b"another"
    other.bodies += bodies(CHANCE.choice((1, 5, 300)), "more")
    return other


def equivocating(log: TestLog) -> TestLog:
    """The same size, another root."""
    other = replace(log, bodies=[*log.bodies], tiles={}, asked=[])
    other.bodies[CHANCE.randrange(len(log.bodies))] = b"another"
    return other


def rewound(log: TestLog) -> TestLog:
    """Some of the end is gone."""
    return replace(log, bodies=log.bodies[: CHANCE.randrange(1, len(log.bodies))], tiles={}, asked=[])


def regrown(log: TestLog) -> TestLog:
    """Some of the end is gone, and the log is longer than it was."""
    kept = log.bodies[: CHANCE.randrange(len(log.bodies))]
    return replace(
        log, bodies=kept + bodies(len(log.bodies) + CHANCE.randrange(1, 300), "new"), tiles={}, asked=[]
    )


def dropped(log: TestLog) -> TestLog:
    """One entry of the past is left out, and new ones are there."""
    at = CHANCE.randrange(len(log.bodies))
    return replace(log, bodies=log.bodies[:at] + log.bodies[at + 1 :] + bodies(9, "new"), tiles={}, asked=[])


def resigned(log: TestLog) -> TestLog:
    """The right tree, signed with another key."""
    return replace(log, bodies=log.bodies + bodies(2), key=OTHER_KEY, tiles={}, asked=[])


def renamed(log: TestLog) -> TestLog:
    """The log's key signs another log's checkpoint."""
    return replace(log, bodies=log.bodies + bodies(2), origin="other.example.test", tiles={}, asked=[])


def swapped(log: TestLog) -> TestLog:
    """The entries handed out are not those of the tree."""
    other = replace(log, bodies=log.bodies + bodies(2, "new"), tiles={}, asked=[])
    lying = replace(other, bodies=[*log.bodies, b"something", b"else"], asked=[])
    width = len(other.bodies) % 256
    path = f"tile/entries/{len(other.bodies) // 256:03}" + (f".p/{width}" if width else "")
    if not width:
        path = f"tile/entries/{len(other.bodies) // 256 - 1:03}"
    other.tiles[path] = lying.fetch(path, 1 << 30)
    return other


def corrupt(log: TestLog) -> TestLog:
    """A hash of the tree is another."""
    other = replace(log, bodies=log.bodies + bodies(2, "new"), tiles={}, asked=[])
    width = len(other.bodies) % 256
    path = (
        f"tile/0/{len(other.bodies) // 256:03}.p/{width}"
        if width
        else f"tile/0/{len(other.bodies) // 256 - 1:03}"
    )
    data = bytearray(other.fetch(path, 1 << 30))
    data[-1 - CHANCE.randrange(32)] ^= 1 << CHANCE.randrange(8)
    other.tiles[path] = bytes(data)
    return other


def wrong_root(log: TestLog) -> TestLog:
    """A checkpoint over no tree at all."""
    return replace(log, bodies=log.bodies + bodies(3), root=CHANCE.randbytes(32), tiles={}, asked=[])


def too_long(log: TestLog) -> TestLog:
    """A checkpoint over entries that are not there."""
    return replace(log, size=len(log.bodies) + 1000, root=CHANCE.randbytes(32), tiles={}, asked=[])


ATTACKS: dict[Callable[[TestLog], TestLog], set[AlertCode]] = {
    forked: {AlertCode.INCONSISTENT},
    equivocating: {AlertCode.SPLIT},
    rewound: {AlertCode.REWOUND},
    regrown: {AlertCode.INCONSISTENT},
    dropped: {AlertCode.INCONSISTENT},
    resigned: {AlertCode.BAD_CHECKPOINT},
    renamed: {AlertCode.BAD_CHECKPOINT},
    swapped: {AlertCode.NOT_ITS_TREE},
    corrupt: {AlertCode.NOT_ITS_TREE},
    wrong_root: {AlertCode.NOT_ITS_TREE},
    too_long: {AlertCode.NOT_ITS_TREE, AlertCode.UNREACHABLE},
}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_every_false_view_is_caught(attack: Callable[[TestLog], TestLog]) -> None:
    """At the first look, every time, and nothing of it is remembered: 11,000 views in all under `make fuzz`."""
    for number in range(sized(30, 1000)):
        log = TestLog(bodies(CHANCE.choice((2, 3, 7, 64, 255, 256, 257, 300, 600)), str(number)))
        before = followed(log)
        found = look(attack(log), before)
        assert errors(found), number
        assert set(errors(found)) <= ATTACKS[attack]
        assert found.followed is None
        assert found.alerts[0].log == HOST


def test_the_same_false_view_is_told_again() -> None:
    """Nothing is forgotten: until somebody looks into it, each look says so; the honest log is fine afterwards."""
    log = TestLog(bodies(40))
    before = followed(log)
    lying = forked(log)
    assert errors(look(lying, before)) == errors(look(lying, before)) == [AlertCode.INCONSISTENT]
    log.bodies += bodies(3)
    assert errors(look(log, before)) == []


def test_another_place_that_shows_another_history_is_a_split() -> None:
    """Behind, level with or ahead of this one; one that shows the same is none."""
    log = TestLog(bodies(50))
    for lying in (TestLog(bodies(20, "x")), TestLog(bodies(50, "x"))):
        assert errors(look(log, others={"mirror": lying.checkpoint})) == [AlertCode.SPLIT]
    for ahead in (TestLog(bodies(60, "x")), TestLog(bodies(600, "x")), TestLog(bodies(60))):
        found = look(log, others={"mirror": ahead.checkpoint})
        assert errors(found) == [AlertCode.REWOUND]  # the log shows nothing of what it signed there
        assert (found.followed, found.alerts[0].expected) == (
            None,
            f"{len(ahead.bodies)} entries, root {root_of(ahead)}, as mirror shows it",
        )
    for honest in (TestLog(bodies(20)), TestLog(bodies(50))):
        assert look(log, others={"mirror": honest.checkpoint}).alerts == ()


def test_a_log_that_grows_while_it_is_looked_at_is_none() -> None:
    """Another place that is asked later may be further: the log is, too. It may not change, nor hand out nothing more."""

    def grown(log: TestLog, past: list[bytes]) -> Callable[[], str]:
        def checkpoint() -> str:
            log.bodies = [*past, *bodies(10, "new")]
            return log.checkpoint()

        return checkpoint

    log = TestLog(bodies(50))
    assert look(log, others={"mirror": grown(log, bodies(50))}).alerts == ()
    log = TestLog(bodies(50))
    assert errors(look(log, others={"mirror": grown(log, bodies(50, "x"))}, start=50)) == [AlertCode.SPLIT]
    mute = TestLog(bodies(50))

    def fetch(path: str, limit: int) -> bytes:
        if path != "checkpoint" and len(mute.bodies) > 50:
            raise TransportError("gone", where=path)
        return mute.fetch(path, limit)

    place = {"mirror": grown(mute, bodies(50))}
    found = LogMonitor(LOG, TiledLog(fetch), TRUST, place).look(None, OwnEntries(), NOW)
    assert errors(found) == [AlertCode.UNREACHABLE]


def test_a_place_that_cannot_be_reached_is_a_warning() -> None:
    def broken() -> str:
        raise TransportError("no route")

    found = look(TestLog(bodies(5)), others={"mirror": broken})
    assert [(one.code, one.severity) for one in found.alerts] == [(AlertCode.UNREACHABLE, "warning")]
    assert found.followed is not None


def test_the_checkpoint_inside_of_an_attestation_is_another_view() -> None:
    """The log showed the signer one tree and shows us another: a split; or lost what it had: a rewind."""
    log = TestLog(bodies(50))
    assert look(log, mine=stored(TestLog(bodies(30)))).alerts == ()
    assert look(log, mine=stored(TestLog(bodies(50)))).alerts == ()
    assert errors(look(log, mine=stored(TestLog(bodies(30, "x"))))) == [AlertCode.SPLIT]
    assert errors(look(log, mine=stored(TestLog(bodies(50, "x"))))) == [AlertCode.SPLIT]
    assert errors(look(log, mine=stored(TestLog(bodies(51))))) == [AlertCode.REWOUND]
    found = look(log, mine=OwnEntries(stored=(StoredLogEntry("abc", None, "no such entry"),), store="tip"))
    assert errors(found) == [AlertCode.NOT_LOGGED]
    assert found.alerts[0].expected == "abc"
    assert found.followed is not None
    assert found.followed.store == ""  # it is looked at again


def test_what_was_fine_is_not_looked_at_again() -> None:
    found = look(TestLog(bodies(5)), mine=OwnEntries(store="tip"))
    assert found.followed is not None
    assert found.followed.store == "tip"


def test_a_log_that_is_silent_is_no_misbehaviour() -> None:
    """It could not be read; of a log that is no longer in use that is a warning."""

    def fetch(path: str, limit: int) -> bytes:
        raise TransportError("no route", where=path, expected=str(limit))

    found = LogMonitor(LOG, TiledLog(fetch), TRUST).look(None, OwnEntries(), NOW)
    assert [(one.code, one.severity) for one in found.alerts] == [(AlertCode.UNREACHABLE, "error")]
    old = log_key(NOW - timedelta(days=1))
    found = LogMonitor(old, TiledLog(fetch), trust_in(old)).look(None, OwnEntries(), NOW)
    assert [(one.code, one.severity) for one in found.alerts] == [(AlertCode.UNREACHABLE, "warning")]


def test_full_tiles_take_the_place_of_partial_ones() -> None:
    """A log may remove a partial tile once the full one is there: the reader takes that one."""
    log = TestLog(bodies(100))
    before = followed(log)
    log.bodies += bodies(300, "new")
    shown = replace(log, size=200, root=None, asked=[])

    def fetch(path: str, limit: int) -> bytes:
        if ".p/" in path:
            raise TransportError("gone", where=path)
        return shown.fetch(path, limit) if path == "checkpoint" else log.fetch(path, limit)

    found = LogMonitor(LOG, TiledLog(fetch), TRUST).look(before, OwnEntries(), NOW)
    assert found.alerts == ()
    assert found.read == 100


def test_entries_that_are_mine_and_known_are_quiet() -> None:
    """Bodies that name nobody raise nothing, whatever they hold."""
    log = TestLog([b"", b"{}", b"\xff", b'{"spec": 3}', b'{"spec": {"signatures": {}}}', *bodies(3)])
    mine = OwnEntries(leaves=[leaf_hash(body) for body in log.bodies])
    assert look(log, mine=mine).alerts == ()

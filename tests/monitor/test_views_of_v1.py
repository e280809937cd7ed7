"""Rekor's first interface: log, proof, entries by index; shards; and what a v1 log can lie about."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from gitchain.errors import GitchainError, InclusionError
from gitchain.evidence.checkpoint import KEY_ID_SIZE, Checkpoint, NoteSignature, ed25519_key_id, render
from gitchain.evidence.merkle import consistency_proof, inclusion_proof, leaf_hash, root_hash, tree_root
from gitchain.monitor.alerts import AlertCode
from gitchain.monitor.follow import LogMonitor, MonitorRun, OwnEntries
from gitchain.monitor.log_clients import RekorV1
from gitchain.monitor.state import FollowedLog
from tests.support.adversarial_log import HOST, KEY, NOW, bodies, log_key, trust_in

LOG = log_key()
TREE = "2605736670972794746"


@dataclass
class FakeV1:
    """What a Rekor v1 server answers, from a list of entries; `older` are the sizes of its frozen shards."""

    bodies: list[bytes]
    older: tuple[int, ...] = ()
    change: Callable[[str, Any], Any] = field(default=lambda _path, value: value)
    asked: list[str] = field(default_factory=list)

    def head(self) -> str:
        note = Checkpoint(
            f"{HOST} - {TREE}", len(self.bodies), root_hash(map(leaf_hash, self.bodies)), ("Timestamp: 1",)
        )
        key_id = ed25519_key_id(HOST, KEY.public_key().public_bytes_raw())[:KEY_ID_SIZE]
        return render(note, (NoteSignature(HOST, key_id, KEY.sign(note.body())),))

    def read(self, level: int, index: int) -> bytes:
        return root_hash(map(leaf_hash, self.bodies[index << level : (index + 1) << level]))

    def fetch(self, path: str, limit: int) -> bytes:
        assert limit > 0
        self.asked.append(path)
        if path == "api/v1/log":
            shards = [{"treeID": str(number), "treeSize": size} for number, size in enumerate(self.older)]
            value: Any = {
                "signedTreeHead": self.head(), "treeSize": len(self.bodies), "treeID": TREE, "inactiveShards": shards,
                "rootHash": tree_root(len(self.bodies), self.read).hex(),
            }  # fmt: skip
        else:
            query = dict(one.split("=") for one in path.partition("?")[2].split("&"))
            assert query["treeID"] == TREE
            proof = consistency_proof(int(query["firstSize"]), int(query["lastSize"]), self.read)
            value = {"rootHash": "", "hashes": [one.hex() for one in proof]}
        return json.dumps(self.change(path, value)).encode()

    def post(self, path: str, body: bytes, limit: int) -> bytes:
        assert path == "api/v1/log/entries/retrieve"
        assert limit > 0
        wanted = json.loads(body)["logIndexes"]
        assert len(wanted) <= 10
        return json.dumps(
            self.change(path, [self.entry(index - sum(self.older)) for index in reversed(wanted)])
        ).encode()

    def entry(self, index: int) -> dict[str, Any]:
        size = len(self.bodies)
        proof = {
            "logIndex": index, "treeSize": size, "rootHash": tree_root(size, self.read).hex(),
            "hashes": [one.hex() for one in inclusion_proof(index, size, self.read)], "checkpoint": self.head(),
        }  # fmt: skip
        body = b64encode(self.bodies[index]).decode()
        return {f"{index:080x}": {"body": body, "logIndex": index, "verification": {"inclusionProof": proof}}}


def look(log: FakeV1, before: FollowedLog | None = None, **more: Any) -> MonitorRun:
    return LogMonitor(LOG, RekorV1(log.fetch, log.post), trust_in(LOG), **more).look(
        before, OwnEntries(), NOW
    )


@pytest.mark.parametrize("older", [(), (7, 300)])
def test_a_log_is_followed(older: tuple[int, ...]) -> None:
    """Entries of the active shard, whose indexes count on from the frozen ones."""
    log = FakeV1(bodies(25), older)
    found = look(log)
    assert (found.alerts, found.read) == ((), 25)
    log.bodies += bodies(17, "new")
    found = look(log, found.followed)
    assert (found.alerts, found.read) == ((), 17)
    found = look(log, found.followed)
    assert (found.alerts, found.read) == ((), 0)


def test_what_changed_is_noticed() -> None:
    log = FakeV1(bodies(25))
    before = look(log).followed
    other = bodies(25)
    other[3] = b"another"
    assert [one.code for one in look(FakeV1(other), before).alerts] == [AlertCode.SPLIT]
    assert [one.code for one in look(FakeV1([*other, b"x"]), before).alerts] == [AlertCode.INCONSISTENT]
    assert [one.code for one in look(FakeV1(bodies(24)), before).alerts] == [AlertCode.REWOUND]


def test_the_view_alone_proves() -> None:
    """Trees of the same size with another root, of which the log makes no proof, are told apart."""
    log = FakeV1(bodies(9))
    view = RekorV1(log.fetch, log.post)
    new = Checkpoint(HOST, 9, tree_root(9, log.read))
    view.prove(new, new)
    view.prove(Checkpoint(HOST, 0, root_hash([])), new)
    with pytest.raises(InclusionError):
        view.prove(Checkpoint(HOST, 9, bytes(32)), new)


def replaced(path: str, value: dict[str, Any]) -> Callable[[str, Any], Any]:
    return lambda asked, given: (
        {**given, **value} if asked.startswith(path) and isinstance(given, dict) else given
    )


def entries(change: Callable[[list[Any]], Any]) -> Callable[[str, Any], Any]:
    return lambda asked, given: change(given) if asked.endswith("retrieve") else given


def within(path: tuple[str, ...], value: Any) -> Callable[[str, Any], Any]:
    def change(given: list[Any]) -> Any:
        (entry,) = given[0].values()
        inside = entry
        for key in path[:-1]:
            inside = inside[key]
        inside[path[-1]] = value
        return given

    return entries(change)


PROOF = ("verification", "inclusionProof")


@pytest.mark.parametrize(
    "change",
    [
        entries(lambda given: given[:-1]),
        entries(lambda _given: {}),
        entries(lambda _given: [{}]),
        entries(lambda _given: [{"a": 1}]),
        within(("body",), b64encode(b"something else").decode()),
        within(("body",), "no base64!"),
        within((*PROOF, "logIndex"), 24),
        within((*PROOF, "logIndex"), True),
        within((*PROOF, "treeSize"), 2**63),
        within((*PROOF, "hashes"), []),
        within((*PROOF, "hashes"), ["zz"]),
        within((*PROOF, "rootHash"), "00" * 32),
        within((*PROOF, "rootHash"), 7),
        replaced("api/v1/log", {"inactiveShards": [{"treeSize": -1}]}),
        replaced("api/v1/log", {"inactiveShards": [{"treeSize": "7"}]}),
        replaced("api/v1/log", {"inactiveShards": [7]}),
    ],
)
def test_what_does_not_hash_into_the_tree_is_no_entry(change: Callable[[str, Any], Any]) -> None:
    """Entries that are left out, changed, moved or without a proof: an alarm each, and nothing is remembered."""
    found = look(FakeV1(bodies(25), change=change))
    assert [one.code for one in found.alerts] == [AlertCode.NOT_ITS_TREE]
    assert found.followed is None


@pytest.mark.parametrize("value", [{"signedTreeHead": "x"}, {"signedTreeHead": 7}])
def test_a_head_that_is_none(value: dict[str, Any]) -> None:
    found = look(FakeV1(bodies(5), change=replaced("api/v1/log", value)))
    assert [one.code for one in found.alerts] == [AlertCode.BAD_CHECKPOINT]


def test_a_proof_that_is_none() -> None:
    log = FakeV1(bodies(25))
    before = look(log).followed
    log.bodies += bodies(3)
    for hashes in ([], ["00" * 32], ["x"], [3], ["00"] * 5):
        log.change = replaced("api/v1/log/proof", {"hashes": hashes})
        assert look(log, before).followed is None


def test_a_proof_over_a_smaller_tree_is_tied_to_the_new_one() -> None:
    """An entry may come with a proof of an older tree, which has to be a beginning of this one."""
    log = FakeV1(bodies(25))
    older, forked = FakeV1(log.bodies[:20]), FakeV1([*log.bodies[:19], b"x"])

    def swap(other: FakeV1) -> Callable[[str, Any], Any]:
        return entries(lambda given: [other.entry(0) if "0" * 80 in one else one for one in given])

    log.change = swap(older)
    assert look(log).alerts == ()
    log.change = swap(forked)
    assert [one.code for one in look(log).alerts] == [AlertCode.NOT_ITS_TREE]


def test_the_origin_names_no_query() -> None:
    """A tree id that is no number goes into no URL."""
    log = FakeV1(bodies(9))
    view = RekorV1(log.fetch, log.post)
    with pytest.raises((GitchainError, ValueError, KeyError)):
        view.prove(Checkpoint("x - 1&y=2", 4, bytes(32)), Checkpoint("x - 1&y=2", 9, bytes(32)))
    assert "y=2" not in log.asked[-1]

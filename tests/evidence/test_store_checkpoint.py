"""Checkpoints of the attestation set: what is written is read back, the root is RFC 6962's, nothing else is read."""

from __future__ import annotations

import contextlib
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.store_checkpoint import (
    FILED,
    MAX_ADDED,
    MAX_PREVIOUS,
    SUBJECT,
    StoreCheckpoint,
    checkpoint_statement,
    checkpoint_statements,
    names_root,
    read_checkpoint,
)
from gitchain.evidence.vocabulary import CHECKPOINT, DATASET


def name(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


A, B, C = sorted(AttestationId(name(number)) for number in range(3))


def h(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def test_the_root_is_that_of_rfc_6962_over_the_sorted_names() -> None:
    """Order and repetition do not matter; leaves and nodes are hashed apart, and a leaf is the bytes of the name."""
    a, b, c = (h(b"\0" + bytes.fromhex(one)) for one in (A, B, C))
    assert names_root([C, A, B, A]) == h(b"\1" + h(b"\1" + a + b) + c).hex()
    assert names_root([]) == h(b"").hex()


def test_a_checkpoint_is_read_back() -> None:
    """With its subjects: the root, and what a store's index files every checkpoint under."""
    inventory = StoreCheckpoint(3, names_root([A, B, C]), (B,), (A, C))
    made = checkpoint_statement(inventory)
    assert read_checkpoint(made) == inventory
    assert [(one.name, one.digest["sha256"]) for one in made.subject] == [
        (SUBJECT, inventory.root),
        ("checkpoint", h(CHECKPOINT.encode()).hex()),
    ]
    assert made.subject[1] == FILED


def test_only_what_is_new_is_added() -> None:
    """What the previous ones cover is counted in size and root, and not said again."""
    (made,) = checkpoint_statements([A], [C, B, C], [C, A, B, B])
    assert read_checkpoint(made) == StoreCheckpoint(3, names_root([A, B, C]), (B, C), (B, C))
    assert checkpoint_statements([A, B], [C], [A]) == ()


def test_many_names_become_several_checkpoints_in_a_row() -> None:
    """Each follows the one before it, the last covers everything, and none is longer than the limit."""
    names = [name(number) for number in range(2 * MAX_ADDED + 1)]
    made = checkpoint_statements([], [A], names)
    found = [read_checkpoint(one) for one in made]
    assert [len(one.added) for one in found] == [MAX_ADDED, MAX_ADDED, 1]
    assert [one.size for one in found] == [MAX_ADDED, 2 * MAX_ADDED, 2 * MAX_ADDED + 1]
    assert [one.previous for one in found] == [(A,), (made[0].attestation_id,), (made[1].attestation_id,)]
    assert found[-1].root == names_root(names)
    assert sorted(each for one in found for each in one.added) == sorted(names)


GOOD: dict[str, Any] = {"size": 3, "root": names_root([A, B, C]), "previous": [A], "added": [B, C]}


def said(
    predicate: Any, root: str = GOOD["root"], kind: str = CHECKPOINT, subject: str = SUBJECT
) -> Statement:
    about = ResourceDescriptor(subject, DigestSet({"sha256": root}))
    return Statement.build([about], kind, predicate)


def test_the_whole_predicate_is_good() -> None:
    """The changes below are refused for what they change."""
    assert read_checkpoint(said(GOOD)).added == (B, C)
    assert read_checkpoint(said(GOOD | {"size": 2})).size == 2


@pytest.mark.parametrize(
    "change",
    [
        {"more": 1},
        {"size": -1},
        {"size": True},
        {"size": 1},
        {"size": "3"},
        {"root": A},
        {"root": "x"},
        {"previous": [B, A]},
        {"previous": [A, A]},
        {"previous": [1]},
        {"previous": None},
        {"added": []},
        {"added": [C, B]},
        {"added": [B, B]},
        {"added": ["b"]},
        {"added": {}},
    ],
    ids=str,
)
def test_what_we_would_not_write_is_not_read(change: dict[str, Any]) -> None:
    """A reader that guessed could be talked into a smaller set."""
    with pytest.raises(MalformedError):
        read_checkpoint(said(GOOD | change))


@pytest.mark.parametrize("field", sorted(GOOD))
def test_a_missing_field_is_malformed(field: str) -> None:
    """All four are always there."""
    with pytest.raises(MalformedError):
        read_checkpoint(said({key: value for key, value in GOOD.items() if key != field}))


def test_the_subject_has_to_be_the_root() -> None:
    """Another digest, another name, or another type: no checkpoint."""
    for wrong in (said(GOOD, root=A), said(GOOD, subject="x"), said(GOOD, kind=DATASET)):
        with pytest.raises(MalformedError):
            read_checkpoint(wrong)


def test_a_root_that_is_no_digest_is_malformed() -> None:
    """Also where subject and predicate agree on it."""
    with pytest.raises(MalformedError, match="root"):
        StoreCheckpoint(1, A[:-1], (), (B,))


@pytest.mark.parametrize(("field", "limit"), [("added", MAX_ADDED), ("previous", MAX_PREVIOUS)])
def test_more_than_the_limit_is_refused(field: str, limit: int) -> None:
    """Exactly the limit is read, one more is not."""
    names = sorted(name(number) for number in range(limit + 1))
    value = GOOD | {"size": limit + 1}
    assert len(getattr(read_checkpoint(said(value | {field: names[:limit]})), field)) == limit
    with pytest.raises(LimitError):
        read_checkpoint(said(value | {field: names}))


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from([*GOOD, "other"]), JUNK)
def test_any_value_raises_only_our_errors(field: str, junk: Any) -> None:
    """Whatever stands in a field, it is read or refused."""
    with contextlib.suppress(MalformedError, LimitError):
        read_checkpoint(said(json.loads(json.dumps(GOOD)) | {field: junk}))


@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)))
def test_covered_and_added_make_the_whole(before: set[int], after: set[int]) -> None:
    """Whatever was covered before, the new checkpoint's size and root are those of the union."""
    old, new = {name(one) for one in before}, {name(one) for one in after}
    made = checkpoint_statements(old, [], new)
    assert bool(made) == bool(new - old)
    for one in made:
        found = read_checkpoint(one)
        assert (set(found.added), found.size) == (new - old, len(old | new))
        assert found.root == names_root(old | new)

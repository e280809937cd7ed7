"""Checkpoints of the attestation set: a store that holds less than a trusted one covers is noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from hypothesis import given
from hypothesis import strategies as st

from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.store_checkpoint import (
    StoreCheckpoint,
    checkpoint_statements,
    names_root,
    read_checkpoint,
)
from gitchain.verify.checkpoints import MissingEvidence, behind, covered, heads, lacking, trusted


def name(number: int) -> AttestationId:
    return AttestationId(hashlib.sha256(b"%d" % number).hexdigest())


NAMES = [name(number) for number in range(9)]
NONE = AttestationId("")


class Chain:
    """Checkpoints as clones sign them: `add` returns the id of one that follows the given ones."""

    def __init__(self) -> None:
        self.known: dict[AttestationId, StoreCheckpoint] = {}

    def add(self, names: Iterable[AttestationId], *previous: AttestationId) -> AttestationId:
        before = covered(self.known, behind(self.known, previous)[0])
        (made,) = checkpoint_statements(before, previous, names)
        self.known[made.attestation_id] = read_checkpoint(made)
        return made.attestation_id


def among(*names: AttestationId) -> Callable[[AttestationId], bool]:
    return lambda name: name in names


def test_a_store_that_holds_all_lacks_nothing() -> None:
    """Also when it holds more than the checkpoint knows of: only what is gone counts."""
    chain = Chain()
    first = chain.add(NAMES[:2])
    second = chain.add(NAMES[:4], first)
    assert heads(chain.known) == (second,)
    assert lacking(chain.known, [second], NAMES[:4]) == ()
    assert lacking(chain.known, [second], NAMES) == ()


def test_what_is_gone_is_named() -> None:
    """Whether the last checkpoint added it or one before."""
    chain = Chain()
    first = chain.add(NAMES[:2])
    second = chain.add(NAMES[:4], first)
    for gone in NAMES[:4]:
        present = set(NAMES) - {gone}
        assert lacking(chain.known, [second], present) == (MissingEvidence(second, 4, (gone,)),)
    assert lacking(chain.known, [first], set(NAMES) - {NAMES[3]}) == ()
    (lack,) = lacking(chain.known, [second], [])
    assert lack.bundles == tuple(sorted(NAMES[:4]))


def test_a_checkpoint_that_is_gone_is_named() -> None:
    """What it covered is not known then, so its absence itself is what is missing."""
    chain = Chain()
    first = chain.add(NAMES[:2])
    second = chain.add(NAMES[:4], first)
    del chain.known[first]
    assert lacking(chain.known, [second], NAMES) == (MissingEvidence(second, 4, checkpoints=(first,)),)
    assert behind(chain.known, [second]) == (frozenset({second}), frozenset({first}))


def test_the_coverage_of_two_clones_is_united() -> None:
    """Checkpoints that were signed at the same time are followed by one; a common one counts once."""
    chain = Chain()
    base = chain.add(NAMES[:1])
    left, right = chain.add(NAMES[:3], base), chain.add(NAMES[3:5], base)
    assert heads(chain.known) == tuple(sorted([left, right]))
    both = chain.add(NAMES[5:6], left, right)
    assert heads(chain.known) == (both,)
    assert behind(chain.known, [both]) == (frozenset(chain.known), frozenset())
    assert covered(chain.known, chain.known) == set(NAMES[:6])
    assert covered(chain.known, [left]) == set(NAMES[1:3])
    assert lacking(chain.known, [both], NAMES[:6]) == ()


def test_behind_a_stranger_stand_those_that_it_follows() -> None:
    """A checkpoint of nobody trusted does not hide the trusted one that it follows, nor stand for it."""
    chain = Chain()
    first = chain.add(NAMES[:2])
    second = chain.add(NAMES[:3], first)
    third = chain.add(NAMES[:4], second)
    assert trusted(chain.known, among(first, second, third)) == (third,)
    assert trusted(chain.known, among(first, second)) == (second,)
    assert trusted(chain.known, among(first)) == (first,)
    assert trusted(chain.known, among()) == ()


def test_older_ones_are_not_asked_about() -> None:
    """Who signed the newest vouches for what it names: no signature is checked twice, or for nothing."""
    chain = Chain()
    first = chain.add(NAMES[:2])
    second = chain.add(NAMES[:3], first)
    left, right = chain.add(NAMES[3:4], second), chain.add(NAMES[4:5], second)
    asked: list[str] = []

    def no(one: str) -> bool:
        asked.append(one)
        return False

    assert trusted(chain.known, no) == ()
    assert sorted(asked) == sorted([first, second, left, right])
    asked.clear()
    assert trusted(chain.known, lambda one: asked.append(one) is None) == tuple(sorted([left, right]))
    assert sorted(asked) == sorted([left, right])


def test_a_stranger_may_follow_what_is_not_known() -> None:
    """Who may write to the store may write nonsense: it leads nowhere and breaks nothing."""
    chain = Chain()
    first = chain.add(NAMES[:2])
    (made,) = checkpoint_statements([], [AttestationId("0" * 64), first], NAMES[:3])
    chain.known[made.attestation_id] = read_checkpoint(made)
    assert trusted(chain.known, among(first)) == (first,)


def test_a_trusted_contradiction_is_noticed() -> None:
    """Size and root are those of what is covered; a signer that is wrong about it is wrong about more."""
    chain = Chain()
    first = chain.add(NAMES[:2])
    good = chain.known[chain.add(NAMES[:3], first)]
    for size, root in ((4, good.root), (3, names_root(NAMES[:4]))):
        chain.known[AttestationId("bad")] = StoreCheckpoint(size, root, good.previous, good.added)
        assert lacking(chain.known, [AttestationId("bad")], NAMES) == (
            MissingEvidence(AttestationId("bad"), size, contradicts=True),
        )
        del chain.known[AttestationId("bad")]


def test_a_revoked_checkpoint_demands_nothing() -> None:
    """What it alone adds may be gone; what it follows still counts, and size and root cannot be checked then."""
    chain = Chain()
    first = chain.add(NAMES[:2])
    second = chain.add(NAMES[:4], first)
    third = chain.add(NAMES[:5], second)
    present = [*NAMES[:2], NAMES[4]]
    assert lacking(chain.known, [third], present, without={second}) == ()
    (lack,) = lacking(chain.known, [third], present[1:], without={second})
    assert lack.bundles == (NAMES[0],)
    assert not lack.contradicts
    del chain.known[second]
    assert lacking(chain.known, [third], present, without={second}) == ()


def test_nothing_known_is_nothing_lacking() -> None:
    """A fresh clone of a truncated store without checkpoints cannot know: docs/formats/history.md says so."""
    assert (heads({}), trusted({}, among()), lacking({}, [], [])) == ((), (), ())


@given(
    st.lists(st.tuples(st.sets(st.integers(0, 8), min_size=1), st.booleans(), st.booleans()), max_size=6),
    st.sets(st.integers(0, 8)),
)
def test_whatever_a_trusted_checkpoint_covers_has_to_be_there(
    steps: list[tuple[set[int], bool, bool]], gone: set[int]
) -> None:
    """Random histories of two clones: a store lacks something exactly if a trusted signer ever covered it."""
    chain, tips = Chain(), [NONE, NONE]
    trusting: set[AttestationId] = set()
    demanded: set[str] = set()
    for numbers, which, good in steps:
        previous = [tip for tip in (tips[which], tips[0]) if tip]
        before = covered(chain.known, behind(chain.known, previous)[0])
        names = {name(number) for number in numbers} - before
        if not names:
            continue
        tips[which] = chain.add(names, *dict.fromkeys(previous))
        if good:
            trusting.add(tips[which])
            demanded |= names | before
    tops = trusted(chain.known, trusting.__contains__)
    present = {name(number) for number in range(9)} - {name(number) for number in gone}
    lost = {one for lack in lacking(chain.known, tops, present) for one in lack.bundles}
    assert lost == demanded - present

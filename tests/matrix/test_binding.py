"""The binding matrix: no field of a bundle can be taken from another valid bundle.

Every ordered pair of valid bundles, every leaf field and every larger part: the mixture is refused, or it is
not a mixture (the two values are equal), or it is one of MEANINGLESS and proves the very same facts.
"""

from __future__ import annotations

import json
import random

import pytest

from gitchain.errors import InclusionError, LimitError, MalformedError, SignatureError
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.trust import Trust
from gitchain.verify.verified import VerifiedStatement
from tests.support.bundle_fields import ABSENT, LEAVES, WHOLES, Json, facts, get, is_v1, put
from tests.support.fuzzing import FUZZ

SAMPLE = 200  # pairs for each field in `make test`
FIELDS = {**LEAVES, **WHOLES}

MEANINGLESS = {
    ("integrated time", False): "nobody signed the number where there is no promise: it is not read",
    ("timestamp", True): "a timestamp over another signature beside a promise: it does not count",
    ("timestamps", True): "likewise, as a whole",
}
"""Field and whether the receiver is a Rekor v1 entry: swaps that may be accepted, with the same facts only."""


def verifies(bundle: Json, trust: Trust) -> VerifiedStatement | None:
    try:
        return facts(verify_bundle(json.dumps(bundle).encode(), trust))
    except (MalformedError, SignatureError, InclusionError, LimitError):
        return None


@pytest.fixture(scope="session")
def proven(valid: list[Json], trust: Trust) -> list[VerifiedStatement | None]:
    return [verifies(one, trust) for one in valid]


def pairs(count: int, name: str) -> list[tuple[int, int]]:
    every = [(one, two) for one in range(count) for two in range(count) if one != two]
    return every if FUZZ else random.Random(name).sample(every, SAMPLE)


def test_what_is_swapped_is_valid(valid: list[Json], proven: list[VerifiedStatement | None]) -> None:
    """At least fifty different valid bundles of both generations: otherwise refusals would prove nothing."""
    assert None not in proven
    assert len(valid) >= 50
    assert len({json.dumps(one) for one in valid}) == len(valid)
    assert sum(map(is_v1, valid)) >= 5
    assert len({str(one.identity) for one in proven if one}) >= 6


def test_the_list_of_fields_is_whole(valid: list[Json]) -> None:
    """Every leaf that a valid bundle has is in the matrix."""

    def leaves(value: object, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
        if isinstance(value, dict) and value:
            return set().union(*(leaves(inner, (*path, key)) for key, inner in value.items()))
        if isinstance(value, list) and value and path[-1] != "hashes":
            return set().union(*(leaves(inner, (*path, at)) for at, inner in enumerate(value)))
        return {path}

    assert set().union(*map(leaves, valid)) == set(LEAVES.values())


@pytest.mark.parametrize("name", FIELDS)
def test_no_field_of_another_bundle_fits(
    name: str, valid: list[Json], proven: list[VerifiedStatement | None], trust: Trust
) -> None:
    """Swapped fields prove nothing; the few that nobody signed change nothing."""
    wrong: list[str] = []
    for one, two in pairs(len(valid), name):
        path = FIELDS[name]
        value = get(valid[two], path)
        if value == get(valid[one], path):
            continue
        found = verifies(put(valid[one], path, value), trust)
        allowed = (name, is_v1(valid[one])) in MEANINGLESS and found == proven[one]
        if found is not None and not allowed:
            wrong.append(f"{one} took {name} of {two}")
    assert wrong == []


@pytest.mark.parametrize("name", FIELDS)
def test_no_field_can_be_left_out(
    name: str, valid: list[Json], proven: list[VerifiedStatement | None], trust: Trust
) -> None:
    """Without any one of its fields a bundle proves nothing, except for those that nobody signed.

    A zero or an empty list that is left out is still there: proto3 JSON has no other way to write it.
    """
    for one, bundle in enumerate(valid):
        value = get(bundle, FIELDS[name])
        if value is ABSENT:
            continue
        found = verifies(put(bundle, FIELDS[name], ABSENT), trust)
        assert found == (proven[one] if value in ("0", []) else None), (one, name)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("payload", "signature"),
        ("envelope", "certificate"),
        ("entry", "certificate"),
        ("entry", "timestamps"),
        ("envelope", "timestamps"),
        ("signature", "certificate"),
        ("proof", "log index"),
        ("body", "proof"),
        ("promise", "integrated time"),
    ],
)
def test_no_two_parts_of_another_bundle_fit(first: str, second: str, valid: list[Json], trust: Trust) -> None:
    """Nor can two parts be taken together, as long as a part that is signed for stays behind."""
    wrong: list[str] = []
    for one, two in pairs(len(valid), first + second):
        paths = FIELDS[first], FIELDS[second]
        values = [get(valid[two], path) for path in paths]
        same = [value == get(valid[one], path) for value, path in zip(values, paths, strict=True)]
        unread = (second, is_v1(valid[one])) in MEANINGLESS and first != "promise"
        if ABSENT in values or any(same) or unread:
            continue
        mixed = put(put(valid[one], paths[0], values[0]), paths[1], values[1])
        if verifies(mixed, trust) is not None:
            wrong.append(f"{one} took {first} and {second} of {two}")
    assert wrong == []

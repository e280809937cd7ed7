"""The check of what reading an object inflates: each header is asked for once, and the limits stay those of each chain."""

from __future__ import annotations

import random
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from gitchain.errors import LimitError
from gitchain.store import object_sizes
from gitchain.store.object_sizes import ObjectSizes
from gitchain.store.tree_paths import NewObject, Oid


class Chains(ObjectSizes):
    """Objects with their sizes and bases, and how often each was asked for."""

    def __init__(self, headers: dict[Oid, tuple[int, Oid | None]]) -> None:
        super().__init__(Path())
        self.headers = headers
        self.calls: Counter[Oid] = Counter()

    def _header(self, oid: Oid) -> tuple[int, Oid | None] | None:
        self.calls[oid] += 1
        return self.headers.get(oid)


def oid(number: int) -> Oid:
    return Oid(f"{number:040x}")


def is_refused(sizes: ObjectSizes, one: Oid, limit: int) -> bool:
    try:
        sizes.check_deltas(one, limit)
    except LimitError:
        return True
    return False


def test_check_deltas_asks_for_each_object_once() -> None:
    """A chain of 50, read from its end: as many headers, and not 1,275."""
    headers = {oid(number): (10, oid(number - 1) if number else None) for number in range(50)}
    sizes = Chains(headers)
    for number in reversed(range(50)):
        sizes.check_deltas(oid(number), 1000)
    assert sum(sizes.calls.values()) <= 50 + 49
    assert sizes.calls[oid(0)] <= 2


def test_check_deltas_refuses_what_each_chain_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever was read before, in whatever order, under whatever limit: as without a memory."""
    monkeypatch.setattr(object_sizes, "MAX_CHAIN_BYTES", 500)
    random.seed(7)
    for _ in range(200):
        headers: dict[Oid, tuple[int, Oid | None]] = {
            oid(number): (random.randint(1, 120), oid(random.randrange(number)) if number and random.random() < 0.9 else None)
            for number in range(20)
        }  # fmt: skip
        if random.random() < 0.3:
            del headers[oid(3)]
        remembering = Chains(headers)
        for _ in range(60):
            one, limit = oid(random.randrange(20)), random.choice((60, 100, 200, 600))
            assert is_refused(remembering, one, limit) == is_refused(Chains(headers), one, limit)


def test_an_object_that_was_missing_is_checked_when_it_is_there(git_repo: Path) -> None:
    """The answer that it is missing is not kept: it may be fetched before it is read."""
    data = b"x" * 3000
    blob = NewObject.of("blob", data, 20).oid
    sizes = ObjectSizes(git_repo)
    sizes.expect([blob])
    subprocess.run(["git", "hash-object", "-w", "--stdin"], cwd=git_repo, input=data, check=True)
    with pytest.raises(LimitError):
        sizes.check_deltas(blob, 2000)


def test_expect_returns_each_object_once_by_chains(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of those that were checked before, and if headers form a circle, or there are none."""
    bases = {number: number - 1 if number % 10 else None for number in range(40)} | {50: 51, 51: 50}
    sizes = Chains({})

    def request(oids: Sequence[Oid]) -> None:
        for one in oids:
            base = bases.get(int(one, 16))
            sizes._expected[one] = [b"10", (oid(base) if base is not None else oid(0)).encode()]

    monkeypatch.setattr(sizes, "_request_all", request)
    numbers = [*range(40), 50, 51, 60, 60]
    random.Random(3).shuffle(numbers)
    found = [int(one, 16) for one in sizes.expect([oid(number) for number in numbers])]
    assert sorted(found) == sorted(set(numbers))
    chains = [number for number in found if number < 40]
    assert chains == sorted(chains)
    assert sizes.expected(oid(1)) == 10
    sizes._expected.clear()
    sizes._below = {
        bytes.fromhex(oid(number)): (bytes.fromhex(oid(number // 10 * 10)), number) for number in range(40)
    }
    assert [int(one, 16) for one in sizes.expect([oid(number) for number in (25, 3, 21, 8)])] == [
        3,
        8,
        21,
        25,
    ]
    assert sizes.expected(oid(70)) is None


def test_expect_requests_a_bounded_number_of_headers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_sizes, "MAX_EXPECTED", 5)
    sizes = Chains({})
    monkeypatch.setattr(
        sizes,
        "_request_all",
        lambda oids: sizes._expected.update({one: [b"1", oid(int(one, 16) + 1).encode()] for one in oids}),
    )
    assert sizes.expect([oid(1)]) == [oid(1)]
    assert len(sizes._expected) == 5

"""Mangling: no byte of golden evidence can be changed, cut off or taken out so that it proves something else.

For each byte of a bundle of either generation, of a signed layout and of a checkpoint: a few other values, the
prefix that ends before it, and the text without it. What comes out is refused with an error of ours, or proves
the very same facts because the byte is not evidence: white space between JSON tokens, a field that nobody signed
(UNSIGNED), or the part of a timestamp that its signature does not cover.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from gitchain.errors import (
    InclusionError,
    LayoutError,
    LimitError,
    MalformedError,
    SignatureError,
)
from gitchain.evidence.checkpoint import SignedCheckpoint
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.predicates import LAYOUT as LAYOUT_TYPE
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.instance import Instance
from gitchain.layout import Identity, parse_layout
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.layout import verify_layout
from gitchain.verify.trust import Trust
from tests.support.bundle_fields import LEAVES, Json, facts, get, is_v1, put
from tests.support.decision_input import LAYOUT
from tests.support.forged_bundles import Forge, raw
from tests.support.fuzzing import FUZZ

SAMPLE = 400  # mutants of each golden document in `make test`
CLOSED = (MalformedError, SignatureError, InclusionError, LimitError)
VALUES = (0x00, 0x20, 0x22, 0x30, 0x41, 0x7B, 0x7F, 0xFF)
UNSIGNED = {LEAVES["timestamp"], LEAVES["integrated time"]}
"""Leaves that may differ where the facts do not: a token carries certificates beside what it signs, and a Rekor
v2 entry is timed by the token alone."""


def mutants(golden: bytes) -> Iterator[bytes]:
    """Every byte replaced by each value and with each of two bits flipped; every prefix; every byte left out."""
    for at, byte in enumerate(golden):
        for value in {*VALUES, byte ^ 1, byte ^ 0x20} - {byte}:
            yield golden[:at] + bytes([value]) + golden[at + 1 :]
        yield golden[:at]
        yield golden[:at] + golden[at + 1 :]


def sampled(golden: bytes, name: str) -> list[bytes]:
    every = list(mutants(golden))
    return every if FUZZ else random.Random(name).sample(every, SAMPLE)


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> dict[tuple[str | int, ...], Any]:
    if isinstance(value, dict):
        inner: Any = value.items()
    elif isinstance(value, list | tuple):
        inner = enumerate(value)
    else:
        return {path: value}
    found: dict[tuple[str | int, ...], Any] = {}
    for key, one in inner:
        found |= leaves(one, (*path, key))
    return found


def meaning(value: Any) -> dict[tuple[str | int, ...], Any]:
    """Return the leaves that are no zeros, text without the padding of base64."""
    found = {
        path: leaf.rstrip("=") if isinstance(leaf, str) else leaf for path, leaf in leaves(value).items()
    }
    return {path: leaf for path, leaf in found.items() if leaf not in ("0", 0)}


def difference(one: bytes, two: bytes) -> set[tuple[str | int, ...]]:
    """Return the leaves in which the two documents differ: none, where they differ in white space alone.

    In proto3 JSON a zero is as good as an absent field, and base64 as good without its padding.
    """
    first, second = meaning(json.loads(one)), meaning(json.loads(two))
    return {path for path in {*first, *second} if first.get(path) != second.get(path)}


def check(
    golden: bytes, name: str, prove: Callable[[bytes], object], closed: tuple[type[Exception], ...]
) -> None:
    """Judge every mutant; an exception that is not one of `closed` ends the test."""
    honest = prove(golden)
    accepted = 0
    for mutant in sampled(golden, name):
        try:
            found = prove(mutant)
        except closed:
            continue
        accepted += 1
        assert found == honest, mutant
        assert difference(golden, mutant) <= UNSIGNED, (difference(golden, mutant), mutant)
    assert accepted < len(golden)  # most mutants are refused: the judge is not asleep


def generation(valid: list[Json], *, old: bool) -> bytes:
    return json.dumps(next(one for one in valid if is_v1(one) is old)).encode()


@pytest.mark.parametrize("old", [False, True], ids=["rekor-v2", "rekor-v1"])
def test_a_mangled_bundle_proves_nothing_else(valid: list[Json], trust: Trust, old: bool) -> None:
    """Bundles of either generation, byte by byte."""
    golden = generation(valid, old=old)
    check(golden, f"bundle {old}", lambda data: facts(verify_bundle(data, trust)), CLOSED)


def test_a_mangled_payload_proves_nothing_at_all(valid: list[Json], trust: Trust) -> None:
    """What was signed: each byte of the payload changed under the base64 is refused, without exception."""
    bundle = valid[0]
    payload = base64.b64decode(get(bundle, LEAVES["payload"]))
    for mutant in sampled(payload, "payload"):
        changed = put(bundle, LEAVES["payload"], base64.b64encode(mutant).decode())
        with pytest.raises(CLOSED):
            verify_bundle(json.dumps(changed).encode(), trust)


def test_a_mangled_layout_decides_nothing_else(instances: tuple[Instance, Instance], trust: Trust) -> None:
    """A signed layout, byte by byte: refused with a LayoutError, or the same layout of the same signer."""
    instance = instances[0]
    layout = parse_layout(LAYOUT.encode())
    subject = ResourceDescriptor(layout.name, DigestSet({"sha256": layout.digest}))
    signed = Statement.build([subject], LAYOUT_TYPE, layout.to_json())
    owner = Identity(instance.issuer, "owner@example.com")
    golden = raw(Forge(instance, owner.subject).bundle(signed.payload))
    now = datetime.now(UTC)
    check(golden, "layout", lambda data: verify_layout(data, trust, [owner], now, 1), (LayoutError,))


def test_a_mangled_layout_text_is_another_layout() -> None:
    """The canonical text of a layout: every mutant is refused or has another digest, so no signature fits it."""
    layout = parse_layout(LAYOUT.encode())
    for mutant in sampled(layout.canonical, "layout text"):
        try:
            other = parse_layout(mutant)
        except LayoutError:
            continue
        assert (other.digest == layout.digest) == (other == layout)
        if other == layout:  # rule keywords are read in any case
            for path in difference(layout.canonical, mutant):
                assert leaves(json.loads(mutant))[path].upper() == leaves(layout.to_json())[path]


def test_a_mangled_checkpoint_is_not_the_logs(valid: list[Json], trust: Trust) -> None:
    """A log's signed note, byte by byte, alone and inside of its bundle: never another tree head."""
    bundle = valid[0]
    text = get(bundle, LEAVES["checkpoint"])
    honest = SignedCheckpoint.parse(text)
    for mutant in sampled(text.encode(), "checkpoint"):
        try:
            note = SignedCheckpoint.parse(mutant.decode("utf-8", "replace"))
        except (MalformedError, LimitError):
            continue
        assert (note.body(), note.signatures) != (honest.body(), honest.signatures)
        changed = put(bundle, LEAVES["checkpoint"], note.text)
        with pytest.raises(CLOSED):
            verify_bundle(json.dumps(changed).encode(), trust)


def test_only_errors_of_ours_come_out(valid: list[Json], trust: Trust) -> None:
    """Leaves of the wrong type, everywhere in a bundle: an error of the closed set, whatever it is."""
    honest = facts(verify_bundle(json.dumps(valid[0]).encode(), trust))
    for path in leaves(valid[0]):
        value: Any
        for value in (None, True, 0, -1, 1.5, "", "\x00", "A" * 10_000, [], {}, [[]], {"a": {}}):
            changed = put(valid[0], path, value)
            try:
                found = verify_bundle(json.dumps(changed).encode(), trust)
            except CLOSED:
                continue
            assert facts(found) == honest

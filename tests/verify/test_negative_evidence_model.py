"""The rule of docs/negative-evidence.md over generated worlds: decide() against a simple model of the rule.

A world is some statements about six artifacts: data in a directory, a model made of it, an approval, facts about the data
and revocations, with and without the directory's manifest. The model below reads what was drawn, not the statements.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from gitchain.evidence.claim import StepFacts
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.predicates import DATASET, REVOCATION, SVR, provenance
from gitchain.evidence.revocation import RevokedSigner, revocation
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import Evidence
from gitchain.layout import Identity, parse_layout
from gitchain.verify.decide import Target, decide
from gitchain.verify.verified import NEVER, LogRef, SignedLayout, VerifiedStatement
from tests.support.decision_input import ISSUER, NOW, Content, descriptor, directory, verified
from tests.support.fuzzing import sized

LAYOUT = parse_layout(b"""
schema: https://gitchain.dev/layout/v1
name: worlds
version: 1
expires: "2027-11-22T00:00:00Z"
functionaries:
  alice: {identities: [{issuer: "https://issuer.example", subject: alice}]}
  bob: {identities: [{issuer: "https://issuer.example", subject: bob}, {issuer: "https://issuer.example", subject: bob2}]}
  carol: {identities: [{issuer: "https://issuer.example", subject: carol}]}
  rita: {identities: [{issuer: "https://issuer.example", subject: rita}]}
  ruth: {identities: [{issuer: "https://issuer.example", subject: ruth}]}
revokers: [rita, ruth]
steps:
  - name: data
    functionaries: [alice]
    expectedProducts: [[REQUIRE, data], [ALLOW, "*"]]
  - name: train
    functionaries: [alice]
    expectedMaterials: [[REQUIRE, data], [MATCH, data, WITH, PRODUCTS, FROM, data], [DISALLOW, "*"]]
    expectedProducts: [[ALLOW, "*"]]
  - name: approve
    functionaries: [bob, carol]
    predicateType: https://in-toto.io/attestation/svr/v0.2
    evidence: observed
    maxAge: P30D
    constraints: [{name: ok, expression: "predicate.ok"}]
    expectedMaterials: [[REQUIRE, model], [MATCH, model, WITH, PRODUCTS, FROM, train], [ALLOW, "*"]]
datasets:
  functionaries: [bob, carol]
  artifacts: [{step: data, products: [data]}]
  constraints: [{name: licence, expression: "dataset.licence == 'CC0-1.0'"}]
serve: [{step: train, products: [model]}]
""")
DATA = directory(one="1", two="2")
ELSEWHERE = directory(one="1", other="3")
"""A directory of no chain; its manifest is never at hand."""
ARTIFACTS: dict[str, Content] = {
    "data": DATA,
    "one": "1",
    "two": "2",
    "model": "model",
    "other": "other",
    "elsewhere": ELSEWHERE,
}
PEOPLE = {"alice": "alice", "bob": "bob", "bob2": "bob", "carol": "carol", "rita": "rita", "ruth": "ruth"}
SIGNED = SignedLayout(LAYOUT, Identity(ISSUER, "owner"), LAYOUT.digest, 1, AttestationId("0" * 64), NOW)
STALE = -24 * 40


@dataclass(frozen=True)
class Said:
    """One statement as it was drawn. `time` is in hours from now; `about` are names of ARTIFACTS."""

    kind: str
    who: str
    about: tuple[str, ...] = ()
    time: int = -1
    good: bool | None = True
    cosigned: str = "unasked"
    declared: bool = False
    readable: bool = True
    layout: str = "worlds"
    revokes: tuple[Said, ...] = ()
    signer: str = ""
    since: int = 0

    @property
    def payload(self) -> Said:
        """What is signed: an attestation id names it, whoever signed it and however it is logged."""
        said = self if self.readable else replace(self, time=0, declared=False, layout="")
        return replace(said, who="", cosigned="unasked", revokes=tuple(one.payload for one in said.revokes))

    def names(self, other: Said) -> bool:
        """Whether this revocation names the attestation id of another statement."""
        return any(one.payload == other.payload for one in self.revokes)

    @property
    def early(self) -> bool:
        """Whether it is ahead of the clock, or not cosigned by now."""
        return self.time > 0 or self.cosigned in {"never", "later"}


# The model of the rule ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Taken:
    """What revocations take back."""

    by: tuple[Said, ...]

    def statement(self, one: Said) -> bool:
        return any(rev.names(one) for rev in self.by) or self.signer(one)

    def signer(self, one: Said) -> bool:
        return any(rev.signer == one.who and rev.since <= one.time for rev in self.by)

    def artifact(self, name: str) -> bool:
        return any(name in rev.about for rev in self.by if not rev.revokes and not rev.signer)

    @property
    def any_artifact(self) -> bool:
        return any(self.artifact(name) for name in ARTIFACTS)


def taken_back(world: Iterable[Said]) -> Taken:
    said = [one for one in world if one.kind == "revoke" and one.who in {"rita", "ruth"}]
    standing: list[Said] = []
    for time in sorted({one.time for one in said}):
        same = [one for one in said if one.time == time and not Taken(tuple(standing)).signer(one)]
        for one in same:
            if not one.early:
                standing = [rev for rev in standing if not one.names(rev)]
        standing += same
    return Taken(tuple(standing))


def rejections(world: Sequence[Said], taken: Taken) -> set[str]:
    """The artifacts that are rejected."""
    said = [one for one in world if one.kind == "approve" and PEOPLE.get(one.who) in {"bob", "carol"}]
    said = [one for one in said if not taken.statement(one) and one.layout == "worlds"]
    found = set()
    for one in said:
        if one.readable and one.good:
            continue
        for name in one.about:
            if not any(
                counts(other, taken)
                and PEOPLE[other.who] == PEOPLE[one.who]
                and name in other.about
                and other.time > one.time
                for other in said
            ):
                found.add(name)
    return found


def counts(one: Said, taken: Taken) -> bool:
    """Whether an approval is positive evidence."""
    return (
        one.kind == "approve"
        and PEOPLE.get(one.who) in {"bob", "carol"}
        and one.readable
        and bool(one.good)
        and not one.early
        and one.time > STALE
        and not one.declared
        and one.layout == "worlds"
        and not taken.statement(one)
    )


def inside(name: str, *, opened: bool) -> Iterator[str]:
    yield name
    if name == "data" and opened:
        yield from ("one", "two")


def clean(names: Iterable[str], rejected: set[str], taken: Taken, *, opened: bool) -> bool:
    """Whether nothing forbids evidence that has these artifacts."""
    for name in names:
        closed = name == "elsewhere" or (name == "data" and not opened)
        if closed and (rejected or taken.any_artifact):
            return False
        if any(one in rejected or taken.artifact(one) for one in inside(name, opened=opened)):
            return False
    return True


def facts_hold(world: Sequence[Said], taken: Taken, *, opened: bool) -> bool:
    said = [one for one in world if one.kind == "facts" and PEOPLE.get(one.who) in {"bob", "carol"}]
    said = [one for one in said if not taken.statement(one)]
    current = [
        (one, name)
        for one in said
        for name in one.about
        if not any(
            PEOPLE[other.who] == PEOPLE[one.who]
            and name in other.about
            and other.time > one.time
            and not other.early
            for other in said
        )
    ]
    if not any(name == "data" and not one.early for one, name in current):
        return False
    return not any(
        not one.good and (not opened or name in {"data", "one", "two", "elsewhere"}) for one, name in current
    )


def allowed(world: Sequence[Said], *, opened: bool) -> bool:
    """Whether the rule allows PASSED."""
    taken = taken_back(world)
    rejected = rejections(world, taken)
    made = {one.kind for one in world if one.who == "alice" and not one.early and not taken.statement(one)}
    if not {"data", "train"} <= made or not clean(("data", "model"), rejected, taken, opened=opened):
        return False
    approved = [one for one in world if counts(one, taken) and "model" in one.about]
    return any(clean(one.about, rejected, taken, opened=opened) for one in approved) and facts_hold(
        world, taken, opened=opened
    )


# Drawn statements to verified ones ------------------------------------------------------------------------------


@functools.cache
def statement_of(said: Said) -> VerifiedStatement:
    evidence: Evidence = "declared" if said.declared else "observed"
    facts = StepFacts(said.kind, f"run-{said.time}", evidence, said.layout)
    subject = [descriptor(name, ARTIFACTS[name]) for name in said.about]
    built = {"data": _made, "train": _made, "approve": _approval, "facts": _facts, "revoke": _revocation}
    statement = built[said.kind](said, subject, facts)
    time = NOW + timedelta(hours=said.time)
    when = {
        "unasked": None,
        "before": NOW - timedelta(days=1),
        "later": NOW + timedelta(hours=1),
        "never": NEVER,
    }
    one = verified(statement, said.who, time)
    return replace(one, log=LogRef("log.example", 0, when[said.cosigned]))


def _made(said: Said, subject: Any, facts: StepFacts) -> Statement:
    given = [descriptor("data", DATA)] if said.kind == "train" else []
    return Statement.build(subject, "https://slsa.dev/provenance/v1", provenance(step=facts, materials=given))


def _approval(said: Said, subject: Any, facts: StepFacts) -> Statement:
    step = facts.to_json() if said.readable else {"name": ["approve"]}
    predicate = {"gitchain_step": step, **({} if said.good is None else {"ok": said.good})}
    return Statement.build(subject, SVR, predicate)


def _facts(said: Said, subject: Any, _facts: StepFacts) -> Statement:
    licence = {True: {"licence": "CC0-1.0"}, False: {"licence": "GPL-3.0-only"}, None: {}}[said.good]
    return Statement.build(subject, DATASET, {"source": "x", "run": said.time, **licence})


def _revocation(said: Said, subject: Any, _facts: StepFacts) -> Statement:
    since = (NOW + timedelta(hours=said.since)).strftime("%Y-%m-%dT%H:%M:%SZ")
    predicate = revocation(
        reason="mistaken",
        when=NOW.strftime("%Y-%m-%dT%H:%M:%SZ"),
        attestations=[statement_of(one).attestation_id for one in said.revokes],
        signers=[RevokedSigner(ISSUER, said.signer, since)] if said.signer else [],
        message=f"at {said.time}",
    )
    return Statement.build(subject or [descriptor("x", "x")], REVOCATION, predicate)


def verdict(world: Sequence[Said], *, opened: bool) -> bool:
    nodes = DATA.nodes if opened else {}
    target = Target(sha256_hex(b"model"), "model")
    return decide(SIGNED, map(statement_of, world), target, NOW, nodes.get).passed


BASE = (
    Said("data", "alice", ("data",), -9),
    Said("train", "alice", ("model",), -8),
    Said("approve", "bob", ("model",), -5),
    Said("facts", "bob", ("data",), -5),
)


def drawn(rng: random.Random) -> tuple[list[Said], bool]:
    """A world that passes, changed in a few ways, and whether the manifest is there."""
    world = [one for one in BASE if rng.random() > 0.05]
    for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 4])):
        about = tuple(sorted(rng.sample(sorted(ARTIFACTS), rng.choice([1, 1, 2]))))
        time = rng.choice([STALE - 1, -6, -5, -4, -3, -2, 1])
        cosigned = rng.choice(["unasked"] * 5 + ["before", "later", "never"])
        good = rng.choice([True, True, False, False, None])
        match rng.randrange(8):
            case 0 | 1 | 2:
                who = rng.choice(["bob", "bob", "bob2", "carol", "carol", "alice", "mallory"])
                world.append(
                    Said(
                        "approve", who, about, time, good, cosigned,
                        declared=rng.random() < 0.15,
                        readable=rng.random() > 0.1,
                        layout=rng.choice(["worlds"] * 9 + ["elsewhere"]),
                    )
                )  # fmt: skip
            case 3 | 4:
                who = rng.choice(["bob", "bob2", "carol", "mallory"])
                world.append(Said("facts", who, about, time, good, cosigned))
            case 5:
                world.append(
                    Said("revoke", rng.choice(["rita", "ruth", "bob"]), about, time, cosigned=cosigned)
                )
            case 6:
                who, what = rng.choice(["rita", "ruth", "mallory"]), rng.choice(world or list(BASE))
                world.append(Said("revoke", who, (), time, cosigned=cosigned, revokes=(what,)))
            case _:
                who, signer = (
                    rng.choice(["rita", "ruth"]),
                    rng.choice(["bob", "carol", "rita", "ruth", "alice"]),
                )
                world.append(
                    Said(
                        "revoke",
                        who,
                        (),
                        time,
                        cosigned=cosigned,
                        signer=signer,
                        since=rng.choice([-9, -5, -3]),
                    )
                )
    return [
        one if one.readable else replace(one, layout="worlds") for one in dict.fromkeys(world)
    ], rng.random() < 0.7


@pytest.mark.parametrize("seed", range(4))
def test_decide_passes_exactly_what_the_rule_allows(seed: int) -> None:
    """No PASSED that the rule does not allow, and no FAILED that it does not ask for."""
    rng = random.Random(20261130 + seed)
    passed = 0
    for _ in range(sized(1_000, 250_000)):
        world, opened = drawn(rng)
        expected = allowed(world, opened=opened)
        assert verdict(world, opened=opened) == expected, (opened, world)
        passed += expected
    assert passed > sized(125, 25_000)


def test_decide_is_never_helped_by_a_missing_manifest() -> None:
    """Whatever passes without the directory's manifest passes with it."""
    rng = random.Random(7)
    for _ in range(sized(500, 50_000)):
        world, _ = drawn(rng)
        assert not verdict(world, opened=False) or verdict(world, opened=True), world


@pytest.mark.parametrize("opened", [True, False])
def test_the_base_world_passes(*, opened: bool) -> None:
    """What the generated worlds change is a world that passes."""
    assert allowed(BASE, opened=opened)
    assert verdict(BASE, opened=opened)

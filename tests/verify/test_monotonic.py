"""Properties of the decision over generated worlds: several runs, people, a supplier, constraints, thresholds.

Positive evidence never hurts: what passes still passes with more of it. Negative evidence (revocations, attestations
that a constraint forbids, newer layouts behind a step) never helps. Nothing passes on nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gitchain.errors import ExitCode
from gitchain.layout import Layout, parse_layout
from gitchain.verify.decide import Decision
from gitchain.verify.verified import VerifiedStatement
from tests.support.decision_input import LAYOUT, NOW, PREPARED, DecisionInput, model, run, statement
from tests.support.decision_variants import (
    SUPPLIER,
    facts,
    revoked,
    saying,
    signed_layout,
    summary,
    supplied,
    with_supplier,
)

FEATURES: dict[str, Callable[[str], str]] = {
    "supplier": with_supplier,
    "floor": lambda text: text.replace(
        "  - name: evaluate\n    functionaries: [alice]\n",
        "  - name: evaluate\n    functionaries: [alice]\n"
        '    constraints: [{name: floor, expression: "predicate.accuracy >= 0.9"}]\n',
    ),
    "chain": lambda text: text.replace(
        "serve:",
        "constraints: [{name: same, expression: "
        "\"steps.evaluate.materials['models/model.pkl'].sha256 == target.sha256\"}]\nserve:",
    ),
    "run": lambda text: text.replace("serve:", "sameRun: [[train, evaluate]]\nserve:"),
    "two": lambda text: text.replace(
        "functionaries: [bob, carol]\n", "functionaries: [alice, bob, carol]\n    threshold: 2\n"
    ),
    "pair": lambda text: text.replace("steps:\n", "principals: {pair: [alice, bob]}\nsteps:\n", 1),
    "revokers": lambda text: text.replace("steps:\n", "revokers: [carol]\nsteps:\n", 1),
}


@functools.cache
def layout_with(features: frozenset[str]) -> Layout:
    text = LAYOUT
    for name in sorted(features, key=list(FEATURES).index):
        text = FEATURES[name](text)
    return parse_layout(text.encode())


def honest(name: str) -> list[VerifiedStatement]:
    found = run(name)
    found["evaluate"] = saying(found["evaluate"], accuracy=0.95)
    return [
        *found.values(),
        statement("approve", {"metrics.json": f"metrics {name}"}, who="carol", run=f"run-{name}"),
    ]


TRAIN: dict[str, Any] = {
    "materials": {"data/prepared/train.csv": "train"},
    "products": {"models/model.pkl": "model 1"},
}
BASE = [*honest("1"), *supplied().values(), signed_layout(parse_layout(SUPPLIER.encode()))]
MORE = [
    *honest("2"),
    *supplied("late").values(),
    statement("train", **TRAIN, who="bob"),
    statement("train", **TRAIN, who="bob", run="run-9"),
    statement("train", **TRAIN, who="mallory"),
    statement("train", **TRAIN, evidence="declared"),
    statement("train", **TRAIN, layout="other"),
    statement("train", TRAIN["materials"] | {"src/x": "y"}, TRAIN["products"], run="run-9"),
    statement("train", {"data/prepared/train.csv": "poison"}, TRAIN["products"], who="bob"),
    statement("prepare", {"data/raw.csv": "late"}, {"data/prepared": PREPARED}),
    saying(statement("evaluate", {"models/model.pkl": "model 1"}, {"metrics.json": "metrics 2"}), accuracy=0.99),
    saying(run("1")["evaluate"], accuracy=0.97),
    statement("approve", {"metrics.json": "metrics 1"}, who="alice"),
    statement("approve", {"metrics.json": "metrics 1"}, who="alice2"),
    statement("approve", {"metrics.json": "metrics 1"}, who="carol", at=NOW - timedelta(days=40)),
    statement("approve", {"metrics.json": "other"}, who="bob"),
    statement("data", {}, {"data/raw.csv": "raw"}, who="acme"),
    summary({"data/raw.csv": "raw"}),
    facts({"data/raw.csv": "raw"}),
    signed_layout(parse_layout(SUPPLIER.replace("version: 2", "version: 1").encode())),
    signed_layout(parse_layout(SUPPLIER.encode()), who="mallory"),
]  # fmt: skip
NEGATIVE = [
    saying(run("1")["evaluate"], accuracy=0.5),
    revoked(BASE[2], who="carol"),
    revoked({"x": "raw"}, who="carol"),
    revoked({"x": "model 1"}, who="carol"),
    revoked("alice", who="carol"),
    revoked("bob", who="carol"),
    revoked("alice", who="mallory"),
    signed_layout(parse_layout(SUPPLIER.replace("version: 2", "version: 3").replace("otto]", "anna]").encode())),
]  # fmt: skip

POSITIVE = [*BASE, *MORE]
features = st.frozensets(st.sampled_from(sorted(FEATURES)), max_size=4)
some = st.frozensets(st.integers(0, len(POSITIVE) - 1), max_size=8)
negative = st.frozensets(st.sampled_from(range(len(NEGATIVE))), max_size=2)


def judged(
    named: frozenset[str], evidence: Iterable[VerifiedStatement], *, explain: bool = False
) -> Decision:
    world = DecisionInput(dict(enumerate(evidence)), layout_with(named))  # type: ignore[arg-type]
    return world.verdict(model(), explain=explain)


@given(features, some, some, negative)
def test_taking_evidence_away_never_helps(
    named: frozenset[str], gone: frozenset[int], also_gone: frozenset[int], against: frozenset[int]
) -> None:
    """Whatever passes with less positive evidence passes with more, under the same negative evidence."""
    bad = [NEGATIVE[index] for index in sorted(against)]
    left = [one for index, one in enumerate(POSITIVE) if index not in gone | also_gone]
    more = [one for index, one in enumerate(POSITIVE) if index not in gone]
    assert not judged(named, [*left, *bad]).passed or judged(named, [*more, *bad]).passed


@given(features, st.permutations(POSITIVE[:12]), some)
def test_the_order_of_evidence_changes_nothing(
    named: frozenset[str], mixed: list[VerifiedStatement], gone: frozenset[int]
) -> None:
    """Evidence is a set: found in another order it gives the same verdict, the same steps and the same findings."""
    evidence = [one for index, one in enumerate(POSITIVE[:12]) if index not in gone]
    kept = [one for one in mixed if any(one is other for other in evidence)]
    first, second = judged(named, evidence), judged(named, kept)
    assert first.result == second.result
    assert {one.code for one in first.findings} == {one.code for one in second.findings}


@given(features, some, some, negative)
def test_asking_why_changes_nothing(
    named: frozenset[str], gone: frozenset[int], also_gone: frozenset[int], against: frozenset[int]
) -> None:
    """With every check listed the verdict and its findings are the same; a check has failed exactly where it is FAILED."""
    evidence = [one for index, one in enumerate(POSITIVE) if index not in gone | also_gone]
    evidence += [NEGATIVE[index] for index in sorted(against)]
    plain, explained = judged(named, evidence), judged(named, evidence, explain=True)
    assert (plain.result, plain.findings) == (explained.result, explained.findings)
    assert all(one.passed for one in explained.checks) == explained.passed
    assert explained.passed or explained.exit_code is ExitCode.NOTHING or explained.findings
    assert set(explained.path) <= {step.name for step in layout_with(named).steps}


@given(features, some, negative, st.sampled_from(range(1, len(NEGATIVE))))
def test_negative_evidence_never_helps(
    named: frozenset[str], gone: frozenset[int], against: frozenset[int], one: int
) -> None:
    """A revocation or a newer layout never makes pass what did not; there is no attestation here that it sets aside."""
    evidence = [statement for index, statement in enumerate(POSITIVE) if index not in gone]
    bad = [NEGATIVE[index] for index in sorted(against - {0, one})]
    assert (
        judged(named, [*evidence, *bad]).passed or not judged(named, [*evidence, *bad, NEGATIVE[one]]).passed
    )


@given(features, st.lists(st.sampled_from([*MORE, *NEGATIVE]), max_size=6))
def test_nothing_passes_without_the_evidence_of_every_step(
    named: frozenset[str], noise: list[VerifiedStatement]
) -> None:
    """No evidence is exit code 3, and no heap of other evidence is a pass while one step has nothing at all."""
    assert judged(named, []).exit_code is ExitCode.NOTHING
    without = [one for one in [*BASE, *noise] if one.statement != BASE[1].statement]
    prepared = [one for one in without if b'"step":"prepare"' not in one.statement.payload]
    assert not judged(named, prepared).passed


def test_the_worlds_are_worth_deciding_about() -> None:
    """The base passes under every single feature, and each negative piece is negative somewhere."""
    for name in FEATURES:
        decision = judged(frozenset({name}) - {"pair"}, [*BASE, *([MORE[16]] if name == "two" else [])])
        assert decision.passed, (name, decision.findings)
    strict = frozenset({"floor", "supplier", "revokers"})
    assert judged(strict, BASE).passed
    verdicts = [judged(strict, [*BASE, one]).passed for one in NEGATIVE]
    assert verdicts == [False, False, False, False, False, True, True, False]

"""What a verdict tells, word for word: every finding and every check of many worlds, as a person reads them.

The words are in golden/words.json. A digest or an id stands there as the number of its digits, so that a change of a
format leaves the words alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.manifest import FileEntry, build_manifest
from gitchain.evidence.predicates import REVOCATION
from gitchain.evidence.statement import Statement
from gitchain.verify.decide import Decision, Target
from gitchain.verify.verified import NEVER, LogRef
from tests.support.decision_input import (
    NOW,
    PREPARED,
    DecisionInput,
    descriptor,
    directory,
    model,
    run,
    statement,
    verified,
)
from tests.support.decision_variants import (
    DATASETS,
    checkpoint,
    facts,
    fresh,
    revoked,
    saying,
    second_supplier,
    summary,
    supplied,
    supplier,
    with_two_suppliers,
)
from tests.verify.test_cross_step_constraints import constraint, demanding
from tests.verify.test_decide import ATTACKS, two_trainers
from tests.verify.test_negative_evidence_decisions import evaluated, floored, revocable
from tests.verify.test_negative_evidence_decisions import world as evaluations
from tests.verify.test_vsa_steps import vendored

GOLDEN = Path(__file__).parent / "golden" / "words.json"
HEX = re.compile(r"\b[0-9a-f]{12,}\b")


def told(decision: Decision) -> list[str]:
    """Return the path, the findings, then the checks (of a failure those that failed), a line each."""
    findings = [
        f"{one.severity} {one.code.name} {one.step} {one.artifact}: {one.message} / {one.expected} / {one.got} / {one.help}"
        for one in decision.findings
    ]
    checks = [
        f"{'yes' if one.passed else 'no'} {one.kind} {one.step}: {one.message} / {one.expected} / {one.got}"
        f" / {', '.join(one.artifacts)} / {len(one.attestations)}"
        for one in decision.checks
        if decision.passed or not one.passed
    ]
    lines = [" ".join(decision.path), *findings, *checks]
    return [HEX.sub(lambda found: f"<{len(found[0])}>", line) for line in lines]


def honest(change: Callable[[str], str] = str, **evidence: Any) -> DecisionInput:
    """Return the honest world under a changed layout, with some evidence replaced; None takes it away."""
    found = DecisionInput.honest().change(change)
    given = found.evidence | evidence
    found.evidence = {name: one for name, one in given.items() if one is not None}
    return found


def trained(products: Any, **more: Any) -> Any:
    return statement("train", {"data/prepared/train.csv": "train"}, products, **more)


def attacked(name: str) -> DecisionInput:
    world = DecisionInput.honest()
    ATTACKS[name][0](world)
    return world


def closed(world: DecisionInput) -> DecisionInput:
    world.nodes.clear()
    return world


def revocation_that_cannot_be_read() -> Any:
    return verified(Statement.build([descriptor("x", "x")], REVOCATION, {"reason": 7}), "alice", NOW)


def everything() -> DecisionInput:
    """Return a world that passes a layout which asks for all there is."""
    demands = f"""{DATASETS[: -len("serve:")]}constraints:
  - {{name: c, expression: "steps.train.time <= steps.approve.time"}}
same_run: [[prepare, train]]
serve:"""
    demands = demands.replace("same_run", "sameRun")
    world = DecisionInput.honest().change(lambda text: floored(fresh(text)).replace("serve:", demands))
    accurate = saying(world.evidence["evaluate"], accuracy=0.95)
    return replace(
        world,
        evidence=world.evidence | {"evaluate": accurate, "facts": facts({"d": "raw"}), "point": checkpoint()},
    )


def refused_facts() -> DecisionInput:
    return honest(
        lambda text: text.replace("serve:", DATASETS), facts=facts({"d": "raw"}, licence="GPL-3.0-only")
    )


def with_closed_facts() -> DecisionInput:
    world = refused_facts()
    hidden = facts({"d": directory(a="1")}, licence="GPL-3.0-only")
    return replace(world, evidence=world.evidence | {"facts": facts({"d": "raw"}), "hidden": hidden})


def two_suppliers() -> DecisionInput:
    world = supplier().change(with_two_suppliers)
    world.evidence |= second_supplier()
    return world


def directories() -> DecisionInput:
    made = directory(a="1", b="2", c="3")
    world = honest(train=trained({"models/model.pkl": made}))
    world.nodes |= made.nodes
    return world


def found_directory() -> Target:
    other = directory(a="1", b="5", d="4")
    return Target(other.digest, "models/model.pkl", directory=True, nodes=other.nodes)


def old_directory() -> tuple[DecisionInput, Target]:
    """Return a model that evidence of manifest version 1 knows, of which one file has another mode now."""
    then, now = (
        [FileEntry("a", mode, 1, sha256_hex(b"a")), FileEntry("b", not mode, 1, sha256_hex(b"b"))]
        for mode in (True, False)
    )
    made, older, newer = build_manifest(then, 1), build_manifest(now, 1), build_manifest(now)
    world = honest(train=trained({"models/model.pkl": made}))
    world.nodes |= made.nodes

    def under_version_1() -> Target:
        return Target(older.digest, None, directory=True, nodes=older.nodes, version=1)

    return world, Target(newer.digest, "models/model.pkl", True, newer.nodes, older=under_version_1)


WORLDS: dict[str, Callable[[], DecisionInput]] = {
    "honest": DecisionInput.honest,
    "everything": everything,
    "supplier": supplier,
    "two suppliers": two_suppliers,
    "summary": lambda: vendored(summary({"data/raw.csv": "raw"}), more="\n    maxAge: P1D"),
    "old summary": lambda: vendored(summary({"data/raw.csv": "raw"}), more="\n    maxAge: PT1H"),
    "failed summary": lambda: vendored(summary({"data/raw.csv": "raw"}, result="FAILED")),
    "malformed summary": lambda: vendored(summary({"data/raw.csv": "raw"}, policy={}, timeVerified="x")),
    "summary of another": lambda: vendored(summary({"data/raw.csv": "raw"}, resourceUri="pkg:generic/other")),
    "nothing": DecisionInput,
    **{name: partial(attacked, name) for name in ATTACKS},
    "md5": lambda: honest(same=saying(run()["train"]), **same_md5()),
    "not cosigned": lambda: honest(train=replace(run()["train"], log=LogRef("log.example", 0, NEVER))),
    "cosigned late": lambda: honest(
        train=replace(run()["train"], log=LogRef("log.example", 0, NOW + timedelta(hours=1)))
    ),
    "no layout": lambda: honest(train=trained({"models/model.pkl": "model 1"}, layout="another")),
    "too few": lambda: honest(two_trainers),
    "no agreement": lambda: honest(
        two_trainers,
        again=statement(
            "train",
            {"data/prepared/train.csv": "train", "src/t.py": "x"},
            {"models/model.pkl": "model 1"},
            who="bob",
        ),
    ),
    "refused evaluation": lambda: evaluations(evaluated(0.5)),
    "refused by another": lambda: evaluations(evaluated(0.95), evaluated(0.5, who="bob")),
    "unreadable evaluation": lambda: evaluations(
        evaluated(0.95), saying(evaluated(None), gitchain_step={"name": 7})
    ),
    "constraint that fails": lambda: honest(
        lambda text: floored(text).replace("predicate.accuracy >= 0.9", "predicate.accuracy / 0 > 1"),
        evaluate=evaluated(0.9),
    ),
    "revoked attestation": lambda: honest(revocable, gone=revoked(run()["train"])),
    "revoked signer": lambda: honest(revocable, gone=revoked("bob")),
    "revoked artifact": lambda: honest(revocable, gone=revoked({"x": "code"})),
    "revoked in a closed directory": lambda: closed(honest(revocable, gone=revoked({"x": "code"}))),
    "unreadable revocation": lambda: honest(revocable, gone=revocation_that_cannot_be_read()),
    "no checkpoint": lambda: honest(fresh),
    "old checkpoint": lambda: honest(fresh, point=checkpoint(age=timedelta(days=9))),
    "no facts": lambda: honest(lambda text: text.replace("serve:", DATASETS)),
    "no data set": lambda: honest(lambda text: text.replace("serve:", DATASETS.replace("data/*", "other/*"))),
    "refused facts": refused_facts,
    "facts about a closed directory": with_closed_facts,
    "chain constraint": lambda: demanding(constraint("target.sha256 == 'x'")),
    "chain constraint without a verdict": lambda: demanding(constraint("steps.train.predicate.x > 1")),
    "several runs": lambda: replace(
        demanding("sameRun: [[prepare, train]]"), evidence=run() | {"prepare": run("2")["prepare"]}
    ),
    "no layout of a supplier": lambda: replace(supplier(), evidence=run() | supplied()),
    "supplier's layout by a stranger": lambda: supplier(who="mallory"),
    "supplier's chain is broken": lambda: without(supplier(), "acme-collect"),
    "supplier's data is another": lambda: replace(
        supplier(),
        evidence=supplier().evidence | {f"acme-{name}": one for name, one in supplied("x").items()},
    ),
    "another run's data": lambda: honest(
        train=statement("train", {"data/prepared/train.csv": "two"}, {"models/model.pkl": "model 1"}),
        other=statement("prepare", {"data/raw.csv": "raw"}, {"data/prepared": directory(train__csv="two")}),
    ),
    "contradiction": lambda: honest(
        prepare=statement(
            "prepare",
            {"data/raw.csv": "raw"},
            {"data/prepared": PREPARED, "data/prepared/train.csv": "another"},
        )
    ),
    "one replay": lambda: honest(evaluate=run("2")["evaluate"], approve=run("2")["approve"]),
    "consumed": lambda: honest(
        lambda text: text.replace(
            "[REQUIRE, metrics.json], [CREATE, metrics.json]",
            "[CREATE, metrics.json], [REQUIRE, metrics.json]",
        )
    ),
}
TARGETS: dict[str, Callable[[], tuple[DecisionInput, Target]]] = {
    "another content": lambda: (DecisionInput.honest(), model("another")),
    "another name": lambda: (DecisionInput.honest(), model(name="models/other.pkl")),
    "not served": lambda: (DecisionInput.honest(), model("metrics 1", "metrics.json")),
    "only taken": lambda: (DecisionInput.honest(), model("code", "src/p.py")),
    "only taken, without a name": lambda: (DecisionInput.honest(), model("code", None)),
    "unknown digest": lambda: (DecisionInput.honest(), model("unknown", None)),
    "given by a path": lambda: (DecisionInput.honest(), replace(model("unknown", None), given="../a path")),
    "unserved name": lambda: (DecisionInput.honest(), model("metrics 2", "metrics.json")),
    "other files": lambda: (directories(), found_directory()),
    "file for a directory": lambda: (directories(), model("a file")),
    "other modes": old_directory,
    "of a revoked training": lambda: (WORLDS["revoked attestation"](), model("model 1", None)),
}


def same_md5() -> dict[str, Any]:
    """Return two statements about two contents that have one MD5."""
    found: dict[str, Any] = {}
    for name in ("a", "b"):
        one = replace(descriptor(f"md5/{name}", name), annotations={"dvc.md5": "0" * 32})
        found[name] = verified(Statement.build([one], "https://example.com/t", {}), "mallory", NOW)
    return found


def without(world: DecisionInput, name: str) -> DecisionInput:
    del world.evidence[name]
    return world


def decided(name: str) -> Decision:
    world, target = TARGETS[name]() if name in TARGETS else (WORLDS[name](), model())
    return world.verdict(target, explain=True)


WORDS = json.loads(GOLDEN.read_text(encoding="utf-8")) if GOLDEN.exists() else {}


@pytest.mark.parametrize("name", [*WORLDS, *TARGETS])
def test_a_verdict_word_for_word(name: str) -> None:
    """Findings and checks are what people act on: none changes unseen."""
    assert told(decided(name)) == WORDS[name]

"""Attacks on what a layout demands: patterns of identities, revocations, constraints, sublayouts; and every field.

Named after the attack catalogue; README.md has the table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gitchain.consume.inspections import inspected
from gitchain.errors import LayoutError
from gitchain.layout import Identity, parse_layout, parts, step
from gitchain.layout import identities as members
from gitchain.layout.model import Layout
from tests.support.decision_input import ISSUER, LAYOUT, NOW, DecisionInput, codes, run, statement
from tests.support.decision_variants import (
    SUPPLIER,
    by,
    facts,
    revoked,
    saying,
    signed_layout,
    summary,
    supplied,
    supplier,
    with_supplier,
)
from tests.support.removed_checks import goes_red, guarded, names

REPOSITORY = "https://github.com/acme/m/.github/workflows/train.yml"
GITHUB = "https://token.actions.githubusercontent.com"
CI = f'  ci: {{identities: [{{issuer: "{GITHUB}", subject: "{REPOSITORY}@refs/tags/v*", claims: {{sourceRepositoryIdentifier: "123"}}}}]}}\n'


def by_ci(subject: str, issuer: str = GITHUB, **claims: str) -> DecisionInput:
    """The honest world with a workflow that trains, and training signed by this certificate."""
    world = DecisionInput.honest().change(
        lambda text: text.replace("  bob: {", f"{CI}  bob: {{", 1).replace(
            "functionaries: [alice, bob]\n", "functionaries: [ci]\n"
        )
    )
    world.evidence["train"] = by(world.evidence["train"], Identity(issuer, subject), **claims)
    return world


ID = {"sourceRepositoryIdentifier": "123"}
FOREIGN = (
    f"{REPOSITORY}@refs/heads/attacker", f"{REPOSITORY}@refs/tags/v1/x", f"{REPOSITORY}@refs/tags/", f"{REPOSITORY}@refs/tags/V1",
    f"x{REPOSITORY}@refs/tags/v1", f"{REPOSITORY}.evil@refs/tags/v1", f"{REPOSITORY}@refs/heads/x@refs/tags/v1",
    f"https://evil.example/?{REPOSITORY}@refs/tags/v1", f"{REPOSITORY}@refs/pull/1/merge",
    "https://github.com/acme/m-evil/.github/workflows/train.yml@refs/tags/v1", "https://github.com/acme/m/.github/workflows/other.yml@refs/tags/v1",
)  # fmt: skip


@guarded(("gitchain.layout.identities:SigstoreMember.matches", "and covers(self.subject_pattern, identity.subject)", "and __import__('re').search(self.subject_pattern.split('@')[0] + '|refs/', identity.subject)"))  # fmt: skip
def test_cve_2022_47633_pattern_is_anchored() -> None:
    """A star stands for a part of a ref; what only contains, continues or precedes the pattern is somebody else."""
    assert by_ci(f"{REPOSITORY}@refs/tags/v1.2", **ID).verdict().passed
    for subject in FOREIGN:
        assert codes(by_ci(subject, **ID).verdict()) == [("UNAUTHORISED", "train", "")], subject
    for issuer in (f"{GITHUB}/", f"{GITHUB}.evil.example", "https://evil.example"):
        assert not by_ci(f"{REPOSITORY}@refs/tags/v1", issuer, **ID).verdict().passed


@guarded(("gitchain.layout.identities:SigstoreMember.matches", "claims.get(name) == value", "True"))
def test_a06_immutable_ids_are_pinned() -> None:
    """A repository of the same name that somebody else registered later has another id; no id is none of ours."""
    for claims in (
        {"sourceRepositoryIdentifier": "124"},
        {},
        {"sourceRepositoryIdentifier": "0123"},
        {"buildTrigger": "123"},
    ):
        assert not by_ci(f"{REPOSITORY}@refs/tags/v1", **claims).verdict().passed, claims


@pytest.mark.parametrize(
    "subject",
    ["*", "https://*/x@refs/tags/v1", "https://github.com/acme/*@refs/tags/v1", ".*@refs/tags/*x/*\\n"],
)
def test_a06_no_pattern_outside_of_the_ref(subject: str) -> None:
    """A layout with a star before the ref is refused when it is loaded."""
    text = LAYOUT.replace("  bob: {", f"{CI}  bob: {{", 1).replace(f"{REPOSITORY}@refs/tags/v*", subject)
    with pytest.raises(LayoutError):
        parse_layout(text.encode())


def with_revoker(text: str) -> str:
    return text.replace("steps:\n", "revokers: [carol]\nsteps:\n", 1)


@guarded(("gitchain.verify.revocations:Revocations.signer", "if time is None or time >= since:", "if False:"))
def test_a20_revoked_after_before() -> None:
    """A signer who was revoked: what was signed from that time on does not count, what was signed before does."""
    time = DecisionInput.honest().evidence["train"].time
    for since, passes in (
        (time + timedelta(seconds=1), True),
        (time, False),
        (time - timedelta(days=1), False),
    ):
        world = DecisionInput.honest().change(with_revoker)
        world.evidence["revocation"] = revoked("alice", who="carol", since=since)
        assert world.verdict().passed is passes


@guarded(("gitchain.verify.revocations:is_signed_by", "return any(", "return True or any("))
def test_a20_only_revokers_revoke() -> None:
    """A stranger's revocation takes nothing back; a revoker's takes back an attestation and an artifact."""
    for what in (DecisionInput.honest().evidence["train"], {"models/model.pkl": "model 1"}):
        for who, passes in (("mallory", True), ("alice", True), ("carol", False)):
            world = DecisionInput.honest().change(with_revoker)
            world.evidence["revocation"] = revoked(what, who=who)
            assert world.verdict().passed is passes, (who, what)


FLOOR = '    constraints: [{name: floor, expression: "predicate.accuracy >= 0.9"}]\n'
EVALUATE = "  - name: evaluate\n    functionaries: [alice]\n"


def floored(text: str) -> str:
    return text.replace(EVALUATE, f"{EVALUATE}{FLOOR}")


def evaluated(accuracy: float | None, **more: Any) -> Any:
    one = statement("evaluate", {"models/model.pkl": "model 1"}, {"metrics.json": "metrics 1"}, **more)
    return one if accuracy is None else saying(one, accuracy=accuracy)


@guarded(("gitchain.verify.negative_evidence:NegativeEvidence._look", "known.get(digest, ())", "()"))
def test_a23_benign_claim_appended() -> None:
    """Beside an authorised evaluation that is too low, a good one of the same metrics does not count."""
    world = DecisionInput.honest().change(floored)
    world.evidence["evaluate"] = evaluated(0.95)
    assert world.verdict().passed
    world.evidence["bad"] = evaluated(0.5)
    assert "DENIED" in {code for code, _, _ in codes(world.verdict())}


MISSING = (
    "predicate.accuracy >= 0.9", "predicate.accuracy >= 0.9 || predicate.other == 1", "predicate.a.b.c == ''",
    "predicate.accuracy >= 0.9 && true", "predicate['accuracy'] > 0.5", "predicate.runDetails.x == 'y'", "1 / size(predicate.none) == 1",
    "predicate.accuracy == predicate.accuracy", "!(predicate.accuracy < 0.9)",
)  # fmt: skip


def test_a25_missing_attribute_fails() -> None:
    """What is not there satisfies nothing, however the expression asks for it."""
    for expression in MISSING:
        text = floored(LAYOUT).replace("predicate.accuracy >= 0.9", expression)
        world = DecisionInput(run(), parse_layout(text.encode()))
        (code, step_name, _), *rejected = codes(world.verdict())
        assert code.startswith("CONSTRAINT"), expression
        assert step_name == "evaluate"
        assert {one for one, _, _ in rejected} == {"DENIED"}


@guarded(("gitchain.layout.constraint:_verdict", 'if kind == "ERROR"', 'if kind == "ERROR" and False'),
         ("gitchain.layout.constraint:_verdict", "return ConstraintResult(False", "return ConstraintResult(True"))  # fmt: skip
def test_a25_an_error_is_not_true() -> None:
    """The one that is missing first: an error is a finding, and no verdict."""
    assert not DecisionInput(run(), parse_layout(floored(LAYOUT).encode())).verdict().passed


def test_a28_sublayout_cycle() -> None:
    """A layout that stands behind its own step is a finding; so is one of too many levels."""
    world = supplier()
    assert world.verdict().passed
    loop = SUPPLIER.replace(
        "  - name: collect\n    functionaries: [anna]\n",
        "  - name: collect\n    functionaries: [anna]\n    sublayout: {name: acme-data}\n",
    )
    world = supplier(loop)
    world.evidence["anna"] = signed_layout(parse_layout(loop.encode()), who="anna")
    assert "SUBLAYOUT_NESTING" in {code for code, _, _ in codes(world.verdict())}


def test_a01_sublayout_evidence_stays_behind_its_step() -> None:
    """Evidence of a supplier's chain counts in that chain alone, and names its layout."""
    world = supplier()
    for name, one in supplied(layout=None).items():
        world.evidence[f"acme-{name}"] = one
    assert not world.verdict().passed


# Every field of a layout -------------------------------------------------------------------------------------------

Json = dict[str, Any]
Change = Callable[[Json], object]


def base() -> DecisionInput:
    """Evidence that leaves no demand untouched: two people train, in two runs, two hours ago, somebody revokes."""
    evidence = run(at=NOW - timedelta(hours=2))
    again = {"data/prepared/train.csv": "train"}, {"models/model.pkl": "model 1"}
    evidence["train-bob"] = statement("train", *again, who="bob", at=NOW - timedelta(hours=2))
    evidence["evaluate"] = statement(
        "evaluate",
        {"models/model.pkl": "model 1", "data/prepared/test.csv": "test"},
        {"metrics.json": "metrics 1"},
        run="run-2",
        at=NOW - timedelta(hours=2),
    )
    evidence["revocation"] = revoked(evidence["train"], who="carol")
    evidence["facts"] = facts({"data/raw.csv": "raw"}, who="alice")
    return DecisionInput(evidence)


def stricter(
    change: Change, *, also: Change | None = None
) -> tuple[DecisionInput, Callable[[], DecisionInput]]:
    """Return the world under the lax layout, and what makes it one under the changed layout."""
    value = json.loads(parse_layout(LAYOUT.encode()).canonical)
    train = value["steps"][2]
    train["functionaries"], train["threshold"] = ["alice", "bob", "carol"], 2
    if also is not None:
        also(value)
    lax = json.dumps(value).encode()
    change(value)
    return DecisionInput(base().evidence, parse_layout(lax)), lambda: DecisionInput(
        base().evidence, parse_layout(json.dumps(value).encode())
    )


def audited(value: dict[str, Any]) -> None:
    """Add a step that has no evidence, and serve the model without it."""
    value["serve"][0]["steps"] = [step["name"] for step in value["steps"]]
    value["steps"].append({**value["steps"][4], "name": "audit"})


def at(index: int, **changed: Any) -> Change:
    return lambda value: value["steps"][index].update(changed)


def top(**changed: Any) -> Change:
    return lambda value: value.update(changed)


def alice(*identities: Json) -> Change:
    return lambda value: value["functionaries"].update(alice={"identities": list(identities)})


def pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def ssh() -> str:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def renamed(value: Json) -> None:
    text = json.dumps(value["steps"]).replace('"evaluate"', '"evaluation"')
    value["steps"] = json.loads(text)


def vendor(verifier: str) -> DecisionInput:
    """A world in which a vendor's summary stands for the data."""
    behind = f"predicateType: https://slsa.dev/verification_summary/v1\n    verifier: {verifier}"
    world = DecisionInput(run()).change(lambda text: with_supplier(text, behind))
    del world.evidence["data"]
    world.evidence["summary"] = summary({"data/raw.csv": "raw"}, who="acme")
    return world


def behind(text: str) -> DecisionInput:
    world = supplier()
    world.change(lambda layout: with_supplier(layout, text))
    return world


SETS = {"functionaries": ["alice"], "artifacts": [{"step": "data", "products": ["data/*"]}]}
TRUE, FALSE = ({"name": "it", "expression": text} for text in ("target.sha256 != ''", "target.sha256 == ''"))
HAD = {"name": "it", "expression": "dataset.consent == 'obtained'"}
NOT_HAD = {"name": "it", "expression": "dataset.consent == 'not-required'"}
INSPECTIONS = "tests/cli/test_inspections.py"
STRICTER: dict[str, Callable[[], tuple[DecisionInput, Callable[[], DecisionInput]]] | str] = {
    "Layout.name": lambda: stricter(top(name="other-model")),
    "Layout.version": "test_a02_policy_rollback",
    "Layout.expires": "test_a02_layout_expiry",
    "Layout.functionaries": lambda: stricter(alice({"issuer": ISSUER, "subject": "alice3"})),
    "Layout.steps": lambda: stricter(lambda value: value["steps"].append({**value["steps"][4], "name": "audit"})),
    "Layout.serve": lambda: stricter(top(serve=[{"step": "evaluate", "products": ["*"]}])),
    "Layout.principals": lambda: stricter(top(principals={"one": ["alice", "bob"]})),
    "Layout.revokers": lambda: stricter(top(revokers=["carol"])),
    "Layout.datasets": lambda: stricter(top(datasets={**SETS, "functionaries": ["bob"]})),
    "Layout.constraints": lambda: stricter(top(constraints=[FALSE])),
    "Layout.same_run": lambda: stricter(top(sameRun=[["train", "evaluate"]])),
    "Layout.freshness": lambda: stricter(top(freshness="P7D")),
    "Layout.inspections": lambda: stricter(top(inspections=[{"name": "no-code", "kind": "pickle", "artifacts": ["*"]}])),
    "Step.name": lambda: stricter(renamed),
    "Step.functionaries": lambda: stricter(at(2, functionaries=["alice", "carol"])),
    "Step.expected_materials": lambda: stricter(at(2, expectedMaterials=[["DISALLOW", "*"]])),
    "Step.expected_products": lambda: stricter(at(2, expectedProducts=[["DISALLOW", "*"]])),
    "Step.threshold": lambda: stricter(at(2, threshold=3)),
    "Step.predicate_type": lambda: stricter(at(4, predicateType="https://in-toto.io/attestation/test-result/v0.1")),
    "Step.evidence": lambda: stricter(at(0, evidence="observed")),
    "Step.max_age": lambda: stricter(at(4, maxAge="PT1H")),
    "Step.constraints": lambda: stricter(at(3, constraints=[{"name": "it", "expression": "predicate.accuracy > 0.5"}])),
    "Step.sublayout": lambda: (supplier(), lambda: behind("sublayout: {name: other}")),
    "Step.verifier": lambda: (vendor("https://vendor.example/verifier"), lambda: vendor("https://other.example/verifier")),
    "Step.resource": lambda: (
        vendor("https://vendor.example/verifier\n    resource: pkg:generic/raw.csv"),
        lambda: vendor("https://vendor.example/verifier\n    resource: pkg:generic/other.csv"),
    ),
    "Step.select": lambda: stricter(at(4, select={"where": "predicate.verifier.id == 'https://people.example/x'"})),
    "Selector.where": "tests/attacks/test_selector_attacks.py",
    "Selector.name": "test_selector_one_subject_among_a_thousand",
    "Functionary.name": lambda: stricter(lambda value: value["functionaries"].update(ada=value["functionaries"].pop("alice"))),
    "Functionary.identities": lambda: stricter(alice({"issuer": ISSUER, "subject": "alice2"})),
    "SigstoreMember.issuer": lambda: stricter(alice({"issuer": "https://other.example", "subject": "alice"})),
    "SigstoreMember.subject_pattern": lambda: stricter(alice({"issuer": ISSUER, "subject": "alic@refs/*"})),
    "SigstoreMember.claims": lambda: stricter(alice({"issuer": ISSUER, "subject": "alice", "claims": {"buildTrigger": "push"}})),
    "KeyMember.public_key": lambda: stricter(alice({"key": pem()})),
    "SshMember.public_key": lambda: stricter(alice({"ssh": ssh()})),
    "Constraint.name": lambda: stricter(top(constraints=[TRUE, TRUE]), also=top(constraints=[TRUE])),
    "Constraint.expression": lambda: stricter(top(constraints=[FALSE]), also=top(constraints=[TRUE])),
    "Sublayout.name": lambda: (supplier(), lambda: behind("sublayout: {name: acme}")),
    "Sublayout.minimum_version": lambda: (supplier(), lambda: behind("sublayout: {name: acme-data, minimumVersion: 3}")),
    "Datasets.functionaries": lambda: stricter(top(datasets={**SETS, "functionaries": ["bob"]}), also=top(datasets=SETS)),
    "Datasets.artifacts": lambda: stricter(
        top(datasets={**SETS, "artifacts": [{"step": "prepare", "products": ["data/*"]}]}), also=top(datasets=SETS)
    ),
    "Datasets.constraints": lambda: stricter(
        top(datasets={**SETS, "constraints": [NOT_HAD]}), also=top(datasets={**SETS, "constraints": [HAD]})
    ),
    "Inspection.name": lambda: stricter(top(inspections=[{"name": "a", "kind": "pickle", "artifacts": ["*"]}] * 2)),
    "Inspection.kind": INSPECTIONS,
    "Inspection.artifacts": INSPECTIONS,
    "Inspection.max_bytes": INSPECTIONS,
    "Inspection.allow": INSPECTIONS,
    "Inspection.frameworks": INSPECTIONS,
    "ServedProducts.step": lambda: stricter(top(serve=[{"step": "prepare", "products": ["models/*"]}])),
    "ServedProducts.products": lambda: stricter(top(serve=[{"step": "train", "products": ["models/other.*"]}])),
    "ServedProducts.steps": lambda: stricter(lambda value: value["serve"][0]["steps"].append("audit"), also=audited),
}  # fmt: skip
KINDS = (
    Layout, step.Step, step.Sublayout, members.Functionary, members.SigstoreMember, members.KeyMember, members.SshMember,
    parts.Constraint, parts.Datasets, parts.Inspection, parts.Selector, parts.ServedProducts,
)  # fmt: skip


def passes(world: DecisionInput) -> bool:
    decision = world.verdict()
    return inspected(decision, None, None).passed


def test_ghsa_r2xv_every_policy_field_is_here() -> None:
    """The table has each field of each part of a layout: a new field needs its negative test."""
    assert set(STRICTER) == {f"{kind.__name__}.{field.name}" for kind in KINDS for field in fields(kind)}


@pytest.mark.parametrize("field", STRICTER)
def test_ghsa_r2xv_every_policy_field_has_negative_test(field: str) -> None:
    """A chain that passes fails when the one field is made stricter, or means somebody or something else."""
    case = STRICTER[field]
    if isinstance(case, str):
        place = Path(__file__).parents[2] / case
        here = "".join(one.read_text() for one in Path(__file__).parent.glob("test_*.py"))
        assert place.is_file() or re.search(rf"^def {case}\b", here, re.MULTILINE)
        return
    lax, strict = case()
    assert passes(lax), lax.verdict().findings
    try:
        assert not passes(strict())
    except LayoutError:
        return  # refused when it is loaded


@pytest.mark.parametrize("name", names(globals()))
def test_without_its_check_the_attack_succeeds(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attack's test goes red when the check that it names is taken out of the code."""
    goes_red(globals()[name], request, monkeypatch)

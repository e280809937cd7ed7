"""Constraints over evidence: every attestation, every choice, every data set; the recipes of docs/constraints.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from gitchain.evidence.claim import StepClaim, StepFacts, claim_of
from gitchain.evidence.digest import DigestSet, Sha256, sha256_hex
from gitchain.evidence.manifest import FileEntry, Manifest, build_manifest
from gitchain.evidence.predicates import dataset, provenance
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import DATASET, PROVENANCE
from gitchain.layout import Layout, parse_layout
from gitchain.layout.artifact import Artifact, Link, Manifests
from gitchain.layout.model import Constraint, Step
from gitchain.verify import constraints as module
from gitchain.verify.constraints import check_chain, check_step
from gitchain.verify.datasets import DatasetFacts, _keys, check_datasets
from gitchain.verify.findings import Finding, FindingCode
from gitchain.verify.target import Target
from gitchain.verify.verified import VerifiedStatement, is_early
from tests.support.decision_input import ISSUER, NOW, Content, descriptor, directory, model, verified

METRICS = "https://example.com/predicate/metrics/v1"
TEXT = """
schema: https://gitchain.dev/layout/v1
name: credit-model
version: 3
expires: "2027-11-22T00:00:00Z"
functionaries:
  alice: {identities: [{issuer: "https://issuer.example", subject: alice}]}
  bob: {identities: [{issuer: "https://issuer.example", subject: bob}]}
  carol: {identities: [{issuer: "https://issuer.example", subject: carol}]}
steps:
  - {name: data, functionaries: [carol], expectedProducts: [[CREATE, "data/*"], [DISALLOW, "*"]]}
  - name: train
    functionaries: [alice, bob]
    expectedMaterials: [[MATCH, "data/*", WITH, PRODUCTS, FROM, data], [DISALLOW, "*"]]
    expectedProducts: [[CREATE, model.pkl], [DISALLOW, "*"]]
  - name: report
    functionaries: [alice, bob]
    predicateType: https://example.com/predicate/metrics/v1
    expectedMaterials: [[MATCH, model.pkl, WITH, PRODUCTS, FROM, train], [DISALLOW, "*"]]
  - name: approve
    functionaries: [bob, carol]
    predicateType: https://in-toto.io/attestation/svr/v0.2
    expectedMaterials: [[MATCH, model.pkl, WITH, PRODUCTS, FROM, train], [DISALLOW, "*"]]
serve: [{step: train, products: [model.pkl]}]
datasets:
  functionaries: [alice]
  artifacts: [{step: data, products: ["data/*"]}]
  constraints:
    - {name: licence, expression: "dataset.licence in ['CC-BY-4.0', 'CC0-1.0']"}
    - {name: consent, expression: "dataset.consent in ['not-required', 'obtained']"}
"""
LAYOUT = parse_layout(TEXT.encode())


@dataclass(frozen=True)
class One:
    """One attestation, as the decision hands it over."""

    statement: VerifiedStatement
    claim: StepClaim
    link: Link
    functionary: str
    principal: str


@dataclass(frozen=True)
class Group:
    """The attestations of one step that agree."""

    step: Step
    members: Sequence[One]
    link: Link
    principals: Sequence[str]


def link(
    materials: Mapping[str, Content] | None = None, products: Mapping[str, Content] | None = None
) -> Link:
    def artifacts(given: Mapping[str, Content] | None) -> dict[str, Artifact]:
        found = {name: descriptor(name, content) for name, content in (given or {}).items()}
        return {name: Artifact(one.digest, one.is_directory) for name, one in found.items()}

    return Link(artifacts(materials), artifacts(products))


def one(
    kind: str,
    predicate: dict[str, Any],
    evidence: Link,
    who: str = "alice",
    hours: int = 10,
    principal: str = "",
) -> One:
    """An attestation by `who`, so many hours before NOW."""
    side = evidence.products or evidence.materials
    subject = [ResourceDescriptor(name, item.digest) for name, item in side.items()]
    signed = verified(Statement.build(subject, kind, predicate), who, NOW - timedelta(hours=hours))
    return One(signed, claim_of(signed.statement), evidence, who, principal or who)


def group(step: str, *members: One) -> Group:
    people = sorted({member.principal for member in members})
    return Group(LAYOUT.step(step), members, members[0].link, people)


def built(step: str, evidence: Link, *, run: str = "run-1", lr: float = 0.1, **who: Any) -> One:
    facts = StepFacts(step, run, "observed", "credit-model")
    given = [ResourceDescriptor(name, item.digest) for name, item in evidence.materials.items()]
    predicate = provenance(step=facts, materials=given, parameters={"params.yaml": {"lr": lr, "epochs": 10}})
    return one(PROVENANCE, predicate, evidence, **who)


DATA = link({}, {"data/a.csv": "a", "data/b.csv": "b"})
TRAINED = link({"data/a.csv": "a"}, {"model.pkl": "model 1"})
ABOUT_MODEL = link({"model.pkl": "model 1"})


def report(accuracy: float, evidence: Link = ABOUT_MODEL, **who: Any) -> One:
    return one(METRICS, {"accuracy": accuracy}, evidence, **who)


def chain(**changed: Group) -> dict[str, Group]:
    approved = one(
        "https://in-toto.io/attestation/svr/v0.2", {"properties": ["OK"]}, ABOUT_MODEL, who="bob", hours=1
    )
    return {
        "data": group("data", built("data", DATA, who="carol", hours=20)),
        "train": group("train", built("train", TRAINED)),
        "report": group("report", report(0.93, hours=5)),
        "approve": group("approve", approved),
        **changed,
    }


TARGET = model("model 1", "model.pkl")


def across(
    expression: str, evidence: Mapping[str, Group] | None = None, target: Target = TARGET
) -> list[Finding]:
    layout = replace(LAYOUT, constraints=(Constraint("it", expression),))
    return list(check_chain(layout, evidence or chain(), target))


def within(expression: str, attested: One, step: str = "report") -> Finding | None:
    return check_step(replace(LAYOUT.step(step), constraints=(Constraint("it", expression),)), attested)


# Within a step --------------------------------------------------------------------------------------------------


def test_a_metric_floor_holds_or_is_a_finding_with_the_value() -> None:
    """Recipe: a floor under the model's own evaluation; the finding has the expression and what it looked at."""
    assert within("predicate.accuracy >= 0.9", report(0.93)) is None
    assert within("predicate.accuracy >= 0.9", report(1.0)) is None
    assert within("predicate.accuracy >= 0.9", report(0.89)) == Finding(
        FindingCode.CONSTRAINT,
        "constraint it of step report does not hold",
        step="report",
        expected="predicate.accuracy >= 0.9",
        got="is not true: predicate.accuracy is 0.89",
    )


def test_what_cannot_be_evaluated_is_a_finding_of_its_own() -> None:
    """A field that the evidence does not have is told apart from a value that is too low; neither passes."""
    found = within("predicate.auc >= 0.9", report(0.99))
    assert found is not None
    assert (found.code, found.step, found.got) == (
        FindingCode.CONSTRAINT_ERROR,
        "report",
        'Key not found in map : "auc"',
    )
    assert found.message == "constraint it of step report cannot be evaluated"


def test_all_constraints_of_a_step_count_and_the_first_is_named() -> None:
    """Constraints are checked in order; one that holds does not end the check."""
    rules = [
        Constraint(name, f"predicate.accuracy >= {floor}")
        for name, floor in (("a", 0.5), ("b", 0.95), ("c", 0.99))
    ]
    found = check_step(replace(LAYOUT.step("report"), constraints=tuple(rules)), report(0.93))
    assert found is not None
    assert "constraint b " in found.message
    assert check_step(LAYOUT.step("report"), report(0.0)) is None


def test_an_expression_that_does_not_compile_never_passes() -> None:
    """A layout is refused when it is loaded; should one get here all the same, it is a finding in every scope."""
    found = within("nonsense", report(0.99))
    assert found is not None
    assert found.code is FindingCode.CONSTRAINT_ERROR
    assert [one.code for one in across("nonsense")] == [FindingCode.CONSTRAINT_ERROR]
    assert "undeclared reference" in found.got


SEEN = [
    "predicateType == 'https://slsa.dev/provenance/v1' && evidence == 'observed' && run == 'run-1'",
    "predicate.buildDefinition.externalParameters.parameters['params.yaml'].lr == 0.1",
    "subject.size() == 1 && subject[0].name == 'model.pkl' && subject[0].digest.sha256 == products['model.pkl'].sha256",
    f"materials['data/a.csv'].sha256 == '{sha256_hex(b'a')}' && !materials['data/a.csv'].directory",
    "materials.size() == 1 && products.all(name, name == 'model.pkl')",
    "time == timestamp('2026-11-22T02:00:00Z')",
    f"signer.issuer == '{ISSUER}' && signer.subject == 'alice' && signer.functionary == 'alice'",
    "signer.principal == 'alice-smith' && signer.claims.runnerEnvironment == 'github-hosted'",
]


@pytest.mark.parametrize("expression", SEEN, ids=range(len(SEEN)))
def test_a_step_sees_what_the_page_says(expression: str) -> None:
    """Predicate, subjects, artifacts, proven time, signer with claims, and step facts are there."""
    attested = built("train", TRAINED, principal="alice-smith")
    signed = replace(attested.statement, claims={"runnerEnvironment": "github-hosted"})
    assert within(expression, replace(attested, statement=signed), "train") is None


def test_what_goes_by_its_uri_and_has_no_facts() -> None:
    """A subject without a name is named by its uri, and evidence without step facts has null."""
    subject = {"uri": "pkg:generic/x@1", "digest": {"sha256": "a" * 64}}
    said = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [subject],
        "predicateType": METRICS,
        "predicate": {},
    }
    signed = verified(Statement.parse(json.dumps(said).encode()), "x", NOW)
    attested = One(signed, claim_of(signed.statement), link(), "x", "x")
    assert within("subject[0].name == 'pkg:generic/x@1' && run == null && evidence == null", attested) is None


def test_a_directory_is_one_artifact() -> None:
    """A directory's digest is that of its manifest; the files inside have no entry."""
    inside = directory(a__csv="a")
    attested = built("train", link({"data": inside}, {"model.pkl": "m"}))
    expression = (
        f"materials.data.directory && materials.data.sha256 == '{inside.digest}' && materials.size() == 1"
    )
    assert within(expression, attested, "train") is None


# Across steps ---------------------------------------------------------------------------------------------------


def test_the_evaluated_model_is_the_released_one() -> None:
    """Recipe: the evaluation must be about the target, by digest."""
    expression = "steps.report.materials['model.pkl'].sha256 == target.sha256 && target.name == 'model.pkl'"
    assert across(expression) == []
    other = chain(report=group("report", report(0.99, link({"model.pkl": "a better model"}))))
    (found,) = across(expression, other)
    assert (found.code, found.expected) == (FindingCode.CHAIN_CONSTRAINT, expression)
    assert found.message == "constraint it does not hold"


def test_changed_parameters_need_a_second_approver() -> None:
    """Recipe: parameters other than the approved set need two people; the same person twice is one."""
    expression = (
        "steps.train.predicate.buildDefinition.externalParameters.parameters == {'params.yaml': {'lr': 0.1, 'epochs': 10}}"
        " || steps.approve.principals.size() >= 2"
    )
    assert across(expression) == []
    changed = chain(train=group("train", built("train", TRAINED, lr=0.5)))
    assert [found.code for found in across(expression, changed)] == [FindingCode.CHAIN_CONSTRAINT]
    svr = "https://in-toto.io/attestation/svr/v0.2"
    twice = [one(svr, {"n": n}, ABOUT_MODEL, who="bob") for n in (1, 2)]
    assert across(expression, {**changed, "approve": group("approve", *twice)})
    second = [twice[0], one(svr, {"n": 3}, ABOUT_MODEL, who="carol")]
    assert across(expression, {**changed, "approve": group("approve", *second)}) == []
    same = [twice[0], one(svr, {"n": 3}, ABOUT_MODEL, who="carol", principal="bob")]
    assert across(expression, {**changed, "approve": group("approve", *same)})
    foreign = chain(train=group("train", one(PROVENANCE, {"buildDefinition": {"buildType": "x:y"}}, TRAINED)))
    assert across(expression, foreign)


def test_training_comes_after_the_approval_of_the_data() -> None:
    """Recipe: proven times compare as text and as timestamps, and their difference is a duration."""
    after = "steps.train.time > steps.data.time"
    soon = "timestamp(steps.train.time) - timestamp(steps.data.time) < duration('11h')"
    assert across(after) == across(soon) == []
    late = chain(data=group("data", built("data", DATA, who="carol", hours=9)))
    assert [found.got for found in across(after, late)] == [
        "is not true: steps.data.time is 2026-11-22T03:00:00Z, steps.train.time is 2026-11-22T02:00:00Z"
    ]
    early = chain(data=group("data", built("data", DATA, who="carol", hours=21)))
    assert across(soon, early)


def test_signing_again_moves_no_time() -> None:
    """A step's time is when its threshold was reached, by distinct principals: neither the first nor the last signature."""
    expression = "steps.data.time == '2026-11-21T20:00:00Z'"
    members = [built("data", DATA, who="carol", hours=hours) for hours in (3, 16, 9)]
    assert across(expression, chain(data=group("data", *members))) == []
    strict = replace(LAYOUT.step("train"), threshold=2)
    people = [("alice", 2), ("alice", 18), ("alice", 17), ("bob", 16), ("bob", 1)]
    two = group("train", *(built("train", TRAINED, who=who, hours=hours) for who, hours in people))
    assert across(expression.replace("data", "train"), chain(train=replace(two, step=strict))) == []
    short = replace(two, members=two.members[:3], step=strict)
    assert across("steps.train.time == '2026-11-22T10:00:00Z'", chain(train=short)) == []


def test_a_good_attestation_hides_no_bad_one() -> None:
    """A23: with several attestations for the same artifacts, every one has to satisfy the constraint, in any order."""
    good, bad = report(0.95, who="alice", hours=2), report(0.5, who="bob", hours=6)
    for members in ((good, bad), (bad, good)):
        (found,) = across("steps.report.predicate.accuracy >= 0.9", chain(report=group("report", *members)))
        assert found.got == "is not true: steps.report.predicate.accuracy is 0.5"
    assert across("steps.report.predicate.accuracy >= 0.9", chain(report=group("report", good, good))) == []


def test_every_choice_of_attestations_is_tried() -> None:
    """Two steps whose predicates are read are combined: one bad pair among good ones is found."""
    trained = group("train", *(built("train", TRAINED, lr=lr) for lr in (0.1, 0.2)))
    reported = group("report", *(report(accuracy) for accuracy in (0.91, 0.95)))
    expression = (
        "steps.train.predicate.buildDefinition.externalParameters.parameters['params.yaml'].lr < 0.15"
        " || steps.report.predicate.accuracy > {}"
    )
    evidence = chain(train=trained, report=reported)
    assert across(expression.replace("{}", "0.90"), evidence) == []
    assert across(expression.replace("{}", "0.93"), evidence)


def test_attestations_that_cannot_be_told_apart_are_one_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A nightly run that says the same again does not multiply; what is not read does not count; too many is a finding."""
    monkeypatch.setattr(module, "MAX_ROWS", 3)
    same = [one(METRICS, {"accuracy": 0.95, "night": night}, ABOUT_MODEL) for night in range(4)]
    evidence = chain(report=group("report", *same))
    assert across("steps.report.predicate.accuracy > 0.9", evidence) == []
    assert (
        across("steps.report.materials.size() == 1 && has(steps.report.predicate.accuracy)", evidence) == []
    )
    (found,) = across("steps.report.predicate.night >= 0", evidence)
    assert found.code is FindingCode.CONSTRAINT_ERROR
    assert "more than 3 combinations" in found.got
    for whole in (
        "steps.report.predicate.size() == 2",
        "steps.report.size() > 1",
        "steps.all(s, steps[s].size() > 1)",
    ):
        assert [found.code for found in across(whole, evidence)] == [FindingCode.CONSTRAINT_ERROR]
    three = chain(report=group("report", *same[:3]))
    assert across("steps.report.predicate.night >= 0", three) == []


def test_a_thousand_choices_are_tried_and_no_more() -> None:
    """docs/constraints.md has the limit: one attestation more is a finding."""
    members = [one(METRICS, {"night": night}, ABOUT_MODEL) for night in range(1001)]
    expression = "steps.report.predicate.night >= 0"
    assert across(expression, chain(report=group("report", *members[:1000]))) == []
    assert across(expression, chain(report=group("report", *members)))


def test_a_missing_field_is_told_apart_from_null() -> None:
    """Attestations of which one has null and one has nothing are two choices."""
    members = [
        one(METRICS, {"x": None}, ABOUT_MODEL),
        one(METRICS, {}, ABOUT_MODEL),
        one(METRICS, {"x": {}}, ABOUT_MODEL),
    ]
    for order in (members, members[::-1]):
        (found,) = across(
            "steps.report.predicate.x == null || has(steps.report.predicate.x.y)",
            chain(report=group("report", *order)),
        )
        assert not found.got.startswith("more than")


def test_all_attestations_of_a_step_can_be_looked_at() -> None:
    """`attestations` holds what a step's constraint sees of each, with its time as text."""
    members = [report(0.95, who="alice", hours=2), report(0.5, who="bob", hours=6)]
    evidence = chain(report=group("report", *members))
    best = (
        "steps.report.attestations.exists(a, a.predicate.accuracy > 0.9 && a.signer.functionary == 'alice')"
    )
    assert across(best, evidence) == []
    times = "steps.report.attestations.all(a, a.time <= '2026-11-22T10:00:00Z' && timestamp(a.time) > timestamp(0))"
    assert across(times, evidence) == []
    assert (
        across(
            "steps.report.attestations.size() == 2 && steps.report.principals == ['alice', 'bob']", evidence
        )
        == []
    )
    assert across("steps.report.attestations.all(a, a.predicate.accuracy > 0.9)", evidence)


def test_a_chain_sees_the_layout_and_a_target_without_a_name() -> None:
    """`layout` and `target` are there; a target that is only a digest has null for a name."""
    assert across("layout.name == 'credit-model' && layout.version == 3") == []
    assert across("target.name == null", target=Target(TARGET.sha256)) == []


def test_a_step_without_attestations_has_artifacts_only() -> None:
    """A sublayout's chain stands behind a step: its products can be read, its predicate cannot."""
    behind = Group(LAYOUT.step("data"), (), DATA, ("acme",))
    evidence = chain(data=behind)
    assert (
        across(
            "steps.data.products['data/a.csv'].sha256 != '' && steps.data.principals == ['acme']", evidence
        )
        == []
    )
    for expression in (
        "steps.data.predicate.x == 1",
        "steps.data.time > ''",
        "steps.data.attestations.size() == 0",
    ):
        assert [found.code for found in across(expression, evidence)] == [FindingCode.CONSTRAINT_ERROR]


def test_each_constraint_that_fails_is_a_finding() -> None:
    """Constraints of the layout are all checked, in their order."""
    rules = [Constraint("a", "layout.version > 5"), Constraint("b", "true"), Constraint("c", "target.x == 1")]
    found = check_chain(replace(LAYOUT, constraints=tuple(rules)), chain(), TARGET)
    assert [(one.code, one.message.split()[1]) for one in found] == [
        (FindingCode.CHAIN_CONSTRAINT, "a"),
        (FindingCode.CONSTRAINT_ERROR, "c"),
    ]


# One run --------------------------------------------------------------------------------------------------------


def same_run(evidence: Mapping[str, Group]) -> list[Finding]:
    return list(check_chain(replace(LAYOUT, same_run=(("data", "train"),)), evidence, TARGET))


def test_steps_of_one_run_have_a_run_in_common() -> None:
    """sameRun: some run id stands in the evidence of every step of the group; another run is a finding."""
    assert same_run(chain()) == []
    other = built("train", TRAINED, run="run-2")
    (found,) = same_run(chain(train=group("train", other)))
    assert (found.code, found.step, found.got) == (FindingCode.SAME_RUN, "data", "data: run-1; train: run-2")
    assert found.message == "steps data, train were not done in one run"
    both = group("train", other, built("train", TRAINED))
    assert same_run(chain(train=both)) == []


def test_the_common_run_reaches_each_threshold_alone() -> None:
    """Two people who signed for two runs did not both sign for the common one."""
    two = group("train", built("train", TRAINED), built("train", TRAINED, run="run-2", who="bob"))
    strict = replace(two, step=replace(LAYOUT.step("train"), threshold=2))
    (found,) = same_run(chain(train=strict))
    assert found.got == "data: run-1; train: no run"
    twice = group("train", built("train", TRAINED), built("train", TRAINED, lr=0.3))
    assert same_run(chain(train=replace(twice, step=strict.step)))


def test_evidence_without_a_run_is_of_no_run() -> None:
    """Two steps that both name no run were not done in one run."""
    silent = one(PROVENANCE, {"buildDefinition": {"buildType": "https://example.com/x"}}, TRAINED)
    made = replace(silent, link=DATA)
    (found,) = same_run(chain(train=group("train", silent), data=group("data", made)))
    assert found.got == "data: no run; train: no run"


# Data sets ------------------------------------------------------------------------------------------------------


def facts(
    *subject: ResourceDescriptor, who: str = "alice", licence: str = "CC0-1.0", consent: Any = "obtained"
) -> VerifiedStatement:
    said = dataset(source="https://example.com/d", licence=licence, consent=consent, personal_data="none")
    return verified(Statement.build(list(subject), DATASET, said), who, NOW)


A, B = descriptor("data/a.csv", "a"), descriptor("other/name.csv", "b")
FACTS = (facts(A), facts(B))


def owner(statement: VerifiedStatement) -> tuple[str, str] | None:
    return None if statement.identity.subject == "mallory" else (statement.identity.subject, "person")


def known(statements: Sequence[VerifiedStatement], manifests: Manifests | None = None) -> DatasetFacts:
    return DatasetFacts(
        statements, owner, lambda one: is_early(one, NOW), manifests or Manifests(lambda _: None)
    )


def datasets(
    statements: Sequence[VerifiedStatement],
    evidence: Mapping[str, Group] | None = None,
    layout: Layout = LAYOUT,
    manifest: Manifest | None = None,
) -> list[tuple[FindingCode, str]]:
    manifests = Manifests((manifest.nodes if manifest else {}).get)
    found = check_datasets(layout, evidence or chain(), known(statements, manifests))
    assert all(one.step == "data" for one in found)
    return [(one.code, one.artifact) for one in found]


def test_every_data_set_needs_good_facts() -> None:
    """Recipe: licence and consent over every data set; facts count for their content, under whatever name."""
    assert datasets(FACTS) == []
    assert datasets(FACTS[:1]) == [(FindingCode.NO_FACTS, "data/b.csv")]
    assert datasets(()) == [(FindingCode.NO_FACTS, "data/a.csv"), (FindingCode.NO_FACTS, "data/b.csv")]
    assert datasets((facts(A, B),)) == []


@pytest.mark.parametrize("bad", [{"licence": "LicenseRef-internal"}, {"consent": "unknown"}])
def test_one_bad_statement_of_facts_is_enough(bad: dict[str, Any]) -> None:
    """A23 for data: good facts hide no bad ones about the same data set, and other data sets have nothing of it."""
    assert datasets((*FACTS, facts(A, **bad))) == [(FindingCode.FACTS_REFUSED, "data/a.csv")]
    assert datasets((facts(A, **bad), FACTS[1])) == [(FindingCode.FACTS_REFUSED, "data/a.csv")]


def test_every_refused_fact_is_a_finding() -> None:
    """The finding names the constraint, the data set and what the facts say."""
    bad = facts(A, licence="GPL-3.0-only", consent="unknown")
    found = check_datasets(LAYOUT, chain(), known((bad, FACTS[1])))
    assert [(one.message, one.got) for one in found] == [
        (
            "data set constraint licence for data/a.csv does not hold",
            "is not true: dataset.licence is GPL-3.0-only",
        ),
        (
            "data set constraint consent for data/a.csv does not hold",
            "is not true: dataset.consent is unknown",
        ),
    ]


def test_only_the_named_functionaries_state_facts() -> None:
    """Facts by a stranger or by another functionary are as good as none: they neither help nor harm."""
    for who in ("mallory", "bob"):
        assert datasets((facts(A, who=who), FACTS[1])) == [(FindingCode.NO_FACTS, "data/a.csv")]
        assert datasets((*FACTS, facts(A, who=who, licence="GPL-3.0-only"))) == []


def test_statements_of_another_type_are_no_facts() -> None:
    """The same fields under another predicate type say nothing about a data set."""
    other = Statement.build([A], METRICS, dict(FACTS[0].statement.predicate))
    assert datasets((verified(other, "alice", NOW), FACTS[1])) == [(FindingCode.NO_FACTS, "data/a.csv")]


def test_malformed_facts_are_refused() -> None:
    """Facts without the field that a constraint reads cannot be evaluated, and fail."""
    bare = verified(Statement.build([A], DATASET, {"licence": "CC0-1.0"}), "alice", NOW)
    assert datasets((bare, FACTS[1])) == [(FindingCode.CONSTRAINT_ERROR, "data/a.csv")]


def test_facts_about_a_directory_speak_for_what_is_in_it() -> None:
    """Facts about a directory hold for the files in its manifest, not without the manifest, and never the other way."""
    whole = directory(a__csv="a", b__csv="b")
    about = facts(descriptor("data", whole))
    assert datasets((about,), manifest=whole) == []
    assert datasets((about,)) == [(FindingCode.NO_FACTS, "data/a.csv"), (FindingCode.NO_FACTS, "data/b.csv")]
    assert datasets((facts(descriptor("data", whole), licence="x"),), manifest=whole) == [
        (FindingCode.FACTS_REFUSED, "data/a.csv"),
        (FindingCode.FACTS_REFUSED, "data/b.csv"),
    ]
    made = chain(data=group("data", built("data", link({}, {"data/dir": whole}), who="carol")))
    assert datasets(FACTS, made, manifest=whole) == [(FindingCode.NO_FACTS, "data/dir")]
    assert datasets((about,), made) == []


def test_facts_about_a_part_speak_against_the_whole_and_not_for_it() -> None:
    """A23 for data: a file without consent spoils the directory it lies in, however deep; a good file does not vouch."""
    whole = directory(a__csv="a", deep__b__csv="b")
    made = chain(data=group("data", built("data", link({}, {"data/dir": whole}), who="carol")))
    good = facts(descriptor("data/dir", whole))
    bad = facts(descriptor("somewhere/b.csv", "b"), consent="unknown")
    assert datasets((good, FACTS[0]), made, manifest=whole) == []
    assert datasets((good, bad), made, manifest=whole) == [(FindingCode.FACTS_REFUSED, "data/dir")]
    assert datasets(FACTS, made, manifest=whole) == [(FindingCode.NO_FACTS, "data/dir")]


def test_directories_in_directories_are_opened() -> None:
    """Facts about the top speak for a directory below it, and for the files in that, each node read once."""
    files = [
        FileEntry(f"{folder}/a.csv", False, 1, sha256_hex(b"a")) for folder in ("one", "two", "one/deep")
    ]
    top = build_manifest(files)
    manifests = Manifests(top.nodes.get)
    below = manifests.entries(Artifact(DigestSet({"sha256": top.digest}), True))
    inner = Manifest(below["two"].digest["sha256"], 1, 1, top.nodes)
    made = chain(
        data=group("data", built("data", link({}, {"data/two": inner, "data/a.csv": "a"}), who="carol"))
    )
    assert datasets((facts(descriptor("top", top)),), made, manifest=top) == []
    other = facts(descriptor("two", inner))
    assert datasets((other,), made, manifest=top) == []


def test_a_file_is_no_directory() -> None:
    """Facts about a file with a directory's digest are not about the directory."""
    whole = directory(a__csv="a")
    made = chain(data=group("data", built("data", link({}, {"data/dir": whole}), who="carol")))
    file = ResourceDescriptor("data/dir", DigestSet({"sha256": whole.digest}))
    assert datasets((facts(file),), made) == [(FindingCode.NO_FACTS, "data/dir")]


def test_patterns_that_select_nothing_are_a_finding() -> None:
    """A typing error in a pattern does not empty the list of data sets."""
    layout = parse_layout(
        TEXT.replace('[{step: data, products: ["data/*"]}]', '[{step: data, products: ["dta/*"]}]').encode()
    )
    assert datasets(FACTS, layout=layout) == [(FindingCode.NO_FACTS, "")]


def test_facts_see_the_artifact_signer_and_time() -> None:
    """`artifact`, `signer` and `time` are there for a data set constraint."""
    text = TEXT.replace(
        "dataset.licence in ['CC-BY-4.0', 'CC0-1.0']",
        "artifact.name.startsWith('data/') && artifact.sha256 != '' && signer.functionary == 'alice'"
        " && signer.principal == 'person' && time == timestamp('2026-11-22T12:00:00Z')",
    )
    assert datasets(FACTS, layout=parse_layout(text.encode())) == []


def test_a_layout_without_data_sets_asks_for_none() -> None:
    """`datasets` is optional."""
    assert datasets((), layout=replace(LAYOUT, datasets=None)) == []


def test_facts_about_a_part_and_something_else_speak_against_the_whole_too() -> None:
    """One subject inside the directory is enough, whatever else the statement is about."""
    whole = directory(a__csv="a", b__csv="b")
    made = chain(data=group("data", built("data", link({}, {"data/dir": whole}), who="carol")))
    good = facts(descriptor("data/dir", whole))
    bad = facts(descriptor("elsewhere.csv", "other"), descriptor("b.csv", "b"), consent="unknown")
    assert datasets((good, bad), made, manifest=whole) == [(FindingCode.FACTS_REFUSED, "data/dir")]


def test_two_directories_are_opened_apart() -> None:
    """Facts about one directory hold for nothing that lies in another one."""
    one, two = directory(a__csv="a"), directory(b__csv="b")
    nodes = Manifest(one.digest, 1, 1, {**one.nodes, **two.nodes})
    about = facts(descriptor("data", one)), facts(descriptor("more", two))
    assert datasets(about[:1], manifest=nodes) == [(FindingCode.NO_FACTS, "data/b.csv")]
    assert datasets(about, manifest=nodes) == []


def test_what_a_constraint_cannot_tell_apart_ends_where_a_field_is_missing() -> None:
    """A field of the same name further up is another field."""
    assert module._at({"b": 1}, ("a", "b")) == (0, {"b": 1})
    assert module._at({"a": {"b": None}}, ("a", "b")) == (2, None)


def test_facts_about_a_directory_hold_for_a_version_1_directory_in_it() -> None:
    """A directory of version 1 is found by its version 2 digest too, where that is known."""
    old = Artifact(DigestSet({"sha256": "1" * 64}), True, 1, lambda _: Sha256("2" * 64))
    unknown = Artifact(DigestSet({"sha256": "1" * 64}), True, 1, lambda _: None)
    assert list(_keys(old)) == [(1, "1" * 64), (2, "2" * 64)]
    assert list(_keys(unknown)) == [(1, "1" * 64)]
    assert list(_keys(Artifact(DigestSet({"sha256": "3" * 64})))) == [(0, "3" * 64)]
    assert list(_keys(Artifact(DigestSet({"sha512": "4" * 128})))) == []

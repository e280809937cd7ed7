"""Decisions: the honest chain passes, and each attack is refused with the step and the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitchain.errors import ExitCode, LimitError, UsageError
from gitchain.evidence.digest import DigestSet, Sha256, sha256_hex
from gitchain.evidence.predicates import SVR
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.verify import search as search_module
from gitchain.verify.decide import Decision, Target
from gitchain.verify.verified import VerifiedStatement
from tests.support.decision_input import (
    NOW,
    PREPARED,
    DecisionInput,
    codes,
    descriptor,
    directory,
    model,
    run,
    statement,
    verified,
)
from tests.support.fuzzing import sized


def test_an_honest_chain_passes_and_says_why() -> None:
    """PASSED names every step with its people, strength, attestations and times, in the layout's order."""
    decision = DecisionInput.honest().verdict()
    assert (decision.result, decision.exit_code, decision.findings) == ("PASSED", ExitCode.OK, ())
    assert [(step.name, step.functionaries, step.evidence) for step in decision.steps] == [
        ("data", ("carol",), "declared"),
        ("prepare", ("alice",), "observed"),
        ("train", ("alice",), "observed"),
        ("evaluate", ("alice",), "observed"),
        ("approve", ("bob",), "observed"),
    ]
    train = run()["train"]
    assert [(one.id, one.run, one.time) for one in decision.steps[2].attestations] == [
        (train.attestation_id, "run-1", train.time)
    ]


def test_the_json_document_holds_the_whole_decision() -> None:
    """`verify --json` is plain JSON with the fields that design and schema promise, on success and failure."""
    passed = json.loads(json.dumps(DecisionInput.honest().verdict().to_json({"name": "local", "age": 3})))
    assert passed["verificationResult"] == "PASSED"
    assert passed["layout"]["signer"]["subject"] == "owner"
    assert passed["steps"][2]["attestations"][0]["log"] == {"origin": "log.example", "index": 0}
    failed = json.loads(json.dumps(DecisionInput().verdict().to_json()))
    assert (failed["verificationResult"], failed["steps"]) == ("FAILED", [])
    assert set(failed["findings"][0]) == {
        "code",
        "severity",
        "step",
        "artifact",
        "expected",
        "got",
        "message",
        "help",
    }


# Attacks: what is changed in the honest world, and the errors that must come out -------------------------------


def replaced(step: str, **changed: object) -> Callable[[DecisionInput], object]:
    def attack(world: DecisionInput) -> None:
        arguments: dict[str, object] = {
            "prepare": {"materials": {"data/raw.csv": "raw"}, "products": {"data/prepared": PREPARED}},
            "train": {
                "materials": {"data/prepared/train.csv": "train"},
                "products": {"models/model.pkl": "model 1"},
            },
            "evaluate": {
                "materials": {"models/model.pkl": "model 1"},
                "products": {"metrics.json": "metrics 1"},
            },
            "approve": {"materials": {"metrics.json": "metrics 1"}, "who": "bob"},
        }[step]  # type: ignore[assignment]
        world.evidence[step] = statement(step, **{**arguments, **changed})  # type: ignore[arg-type]

    return attack


def dropped(step: str) -> Callable[[DecisionInput], object]:
    return lambda world: world.evidence.pop(step)


ATTACKS: dict[str, tuple[Callable[[DecisionInput], object], list[tuple[str, str, str]]]] = {
    "data swapped between prepare and train": (
        replaced("train", materials={"data/prepared/train.csv": "poison"}),
        [("MISMATCH", "train", "data/prepared/train.csv")],
    ),
    "raw data swapped": (
        replaced("prepare", materials={"data/raw.csv": "poison"}),
        [("MISMATCH", "prepare", "data/raw.csv")],
    ),
    "extra training data": (
        replaced("train", materials={"data/prepared/train.csv": "train", "data/extra.csv": "poison"}),
        [("NOT_ALLOWED", "train", "data/extra.csv")],
    ),
    "file that prepare never made": (
        replaced("train", materials={"data/prepared/train.csv": "train", "data/prepared/more.csv": "poison"}),
        [("NOT_ALLOWED", "train", "data/prepared/more.csv")],
    ),
    "no training data named": (
        replaced("train", materials={}),
        [("REQUIRED", "train", "data/prepared/train.csv")],
    ),
    "metrics edited before approval": (
        replaced("approve", materials={"metrics.json": "metrics 9"}),
        [("MISMATCH", "approve", "metrics.json")],
    ),
    "evaluation of another model": (
        replaced("evaluate", materials={"models/model.pkl": "model 9"}),
        [("MISMATCH", "evaluate", "models/model.pkl")],
    ),
    "extra product": (
        replaced("train", products={"models/model.pkl": "model 1", "backdoor.pkl": "x"}),
        [("NOT_ALLOWED", "train", "backdoor.pkl")],
    ),
    "stranger trains": (replaced("train", who="mallory"), [("UNAUTHORISED", "train", "")]),
    "stranger evaluates": (replaced("evaluate", who="mallory"), [("UNAUTHORISED", "evaluate", "")]),
    "functionary of another step": (replaced("approve", who="alice"), [("UNAUTHORISED", "approve", "")]),
    "declared instead of observed": (replaced("train", evidence="declared"), [("TOO_WEAK", "train", "")]),
    "evaluation deleted": (dropped("evaluate"), [("STEP_MISSING", "evaluate", "")]),
    "training deleted": (dropped("train"), [("STEP_MISSING", "train", "")]),
    "training of another model only": (
        replaced("train", products={"models/other.pkl": "x"}),
        [("UNACCEPTED", "train", "models/model.pkl")],
    ),
    "approval deleted": (dropped("approve"), [("STEP_MISSING", "approve", "")]),
    "data step deleted": (dropped("data"), [("STEP_MISSING", "data", "")]),
    "approval too old": (replaced("approve", at=NOW - timedelta(days=31)), [("STALE", "approve", "")]),
    "approval from the future": (replaced("approve", at=NOW + timedelta(minutes=6)), [("FUTURE", "approve", "")]),
    "evidence for another layout": (replaced("train", layout="other"), [("OTHER_LAYOUT", "train", "")]),
    "report instead of provenance": (replaced("train", products=None), [("PREDICATE_TYPE", "train", "")]),
    "manifest withheld": (lambda world: world.nodes.clear(), [("MANIFEST", "train", "data/prepared/train.csv"), ("MANIFEST", "evaluate", "data/prepared/test.csv")]),
}  # fmt: skip


@pytest.mark.parametrize(("attack", "expected"), ATTACKS.values(), ids=ATTACKS)
def test_attacks_are_refused_with_step_and_file(
    attack: Callable[[DecisionInput], object], expected: list[tuple[str, str, str]]
) -> None:
    """Each attack on the honest chain fails with exactly these findings: nothing missing, no noise."""
    world = DecisionInput.honest()
    attack(world)
    decision = world.verdict()
    assert (decision.result, decision.exit_code) == ("FAILED", ExitCode.FAILED)
    assert sorted(codes(decision)) == sorted(expected)


def test_two_attacks_at_once_are_both_reported() -> None:
    """All findings come out, not the first."""
    world = DecisionInput.honest()
    ATTACKS["raw data swapped"][0](world)
    ATTACKS["metrics edited before approval"][0](world)
    world.evidence.pop("data")
    assert {("STEP_MISSING", "data", ""), ("MISMATCH", "approve", "metrics.json")} <= set(
        codes(world.verdict())
    )


# The target ---------------------------------------------------------------------------------------------------


def test_changed_weights_are_named_with_both_digests() -> None:
    """One changed byte of the model: the finding says what was attested, by which step and whom, and what was got."""
    decision = DecisionInput.honest().verdict(model("model 1 with a flipped bit"))
    assert codes(decision) == [("OTHER_CONTENT", "train", "models/model.pkl")]
    finding = decision.findings[0]
    assert finding.expected == f"sha256:{sha256_hex(b'model 1')}"
    assert finding.got == f"sha256:{sha256_hex(b'model 1 with a flipped bit')}"
    assert "alice" in finding.message
    assert decision.exit_code is ExitCode.FAILED


@pytest.mark.parametrize("evidence", [{}, run()])
def test_an_unknown_target_is_nothing_to_verify(evidence: dict[str, VerifiedStatement]) -> None:
    """No evidence at all for a target is exit code 3, never 0 and never 1."""
    decision = DecisionInput(dict(evidence)).verdict(model("something", "models/other.pkl"))
    assert codes(decision) == [("NO_EVIDENCE", "", "models/other.pkl")]
    assert decision.exit_code is ExitCode.NOTHING


def test_a_model_under_another_name_is_refused() -> None:
    """With a name, evidence for another name does not count: two served models cannot be exchanged."""
    assert codes(DecisionInput.honest().verdict(model(name="models/b.pkl"))) == [
        ("OTHER_NAME", "train", "models/b.pkl")
    ]
    assert DecisionInput.honest().verdict(model(name=None)).passed


def test_a_product_that_is_not_served_is_refused() -> None:
    """Only the products that `serve` names may be served, whoever made them and however well."""
    decision = DecisionInput.honest().verdict(model("metrics 1", "metrics.json"))
    assert codes(decision) == [("NOT_SERVED", "evaluate", "metrics.json")]


def test_a_served_steps_other_products_are_refused() -> None:
    """The pattern decides, not the step alone."""
    world = DecisionInput.honest().change(
        lambda text: text.replace(
            'serve: [{step: train, products: ["models/*"]}]',
            'serve: [{step: train, products: ["models/*.pkl"]}]',
        )
    )
    replaced("train", products={"models/model.pkl": "model 1", "models/notes.txt": "notes"})(world)
    assert world.verdict().passed
    assert codes(world.verdict(model("notes", "models/notes.txt"))) == [
        ("NOT_SERVED", "train", "models/notes.txt")
    ]


def test_a_pattern_serves_its_own_step_alone() -> None:
    """A name that one step may serve is not served when another served step made it."""
    serve = 'serve: [{step: train, products: ["models/*"]}, {step: evaluate, products: [metrics.json]}]'
    world = DecisionInput.honest().change(
        lambda text: text.replace('serve: [{step: train, products: ["models/*"]}]', serve).replace(
            "[CREATE, metrics.json]", '[ALLOW, "*"]'
        )
    )
    replaced("evaluate", products={"metrics.json": "metrics 1", "models/evil.pkl": "evil"})(world)
    assert world.verdict().passed
    assert codes(world.verdict(model("evil", "models/evil.pkl"))) == [
        ("NOT_SERVED", "evaluate", "models/evil.pkl")
    ]


def test_a_file_is_not_a_directory() -> None:
    """The digest of a directory's manifest does not vouch for a file with those bytes."""
    assert (
        not DecisionInput.honest()
        .verdict(Target(sha256_hex(b"model 1"), "models/model.pkl", directory=True))
        .passed
    )
    assert DecisionInput.honest().verdict(Target(sha256_hex(b"model 1"), None, directory=None)).passed


def test_a_file_in_a_served_directory_is_found_through_its_manifest() -> None:
    """A model that is a directory: the whole passes, and so does one file of it, but not another content."""
    weights = directory(a="weights", b="tokenizer")
    world = DecisionInput.honest().change(
        lambda text: text.replace("models/model.pkl", "models/m").replace(
            '[MATCH, "models/*"', "[MATCH, models/m"
        )
    )
    world.nodes |= weights.nodes
    replaced("train", products={"models/m": weights})(world)
    replaced("evaluate", materials={"models/m": weights})(world)
    assert world.verdict(Target(weights.digest, "models/m", directory=True)).passed
    assert world.verdict(model("weights", "models/m/a")).passed
    assert codes(world.verdict(model("evil", "models/m/a"))) == [("OTHER_CONTENT", "train", "models/m/a")]


def test_a_target_is_a_sha256() -> None:
    """Anything else is a usage error before evidence is looked at."""
    for digest in ("", "A" * 64, "0" * 63, "0" * 40):
        with pytest.raises(UsageError):
            Target(Sha256(digest))


def test_md5_is_never_matched() -> None:
    """A target whose evidence shares only its md5 is unknown content; two contents of one md5 raise an alarm."""
    world = DecisionInput.honest()
    for number, content in enumerate(("model 1", "collision")):
        raw = ResourceDescriptor(
            "models/x.pkl",
            DigestSet({"sha256": sha256_hex(content.encode())}),
            annotations={"dvc.md5": "0" * 32},
        )
        base = run()["train"].statement
        built = Statement.build([raw], base.predicate_type, base.predicate)
        world.evidence[f"x{number}"] = verified(built, "alice", NOW)
    decision = world.verdict()
    assert decision.passed
    assert [finding.code.name for finding in decision.findings] == ["SAME_MD5"]


# Functionaries and thresholds ----------------------------------------------------------------------------------


def two_trainers(text: str) -> str:
    return text.replace(
        "functionaries: [alice, bob]\n", "functionaries: [alice, bob, carol]\n    threshold: 2\n"
    )


def test_a_stranger_is_named_with_those_who_are_allowed() -> None:
    """The finding says who signed and who may."""
    world = DecisionInput.honest()
    replaced("train", who="mallory")(world)
    finding = world.verdict().findings[0]
    assert "mallory" in finding.got
    assert "alice" in finding.expected
    assert "bob" in finding.expected


def test_the_same_subject_of_another_issuer_is_a_stranger() -> None:
    """An identity is issuer and subject together."""
    world = DecisionInput.honest()
    honest = world.evidence["train"]
    other = type(honest.identity)("https://evil.example", "alice")
    world.evidence["train"] = VerifiedStatement(
        honest.statement, other, honest.time, honest.log, honest.attestation_id, b""
    )
    assert codes(world.verdict()) == [("UNAUTHORISED", "train", "")]


def test_a_threshold_needs_that_many_people() -> None:
    """One of two is short; two different people who agree are enough."""
    world = DecisionInput.honest().change(two_trainers)
    assert codes(world.verdict()) == [("THRESHOLD", "train", "")]
    world.evidence["second"] = statement(
        "train", {"data/prepared/train.csv": "train"}, {"models/model.pkl": "model 1"}, who="bob"
    )
    assert world.verdict().passed
    assert world.verdict().steps[2].functionaries == ("alice", "bob")


@pytest.mark.parametrize("who", ["alice", "alice2"])
def test_one_person_counts_once(who: str) -> None:
    """The same identity again, or a second identity of the same person, does not raise the count."""
    world = DecisionInput.honest().change(two_trainers)
    world.evidence["second"] = statement(
        "train", {"data/prepared/train.csv": "train"}, {"models/model.pkl": "model 1"}, who=who, run="again"
    )
    assert codes(world.verdict()) == [("THRESHOLD", "train", "")]


def test_people_must_agree_on_what_they_sign() -> None:
    """Two people who signed for different materials are no two signatures for one thing."""
    world = DecisionInput.honest().change(two_trainers)
    world.evidence["second"] = statement(
        "train",
        {"data/prepared/train.csv": "train", "src/x": "y"},
        {"models/model.pkl": "model 1"},
        who="bob",
    )
    assert codes(world.verdict()) == [("DISAGREE", "train", "")]


def test_a_file_and_a_directory_of_one_digest_are_no_agreement() -> None:
    """Two people who name the same hex digits as different kinds did not sign for the same thing."""
    world = DecisionInput.honest().change(two_trainers)
    extra = directory(a="x")
    world.nodes |= extra.nodes
    for who, kind in (("alice", None), ("bob", "application/vnd.gitchain.manifest.v1+json")):
        made = ResourceDescriptor("models/x", DigestSet({"sha256": extra.digest}), media_type=kind)
        base = run()["train"].statement
        world.evidence[who] = verified(
            Statement.build([*base.subject, made], base.predicate_type, base.predicate), who, NOW
        )
    del world.evidence["train"]
    assert codes(world.verdict()) == [("DISAGREE", "train", "")]


def test_observed_satisfies_declared() -> None:
    """Observed is the stronger kind: it passes where declared is asked for."""
    world = DecisionInput.honest()
    world.evidence["data"] = statement("data", {}, {"data/raw.csv": "raw"}, who="carol", evidence="observed")
    assert world.verdict().passed


def test_a_claim_that_cannot_be_read_does_not_count_and_does_not_break() -> None:
    """Malformed step facts in a signed statement are no evidence, and no exception."""
    world = DecisionInput.honest()
    broken = Statement.build([descriptor("metrics.json", "metrics 1")], SVR, {"gitchain_step": {"name": 7}})
    world.evidence["approve"] = verified(broken, "bob", NOW)
    assert codes(world.verdict()) == [("STEP_MISSING", "approve", "")]


def test_a_step_is_what_the_payload_says() -> None:
    """Evidence of one step cannot be shown as another's: the name is in the signed payload."""
    world = DecisionInput.honest()
    world.evidence["evaluate"] = statement(
        "train", {"models/model.pkl": "model 1"}, {"metrics.json": "metrics 1"}
    )
    assert ("STEP_MISSING", "evaluate", "") in codes(world.verdict())


# Runs -----------------------------------------------------------------------------------------------------------


def two_runs() -> DecisionInput:
    return DecisionInput({f"{step}{name}": one for name in "12" for step, one in run(name).items()})


@pytest.mark.parametrize("name", ["1", "2"])
def test_two_runs_in_one_store_both_verify(name: str) -> None:
    """Each run's model finds its own evaluation and approval."""
    decision = two_runs().verdict(model(f"model {name}"))
    assert decision.passed
    assert decision.steps[3].attestations[0].run == f"run-{name}"


@pytest.mark.parametrize("step", ["evaluate", "approve"])
def test_evidence_of_another_run_does_not_fill_a_gap(step: str) -> None:
    """With one run's step deleted, the other run's step is refused as another run's."""
    world = two_runs()
    del world.evidence[f"{step}2"]
    decision = world.verdict(model("model 2"))
    artifact = {"evaluate": "models/model.pkl", "approve": "metrics.json"}[step]
    assert ("OTHER_RUN", step, artifact) in codes(decision)
    assert world.verdict(model("model 1")).passed


def test_a_stranger_is_named_beside_another_run() -> None:
    """Where a stranger evaluated this model and a functionary another one, both are told."""
    world = two_runs()
    world.evidence["evaluate2"] = statement(
        "evaluate", {"models/model.pkl": "model 2"}, {"metrics.json": "metrics 2"}, who="mallory"
    )
    found = codes(world.verdict(model("model 2")))
    assert ("OTHER_RUN", "evaluate", "models/model.pkl") in found
    assert ("UNAUTHORISED", "evaluate", "") in found


def test_a_step_tied_to_nothing_is_a_replay() -> None:
    """Evidence that no artifact connects with the chain does not count, even if its own rules pass."""
    world = DecisionInput.honest().change(
        lambda text: text.replace('[DISALLOW, "*"]]\nserve', '[ALLOW, "*"]]\nserve').replace(
            "[REQUIRE, metrics.json], [MATCH, metrics.json, WITH, PRODUCTS, FROM, evaluate]", "[ALLOW, src]"
        )
    )
    assert codes(world.verdict()) == [("UNLINKED", "approve", "")]


def test_rules_that_match_nothing_do_not_pass_vacuously() -> None:
    """A step whose MATCH rules found nothing took nothing from the chain: empty materials do not pass."""
    world = DecisionInput.honest().change(
        lambda text: text.replace("[REQUIRE, data/prepared/train.csv], ", "")
    )
    replaced("train", materials={"src/x": "y"})(world)
    assert codes(world.verdict()) == [("NOTHING_MATCHED", "train", "")]


def test_the_search_backtracks_over_choices_that_do_not_fit() -> None:
    """Many evaluations of the right model, of which one fits the approval: it is found."""
    world = DecisionInput.honest()
    for number in range(20):
        world.evidence[f"e{number}"] = statement(
            "evaluate", {"models/model.pkl": "model 1"}, {"metrics.json": f"other {number}"}, at=NOW
        )
        world.evidence[f"p{number}"] = statement(
            "prepare", {"data/raw.csv": "raw", f"src/{number}": "x"}, {"data/prepared": PREPARED}
        )
    assert world.verdict().passed
    del world.evidence["approve"]
    assert codes(world.verdict()) == [("STEP_MISSING", "approve", "")]


def test_what_no_choice_can_save_is_found_without_trying_all() -> None:
    """Forty choices for each of three steps, and an approval that its own rules refuse: a finding, not a limit."""
    world = DecisionInput.honest()
    replaced("approve", materials={"metrics.json": "metrics 1", "extra": "x"})(world)
    for number in range(40):
        source = {f"src/{number}": "x"}
        world.evidence[f"p{number}"] = statement(
            "prepare", {"data/raw.csv": "raw", **source}, {"data/prepared": PREPARED}
        )
        world.evidence[f"t{number}"] = statement(
            "train", {"data/prepared/train.csv": "train", **source}, {"models/model.pkl": "model 1"}
        )
        world.evidence[f"e{number}"] = statement(
            "evaluate", {"models/model.pkl": "model 1", **source}, {"metrics.json": "metrics 1"}
        )
    assert codes(world.verdict()) == [("NOT_ALLOWED", "approve", "extra")]


def test_a_match_in_another_run_does_not_make_rules_less_vacuous() -> None:
    """Materials that only some other preparation explains tie nothing in this chain."""
    world = DecisionInput.honest().change(
        lambda text: text.replace("[REQUIRE, data/prepared/train.csv], ", "").replace(
            '[ALLOW, "src/*"], [DISALLOW, "*"]]\n    expectedProducts: [[REQUIRE, models',
            '[ALLOW, "*"], [DISALLOW, "*"]]\n    expectedProducts: [[REQUIRE, models',
        )
    )
    other = directory(train__csv="other", test__csv="elsewhere")
    world.nodes |= other.nodes
    replaced("train", materials={"data/prepared/train.csv": "other"})(world)
    world.evidence["other"] = statement("prepare", {"data/raw.csv": "raw"}, {"data/prepared": other})
    assert not world.verdict().passed


def test_a_step_is_found_through_whichever_source_it_has() -> None:
    """A check that may take the model or the prepared data, and took the data alone: it is tied by that."""
    check = """
  - name: zcheck
    functionaries: [alice]
    expectedMaterials: [[MATCH, "models/*", WITH, PRODUCTS, FROM, train], [MATCH, "data/prepared/*", WITH, PRODUCTS, FROM, prepare], [DISALLOW, "*"]]
serve:"""
    world = DecisionInput.honest().change(lambda text: text.replace("\nserve:", check))
    world.evidence["zcheck"] = statement("zcheck", {"data/prepared/test.csv": "test"}, {"report": "fine"})
    assert world.verdict().passed


def test_a_source_of_another_run_does_not_stand_in() -> None:
    """A step that only another run's evaluation used ties nothing here, although no rule refuses anything."""
    extra = """
  - name: extra
    functionaries: [carol]
    expectedProducts: [[CREATE, extra.csv], [DISALLOW, "*"]]
  - name: evaluate"""
    match = "[MATCH, extra.csv, WITH, PRODUCTS, FROM, extra], [ALLOW, extra.csv]"
    world = two_runs().change(
        lambda text: text.replace("\n  - name: evaluate", extra).replace(
            'FROM, train], [MATCH, "data/prepared/*", WITH, PRODUCTS, FROM, prepare]',
            f'FROM, train], [MATCH, "data/prepared/*", WITH, PRODUCTS, FROM, prepare], {match}',
        )
    )
    for name in "12":
        materials = {
            "models/model.pkl": f"model {name}",
            "data/prepared/test.csv": "test",
            "extra.csv": f"extra {name}",
        }
        world.evidence[f"evaluate{name}"] = statement(
            "evaluate", materials, {"metrics.json": f"metrics {name}"}
        )
    world.evidence["extra2"] = statement("extra", {}, {"extra.csv": "extra 2"}, who="carol")
    assert world.verdict(model("model 2")).passed
    assert codes(world.verdict(model("model 1"))) == [("UNLINKED", "extra", "")]


def test_a_contradiction_in_the_last_step_is_no_pass() -> None:
    """Two checks of the right metrics on another preparation's data: each possible alone, neither in this chain."""
    check = """
  - name: recheck
    functionaries: [alice]
    expectedMaterials: [[MATCH, metrics.json, WITH, PRODUCTS, FROM, evaluate], [MATCH, "data/prepared/*", WITH, PRODUCTS, FROM, prepare], [DISALLOW, "*"]]
serve:"""
    world = DecisionInput.honest().change(lambda text: text.replace("\nserve:", check))
    other = directory(train__csv="other", test__csv="elsewhere")
    world.nodes |= other.nodes
    world.evidence["other"] = statement("prepare", {"data/raw.csv": "raw"}, {"data/prepared": other})
    for number in range(2):
        materials = {"metrics.json": "metrics 1", "data/prepared/train.csv": "other"}
        world.evidence[f"recheck{number}"] = statement("recheck", materials, {"report": str(number)})
    assert codes(world.verdict()) == [("OTHER_RUN", "recheck", "data/prepared/train.csv")]


def test_too_many_combinations_are_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the answer is a limit error (exit code 8): never a pass."""
    monkeypatch.setattr(search_module, "MAX_CHECKS", 2)
    with pytest.raises(LimitError):
        DecisionInput.honest().verdict()


# Properties -------------------------------------------------------------------------------------------------------

POOL = [*run("1").values(), *run("2").values(), statement("evaluate", {"models/model.pkl": "model 1"}, {"metrics.json": "metrics 2"}),
        statement("train", {"data/prepared/train.csv": "train"}, {"models/model.pkl": "model 1"}, who="bob"),
        statement("train", {"data/prepared/train.csv": "poison"}, {"models/model.pkl": "model 1"}, who="bob"),
        statement("train", {"data/prepared/train.csv": "train"}, {"models/model.pkl": "model 1"}, who="mallory"),
        statement("approve", {"metrics.json": "metrics 1"}, who="carol", at=NOW - timedelta(days=40))]  # fmt: skip


def judged(chosen: list[VerifiedStatement]) -> Decision:
    return DecisionInput(dict(enumerate(chosen))).verdict()  # type: ignore[arg-type]


@settings(deadline=None, max_examples=sized(200, 5000))
@given(st.lists(st.sampled_from(POOL)), st.data())
def test_taking_evidence_away_never_helps(chosen: list[VerifiedStatement], data: st.DataObject) -> None:
    """Monotonic: what passes on some evidence passes on more, whatever else is added and in whatever order."""
    fewer = data.draw(st.lists(st.sampled_from(chosen))) if chosen else []
    if judged(fewer).passed:
        assert judged(chosen).passed
        assert judged(list(reversed(chosen))).passed


def test_monotonic_on_every_single_statement() -> None:
    """From everything down: once a removal fails it, no further removal passes it again."""
    everything = list(POOL)
    assert judged(everything).passed
    for index in range(len(everything)):
        left = everything[:index] + everything[index + 1 :]
        if not judged(left).passed:
            for other in range(len(left)):
                assert not judged(left[:other] + left[other + 1 :]).passed


@settings(deadline=None, max_examples=sized(100, 5000))
@given(st.lists(st.sampled_from(POOL), max_size=6))
def test_a_decision_always_has_a_reason(chosen: list[VerifiedStatement]) -> None:
    """FAILED names at least one error and PASSED none, and every exit code but 0 means not verified."""
    decision = judged(chosen)
    assert decision.passed == (decision.exit_code == ExitCode.OK)
    assert decision.passed or any(finding.severity == "error" for finding in decision.findings)


def test_no_evidence_never_passes() -> None:
    """Nothing in, nothing verified; and a decision that contradicts its reasons cannot be built."""
    decision = judged([])
    assert decision.exit_code is ExitCode.NOTHING
    with pytest.raises(ValueError, match="contradicts"):
        Decision("PASSED", decision.target, decision.signed, NOW, (), ())
    with pytest.raises(ValueError, match="contradicts"):
        Decision("FAILED", decision.target, decision.signed, NOW, (), ())


# Corners ------------------------------------------------------------------------------------------------------------


def test_a_digest_that_nobody_knows_is_nothing_to_verify() -> None:
    """Without a name every product of every step is looked at, and none is it."""
    assert DecisionInput.honest().verdict(Target(Sha256("0" * 64))).exit_code is ExitCode.NOTHING


def test_a_step_may_match_itself() -> None:
    """A step that keeps what it took: its own products are its source, and no edge to itself counts as a tie."""
    keeps = '[MATCH, "src/*", WITH, PRODUCTS, FROM, train], [ALLOW, "src/*"], [DISALLOW, "*"]]\n    expectedProducts: [[REQUIRE, models'
    world = DecisionInput.honest().change(
        lambda text: text.replace(
            '[ALLOW, "src/*"], [DISALLOW, "*"]]\n    expectedProducts: [[REQUIRE, models', keeps
        )
    )
    assert world.verdict().passed
    del world.evidence["prepare"]
    assert not world.verdict().passed


def test_a_file_that_contradicts_its_directory_is_a_finding() -> None:
    """A step that names a directory and one of its files with other content is told so."""
    world = DecisionInput.honest().change(
        lambda text: text.replace(
            "[REQUIRE, data/prepared], [CREATE, data/prepared]", '[CREATE, "data/prepared/*"]'
        )
    )
    world.evidence["prepare"] = statement(
        "prepare", {"data/raw.csv": "raw"}, {"data/prepared": PREPARED, "data/prepared/train.csv": "poison"}
    )
    found = codes(world.verdict())
    assert ("CONTRADICTION", "prepare", "data/prepared/train.csv") in found


@pytest.mark.parametrize(("seconds", "passes"), [(300, True), (301, False)])
def test_clocks_may_differ_by_minutes(seconds: int, *, passes: bool) -> None:
    """Evidence up to five minutes ahead of this machine's clock counts; a second more is the future."""
    world = DecisionInput.honest()
    replaced("approve", at=NOW + timedelta(seconds=seconds))(world)
    assert world.verdict().passed == passes


def test_a_search_is_counted_in_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The honest chain of five steps takes five checks of rules and one of demands; with one less, no verdict."""
    monkeypatch.setattr(search_module, "MAX_CHECKS", 6)
    assert DecisionInput.honest().verdict().passed
    monkeypatch.setattr(search_module, "MAX_CHECKS", 5)
    with pytest.raises(LimitError):
        DecisionInput.honest().verdict()


def test_of_two_whole_chains_the_newest_is_reported() -> None:
    """Two trainings made these bytes, and either chain passes: the newer one is what the report tells of, in any order."""
    for ages in ((1, 2), (2, 1)):
        world = DecisionInput.honest()
        for name, age in zip(("train", "again"), ages, strict=True):
            materials = {"data/prepared/train.csv": "train", f"src/{name}.py": "code"}
            made = {"models/model.pkl": "model 1"}
            world.evidence[name] = statement("train", materials, made, at=NOW - timedelta(hours=age))
        newest = max((world.evidence[name] for name in ("train", "again")), key=lambda one: one.time)
        report = next(step for step in world.verdict().steps if step.name == "train")
        assert [one.id for one in report.attestations] == [newest.attestation_id]

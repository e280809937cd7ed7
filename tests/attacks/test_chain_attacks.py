"""Attacks on a chain with evidence that is validly signed, each part of it: steps, runs, rules, people, names.

Named after the attack catalogue; README.md has the table. Every attack starts from a world that passes.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from gitchain.errors import ExitCode, GitchainError, LayoutError, MalformedError
from gitchain.evidence.claim import StepFacts
from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.predicates import provenance, svr
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.layout import Identity, parse_layout
from gitchain.verify.verified import VerifiedStatement
from tests.support.decision_input import (
    LAYOUT,
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
from tests.support.removed_checks import GUARDS, goes_red, guarded, names

EQUALITY = ("gitchain.layout.artifact:Artifact.__eq__", " and self.digest.matches(other.digest)", "")
TWO = ("functionaries: [alice, bob]\n", "functionaries: [alice, bob, carol]\n    threshold: 2\n")


def honest() -> DecisionInput:
    """Return a world that passes: what fails afterwards fails by the attack."""
    world = DecisionInput.honest()
    assert world.verdict().passed
    return world


def refused(world: DecisionInput, code: str, step: str = "", *, by: ExitCode = ExitCode.FAILED) -> None:
    """The verdict is FAILED with this exit code, and this finding at this step is among its reasons."""
    decision = world.verdict()
    assert (decision.result, decision.exit_code) == ("FAILED", by)
    assert (code, step) in [(name, at) for name, at, _ in codes(decision)], codes(decision)


@guarded(
    (
        "gitchain.verify.verified:StepReader.claim",
        "claim_of(statement.statement)",
        "__import__('importlib').import_module('tests.support.removed_checks').by_content(claim_of(statement.statement))",
    ),
)
def test_a01_step_name_is_signed() -> None:
    """Evidence of training is stored where the evaluation's is expected: its signed payload says what it is."""
    world = honest()
    world.evidence["evaluate"] = statement(
        "train",
        {"models/model.pkl": "model 1", "data/prepared/test.csv": "test"},
        {"metrics.json": "metrics 1"},
    )
    refused(world, "STEP_MISSING", "evaluate")


@guarded(
    ("gitchain.verify.authorization:Authorizer.conditions", "claim.layout == name or", "True or"),
)
def test_a01_layout_name_is_signed() -> None:
    """Evidence that was made for one layout is no evidence for another."""
    world = honest()
    world.evidence["train"] = statement(
        "train", {"data/prepared/train.csv": "train"}, {"models/model.pkl": "model 1"}, layout="toy-model"
    )
    refused(world, "OTHER_LAYOUT", "train")


@guarded(
    ("gitchain.verify.authorization:Authorizer.conditions", "time >= oldest", "True"),
)
def test_a02_stale_link() -> None:
    """An approval of last year is played back: its proven time is older than the step's maxAge."""
    world = honest()
    world.evidence["approve"] = statement(
        "approve", {"metrics.json": "metrics 1"}, who="bob", at=NOW - timedelta(days=30, seconds=1)
    )
    refused(world, "STALE", "approve")


@guarded(EQUALITY)
def test_a03_cross_run_mix() -> None:
    """The data of one run and the evaluation of another, all honestly signed, same names: no chain."""
    world = honest()
    world.evidence = {
        "train2": run("2")["train"],
        **run("1"),
    }
    decision = world.verdict(model("model 2"))
    assert not decision.passed
    assert ("OTHER_RUN", "evaluate", "models/model.pkl") in codes(decision)


@guarded(
    ("gitchain.verify.search:ChainSearch.narrow", "if not all(kept.values())", "if False"),
    (
        "gitchain.verify.search:ChainSearch._search",
        "len(chain) == len(self.chains.layout.steps) and self._satisfies(chain)",
        "len(chain) == len([one for one in groups.values() if one])",
    ),
    ("gitchain.verify.report:Decision.__post_init__", "if errors == self.passed or", "if False and"),
    (
        "gitchain.verify.decide:_report",
        "for step in layout.steps)",
        "for step in layout.steps if step.name in chain)",
    ),
)
def test_a04_drop_each_attestation() -> None:
    """Each attestation in turn is deleted: absence never helps."""
    for step in run():
        world = honest()
        del world.evidence[step]
        assert not world.verdict().passed, step
    assert DecisionInput({}).verdict().exit_code is ExitCode.NOTHING


@guarded(EQUALITY)
def test_a05_tampered_input_refused() -> None:
    """What training consumed is not what preparation made: refused at the edge, with the file's name."""
    world = honest()
    world.evidence["train"] = statement(
        "train", {"data/prepared/train.csv": "poison"}, {"models/model.pkl": "model 1"}
    )
    decision = world.verdict()
    assert codes(decision) == [("MISMATCH", "train", "data/prepared/train.csv")]


def as_signed_by(who: Identity, step: str = "train") -> DecisionInput:
    world = honest()
    one = world.evidence[step]
    world.evidence[step] = VerifiedStatement(one.statement, who, one.time, one.log, one.attestation_id, b"")
    return world


@guarded(
    ("gitchain.verify.authorization:Authorizer.signed", "UNAUTHORISED, may,", "UNAUTHORISED, True,"),
    ("gitchain.verify.authorization:Signers.person", "raise KeyError(identity)", "return str(identity)"),
)
def test_a06_same_san_two_issuers() -> None:
    """The same name at another issuer is somebody else."""
    honest_one = DecisionInput.honest().evidence["train"].identity
    refused(as_signed_by(Identity("https://evil.example", honest_one.subject)), "UNAUTHORISED", "train")
    refused(as_signed_by(Identity(honest_one.issuer + "/", honest_one.subject)), "UNAUTHORISED", "train")


@guarded(
    ("gitchain.verify.authorization:Authorizer.signed", "UNAUTHORISED, may,", "UNAUTHORISED, True,"),
    ("gitchain.verify.authorization:Signers.person", "raise KeyError(identity)", "return str(identity)"),
)
def test_a06_identity_regex_anchored() -> None:
    """A name that only contains, precedes or continues an allowed one is somebody else; so is another case."""
    issuer = DecisionInput.honest().evidence["train"].identity.issuer
    for subject in (
        "alice.evil.example",
        "notalice",
        "xalicex",
        "Alice",
        "alice@",
        "a.*",
        "*",
        ".*",
        "alic?",
        "@alice",
    ):
        refused(as_signed_by(Identity(issuer, subject)), "UNAUTHORISED", "train")


@guarded(
    ("gitchain.verify.authorization:Authorizer.conditions", "kind == wanted", "True"),
)
def test_a07_wrong_predicate_type_only() -> None:
    """A valid attestation of another type about the same subject is not the one that was asked for."""
    world = honest()
    facts = StepFacts("approve", "run-1", "observed", "credit-model")
    other = svr(
        verifier="https://people.example/x", created="2026-11-22T10:00:00Z", properties=["OK"], step=facts
    )
    signed = Statement.build(
        [descriptor("metrics.json", "metrics 1")], "https://in-toto.io/attestation/test-result/v0.1", other
    )
    world.evidence["approve"] = verified(signed, "bob", NOW)
    refused(world, "PREDICATE_TYPE", "approve")


def test_a07_absence_is_not_success() -> None:
    """No evidence is exit code 3, evidence of the wrong kind 1, and only PASSED is 0."""
    assert DecisionInput({}).verdict().exit_code is ExitCode.NOTHING
    assert honest().verdict().exit_code is ExitCode.OK


@guarded(
    (
        "gitchain.verify.verified:artifacts_of",
        "for item in descriptors}",
        "for item in descriptors[:1]}",
    ),
)
def test_a10_every_subject_checked() -> None:
    """A second subject rides along with an honest one: every product has to be allowed, and every one counts."""
    world = honest()
    world.evidence["train"] = statement(
        "train",
        {"data/prepared/train.csv": "train"},
        {"models/model.pkl": "model 1", "zz-backdoor.pkl": "evil"},
    )
    assert ("NOT_ALLOWED", "train", "zz-backdoor.pkl") in codes(world.verdict())


NAMELESS = ("data//raw.csv", "./data/raw.csv", "data/../data/raw.csv", "data/./raw.csv", "/data/raw.csv", "data/raw.csv/",
            "data\\raw.csv", "data/raw.csv\x00", "data/ra\u0308w.csv", "..", "data/raw.csv\n", "data/\u202ecsv.war", "")  # fmt: skip


@guarded(("gitchain.evidence.names:check_names", "if folded in seen:", "if False:"))
def test_a11_duplicate_names() -> None:
    """Two artifacts of one name, or of names that one file system cannot tell apart, are no claim at all."""
    for names_ in (("a", "a"), ("Data/x", "data/x"), ("stra\u00dfe", "STRASSE")):
        subjects = [descriptor(name, str(number)) for number, name in enumerate(names_)]
        with pytest.raises(MalformedError):
            Statement.build(subjects, "https://slsa.dev/provenance/v1", provenance_of("train"))


def provenance_of(step: str) -> dict[str, Any]:
    return dict(provenance(step=StepFacts(step, "run-1", "observed", None), materials=[]))


@guarded(("gitchain.evidence.names:check_name", "    if not name:", "    return name\n    if not name:"))
def test_a13_path_normalisation() -> None:
    """A name that can be read in two ways never reaches a rule: as subject, material, step or layout name."""
    for name in NAMELESS:
        payload = Statement.build(
            [descriptor("PLACE", "x")], "https://slsa.dev/provenance/v1", provenance_of("train")
        ).payload
        with pytest.raises(MalformedError):
            Statement.parse(payload.replace(b'"PLACE"', json.dumps(name).encode()))
    for label in ("../train", "tr\nain", " train", ""):
        text = LAYOUT.replace("- name: train", f"- name: {json.dumps(label)}")
        if label == "../train":  # a step's name is never a path: nothing is made from it
            continue
        with pytest.raises(LayoutError):
            parse_layout(text.encode())


def test_a16_md5_equal_sha256_differs() -> None:
    """Two models share their MD5: no rule and no target matches on it, and the verdict raises an alarm."""
    world = honest()
    twin = ResourceDescriptor(
        "models/twin.pkl", DigestSet({"sha256": sha256_hex(b"evil")}), annotations={"dvc.md5": "0" * 32}
    )
    good = ResourceDescriptor(
        "models/twin.pkl", DigestSet({"sha256": sha256_hex(b"good")}), annotations={"dvc.md5": "0" * 32}
    )
    base = world.evidence["train"].statement
    for number, made in enumerate((twin, good)):
        world.evidence[f"x{number}"] = verified(
            Statement.build([made], base.predicate_type, base.predicate), "alice", NOW
        )
    assert [one.code.name for one in world.verdict().findings] == ["SAME_MD5"]
    assert not DigestSet({"md5": "0" * 32}).matches(DigestSet({"md5": "0" * 32}))
    assert not DigestSet({"md5": "0" * 32, "sha256": "1" * 64}).matches(
        DigestSet({"md5": "0" * 32, "sha256": "2" * 64})
    )


@guarded(
    (
        "gitchain.evidence.digest:DigestSet.matches",
        "for algorithm in ACCEPTED",
        "for algorithm in {*ACCEPTED, *mine}",
    )
)
def test_a17_sha1_tree_needs_manifest() -> None:
    """A Git tree's SHA-1 id and nothing else matches nothing, not even itself."""
    for algorithm in ("gitTree", "gitCommit", "sha1"):
        digest = DigestSet({algorithm: "a" * 40})
        assert not digest.matches(digest)


@guarded(
    (
        "gitchain.verify.chain:people_of",
        "one.principal for one",
        "str(one.statement.identity) for one",
    ),
)
def test_a21_threshold_edge_cases() -> None:
    """One person with two identities, one attestation found twice, one identity listed twice: still one person."""
    world = honest().change(lambda text: text.replace(*TWO))
    refused(world, "THRESHOLD", "train")
    again = {"data/prepared/train.csv": "train"}, {"models/model.pkl": "model 1"}
    for who in ("alice", "alice2"):
        world.evidence["second"] = statement("train", *again, who=who, run="again")
        refused(world, "THRESHOLD", "train")
    world.evidence["third"] = statement("train", *again, who="bob", run="again")
    assert world.verdict().passed
    for threshold in ("0", "-1", "3", "1.5", '"1"', "true"):
        with pytest.raises(LayoutError):
            parse_layout(LAYOUT.replace(TWO[0], f"{TWO[0]}    threshold: {threshold}\n").encode())
    for listed in ("[alice, alice]", "[]", "[alice, nobody]"):
        with pytest.raises(LayoutError):
            parse_layout(LAYOUT.replace("functionaries: [alice, bob]", f"functionaries: {listed}").encode())
    with pytest.raises(LayoutError):  # one identity, two people
        parse_layout(LAYOUT.replace("subject: bob}", "subject: alice}").encode())


@guarded(("gitchain.verify.chain:Chains._check", "tied and not materials.matches", "False"))
def test_a22_empty_materials_fail() -> None:
    """A step that took nothing passes MATCH and DISALLOW, because they find nothing: it is refused all the same."""
    world = honest().change(lambda text: text.replace("[REQUIRE, data/prepared/train.csv], ", ""))
    assert world.verdict().passed
    for materials in ({"src/x": "y"}, {}):
        world.evidence["train"] = statement("train", materials, {"models/model.pkl": "model 1"})
        refused(world, "NOTHING_MATCHED", "train")


def test_a22_no_subject_is_no_statement() -> None:
    """A statement about nothing is malformed, however well it is signed."""
    for subject in (b'"subject":[]', b'"subject":[{"name":"a","digest":{}}]', b'"subject":[{"name":"a"}]'):
        payload = (
            b'{"_type":"https://in-toto.io/Statement/v1",%b,"predicateType":"a:b","predicate":{}}' % subject
        )
        with pytest.raises(MalformedError):
            Statement.parse(payload)


@guarded(("gitchain.layout.fields:Fields.done", "if self._left", "if False"))
def test_a26_inspection_off_by_default() -> None:
    """A layout cannot bring code: no field of it is a command, and what it does not know it refuses."""
    for text in (
        "inspect: [{name: untar, run: [sh, -c, id]}]",
        "inspect: []",
        "steps: [{name: x, expectedCommand: [sh]}]",
    ):
        with pytest.raises(LayoutError):
            parse_layout(f"{LAYOUT}\n{text}\n".encode())
    for field in ("run: [sh, -c, id]", "expected_command: [sh]", "command: sh", "script: x.py"):
        with pytest.raises(LayoutError):
            parse_layout(LAYOUT.replace("    maxAge: P30D\n", f"    maxAge: P30D\n    {field}\n").encode())


def test_a04_monotonic() -> None:
    """Nothing that is left out of the evidence of a failing chain makes it pass."""
    world = honest()
    world.evidence["train"] = statement(
        "train", {"data/prepared/train.csv": "poison"}, {"models/model.pkl": "model 1"}
    )
    for left_out in list(world.evidence):
        rest = DecisionInput({name: one for name, one in world.evidence.items() if name != left_out})
        assert not rest.verdict().passed


def test_attestor_claims_unverified_by_default() -> None:
    """What a predicate says of its maker is a claim: nobody is authorised by it, only by the certificate."""
    world = honest()
    facts = StepFacts("train", "run-1", "observed", "credit-model")
    predicate = dict(provenance(step=facts, materials=[descriptor("data/prepared/train.csv", "train")]))
    predicate["signer"] = {"issuer": "https://issuer.example", "subject": "alice"}
    predicate["gitchain_identity"] = "alice"
    signed = Statement.build(
        [descriptor("models/model.pkl", "model 1")], "https://slsa.dev/provenance/v1", predicate
    )
    world.evidence["train"] = verified(signed, "mallory", NOW)
    refused(world, "UNAUTHORISED", "train")


@guarded(("gitchain.evidence.manifest:parse_node", "if sha256_hex(data) != digest", "if False"))
def test_directory_is_not_opened_by_a_lie() -> None:
    """The store holds another manifest in the place of the prepared data's: it opens nothing."""
    world = honest()
    world.evidence["train"] = statement(
        "train", {"data/prepared/train.csv": "poison"}, {"models/model.pkl": "model 1"}
    )
    lie = directory(train__csv="poison", test__csv="test")
    world.nodes[PREPARED.digest] = lie.nodes[lie.digest]
    refused(world, "MANIFEST", "train")


@pytest.mark.parametrize("name", names(globals()))
def test_without_its_check_the_attack_succeeds(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attack's test goes red when the check that it names is taken out of the code."""
    assert GUARDS[name]
    goes_red(globals()[name], request, monkeypatch)


def test_errors_are_of_the_closed_set() -> None:
    """Whatever a layout is made of, parsing it raises a LayoutError and nothing else."""
    for text in (
        "",
        "a",
        "[]",
        "{}",
        "schema: x",
        "&a [*a]",
        "? ? ?",
        "!!python/object:os.system x",
        "\x00",
        "a: &a {b: *a}",
    ):
        with pytest.raises(GitchainError):
            parse_layout(text.encode())

"""Predicates and claims: what a builder writes, claim_of reads; what is absent is never guessed."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitchain import __version__
from gitchain.errors import GitchainError, LimitError, MalformedError
from gitchain.evidence import vocabulary
from gitchain.evidence.deployment import ReportedBy
from gitchain.evidence.digest import DigestSet, Sha256
from gitchain.evidence.predicates import (
    DATASET,
    DEPLOYMENT,
    DEPLOYMENT_CHECK,
    KINDS,
    LINK,
    PROVENANCE,
    RELEASE,
    RETIREMENT,
    REVOCATION,
    SVR,
    TEST_RESULT,
    VERSION,
    VSA,
    DeploymentVerdict,
    StepClaim,
    StepFacts,
    VersionArtifact,
    claim_of,
    dataset,
    deployment,
    deployment_check,
    git_source,
    git_uri,
    provenance,
    release,
    retirement,
    revocation,
    step_facts,
    svr,
    test_result,
    version,
    vsa,
)
from gitchain.evidence.statement import MAX_DESCRIPTORS, ResourceDescriptor, Statement

H, C = Sha256("ab" * 32), "cd" * 20
WHEN = "2026-11-22T12:00:00Z"
STEP = StepFacts("train", "run-1", "observed", "credit-model")
OUT = ResourceDescriptor("model.pkl", DigestSet({"sha256": H}))
IN = ResourceDescriptor("data", DigestSet({"sha256": "cd" * 32}))
SOURCE = git_source(commit=C, tree=C, commit_sha256=H)


def claim(kind: str, predicate: Any) -> StepClaim:
    return claim_of(Statement.build([OUT], kind, predicate))


def built(**changes: Any) -> dict[str, Any]:
    """Our provenance as plain JSON, with one path changed."""
    document: dict[str, Any] = json.loads(json.dumps(provenance(step=STEP, materials=[IN])))
    for path, value in changes.items():
        inner = document
        *parents, last = path.split("__")
        for key in parents:
            inner = inner[key]
        if value is ...:
            del inner[last]
        else:
            inner[last] = value
    return document


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("evidence", ["observed", "declared"])
def test_claim_reads_what_provenance_writes(kind: Any, evidence: Any) -> None:
    """Step, run, layout, strength, materials and products survive, for every kind and strength."""
    step = StepFacts("train@us", "run-1", evidence, "credit-model")
    found = claim(PROVENANCE, provenance(step=step, kind=kind, materials=[SOURCE, IN]))
    assert found == StepClaim(
        "train@us", "run-1", "credit-model", evidence, (IN, SOURCE), (OUT,), "transformational"
    )


INFORMATIONAL: dict[str, Callable[[StepFacts | None], dict[str, Any]]] = {
    TEST_RESULT: lambda step: test_result(
        result="PASSED", configuration=[IN], passed=["a"], url="https://x", step=step
    ),
    SVR: lambda step: svr(
        verifier="https://v", created=WHEN, properties=["APPROVED"], policies=[IN], step=step
    ),
    RELEASE: lambda step: release(purl="pkg:generic/m@1", package_id="m", step=step),
    DATASET: lambda step: dataset(
        source="https://d", licence="MIT", consent="unknown", personal_data="none", step=step
    ),
    DEPLOYMENT: lambda step: deployment(model="m", environment="e", by="b", when=WHEN, step=step),
    DEPLOYMENT_CHECK: lambda step: deployment_check(
        model="m",
        environment="e",
        when=WHEN,
        verdict=DeploymentVerdict("PASSED", "l", 1, "0" * 64),
        step=step,
    ),
    RETIREMENT: lambda step: retirement(model="m", environment="e", by="b", when=WHEN, step=step),
    REVOCATION: lambda step: revocation(reason="mistaken", when=WHEN, step=step),
}


@pytest.mark.parametrize("kind", INFORMATIONAL)
def test_claim_of_informational_predicates(kind: str) -> None:
    """The subject is the materials, there are no products, and step facts come from the extension field alone."""
    with_facts = claim(kind, INFORMATIONAL[kind](STEP))
    assert with_facts == StepClaim("train", "run-1", "credit-model", "observed", (OUT,), (), "informational")
    assert claim(kind, INFORMATIONAL[kind](None)) == StepClaim(
        None, None, None, None, (OUT,), (), "informational"
    )


def test_version_names_no_step() -> None:
    """A version is about a commit, not a step."""
    predicate = version(
        commit=C, tree=C, commit_sha256=H, artifacts=[VersionArtifact("b", "x"), VersionArtifact("a", "x")]
    )
    assert claim(VERSION, predicate).step is None
    assert [item["name"] for item in json.loads(json.dumps(predicate))["artifacts"]] == ["a", "b"]


def test_step_facts_merge_into_any_predicate() -> None:
    """step_facts() is the extension field, for predicates that others define."""
    predicate = {"scanner": {}, **step_facts(name="scan", run="r", evidence="declared")}
    assert claim("https://in-toto.io/attestation/vulns/v0.2", predicate).step == "scan"


def test_foreign_provenance_names_no_step() -> None:
    """externalParameters.step of a build type that is not ours may mean anything: it is not read."""
    foreign = built(buildDefinition__buildType="https://actions.github.io/buildtypes/workflow/v1")
    found = claim(PROVENANCE, foreign)
    assert (found.step, found.run, found.evidence, found.kind) == (None, None, None, "transformational")
    assert found.materials == (IN,)
    assert claim(PROVENANCE, foreign | step_facts(name="s", run="r", evidence="declared")).step == "s"


def test_other_transformational_predicates() -> None:
    """A link names its step and its materials; provenance v0.2 its materials."""
    materials = [{"name": "data", "digest": {"sha256": "cd" * 32}}]
    assert claim(LINK, {"name": "train", "materials": materials}) == StepClaim(
        "train", None, None, None, (IN,), (OUT,), "transformational"
    )
    assert claim("https://slsa.dev/provenance/v0.2", {"materials": materials}).materials == (IN,)
    assert claim(LINK, {"name": "train"}).materials == ()


def test_material_without_name_goes_by_its_uri() -> None:
    """Provenance often names dependencies by uri only."""
    assert [
        item.rule_name for item in claim(PROVENANCE, provenance(step=STEP, materials=[SOURCE])).materials
    ] == ["git:local"]


@pytest.mark.parametrize(
    "changes",
    [
        {"buildDefinition": ...},
        {"buildDefinition__buildType": ...},
        {"buildDefinition__buildType": "https://gitchain.dev/lifecycle/magic/v1"},
        {"buildDefinition__buildType": "https://gitchain.dev/lifecycle/training/v2"},
        {"buildDefinition__externalParameters": ...},
        {"buildDefinition__externalParameters__step": ...},
        {"buildDefinition__externalParameters__step": ""},
        {"buildDefinition__externalParameters__step": "a\nb"},
        {"buildDefinition__externalParameters__step": 5},
        {"buildDefinition__externalParameters__run": ...},
        {"buildDefinition__externalParameters__run": "a b"},
        {"buildDefinition__externalParameters__layout": 1},
        {"buildDefinition__externalParameters__layout": ""},
        {"buildDefinition__internalParameters": ...},
        {"buildDefinition__internalParameters__evidence": ...},
        {"buildDefinition__internalParameters__evidence": "guessed"},
        {"buildDefinition__internalParameters__evidence": "declared"},
        {"runDetails__builder__id": "https://gitchain.dev/builder/declared/v1"},
        {"runDetails__builder": ...},
        {"buildDefinition__resolvedDependencies": {}},
        {"buildDefinition__resolvedDependencies": [{"digest": {"sha256": H}}]},
        {"buildDefinition__resolvedDependencies": [{"name": "a"}, {"name": "a"}]},
        {"buildDefinition__resolvedDependencies": [{"name": "a"}, {"name": "A"}]},
        {"buildDefinition__resolvedDependencies": [{"name": "a/../b"}]},
        {"buildDefinition__resolvedDependencies": [{"uri": "x"}]},
        {"buildDefinition__resolvedDependencies": [{"name": "a", "digest": {"sha256": "x"}}]},
        {"gitchain_step": {"name": "train", "run": "run-1", "evidence": "observed"}},
        {"gitchain_step": None},
    ],
    ids=str,
)
def test_malformed_provenance_claims(changes: dict[str, Any]) -> None:
    """Facts that are missing, malformed, doubled or at odds with each other are refused, not repaired."""
    with pytest.raises(MalformedError):
        claim(PROVENANCE, built(**changes))


@pytest.mark.parametrize(
    "facts",
    [
        None,
        [],
        {},
        {"name": "s", "run": "r"},
        {"name": "s", "evidence": "observed"},
        {"run": "r", "evidence": "observed"},
        {"name": "s", "run": "r", "evidence": "OBSERVED"},
        {"name": " s", "run": "r", "evidence": "observed"},
        {"name": "s", "run": "", "evidence": "observed"},
        {"name": "s", "run": "r", "evidence": "observed", "layout": 1},
    ],
    ids=str,
)
def test_malformed_extension_facts(facts: Any) -> None:
    """An extension field that is there must be whole."""
    with pytest.raises(MalformedError):
        claim(TEST_RESULT, {"gitchain_step": facts})


def test_link_with_two_names_is_refused() -> None:
    """A link that also carries step facts says which step it is twice."""
    with pytest.raises(MalformedError, match="twice"):
        claim(LINK, {"name": "a", **step_facts(name="b", run="r", evidence="observed")})
    with pytest.raises(MalformedError):
        claim(LINK, {})


def test_too_many_materials() -> None:
    """Materials are bounded like subjects."""
    document = built(buildDefinition__resolvedDependencies=[{}] * (MAX_DESCRIPTORS + 1))
    with pytest.raises(LimitError):
        claim(PROVENANCE, document)


def test_byproducts_are_written() -> None:
    """Streams by digest and the exit code by value are byproducts; what has no digest is written without one."""
    document = provenance(step=STEP, materials=[], byproducts=[ResourceDescriptor("log")], exit_code=3)
    assert json.loads(json.dumps(document))["runDetails"]["byproducts"] == [
        {"name": "log"},
        {"name": "exit-code", "annotations": {"value": 3}},
    ]


def check(result: Any, *codes: str) -> dict[str, Any]:
    verdict = DeploymentVerdict(result, "l", 1, "0" * 64)
    return deployment_check(model="m", environment="e", when=WHEN, verdict=verdict, codes=codes)


REFUSED: dict[str, Callable[[], object]] = {
    "kind": lambda: provenance(step=STEP, materials=[], kind="magic"),  # type: ignore[arg-type]
    "time": lambda: provenance(step=STEP, materials=[], started="2026-13-01T00:00:00Z"),
    "local time": lambda: provenance(step=STEP, materials=[], started="2026-11-22T12:00:00+01:00"),
    "two materials": lambda: provenance(step=STEP, materials=[IN, IN]),
    "nameless material": lambda: provenance(step=STEP, materials=[ResourceDescriptor(None)]),
    "evidence": lambda: StepFacts("s", "r", "guessed"),  # type: ignore[arg-type]
    "run": lambda: StepFacts("s", "r\n", "observed"),
    "step": lambda: StepFacts("", "r", "observed"),
    "layout": lambda: StepFacts("s", "r", "observed", ""),
    "result": lambda: test_result(result="GOOD", configuration=[]),  # type: ignore[arg-type]
    "passed with failures": lambda: test_result(result="PASSED", configuration=[], failed=["x"]),
    "no property": lambda: svr(verifier="https://v", created=WHEN, properties=[]),
    "verifier": lambda: svr(verifier="me", created=WHEN, properties=["P"]),
    "purl": lambda: release(purl="https://x@1"),
    "purl without version": lambda: release(purl="pkg:generic/x"),
    "licence": lambda: dataset(
        source="https://d", licence="see LICENSE!", consent="unknown", personal_data="none"
    ),
    "source": lambda: dataset(source="/d", licence="MIT", consent="unknown", personal_data="none"),
    "text": lambda: deployment(model="m\x00", environment="e", by="b", when=WHEN),
    "empty text": lambda: deployment(model="", environment="e", by="b", when=WHEN),
    "long environment": lambda: deployment(model="m", environment="e" * 201, by="b", when=WHEN),
    "long model": lambda: deployment(model="m" * 1025, environment="e", by="b", when=WHEN),
    "deployed by": lambda: deployment(model="m", environment="e", by="b\x00", when=WHEN),
    "deployed on": lambda: deployment(model="m", environment="e", by="b", when="now"),
    "check without codes": lambda: check("FAILED"),
    "check passed with codes": lambda: check("PASSED", "GC-E0342"),
    "check with malformed code": lambda: check("FAILED", "GC-E0342 "),
    "check with a code twice": lambda: check("FAILED", "GC-E0342", "GC-E0342"),
    "check with many codes": lambda: check("FAILED", *(f"GC-E{number:04}" for number in range(33))),
    "retired model": lambda: retirement(model="m" * 1025, environment="e", by="b", when=WHEN),
    "retired environment": lambda: retirement(model="m", environment="e" * 201, by="b", when=WHEN),
    "retired by": lambda: retirement(model="m", environment="e", by="b\x00", when=WHEN),
    "retired on": lambda: retirement(model="m", environment="e", by="b", when="now"),
    "commit": lambda: version(commit="main", tree=C, commit_sha256=H, artifacts=[]),
    "two artifacts": lambda: version(
        commit=C, tree=C, commit_sha256=H, artifacts=[VersionArtifact("a", "x")] * 2
    ),
    "md5": lambda: VersionArtifact("a", "x", md5="0" * 31),
    "sha256": lambda: VersionArtifact("a", "x", sha256=Sha256("0" * 63)),
    "attestation": lambda: revocation(reason="mistaken", when=WHEN, attestations=["x"]),
    "git tree": lambda: git_source(commit=C, tree="x", commit_sha256=H),
    "git commit": lambda: git_source(commit="x", tree=C, commit_sha256=H),
    "commit sha256": lambda: git_source(commit=C, tree=C, commit_sha256=Sha256(C)),
    "credentials": lambda: git_source(commit=C, tree=C, commit_sha256=H, uri="git+https://u:p@h/x"),
}


def test_git_source_names_the_commit_by_what_binds() -> None:
    """The commit's id may be SHA-1, so the SHA-256 of the commit object and the tree are beside it."""
    found = git_source(
        commit="1" * 40, tree="2" * 40, commit_sha256=Sha256("3" * 64), uri="git+https://x.example/m"
    )
    assert found.to_json() == {
        "uri": "git+https://x.example/m",
        "digest": {"gitCommit": "1" * 40},
        "annotations": {"gitTree": "2" * 40, "sha256": "3" * 64},
    }


def test_git_source_takes_ids_of_both_lengths_and_paths_of_any_kind() -> None:
    """A SHA-256 repository, and an @ in the path, which is no user information."""
    found = git_source(commit="1" * 64, tree="2" * 64, commit_sha256=H, uri="git+https://x.example/a@b")
    assert (found.uri, found.digest) == ("git+https://x.example/a@b", DigestSet({"gitCommit": "1" * 64}))


def test_provenance_keeps_everything_that_it_is_given() -> None:
    """Each fact in its field, the materials in the order of their names; what is not given is left out."""
    facts = provenance(
        step=STEP,
        materials=[IN, SOURCE, OUT],
        command=["python", "train.py"],
        parameters={"rate": 1},
        environment={"python": "3.12"},
        git={"dirty": False},
        dvc={"stage": "train"},
        started=WHEN,
        finished="2026-11-22T13:00:00Z",
        byproducts=[OUT],
        exit_code=0,
    )
    built: Any = json.loads(json.dumps(facts))
    definition, run = built["buildDefinition"], built["runDetails"]
    assert definition["externalParameters"] == {
        "step": "train",
        "run": "run-1",
        "layout": "credit-model",
        "command": ["python", "train.py"],
        "parameters": {"rate": 1},
    }
    assert definition["internalParameters"] == {
        "evidence": "observed",
        "environment": {"python": "3.12"},
        "git": {"dirty": False},
        "dvc": {"stage": "train"},
    }
    names = [one.get("name") or one["uri"] for one in definition["resolvedDependencies"]]
    assert names == ["data", "git:local", "model.pkl"]
    assert run["metadata"] == {
        "invocationId": "run-1",
        "startedOn": WHEN,
        "finishedOn": "2026-11-22T13:00:00Z",
    }
    assert run["byproducts"] == [OUT.to_json(), {"name": "exit-code", "annotations": {"value": 0}}]
    bare: Any = provenance(step=StepFacts("s", "r", "declared"), materials=[])
    assert bare["buildDefinition"]["externalParameters"] == {"step": "s", "run": "r"}
    assert bare["buildDefinition"]["internalParameters"] == {"evidence": "declared", "environment": {}}
    assert bare["runDetails"]["metadata"] == {"invocationId": "r"}
    assert bare["runDetails"]["byproducts"] == []


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_builders_refuse(make: Callable[[], object]) -> None:
    """A builder never writes what a reader would refuse, nor a secret."""
    with pytest.raises(MalformedError):
        make()


@pytest.mark.parametrize(
    ("remote", "uri"),
    [
        (None, "git:local"),
        ("https://example.com/o/r.git", "git+https://example.com/o/r.git"),
        ("https://user:token@example.com/o/r.git", "git+https://example.com/o/r.git"),
        ("https://user:p@ss@example.com/o/r.git", "git+https://example.com/o/r.git"),
        ("https://token@example.com:8443/r?access_token=x#f", "git+https://example.com:8443/r"),
        ("HTTPS://example.com", "git+https://example.com"),
        ("ssh://git@example.com:22/o/r.git", "git+ssh://example.com:22/o/r.git"),
        ("git@github.com:o/r.git", "git+ssh://github.com/o/r.git"),
        ("host.example:/srv/r.git", "git+ssh://host.example/srv/r.git"),
        ("/srv/git/r.git", "git:local"),
        ("../r.git", "git:local"),
        ("file:///srv/r.git", "git:local"),
        ("C:\\repos\\r", "git:local"),
        ("C:/repos/r", "git:local"),
        ("", "git:local"),
        ("https://example.com/a b", "git:local"),
        ("ext::sh -c evil", "git:local"),
        ("user:token@example.com:o/r.git", "git:local"),
    ],
)
def test_git_uri(remote: str | None, uri: str) -> None:
    """Credentials, query strings and paths of this machine never reach a statement."""
    assert git_uri(remote) == uri
    git_source(commit=C, tree=C, commit_sha256=H, uri=git_uri(remote))


@given(st.text(max_size=60) | st.from_regex(r"(https?|ssh)://[!-~]{0,20}@[!-~]{0,30}", fullmatch=True))
def test_git_uri_is_always_usable(remote: str) -> None:
    """Whatever a remote is called, its uri is a uri, without user information."""
    git_source(commit=C, tree=C, commit_sha256=H, uri=git_uri(remote))


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
FULL = json.loads(json.dumps(provenance(step=STEP, materials=[IN, SOURCE], exit_code=0)))


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        found += paths_of(child, (*path, key))
    return found


@given(st.sampled_from(paths_of(FULL)), JUNK, st.sampled_from([PROVENANCE, LINK, TEST_RESULT]))
def test_any_value_anywhere_raises_only_our_errors(path: tuple[Any, ...], junk: Any, kind: str) -> None:
    """Whatever stands in a field, claim_of returns a claim or raises MalformedError or LimitError."""
    document = copy.deepcopy(FULL)
    inner: Any = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = junk
    try:
        claim(kind, document)
    except GitchainError as error:
        assert isinstance(error, MalformedError | LimitError)  # noqa: PT017 - it may also pass


SUBJECTS = st.lists(
    st.fixed_dictionaries(
        {}, optional={"name": JUNK, "uri": JUNK, "digest": JUNK, "mediaType": JUNK, "annotations": JUNK}
    ),
    max_size=2,
)


@given(
    st.fixed_dictionaries(
        {"_type": st.just("https://in-toto.io/Statement/v1")},
        optional={"subject": SUBJECTS | JUNK, "predicateType": st.just(LINK) | JUNK, "predicate": JUNK},
    )
)
def test_any_statement_raises_only_our_errors(document: Any) -> None:
    """Any JSON under a statement's keys is a statement or is refused."""
    try:
        claim_of(Statement.parse(json.dumps(document).encode()))
    except GitchainError as error:
        assert isinstance(error, MalformedError | LimitError)  # noqa: PT017 - it may also pass


SUMMARY: dict[str, Any] = {
    "verifier": "https://vendor.example.com/verifier",
    "when": "2026-11-22T12:00:00Z",
    "resource": "pkg:generic/model.pkl",
    "policy": ResourceDescriptor(None, OUT.digest, uri="gitchain:layout/credit@3"),
    "attestations": [ResourceDescriptor(None, IN.digest)],
    "result": "PASSED",
}


def test_a_verification_summary_says_what_was_verified_and_no_slsa_level() -> None:
    """vsa() is a SLSA VSA v1; its level is the layout's on success and FAILED otherwise, never one of SLSA's tracks."""
    found = vsa(**SUMMARY)
    assert found == {
        "verifier": {"id": "https://vendor.example.com/verifier", "version": {"gitchain": __version__}},
        "timeVerified": "2026-11-22T12:00:00Z",
        "resourceUri": "pkg:generic/model.pkl",
        "policy": {"uri": "gitchain:layout/credit@3", "digest": dict(OUT.digest)},
        "inputAttestations": [{"digest": dict(IN.digest)}],
        "verificationResult": "PASSED",
        "verifiedLevels": ["GITCHAIN_LAYOUT"],
        "slsaVersion": "1.2",
    }
    failed = vsa(**{**SUMMARY, "result": "FAILED", "step": STEP})
    assert (failed["verificationResult"], failed["verifiedLevels"]) == ("FAILED", ["FAILED"])
    assert failed["gitchain_step"] == STEP.to_json()


@pytest.mark.parametrize(
    ("field", "value"), [("result", "passed"), ("when", "now"), ("verifier", "me"), ("resource", "x y")]
)
def test_a_summary_that_cannot_be_read_is_not_written(field: str, value: str) -> None:
    """vsa() refuses an unknown result, a time that is none, and what is no URI."""
    with pytest.raises(MalformedError):
        vsa(**{**SUMMARY, field: value})


def test_the_subjects_of_a_summary_are_products() -> None:
    """A VSA stands for the chain behind its subjects: products, no materials, and neither of the other two kinds."""
    found = claim(VSA, vsa(**SUMMARY))
    assert (found.materials, found.products, found.kind) == ((), (OUT,), "summary")
    assert found.kind != "transformational"
    assert claim(SVR, {}).kind == "informational"


def test_the_words_of_evidence_in_other_predicates() -> None:
    """What is in other people's predicates under our name is there for ever."""
    assert (vocabulary.STEP_FIELD, vocabulary.CARRIED) == ("gitchain_step", "gitchain_checkpoints")


def test_the_words_of_evidence() -> None:
    """The types that statements are written with are others' and ours for ever, letter by letter."""
    assert {
        name: value for name, value in vars(vocabulary).items() if isinstance(value, str) and "://" in value
    } == {
        "NAMESPACE": "https://gitchain.dev",
        "PROVENANCE": "https://slsa.dev/provenance/v1",
        "PROVENANCE_V02": "https://slsa.dev/provenance/v0.2",
        "LINK": "https://in-toto.io/attestation/link/v0.3",
        "TEST_RESULT": "https://in-toto.io/attestation/test-result/v0.1",
        "RELEASE": "https://in-toto.io/attestation/release/v0.2",
        "SVR": "https://in-toto.io/attestation/svr/v0.2",
        "VSA": "https://slsa.dev/verification_summary/v1",
        "OMS": "https://model_signing/signature/v1.0",
        "DATASET": "https://gitchain.dev/predicate/dataset/v0.1",
        "VERSION": "https://gitchain.dev/predicate/version/v0.1",
        "DEPLOYMENT": "https://gitchain.dev/predicate/deployment/v0.1",
        "DEPLOYMENT_CHECK": "https://gitchain.dev/predicate/deployment-check/v0.1",
        "RETIREMENT": "https://gitchain.dev/predicate/retirement/v0.1",
        "SOURCE": "https://gitchain.dev/predicate/source/v0.1",
        "REVOCATION": "https://gitchain.dev/predicate/revocation/v0.1",
        "CHECKPOINT": "https://gitchain.dev/predicate/checkpoint/v0.1",
        "LAYOUT": "https://gitchain.dev/predicate/layout/v1",
        "LIFECYCLE_PREFIX": "https://gitchain.dev/lifecycle/",
        "BUILDER_PREFIX": "https://gitchain.dev/builder/",
    }


def test_deployment_check_writes_every_field() -> None:
    """Verdict, codes and place stand under their own names; 32 codes are the most."""
    codes = [f"GC-E{number:04}" for number in range(32)]
    found = deployment_check(
        model="m", environment="e", when=WHEN, verdict=DeploymentVerdict("FAILED", "l", 3, "0" * 64),
        codes=codes, cluster="c", namespace="n", workload="w",
    )  # fmt: skip
    verdict = {"result": "FAILED", "layout": {"name": "l", "version": 3, "digest": {"sha256": "0" * 64}}}
    assert found == {
        "model": "m", "environment": "e", "checkedOn": WHEN, "verdict": verdict, "codes": codes,
        "cluster": "c", "namespace": "n", "workload": "w",
    }  # fmt: skip


def test_where_a_model_went_and_left_is_said_in_full() -> None:
    """Every field stands under its own name, and texts may be as long as the format says."""
    place: dict[str, Any] = {"cluster": "c", "namespace": "n", "workload": "w", "uid": "u"}
    verdict = DeploymentVerdict("PASSED", "credit-model", 3, "0" * 64)
    long = "m" * 1024
    assert deployment(
        model=long, environment="e" * 200, by=long, when=WHEN, image="i", verdict=verdict, **place
    ) == {
        "model": long,
        "environment": "e" * 200,
        "deployedBy": long,
        "deployedOn": WHEN,
        "image": "i",
        "verdict": {
            "result": "PASSED",
            "layout": {"name": "credit-model", "version": 3, "digest": {"sha256": "0" * 64}},
        },
        **place,
    }
    who = ReportedBy("n" * 1024, Sha256("1" * 64))
    said = {"reportedBy": {"name": "n" * 1024, "certificate": {"sha256": "1" * 64}}}
    required: dict[str, Any] = {"model": "m", "environment": "e"}
    assert deployment(**required, by="b", when=WHEN, reported_by=who) == {
        **required, "deployedBy": "b", "deployedOn": WHEN, **said,
    }  # fmt: skip
    assert retirement(**required, by="b", when=WHEN, reported_by=who) == {
        **required, "retiredBy": "b", "retiredOn": WHEN, **said,
    }  # fmt: skip
    with pytest.raises(MalformedError, match=r"reportedBy\.certificate\.sha256"):
        ReportedBy("n", Sha256("1" * 63)).to_json()
    for name in ("", "n" * 1025, "n\x00"):
        with pytest.raises(MalformedError, match=r"reportedBy\.name"):
            ReportedBy(name, Sha256("1" * 64)).to_json()
    assert retirement(model=long, environment="e" * 200, by=long, when=WHEN, **place) == {
        "model": long,
        "environment": "e" * 200,
        "retiredBy": long,
        "retiredOn": WHEN,
        **place,
    }


FACTS = {"name": "train", "run": "run-1", "evidence": "observed", "layout": "credit-model"}
DATA = {"name": "data", "digest": {"sha256": "cd" * 32}}
WRITTEN: dict[str, tuple[Callable[[], Any], dict[str, Any]]] = {
    "test result": (
        lambda: test_result(
            result="FAILED",
            configuration=[IN],
            passed=["a"],
            warned=["b"],
            failed=["c"],
            url="https://x",
            step=STEP,
        ),
        {
            "result": "FAILED",
            "configuration": [DATA],
            "passedTests": ["a"],
            "warnedTests": ["b"],
            "failedTests": ["c"],
            "url": "https://x",
            "gitchain_step": FACTS,
        },
    ),
    "svr": (
        lambda: svr(verifier="https://v", created=WHEN, properties=["APPROVED"], policies=[IN], step=STEP),
        {
            "verifier": {"id": "https://v", "policies": [DATA]},
            "timeCreated": WHEN,
            "properties": ["APPROVED"],
            "gitchain_step": FACTS,
        },
    ),
    "release": (
        lambda: release(purl="pkg:generic/m@1", package_id="m", step=STEP),
        {"purl": "pkg:generic/m@1", "packageId": "m", "gitchain_step": FACTS},
    ),
    "dataset": (
        lambda: dataset(
            source="https://d",
            licence="MIT",
            consent="unknown",
            personal_data="none",
            croissant=IN,
            description="d",
            step=STEP,
        ),
        {
            "source": "https://d",
            "licence": "MIT",
            "consent": "unknown",
            "personalData": "none",
            "croissant": DATA,
            "description": "d",
            "gitchain_step": FACTS,
        },
    ),
    "version": (
        lambda: version(
            commit=C,
            tree="ef" * 20,
            commit_sha256=H,
            artifacts=[VersionArtifact("b", "x", "0" * 32, H, "m/t"), VersionArtifact("a", "y")],
            branch="main",
            ref="refs/heads/main",
        ),
        {
            "commit": C,
            "tree": "ef" * 20,
            "commitSha256": H,
            "artifacts": [
                {"name": "a", "definedIn": "y"},
                {"name": "b", "definedIn": "x", "md5": "0" * 32, "sha256": H, "mediaType": "m/t"},
            ],
            "branch": "main",
            "ref": "refs/heads/main",
        },
    ),
    "summary": (
        lambda: vsa(
            verifier="https://v",
            when=WHEN,
            resource="pkg:x",
            policy=IN,
            attestations=[OUT],
            result="PASSED",
            step=STEP,
        ),
        {
            "verifier": {"id": "https://v", "version": {"gitchain": __version__}},
            "timeVerified": WHEN,
            "resourceUri": "pkg:x",
            "policy": DATA,
            "inputAttestations": [{"name": "model.pkl", "digest": {"sha256": H}}],
            "verificationResult": "PASSED",
            "verifiedLevels": ["GITCHAIN_LAYOUT"],
            "slsaVersion": "1.2",
            "gitchain_step": FACTS,
        },
    ),
    "revocation": (
        lambda: revocation(reason="mistaken", when=WHEN, attestations=[H, "ab" * 32], message="m", step=STEP),
        {
            "reason": "mistaken",
            "revokedOn": WHEN,
            "attestations": [H],
            "message": "m",
            "gitchain_step": FACTS,
        },
    ),
    "provenance": (
        lambda: provenance(
            step=STEP,
            kind="training",
            materials=[IN, ResourceDescriptor("a", DigestSet({"sha256": H}))],
            command=["python", "t.py"],
            parameters={"p.yaml": {"lr": 0.1}},
            environment={"python": "3.11"},
            git={"dirty": False},
            dvc={"stage": "train"},
            started=WHEN,
            finished="2026-11-22T13:00:00Z",
            byproducts=[OUT],
            exit_code=0,
        ),
        {
            "buildDefinition": {
                "buildType": "https://gitchain.dev/lifecycle/training/v1",
                "externalParameters": {
                    "step": "train",
                    "run": "run-1",
                    "layout": "credit-model",
                    "command": ["python", "t.py"],
                    "parameters": {"p.yaml": {"lr": 0.1}},
                },
                "internalParameters": {
                    "evidence": "observed",
                    "environment": {"python": "3.11"},
                    "git": {"dirty": False},
                    "dvc": {"stage": "train"},
                },
                "resolvedDependencies": [{"name": "a", "digest": {"sha256": H}}, DATA],
            },
            "runDetails": {
                "builder": {
                    "id": "https://gitchain.dev/builder/observed/v1",
                    "version": {"gitchain": __version__},
                },
                "metadata": {
                    "invocationId": "run-1",
                    "startedOn": WHEN,
                    "finishedOn": "2026-11-22T13:00:00Z",
                },
                "byproducts": [
                    {"name": "model.pkl", "digest": {"sha256": H}},
                    {"name": "exit-code", "annotations": {"value": 0}},
                ],
            },
        },
    ),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_predicate_with_everything_in_it(name: str) -> None:
    """Every field under its own name, and nothing besides: this is what others read."""
    made, expected = WRITTEN[name]
    assert json.loads(json.dumps(made())) == expected


def test_a_predicate_with_nothing_optional_in_it() -> None:
    """What is not said is not there, and not null."""
    step = StepFacts("train", "run-1", "declared")
    made = json.loads(json.dumps(provenance(step=step, materials=[])))
    definition, details = made["buildDefinition"], made["runDetails"]
    assert definition["externalParameters"] == {"step": "train", "run": "run-1"}
    assert definition["internalParameters"] == {"evidence": "declared", "environment": {}}
    assert (details["metadata"], details["byproducts"]) == ({"invocationId": "run-1"}, [])
    assert VersionArtifact("a", "x").to_json() == {"name": "a", "definedIn": "x"}
    assert revocation(reason="mistaken", when=WHEN) == {
        "reason": "mistaken",
        "revokedOn": WHEN,
        "attestations": [],
    }

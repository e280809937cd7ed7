"""The JSON Schemas: each takes what we write, and refuses what it is there to refuse."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gitchain.errors import ExitCode
from gitchain.evidence.deployment import ReportedBy
from gitchain.evidence.digest import DigestSet, Sha256
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.manifest import FileEntry, build_manifest
from gitchain.evidence.predicates import (
    PROVENANCE,
    DeploymentVerdict,
    RevokedSigner,
    StepFacts,
    VersionArtifact,
    dataset,
    deployment,
    deployment_check,
    git_source,
    provenance,
    retirement,
    revocation,
    version,
)
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.store_checkpoint import checkpoint_statements

SCHEMAS = Path(__file__).parents[2] / "schemas"
H, C = Sha256("ab" * 32), "cd" * 20
STEP = StepFacts("train", "run-1", "observed", "credit-model")
WHEN = "2026-11-22T12:00:00Z"


def load(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SCHEMAS / f"{name}.schema.json").read_text(encoding="utf-8"))
    return loaded


def step_statement() -> Any:
    predicate = provenance(
        step=STEP,
        kind="training",
        materials=[
            ResourceDescriptor("data/x", DigestSet({"sha256": H}), annotations={"dvc.md5": "0" * 32}),
            git_source(commit=C, tree=C, commit_sha256=H, uri="git+https://example.com/r.git"),
        ],
        command=["python", "train.py"],
        parameters={"params.yaml": {"lr": 0.1}},
        environment={"python": "3.11.2"},
        git={"commit": C, "tree": C, "commitSha256": H, "dirty": False},
        dvc={"stage": "train", "version": "3.67.1", "runCache": "miss"},
        started=WHEN,
        finished=WHEN,
        byproducts=[ResourceDescriptor("stdout", DigestSet({"sha256": H}))],
        exit_code=0,
    )
    subject = ResourceDescriptor("model.pkl", DigestSet({"sha256": H}))
    return json.loads(Statement.build([subject], PROVENANCE, predicate).payload)


def layout() -> Any:
    return {
        "schema": "https://gitchain.dev/layout/v1",
        "name": "credit-model",
        "version": 1,
        "expires": "2027-11-22T00:00:00Z",
        "functionaries": {"alice": {"identities": [{"issuer": "https://i", "subject": "alice@example.com"}]}},
        "steps": [
            {
                "name": "train",
                "functionaries": ["alice"],
                "evidence": "observed",
                "maxAge": "P90DT1H",
                "expectedMaterials": [
                    ["MATCH", "data/prepared", "WITH", "PRODUCTS", "FROM", "prepare"],
                    ["match", "*", "in", "x", "with", "materials", "in", "y", "from", "a step"],
                    ["ALLOW", "git*"],
                    ["DISALLOW", "*"],
                ],
                "expectedProducts": [["CREATE", "model.pkl"], ["REQUIRE", "model.pkl"], ["DISALLOW", "*"]],
            }
        ],
        "serve": [{"step": "train", "products": ["models/*"]}],
    }


def verify() -> Any:
    who = {"issuer": "https://i", "subject": "alice@example.com"}
    attestation = {"id": H, "signer": who, "time": WHEN, "log": {"origin": "log", "index": 3}, "run": None}
    return {
        "schema": "https://gitchain.dev/verify/v1",
        "verificationResult": "PASSED",
        "resource": {"name": "model.pkl", "digest": {"sha256": H}, "kind": "file"},
        "layout": {"name": "credit-model", "version": 3, "digest": {"sha256": H}, "signer": who},
        "steps": [
            {
                "name": "train",
                "functionaries": ["alice"],
                "evidence": "observed",
                "attestations": [attestation],
            }
        ],
        "findings": [{"code": "GC-W0401", "severity": "warning", "step": None, "message": "two contents"}],
        "trust": {"name": "local", "age": 5},
        "timeVerified": WHEN,
    }


def error() -> Any:
    fields = {
        "what": "layout has expired",
        "where": "",
        "expected": "",
        "got": "",
        "help": "gitchain layout sign",
    }
    return {
        "schema": "https://gitchain.dev/error/v1",
        "error": {"code": "LayoutError", "exitCode": 5, **fields},
    }


def manifest() -> Any:
    made = build_manifest([FileEntry("a/b", True, 3, H), FileEntry("c d", False, 0, H)])
    return json.loads(made.nodes[made.digest])


def example(name: str) -> Any:
    """One document of each schema, with every optional field that our builders can write."""
    croissant = ResourceDescriptor("croissant.json", DigestSet({"sha256": H}))
    artifacts = [VersionArtifact("data", "data.dvc", md5="0" * 32 + ".dir", sha256=H, media_type="x/y")]
    made: dict[str, Any] = {
        "step": step_statement,
        "dataset": lambda: dataset(
            source="https://example.com/data",
            licence="CC-BY-4.0 OR MIT",
            consent="obtained",
            personal_data="pseudonymised",
            croissant=croissant,
            description="two\nlines",
            step=STEP,
        ),
        "version": lambda: version(
            commit=C, tree=C, commit_sha256=H, artifacts=artifacts, branch="main", ref="refs/heads/main"
        ),
        "deployment": lambda: deployment(
            model="credit@v1",
            environment="production",
            by="alice@example.com",
            when=WHEN,
            cluster="c",
            namespace="n",
            workload="w",
            uid="u",
            image="i",
            verdict=DeploymentVerdict("PASSED", "credit-model", 3, H),
            reported_by=ReportedBy("kube-apiserver", H),
            step=STEP,
        ),
        "deployment-check": lambda: deployment_check(
            model="credit@v1",
            environment="production",
            when=WHEN,
            cluster="c",
            namespace="n",
            workload="w",
            verdict=DeploymentVerdict("FAILED", "credit-model", 3, H),
            codes=["GC-E0342"],
            step=STEP,
        ),
        "retirement": lambda: retirement(
            model="credit@v1",
            environment="production",
            by="alice@example.com",
            when=WHEN,
            cluster="c",
            namespace="n",
            workload="w",
            uid="u",
            reported_by=ReportedBy("kube-apiserver", H),
            step=STEP,
        ),
        "revocation": lambda: revocation(
            reason="compromised",
            when=WHEN,
            attestations=[H],
            signers=[RevokedSigner("https://i", "ada", WHEN)],
            message="key lost",
            step=STEP,
        ),
        "checkpoint": lambda: checkpoint_statements([], [AttestationId("0" * 64)], [H])[0].predicate,
        "manifest": manifest,
        "layout": layout,
        "verify": verify,
        "error": error,
    }
    return made[name]()


DROP = object()
INVALID: dict[str, list[tuple[Any, ...]]] = {
    "step": [
        ("subject", []),
        ("subject", 0, "digest", {"sha512": "a" * 128}),
        ("subject", 0, "digest", "gitCommit", C),
        ("subject", 0, "name", "../x"),
        ("subject", 0, "name", "a//b"),
        ("predicate", "buildDefinition", "buildType", "https://gitchain.dev/lifecycle/magic/v1"),
        ("predicate", "buildDefinition", "externalParameters", "step", ""),
        ("predicate", "buildDefinition", "internalParameters", "evidence", "guessed"),
        ("predicate", "buildDefinition", "resolvedDependencies", [{}]),
        ("predicate", "runDetails", "metadata", "startedOn", "yesterday"),
        ("predicate", "runDetails", DROP),
    ],
    "dataset": [
        ("source", "here"),
        ("licence", "see\nfile"),
        ("consent", "maybe"),
        ("personalData", DROP),
        ("extra", 1),
    ],
    "version": [
        ("commit", "main"),
        ("artifacts", [{"name": "x"}]),
        ("artifacts", 0, "md5", "x"),
        ("tree", DROP),
    ],
    "deployment": [
        ("deployedOn", "now"),
        ("model", ""),
        ("verdict", "result", "MAYBE"),
        ("deployedBy", DROP),
    ],
    "deployment-check": [
        ("checkedOn", "now"),
        ("codes", DROP),
        ("codes", []),
        ("codes", ["GC-342"]),
        ("codes", ["GC-E0342", "GC-E0342"]),
        ("verdict", DROP),
        ("verdict", "result", "PASSED"),
        ("uid", "u"),
    ],
    "retirement": [
        ("retiredOn", "now"),
        ("model", ""),
        ("image", "i"),
        ("retiredBy", DROP),
    ],
    "revocation": [
        ("reason", "because"),
        ("attestations", ["x"]),
        ("attestations", [H, H]),
        ("signers", []),
        ("signers", 0, "from", DROP),
        ("signers", 0, "issuer", ""),
        ("signers", 0, "until", WHEN),
        ("revokedOn", DROP),
    ],
    "checkpoint": [
        ("size", 0),
        ("root", DROP),
        ("previous", ["x"]),
        ("added", []),
        ("added", [H, H]),
        ("more", 1),
    ],
    "manifest": [
        ("schema", "https://gitchain.dev/manifest/v1"),
        ("schema", "https://gitchain.dev/manifest/v3"),
        ("entries", 0, "files", 0),
        ("entries", 1, "mode", "644"),
        ("entries", 1, "name", "a/b"),
        ("entries", 1, "name", ".."),
        ("entries", 1, "files", 1),
        ("entries", 1, "sha256", H.upper()),
    ],
    "layout": [
        ("version", 0),
        ("expires", "2027-11-22"),
        ("extra", 1),
        ("functionaries", {}),
        ("functionaries", "alice", "identities", []),
        ("steps", []),
        ("steps", 0, "threshold", 0),
        ("steps", 0, "evidence", "any"),
        ("steps", 0, "maxAge", "P"),
        ("steps", 0, "maxAge", "90 days"),
        ("steps", 0, "expectedProducts", [["PERMIT", "*"]]),
        ("steps", 0, "expectedProducts", [["ALLOW"]]),
        ("steps", 0, "expectedProducts", [["ALLOW", "[a]"]]),
        ("steps", 0, "expectedProducts", [["MATCH", "*", "FROM", "x"]]),
        ("steps", 0, "expectedProducts", ["ALLOW *"]),
        ("steps", 0, "functionaries", []),
        ("serve", DROP),
    ],
    "verify": [
        ("verificationResult", "PERHAPS"),
        ("verificationResult", "FAILED"),
        ("findings", 0, "severity", "error"),
        ("steps", []),
        ("layout", DROP),
        ("findings", 0, "code", "bad"),
    ],
    "error": [("error", "exitCode", 0), ("error", "what", ""), ("error", "extra", 1), ("schema", DROP)],
}


def changed(document: Any, path: tuple[Any, ...]) -> Any:
    document = copy.deepcopy(document)
    inner = document
    for key in path[:-2]:
        inner = inner[key]
    if path[-1] is DROP:
        del inner[path[-2]]
    else:
        inner[path[-2]] = path[-1]
    return document


def test_every_schema_has_examples() -> None:
    """No schema of this room is untested; each says its dialect and its own address."""
    for name in INVALID:
        schema = load(name)
        Draft202012Validator.check_schema(schema)
        assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        assert schema["$id"] == f"https://gitchain.dev/schemas/{name}.schema.json"


@pytest.mark.parametrize("name", INVALID)
def test_what_we_write_validates(name: str) -> None:
    """The builders' documents, with every optional field, are valid."""
    Draft202012Validator(load(name)).validate(example(name))


@pytest.mark.parametrize(
    ("name", "path"), [(name, path) for name, paths in INVALID.items() for path in paths]
)
def test_what_is_wrong_does_not_validate(name: str, path: tuple[Any, ...]) -> None:
    """Each change breaks one rule, and the schema sees it."""
    assert not Draft202012Validator(load(name)).is_valid(changed(example(name), path))


def test_smallest_documents_validate() -> None:
    """What leaves every optional field out is valid too."""
    smallest = {
        "dataset": dataset(source="git:local", licence="MIT", consent="not-required", personal_data="none"),
        "version": version(commit=C, tree=C, commit_sha256=H, artifacts=[]),
        "deployment": deployment(model="m", environment="e", by="b", when=WHEN),
        "deployment-check": deployment_check(
            model="m",
            environment="e",
            when=WHEN,
            verdict=DeploymentVerdict("PASSED", "credit-model", 3, H),
        ),
        "retirement": retirement(model="m", environment="e", by="b", when=WHEN),
        "revocation": revocation(reason="withdrawn", when=WHEN),
        "manifest": {"schema": "https://gitchain.dev/manifest/v2", "entries": []},
    }
    for name, document in smallest.items():
        Draft202012Validator(load(name)).validate(document)


def test_error_schema_knows_every_exit_code() -> None:
    """An error never exits 0, and every other code is in the schema."""
    codes = load("error")["properties"]["error"]["properties"]["exitCode"]["enum"]
    assert set(codes) == {int(code) for code in ExitCode} - {0}


def test_a_failed_verdict_validates() -> None:
    """FAILED with an error among its findings is a valid result, without a step."""
    document = verify()
    document.update(verificationResult="FAILED", steps=[], trust=None)
    document["findings"].append({"code": "GC-E0201", "severity": "error", "message": "no attestation"})
    Draft202012Validator(load("verify")).validate(document)

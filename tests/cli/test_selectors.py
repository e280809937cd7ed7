"""`gitchain verify` with statements of other tools in the store: found by digest, counted, or reported with the reason."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.instance import Instance
from gitchain.workspace.project import open_project
from gitchain.workspace.user_directory import local_directory
from tests.support.foreign_statements import (
    CYCLONEDX,
    GITHUB,
    WORKFLOW,
    WorkflowForge,
    cosign_attest,
    cyclonedx,
    model_signature,
    old,
    pytest_result,
    scan,
    subject,
)
from tests.support.forged_bundles import raw
from tests.support.prepared_repository import PreparedRepository

Gitchain = Callable[..., Any]
FUNCTIONARY = f"""functionaries:
  github:
    identities:
      - issuer: {GITHUB}
        subject: {WORKFLOW}
        claims: {{sourceRepositoryIdentifier: "123"}}
"""
STEPS = """steps:
  - name: sbom
    functionaries: [github]
    predicateType: https://cyclonedx.org/bom
    select: {where: "predicate.bomFormat == 'CycloneDX'", as: model.bin}
    expectedMaterials: [[MATCH, model.bin, WITH, PRODUCTS, FROM, train], [DISALLOW, "*"]]
  - name: test
    functionaries: [github]
    predicateType: https://in-toto.io/attestation/test-result/v0.1
    select: {where: "predicate.configuration[0].name == 'tests/test_model.py'", as: model.bin}
    constraints: [{name: passed, expression: "predicate.result == 'PASSED'"}]
    expectedMaterials: [[MATCH, model.bin, WITH, PRODUCTS, FROM, train], [DISALLOW, "*"]]
"""


@pytest.fixture
def store(world: PreparedRepository, gitchain: Gitchain) -> Callable[..., None]:
    """Let the layout of the repository select two statements; return what signs and stores a workflow's statement."""
    layout = world.repo / ".gitchain/layout.yaml"
    text = layout.read_text(encoding="utf-8").replace("version: 1", "version: 2", 1)
    text = text.replace("functionaries:\n", FUNCTIONARY, 1).replace("steps:\n", STEPS, 1)
    layout.write_text(text, encoding="utf-8")
    done = gitchain("layout", "sign", cwd=world.repo)
    assert done.code == 0, done.text

    def put(payload: bytes, **claims: str) -> None:
        bundle = raw(WorkflowForge(Instance.open(local_directory()), **claims).bundle(payload))
        open_project(world.repo).store.add((bundle,))

    return put


def model(repo: Path) -> dict[str, Any]:
    from gitchain.evidence.digest import sha256_hex

    return {"name": "dist/model-1.2.bin", "digest": {"sha256": sha256_hex((repo / "model.bin").read_bytes())}}


def found(gitchain: Gitchain, repo: Path) -> tuple[int, dict[tuple[str, str], str]]:
    """Return the exit code of `verify`, and what was got by code and step of the findings."""
    done = gitchain("verify", "model.bin", "--json", cwd=repo)
    return done.code, {(one["code"], one["step"]): one["got"] for one in done.json["findings"]}


def test_selected_statements_count(
    world: PreparedRepository, store: Callable[..., None], gitchain: Gitchain
) -> None:
    """Under the tool's name for the file, without a step, and by a workflow's certificate."""
    code, findings = found(gitchain, world.repo)
    assert (code, set(findings)) == (1, {("GC-E0301", "sbom"), ("GC-E0301", "test")})
    store(cyclonedx(model(world.repo)))
    store(pytest_result(model(world.repo)))
    done = gitchain("verify", "model.bin", "--explain", cwd=world.repo)
    assert done.code == 0, done.text
    assert "is selected by the step" in done.text


def test_old_statements_are_found_and_count(
    world: PreparedRepository, store: Callable[..., None], gitchain: Gitchain
) -> None:
    """The SBOM of `cosign attest` is found in the store by its digest, under a name in a registry; a failed test too."""
    store(pytest_result(model(world.repo)))
    store(cosign_attest(CYCLONEDX, {"bomFormat": "CycloneDX"}, model(world.repo)["digest"]["sha256"]))
    assert found(gitchain, world.repo)[0] == 0
    shown = gitchain("log", "--all", "--json", cwd=world.repo)
    assert CYCLONEDX in json.dumps(shown.json["events"])
    store(old(pytest_result(model(world.repo), result="FAILED")))
    code, findings = found(gitchain, world.repo)
    assert (code, ("GC-E0320", "train") in findings) == (1, True)


def test_statements_that_are_not_selected_are_reported(
    world: PreparedRepository, store: Callable[..., None], gitchain: Gitchain
) -> None:
    """Another type, another repository, another content of the predicate: each with its reason."""
    artifact = model(world.repo)
    store(scan(artifact))
    store(cyclonedx(artifact), sourceRepositoryIdentifier="999")
    store(pytest_result(artifact, config="tests/other.py"))
    code, findings = found(gitchain, world.repo)
    assert code == 1
    assert {("GC-E0302", "sbom"), ("GC-E0303", "sbom"), ("GC-E0302", "test"), ("GC-E0329", "test")} == set(
        findings
    )
    assert "predicate" in findings["GC-E0329", "test"] or "not true" in findings["GC-E0329", "test"]


def test_failed_test_counts_against_the_model(
    world: PreparedRepository, store: Callable[..., None], gitchain: Gitchain
) -> None:
    """Negative evidence is found by digest too, whatever the tool calls the file."""
    store(cyclonedx(model(world.repo)))
    store(pytest_result(model(world.repo)))
    store(pytest_result(model(world.repo), result="FAILED"))
    code, findings = found(gitchain, world.repo)
    assert code == 1
    assert {step for code, step in findings if code == "GC-E0320"} >= {"train", "sbom"}


def test_layout_lint_shows_the_selector(
    world: PreparedRepository, store: Callable[..., None], gitchain: Gitchain
) -> None:
    """The layout has no error; a condition on nothing is named at its place."""
    layout = world.repo / ".gitchain/layout.yaml"
    layout.write_text(
        layout.read_text(encoding="utf-8").replace("predicate.bomFormat == 'CycloneDX'", "1 == 1"),
        encoding="utf-8",
    )
    found = gitchain("layout", "lint", "--json", cwd=world.repo).json
    places = {(one["code"], one["where"]) for one in found["findings"]}
    assert ("GC-L16", "steps[0].select.where") in places


RAW = """steps:
  - name: checked
    functionaries: [github]
    predicateType: https://in-toto.io/attestation/test-result/v0.1
    select: {where: "predicate.result == 'PASSED'", as: data/raw.csv}
    expectedMaterials: [[MATCH, data/raw.csv, WITH, MATERIALS, FROM, prepare], [DISALLOW, "*"]]
"""


@pytest.mark.parametrize("bound", [1, 3])
def test_junk_in_the_store_hides_no_statement(
    world: PreparedRepository, gitchain: Gitchain, monkeypatch: pytest.MonkeyPatch, bound: int
) -> None:
    """A statement that no digest connects to the target, about raw data, is found by its type among others' statements."""
    from gitchain.sources import evidence
    from tests.support.forged_bundles import Forge
    from tests.support.prepared_repository import lock_file

    contents = {"data/raw.csv": "raw\n1,2\n", "data/clean.csv": "clean\n1,2\n", "model.bin": "model!"}
    for name, content in contents.items():
        world.write(name, content)
    stages = {
        "prepare": (["data/raw.csv"], ["data/clean.csv"]),
        "train": (["data/clean.csv"], ["model.bin"]),
    }
    world.write("dvc.lock", lock_file(stages, world.repo))
    world.git("commit", "-aqm", "change the data")
    assert gitchain("attest", cwd=world.repo).code == 0
    layout = world.repo / ".gitchain/layout.yaml"
    text = layout.read_text(encoding="utf-8").replace("version: 1", "version: 2", 1)
    text = text.replace("functionaries:\n", FUNCTIONARY, 1).replace("steps:\n", RAW, 1)
    layout.write_text(text, encoding="utf-8")
    assert gitchain("layout", "sign", cwd=world.repo).code == 0
    instance, store = Instance.open(local_directory()), open_project(world.repo).store
    junk = [
        raw(Forge(instance, "mallory@evil.example").bundle(cyclonedx(subject(f"junk {number}"), n=number)))
        for number in range(8)
    ]
    store.add(tuple(junk))
    assert gitchain("verify", "model.bin", cwd=world.repo).code == 1
    tested = pytest_result(subject(contents["data/raw.csv"], "raw.csv"))
    store.add((raw(WorkflowForge(instance).bundle(tested)),))
    monkeypatch.setattr(evidence, "MAX_OTHERS", bound)
    done = gitchain("verify", "model.bin", cwd=world.repo)
    assert done.code == 0, done.text


def test_unreadable_model_signature_is_found_by_its_files(
    world: PreparedRepository, gitchain: Gitchain
) -> None:
    """The index has the files that it lists, so that its rejection counts against a model that passes without it."""
    signing = """steps:
  - name: sign
    functionaries: [github]
    predicateType: https://model_signing/signature/v1.0
    select: {where: "predicate.serialization.method == 'files'", as: model.bin}
    constraints: [{name: approved, expression: "!has(predicate.refused)"}]
    expectedMaterials: [[MATCH, model.bin, WITH, PRODUCTS, FROM, train], [DISALLOW, "*"]]
"""
    layout = world.repo / ".gitchain/layout.yaml"
    text = layout.read_text(encoding="utf-8").replace("version: 1", "version: 2", 1)
    text = text.replace("functionaries:\n", FUNCTIONARY, 1).replace("steps:\n", signing, 1)
    layout.write_text(text, encoding="utf-8")
    assert gitchain("layout", "sign", cwd=world.repo).code == 0
    forge, store = WorkflowForge(Instance.open(local_directory())), open_project(world.repo).store
    payload = model_signature({".": (world.repo / "model.bin").read_text(encoding="utf-8")})
    store.add((raw(forge.bundle(payload)),))
    assert gitchain("verify", "model.bin", cwd=world.repo).code == 0
    store.add((raw(forge.bundle(payload.replace(b'"method":"files"', b'"method":"shards"'))),))
    code, findings = found(gitchain, world.repo)
    assert code == 1
    assert ("GC-E0320", "train") in findings

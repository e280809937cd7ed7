"""`gitchain models`: versions with verdict, tags, stages and deployments, from verified statements alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gitchain.consume.model_versions import Releases
from gitchain.errors import ExitCode
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.vocabulary import DEPLOYMENT, RELEASE, RETIREMENT
from tests.cli.test_documents import validator

Gitchain = Callable[..., Any]
Git = Callable[..., str]
ATTEST = ("attest", "train", "-m", "in.txt", "-p", "model.txt")
PLACE = {
    "environment": "production",
    "cluster": "eu-1",
    "namespace": "scoring",
    "workload": "deployment/scorer",
}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def make(gitchain: Gitchain, repo: Path, git: Git, version: str, *tags: str) -> None:
    """Train a version, which DVC tracks, commit and tag it, and sign what waits."""
    (repo / "model.txt").write_text(f"model {version}")
    md5 = hashlib.md5((repo / "model.txt").read_bytes()).hexdigest()
    (repo / "model.txt.dvc").write_text(f"outs:\n- md5: {md5}\n  hash: md5\n  size: 8\n  path: model.txt\n")
    (repo / ".gitignore").write_text("/model.txt\n")
    assert gitchain(*ATTEST, cwd=repo).code == 0
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", version)
    for tag in tags:
        git(repo, "tag", "-a", tag, "-m", tag)
    done = gitchain("sync", cwd=repo)
    assert done.code == 0, done.text


def listed(gitchain: Gitchain, repo: Path, *arguments: str) -> dict[str, Any]:
    done = gitchain("models", "--json", *arguments, cwd=repo)
    assert done.code == ExitCode.OK, done.text
    document: dict[str, Any] = done.json
    validator("cli").validate(document)
    return document


def state(gitchain: Gitchain, repo: Path, kind: str, person: str = "ada@example.com") -> None:
    """Sign a deployment or a retirement of the model."""
    word = "deployed" if kind == DEPLOYMENT else "retired"
    facts = {"model": "model.txt", f"{word}By": person, f"{word}On": "2026-11-30T12:00:00Z", **PLACE}
    (repo / "facts.json").write_text(json.dumps(facts))
    command = ("attest", word, "--type", kind, "--predicate", "facts.json", "-m", "model.txt", "--as", person)
    done = gitchain(*command, cwd=repo)
    assert done.code == 0, done.text


@pytest.fixture
def models(gitchain: Gitchain, tiny: Path, git: Git) -> Path:
    """Return a repository with two versions; the stage went from the first to the second."""
    git(tiny, "add", "-A")
    git(tiny, "commit", "-qm", "all")
    assert gitchain("hooks", "install", "--tags", cwd=tiny).code == 0
    make(gitchain, tiny, git, "one", "credit@v1.0.0", "credit#prod#1")
    make(gitchain, tiny, git, "two", "credit@v2.0.0", "credit#prod#2", "credit#dev#3", "credit#dev!#4")
    return tiny


def test_models_lists_versions_with_tags_and_stages(gitchain: Gitchain, models: Path) -> None:
    """The newest first; a stage is where it was assigned last, and nowhere once it was taken away."""
    document = listed(gitchain, models)
    shown = [(one["digest"]["sha256"], one["tags"], one["stages"]) for one in document["models"]]
    assert shown == [
        (sha256("model two"), ["credit@v2.0.0"], ["credit#prod"]),
        (sha256("model one"), ["credit@v1.0.0"], []),
    ]
    assert {one["verificationResult"] for one in document["models"]} == {"PASSED"}
    assert document["trust"]["local"] is True
    text = gitchain("models", cwd=models).out
    assert text.index("credit@v2.0.0") < text.index("credit@v1.0.0")


def test_models_limits_names_and_number(gitchain: Gitchain, models: Path) -> None:
    """Older versions are counted; a name that the layout does not serve is an error."""
    document = listed(gitchain, models, "model.txt", "--last", "1")
    assert (len(document["models"]), document["older"]) == (1, 1)
    assert "1 older: --last 2" in gitchain("models", "--last", "1", cwd=models).err
    done = gitchain("models", "other.txt", cwd=models)
    assert done.code == ExitCode.NOTHING
    assert "no version of a model" in done.err


def test_models_shows_a_revoked_version_as_failed(gitchain: Gitchain, models: Path) -> None:
    """The verdict is that of `verify`, with its first code."""
    layout = models / ".gitchain/layout.yaml"
    layout.write_text(layout.read_text().replace("version: 1\n", "version: 2\nrevokers: [ada]\n", 1))
    assert gitchain("layout", "sign", cwd=models).code == 0
    assert gitchain("revoke", "artifact", "model.txt", "--reason", "withdrawn", cwd=models).code == 0
    newest, oldest = listed(gitchain, models)["models"]
    assert (newest["verificationResult"], newest["findings"]) == ("FAILED", ["GC-E0342"])
    assert oldest["verificationResult"] == "PASSED"
    assert "FAILED GC-E0342" in gitchain("models", cwd=models).out


def test_models_shows_where_a_version_serves(gitchain: Gitchain, models: Path) -> None:
    """Until its retirement by the same signer: another one cannot end what somebody else deployed."""
    state(gitchain, models, DEPLOYMENT, "eve@example.com")
    assert "(1 claimed by others)" in gitchain("models", cwd=models).out
    assert listed(gitchain, models)["models"][0]["deploymentsByOthers"] == 1
    state(gitchain, models, RETIREMENT, "eve@example.com")
    state(gitchain, models, DEPLOYMENT)
    state(gitchain, models, RETIREMENT, "eve@example.com")
    newest, oldest = listed(gitchain, models)["models"]
    (place,) = newest["deployments"]
    assert {key: place[key] for key in PLACE} == PLACE
    assert place["signer"] == "ada@example.com"
    assert oldest["deployments"] == []
    assert "production / eu-1 / scoring / deployment/scorer" in gitchain("models", cwd=models).out
    state(gitchain, models, RETIREMENT)
    assert listed(gitchain, models)["models"][0]["deployments"] == []


def test_models_counts_what_no_functionary_signed(gitchain: Gitchain, models: Path, git: Git) -> None:
    """A stranger's version is no version of the model, and does not push others off the list."""
    (models / "model.txt").write_text("model of eve")
    assert gitchain(*ATTEST, "--as", "eve@example.com", cwd=models).code == 0
    document = listed(gitchain, models, "--last", "2")
    assert [one["signer"] for one in document["models"]] == ["ada@example.com"] * 2
    assert document["notByFunctionaries"] == 1
    assert "1 that no functionary" in gitchain("models", cwd=models).err


def test_models_without_models_is_an_error(gitchain: Gitchain, tiny: Path) -> None:
    """Nothing attested is exit 3, as for verify."""
    done = gitchain("models", cwd=tiny)
    assert done.code == ExitCode.NOTHING
    assert "no version of a model" in done.err


def test_models_escapes_what_signers_wrote(gitchain: Gitchain, models: Path) -> None:
    """A place with control characters stays text."""
    facts = {
        "model": "model.txt",
        "environment": "prod\u202e\x1b[2J",
        "deployedBy": "ada@example.com",
        "deployedOn": "2026-11-30T12:00:00Z",
    }
    (models / "facts.json").write_text(json.dumps(facts))
    command = ("attest", "deploy", "--type", DEPLOYMENT, "--predicate", "facts.json", "-m", "model.txt")
    done = gitchain(*command, cwd=models)
    shown = gitchain("models", cwd=models).out
    assert "\x1b" not in shown + done.text
    assert "\u202e" not in shown + done.text


def test_models_leaves_out_revoked_deployments_and_releases(gitchain: Gitchain, models: Path) -> None:
    """A revoked tag or deployment is no tag and no deployment."""
    state(gitchain, models, DEPLOYMENT)
    layout = models / ".gitchain/layout.yaml"
    layout.write_text(layout.read_text().replace("version: 1\n", "version: 2\nrevokers: [ada]\n", 1))
    assert gitchain("layout", "sign", cwd=models).code == 0
    for event in gitchain("log", "--json", cwd=models).json["events"]:
        if event["predicateType"] in {DEPLOYMENT, RELEASE}:
            command = ("revoke", "attestation", event["id"], "--reason", "compromised")
            assert gitchain(*command, cwd=models).code == 0
    for model in listed(gitchain, models)["models"]:
        assert (model["tags"], model["stages"], model["deployments"]) == ([], [], [])
        assert model["verificationResult"] == "PASSED"


def test_models_takes_a_path_for_a_name(gitchain: Gitchain, models: Path) -> None:
    """`./model.txt` is the name model.txt; an error names what is served."""
    assert len(listed(gitchain, models, "./model.txt")["models"]) == 2
    assert "model.txt" in gitchain("models", "nosuch", cwd=models).err


def test_models_bounds_long_claims(gitchain: Gitchain, models: Path) -> None:
    """A long place is cut, and cannot hide what stands beside it."""
    facts = {
        "model": "model.txt",
        "environment": "production",
        "cluster": "eu-1" + " " * 900 + "x",
        "deployedBy": "ada@example.com",
        "deployedOn": "2026-11-30T12:00:00Z",
    }
    (models / "facts.json").write_text(json.dumps(facts))
    for person in ("eve@example.com", "ada@example.com"):
        command = ("attest", "deploy", "--type", DEPLOYMENT, "--predicate", "facts.json", "-m", "model.txt")
        assert gitchain(*command, "--as", person, cwd=models).code == 0
    newest = listed(gitchain, models)["models"][0]
    assert (newest["deploymentCount"], newest["deploymentsByOthers"]) == (1, 1)
    assert len(newest["deployments"][0]["cluster"]) == 201
    assert "(1 claimed by others)" in gitchain("models", cwd=models).out


def test_stage_is_where_the_highest_number_assigned_it() -> None:
    """The order of attestation does not count against GTO's numbers; qualifiers of a package URL are no tag."""

    def release(tag: str, sha256: str) -> Any:
        subject = [SimpleNamespace(digest=DigestSet({"sha256": sha256}))]
        statement = SimpleNamespace(subject=subject, predicate={"purl": f"pkg:generic/x@{tag}"})
        return SimpleNamespace(statement=statement)

    found = Releases.of(
        [
            release("m%23prod%232", "b" * 64),
            release("m%23prod%231", "a" * 64),
            release("v3?checksum=x", "a" * 64),
        ]
    )
    assert found.stages == {"b" * 64: ["m#prod"]}
    assert found.tags == {"a" * 64: ("v3",)}


def test_models_of_a_supplied_step_lists_what_passes(gitchain: Gitchain, models: Path) -> None:
    """Who may sign a supplier's step is in the supplier's layout: what does not pass is counted, and not listed."""
    layout = models / ".gitchain/layout.yaml"
    text = layout.read_text().replace("version: 1\n", "version: 2\n", 1)
    rules = text[text.index("    expectedMaterials:") : text.index("    expectedProducts:")]
    text = text.replace(rules, "").replace(
        "functionaries: [ada]\n", "functionaries: [ada]\n    sublayout: {name: acme}\n"
    )
    layout.write_text(text.replace("[CREATE, model.txt]", "[ALLOW, model.txt]"))
    assert gitchain("layout", "sign", "--no-lint", cwd=models).code == 0
    done = gitchain("models", cwd=models)
    assert done.code == ExitCode.NOTHING
    assert "2 that no functionary of their step signed" in done.err

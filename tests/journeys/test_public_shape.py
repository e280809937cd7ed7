"""Projects that gitchain was not written against: the first four commands lead to a verdict, and one bit turns it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.shell import Shell
from tests.support.training_projects import nested

OBSERVED, DECLARED = "observed", "declared"
STARTED_STEPS = dict.fromkeys(("prepare", "featurize", "train", "evaluate"), OBSERVED) | {
    "data/raw.txt.dvc": DECLARED
}
FANNED_STEPS = dict.fromkeys(
    (
        "clean@eu",
        "clean@us",
        "train@eu-1",
        "train@eu-2",
        "train@us-1",
        "train@us-2",
        "release/dvc.yaml:bundle",
    ),
    OBSERVED,
) | {"data/raw.dvc": DECLARED}


def files_named(document: dict[str, object]) -> str:
    findings = document["findings"]
    assert isinstance(findings, list)
    return " ".join(str(item["artifact"]) + str(item["message"]) + str(item["got"]) for item in findings)


def params(shell: Shell, old: str, new: str) -> None:
    path = shell.cwd / "params.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize("shape", ["file_model", "listed_model", "scored_model"])
def test_file_model(request: pytest.FixtureRequest, shape: str) -> None:
    """Raw data to a verified model against the drafted layout; a flipped bit is refused by name; nothing new, nothing attested."""
    shell: Shell = request.getfixturevalue(shape)
    document = shell.verify("model.json")
    assert document["verificationResult"] == "PASSED"
    assert {step["name"]: step["evidence"] for step in document["steps"]} == STARTED_STEPS

    assert shell.repro() == {}
    shell.flip("model.json")
    assert "model.json" in files_named(shell.verify("model.json", 1))
    assert "model.json" in shell.gitchain("verify", "model.json").out


def test_project_in_a_subdirectory(tmp_path: Path) -> None:
    """A DVC project below the repository's root: the same commands, from either directory; spare data stands aside."""
    top, ml = nested(tmp_path)
    ml.must("gitchain", "init", "--local")
    ml.must("gitchain", "layout", "sign")
    ml.repro()
    steps = {step["name"] for step in ml.verify("model.json")["steps"]}
    assert steps == {f"ml/dvc.yaml:{name}" for name in ("prepare", "featurize", "train", "evaluate")} | {
        "ml/data/raw.txt.dvc"
    }
    top.verify("ml/model.json")
    assert ml.repro() == {}
    top.commit("first model", hooks=False)
    top.verify("HEAD")
    ml.flip("model.json")
    assert "ml/model.json" in files_named(top.verify("ml/model.json", 1))


def test_directory_model(directory_model: Shell) -> None:
    """Foreach, matrix, vars, wdir and a second dvc.yaml: the directory passes, and one flipped bit names the file inside."""
    document = directory_model.verify("release/bundle")
    assert {step["name"]: step["evidence"] for step in document["steps"]} == FANNED_STEPS
    assert directory_model.repro("-P") == {}

    directory_model.flip("release/bundle/us-2/1.txt")
    assert "release/bundle/us-2/1.txt" in files_named(directory_model.verify("release/bundle", 1))


def test_added_and_missing_files_of_a_directory_model(directory_model: Shell) -> None:
    """A file more or less in a directory model is refused by name, too."""
    shell = directory_model
    shell.write({"release/bundle/us-2/evil.txt": "x"})
    assert "release/bundle/us-2/evil.txt" in files_named(shell.verify("release/bundle", 1))
    (shell.cwd / "release/bundle/us-2/evil.txt").unlink()
    shell.verify("release/bundle")
    (shell.cwd / "release/bundle/card.txt").unlink()
    assert "release/bundle/card.txt" in files_named(shell.verify("release/bundle", 1))


def test_flipped_intermediate_and_raw_data(file_model: Shell) -> None:
    """The model verifies by its own bytes, and data that changed since is refused when it is what is asked about."""
    shell = file_model
    shell.flip("data/prepared/train.txt")
    shell.verify("model.json")
    assert shell.gitchain("verify", "data/prepared").code == 1


def test_new_params_and_back(file_model: Shell) -> None:
    """A new run verifies, so does the old model once restored, by old observed evidence; a run-cache hit says what it is."""
    shell = file_model
    old = (shell.cwd / "model.json").read_bytes()
    shell.must("git", "tag", "v1")

    params(shell, "top: 10", "top: 3")
    assert set(shell.repro()) == {"train", "evaluate"}
    assert (shell.cwd / "model.json").read_bytes() != old
    shell.verify("model.json")
    shell.commit("second model")

    shell.must("git", "checkout", "-q", "v1")
    shell.must("dvc", "checkout", "-q")
    assert (shell.cwd / "model.json").read_bytes() == old
    shell.verify("model.json")
    assert shell.repro() == {}
    shell.must("git", "checkout", "-q", "main")
    shell.must("dvc", "checkout", "-q")

    params(shell, "top: 3", "top: 10")
    done = shell.must("gitchain", "run", "--", "dvc", "repro")
    assert "is cached" in done
    assert (shell.cwd / "model.json").read_bytes() == old
    steps = {step["name"]: step for step in shell.verify("model.json")["steps"]}
    assert steps["train"]["evidence"] == steps["evaluate"]["evidence"] == "observed"


def test_run_cache_hit_is_told_apart(file_model: Shell) -> None:
    """What DVC restored instead of running it is declared and marked as a hit, never observed."""
    shell = file_model
    params(shell, "top: 10", "top: 3")
    shell.repro()
    params(shell, "top: 3", "top: 10")
    hits = shell.repro()
    assert {step: row["evidence"] for step, row in hits.items()} == {
        "train": "declared",
        "evaluate": "observed",  # DVC keeps no run cache for outs that it does not cache: this one did run
    }
    statement = shell.json("show", hits["train"]["id"])["statement"]
    assert statement["predicate"]["buildDefinition"]["internalParameters"]["dvc"]["runCache"] == "hit"
    shell.verify("model.json")


def test_commit_and_tag(file_model: Shell) -> None:
    """A tag, a commit and HEAD verify what they pin, also when the work tree holds something else."""
    shell = file_model
    shell.must("git", "tag", "-a", "v1", "-m", "v1")
    commit = shell.must("git", "rev-parse", "HEAD").strip()
    shell.must("gitchain", "sync")
    for target in ("v1", commit, commit[:10], "HEAD"):
        document = shell.verify(target)
        assert document["resource"]["name"] == "model.json"

    shell.flip("model.json")
    shell.verify("v1")
    shell.verify("model.json", 1)
    events = shell.json("log", "v1")["events"]
    assert "release" in {event["step"] for event in events}
    assert re.search(r"version|release", " ".join(event["predicateType"] for event in events))


def test_model_made_outside(file_model: Shell) -> None:
    """The same pipeline run without gitchain: its model is refused, and attesting it afterwards does not make it observed."""
    shell = file_model
    params(shell, "top: 10", "top: 4")
    shell.must("dvc", "repro", "-q")
    assert shell.gitchain("verify", "model.json").code == 1
    shell.must("gitchain", "attest")
    document = shell.verify("model.json", 1)
    assert "train" in {finding["step"] for finding in document["findings"]}

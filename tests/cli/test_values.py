"""Parameters and metric values stand in the statement of every kind of run, and none from outside the repository."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gitchain.errors import ExitCode
from gitchain.evidence.bundle import Bundle
from gitchain.store.git_ref import AttestationStore
from tests.support.prepared_repository import PreparedRepository, refused

Gitchain = Callable[..., Any]
SCHEMA = json.loads((Path(__file__).parents[2] / "schemas/step.schema.json").read_text(encoding="utf-8"))

DVC_YAML = """\
stages:
  fit:
    cmd: sh fit.sh
    deps: [in.txt]
    params: [lr, {conf/more.toml: }, {OUTSIDE: [token]}]
    outs: [fit.bin, rep]
    metrics: [m.json: {cache: false}]
metrics: [rep/loss.yaml]
"""
FIT = 'cp in.txt fit.bin; mkdir rep; echo \'loss: 1\' > rep/loss.yaml; echo \'{"acc":0.5,"deep":{"f1":1}}\' > m.json\n'


@pytest.fixture
def valued(world: PreparedRepository, tmp_path: Path) -> PreparedRepository:
    """Return a world with a stage that has parameters, one file of which lies outside, and metrics."""
    secret = tmp_path / "secret.yaml"
    secret.write_text("token: hunter2\n")
    world.write("dvc.yaml", DVC_YAML.replace("OUTSIDE", str(secret)))
    world.write("in.txt", "in")
    world.write("fit.sh", FIT)
    world.write("params.yaml", "lr: 0.1\nother: 2\n")
    world.write("conf/more.toml", "seed = 7\n")
    return world


def made(world: PreparedRepository, step: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the newest-made parameters and metrics of the one statement of a step."""
    store = AttestationStore.open(world.repo)
    found = [Bundle.parse(store.get(name) or b"").statement() for name in store.names()]
    assert not [one for one in found if b"hunter2" in one.payload]
    (statement,) = [
        one for one in found if b'"buildDefinition"' in one.payload and json.loads(one.payload)["predicate"]["buildDefinition"]["externalParameters"]["step"] == step
    ]  # fmt: skip
    document = json.loads(statement.payload)
    Draft202012Validator(SCHEMA).validate(document)
    predicate = document["predicate"]
    metrics = {
        one["name"]: one["annotations"]["metrics"]
        for one in predicate["runDetails"]["byproducts"]
        if "metrics" in one.get("annotations", {})
    }
    return predicate["buildDefinition"]["externalParameters"].get("parameters", {}), metrics


PARAMS = {"params.yaml": {"lr": 0.1}, "conf/more.toml": {"seed": 7}}
METRICS = {"m.json": {"acc": 0.5, "deep": {"f1": 1}}, "rep/loss.yaml": {"loss": 1}}


@pytest.mark.parametrize("how", ["run -- dvc repro", "attest", "run STEP"])
def test_values_of_a_dvc_stage_are_in_its_statement(
    gitchain: Gitchain, valued: PreparedRepository, how: str
) -> None:
    """However its statement is made; a parameter file outside the repository is named and left out."""
    if how == "run -- dvc repro":
        done = gitchain("run", "--", "dvc", "repro", "-q", "fit", cwd=valued.repo)
    elif how == "attest":
        subprocess.run(["dvc", "repro", "-q", "fit"], cwd=valued.repo, check=True)
        done = gitchain("attest", cwd=valued.repo)
    else:
        done = gitchain("run", "fit", "--", "sh", "fit.sh", cwd=valued.repo)
    assert done.code == 0, done.text
    assert made(valued, "fit") == (PARAMS, METRICS)
    assert "secret.yaml" in done.err
    assert "outside the repository" in done.err


def test_values_of_a_stage_that_cannot_be_read_are_named(
    gitchain: Gitchain, valued: PreparedRepository
) -> None:
    """A parameter that is not there and metrics without values cost the statement nothing else."""
    text = (valued.repo / "dvc.yaml").read_text()
    valued.write("dvc.yaml", text.replace("params: [lr, ", "params: [lr, nothing, "))
    script = "cp in.txt fit.bin; mkdir rep; echo '- 1' > rep/loss.yaml; echo '{\"acc\":1}' > m.json"
    done = gitchain("run", "fit", "--", "sh", "-c", script, cwd=valued.repo)
    assert done.code == 0, done.text
    assert made(valued, "fit") == (PARAMS, {"m.json": {"acc": 1}})
    assert "params.yaml:nothing" in done.err
    assert "metrics rep/loss.yaml" in done.err


def test_values_named_on_the_command_line_are_recorded(
    gitchain: Gitchain, valued: PreparedRepository
) -> None:
    """--params is read before the command and --metrics after it; a metrics file need not be a product."""
    options = ("-m", "in.txt", "-p", "new.bin", "--params", "params.yaml:lr,other", "--params", "conf/more.toml", "--metrics", "m.json")  # fmt: skip
    script = "echo 'lr: 9' > params.yaml; echo 1 > new.bin; echo '{\"acc\":1}' > m.json"
    done = gitchain("run", "x", *options, "--json", "--", "sh", "-c", script, cwd=valued.repo)
    assert done.code == 0, done.text
    assert [one["name"] for one in done.json["attested"][0]["subject"]] == ["new.bin"]
    expected = {"params.yaml": {"lr": 0.1, "other": 2}, "conf/more.toml": {"seed": 7}}
    assert made(valued, "x") == (expected, {"m.json": {"acc": 1}})
    done = gitchain(
        "attest", "y", "-p", "new.bin", "--params", "params.yaml", "--metrics", "m.json", cwd=valued.repo
    )
    assert done.code == 0, done.text
    assert made(valued, "y") == ({"params.yaml": {"lr": 9}}, {"m.json": {"acc": 1}})


def test_values_that_were_not_written_are_not_recorded(
    gitchain: Gitchain, valued: PreparedRepository
) -> None:
    """An old metrics file is named and left out, one that is missing is an error, and the product keeps its statement."""
    valued.write("m.json", '{"acc": 1}')
    done = gitchain(
        "run", "x", "-p", "new.bin", "--metrics", "m.json", "--", "touch", "new.bin", cwd=valued.repo
    )
    assert done.code == 0, done.text
    assert "did not write its product m.json" in done.err
    assert made(valued, "x") == ({}, {})
    done = gitchain("run", "y", "-p", "new.bin", "--metrics", "no.json", "--", "sh", "-c", "echo 1 > new.bin", cwd=valued.repo)  # fmt: skip
    refused(done, ExitCode.RUN, "no.json")
    assert made(valued, "y") == ({}, {})
    done = gitchain("run", "z", "-p", "new.bin", "--metrics", "m.json", "--", "sh", "-c", "echo '{}' > m.json", cwd=valued.repo)  # fmt: skip
    refused(done, ExitCode.RUN, "did not write its product new.bin")


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--params", "../secret.yaml"), "outside"),
        (("--params", "link.yaml"), "outside the repository"),
        (("--params", "params.yaml:nope"), "nope"),
        (("--params", "nope.yaml"), "nope.yaml"),
    ],
)
def test_values_that_cannot_be_read_stop_run_before_the_command(
    gitchain: Gitchain, valued: PreparedRepository, option: tuple[str, str], words: str
) -> None:
    """What the caller names and cannot be recorded is an error before the command, not after it."""
    (valued.repo / "link.yaml").symlink_to("../secret.yaml")
    done = gitchain("run", "x", "-p", "new.bin", *option, "--", "touch", "new.bin", cwd=valued.repo)
    refused(done, ExitCode.RUN, words)
    assert not (valued.repo / "new.bin").exists()
    refused(gitchain("attest", "x", "-p", "in.txt", *option, cwd=valued.repo), ExitCode.USAGE, words)
    refused(gitchain("attest", *option, cwd=valued.repo), ExitCode.USAGE, "STEP")
    done = gitchain("run", *option, "--", "dvc", "repro", cwd=valued.repo)
    refused(done, ExitCode.RUN, "dvc repro")
    done = gitchain("attest", "x", "--type", "https://a/b", "--predicate", "in.txt", *option, cwd=valued.repo)
    refused(done, ExitCode.USAGE, "--type")

"""DVC stages as statements: they satisfy the schema, name what is observed, and hold neither secrets nor credentials."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gitchain.produce.dvc_stages import declared_drafts, observe_repro
from gitchain.workspace.project import open_project
from tests.support.preloaded import programs

SCHEMA = json.loads((Path(__file__).parents[2] / "schemas/step.schema.json").read_text(encoding="utf-8"))
DVC_YAML = """stages:
  make:
    cmd: python make.py --token hunter2
    deps: [in.txt, make.py]
    params: [size]
    outs: [out]
"""


@pytest.fixture
def project(git_repo: Path, git: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a Git + DVC project with one stage, an SSH remote, and a tracked input."""
    places = (str(programs()), str(Path(sys.executable).parent), os.environ["PATH"])
    monkeypatch.setenv("PATH", os.pathsep.join(places))
    monkeypatch.chdir(git_repo)
    git(git_repo, "remote", "add", "origin", "git@example.com:team/a.git")
    subprocess.run(["dvc", "init", "-q"], check=True)
    Path("in.txt").write_text("in")
    Path("params.yaml").write_text("size: 3\n")
    Path("make.py").write_text(
        "from pathlib import Path\nPath('out').mkdir()\nPath('out/a').write_text('a')\n"
    )
    Path("dvc.yaml").write_text(DVC_YAML)
    subprocess.run(["dvc", "add", "-q", "in.txt"], check=True)
    git(git_repo, "add", "-A")
    git(git_repo, "commit", "-q", "-m", "project")
    return git_repo


def statements(drafts: Any) -> dict[str, Any]:
    found = [json.loads(draft.statement.payload) for draft in drafts]
    return {one["predicate"]["buildDefinition"]["externalParameters"]["step"]: one for one in found}


def test_observed_and_declared_stages_satisfy_the_schema(project: Path) -> None:
    """What `run -- dvc repro` and `attest` write is what schemas/step.schema.json says."""
    seen = observe_repro(open_project(project), ["dvc", "repro", "-q"])
    assert (seen.exit_code, seen.problems) == (0, ())
    observed = statements(seen.drafts)
    declared = statements(declared_drafts(open_project(project), ()).drafts)
    assert set(observed) == set(declared) == {"make", "in.txt.dvc"}
    for one in (*observed.values(), *declared.values()):
        Draft202012Validator(SCHEMA).validate(one)
    strength = {"observed": observed["make"], "declared": declared["make"]}
    for word, one in strength.items():
        assert one["predicate"]["buildDefinition"]["internalParameters"]["evidence"] == word
    internal = strength["observed"]["predicate"]["buildDefinition"]["internalParameters"]
    assert internal["environment"]["interpreters"]
    assert strength["declared"]["predicate"]["buildDefinition"]["internalParameters"]["environment"] == {}


def test_secrets_in_a_stage_command_are_hidden(project: Path) -> None:
    """A token on a command line goes into no log, observed or declared."""
    seen = observe_repro(open_project(project), ["dvc", "repro", "-q"])
    for drafts in (seen.drafts, declared_drafts(open_project(project), ("make",)).drafts):
        payload = b"".join(draft.statement.payload for draft in drafts)
        assert b"hunter2" not in payload
        assert b"make.py" in payload


def test_an_ssh_remote_is_named_without_its_user(project: Path) -> None:
    """git@host:path is the remote that most teams have: it is a source, not a refusal."""
    (draft,) = declared_drafts(open_project(project), ("in.txt.dvc",)).drafts
    assert b'"uri":"git+ssh://example.com/team/a.git"' in draft.statement.payload
    assert b"git@" not in draft.statement.payload

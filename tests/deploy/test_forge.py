"""Workflow, issue forms, commit hooks and RELEASE.md: they name what exists, and the workflow is what GitHub takes."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import gitchain

ROOT = Path(__file__).parents[2]
FORGE = ROOT / ".github"
PINNED = re.compile(r"[\w./-]+@[0-9a-f]{40}")


def test_workflow_runs_the_ci_script_and_may_only_read() -> None:
    """CI is `.ci/run`, with actions pinned by commit, without write permissions or credentials."""
    text = (FORGE / "workflows" / "ci.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert all(PINNED.fullmatch(step["uses"]) for step in steps if "uses" in step)
    assert workflow["permissions"] == {"contents": "read"}
    assert "secrets." not in text
    assert "pull_request_target" not in text


def test_workflow_passes_actionlint(actionlint: Path, git_repo: Path) -> None:
    """GitHub takes the workflow."""
    shutil.copytree(FORGE, git_repo / ".github")
    linted = subprocess.run(
        [actionlint, "-color=false"], cwd=git_repo, capture_output=True, text=True, check=False
    )
    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("path", sorted(FORGE.glob("ISSUE_TEMPLATE/[!c]*.yml")), ids=lambda path: path.stem)
def test_issue_form_is_complete(path: Path) -> None:
    """A form has a name, a description, and fields with labels and one id each."""
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert form["name"]
    assert form["description"]
    assert fields
    assert all(field["attributes"]["label"] for field in fields)
    assert len({field["id"] for field in fields}) == len(fields)


def test_pre_commit_hooks_are_the_checks_of_make() -> None:
    """The hooks run the pinned tools that `make check` runs, and download nothing."""
    repos = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [one["repo"] for one in repos] == ["local"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for hook in repos[0]["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].replace(".venv/bin", "$(BIN)") in makefile


def test_release_names_files_and_targets_that_exist() -> None:
    """Every path in RELEASE.md exists, and the two places of the version agree."""
    text = (ROOT / "RELEASE.md").read_text(encoding="utf-8")
    for path in ("pyproject.toml", "gitchain/__init__.py", "CHANGELOG.md", ".ci/run", "deploy/wheels.py"):
        assert path in text
        assert (ROOT / path).exists()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == gitchain.__version__
    assert "\n## Unreleased\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_release_version_is_the_same_everywhere() -> None:
    """Package, chart, image and change log have one version; the change log starts with what comes next."""
    version = gitchain.__version__
    chart = yaml.safe_load((ROOT / "deploy/helm/gitchain/Chart.yaml").read_text("utf-8"))
    assert (chart["version"], chart["appVersion"]) == (version, version)
    for name in ("deploy/container/Containerfile", "docs/runbook.md"):
        tags = re.findall(r"/gitchain:(\d[\w.]*)", (ROOT / name).read_text("utf-8"))
        assert set(tags) == {version}, name
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(version)} - \d{{4}}-\d\d-\d\d", headings[1])

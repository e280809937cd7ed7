"""`.ci/versions`: the other versions of Python are tested where they are, named where they are not."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / ".ci" / "versions"
OTHERS = re.findall(r"3\.\d+", re.search(r"for version in (.+); do", SCRIPT.read_text("utf-8"))[1])  # type: ignore[index]


def versions(folder: Path, **interpreters: str) -> subprocess.CompletedProcess[str]:
    """Run the script where only these interpreters are in PATH, and none in pyenv's or a CI machine's directories."""
    programs = folder / "bin"
    programs.mkdir()
    for name, text in interpreters.items():
        path = programs / name.replace("_", ".")
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("PYENV", "MAKE"))},
        "HOME": str(folder),
        "PATH": f"{programs}:/usr/bin:/bin",
        "AGENT_TOOLSDIRECTORY": str(folder),
    }
    return subprocess.run([str(SCRIPT)], env=environment, capture_output=True, text=True, check=False)


def test_versions_names_each_version_that_is_not_here(tmp_path: Path) -> None:
    """A name that leads to another version is no interpreter of this one."""
    done = versions(tmp_path, **{f"python{version}": "echo 2.7" for version in OTHERS})
    assert done.returncode == 0
    assert re.findall(r"NOT RUN: tests with Python (\S+):", done.stderr) == OTHERS


def test_versions_fails_where_the_packages_do_not_install(tmp_path: Path) -> None:
    """An interpreter that makes no environment is a failure, not a version that was left out."""
    broken = 'case "$*" in *print*) echo 3.12 ;; *) exit 1 ;; esac'
    done = versions(tmp_path, python3_12=broken, python3_13="exit 1", python3_14="exit 1")
    assert done.returncode == 1
    assert "FAILED: the locked packages do not install with Python 3.12" in done.stderr


def test_versions_are_those_of_the_classifiers_and_the_page() -> None:
    """pyproject.toml names tested versions only; docs/packaging.md has a row for each version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = [one.rpartition(" ")[2] for one in project["classifiers"] if re.search(r":: 3\.\d+$", one)]
    assert named == ["3.11", "3.12", "3.13"]
    assert set(named) <= {"3.11", *OTHERS}
    page = (ROOT / "docs" / "packaging.md").read_text("utf-8")
    assert [
        version
        for version in ("3.11", *OTHERS)
        if not re.search(rf"^\| Python .*{version}", page, re.MULTILINE)
    ] == []


def test_ci_runs_the_other_versions() -> None:
    assert re.search(r"^\.ci/versions", (ROOT / ".ci" / "run").read_text("utf-8"), re.MULTILINE)

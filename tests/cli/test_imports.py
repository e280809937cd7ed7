"""What a verb does not need, it does not import: imports are most of the time that a command takes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"sigstore", "dvc", "in_toto", "pygit2", "yaml", "cryptography"}
PROBE = """
import json, sys
from gitchain.cli.main import run
code = int(run(sys.argv[2:]))
print(json.dumps([code, sorted({name.partition(".")[0] for name in sys.modules})]), file=open(sys.argv[1], "w"))
"""


def modules(repo: Path, report: Path, *args: str) -> set[str]:
    """Run a verb in a new process and return the top names of what it imported."""
    command = [sys.executable, "-c", PROBE, str(report), "-C", str(repo), *args]
    subprocess.run(command, check=True, capture_output=True)
    code, names = json.loads(report.read_text(encoding="utf-8"))
    assert code in {0, 3}  # 3: nothing attested yet
    return set(names)


@pytest.mark.parametrize(
    "args", [("--version",), ("hooks", "status"), ("trust", "status"), ("completion", "bash")], ids=" ".join
)
def test_verb_imports_what_it_needs_alone(git_repo: Path, tmp_path: Path, args: tuple[str, ...]) -> None:
    """A verb that neither signs nor verifies loads neither sigstore nor the other large libraries."""
    assert modules(git_repo, tmp_path / "report.json", *args).isdisjoint(HEAVY)


def test_status_of_pinned_trust_needs_no_sigstore(git_repo: Path, tmp_path: Path) -> None:
    """A trusted root with the digest that was pinned is not built again to say that it is the same."""
    report = tmp_path / "report.json"
    modules(git_repo, report, "init", "--local")
    assert "sigstore" not in modules(git_repo, report, "trust", "status")
    assert modules(git_repo, report, "log").isdisjoint(
        {"sigstore", "in_toto"}
    )  # reading verifies, and signs not

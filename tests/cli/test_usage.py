"""Mistakes in a command line: our words, and the command to type."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Gitchain = Callable[..., Any]
PACKAGE = Path(__file__).parents[2] / "gitchain"
MISTAKES = {
    "show": ("ID is missing", "gitchain show ID"),
    "show a b": ("too many arguments", "gitchain show --help"),
    "fetch a": ("DEST is missing", "gitchain fetch SOURCE DEST"),
    "verify --jsn": ("no such option", "gitchain verify --json"),
    "verify --nosuch": ("no such option", "gitchain verify --help"),
    "verify --batch": ("option --batch needs a value", "gitchain verify --batch FILE|-"),
    "-C": ("option -C needs a value", "gitchain -C DIR"),
    "sync --dry-run=1": ("option --dry-run takes no value", "gitchain sync --dry-run"),
    "atest": ("no such command", "gitchain attest"),
    "layout lnt": ("no such command", "gitchain layout lint"),
    "nosuch": ("no such command", "gitchain --help"),
    "layout nosuch": ("no such command", "gitchain layout --help"),
    "bundle verify a": ("--bundle is missing", "gitchain bundle verify FILE_OR_DIGEST --bundle FILE"),
    "completion tcsh": ("bash|zsh|fish", "gitchain completion --help"),
    "attest a --as=": ("--as cannot be used", "gitchain attest --help"),
    "attest s --type u --predicate none": ("file 'none' does not exist", "gitchain attest --help"),
    "revoke artifact x --reason bad": (
        "compromised, mistaken, superseded",
        "gitchain revoke artifact --help",
    ),
    "run": ("no command to run", "-- CMD"),
    "run train python train.py": ("too many arguments", "gitchain run train -- python train.py"),
    "run dvc repro": ("too many arguments", "gitchain run -- dvc repro"),
    "run -q dvc repro --force": ("no such option", "gitchain run -q -- dvc repro --force"),
    "run train -m a --product=b python t.py": (
        "too many",
        "gitchain run train -m a --product=b -- python t.py",
    ),
    "guard m python serve.py {}": ("too many arguments", "gitchain guard m -- python serve.py '{}'"),
    "guard m --layout x -x": ("no such option", "gitchain guard --help"),
}


@pytest.mark.parametrize("line", MISTAKES)
def test_mistake_names_what_to_type(gitchain: Gitchain, line: str) -> None:
    """Exit code 2, no sentence of the parser as it stands, and a command that goes on."""
    what, advice = MISTAKES[line]
    done = gitchain(*line.split())
    assert done.code == 2, done.text
    assert what in done.err
    assert f"  help      {advice}" in done.err or advice in done.err.partition("  help")[2]
    for theirs in ("Got unexpected", "No such", "Missing", "Invalid value", "requires an argument"):
        assert theirs not in done.err


def test_mistake_is_one_document_under_json(gitchain: Gitchain) -> None:
    """The advice is in the document too, wherever --json stands."""
    error = gitchain("run", "train", "--json", "python", "train.py").json["error"]
    assert error["exitCode"] == 2
    assert error["help"] == "gitchain run train --json -- python train.py"


def test_reason_of_the_system_is_not_python_s() -> None:
    """An error that is about what the system refused holds the reason alone: no `[Errno 2]`, no name a second time."""
    found = [
        f"{path}:{node.lineno}"
        for path in PACKAGE.rglob("*.py")
        for handler in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(handler, ast.ExceptHandler) and handler.type and "OSError" in ast.unparse(handler.type)
        for node in ast.walk(handler)
        if isinstance(node, ast.keyword) and node.arg == "got" and "str(error)" in ast.unparse(node.value)
    ]
    assert [one for one in found if not one.startswith(str(PACKAGE / "collect/subprocess_tee.py"))] == []

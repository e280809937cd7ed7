"""The room is pure and light: it imports nothing heavy and nothing that reads the world."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gitchain.evidence

ROOM = Path(gitchain.evidence.__file__).parent
MODULES = sorted(path.stem for path in ROOM.glob("*.py"))
WORLD = {
    "os",
    "io",
    "pathlib",
    "time",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "logging",
    "tempfile",
    "shutil",
    "sys",
}
HEAVY = ("cryptography", "sigstore", "dvc", "pygit2", "in_toto", "asn1crypto", "requests", "yaml", "click")


@pytest.mark.parametrize("module", MODULES)
def test_no_module_touches_the_world(module: str) -> None:
    """No module imports files, clock, randomness, network, processes or logging, or opens a file."""
    tree = ast.parse((ROOM / f"{module}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        names = {alias.name.split(".")[0] for alias in node.names} if isinstance(node, ast.Import) else set()
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {node.module.split(".")[0]}
        assert not names & WORLD
        assert not (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in {"open", "print"}
        )
        assert not (isinstance(node, ast.Attribute) and node.attr in {"now", "utcnow", "today"})


def test_importing_the_room_is_light() -> None:
    """None of the heavy libraries is loaded by importing every module of the room."""
    lines = [f"import gitchain.evidence.{name}" for name in MODULES if name != "__init__"]
    program = "\n".join([*lines, "import sys", f"print([name for name in {HEAVY!r} if name in sys.modules])"])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

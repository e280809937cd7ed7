"""Files and functions of the package stay short enough to read at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
MAX_FILE = 300
"""Lines of a file."""

MAX_FUNCTION = 40
"""Lines of a function's body, without its docstring."""


def _files() -> Iterator[Path]:
    yield from sorted((ROOT / "gitchain").rglob("*.py"))


def test_files_are_short() -> None:
    """A file has at most MAX_FILE lines."""
    long = {
        path.relative_to(ROOT).as_posix()
        for path in _files()
        if len(path.read_text(encoding="utf-8").splitlines()) > MAX_FILE
    }
    assert not long


def test_functions_are_short() -> None:
    """A function's body has at most MAX_FUNCTION lines."""
    long = []
    for path in _files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
                lines = (node.end_lineno or 0) - body[0].lineno + 1
                if lines > MAX_FUNCTION:
                    long.append(f"{path.relative_to(ROOT)}: {node.name} has {lines} lines")
    assert not long

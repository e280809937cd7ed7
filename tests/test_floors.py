"""The floors of the house: an import may only go down, and rooms on one floor do not import each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "gitchain"
FLOORS = {
    "errors": 0,
    "evidence": 1,
    "layout": 2,
    "verify": 3,
    "collect": 4,
    "sign": 4,
    "store": 4,
    "instance": 4,
    "pipeline": 5,
    "admit": 6,
    "report": 6,
    "hooks": 6,
    "cli": 7,
    "__main__": 8,
}
MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} uses a relative import"
            names = [f"{node.module}.{alias.name}" if node.module == "gitchain" else str(node.module) for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "gitchain" and len(parts) > 1 and parts[1] != "__version__":
                yield parts[1], node.lineno


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_go_down(path: Path) -> None:
    """No module imports from a floor above its own, nor from another room on its floor."""
    room = room_of(path)
    for other, line in imported_rooms(path):
        allowed = other == room or FLOORS[other] < FLOORS[room]
        assert allowed, f"{path}:{line}: {room} (floor {FLOORS[room]}) imports {other} (floor {FLOORS[other]})"


def test_every_room_has_a_floor() -> None:
    """A new room without a floor would escape the rule."""
    rooms = {room_of(path) for path in MODULES}
    assert rooms <= set(FLOORS)
    assert {"errors", "evidence", "verify"} <= rooms

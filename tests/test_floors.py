"""The floors of the house: an import may only go down, rooms on one floor do not import each other, nothing goes round."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
ROOT = REPOSITORY / "gitchain"
FLOORS = {
    "errors": 0,
    "evidence": 1,
    "platform": 1,
    "layout": 2,
    "verify": 3,
    "collect": 4,
    "sign": 4,
    "store": 4,
    "instance": 4,
    "workspace": 5,
    "trust": 6,
    "sources": 6,
    "consume": 7,
    "fleet": 7,
    "produce": 8,
    "report": 8,
    "layout_test": 9,
    "admit": 9,
    "hooks": 9,
    "monitor": 9,
    "cli": 10,
    "__main__": 11,
}
DESIGN = REPOSITORY / "docs" / "design.md"


def name_of(path: Path) -> str:
    parts = path.relative_to(REPOSITORY).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}
INSIDE = {name: path for name, path in MODULES.items() if name != "gitchain"}


def room_of(module: str) -> str:
    return module.split(".")[1]


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Yield every module of ours that a file imports, wherever it says so: lazily, or for types alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} uses a relative import"
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            names = {name if name in MODULES else str(node.module) for name in below}
        elif isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        else:
            continue
        yield from ((name, node.lineno) for name in sorted(names) if name.split(".")[0] == "gitchain")


def room_graph() -> Mapping[str, set[str]]:
    """Return which rooms each room imports; the version in `gitchain/__init__.py` is no room."""
    graph: dict[str, set[str]] = {}
    for module, path in INSIDE.items():
        others = {room_of(name) for name, _ in imported(path) if name != "gitchain"}
        graph.setdefault(room_of(module), set()).update(others - {room_of(module)})
    return graph


def drawn_graph(page: str) -> Mapping[str, set[str]]:
    """Return the edges of the page's mermaid graph, one line for each room."""
    drawing = page.split("```mermaid\n")[1].split("```", maxsplit=1)[0]
    lines = re.findall(r"^ +(\w+) --> ([\w &]+)$", drawing, re.MULTILINE)
    assert len(lines) == len(dict(lines)) == drawing.count("-->"), "an edge is drawn in another way"
    return {room: set(others.split(" & ")) for room, others in lines}


@pytest.mark.parametrize("path", INSIDE.values(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_go_down(path: Path) -> None:
    """No module imports from a floor above its own, nor from another room on its floor."""
    room = room_of(name_of(path))
    for name, line in imported(path):
        other = room if name == "gitchain" else room_of(name)
        allowed = other == room or FLOORS[other] < FLOORS[room]
        assert allowed, (
            f"{path}:{line}: {room} (floor {FLOORS[room]}) imports {other} (floor {FLOORS[other]})"
        )


def test_every_room_has_a_floor() -> None:
    """A new room without a floor would escape the rule."""
    rooms = {room_of(module) for module in INSIDE}
    assert rooms <= set(FLOORS)
    assert {"errors", "evidence", "verify"} <= rooms


def test_no_circle_between_modules() -> None:
    """No module leads back to itself, not even by lazy imports or by imports for types."""
    graph = {module: {name for name, _ in imported(path)} for module, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_the_drawn_graph_is_the_real_one() -> None:
    """docs/design.md draws exactly the imports between rooms that the code has, and they do not go round."""
    drawn = drawn_graph(DESIGN.read_text(encoding="utf-8"))
    assert drawn == {room: others for room, others in room_graph().items() if others}
    TopologicalSorter(drawn).prepare()


def test_the_table_of_floors_names_every_room() -> None:
    """docs/design.md says what lives in each room, on the floor that the imports obey."""
    rows = re.findall(r"^\| (\d+) \| (.+?) \| \S", DESIGN.read_text(encoding="utf-8"), re.MULTILINE)
    told = {room: int(floor) for floor, rooms in rows for room in re.findall(r"`(\w+?)(?:/|\.py)`", rooms)}
    assert told == {room: FLOORS[room] for room in room_graph()}


def test_what_directories_of_tests_share_is_in_the_support_package() -> None:
    """A test imports from tests.support and from its own directory; programs also from the programs of tests/stack."""
    shared = {"support", "stack"}
    wrong = []
    for path in sorted((REPOSITORY / "tests").rglob("*.py")):
        own = path.relative_to(REPOSITORY).parts[1]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests."):
                room = str(node.module).split(".")[1]
                if room != own and (room not in shared or own == "support"):
                    wrong.append(f"{path}:{node.lineno} imports {node.module}")
    assert not wrong


OUTSIDE = {
    "http.client", "http.server", "httpx", "requests", "socket", "socketserver", "ssl", "urllib.request", "urllib3",
    "fcntl", "multiprocessing", "pty", "subprocess",
    "yaml",
}  # fmt: skip
"""Modules for sockets, HTTP, processes, locks and YAML: `platform/` has one bounded function for each need."""

ELSEWHERE = {
    "admit/connections.py": {"socket", "ssl"},  # the server's own connections, counted and timed
    "admit/listener.py": {"socket", "ssl"},  # the server's own socket
    "admit/otlp.py": {"requests"},  # OpenTelemetry's exporter takes a session of requests
    "admit/server.py": {"socket"},  # the server's own socket
    "admit/tls.py": {"ssl"},  # the server's certificate
    "collect/subprocess_tee.py": {"subprocess"},  # the user's own command
    "consume/mutability.py": {"fcntl"},  # a read lease, no lock
    "consume/private_copy.py": {"fcntl"},  # a reflink, no lock
    "instance/server.py": {"http.server", "socket"},  # a server on loopback
    "monitor/serving.py": {"http.server"},  # the witness' server
    "sign/login.py": {"http.server"},  # hears the browser's answer, on loopback
    "verify/public_trust.py": {"requests"},  # the type of an error of sigstore-python
}
"""What other rooms use of them, with the reason. This table only gets shorter."""


def test_only_platform_reaches_the_outside_world() -> None:
    """A second client, runner, lock or reader outside of platform/ is red here, unless it is only there for types."""
    found: dict[str, set[str]] = {}
    for path in MODULES.values():
        name = str(path.relative_to(ROOT))
        if not name.startswith("platform/"):
            used = set(outside(path))
            if used:
                found[name] = used
    assert found == ELSEWHERE


def outside(path: Path) -> Iterator[str]:
    """Yield the modules in OUTSIDE that a file imports, but for types."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    types = {
        below
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for below in ast.walk(node)
    }
    for node in set(ast.walk(tree)) - types:
        names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{one.name}" for one in node.names)]
        yield from (
            wanted for name in names for wanted in OUTSIDE if name == wanted or name.startswith(f"{wanted}.")
        )

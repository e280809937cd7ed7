"""The table of benchmarks: what counts as missed, and that the explained misses are real rows with a page."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "bench"


@pytest.fixture(scope="module")
def run() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_run", BENCH / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(1.5, ""), (1.6, "missed: README.md"), (2.0, "missed: README.md"), (2.1, "MISSED")],
)
def test_verdict_of_a_row(run: ModuleType, ratio: float, expected: str) -> None:
    """An explanation covers the ratio that it explains, and no higher one."""
    explained = {"row": {"name": "row", "most": 2.0, "page": "README.md"}}
    assert run.verdict({"name": "row", "ratio": ratio, "goal": 1.5}, explained) == expected
    assert run.verdict({"name": "other", "ratio": 1.6, "goal": 1.5}, explained) == "MISSED"


def test_explained_misses_have_a_page_that_exists(run: ModuleType) -> None:
    """Each is above its goal, once, and its page tells of it."""
    for name, one in run.read_explained(BENCH / "missed.toml").items():
        assert (ROOT / one["page"]).is_file(), name
        assert one["most"] > 0
        assert any(_words(name) & _words(path.read_text(encoding="utf-8")) for path in BENCH.glob("*.py"))


def test_readme_names_every_bench(run: ModuleType) -> None:
    """A bench is in the table that `make bench` runs, or in the list of those that are run by hand."""
    text = (BENCH / "README.md").read_text(encoding="utf-8")
    scripts = {path.stem for path in BENCH.glob("*.py")} - {"run"}
    assert set(run.BENCHES) <= scripts
    assert not [name for name in scripts if f"`{name}" not in text]


def test_picture_is_drawn_from_the_runs_in_the_repository() -> None:
    """`python bench/chart.py` makes the picture again after a run is added."""
    done = subprocess.run([sys.executable, str(BENCH / "chart.py"), "--check"], check=False)
    assert done.returncode == 0


def test_runs_in_the_repository_say_what_was_measured(run: ModuleType) -> None:
    """Each has its commit, machine and time, and rows of benches that exist."""
    for path in (BENCH / "history").iterdir():
        found = json.loads(path.read_text(encoding="utf-8"))
        assert found["schema"] == run.SCHEMA
        assert path.stem == f"{found['time'][:10]}-{found['commit'][:7]}"
        assert found["machine"]["processors"] > 0
        assert {row["bench"] for row in found["rows"]} <= set(run.BENCHES)


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w{4,}", text))

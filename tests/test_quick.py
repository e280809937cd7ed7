"""`make quick` runs the tests that belong to what changed, and stops in time."""

from __future__ import annotations

import types
from typing import Any

import pytest

from tests import quick

TEXTS = {
    "tests/test_docs.py": 'PAGES = "docs"',
    "tests/test_floors.py": "",
    "tests/verify/test_trace.py": "from gitchain.verify.trace import lookup",
    "tests/verify/test_trace_edges.py": "",
    "tests/verify/test_report.py": "from gitchain.verify import trace, report",
    "tests/cli/test_main.py": "from gitchain.errors import ExitCode\nfrom tests.support.shell import Shell",
    "tests/collect/inspect/test_gguf.py": "",
}


def test_relevant_puts_mirrors_first_then_importers_then_smoke() -> None:
    assert quick.relevant(["gitchain/verify/trace.py"], TEXTS) == [
        "tests/verify/test_trace.py",
        "tests/verify/test_trace_edges.py",
        "tests/verify/test_report.py",
        "tests/test_floors.py",
        "tests/test_docs.py",
    ]


@pytest.mark.parametrize(
    ("changed", "first"),
    [
        ("tests/cli/test_main.py", "tests/cli/test_main.py"),
        ("gitchain/errors.py", "tests/cli/test_main.py"),
        ("tests/support/shell.py", "tests/cli/test_main.py"),
        ("gitchain/verify/tracer.py", "tests/test_floors.py"),
        ("nothing/known.txt", "tests/test_floors.py"),
    ],
)
def test_relevant_knows_tests_top_modules_and_strangers(changed: str, first: str) -> None:
    assert quick.relevant([changed], TEXTS)[0] == first


def test_relevant_smoke_set_exists() -> None:
    assert [name for name in quick.SMOKE if not (quick.ROOT / name).is_file()] == []


@pytest.mark.parametrize(("seconds", "stops"), [(3600, False), (-1, True)])
def test_budget_stops_the_session_when_time_is_over(seconds: float, *, stops: bool) -> None:
    budget = quick.Budget(seconds)
    session: Any = types.SimpleNamespace(shouldstop=False)
    budget.pytest_sessionstart(session)
    report: Any = types.SimpleNamespace(nodeid="one")
    budget.pytest_runtest_logreport(report)
    assert (budget.is_over, bool(session.shouldstop)) == (stops, stops)

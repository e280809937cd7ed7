"""The tracer in bench/touched.py runs each verb and counts what it goes through."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_touched_counts_what_each_verb_goes_through() -> None:
    """Each verb has a row with numbers of modules, files, functions and lines, and functions are named on request."""
    command = [sys.executable, str(ROOT / "bench" / "touched.py"), "--names"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    rows = {words[0]: words[1:] for line in lines if len(words := line.split()) == 5}
    assert set(rows) == {"run", "verify", "serve"}
    assert all(
        0 < int(files) <= int(modules) <= int(functions) for modules, files, functions, _ in rows.values()
    )
    assert "          verify/decide.py: decide" in lines

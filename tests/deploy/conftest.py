"""The linter of workflows: built once, not in the empty home of each test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stack.build import cache_directory

BUILD = Path(__file__).parents[1] / "stack" / "build.py"
CACHE = str(cache_directory())  # before any test has a home of its own


@pytest.fixture(scope="session")
def actionlint() -> Path:
    """Return the real actionlint; skip without it, or without Go to build it."""
    done = subprocess.run(
        [sys.executable, BUILD, "actionlint"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"GITCHAIN_STACK_CACHE": CACHE},
    )
    if done.returncode or not done.stdout.split():
        pytest.skip(f"actionlint cannot be had, workflows are NOT LINTED: {done.stderr.strip()[-200:]}")
    return Path(done.stdout.split()[-1])

"""Preloaded programs do what the installed ones do."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.preloaded import programs
from tests.support.prepared_repository import PreparedRepository

ROOT = Path(__file__).parents[2]
LEAVES = """
import socket
from tests.support.preloaded import programs
connection = socket.socket(socket.AF_UNIX)
connection.connect(str(programs().parent / "server"))
socket.send_fds(connection, [(100).to_bytes(4, "big")], [0, 1, 2])
"""
"""A test run that ends in the middle of calling a program."""
BIN = Path(sys.executable).parent
LINES = [
    ("gitchain", "--version"),
    ("gitchain", "log", "--json"),
    ("gitchain", "verify", "nosuch"),
    ("gitchain", "verify", "model.bin"),
    ("gitchain", "layout", "lint", "-"),
    ("gitchain", "nosuch"),
    ("dvc", "root"),
    ("dvc", "nosuch"),
]


@pytest.mark.parametrize("line", LINES, ids=" ".join)
def test_preloaded_program_answers_as_the_installed_one(
    world: PreparedRepository, line: tuple[str, ...]
) -> None:
    """Exit code and both outputs are the same, in a directory and with an environment of its own."""
    answers = [
        subprocess.run(
            [place / line[0], *line[1:]],
            cwd=world.repo,
            input="name: x\n",
            capture_output=True,
            text=True,
            check=False,
        )
        for place in (programs(), BIN)
    ]
    preloaded, installed = (
        (one.returncode, one.stdout, one.stderr.replace(str(programs()), str(BIN))) for one in answers
    )
    assert preloaded == installed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_preloaded_program_ends_by_a_signal(
    world: PreparedRepository, tmp_path: Path, number: signal.Signals
) -> None:
    """A signal reaches the process that does the work, and its end is that of the program."""
    work = f"touch {tmp_path}/started; exec sleep 60"
    command = [str(programs() / "gitchain"), "run", "x", "-p", "model.bin", "--", "sh", "-c", work]
    with subprocess.Popen(command, cwd=world.repo, stderr=subprocess.DEVNULL) as program:
        while not (tmp_path / "started").exists():
            assert program.poll() is None
        program.send_signal(number)
        code = program.wait()
    assert code == (-number if number == signal.SIGKILL else 128 + number)


def test_preloaded_server_ends_with_its_test_run() -> None:
    """It and its children hold standard error: its end comes when all of them are gone."""
    done = subprocess.run(
        [sys.executable, "-c", LEAVES], cwd=ROOT, capture_output=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")

"""Commands under `gitchain run`: those that cannot start, fail, are killed, or spoil what they read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode
from tests.support.prepared_repository import PreparedRepository, intact, refused

Gitchain = Callable[..., Any]


@pytest.mark.parametrize("how", ["missing", "not executable", "a directory"])
def test_run_of_a_command_that_cannot_start(gitchain: Gitchain, world: PreparedRepository, how: str) -> None:
    """What cannot start is `run`'s own failure: 125, named."""
    world.write("tool", "#!/bin/sh\n")
    command = {"missing": "./nowhere", "not executable": "./tool", "a directory": "./data"}[how]
    refused(gitchain("run", "x", "-p", "made", "--", command, cwd=world.repo), ExitCode.RUN, command)
    refused(gitchain("run", "--", "dvc-nowhere", "repro", cwd=world.repo), ExitCode.RUN)
    intact(world)


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("exit 1", 1), ("kill -9 $$", 137), ("kill -15 $$", 143), ("exit 255", 255)])  # fmt: skip
def test_the_commands_own_code_passes_through(
    gitchain: Gitchain, world: PreparedRepository, script: str, code: int
) -> None:
    """A failing or killed command: its code, no evidence, and not one word of error from us."""
    done = gitchain("run", "x", "-p", "made", "--", "sh", "-c", f"echo x > made; {script}", cwd=world.repo)
    assert done.code == code, done.text
    assert "error:" not in done.err
    assert "nothing was attested" in done.err
    assert len(world.stored()) == 3
    assert world.waiting() == set()
    document = gitchain(
        "run", "x", "-p", "made", "--json", "--", "sh", "-c", f"echo noise; {script}", cwd=world.repo
    )
    assert document.code == code
    assert document.json["attested"] == []
    assert "noise" in document.err


@pytest.mark.parametrize("script", ["rm in.txt", "echo y > in.txt", "rm in.txt; mkdir in.txt", "mv in.txt x; ln -s x in.txt"])  # fmt: skip
def test_a_command_that_spoils_its_material(
    gitchain: Gitchain, world: PreparedRepository, script: str
) -> None:
    """Nobody can say what the command read: no evidence, and the file is named."""
    world.write("in.txt", "x")
    command = ("run", "x", "-m", "in.txt", "-p", "made", "--", "sh", "-c", f"echo z > made; {script}")
    refused(gitchain(*command, cwd=world.repo), ExitCode.RUN, "in.txt")
    assert len(world.stored()) == 3
    assert world.waiting() == set()


def test_a_command_that_makes_nothing(gitchain: Gitchain, world: PreparedRepository) -> None:
    """Exit 0 without the product is no success."""
    refused(gitchain("run", "x", "-p", "made", "--", "true", cwd=world.repo), ExitCode.RUN, "made")
    refused(gitchain("run", "x", "--", "true", cwd=world.repo), ExitCode.RUN, "x")
    refused(gitchain("run", "--", "true", cwd=world.repo), ExitCode.RUN, "step")
    refused(gitchain("run", "x", cwd=world.repo), ExitCode.USAGE, "command")
    refused(gitchain("run", "x", "-p", "made", "--", cwd=world.repo), ExitCode.USAGE, "command")
    refused(gitchain("run", "x", "-p", "f", "--", "dvc", "repro", cwd=world.repo), ExitCode.RUN, "dvc repro")


def test_a_command_that_is_not_utf8(gitchain: Gitchain, world: PreparedRepository) -> None:
    """A command that no statement can hold is refused before it runs."""
    word = os.fsdecode(b"\xff")
    refused(
        gitchain("run", "x", "-p", "made", "--", "touch", "made", word, cwd=world.repo), ExitCode.RUN, "UTF-8"
    )
    assert not (world.repo / "made").exists()


def test_run_json_is_one_document(gitchain: Gitchain, world: PreparedRepository) -> None:
    """Under --json stdout holds the document alone, whatever the command writes."""
    script = "import sys; print('{\"schema\": 1}'); sys.stdout.buffer.write(b'\\xff\\x00'); print('x', file=sys.stderr)"
    command = (
        "run",
        "x",
        "-p",
        "made",
        "--json",
        "--",
        sys.executable,
        "-c",
        f"open('made', 'w').write('1'); {script}",
    )
    done = gitchain(*command, cwd=world.repo)
    assert done.code == 0, done.text
    assert done.json["attested"][0]["step"] == "x"


@pytest.mark.parametrize(
    "value", [".nan", ".inf", "12345678901234567890", "1e400", "2026-01-01", "!!binary aGk="]
)
def test_parameters_that_json_cannot_hold(gitchain: Gitchain, world: PreparedRepository, value: str) -> None:
    """Parameters that YAML can say and JSON cannot: an error that names the file, or evidence, never a bug."""
    lock = (world.repo / "dvc.lock").read_text()
    world.write(
        "dvc.lock", lock + f"    params:\n      params.yaml:\n        lr: {value}\n        seeds: [{value}]\n"
    )
    done = gitchain("attest", "train", "--json", cwd=world.repo)
    if done.code != 0:
        refused(done, ExitCode.USAGE, "dvc.lock")
    intact(world)


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
def test_a_reader_that_went_away(
    monkeypatch: pytest.MonkeyPatch, world: PreparedRepository, unbuffered: str
) -> None:
    """`gitchain … | head` is an interruption, no verdict and no traceback."""
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    for command in ("verify model.bin", "log", "--help", "--version"):
        reading, writing = os.pipe()
        os.close(reading)
        line = [sys.executable, "-m", "gitchain", *command.split()]
        done = subprocess.run(
            line, cwd=world.repo, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
        )
        os.close(writing)
        assert (done.returncode, "Traceback" in done.stderr) == (ExitCode.INTERRUPTED, False), (
            command,
            done.stderr,
        )


def test_streams_that_are_closed(world: PreparedRepository) -> None:
    """Whoever closes the output wants the code alone, and no file takes the output's place."""
    for command, code in (("verify model.bin", 0), ("verify nowhere", 2), ("--version", 0), ("--help", 0)):
        for closed in (">&-", "<&- >&- 2>&-"):
            line = f"exec {sys.executable} -m gitchain {command} {closed}"
            done = subprocess.run(
                ["sh", "-c", line], cwd=world.repo, capture_output=True, text=True, check=False
            )
            assert (done.returncode, "Traceback" in done.stderr) == (code, False), (line, done.stderr)


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("command", [("verify", "model.bin"), ("--version",), ("--help",)], ids=" ".join)
@pytest.mark.parametrize("stream", ["stdout", "both"])
def test_an_output_that_is_full(
    monkeypatch: pytest.MonkeyPatch,
    world: PreparedRepository,
    stream: str,
    command: tuple[str, ...],
    unbuffered: str,
) -> None:
    """An answer that could not be written is not an answer: one error and its code, however Python writes."""
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gitchain", *command],
            cwd=world.repo,
            stdout=full,
            stderr=full if stream == "both" else subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == ExitCode.UNAVAILABLE
    if stream == "stdout":
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr
        assert "space" in done.stderr

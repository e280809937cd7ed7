"""Exit code 0 means verified and nothing else: no exception, whatever it is and wherever it comes from, gives 0.

The entry of every verb is replaced by one that raises, and the whole way from `run()` to the process's end is run.
"""

from __future__ import annotations

import errno
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from gitchain import errors
from gitchain.cli.main import VERBS
from gitchain.errors import ExitCode, GitchainError
from tests.support.command_line import call
from tests.support.fuzzing import FUZZ, sized
from tests.support.prepared_repository import PreparedRepository

OURS = [
    kind("made to fail")
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, GitchainError)
]


class Strange(Exception):  # noqa: N818 - a library's own
    """An exception whose text cannot be had."""

    def __str__(self) -> str:
        raise ValueError("no text")


class Zero(Exception):  # noqa: N818 - a library's own
    """An exception that says that all is well."""

    code = exit_code = 0


def foreign() -> list[BaseException]:
    """Exceptions of Python, of the system and of libraries."""
    import jwt
    import pygit2
    import yaml
    from cryptography.exceptions import InvalidSignature
    from requests.exceptions import ConnectionError as NoConnection
    from sigstore.errors import VerificationError

    system = [OSError(number, os.strerror(number)) for number in (errno.ENOSPC, errno.EIO, errno.EACCES, errno.EMFILE, 0)]  # fmt: skip
    python = [
        MemoryError(), RecursionError("deep"), KeyboardInterrupt(), BrokenPipeError(errno.EPIPE, "pipe"), EOFError(),
        ValueError("x"), TypeError("x"), KeyError("x"), IndexError(), AttributeError("x"), AssertionError(), StopIteration(0),
        StopAsyncIteration(), ArithmeticError(), ZeroDivisionError(), UnicodeDecodeError("utf-8", b"x", 0, 1, "x"), LookupError(),
        RuntimeError("x"), NotImplementedError(), ImportError("x"), ModuleNotFoundError("x"), SyntaxError("x"), TimeoutError(),
        ConnectionResetError(), FileNotFoundError(2, "x"), PermissionError(13, "x"), InterruptedError(), ChildProcessError(),
        subprocess.CalledProcessError(0, "x"), subprocess.TimeoutExpired("x", 1), BaseExceptionGroup("x", [ValueError()]),
        Exception(), Exception(0), Exception(None), Strange(), Zero(), SystemExit(0), SystemExit(None), SystemExit(False), SystemExit(1), SystemExit("text"),
    ]  # fmt: skip
    libraries = [
        click.ClickException("x"), click.UsageError("x"), click.Abort(), click.FileError("x"), click.exceptions.Exit(1),
        jwt.InvalidTokenError(), pygit2.GitError("x"), yaml.YAMLError("x"), InvalidSignature(), NoConnection(), VerificationError("x"),
    ]  # fmt: skip
    return [*system, *python, *libraries]


def raising(error: BaseException) -> Any:
    @click.command(context_settings={"ignore_unknown_options": True})
    @click.argument("rest", nargs=-1)
    def command(rest: tuple[str, ...]) -> None:
        raise error

    return command


def code_of(arguments: list[str], cwd: Path) -> object:
    try:
        return call(*arguments, cwd=cwd).code
    except SystemExit as end:
        return end.code
    except BaseException as error:  # noqa: BLE001 - Python ends such a process with 1
        return f"{type(error).__name__} ends the process"


@pytest.mark.parametrize("verb", VERBS)
def test_a07_exit_zero_only_on_verified(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every verb, every exception: never 0; and one of ours gives its own code."""
    for error in [*OURS, *foreign()]:
        monkeypatch.setattr(importlib.import_module(f"gitchain.cli.{verb}"), "command", raising(error))
        for options in ([], ["--json"]):
            code = code_of([verb, *options], tmp_path)
            assert code not in {0, None}, (verb, error)
            if isinstance(error, GitchainError):
                assert code == error.exit_code != ExitCode.OK


DEEP = {
    "target": "gitchain.consume.verifier:resolve_targets",
    "evidence": "gitchain.consume.verifier:gather",
    "layout": "gitchain.consume.load_layout:verify_layout",
    "decision": "gitchain.consume.verifier:decide",
    "bundle": "gitchain.verify.bundle:_prove",
    "report": "gitchain.cli.output:Options.document",
}


@pytest.mark.parametrize("place", DEEP)
def test_cve_2026_44310_no_exception_on_the_way_is_success(
    place: str, project: PreparedRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`verify` of a good model, with a failure at each stage of the way: never 0, and never PASSED on stdout."""
    assert call("verify", "model.bin", cwd=project.repo).code == 0
    module, _, path = DEEP[place].partition(":")
    *owners, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for part in owners:
        owner = getattr(owner, part)
    for error in [*OURS, *foreign()][:: sized(4, 1)]:

        def fail(*_args: object, _error: BaseException = error, **_more: object) -> None:
            raise _error

        monkeypatch.setattr(owner, name, fail)
        for options in (["--json"],) if not FUZZ else ([], ["--json"]):
            try:
                done = call("verify", "model.bin", *options, cwd=project.repo)
            except BaseException:  # noqa: BLE001 - Python ends such a process with 1
                continue
            assert done.code != 0, (place, error)
            if place != "report" or options:  # people have read the verdict by then: its document fails
                assert "PASSED" not in done.out, (place, error)


RETURNS = [True, False, "0", 0.0, [], {}, ExitCode.BUG, 70, -1, 256, 512, object()]


@pytest.mark.parametrize("value", RETURNS, ids=map(repr, range(len(RETURNS))))
def test_a07_strange_return_values_are_no_success(
    value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verb that returns nonsense did not verify: what a process's end makes of it is not 0."""

    @click.command()
    def command() -> object:
        return value

    monkeypatch.setattr(importlib.import_module("gitchain.cli.verify"), "command", command)
    code = code_of(["verify"], tmp_path)
    assert isinstance(code, int)
    assert code % 256 != 0


def test_cve_2025_25204_no_evidence_is_not_success(project: PreparedRepository, process: Any) -> None:
    """A model without any attestation is exit code 3, in a process of its own and in --json."""
    project.write("other.bin", "never attested")
    for options in ((), ("--json",), ("--quiet",)):
        done = process("verify", "other.bin", *options, cwd=project.repo)
        assert done.code == ExitCode.NOTHING, done.text
    assert (
        json.loads(process("verify", "other.bin", "--json", cwd=project.repo).out)["verificationResult"]
        == "FAILED"
    )


def test_cve_2026_44310_a_closed_pipe_is_not_success(project: PreparedRepository) -> None:
    """Nobody reads the answer of a failing verification: its exit code still says so."""
    project.write("model.bin", "tampered")
    for options in ([], ["--json"]):
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run(
            [sys.executable, "-m", "gitchain", "verify", "model.bin", *options],
            cwd=project.repo, stdout=write, stderr=write, check=False,
        )  # fmt: skip
        os.close(write)
        assert done.returncode not in {0, None}


def test_a_tampered_model_is_exit_one(project: PreparedRepository, process: Any) -> None:
    """And the control: the good model passes, the changed one fails, with their codes."""
    assert process("verify", "model.bin", cwd=project.repo).code == ExitCode.OK
    project.write("model.bin", "tampered")
    assert process("verify", "model.bin", cwd=project.repo).code == ExitCode.FAILED

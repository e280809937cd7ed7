"""The command line as a whole: exit codes, --json on failure, nothing imported that is not needed, no tracebacks."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from gitchain import __version__, errors
from gitchain.cli import main
from gitchain.cli.main import VERBS
from gitchain.cli.output import escape
from gitchain.errors import ExitCode, GitchainError

Gitchain = Callable[..., Any]
HEAVY = {"sigstore", "dvc", "pygit2", "in_toto", "cryptography", "pydantic", "asn1crypto", "requests"}


def test_version_imports_nothing_heavy() -> None:
    """`gitchain --version` answers without click, let alone sigstore, dvc or pygit2."""
    code = "import sys; sys.argv = ['gitchain', '--version']\ntry:\n    import gitchain.__main__ as m; m.main()\nexcept SystemExit: pass\nimport json; print(json.dumps(sorted({n.split('.')[0] for n in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    version, modules = done.stdout.splitlines()
    assert version == f"gitchain {__version__}"
    assert not (HEAVY | {"click"}) & set(json.loads(modules))


def test_help_imports_nothing_heavy() -> None:
    """Listing every verb imports no library that a verb needs only when it runs."""
    code = "import sys\nfrom gitchain.cli.main import run\nrun(['--help'])\nimport json; print(json.dumps(sorted({n.split('.')[0] for n in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_completion_of_the_shell_knows_the_program(gitchain: Gitchain) -> None:
    """What is printed is a script for bash that registers a completion for `gitchain`."""
    done = gitchain("completion", "bash")
    shell = ["bash", "--norc", "-c", 'eval "$1" && complete -p gitchain', "bash", done.out]
    asked = subprocess.run(shell, capture_output=True, text=True, check=False)
    assert (done.code, asked.returncode) == (0, 0), asked.stderr
    assert asked.stdout.endswith(" gitchain\n")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(gitchain: Gitchain, verb: str) -> None:
    """Each verb explains itself and takes the global options."""
    done = gitchain(verb, "--help")
    assert done.code == 0
    assert "--json" in done.out
    assert done.out.splitlines()[2].strip()


def test_global_options_stand_before_or_after_the_verb(gitchain: Gitchain, git_repo: Path) -> None:
    """`gitchain --json -C DIR verb` and `gitchain verb --json -C DIR` are the same."""
    before = gitchain("--json", "-C", str(git_repo), "log")
    after = gitchain("log", "--json", "-C", str(git_repo))
    assert before.json == after.json
    assert before.code == after.code == ExitCode.USAGE


def _errors() -> list[type[GitchainError]]:
    found = [GitchainError]
    for one in found:
        found += one.__subclasses__()
    return [one for one in found if one.__module__ == errors.__name__]


FOREIGN = [
    ValueError,
    KeyError,
    OSError,
    RuntimeError,
    AssertionError,
    MemoryError,
    RecursionError,
    SystemError,
    UnicodeError,
    StopIteration,
]


@pytest.mark.parametrize(
    "error", [*_errors(), *FOREIGN, KeyboardInterrupt, BrokenPipeError, click.Abort, click.UsageError]
)
def test_no_exception_ends_with_zero(
    gitchain: Gitchain, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """exit_zero_only_on_verified: whatever a verb raises, the exit code is not 0 and there is no traceback."""

    @click.command()
    def broken() -> None:
        raise error("boom")

    monkeypatch.setattr(main.Verbs, "get_command", lambda *_: broken)
    done = gitchain("verify")
    assert done.code != 0
    assert "Traceback" not in done.text
    if issubclass(error, GitchainError):
        assert done.code == error.exit_code
    elif error in FOREIGN:
        assert done.code in {ExitCode.BUG, ExitCode.LIMIT}


@pytest.mark.parametrize("value", ["PASSED", object(), 3.0, [0]])
def test_an_unknown_result_is_a_bug_not_a_success(
    gitchain: Gitchain, monkeypatch: pytest.MonkeyPatch, value: object
) -> None:
    """Only an exit code is a result; anything else that a verb returns maps to 70."""
    monkeypatch.setattr(main.Verbs, "get_command", lambda *_: click.Command("x", callback=lambda: value))
    assert gitchain("verify").code == ExitCode.BUG


def test_json_on_failure_is_one_document(gitchain: Gitchain, tmp_path: Path) -> None:
    """A failure under --json is a document with a schema, on stdout; people get theirs on stderr."""
    done = gitchain("verify", "--json", "-C", str(tmp_path))
    assert done.json["schema"].endswith("/error/v1")
    assert done.json["error"]["exitCode"] == done.code == ExitCode.USAGE
    assert "error:" in done.err


def test_parse_errors_are_json_too(gitchain: Gitchain) -> None:
    """An unknown option is answered in the form that was asked for."""
    assert gitchain("verify", "--json", "--nosuch").json["error"]["exitCode"] == ExitCode.USAGE


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\nb", "\u202egnp.exe", "\x9b31m", "\x07", "\u2028"])
def test_no_control_character_reaches_the_terminal(text: str) -> None:
    """terminal escape: evidence cannot move the cursor, ring the bell or reverse the text."""
    assert escape(text).isprintable()


def test_long_text_is_cut() -> None:
    """A megabyte of name does not flood the terminal."""
    assert len(escape("x" * 10**6)) < 5000

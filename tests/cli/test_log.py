"""`gitchain log`: the chain of the target alone, filters, and tables that fit the terminal."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.cli.output import table
from gitchain.errors import ExitCode

Gitchain = Callable[..., Any]
Git = Callable[..., str]
ATTEST = ("attest", "train", "-m", "in.txt", "-p", "model.txt")
GITCHAIN = Path(sys.executable).parent / "gitchain"


@pytest.fixture
def versions(gitchain: Gitchain, tiny: Path, git: Git) -> Path:
    """Return a repository with v1 and v2 of a model, both trained on the same data, which DVC tracks."""
    md5 = hashlib.md5((tiny / "in.txt").read_bytes()).hexdigest()
    (tiny / "in.txt.dvc").write_text(f"outs:\n- md5: {md5}\n  hash: md5\n  size: 2\n  path: in.txt\n")
    (tiny / ".gitignore").write_text("/in.txt\n")
    for tag in ("v1", "v2"):
        (tiny / "model.txt").write_text(f"model {tag}")
        assert gitchain(*ATTEST, cwd=tiny).code == 0
        git(tiny, "add", "-A")
        git(tiny, "commit", "-qm", tag)
        git(tiny, "tag", tag)
    return tiny


def models(done: Any) -> list[str]:
    """Return the digests of the models that the shown attestations made."""
    return [
        one["sha256"]
        for event in done.json["events"]
        for one in event["subject"]
        if one["name"] == "model.txt"
    ]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_log_of_a_tag_shows_the_chain_of_its_model_alone(
    gitchain: Gitchain, versions: Path, version: str
) -> None:
    """The data that another version was trained on as well does not bring that version's attestations."""
    assert models(gitchain("log", version, "--json", cwd=versions)) == [sha256(f"model {version}")]
    everything = models(gitchain("log", version, "--all", "--json", cwd=versions))
    assert everything == [sha256("model v1"), sha256("model v2")]


def test_log_of_a_tag_without_a_served_model_shows_what_it_pins(
    gitchain: Gitchain, versions: Path, git: Git
) -> None:
    """A commit of data alone still has a history."""
    git(versions, "rm", "-q", "model.txt")
    git(versions, "commit", "-qm", "data")
    assert len(models(gitchain("log", "HEAD", "--json", cwd=versions))) == 2


def test_log_shows_what_its_filters_match(gitchain: Gitchain, versions: Path) -> None:
    """Steps and signers by patterns, times in UTC; nothing is an empty table, not an error."""

    def count(*options: str) -> int:
        done = gitchain("log", *options, "--json", cwd=versions)
        assert done.code == ExitCode.OK, done.text
        return len(done.json["events"])

    every = count()
    assert count("--step", "train") == count("--step", "tr*") == 2
    assert count("--step", "train", "--step", "evaluate") == 2
    assert count("--step", "evaluate") == 0
    assert count("--signer", "ada@*") == every
    assert count("--signer", "eve@example.com") == 0
    assert count("--since", "2020-01-01") == count("--since", "2020-01-01T00:00:00Z") == every
    assert count("--since", "2099-01-01") == 0
    assert count("--since", "2020-01-01T02:00:00+02:00") == count("--since", "2020-01-01 00:00:00") == every
    assert count("--step", "layout") == 1
    assert "no event matches; 3 are not shown" in gitchain("log", "--step", "no", cwd=versions).err


@pytest.mark.parametrize("option", [("--since", "yesterday"), ("--step", ""), ("--signer", " ")])
def test_log_refuses_filters_that_are_none(
    gitchain: Gitchain, versions: Path, option: tuple[str, str]
) -> None:
    """One error, exit 2."""
    done = gitchain("log", *option, cwd=versions)
    assert done.code == ExitCode.USAGE
    assert option[0] in done.err


def test_log_with_all_of_a_tag_without_dvc(gitchain: Gitchain, tiny: Path, git: Git) -> None:
    """A commit that pins nothing but a model of Git has the history of that model."""
    assert gitchain(*ATTEST, cwd=tiny).code == 0
    git(tiny, "add", "-A")
    git(tiny, "commit", "-qm", "v1")
    assert len(models(gitchain("log", "HEAD", "--all", "--json", cwd=tiny))) == 1


def on_terminal(
    command: list[str],
    cwd: Path,
    columns: int,
    lines: int,
    pager: str = "sed s/^/paged:/",
    path: str | None = None,
) -> str:
    """Return what a command prints on a terminal of this size; the default PAGER marks its lines."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "PAGER": pager, "PATH": path or os.environ["PATH"]}
    environment.pop("COLUMNS", None)
    environment.pop("LINES", None)
    with subprocess.Popen(command, cwd=cwd, stdin=slave, stdout=slave, stderr=slave, env=environment) as job:
        os.close(slave)
        text = b""
        try:
            while part := os.read(master, 65536):
                text += part
        except OSError:  # the end, on Linux
            pass
        os.close(master)
    assert job.returncode == 0, text
    return text.decode().replace("\r\n", "\n")


def test_log_fits_the_terminal(versions: Path) -> None:
    """Long names and signers break into more lines; nothing is cut."""
    wide = on_terminal([str(GITCHAIN), "log"], versions, 300, 40)
    narrow = on_terminal([str(GITCHAIN), "log"], versions, 80, 40)
    assert max(map(len, narrow.splitlines())) <= 80
    assert len(wide.splitlines()) == 4
    assert "ada@example.com" in wide
    assert "paged:" not in wide + narrow


def test_log_uses_the_pager_if_the_table_is_longer_than_the_terminal(versions: Path) -> None:
    """As Git does; a pipe gets the whole text."""
    assert "paged:" in on_terminal([str(GITCHAIN), "log"], versions, 300, 3)
    piped = subprocess.run([GITCHAIN, "log"], cwd=versions, capture_output=True, text=True, check=True)
    assert "paged:" not in piped.stdout


@pytest.mark.parametrize("pager", ["", "cat", 'less "'])
def test_log_prints_without_a_pager_that_can_be_used(versions: Path, pager: str) -> None:
    """An empty one, as for Git, and one that is no command line."""
    text = on_terminal([str(GITCHAIN), "log"], versions, 300, 3, pager)
    assert text.count("train") == 2


def test_log_runs_no_pager_of_the_repository(versions: Path, tmp_path: Path) -> None:
    """PATH may name the current directory; without another pager the text is printed."""
    (versions / "less").write_text("#!/bin/sh\ntouch ran\ncat\n")
    (versions / "less").chmod(0o755)
    programs, git = tmp_path / "programs", shutil.which("git")
    assert git is not None
    programs.mkdir()
    (programs / "git").symlink_to(git)
    text = on_terminal([str(GITCHAIN), "log"], versions, 300, 3, "less", f".:{programs}")
    assert not (versions / "ran").exists(), text
    assert text.count("train") == 2


def test_table_breaks_the_widest_columns() -> None:
    """Fixed columns keep their width; no part of a cell gets lost."""
    rows = [("1", "a long text of many words", "b" * 30)]
    lines = table(rows, ("n", "text", "name"), 36, {"text", "name"}).splitlines()
    assert max(map(len, lines)) <= 36
    joined = " ".join(lines)
    assert all(word in joined for word in ("long", "many", "words"))
    assert joined.count("b") == 30
    assert table(rows, ("n", "text", "name")).count("\n") == 1
    assert max(map(len, table(rows, ("n", "text", "name"), 5, {"text"}).splitlines())) > 36


def test_table_has_no_line_that_looks_like_a_row() -> None:
    """A name that breaks cannot put another row below its own."""
    name = "evil.bin" + " " * 10 + "model.bin PASSED"
    lines = table([(name, "FAILED")], ("model", "verdict"), 25, {"model"}).splitlines()
    assert len(lines) > 2
    assert all(line.startswith("  ") for line in lines[2:])

"""Clones in which Git converts line endings: the finding says so, and its help ends in PASSED."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.collect.line_endings import converted_names, differs_by_line_endings, keep_bytes
from gitchain.errors import ExitCode

Gitchain = Callable[..., Any]
Git = Callable[..., str]
ATTEST = ("attest", "train", "-m", "in.txt", "-p", "model.txt")


@pytest.fixture
def attested(gitchain: Gitchain, tiny: Path, git: Git) -> Path:
    """Return a repository whose attested model is a text file that Git holds."""
    (tiny / "model.txt").write_bytes(b"w: 1\nb: 2\n")
    assert gitchain(*ATTEST, cwd=tiny).code == 0
    git(tiny, "add", "-A")
    git(tiny, "commit", "-qm", "model")
    git(tiny, "tag", "v1")
    return tiny


def clone(source: Path, git: Git, *options: str) -> Path:
    made = source.parent / "clone"
    git(source.parent, "clone", "-q", *options, str(source), str(made))
    git(made, "fetch", "-q", "origin", "refs/gitchain/*:refs/gitchain/*")
    return made


def advised(text: str) -> str:
    """The command that the help gives, without its explanation."""
    line = next(line for line in text.splitlines() if "-text" in line)
    return line[line.index("echo ") :]


@pytest.mark.parametrize("how", ["core.autocrlf", "attributes"])
def test_verify_names_line_endings_and_what_helps(
    gitchain: Gitchain, attested: Path, git: Git, how: str
) -> None:
    """A clean clone fails, says why, and passes after the command that the help gives. The tag passes anyway."""
    if how == "attributes":
        (attested / ".gitattributes").write_text("*.txt text eol=crlf\n")
        git(attested, "add", "-A")
        git(attested, "commit", "-qm", "attributes")
    here = clone(attested, git, *(("-c", "core.autocrlf=true") if how == "core.autocrlf" else ()))
    assert b"\r\n" in (here / "model.txt").read_bytes()
    done = gitchain("verify", "model.txt", cwd=here)
    assert done.code == ExitCode.FAILED
    assert "line endings" in done.out
    assert "dvc checkout" not in done.out
    assert gitchain("verify", "v1", cwd=here).code == ExitCode.OK
    subprocess.run(advised(done.out), shell=True, cwd=here, check=True)
    assert gitchain("verify", "model.txt", cwd=here).code == ExitCode.OK


def test_verify_does_not_blame_line_endings_for_other_bytes(
    gitchain: Gitchain, attested: Path, git: Git
) -> None:
    """One changed byte besides is another model."""
    here = clone(attested, git, "-c", "core.autocrlf=true")
    (here / "model.txt").write_bytes(b"w: 1\r\nb: 3\r\n")
    done = gitchain("verify", "model.txt", cwd=here)
    assert done.code == ExitCode.FAILED
    assert "line endings" not in done.out


def test_attest_notes_files_that_git_converts(gitchain: Gitchain, tiny: Path, git: Git) -> None:
    """The producer hashes the work tree's bytes; a clone elsewhere has Git's, and its finding names the producer."""
    git(tiny, "config", "core.autocrlf", "true")
    (tiny / "model.txt").write_bytes(b"w: 1\r\nb: 2\r\n")
    git(tiny, "add", "-A")
    git(tiny, "commit", "-qm", "model")
    done = gitchain(*ATTEST, cwd=tiny)
    assert done.code == 0
    assert "model.txt was hashed with CRLF line endings, and Git holds it with LF" in done.err
    assert "in.txt was hashed" not in done.err
    done = gitchain("run", "train", "-m", "in.txt", "-p", "other.txt", "--", "touch", "other.txt", cwd=tiny)
    assert "line endings" not in done.err
    here = clone(tiny, git)
    done = gitchain("verify", "model.txt", cwd=here)
    assert done.code == ExitCode.FAILED
    assert "only its line endings differ" in done.out
    assert "renormalize" in done.out


def test_attest_names_line_endings_where_dvc_recorded_others(
    gitchain: Gitchain, attested: Path, git: Git
) -> None:
    """dvc.lock holds the md5 of the producer's bytes."""
    data = (attested / "in.txt").read_bytes() + b"\nmore\n"
    (attested / "in.txt").write_bytes(data)
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    git(attested, "init", "-q")
    (attested / ".dvc").mkdir()
    (attested / ".dvc/config").write_text("")
    (attested / "in.txt.dvc").write_text(
        f"outs:\n- path: in.txt\n  hash: md5\n  md5: {md5}\n  size: {len(data)}\n"
    )
    git(attested, "add", "-A", "-f")
    git(attested, "commit", "-qm", "tracked")
    here = clone(attested, git, "-c", "core.autocrlf=true")
    done = gitchain("attest", "in.txt.dvc", cwd=here)
    assert done.code != ExitCode.OK
    assert "only its line endings differ" in done.err
    subprocess.run(advised(done.err), shell=True, cwd=here, check=True)
    assert gitchain("attest", "in.txt.dvc", cwd=here).code == ExitCode.OK


def test_differs_by_line_endings_is_proven_by_the_digest(tmp_path: Path) -> None:
    """LF and CRLF in both directions; equal bytes, links, pipes and absent files are no such difference."""
    unix, dos = b"a\nb\n", b"a\r\nb\r\n"
    (tmp_path / "unix").write_bytes(unix)
    (tmp_path / "dos").write_bytes(dos)
    (tmp_path / "mixed").write_bytes(b"a\r\nb\n")
    (tmp_path / "link").symlink_to("dos")
    os.mkfifo(tmp_path / "pipe")
    want = {True: hashlib.sha256(unix).hexdigest(), False: hashlib.sha256(dos).hexdigest()}
    for name, to_unix, expected in (
        ("dos", True, True),
        ("unix", False, True),
        ("mixed", True, True),
        ("mixed", False, True),
        ("dos", False, False),
        ("unix", True, False),
        ("link", True, False),
        ("pipe", True, False),
        ("absent", True, False),
    ):
        assert differs_by_line_endings(tmp_path, name, want[to_unix]) is expected, name
    assert differs_by_line_endings(
        tmp_path, "dos", hashlib.md5(unix, usedforsecurity=False).hexdigest(), "md5"
    )


def test_converted_names_are_those_of_tracked_text_files(tmp_path: Path, git: Git) -> None:
    """In a directory too; not binary files, untracked files or names that look like patterns."""
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", "core.autocrlf", "true")
    for name, data in {"d/a b": b"1\r\n2\r\n", "bin": b"\0\r\n", "lf": b"1\n2\n", "no": b"12"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    git(tmp_path, "add", "-A")
    (tmp_path / "new").write_bytes(b"1\r\n")
    assert converted_names(tmp_path, ["d", "bin", "lf", "no", "new", "absent"]) == {"d/a b": ("CRLF", "LF")}
    assert converted_names(tmp_path, ["*", "git:local"]) == {}
    assert converted_names(tmp_path, []) == {}
    subprocess.run(keep_bytes("d/a b"), shell=True, cwd=tmp_path, check=True)
    assert git(tmp_path, "check-attr", "text", "d/a b").endswith("text: unset")

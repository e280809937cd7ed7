"""`gitchain layout lint`: what it prints, and the exit code that a hook or a pipeline gates on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gitchain.errors import ExitCode

Gitchain = Callable[..., Any]


def test_warnings_alone_are_no_failure(gitchain: Gitchain, tiny: Path) -> None:
    """A layout with warnings exits 0, and 5 where warnings are errors."""
    done = gitchain("layout", "lint", cwd=tiny)
    assert done.code == ExitCode.OK, done.text
    assert "GC-L17 warning revokers" in done.out
    assert "0 errors" in done.err
    assert gitchain("layout", "lint", "--strict", cwd=tiny).code == ExitCode.LAYOUT


def test_an_error_is_exit_code_5(gitchain: Gitchain, tiny: Path, tmp_path: Path) -> None:
    """A rule that undoes another is an error, wherever the file is; no repository is needed for it."""
    path = tiny / ".gitchain/layout.yaml"
    other = tmp_path / "other.yaml"
    other.write_text(path.read_text().replace("[ALLOW, 'git:*'], [DISALLOW, '*']", "[ALLOW, 'git:*']"))
    done = gitchain("layout", "lint", "--json", str(other), cwd=tmp_path)
    assert done.code == ExitCode.LAYOUT
    first = done.json["findings"][0]
    assert (first["code"], first["severity"]) == ("GC-L01", "error")
    assert first["where"] == "steps[0].expectedMaterials"


def test_a_layout_that_does_not_load_is_refused(gitchain: Gitchain, tiny: Path) -> None:
    """What cannot be read is no finding but the error itself, with its place."""
    path = tiny / ".gitchain/layout.yaml"
    path.write_text(path.read_text().replace("version: 1", "version: 0"))
    done = gitchain("layout", "lint", cwd=tiny)
    assert done.code == ExitCode.LAYOUT
    assert "version" in done.err
    path.unlink()
    assert gitchain("layout", "lint", cwd=tiny).code == ExitCode.LAYOUT

"""Files of a submodule, named from the repository above it: the help leads to the submodule's own layout and evidence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode
from tests.support.prepared_repository import git

Gitchain = Callable[..., Any]
THERE = "gitchain -C 'vendor/the model' verify model.txt"


@pytest.fixture
def above(gitchain: Gitchain, tiny: Path, tmp_path: Path) -> Path:
    """Return a repository with a submodule whose model is attested there."""
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny).code == 0
    git(tiny, "add", "-A")
    git(tiny, "commit", "-qm", "model")
    repo = tmp_path / "above"
    repo.mkdir()
    git(repo, "init", "-q")
    git(repo, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(tiny), "vendor/the model")
    git(repo / "vendor/the model", "fetch", "-q", "origin", "refs/gitchain/*:refs/gitchain/*")
    git(repo, "commit", "-qm", "submodule")
    return repo


def test_verify_of_a_file_in_a_submodule_names_the_command_there(gitchain: Gitchain, above: Path) -> None:
    """With no layout above, and with one that knows nothing of the file."""
    done = gitchain("verify", "vendor/the model/model.txt", cwd=above)
    assert done.code == ExitCode.LAYOUT
    assert f"help      {THERE}   or gitchain layout sign" in done.err
    assert gitchain("-C", "vendor/the model", "verify", "model.txt", cwd=above).code == ExitCode.OK
    assert gitchain("init", "--local", "--name", "above", cwd=above).code == 0
    (above / "own.txt").write_text("own")
    assert gitchain("attest", "s", "-p", "own.txt", cwd=above).code == 0
    assert gitchain("layout", "draft", "--write", cwd=above).code == 0
    assert gitchain("layout", "sign", cwd=above).code == 0
    done = gitchain("verify", "vendor/the model/model.txt", cwd=above)
    assert done.code == ExitCode.NOTHING
    assert f"help      {THERE}" in done.out
    whole = gitchain("verify", "vendor/the model", cwd=above)
    assert "help      gitchain -C 'vendor/the model' verify HEAD" in whole.out
    (above / "other.txt").write_text("other")
    assert "gitchain -C" not in gitchain("verify", "other.txt", cwd=above).text
    assert gitchain("verify", "own.txt", cwd=above).code == ExitCode.OK


def test_missing_file_of_a_submodule_that_is_not_checked_out(gitchain: Gitchain, above: Path) -> None:
    """Git can bring it back: `make the file first` would be wrong."""
    git(above, "submodule", "deinit", "-q", "-f", "vendor/the model")
    assert gitchain("init", "--local", "--name", "above", cwd=above).code == 0
    done = gitchain("attest", "s", "-p", "vendor/the model/model.txt", cwd=above)
    assert done.code == ExitCode.USAGE
    assert "git submodule update --init 'vendor/the model'" in done.err

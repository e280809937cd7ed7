"""Files that Git holds and the work tree lacks: a sparse checkout without `.gitchain`, and files that were deleted."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode
from tests.support.prepared_repository import PreparedRepository, git

Gitchain = Callable[..., Any]
DENIALS = ("no gitchain configuration", "no signed layout", "gitchain init", "layout sign", "set up already")


@pytest.fixture
def sparse(world: PreparedRepository, tmp_path: Path) -> Path:
    """Return a clone of an attested project whose sparse checkout leaves out everything but files at the top."""
    git(world.repo, "add", "-A")
    git(world.repo, "add", "-f", "model.bin", "data/clean.csv")
    git(world.repo, "commit", "--allow-empty", "-qm", "all of it")
    clone = tmp_path / "sparse"
    git(tmp_path, "clone", "-q", "--sparse", str(world.repo), str(clone))
    git(clone, "fetch", "-q", "origin", "refs/gitchain/*:refs/gitchain/*")
    assert not (clone / ".gitchain").exists()
    assert (clone / "model.bin").exists()
    return clone


def test_verify_reads_the_layout_that_a_sparse_checkout_leaves_out(gitchain: Gitchain, sparse: Path) -> None:
    """The signed layout is read as Git's index holds it; the verdict rests on its signature as ever."""
    done = gitchain("verify", "model.bin", cwd=sparse)
    assert done.code == ExitCode.OK, done.err
    (sparse / "model.bin").write_bytes(b"other")
    assert gitchain("verify", "model.bin", cwd=sparse).code == ExitCode.FAILED


@pytest.mark.parametrize(
    "command",
    [
        ("log",),
        ("doctor",),
        ("attest",),
        ("sync",),
        ("hooks", "status"),
        ("layout", "show"),
        ("trust", "status"),
        ("trust", "export"),
        ("run", "train", "-m", "params.yaml", "-p", "out", "--", "touch", "out"),
    ],
    ids=" ".join,
)
def test_commands_work_in_a_sparse_checkout(
    gitchain: Gitchain, sparse: Path, command: tuple[str, ...]
) -> None:
    """Nobody is told that the repository is not set up, whatever the command comes to."""
    (sparse / "params.yaml").write_text("a: 1\n")
    done = gitchain(*command, cwd=sparse)
    said = done.out + done.err
    assert done.code in {ExitCode.OK, ExitCode.NOTHING, ExitCode.FAILED, ExitCode.USAGE}, said
    assert "sparse" in said or not any(word in said for word in DENIALS), said
    if command[0] != "attest":  # what it attests in a sparse checkout depends on what is there
        assert done.code in {ExitCode.OK, ExitCode.FAILED}, said


@pytest.mark.parametrize(
    "command",
    [
        ("layout", "sign"),
        ("layout", "lint"),
        ("layout", "draft", "--write"),
        ("init", "--local", "--force"),
        ("init", "--local"),
    ],
    ids=" ".join,
)
def test_commands_that_change_what_is_left_out_name_the_sparse_checkout(
    gitchain: Gitchain, sparse: Path, command: tuple[str, ...]
) -> None:
    """With the command that brings the directory; nothing is written beside the sparse checkout."""
    done = gitchain(*command, cwd=sparse)
    assert done.code != ExitCode.OK
    assert "sparse" in done.err
    assert "git sparse-checkout add ." in done.err
    assert not (sparse / ".gitchain").exists()
    git(sparse, "sparse-checkout", "add", ".gitchain")
    assert gitchain("layout", "lint", cwd=sparse).code in {ExitCode.OK, ExitCode.LAYOUT}


def test_verify_names_the_sparse_checkout_for_an_absent_target(gitchain: Gitchain, sparse: Path) -> None:
    """A tracked file that is left out is no unknown revision."""
    done = gitchain("verify", "data/clean.csv", cwd=sparse)
    assert done.code == ExitCode.USAGE
    assert "git sparse-checkout add data" in done.err
    (sparse / "model.bin").unlink()
    done = gitchain("verify", "model.bin", cwd=sparse)
    assert done.code == ExitCode.USAGE
    assert "git restore model.bin" in done.err


def test_a_partial_clone_without_the_object_says_so(
    gitchain: Gitchain, world: PreparedRepository, tmp_path: Path
) -> None:
    """Looking fetches nothing; the help names what brings the file."""
    git(world.repo, "add", "-A")
    git(world.repo, "commit", "--allow-empty", "-qm", "all of it")
    git(world.repo, "config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "partial"
    git(tmp_path, "clone", "-q", "--sparse", "--filter=blob:none", f"file://{world.repo}", str(clone))
    for command in (("verify", "dvc.yaml"), ("log",), ("doctor",)):
        done = gitchain(*command, cwd=clone)
        said = done.out + done.err
        assert "git sparse-checkout add .gitchain" in said, said


@pytest.mark.parametrize("how", ["deleted", "no checkout"])
def test_files_that_were_deleted_are_restored_not_made_anew(
    gitchain: Gitchain, world: PreparedRepository, tmp_path: Path, how: str
) -> None:
    """The help brings back what Git holds; `init` would make another configuration."""
    git(world.repo, "add", "-A")
    git(world.repo, "commit", "--allow-empty", "-qm", "all of it")
    repo = world.repo
    if how == "deleted":
        for name in ("config.toml", "layout.sigstore.json"):
            (repo / ".gitchain" / name).unlink()
    else:
        repo = tmp_path / "bare work tree"
        git(tmp_path, "clone", "-q", "--no-checkout", str(world.repo), str(repo))
    command = "git restore" if how == "deleted" else "git checkout HEAD --"
    for words, name in (
        (("attest",), "config.toml"),
        (("verify", "HEAD"), "layout.sigstore.json"),
        (("doctor",), "config.toml"),
    ):
        done = gitchain(*words, cwd=repo)
        said = done.out + done.err
        assert done.code != ExitCode.OK
        assert f"{command} .gitchain/{name}" in said, said
        assert "gitchain init" not in said
        subprocess.run(f"{command} .gitchain/{name}", shell=True, cwd=repo, check=True)
        if words != ("verify", "HEAD"):
            (repo / ".gitchain" / name).unlink()
            git(repo, "read-tree", "--empty") if how == "no checkout" else None

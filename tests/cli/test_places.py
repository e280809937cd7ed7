"""Places where Git finds a repository that gitchain cannot work in: what is wrong is said, and the advice, typed, works."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode
from tests.support.prepared_repository import PreparedRepository, git, refused

Gitchain = Callable[..., Any]
REF = "refs/gitchain/attestations"


def advice(done: Any) -> str:
    """Return the help of the one error."""
    (line,) = [line for line in done.err.splitlines() if line.startswith("  help")]
    return str(line.removeprefix("  help").strip())


@pytest.mark.parametrize("place", ["bare", ".git"])
def test_a_layout_for_a_repository_without_a_work_tree(
    gitchain: Gitchain, world: PreparedRepository, tmp_path: Path, place: str
) -> None:
    """It is read from a commit by hand, because nothing says which commit decides; `git checkout` cannot work there."""
    world.git("add", "-A", "-f")
    world.git("commit", "-qm", "layout")
    here = world.repo / ".git"
    if place == "bare":
        here = tmp_path / "bare.git"
        git(tmp_path, "clone", "-q", "--bare", str(world.repo), str(here))
        git(here, "fetch", "-q", str(world.repo), f"{REF}:{REF}")
    for target in (str(world.repo / "model.bin"), "HEAD"):
        done = gitchain("verify", target, cwd=here)
        refused(done, ExitCode.LAYOUT, "without a work tree")
        show = advice(done).partition(", then")[0]
        subprocess.run(show, shell=True, cwd=here, check=True)
        passed = gitchain("verify", target, "--layout", "layout.json", cwd=here)
        assert passed.code == 0, passed.text
    for command in (("attest",), ("sync", "--no-remote"), ("init", "--local")):
        wanted = "git clone it" if place == "bare" else "outside of the .git directory"
        refused(gitchain(*command, cwd=here), ExitCode.USAGE, wanted)


def test_a_path_with_a_line_break_is_named(
    gitchain: Gitchain, world: PreparedRepository, tmp_path: Path
) -> None:
    """Git answers line by line, so the repository cannot be told from another; `git init` would not help."""
    place = tmp_path / "new\nline"
    shutil.copytree(world.repo, place)
    for command in (("verify", "model.bin"), ("attest",), ("doctor",), ("init", "--local")):
        done = gitchain(*command, cwd=place)
        assert done.code in {ExitCode.USAGE, ExitCode.FAILED}
        assert "holds a line break" in done.text
        assert "git init" not in done.text
    place.rename(tmp_path / "line")
    assert gitchain("attest", cwd=tmp_path / "line").code == 0


@pytest.mark.parametrize("name", ["back\\slash", "..", " \t", "con\x01trol", "two\\\\ words"])
def test_the_directory_may_have_any_name(
    gitchain: Gitchain, git_repo: Path, tmp_path: Path, name: str
) -> None:
    """The layout's default name is made of it, and can be signed."""
    place = tmp_path / "top" / name
    if name == "..":
        place = tmp_path / "..x"
    place.parent.mkdir(exist_ok=True)
    git_repo.rename(place)
    (place / "dvc.yaml").write_text("stages:\n  train: {cmd: x, deps: [a], outs: [m]}\n")
    (place / ".dvc").mkdir()
    (place / ".dvc/config").write_text("")
    done = gitchain("init", "--local", "--no-hooks", cwd=place)
    assert done.code == 0, done.text
    assert gitchain("layout", "sign", cwd=place).code == 0


@pytest.mark.parametrize("here", [".", "data", "data/deep er"])
def test_advice_about_a_lost_file_works_where_it_is_read(
    gitchain: Gitchain, world: PreparedRepository, here: str
) -> None:
    """Names in Git's commands are relative to the current directory, and `.gitchain` is at the root."""
    world.git("add", "-A", "-f")
    world.git("commit", "-qm", "layout")
    place = world.repo / here
    place.mkdir(exist_ok=True)
    for lost, command in (
        (".gitchain/layout.sigstore.json", ("verify", str(world.repo / "model.bin"))),
        (".gitchain/config.toml", ("attest",)),
        (".gitchain/layout.yaml", ("layout", "lint")),
        ("model.bin", ("verify", str(world.repo / "model.bin"))),
    ):
        (world.repo / lost).unlink()
        done = gitchain(*command, cwd=place)
        assert done.code not in {0, 70}, done.text
        subprocess.run(advice(done), shell=True, cwd=place, check=True)
        assert gitchain(*command, cwd=place).code == 0

"""Help for files that are missing or are not what DVC recorded: the command fits where the bytes are, and it works."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode
from tests.support.prepared_repository import PreparedRepository, git, lock_file

Gitchain = Callable[..., Any]
RUN = "gitchain run -- dvc repro train"


@pytest.fixture
def project(world: PreparedRepository) -> PreparedRepository:
    """Return a project with a stage that reads a file, a directory of Git, and a directory of DVC with odd names."""
    world.write("in put.csv", "1\n")
    world.write("src/a.py", "a\n")
    world.write("src/b.py", "b\n")
    record(world, "in put.csv")
    world.git("add", "-A")
    world.git("commit", "-qm", "inputs")
    return world


def record(world: PreparedRepository, *deps: str) -> None:
    """Let dvc.yaml and dvc.lock have one stage of these files."""
    listed = ", ".join(f"'{name}'" for name in deps)
    world.write(
        "dvc.yaml",
        f"stages:\n  train:\n    cmd: cp data/clean.csv model.bin\n    deps: [{listed}]\n    outs: [model.bin]\n",
    )
    world.write("dvc.lock", lock_file({"train": (deps, ["model.bin"])}, world.repo))


def record_directory(world: PreparedRepository, files: Sequence[str]) -> None:
    """Let the stage have `src` as a dependency, with these files in it."""
    record(world, "in put.csv")
    listed = ", ".join(
        f'{{"md5": "{hashlib.md5((world.repo / "src" / name).read_bytes()).hexdigest()}", "relpath": "{name}"}}'
        for name in files
    )
    md5 = hashlib.md5(f"[{listed}]".encode()).hexdigest()
    lock = (world.repo / "dvc.lock").read_text()
    entry = (
        f"    - path: src\n      hash: md5\n      md5: {md5}.dir\n      size: 4\n      nfiles: 2\n    outs:"
    )
    world.write("dvc.lock", lock.replace("    outs:", entry))
    world.write("dvc.yaml", (world.repo / "dvc.yaml").read_text().replace("csv']", "csv', src]"))


def into_cache(world: PreparedRepository, name: str) -> None:
    """Put the file into DVC's cache, as `dvc add` and `dvc repro` do."""
    data = (world.repo / name).read_bytes()
    md5 = hashlib.md5(data).hexdigest()
    world.write(f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}", data)


def advice(done: Any) -> list[str]:
    """Return the commands in the help of an error."""
    line: str = next(line for line in done.err.splitlines() if line.strip().startswith("help "))
    return line.strip().removeprefix("help ").strip().split("   or ")


def shell(command: str, cwd: Path) -> None:
    tools = f"PATH={Path(sys.executable).parent}:$PATH"
    subprocess.run(f"{tools} {command}", shell=True, cwd=cwd, check=True, stdin=subprocess.DEVNULL)


def test_attest_advises_git_for_a_changed_file_of_git(
    gitchain: Gitchain, project: PreparedRepository
) -> None:
    """DVC has no copy of a dependency that Git tracks; names are quoted, and relative to the current directory."""
    path = project.write("in put.csv", "2\n")
    done = gitchain("attest", "train", cwd=project.repo)
    assert advice(done) == ["git restore 'in put.csv'", RUN]
    below = gitchain("attest", "train", cwd=project.repo / "src")
    assert advice(below)[0] == "git restore '../in put.csv'"
    shell(advice(done)[0], project.repo)
    assert path.read_text() == "1\n"
    assert gitchain("attest", "train", cwd=project.repo).code == 0


def test_attest_advises_a_run_if_git_holds_the_change(
    gitchain: Gitchain, project: PreparedRepository
) -> None:
    """A commit of the changed file leaves nothing to restore; the stage has to run on it."""
    project.write("in put.csv", "2\n")
    project.git("commit", "-qam", "other input")
    assert advice(gitchain("attest", "train", cwd=project.repo)) == [RUN]


def test_attest_advises_git_for_a_missing_file_of_git(
    gitchain: Gitchain, project: PreparedRepository
) -> None:
    (project.repo / "in put.csv").unlink()
    done = gitchain("attest", "train", cwd=project.repo)
    assert advice(done) == ["git restore 'in put.csv'", RUN]
    shell(advice(done)[0], project.repo)
    assert gitchain("attest", "train", cwd=project.repo).code == 0


def test_attest_advises_dvc_for_a_changed_file_of_dvc(
    gitchain: Gitchain, project: PreparedRepository
) -> None:
    """The cache restores it; without a copy in the cache only the remote can."""
    into_cache(project, "model.bin")
    path = project.write("model.bin", "changed\n")
    done = gitchain("attest", "train", cwd=project.repo)
    assert advice(done) == ["dvc checkout --force model.bin", RUN]
    shell(advice(done)[0], project.repo)
    assert path.read_text() == "a,b\n1,2\n"
    assert gitchain("attest", "train", cwd=project.repo).code == 0
    path.unlink()
    path.write_text("changed\n")
    shutil.rmtree(project.repo / ".dvc/cache")
    assert advice(gitchain("attest", "train", cwd=project.repo))[0] == "dvc pull --force model.bin"
    path.unlink()
    assert advice(gitchain("attest", "train", cwd=project.repo)) == ["dvc pull model.bin", RUN]


def test_attest_advises_to_commit_changed_data(gitchain: Gitchain, project: PreparedRepository) -> None:
    """Data that DVC tracks has no stage to run; the change of an import cannot be recorded as the source's."""
    project.write("set.csv", "1\n")
    into_cache(project, "set.csv")
    md5 = hashlib.md5(b"1\n").hexdigest()
    out = f"outs:\n- path: set.csv\n  hash: md5\n  md5: {md5}\n"
    project.write("set.csv.dvc", out)
    project.write("set.csv", "2\n")
    done = gitchain("attest", "set.csv.dvc", cwd=project.repo)
    assert advice(done) == ["dvc checkout --force set.csv", "dvc commit --force set.csv.dvc"]
    shell(advice(done)[1], project.repo)
    assert gitchain("attest", "set.csv.dvc", cwd=project.repo).code == 0
    source = (
        f"frozen: true\ndeps:\n- path: a\n  repo: {{url: https://git.example.com/d, rev_lock: {'a1' * 20}}}\n"
    )
    project.write("set.csv.dvc", source + out)
    assert advice(gitchain("attest", "set.csv.dvc", cwd=project.repo)) == ["dvc checkout --force set.csv"]


def test_attest_advises_git_for_a_directory_of_git(gitchain: Gitchain, project: PreparedRepository) -> None:
    """Changed files are restored; files that Git does not hold have to be removed first."""
    record_directory(project, ["a.py", "b.py"])
    assert gitchain("attest", "train", cwd=project.repo).code == 0
    project.write("src/a.py", "changed\n")
    done = gitchain("attest", "train", cwd=project.repo)
    assert advice(done) == ["git restore src", RUN]
    shell(advice(done)[0], project.repo)
    project.write("src/new.pyc", "new\n")
    assert advice(gitchain("attest", "train", cwd=project.repo))[0].startswith("git status --ignored src")
    project.git("add", "-A")
    project.git("commit", "-qm", "new")
    assert advice(gitchain("attest", "train", cwd=project.repo)) == [RUN]


def test_attest_names_line_endings_of_a_directory(
    gitchain: Gitchain, project: PreparedRepository, tmp_path: Path
) -> None:
    """A clone with core.autocrlf changes every text file in a directory; the help brings the recorded bytes back."""
    record_directory(project, ["a.py", "b.py"])
    project.git("add", "-A")
    project.git("add", "-f", "model.bin")
    project.git("commit", "-qm", "directory")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", "-c", "core.autocrlf=true", str(project.repo), str(clone))
    for name in ("in put.csv", "model.bin"):
        (clone / name).write_bytes((project.repo / name).read_bytes())
    done = gitchain("attest", "train", cwd=clone)
    assert done.code == ExitCode.FAILED
    assert "only its line endings differ" in done.err
    line = advice(done)[0]
    shell(line[line.index("echo ") :], clone)
    assert gitchain("attest", "train", cwd=clone).code == 0


def test_verify_advises_to_fetch_what_an_old_revision_pins(
    gitchain: Gitchain, project: PreparedRepository
) -> None:
    """`dvc fetch` alone gets what the work tree's files record, which is no help for an older commit."""
    project.git("tag", "v1")
    project.write("model.bin", "new\n")
    record(project, "in put.csv")
    project.git("commit", "-qam", "v2")
    (project.repo / "model.bin").unlink()
    assert advice(gitchain("verify", "HEAD", cwd=project.repo)) == ["dvc fetch model.bin"]
    assert advice(gitchain("verify", "v1", cwd=project.repo)) == ["dvc fetch --all-commits model.bin"]


def test_verify_finds_the_layout_in_a_blobless_clone_without_checkout(
    gitchain: Gitchain, world: PreparedRepository, tmp_path: Path
) -> None:
    """The tree of HEAD names the layout though its object is not here: Git gets it, no new layout is advised."""
    world.git("config", "uploadpack.allowFilter", "true")
    clone = tmp_path / "blobless"
    options = ("--filter=blob:none", "--no-checkout")
    git(
        tmp_path,
        "-c",
        "protocol.file.allow=always",
        "clone",
        "-q",
        *options,
        f"file://{world.repo}",
        str(clone),
    )
    done = gitchain("verify", "HEAD", cwd=clone)
    assert advice(done) == ["git checkout HEAD -- .gitchain/layout.sigstore.json"]
    assert "there is no signed layout" not in done.err


def test_attest_of_a_frozen_stage_that_never_ran(gitchain: Gitchain, project: PreparedRepository) -> None:
    """DVC runs no frozen stage: without `dvc unfreeze` the advice to run it would fail for ever."""
    stage = "  cold:\n    cmd: cp 'in put.csv' cold.bin\n    frozen: true\n    outs: [cold.bin]\n"
    project.write("dvc.yaml", (project.repo / "dvc.yaml").read_text() + stage)
    done = gitchain("attest", "cold", cwd=project.repo)
    assert advice(done) == ["dvc unfreeze cold; gitchain run -- dvc repro cold   (runs it and attests it)"]
    shell("dvc unfreeze cold", project.repo)
    done = gitchain("run", "--", "dvc", "repro", "-q", "cold", cwd=project.repo)
    assert done.code == ExitCode.OK
    assert "attested  cold" in done.text

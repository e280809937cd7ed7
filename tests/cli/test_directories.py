"""Models that are directories: what their digests bind, and evidence from before version 2 of the manifest."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from gitchain.collect import artifacts
from gitchain.errors import ExitCode
from gitchain.evidence import manifest
from gitchain.evidence.manifest import build_manifest
from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPES
from tests.support.preloaded import programs

Gitchain = Callable[..., Any]
TRAIN = ("attest", "train", "-m", "in.txt", "-p", "model")
PIPELINE = """\
stages:
  train:
    cmd: mkdir -p model && cp in.txt model/weights.bin && cp in.txt model/run.sh && chmod +x model/run.sh
    deps: [in.txt]
    outs: [model]
"""


@pytest.fixture
def directory(gitchain: Gitchain, tiny: Path) -> Path:
    """Return a repository whose layout serves the directory `model`, which is there."""
    layout = tiny / ".gitchain/layout.yaml"
    text = layout.read_text().replace("model.txt", "model").replace("version: 1", "version: 2", 1)
    text = text.replace("serve:", "revokers: [ada]\nserve:")
    layout.write_text(text)
    assert gitchain("layout", "sign", cwd=tiny).code == 0
    (tiny / "model/deep").mkdir(parents=True)
    (tiny / "model/weights.bin").write_bytes(b"weights")
    script = tiny / "model/deep/run.sh"
    script.write_bytes(b"run")
    script.chmod(0o755)
    return tiny


@pytest.fixture
def version_1(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[pytest.MonkeyPatch]]:
    """Return what makes evidence as gitchain did before version 2."""

    def old() -> AbstractContextManager[pytest.MonkeyPatch]:
        context = monkeypatch.context()
        inner = context.__enter__()
        inner.setattr(manifest, "build_manifest", lambda entries, version=1: build_manifest(entries, 1))
        inner.setattr(artifacts, "MANIFEST_MEDIA_TYPE", MANIFEST_MEDIA_TYPES[1])
        return context

    return old


def test_directory_verifies_whatever_its_modes(
    gitchain: Gitchain, process: Gitchain, directory: Path, tmp_path: Path
) -> None:
    """In place, as a copy elsewhere, guarded and fetched; a changed byte fails."""
    assert gitchain(*TRAIN, cwd=directory).code == 0
    (directory / "model/deep/run.sh").chmod(0o644)
    (directory / "model/weights.bin").chmod(0o755)
    assert gitchain("verify", "model", cwd=directory).code == ExitCode.OK
    shutil.copytree(directory / "model", tmp_path / "elsewhere/model")
    (tmp_path / "elsewhere/model/deep/run.sh").chmod(0o600)
    assert gitchain("verify", str(tmp_path / "elsewhere/model"), cwd=directory).code == ExitCode.OK
    assert process("guard", "model", "--", "true", cwd=directory).code == ExitCode.OK
    fetched = gitchain("fetch", f"file://{directory}/model", str(tmp_path / "to"), cwd=directory)
    assert fetched.code == ExitCode.OK, fetched.err
    (directory / "model/weights.bin").write_bytes(b"weightz")
    assert gitchain("verify", "model", cwd=directory).code == ExitCode.FAILED


def test_directory_of_version_1_keeps_its_verdicts(
    gitchain: Gitchain, directory: Path, version_1: Callable[[], Any]
) -> None:
    """Old evidence passes as it did; a changed mode fails, is named, and the help given mends it."""
    old = version_1()
    assert gitchain(*TRAIN, cwd=directory).code == 0
    old.__exit__(None, None, None)
    assert gitchain("verify", "model", cwd=directory).code == ExitCode.OK
    (directory / "model/deep/run.sh").chmod(0o644)
    done = gitchain("verify", "model", cwd=directory)
    assert done.code == ExitCode.FAILED
    assert "chmod +x model/deep/run.sh" in done.err + done.out
    assert "dvc checkout" not in done.err + done.out
    assert gitchain("log", "model", cwd=directory).code == 0
    subprocess.run(["chmod", "+x", "model/deep/run.sh"], cwd=directory, check=True)
    assert gitchain("verify", "model", cwd=directory).code == ExitCode.OK
    (directory / "model/deep/run.sh").chmod(0o644)
    assert gitchain(*TRAIN, cwd=directory).code == 0
    assert gitchain("verify", "model", cwd=directory).code == ExitCode.OK


@pytest.mark.parametrize("before", [True, False], ids=["revoked before", "revoked after"])
def test_directory_is_revoked_under_both_versions(
    gitchain: Gitchain, directory: Path, version_1: Callable[[], Any], *, before: bool
) -> None:
    """Evidence of one version does not escape a revocation that names the other."""
    first, second = (version_1, None) if before else (None, version_1)
    revoke = ("revoke", "artifact", "model", "--reason", "compromised")
    context = first() if first else None
    assert gitchain(*(revoke if before else TRAIN), cwd=directory).code == 0
    if context:
        context.__exit__(None, None, None)
    context = second() if second else None
    if not before:
        assert gitchain(*TRAIN, cwd=directory).code == 0
    if context:
        context.__exit__(None, None, None)
    done = gitchain(*(TRAIN if before else revoke), cwd=directory)
    assert done.code == 0
    done = gitchain("verify", "model", cwd=directory)
    assert done.code == ExitCode.FAILED
    assert "revoked" in done.err + done.out


def test_directory_that_dvc_pulled_verifies(
    gitchain: Gitchain, git_repo: Path, git: Callable[..., str], tmp_path: Path
) -> None:
    """DVC does not keep the executable bit: a fresh clone has the same bytes and other modes."""

    def dvc(cwd: Path, *args: str) -> None:
        subprocess.run([programs() / "dvc", *args], cwd=cwd, check=True, capture_output=True)

    dvc(git_repo, "init", "-q")
    dvc(git_repo, "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    (git_repo / "in.txt").write_text("in")
    (git_repo / "dvc.yaml").write_text(PIPELINE)
    git(git_repo, "add", ".")
    git(git_repo, "commit", "-qm", "pipeline")
    assert gitchain("init", "--local", cwd=git_repo).code == 0
    assert gitchain("layout", "sign", cwd=git_repo).code == 0
    git(git_repo, "add", ".")
    git(git_repo, "commit", "-qm", "layout")
    done = gitchain("run", "--", sys.executable, "-m", "dvc", "repro", "-q", cwd=git_repo)
    assert done.code == 0, done.err
    git(git_repo, "add", ".")
    git(git_repo, "commit", "-qm", "model")
    dvc(git_repo, "push", "-q")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(git_repo), str(clone))
    git(clone, "fetch", "-q", "origin", "refs/gitchain/*:refs/gitchain/*")
    dvc(clone, "pull", "-q")
    assert not (clone / "model/run.sh").stat().st_mode & 0o100
    done = gitchain("verify", "model", cwd=clone)
    assert done.code == ExitCode.OK, done.err

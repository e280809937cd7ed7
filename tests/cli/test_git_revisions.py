"""Revisions of models that Git itself holds: `verify v1` reads the commit's own bytes, whatever is checked out."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.collect.file_digests import HashedFile
from gitchain.collect.git_files import hash_tree, tree_files
from gitchain.errors import ExitCode, ProjectError

Gitchain = Callable[..., Any]
Git = Callable[..., str]
ATTEST = ("attest", "train", "-m", "in.txt", "-p", "model.txt")
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 12\n"


def commit(repo: Path, git: Git, tag: str) -> None:
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", tag)
    git(repo, "tag", tag)


@pytest.fixture
def versions(gitchain: Gitchain, tiny: Path, git: Git) -> Path:
    """Return a repository with v1 and v2 of a model that is a plain file of Git; v2 is checked out."""
    for tag in ("v1", "v2"):
        (tiny / "model.txt").write_text(f"model {tag}")
        assert gitchain(*ATTEST, cwd=tiny).code == 0
        commit(tiny, git, tag)
    return tiny


def test_verify_reads_the_model_of_another_revision_from_git(
    gitchain: Gitchain, versions: Path, git: Git
) -> None:
    """Both pass from either checkout, with the work tree changed or empty, in a worktree and with a detached HEAD."""
    for target in ("v1", "v2", "HEAD", "HEAD~1"):
        assert gitchain("verify", target, cwd=versions).code == ExitCode.OK, target
    (versions / "model.txt").write_text("changed here")
    (versions / "in.txt").unlink()
    assert gitchain("verify", "v1", cwd=versions).code == ExitCode.OK
    assert gitchain("verify", "model.txt", cwd=versions).code == ExitCode.FAILED
    git(versions, "checkout", "-q", "-f", "v1")
    for target in ("v1", "v2"):
        assert gitchain("verify", target, cwd=versions).code == ExitCode.OK, target
    beside = versions.parent / "beside"
    git(versions, "worktree", "add", "-q", str(beside), "v2")
    for target in ("v1", "v2", "model.txt"):
        assert gitchain("verify", target, cwd=beside).code == ExitCode.OK, target


def test_verify_refuses_a_revision_with_another_model(gitchain: Gitchain, versions: Path, git: Git) -> None:
    """What the commit holds counts, not what the work tree has."""
    (versions / "model.txt").write_text("never attested")
    commit(versions, git, "bad")
    (versions / "model.txt").write_text("model v2")
    assert gitchain("verify", "model.txt", cwd=versions).code == ExitCode.OK
    done = gitchain("verify", "bad", cwd=versions)
    assert done.code == ExitCode.FAILED
    assert hashlib.sha256(b"never attested").hexdigest() in done.out


def test_verify_reads_a_model_that_dvc_leaves_to_git(gitchain: Gitchain, tiny: Path, git: Git) -> None:
    """`cache: false`: dvc.lock names the md5, the commit holds the bytes; where they differ it is said."""
    (tiny / "dvc.yaml").write_text(
        "stages:\n  train:\n    cmd: cp in.txt model.txt\n    deps: [in.txt]\n    outs: [model.txt: {cache: false}]\n"
    )

    def lock(data: bytes) -> None:
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        (tiny / "dvc.lock").write_text(
            "schema: '2.0'\nstages:\n  train:\n    cmd: cp in.txt model.txt\n    outs:\n"
            f"    - path: model.txt\n      hash: md5\n      md5: {md5}\n      size: {len(data)}\n"
        )

    for tag in ("v1", "v2"):
        data = f"model {tag}\n".encode()
        (tiny / "model.txt").write_bytes(data)
        lock(data)
        assert gitchain(*ATTEST, cwd=tiny).code == 0
        commit(tiny, git, tag)
    for target in ("v1", "v2"):
        assert gitchain("verify", target, cwd=tiny).code == ExitCode.OK, target
    lock(b"model v3\r\n")
    (tiny / "model.txt").write_bytes(b"model v3\n")
    commit(tiny, git, "v3")
    done = gitchain("verify", "v3", cwd=tiny)
    assert done.code == ExitCode.NOTHING
    assert "differs from the content that DVC recorded" in done.err
    assert "-text" in done.err
    (tiny / "model.txt").write_bytes(POINTER)
    commit(tiny, git, "v4")
    done = gitchain("verify", "v4", cwd=tiny)
    assert done.code == ExitCode.NOTHING
    assert "Git LFS pointer" in done.err


def test_verify_reads_a_directory_of_git(gitchain: Gitchain, tiny: Path, git: Git) -> None:
    """A directory that the layout serves by its name, with files below."""
    layout = tiny / ".gitchain/layout.yaml"
    layout.write_text(layout.read_text().replace("model.txt", "model").replace("version: 1", "version: 2", 1))
    assert gitchain("layout", "sign", cwd=tiny).code == 0
    for tag in ("v1", "v2"):
        (tiny / "model/deep").mkdir(parents=True, exist_ok=True)
        (tiny / "model/deep/run.sh").write_text(tag)
        (tiny / "model/deep/run.sh").chmod(0o755)
        (tiny / "model/a").write_text("a")
        assert gitchain("attest", "train", "-m", "in.txt", "-p", "model", cwd=tiny).code == 0
        commit(tiny, git, tag)
    shutil.rmtree(tiny / "model")
    for target in ("v1", "v2"):
        assert gitchain("verify", target, cwd=tiny).code == ExitCode.OK, target


@pytest.mark.parametrize("object_format", ["sha1", "sha256"])
def test_hash_tree_reads_the_commits_own_bytes(tmp_path: Path, git: Git, object_format: str) -> None:
    """Without filters or conversion; a directory's files sorted, with their modes."""
    git(tmp_path, "init", "-q", f"--object-format={object_format}")
    (tmp_path / ".gitattributes").write_text("* text=auto eol=crlf filter=up\n")
    git(tmp_path, "config", "filter.up.smudge", "tr a-z A-Z")
    for name, data in {
        "d/b": b"x\ny\n",
        "d/a.sh": b"#\n",
        "d-e": b"1",
        "big": b"z" * 3_000_000,
        "ä b": b"2",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "d/a.sh").chmod(0o755)
    commit(tmp_path, git, "v1")
    shutil.rmtree(tmp_path / "d")
    head = git(tmp_path, "rev-parse", "HEAD")
    found = hash_tree(tmp_path, head, "d")
    assert found is not None
    assert not isinstance(found, HashedFile)
    assert [(one.path, one.executable, one.size, one.sha256) for one in found] == [
        ("a.sh", True, 2, hashlib.sha256(b"#\n").hexdigest()),
        ("b", False, 4, hashlib.sha256(b"x\ny\n").hexdigest()),
    ]
    big, named = hash_tree(tmp_path, head, "big"), hash_tree(tmp_path, head, "ä b")
    assert isinstance(big, HashedFile)
    assert (big.path, big.size, big.sha256) == ("", 3_000_000, hashlib.sha256(b"z" * 3_000_000).hexdigest())
    assert named is not None
    assert hash_tree(tmp_path, head, "d/absent") is None
    assert hash_tree(tmp_path, head, "d*") is None


def test_tree_files_refuses_what_a_commit_does_not_hold(tmp_path: Path, git: Git) -> None:
    """Links and submodules, alone and in a directory; pointers; and objects that are damaged or absent."""
    git(tmp_path, "init", "-q")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/link").symlink_to("/etc/hostname")
    (tmp_path / "lfs").write_bytes(POINTER)
    (tmp_path / "f").write_text("f")
    commit(tmp_path, git, "v1")
    git(tmp_path, "update-index", "--add", "--cacheinfo", f"160000,{'a' * 40},sub")
    git(tmp_path, "commit", "-qm", "sub")
    head = git(tmp_path, "rev-parse", "HEAD")
    for name, what in (("d/link", "symbolic link"), ("d", "symbolic link"), ("sub", "submodule")):
        with pytest.raises(ProjectError, match=what):
            tree_files(tmp_path, head, name)
    with pytest.raises(ProjectError, match="pointer"):
        hash_tree(tmp_path, head, "lfs")
    oid = git(tmp_path, "rev-parse", "HEAD:f")
    stored = tmp_path / ".git/objects" / oid[:2] / oid[2:]
    stored.unlink()
    with pytest.raises(ProjectError):
        hash_tree(tmp_path, head, "f")
    other = git(tmp_path, "rev-parse", "HEAD:lfs")
    shutil.copy(tmp_path / ".git/objects" / other[:2] / other[2:], stored)
    with pytest.raises(ProjectError):
        hash_tree(tmp_path, head, "f")

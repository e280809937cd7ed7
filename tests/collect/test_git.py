"""The Git side: what commit, tree and branch, and clear errors for every repository that is none."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from gitchain.collect.git import git_state
from gitchain.collect.git_index import dvc_files_at, dvc_files_here
from gitchain.collect.git_objects import raw_object, resolve
from gitchain.collect.remotes import public_url
from gitchain.errors import ProjectError

Git = Callable[..., str]


def test_a_clean_repository(git_repo: Path, git: Git) -> None:
    """Commit, tree and the sha256 of the raw commit are git's own."""
    state = git_state(git_repo)
    raw = subprocess.run(
        ["git", "cat-file", "commit", "HEAD"], cwd=git_repo, capture_output=True, check=True
    ).stdout
    assert state.commit == git(git_repo, "rev-parse", "HEAD")
    assert state.tree == git(git_repo, "rev-parse", "HEAD^{tree}")
    assert state.commit_sha256 == hashlib.sha256(raw).hexdigest()
    assert (state.branch, state.dirty, state.diff_sha256, state.remote) == ("main", False, None, None)
    assert (state.shallow, state.object_format, state.root) == (False, "sha1", git_repo)
    assert raw_object(git_repo, state.commit) == ("commit", raw)


def test_a_change_makes_it_dirty_and_an_untracked_file_does_not(git_repo: Path) -> None:
    """The diff's digest is of `git diff HEAD`; it is the same for the same change."""
    (git_repo / "new").write_text("x", encoding="utf-8")
    assert not git_state(git_repo).dirty
    (git_repo / "README.md").write_text("changed\n", encoding="utf-8")
    first, second = git_state(git_repo), git_state(git_repo)
    assert first.dirty
    assert first.diff_sha256 == second.diff_sha256
    (git_repo / "README.md").write_text("changed again\n", encoding="utf-8")
    assert git_state(git_repo).diff_sha256 != first.diff_sha256


def test_a_staged_change_is_dirty(git_repo: Path, git: Git) -> None:
    """What is staged and not committed is in no commit."""
    (git_repo / "new").write_text("x", encoding="utf-8")
    git(git_repo, "add", "new")
    assert git_state(git_repo).dirty


def test_detached_unborn_shallow_and_worktree(git_repo: Path, git: Git, tmp_path: Path) -> None:
    """Each is a state, not an error."""
    git(git_repo, "checkout", "-q", "--detach")
    assert git_state(git_repo).branch is None
    git(tmp_path, "init", "-q", "unborn")
    unborn = git_state(tmp_path / "unborn")
    assert (unborn.commit, unborn.tree, unborn.commit_sha256, unborn.branch) == (None, None, None, "main")
    git(git_repo, "commit", "-q", "--allow-empty", "-m", "second")
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{git_repo}", "shallow")
    assert git_state(tmp_path / "shallow").shallow
    git(git_repo, "worktree", "add", "-q", str(tmp_path / "tree"), "-b", "side")
    tree = git_state(tmp_path / "tree")
    assert (tree.branch, tree.common_dir) == ("side", git_repo / ".git")


def test_a_sha256_repository_is_supported(tmp_path: Path, git: Git) -> None:
    """Object ids of 64 digits, checked as such."""
    git(tmp_path, "init", "-q", "--object-format=sha256", "r")
    git(tmp_path / "r", "commit", "-q", "--allow-empty", "-m", "x")
    state = git_state(tmp_path / "r")
    assert state.object_format == "sha256"
    assert state.commit is not None
    assert len(state.commit) == 64
    assert raw_object(tmp_path / "r", state.commit)[0] == "commit"


def test_no_repository_bare_and_git_dir_are_clear_errors(tmp_path: Path, git_repo: Path, git: Git) -> None:
    """One line that says what it is."""
    with pytest.raises(ProjectError, match="not a Git repository"):
        git_state(tmp_path)
    git(tmp_path, "init", "-q", "--bare", "bare.git")
    with pytest.raises(ProjectError, match="bare"):
        git_state(tmp_path / "bare.git")
    with pytest.raises(ProjectError):
        git_state(git_repo / ".git")
    with pytest.raises(ProjectError):
        git_state(tmp_path / "missing" / "too")


def test_the_environment_of_a_hook_does_not_lead_elsewhere(
    git_repo: Path, tmp_path: Path, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GIT_DIR of the repository whose hook runs us must not answer for another."""
    git(tmp_path, "init", "-q", "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other" / ".git" / "index"))
    assert git_state(git_repo).commit is not None


def test_replaced_objects_are_not_believed(git_repo: Path, git: Git) -> None:
    """`git replace` must not put another commit under an id."""
    commit = git(git_repo, "rev-parse", "HEAD")
    git(git_repo, "commit", "-q", "--allow-empty", "-m", "evil")
    git(git_repo, "replace", commit, "HEAD")
    assert b"first" in raw_object(git_repo, commit)[1]


def test_the_repositorys_own_configuration_starts_nothing(git_repo: Path, git: Git, tmp_path: Path) -> None:
    """fsmonitor and external diff are programs that a repository's configuration may name."""
    marker = tmp_path / "ran"
    evil = tmp_path / "evil"
    evil.write_text(f"#!/bin/sh\ntouch {marker}\n", encoding="utf-8")
    evil.chmod(0o755)
    git(git_repo, "config", "core.fsmonitor", str(evil))
    git(git_repo, "config", "diff.external", str(evil))
    (git_repo / "README.md").write_text("changed\n", encoding="utf-8")
    assert git_state(git_repo).dirty
    assert not marker.exists()


def test_revisions_resolve_to_kind_and_id(git_repo: Path, git: Git) -> None:
    """An annotated tag is a tag; what is no revision is an error and never an option."""
    git(git_repo, "tag", "-a", "v1", "-m", "one")
    assert resolve(git_repo, "v1") == ("tag", git(git_repo, "rev-parse", "v1"))
    assert resolve(git_repo, "HEAD^{tree}")[0] == "tree"
    for rev in ("no-such", "--help", "a\nb", "", "HEAD:missing", "x" * 10_000):
        with pytest.raises(ProjectError):
            resolve(git_repo, rev)


def test_dvc_files_at_a_commit(git_repo: Path, git: Git) -> None:
    """Their content at the commit, not in the work tree; links are left out."""
    (git_repo / "sub").mkdir()
    for name in ("raw.csv.dvc", "sub/dvc.lock", "dvc.yaml", "sub/mydvc.lock"):
        (git_repo / name).write_text(name, encoding="utf-8")
    (git_repo / "link.dvc").symlink_to("raw.csv.dvc")
    git(git_repo, "add", "-A")
    git(git_repo, "commit", "-q", "-m", "data")
    (git_repo / "raw.csv.dvc").write_text("changed", encoding="utf-8")
    files = dvc_files_at(git_repo, git(git_repo, "rev-parse", "HEAD"))
    assert files == {name: name.encode() for name in ("dvc.yaml", "raw.csv.dvc", "sub/dvc.lock")}


def test_dvc_files_here_are_tracked_or_new_but_not_ignored(git_repo: Path) -> None:
    """DVC's own directory is no data file."""
    (git_repo / ".dvc").mkdir()
    (git_repo / ".dvc" / "config").write_text("", encoding="utf-8")
    (git_repo / "a.dvc").write_text("", encoding="utf-8")
    (git_repo / "ignored.dvc").write_text("", encoding="utf-8")
    (git_repo / ".gitignore").write_text("ignored.dvc\n", encoding="utf-8")
    assert dvc_files_here(git_repo) == ("a.dvc",)


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("https://ada:secret@example.com/a.git?token=x#y", "https://example.com/a.git"),
        ("https://ghp_token@example.com:8443/a.git", "https://example.com:8443/a.git"),
        ("git@example.com:team/a.git", "ssh://git@example.com/team/a.git"),
        ("ssh://git:pw@example.com:22/a", "ssh://git@example.com:22/a"),
        ("/home/ada/a.git", None),
        ("../a.git", None),
        ("file:///home/ada", None),
        ("", None),
        ("https://[broken", None),
    ],
)
def test_remotes_lose_their_credentials(url: str, public: str | None) -> None:
    """No password, token or path on this machine gets into a statement."""
    assert public_url(url) == public


def test_the_branchs_own_remote_comes_first(git_repo: Path, git: Git) -> None:
    """Then origin, then the only one."""
    git(git_repo, "remote", "add", "fork", "https://u:p@example.com/fork.git")
    assert git_state(git_repo).remote == "https://example.com/fork.git"
    git(git_repo, "remote", "add", "origin", "git@example.com:o.git")
    assert git_state(git_repo).remote == "ssh://git@example.com/o.git"
    git(git_repo, "config", "branch.main.remote", "fork")
    assert git_state(git_repo).remote == "https://example.com/fork.git"


def test_resolve_refuses_a_name_of_several_refs(git_repo: Path, git: Git) -> None:
    """A branch that is called as a tag, or a ref that Git prefers to the tag, does not decide what is meant."""
    git(git_repo, "tag", "v1")
    git(git_repo, "branch", "v1")
    assert resolve(git_repo, "v1")[0] == "commit"  # one commit
    git(git_repo, "commit", "-q", "--allow-empty", "-m", "second")
    git(git_repo, "branch", "-f", "v1")
    for name in ("v1", "v1^{commit}", "v1~0"):
        with pytest.raises(ProjectError, match="ambiguous") as error:
            resolve(git_repo, name)
        assert "refs/tags/v1" in error.value.help
    for name in ("tags/v1", "heads/v1", "refs/tags/v1", "HEAD", "HEAD~1"):
        assert resolve(git_repo, name)[0] == "commit"
    git(git_repo, "tag", "v2")
    git(git_repo, "update-ref", "refs/v2", "HEAD~1")
    with pytest.raises(ProjectError, match="ambiguous"):
        resolve(git_repo, "v2")
    git(git_repo, "update-ref", "refs/heads/HEAD", "HEAD~1")
    with pytest.raises(ProjectError, match="ambiguous"):
        resolve(git_repo, "HEAD")
    commit = git(git_repo, "rev-parse", "refs/tags/v2")
    assert resolve(git_repo, commit[:12]) == resolve(git_repo, commit) == ("commit", commit)

"""What real Git commands put into the queue."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gitchain.hooks import install

Git = Callable[..., str]
Queued = Callable[[Path], list[str]]


def commit(git: Git, repo: Path, message: str = "more") -> str:
    git(repo, "commit", "-q", "--allow-empty", "-m", message)
    return git(repo, "rev-parse", "HEAD")


def add_file(git: Git, repo: Path, name: str) -> str:
    (repo / name).write_text(name, encoding="utf-8")
    git(repo, "add", name)
    return commit(git, repo, name)


def eventually(check: Callable[[], bool]) -> None:
    """Wait for a background process, up to half a minute."""
    end = time.monotonic() + 30
    while not check():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.01)


def test_commit_is_queued_with_its_id(hooked: Path, git: Git, queued: Queued) -> None:
    """A commit is one line with the commit's id."""
    oid = commit(git, hooked)
    assert queued(hooked) == [f"v1 post-commit {oid}"]


def test_hooks_off_queues_nothing(
    hooked: Path, git: Git, queued: Queued, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GITCHAIN_HOOKS_OFF=1 switches the hooks off for one command."""
    with monkeypatch.context() as patch:
        patch.setenv("GITCHAIN_HOOKS_OFF", "1")
        commit(git, hooked)
    assert not (hooked / ".git/gitchain/queue").exists()
    oid = commit(git, hooked)
    assert queued(hooked) == [f"v1 post-commit {oid}"]


def test_event_is_queued_with_shell_builtins_alone(hooked: Path, queued: Queued) -> None:
    """Without a single program in PATH the line is in the queue, and the hook succeeds."""
    environment = {"PATH": "/nowhere", "HOME": str(hooked), "GIT_DIR": str(hooked / ".git")}
    hook = hooked / ".git/hooks/post-commit"
    done = subprocess.run(["/bin/sh", hook], cwd=hooked, env=environment, check=False)
    assert done.returncode == 0
    assert len(queued(hooked)) == 1


def test_detached_head_is_queued(hooked: Path, git: Git, queued: Queued) -> None:
    """A commit on no branch is queued as well."""
    git(hooked, "checkout", "-q", "--detach")
    assert f"v1 post-commit {commit(git, hooked)}" in queued(hooked)


def test_sha256_repository_is_queued(hooked: Path, git: Git, queued: Queued) -> None:
    """A commit in a SHA-256 repository is queued with its longer id."""
    other = hooked.parent / "sha256"
    git(hooked.parent, "init", "-q", "--object-format=sha256", str(other))
    install(other)
    oid = commit(git, other)
    assert len(oid) == 64
    assert queued(other) == [f"v1 post-commit {oid}"]


def test_cherry_pick_and_revert_are_queued(hooked: Path, git: Git, queued: Queued) -> None:
    """Each makes a commit, which is queued with its own id."""
    git(hooked, "checkout", "-q", "-b", "side")
    add_file(git, hooked, "x")
    git(hooked, "checkout", "-q", "main")
    commit(git, hooked, "main")
    git(hooked, "cherry-pick", "side")
    picked = git(hooked, "rev-parse", "HEAD")
    git(hooked, "revert", "--no-edit", "HEAD")
    assert queued(hooked)[-2:] == [
        f"v1 post-commit {oid}" for oid in (picked, git(hooked, "rev-parse", "HEAD"))
    ]


def test_merge_is_queued(hooked: Path, git: Git, queued: Queued) -> None:
    """A true merge and a fast-forward each queue the commit that HEAD moved to."""
    git(hooked, "checkout", "-q", "-b", "side")
    side = add_file(git, hooked, "side")
    git(hooked, "checkout", "-q", "main")
    git(hooked, "merge", "-q", "--ff-only", "side")
    assert queued(hooked)[-1] == f"v1 post-merge {side}"
    git(hooked, "checkout", "-q", "-b", "other", "HEAD~1")
    add_file(git, hooked, "other")
    git(hooked, "merge", "-q", "--no-edit", "side")
    assert queued(hooked)[-1] == f"v1 post-merge {git(hooked, 'rev-parse', 'HEAD')}"


def test_amend_is_queued_as_rewrite(hooked: Path, git: Git, queued: Queued) -> None:
    """An amended commit is queued under its new id."""
    git(hooked, "commit", "-q", "--amend", "--allow-empty", "-m", "better")
    assert f"v1 post-rewrite {git(hooked, 'rev-parse', 'HEAD')}" in queued(hooked)


def diverge(git: Git, repo: Path, count: int) -> None:
    git(repo, "checkout", "-q", "-b", "topic")
    for number in range(count):
        add_file(git, repo, f"topic{number}")
    git(repo, "checkout", "-q", "main")
    add_file(git, repo, "base")
    git(repo, "checkout", "-q", "topic")


@pytest.mark.parametrize("backend", ["--merge", "--apply"])
def test_rebase_queues_every_new_commit(hooked: Path, git: Git, queued: Queued, backend: str) -> None:
    """After a rebase each commit that it made is in the queue, and post-commit is in its place again."""
    diverge(git, hooked, 4)
    before = len(queued(hooked))
    git(hooked, "rebase", "-q", backend, "main")
    made = git(hooked, "rev-list", "--reverse", "main..topic").splitlines()
    assert [f"v1 post-rewrite {oid}" for oid in made] == queued(hooked)[before:]
    hooks = hooked / ".git" / "hooks"
    assert (hooks / "post-commit").exists()
    assert not (hooks / "post-commit.gitchain-asleep").exists()
    oid = commit(git, hooked)
    assert f"v1 post-commit {oid}" in queued(hooked)


def test_aborted_rebase_brings_the_hook_back(hooked: Path, git: Git, queued: Queued) -> None:
    """A rebase that stops and is aborted leaves post-commit where it was, with nobody's help."""
    diverge(git, hooked, 2)
    git(hooked, "checkout", "-q", "main")
    (hooked / "topic1").write_text("conflict", encoding="utf-8")
    git(hooked, "add", "topic1")
    commit(git, hooked)
    git(hooked, "checkout", "-q", "topic")
    git(hooked, "rebase", "main", check=False)
    assert (hooked / ".git" / "rebase-merge").is_dir()
    git(hooked, "rebase", "--abort")
    eventually((hooked / ".git" / "hooks" / "post-commit").exists)
    assert f"v1 post-commit {commit(git, hooked)}" in queued(hooked)


def test_post_commit_stays_for_the_lines_of_others(hooked: Path, git: Git) -> None:
    """A hook that holds somebody's own lines runs for each commit of a rebase."""
    hook, seen = hooked / ".git" / "hooks" / "post-commit", hooked.parent / "seen"
    hook.write_text(hook.read_text(encoding="utf-8") + f"echo theirs >>'{seen}'\n", encoding="utf-8")
    diverge(git, hooked, 3)
    before = len(seen.read_text(encoding="utf-8").splitlines())
    git(hooked, "rebase", "-q", "main")
    assert len(seen.read_text(encoding="utf-8").splitlines()) == before + 3


def test_tags_are_queued_and_their_deletion_is_not(hooked: Path, git: Git, queued: Queued) -> None:
    """Light and annotated tags queue their ref; a deleted tag queues nothing."""
    git(hooked, "tag", "v1")
    git(hooked, "tag", "-a", "-m", "x", "model@v1.0,b")
    ids = [git(hooked, "rev-parse", name) for name in ("v1", "model@v1.0,b")]
    assert queued(hooked) == [f"v1 tag refs/tags/v1 {ids[0]}", f"v1 tag refs/tags/model@v1.0,b {ids[1]}"]
    git(hooked, "tag", "-d", "v1")
    assert len(queued(hooked)) == 2


def test_without_the_tag_hook_branches_and_tags_start_nothing(
    git_repo: Path, git: Git, queued: Queued
) -> None:
    """By default there is no reference-transaction hook to slow down what moves refs."""
    install(git_repo)
    git(git_repo, "tag", "v1")
    git(git_repo, "branch", "b")
    assert queued(git_repo) == []
    assert not (git_repo / ".git" / "hooks" / "reference-transaction").exists()


def test_worktree_uses_the_common_queue(hooked: Path, git: Git, queued: Queued) -> None:
    """A commit in a linked worktree lands in the one queue, with that worktree's commit."""
    git(hooked, "worktree", "add", "-q", "../wörk tree's", "-b", "w")
    oid = commit(git, hooked.parent / "wörk tree's")
    assert f"v1 post-commit {oid}" in queued(hooked)


def test_moved_and_copied_repositories_queue_for_themselves(hooked: Path, git: Git, queued: Queued) -> None:
    """Nothing about the place is baked in: a copy writes into its own queue, and a moved repository goes on."""
    copy = hooked.parent / 'a "copy" of $it\'s'
    shutil.copytree(hooked, copy, symlinks=True)
    oid = commit(git, copy, "in the copy")
    assert f"v1 post-commit {oid}" in queued(copy)
    assert f"v1 post-commit {oid}" not in queued(hooked)
    moved = hooked.rename(hooked.parent / "moved")
    assert f"v1 post-commit {commit(git, moved, 'moved')}" in queued(moved)


def test_git_dir_from_the_environment(
    hooked: Path, git: Git, queued: Queued, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GIT_DIR and GIT_WORK_TREE, as scripts set them, do not lead the hook astray."""
    monkeypatch.setenv("GIT_DIR", str(hooked / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(hooked))
    oid = commit(git, hooked.parent)
    assert f"v1 post-commit {oid}" in queued(hooked)


def test_submodule_uses_its_own_queue(hooked: Path, git: Git, queued: Queued) -> None:
    """A submodule's hooks live in the superproject's modules directory, and so does its queue."""
    git(hooked, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(hooked), "sub")
    install(hooked / "sub")
    before = queued(hooked)
    oid = commit(git, hooked / "sub")
    queue = hooked / ".git" / "modules" / "sub" / "gitchain" / "queue"
    assert f"v1 post-commit {oid}" in queue.read_text(encoding="utf-8")
    assert queued(hooked) == before


def test_drainer_is_started_clean(hooked: Path, git: Git, started: Callable[[], list[str]]) -> None:
    """The drainer gets a low priority, the common directory, and none of the hook's GIT_ variables."""
    commit(git, hooked)
    eventually(lambda: bool(started()))
    assert started()[0].endswith("-I -m gitchain.hooks drain .git")
    assert started()[0].startswith("-n 19 ")
    names = {
        line.partition("=")[0]
        for line in (hooked.parent / "started.env").read_text(encoding="utf-8").splitlines()
    }
    assert not names & {"GIT_DIR", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_CONFIG_COUNT"}
    assert "GITCHAIN_HOOKS_OFF" in names


def test_back_to_back_commits_start_one_drainer(
    hooked: Path, git: Git, started: Callable[[], list[str]], write_script: Callable[..., bytes]
) -> None:
    """While a drainer waits or works, no commit starts another one; when it is killed, the next one does."""
    wake = hooked / ".git" / "gitchain" / "wake"
    sleeper = subprocess.Popen(["/bin/sleep", "600"])
    try:
        wake.write_text(f"{sleeper.pid}\n", encoding="utf-8")
        for _ in range(5):
            commit(git, hooked)
        assert started() == []
    finally:
        sleeper.kill()
    assert wake.read_text(encoding="utf-8") == f"{sleeper.pid}\n"
    commit(git, hooked)
    eventually(lambda: len(started()) == 1)
    sleeper.wait()


def test_nobody_waits_for_the_drainer(hooked: Path, git: Git, write_script: Callable[..., bytes]) -> None:
    """Who reads Git's output to its end is not kept waiting by what a hook started."""
    hold = hooked.parent / "hold"
    os.mkfifo(hold)
    write_script(hooked.parent / "tools" / "sleep", f"#!/bin/sh\nread -r line <'{hold}'\n")
    diverge(git, hooked, 2)
    for command in (["commit", "-q", "--allow-empty", "-m", "x"], ["rebase", "-q", "main"]):
        subprocess.run(["git", *command], cwd=hooked, check=True, capture_output=True, timeout=20)
    opened = os.open(hold, os.O_RDWR)
    os.write(opened, b"\n" * 9)
    os.close(opened)


@pytest.mark.parametrize("content", ["", "nonsense\n", "999999999\n", "-1\n"])
def test_stale_wake_file_is_taken_over(
    hooked: Path, git: Git, started: Callable[[], list[str]], content: str
) -> None:
    """Whatever a crash left in the wake file, the next commit starts a drainer."""
    (hooked / ".git" / "gitchain" / "wake").write_text(content, encoding="utf-8")
    commit(git, hooked)
    eventually(lambda: len(started()) == 1)


def test_many_writers_do_not_mix_lines(hooked: Path, git: Git, queued: Queued) -> None:
    """Forty hooks that append at once leave forty whole lines."""
    env = {**os.environ, "GIT_DIR": str(hooked / ".git")}
    jobs = [subprocess.Popen([hooked / ".git/hooks/post-commit"], cwd=hooked, env=env) for _ in range(40)]
    assert [job.wait() for job in jobs] == [0] * 40
    oid = git(hooked, "rev-parse", "HEAD")
    assert queued(hooked) == [f"v1 post-commit {oid}"] * 40


def test_post_commit_steps_aside_during_a_rebase(hooked: Path, git: Git) -> None:
    """From the first commit of a rebase to its end, Git finds no post-commit hook to start."""
    diverge(git, hooked, 2)
    tools = hooked.parent / "tools"
    (tools / "sleep").write_text("#!/bin/sh\nexec /bin/sleep 0.1\n", encoding="utf-8")
    git(hooked, "rebase", "-q", "--exec", "ls .git/hooks >>../listing", "main")
    listing = (hooked.parent / "listing").read_text(encoding="utf-8").splitlines()
    assert listing.count("post-commit.gitchain-asleep") == 2
    assert "post-commit" not in listing
    assert (hooked / ".git" / "hooks" / "post-commit").exists()

"""Installing beside what is there, and removing without a trace."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitchain.errors import ProjectError, StoreError
from gitchain.hooks import HookStatus, install, remove, status
from gitchain.hooks.blocks import find, insert, is_shell, render

Git = Callable[..., str]
Write = Callable[..., bytes]
Queued = Callable[[Path], list[str]]
NAMES = ["post-commit", "post-merge", "post-rewrite", "pre-push"]


def tree(directory: Path) -> dict[str, tuple[int, bytes | str]]:
    """Return everything below a directory: mode, and bytes or the link's target."""
    return {
        str(path.relative_to(directory)): (
            path.lstat().st_mode,
            str(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b"",
        )
        for path in directory.rglob("*")
    }


def states(entries: tuple[HookStatus, ...]) -> dict[str, str]:
    return {entry.name: entry.state for entry in entries}


def test_install_status_remove(git_repo: Path) -> None:
    """Install makes four hooks, status knows them, remove leaves the Git directory byte for byte as it was."""
    before = tree(git_repo / ".git")
    assert states(status(git_repo)) == dict.fromkeys(NAMES, "missing")
    assert states(install(git_repo)) == dict.fromkeys(NAMES, "installed")
    assert states(remove(git_repo)) == dict.fromkeys(NAMES, "missing")
    assert tree(git_repo / ".git") == before


def test_install_twice_changes_nothing(git_repo: Path, write_script: Write) -> None:
    """A second install writes nothing."""
    write_script(git_repo / ".git/hooks/post-commit", "#!/bin/sh\necho theirs\n")
    write_script(git_repo / ".git/hooks/pre-push", "#!/usr/bin/python3\n")
    install(git_repo, tags=True)
    before = tree(git_repo / ".git")
    install(git_repo, tags=True)
    assert tree(git_repo / ".git") == before


def test_missing_hooks_directory_is_made_and_unmade(git_repo: Path) -> None:
    """A repository without a hooks directory has none after remove either."""
    for path in (git_repo / ".git/hooks").iterdir():
        path.unlink()
    (git_repo / ".git/hooks").rmdir()
    before = tree(git_repo / ".git")
    install(git_repo)
    remove(git_repo)
    assert tree(git_repo / ".git") == before


def test_queue_that_holds_something_survives_remove(git_repo: Path) -> None:
    """Removing the hooks loses no event."""
    install(git_repo)
    queue = git_repo / ".git/gitchain/queue"
    queue.write_text("v1 post-commit -\n", encoding="utf-8")
    remove(git_repo)
    assert queue.read_text(encoding="utf-8") == "v1 post-commit -\n"


def test_old_block_is_outdated_and_updated(git_repo: Path) -> None:
    """A block of another version or another interpreter is outdated, and a new install replaces it."""
    install(git_repo)
    hook = git_repo / ".git/hooks/post-commit"
    hook.write_bytes(b"#!/bin/sh\n# >>> gitchain >>> 0 created\n:\n# <<< gitchain <<<\necho mine\n")
    assert states(status(git_repo))["post-commit"] == "outdated"
    install(git_repo)
    assert hook.read_bytes() == b"#!/bin/sh\n" + render("post-commit", "created") + b"echo mine\n"
    remove(git_repo)
    assert hook.read_bytes() == b"#!/bin/sh\necho mine\n"


@pytest.mark.parametrize("damaged", ["# >>> gitchain >>> 1 created\n:\n", ":\n# <<< gitchain <<<\n"])
def test_damaged_marks_are_refused(git_repo: Path, write_script: Write, damaged: str) -> None:
    """Half a block is neither read as none nor cut out by guess."""
    text = write_script(git_repo / ".git/hooks/post-commit", "#!/bin/sh\n" + damaged)
    for action in (install, remove):
        with pytest.raises(ProjectError, match="marks in a hook are damaged"):
            action(git_repo)
    assert states(status(git_repo))["post-commit"] == "outdated"
    assert (git_repo / ".git/hooks/post-commit").read_bytes() == text


def test_shell_hook_keeps_its_exit_code_and_arguments(
    git_repo: Path, git: Git, started: object, queued: Queued, write_script: Write
) -> None:
    """A hand-written hook gets its arguments and its own exit code, under `set -eu`."""
    seen = git_repo.parent / "seen"
    write_script(
        git_repo / ".git/hooks/post-merge",
        f'#!/bin/bash -eu\nset -o pipefail\necho "$#:$1" >"{seen}"\nexit 3\n',
    )
    install(git_repo)
    done = subprocess.run([".git/hooks/post-merge", "0"], cwd=git_repo, check=False)
    assert done.returncode == 3
    assert seen.read_text(encoding="utf-8") == "1:0\n"
    assert len(queued(git_repo)) == 1


def test_block_stands_before_an_exec(
    git_repo: Path, git: Git, started: object, queued: Queued, write_script: Write
) -> None:
    """DVC's hooks end in exec: ours has been there before."""
    write_script(git_repo / ".git/hooks/post-merge", '#!/bin/sh\nexec printf "%s\\n" "$@"\n')
    install(git_repo)
    done = subprocess.run(
        [".git/hooks/post-merge", "a b"], cwd=git_repo, check=True, capture_output=True, text=True
    )
    assert done.stdout == "a b\n"
    assert len(queued(git_repo)) == 1


KINDS = {
    "python": f"#!{sys.executable}\nimport sys\nopen('seen','w').write(sys.argv[1] + '|' + sys.stdin.read())\nsys.exit(5)\n",
    "sh": "#!/bin/sh\n{ printf '%s|' \"$1\"; cat; } >seen\nexit 5\n",
    "env bash": "#!/usr/bin/env bash\n{ printf '%s|' \"$1\"; cat; } >seen\nexit 5\n",
    "no first line": "{ printf '%s|' \"$1\"; cat; } >seen\nexit 5\n",
}


@pytest.mark.parametrize("hook", ["post-rewrite", "reference-transaction", "pre-push"])
@pytest.mark.parametrize("kind", KINDS)
def test_chained_hook_gets_stdin_arguments_and_its_exit_code(
    git_repo: Path, started: object, write_script: Write, hook: str, kind: str
) -> None:
    """Whatever the language, the hook that was there reads the whole of stdin, and its exit code counts."""
    original = write_script(git_repo / ".git/hooks" / hook, KINDS[kind], 0o750)
    install(git_repo, tags=True)
    argument = "committed" if hook == "reference-transaction" else "amend"
    lines = "".join(f"{'a' * 40} {n:040d} refs/heads/$x`y\\{n}\n" for n in range(200))
    environment = {**os.environ, "GITCHAIN_HOOKS_OFF": "1"} if hook == "pre-push" else None
    done = subprocess.run(
        [f".git/hooks/{hook}", argument], cwd=git_repo, input=lines, text=True, check=False, env=environment
    )
    assert done.returncode == 5
    assert (git_repo / "seen").read_text(encoding="utf-8") == f"{argument}|{lines}"
    remove(git_repo)
    path = git_repo / ".git/hooks" / hook
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (original, 0o750)


def test_link_is_moved_aside_and_its_target_untouched(
    git_repo: Path, git: Git, started: object, queued: Queued, write_script: Write
) -> None:
    """A hook that is a link into the work tree runs, and the tracked file is not written to."""
    target = git_repo / "tools/hook"
    text = write_script(target, "#!/bin/sh\necho ran >seen\n")
    hook = git_repo / ".git/hooks/post-commit"
    hook.symlink_to("../../tools/hook")
    install(git_repo)
    git(git_repo, "commit", "-q", "--allow-empty", "-m", "x")
    assert (git_repo / "seen").exists()
    assert len(queued(git_repo)) == 1
    assert target.read_bytes() == text
    remove(git_repo)
    assert str(hook.readlink()) == "../../tools/hook"


def test_disabled_hook_stays_disabled(git_repo: Path, git: Git, started: object, write_script: Write) -> None:
    """A hook that is not executable is kept and not run."""
    before = write_script(git_repo / ".git/hooks/post-commit", "#!/bin/sh\necho ran >seen\n", 0o644)
    install(git_repo)
    git(git_repo, "commit", "-q", "--allow-empty", "-m", "x")
    assert not (git_repo / "seen").exists()
    remove(git_repo)
    hook = git_repo / ".git/hooks/post-commit"
    assert (hook.read_bytes(), stat.S_IMODE(hook.stat().st_mode)) == (before, 0o644)


def test_crash_between_the_two_renames_is_mended(git_repo: Path, write_script: Write) -> None:
    """If gitchain died after moving a hook aside, install finishes and remove undoes."""
    aside = git_repo / ".git/hooks/post-commit.gitchain-chained"
    text = write_script(aside, "#!/usr/bin/python3\n")
    remove(git_repo)
    assert (git_repo / ".git/hooks/post-commit").read_bytes() == text
    (git_repo / ".git/hooks/post-commit").rename(aside)
    assert next(iter(install(git_repo))).detail == "runs post-commit.gitchain-chained"


def test_pre_commit_runs_ours_from_legacy(
    git_repo: Path, git: Git, started: object, queued: Queued, write_script: Write
) -> None:
    """pre-commit renames our hook and runs it: that is installed, is not doubled, and can be removed."""
    install(git_repo)
    hook = git_repo / ".git/hooks/post-commit"
    hook.rename(hook.with_name("post-commit.legacy"))
    theirs = write_script(hook, '#!/bin/sh\nexec "$0.legacy" "$@"\n')
    entry = install(git_repo)[0]
    assert (entry.state, entry.detail) == ("installed", "run by pre-commit")
    assert hook.read_bytes() == theirs
    git(git_repo, "commit", "-q", "--allow-empty", "-m", "x")
    assert len(queued(git_repo)) == 1
    remove(git_repo)
    assert hook.read_bytes() == theirs
    assert not hook.with_name("post-commit.legacy").exists()


def test_real_dvc_hooks_are_chained(git_repo: Path, git: Git) -> None:
    """DVC's own pre-push hook keeps its line, behind ours."""
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=git_repo, check=True, capture_output=True)
    subprocess.run([sys.executable, "-m", "dvc", "install"], cwd=git_repo, check=True, capture_output=True)
    hook = git_repo / ".git/hooks/pre-push"
    before = hook.read_bytes()
    install(git_repo)
    assert hook.read_bytes().index(b"# <<< gitchain <<<") < hook.read_bytes().index(
        b"exec dvc git-hook pre-push"
    )
    remove(git_repo)
    assert hook.read_bytes() == before


def test_hooks_path_inside_and_tracked_needs_force(git_repo: Path, git: Git, write_script: Write) -> None:
    """A committed hooks directory is everybody's: it takes --force, and core.hooksPath stays as it was."""
    write_script(git_repo / ".githooks/post-commit", "#!/bin/sh\n:\n")
    git(git_repo, "add", ".githooks")
    git(git_repo, "config", "core.hooksPath", ".githooks")
    with pytest.raises(ProjectError, match="committed") as caught:
        install(git_repo)
    assert "--force" in caught.value.help
    assert states(install(git_repo, force=True)) == dict.fromkeys(NAMES, "installed")
    assert git(git_repo, "config", "core.hooksPath") == ".githooks"
    remove(git_repo)
    assert git(git_repo, "diff", "--name-only") == ""


def test_hooks_path_of_husky_is_used(
    git_repo: Path, git: Git, started: object, queued: Queued, write_script: Write
) -> None:
    """husky's directory is inside the work tree and ignored: hooks go there and work from a subdirectory."""
    write_script(git_repo / ".husky/_/post-commit", "#!/usr/bin/env sh\nexit 0\n")
    git(git_repo, "config", "core.hooksPath", ".husky/_")
    install(git_repo)
    (git_repo / "sub").mkdir()
    git(git_repo / "sub", "commit", "-q", "--allow-empty", "-m", "x")
    assert len(queued(git_repo)) == 1


def test_status_after_husky_rewrote_its_directory(git_repo: Path, git: Git, write_script: Write) -> None:
    """A hook that was deleted is missing, one that was replaced is foreign; a new install repairs both."""
    git(git_repo, "config", "core.hooksPath", ".husky/_")
    install(git_repo)
    (git_repo / ".husky/_/post-commit").unlink()
    write_script(git_repo / ".husky/_/pre-push", "#!/usr/bin/env sh\nexit 0\n")
    found = states(status(git_repo))
    assert (found["post-commit"], found["pre-push"]) == ("missing", "foreign")
    assert states(install(git_repo)) == dict.fromkeys(NAMES, "installed")


@pytest.mark.parametrize("shell", ["/bin/sh", "/usr/bin/env dash", "/bin/bash", "/usr/bin/ksh"])
def test_shell_script_gets_the_block_after_its_first_line(
    git_repo: Path, write_script: Write, shell: str
) -> None:
    """Exactly one block, whichever shell; the script's own lines follow it."""
    write_script(git_repo / ".git/hooks/post-commit", f"#!{shell}\necho theirs\n")
    install(git_repo)
    lines = (git_repo / ".git/hooks/post-commit").read_text(encoding="utf-8").splitlines()
    assert (lines[0], lines[-1]) == (f"#!{shell}", "echo theirs")
    assert (lines[1][:16], lines[-2]) == ("# >>> gitchain >", "# <<< gitchain <<<")
    assert sum(line.startswith("# >>> gitchain") for line in lines) == 1


def test_hooks_path_outside_needs_force(git_repo: Path, git: Git) -> None:
    """A machine-wide hooks directory belongs to other repositories too; there, ours do nothing."""
    git(git_repo, "config", "core.hooksPath", str(git_repo.parent / "global hooks"))
    with pytest.raises(ProjectError, match="outside of this repository"):
        install(git_repo)
    install(git_repo, force=True)
    other = git_repo.parent / "other"
    git(git_repo.parent, "init", "-q", "other")
    git(other, "config", "core.hooksPath", str(git_repo.parent / "global hooks"))
    git(other, "commit", "-q", "--allow-empty", "-m", "x")
    assert not (other / ".git/gitchain").exists()


def test_bare_repository_and_no_repository_are_refused(tmp_path: Path, git: Git) -> None:
    """A server has nothing to attest, and a plain directory nothing to hook."""
    git(tmp_path, "init", "-q", "--bare", "server.git")
    with pytest.raises(ProjectError, match="bare repository"):
        install(tmp_path / "server.git")
    with pytest.raises(ProjectError, match="not a Git repository"):
        install(tmp_path)


def test_read_only_git_directory(git_repo: Path, git: Git) -> None:
    """Where nothing can be written, install says so, and leaves no temporary file."""
    (git_repo / ".git/gitchain").write_text("in the way", encoding="utf-8")
    with pytest.raises(StoreError, match="cannot make a directory"):
        install(git_repo)


def test_hooks_are_harmless_when_nothing_can_be_written(git_repo: Path, git: Git, started: object) -> None:
    """A queue that cannot be appended to leaves a trace, and neither stops nor disturbs the commit."""
    install(git_repo)
    home = git_repo / ".git/gitchain"
    (home / "queue").mkdir()
    done = subprocess.run(
        ["git", "commit", "--allow-empty", "-qm", "x"], cwd=git_repo, check=True, capture_output=True
    )
    assert (done.stdout, done.stderr) == (b"", b"")
    assert (
        (home / "hook-error")
        .read_text(encoding="utf-8")
        .startswith("cannot append to the queue: post-commit ")
    )


def test_hooks_are_harmless_when_gitchain_is_gone(
    git_repo: Path, git: Git, started: object, queued: Queued
) -> None:
    """With gitchain uninstalled, commits and pushes go on; the queue keeps the events and a trace says why."""
    install(git_repo)
    for hook in (git_repo / ".git/hooks").glob("p*-*"):
        hook.write_bytes(hook.read_bytes().replace(sys.executable.encode(), b"/gone/python"))
    git(git_repo, "init", "-q", "--bare", "../server.git")
    git(git_repo, "commit", "-q", "--allow-empty", "-m", "x")
    git(git_repo, "push", "-q", "../server.git", "main")
    assert len(queued(git_repo)) == 1
    assert "/gone/python" in (git_repo / ".git/gitchain/hook-error").read_text(encoding="utf-8")


def test_odd_interpreter_paths_are_quoted(git_repo: Path, tmp_path: Path) -> None:
    """An interpreter below a directory with quotes, spaces and dollars is started as it is."""
    python = tmp_path / "a b'c \"$d" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\nexit 9\n", encoding="utf-8")
    python.chmod(0o755)
    (git_repo / ".git/gitchain").mkdir()
    script = tmp_path / "hook"
    script.write_bytes(b"#!/bin/sh\n" + render("pre-push", "created", str(python)))
    assert subprocess.run(["/bin/sh", str(script), "origin"], cwd=git_repo, check=False).returncode == 1


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=200).map(lambda tail: b"#!/bin/sh\n" + tail) | st.binary(max_size=60),
    hook=st.sampled_from(NAMES),
)
def test_taking_out_restores_the_bytes(content: bytes, hook: str) -> None:
    """Whatever the script: putting the block in and taking it out gives the same bytes."""
    if not is_shell(content) or b"gitchain" in content:
        return
    block = find(insert(content, render(hook, "added")))
    assert block is not None
    assert (block.way, block.rest) == ("added", content)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    files=st.dictionaries(
        st.sampled_from([*NAMES, "reference-transaction", "pre-commit", "post-commit.legacy"]),
        st.tuples(
            st.sampled_from(
                [b"", b"#!/bin/sh", b"#!/bin/sh\n", b"#!/bin/sh\r\n:\n", b"#!/usr/bin/perl\n1;", b"\x7fELF\0"]
            ),
            st.sampled_from([0o755, 0o644, 0o500, 0o711]),
        ),
    )
)
def test_removal_is_without_a_trace(git_repo: Path, files: dict[str, tuple[bytes, int]]) -> None:
    """Whatever hooks are there, install and remove give back every byte and mode."""
    hooks = git_repo / ".git/hooks"
    for path in hooks.iterdir():
        path.unlink()
    for name, (content, mode) in files.items():
        (hooks / name).write_bytes(content)
        (hooks / name).chmod(mode)
    before = tree(git_repo / ".git")
    install(git_repo, tags=True)
    remove(git_repo)
    assert tree(git_repo / ".git") == before

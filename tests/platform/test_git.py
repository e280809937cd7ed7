"""git is run in one safe way, and what goes wrong is one of our errors."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from gitchain.errors import GitchainError, LimitError, ProjectError, StoreError, TransportError
from gitchain.platform import git as git_cli
from gitchain.platform.files import check_repository_files
from gitchain.platform.git import Git as Runner
from gitchain.platform.git import find_git, git_program

Git = Callable[..., str]


@pytest.fixture(autouse=True)
def forget_program() -> None:
    find_git.cache_clear()


def program(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_git_of_the_current_directory_is_never_run(
    tmp_path: Path, git_repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An evil `git` beside the evidence is not found, even with the current directory on PATH."""
    program(tmp_path / "git", "touch ran")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join([".", "", str(Path("x/..")), os.environ["PATH"]]))
    assert Path(git_program(git_repo)).is_absolute()
    assert Runner(git_repo).run("rev-parse", "HEAD").code == 0
    assert not (tmp_path / "ran").exists()


def test_no_git_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without git the error says to install it."""
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ProjectError, match="git is not installed"):
        git_program(Path.cwd())


def test_a_git_inside_of_the_directory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is installed, and not run: a root directory has every program inside of it."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ProjectError, match="the only git on PATH is inside") as caught:
        git_program(Path("/"))
    assert caught.value.got.endswith("/git")


def test_nothing_that_the_repository_configures_is_run(git_repo: Path, tmp_path: Path, git: Git) -> None:
    """Hooks and file-system monitors of a hostile repository stay silent."""
    for name in ("evil-monitor", "hooks/reference-transaction", "hooks/post-index-change"):
        program(tmp_path / name, f"touch {tmp_path}/ran")
    git(git_repo, "config", "core.fsmonitor", str(tmp_path / "evil-monitor"))
    git(git_repo, "config", "core.hooksPath", str(tmp_path / "hooks"))
    runner = Runner(git_repo)
    runner.run("update-ref", "refs/x/y", git(git_repo, "rev-parse", "HEAD", check=True))
    (tmp_path / "ran").unlink(missing_ok=True)
    runner.run("update-ref", "refs/x/z", runner.run("rev-parse", "HEAD").stdout.decode().strip())
    runner.run("status", "--porcelain")
    assert not (tmp_path / "ran").exists()


def test_offline_has_no_transport(git_repo: Path, tmp_path: Path, git: Git) -> None:
    """Offline, not even a directory can be fetched from, whatever the configuration says."""
    git(git_repo, "remote", "add", "origin", str(git_repo))
    git(git_repo, "config", "protocol.file.allow", "always")
    runner = Runner(git_repo, offline=True)
    with pytest.raises(TransportError, match="needs the network"):
        runner.talk("ls-remote", "origin")
    with pytest.raises(StoreError, match="not allowed"):
        runner.run("ls-remote", "origin")


def test_command_transport_is_refused(git_repo: Path, tmp_path: Path, git: Git) -> None:
    """A remote that is a command (`ext::`) is not run, even where the configuration allows it."""
    git(git_repo, "config", "protocol.ext.allow", "always")
    done = Runner(git_repo).talk("ls-remote", f"ext::sh -c touch% {tmp_path}/ran")
    assert done.code != 0
    assert not (tmp_path / "ran").exists()


def test_option_in_the_place_of_a_name_stays_a_name(git_repo: Path) -> None:
    """What comes after --end-of-options is never an option."""
    done = Runner(git_repo).talk("ls-remote", "--end-of-options", "--upload-pack=touch ran", "x")
    assert done.code != 0
    assert "--upload-pack=touch ran" in done.stderr
    assert not (git_repo / "ran").exists()


def test_late_answer_is_cut_off(git_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that overruns its time is killed with its children, and told as a transport failure."""
    program(tmp_path / "bin/git", f"echo $$ > {tmp_path}/pid; sleep 60 & wait")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(TransportError, match="did not answer in time"):
        Runner(git_repo).run("x", seconds=0.3)
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_endless_output_is_cut_off(git_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Output is bounded: git is killed at the limit."""
    program(tmp_path / "bin/git", "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(LimitError, match="more than expected"):
        Runner(git_repo).run("x", limit=100_000)


def test_loud_stderr_is_kept_by_its_end(
    git_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What git says last is shown, however much it said before."""
    program(
        tmp_path / "bin/git",
        "i=0; while [ $i -lt 20000 ]; do echo remote: noise >&2; i=$((i+1)); done; echo 'fatal: the end' >&2; exit 9",
    )
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(StoreError, match="the end"):
        Runner(git_repo).run("x")


def test_git_that_does_not_start_is_told(
    git_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A git that is no program is one error of ours."""
    path = tmp_path / "bin/git"
    path.parent.mkdir()
    path.write_bytes(b"\x7fELF junk")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin")
    with pytest.raises(StoreError, match="cannot start git"):
        Runner(git_repo).run("x")


@pytest.mark.parametrize(
    ("said", "kind", "remedy"),
    [
        ("fatal: detected dubious ownership in repository at 'x'", ProjectError, "safe.directory"),
        ("fatal: not a git repository", ProjectError, "git init"),
        ("fatal: unknown repository extension found:", ProjectError, "newer git"),
        ("error: unable to write file: No space left on device", StoreError, "disk space"),
        ("error: cannot lock ref: Permission denied", StoreError, "writable"),
        ("fatal: something else", StoreError, ""),
    ],
)
def test_each_failure_says_what_to_do(
    git_repo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    said: str,
    kind: type[GitchainError],
    remedy: str,
) -> None:
    """Failures of git become ours, with the remedy."""
    program(tmp_path / "bin/git", f'echo "{said}" >&2; exit 128')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(kind) as error:
        Runner(git_repo).run("x")
    assert remedy in error.value.help
    assert isinstance(error.value, kind)


def test_input_that_git_does_not_read_is_no_deadlock(git_repo: Path) -> None:
    """A call that ends before it read its input ends."""
    with pytest.raises(StoreError):
        Runner(git_repo).run("no-such-verb", stdin=b"x" * (4 << 20))
    assert git_cli.MAX_OUTPUT > 0


def test_git_of_the_repository_is_never_run(git_repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even by an absolute element of PATH, and neither do git's own children find programs there."""
    program(git_repo / "bin" / "git", f"touch {git_repo}/ran")
    monkeypatch.setenv("PATH", os.pathsep.join([str(git_repo / "bin"), os.environ["PATH"]]))
    assert Path(git_program(git_repo)).parent != git_repo / "bin"
    assert str(git_repo / "bin") not in Runner(git_repo).environment()["PATH"].split(os.pathsep)
    Runner(git_repo).run("rev-parse", "HEAD")
    assert not (git_repo / "ran").exists()


def test_environment_is_allow_listed(git_repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call without a transport gets no secrets; one that talks keeps what credential helpers read."""
    given = {
        "GIT_DIR": "/elsewhere",
        "GIT_EXTERNAL_DIFF": "evil",
        "GIT_TRACE": "/tmp/x",
        "GIT_SSH_COMMAND": "ssh -i key",
        "GIT_CONFIG_COUNT": "0",
        "MY_TOKEN": "secret",
        "LD_PRELOAD": "",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    offline = Runner(git_repo, offline=True).environment()
    assert offline["GIT_CONFIG_COUNT"] == "0"
    assert offline["GIT_ALLOW_PROTOCOL"] == ""
    assert not offline.keys() & (given.keys() - {"GIT_CONFIG_COUNT"})
    online = Runner(git_repo).environment()
    assert online.keys() & given.keys() == {"GIT_SSH_COMMAND", "GIT_CONFIG_COUNT", "MY_TOKEN", "LD_PRELOAD"}
    bound = Runner(git_repo, offline=True, bound=True).environment()
    assert bound["GIT_DIR"] == "/elsewhere"
    assert "MY_TOKEN" not in bound


@pytest.mark.parametrize(
    "name",
    [
        "../.gitattributes",
        "HEAD",
        "config",
        "packed-refs",
        "commondir",
        "refs/gitchain/attestations",
        "refs/heads/x",
        "logs/refs/gitchain/attestations",
        "info/attributes",
        "objects/info/alternates",
        "objects/ab/" + "c" * 38,
    ],
)
def test_pipe_in_the_git_directory_is_refused_before_git_waits_for_it(git_repo: Path, name: str) -> None:
    check_repository_files.cache_clear()
    place = git_repo / ".git" / name
    place.unlink(missing_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(place)
    with pytest.raises(ProjectError) as error:
        Runner(git_repo / ".git" / "..").run("rev-parse", "HEAD")
    assert error.value.where.endswith(name.removeprefix("../"))
    assert error.value.expected == "a regular file"


def test_pipe_behind_a_link_or_as_the_git_directory_is_refused(
    git_repo: Path, tmp_path: Path, git: Git
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (git_repo / ".git" / "refs" / "heads" / "x").symlink_to(tmp_path / "pipe")
    git(git_repo, "config", "x.y", "z")
    check_repository_files.cache_clear()
    with pytest.raises(ProjectError, match="special file"):
        Runner(git_repo).run("rev-parse", "HEAD")
    (tmp_path / "other").mkdir()
    os.mkfifo(tmp_path / "other" / ".git")
    with pytest.raises(ProjectError, match="cannot read a file of Git"):
        Runner(tmp_path / "other").run("rev-parse", "HEAD")


def test_worktree_socket_and_broken_link_are_no_hindrance(git_repo: Path, tmp_path: Path, git: Git) -> None:
    """Git's own file-system monitor leaves a socket; a work tree has two directories, and a bare repository one."""
    check_repository_files.cache_clear()
    git(git_repo, "worktree", "add", "-q", str(tmp_path / "tree"), "-b", "side")
    git(tmp_path, "init", "-q", "--bare", "bare.git")
    bound = socket.socket(socket.AF_UNIX)
    here = Path.cwd()
    os.chdir(git_repo / ".git")
    bound.bind("fsmonitor--daemon.ipc")
    os.chdir(here)
    (git_repo / ".git" / "refs" / "broken").symlink_to("nowhere")
    for place in (git_repo, tmp_path / "tree", tmp_path / "bare.git"):
        assert Runner(place).run("rev-parse", "--git-dir").code == 0
    bound.close()
    os.mkfifo(git_repo / ".git" / "worktrees" / "tree" / "config.worktree")
    check_repository_files.cache_clear()
    with pytest.raises(ProjectError, match="special file"):
        Runner(tmp_path / "tree").run("rev-parse", "HEAD")

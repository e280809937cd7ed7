"""Programs are found outside of the repository, end in time, and nothing else starts one."""

from __future__ import annotations

import ast
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import LimitError, TransportError
from gitchain.platform.git import REMOTE_MEMORY, Git
from gitchain.platform.processes import (
    RunningProgram,
    end_process,
    find_program,
    run,
    safe_path,
    search_path,
    start_conversation,
)

ROOT = Path(__file__).parents[2] / "gitchain"
STARTERS = {
    "subprocess": None,  # every name of it
    "multiprocessing": None,
    "pty": None,
    "webbrowser": None,
    "os": ("exec", "fork", "popen", "posix_spawn", "spawn", "startfile", "system"),
    "asyncio": ("create_subprocess", "subprocess"),
    "ctypes.util": ("find_library",),
    "platform": ("platform", "processor", "uname"),  # run `uname -p`
    "uuid": ("getnode", "uuid1"),  # run `ifconfig`
    "shutil": ("which",),  # finds a program in the current directory; see find_program
}
FILTERS = {
    "checkout",
    "checkout_head",
    "checkout_index",
    "checkout_tree",
    "create_blob_fromworkdir",
    "clone_repository",
}
"""What pygit2 runs filters or hooks of the repository for, or talks to others with."""

ALLOWED = {
    "cli/usage.py": {"shutil.which"},  # for a hint: nothing of it is run
    "platform/git.py": {"shutil.which"},  # for a message: nothing of it is run
    "platform/processes.py": {"subprocess"},
    "platform/forked.py": {"os.fork"},  # a copy of this process, which starts no program
    "collect/subprocess_tee.py": {"subprocess"},  # the user's own command
    "collect/shim.py": {"os.execv"},  # becomes the user's shell
    "collect/repro_command.py": {"shutil.which"},  # finds the user's shell
    "cli/guard.py": {"os.execvpe"},  # becomes the user's command
    "sign/login.py": {"webbrowser"},  # with safe_path
}


def starters(path: Path) -> Iterator[str]:
    """Yield what a file uses that starts programs, or finds them by the PATH that the user happens to have."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    types: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            types.update(below for one in node.body for below in ast.walk(one))
    for node in ast.walk(tree):
        if node in types:
            continue
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if STARTERS.get(one.name, ()) is None)
        elif isinstance(node, ast.ImportFrom) and node.module in STARTERS:
            yield from (f"{node.module}.{one.name}" for one in node.names if _starts(node.module, one.name))
        elif isinstance(node, ast.Attribute):
            base = ast.unparse(node.value)
            if STARTERS.get(base) is not None and _starts(base, node.attr):
                yield f"{base}.{node.attr}"
            if node.attr in FILTERS:
                yield node.attr


def _starts(module: str, name: str) -> bool:
    names = STARTERS[module]
    return names is None or name.startswith(names)


def test_nothing_else_starts_a_process() -> None:
    """Every program is started by `gitchain.platform.processes`, but for those that the user named."""
    found = {str(path.relative_to(ROOT)): set(starters(path)) for path in ROOT.rglob("*.py")}
    assert {name: used for name, used in found.items() if used} == ALLOWED


@pytest.mark.parametrize(
    "line",
    [
        "import subprocess",
        "from subprocess import run",
        "import os\nos.execvp('x', [])",
        "from os import system",
        "import os\nos.posix_spawnp",
        "import asyncio\nasyncio.create_subprocess_exec",
        "import pty",
        "import shutil\nshutil.which('git')",
        "repo.checkout_head()",
    ],
)
def test_starters_finds_each_way(tmp_path: Path, line: str) -> None:
    path = tmp_path / "x.py"
    path.write_text(line)
    assert list(starters(path))


def program(path: Path, text: str = "exit 0") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_search_path_holds_absolute_directories_outside_of_the_repository(
    git_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "link"
    link.symlink_to(git_repo / "bin")
    elements = [
        "",
        ".",
        "bin",
        "../x",
        str(git_repo / "bin"),
        str(link),
        f"{tmp_path}/y/../{git_repo.name}",
        f"{git_repo}-tools",
        "/usr/bin",
    ]
    monkeypatch.setenv("PATH", os.pathsep.join(elements))
    (git_repo / "sub").mkdir()
    assert search_path(git_repo / "sub") == (f"{git_repo}-tools", "/usr/bin")
    assert search_path(Path("/")) == ()


def test_find_program_skips_the_repository_also_behind_a_link(
    git_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(git_repo / "bin" / "tool")
    good = program(tmp_path / "good" / "tool")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "tool").symlink_to(git_repo / "bin" / "tool")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "tool").write_text("not executable")
    monkeypatch.chdir(git_repo / "bin")
    folders = [
        ".",
        str(git_repo / "bin"),
        str(tmp_path / "linked"),
        str(tmp_path / "plain"),
        str(good.parent),
    ]
    monkeypatch.setenv("PATH", os.pathsep.join(folders))
    assert find_program("tool", git_repo) == str(good)
    assert find_program("missing", git_repo) is None
    monkeypatch.delenv("PATH")
    assert find_program("sh", git_repo) == "/bin/sh"


def test_find_program_skips_the_repository_that_it_is_started_in(
    git_repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Git that runs in a mirror is not the one that the repository here brings along; PATH outside of one is whole."""
    program(git_repo / "bin" / "tool")
    good = program(tmp_path / "good" / "tool")
    monkeypatch.setenv("PATH", os.pathsep.join([str(git_repo / "bin"), str(good.parent)]))
    (tmp_path / "mirror").mkdir()
    monkeypatch.chdir(git_repo)
    assert find_program("tool", tmp_path / "mirror") == str(good)
    monkeypatch.chdir("/")
    assert find_program("tool", tmp_path / "mirror") == str(git_repo / "bin" / "tool")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert find_program("tool", git_repo) == str(good)


def test_safe_path_is_put_back(git_repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", ".:/usr/bin")
    with safe_path(git_repo):
        assert os.environ["PATH"] == "/usr/bin"
    assert os.environ["PATH"] == ".:/usr/bin"
    monkeypatch.delenv("PATH")
    with safe_path(git_repo):
        assert os.environ["PATH"] == "/bin:/usr/bin"
    assert "PATH" not in os.environ


def shell(text: str, *, seconds: float = 20, limit: int = 1 << 20, stdin: bytes = b"") -> RunningProgram:
    return RunningProgram(
        ["/bin/sh", "-c", text], cwd="/", env=os.environ, seconds=seconds, limit=limit, stdin=stdin
    )


def test_run_returns_code_output_and_errors() -> None:
    found = run(
        ["/bin/sh", "-c", "cat; echo e >&2; exit 3"],
        cwd="/",
        env=os.environ,
        seconds=20,
        stdin=b"in" * 99_999,
    )
    assert (found.code, found.stdout, found.stderr) == (3, b"in" * 99_999, "e\n")


def test_job_bounds_its_output_and_keeps_the_end_of_its_errors() -> None:
    with pytest.raises(LimitError, match="more than expected"):
        shell("yes", limit=10_000).finish()
    found = shell("yes | head -c 300000 >&2; echo end >&2").finish()
    assert found.stderr.endswith("end\n")
    assert len(found.stderr) <= 64 << 10


def test_job_gives_a_sink_everything() -> None:
    parts: list[bytes] = []
    job = RunningProgram(
        ["/bin/sh", "-c", "yes | head -c 300000"],
        cwd="/",
        env=os.environ,
        seconds=20,
        limit=1,
        sink=parts.append,
    )
    assert job.finish().stdout == b""
    assert sum(map(len, parts)) == 300_000


@pytest.mark.parametrize("text", ["sleep 60", "sleep 60 & exit 0", "sleep 60 & wait"])
def test_job_ends_in_time_with_its_children(text: str) -> None:
    """Also where only a child that was left behind holds the output open."""
    before = time.monotonic()
    with pytest.raises(TransportError, match="did not answer in time"):
        shell(text, seconds=0.3).finish()
    assert time.monotonic() - before < 10


def test_start_conversation_ends_with_end_process() -> None:
    talk = start_conversation(["/bin/cat"], cwd="/", env=os.environ)
    assert talk.stdin is not None
    assert talk.stdout is not None
    talk.stdin.write(b"x\n")
    talk.stdin.flush()
    assert talk.stdout.readline() == b"x\n"
    end_process(talk)
    talk.stdout.close()
    assert talk.returncode is not None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can bound a program that runs")
def test_job_bounds_the_memory_of_a_program_and_of_what_it_starts() -> None:
    """A pack of a hostile remote becomes as large as it likes, in a child of git's."""
    take = "import time; time.sleep(0.3); x = bytearray(300 << 20); print(len(x))"
    text = f"import subprocess, sys, time; time.sleep(0.3); sys.exit(subprocess.run([sys.executable, '-c', {take!r}]).returncode)"
    for memory, code in ((None, 0), (1 << 30, 0), (200 << 20, 1)):
        job = RunningProgram([sys.executable, "-c", text], cwd="/", env={}, seconds=60, memory=memory)
        assert job.finish().code == code


def test_git_that_speaks_to_a_remote_is_bounded(git_repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the command; what stays on this machine is not."""
    found: list[tuple[str, int | None]] = []
    start = Git.start

    def started(self: Git, *args: str, memory: int | None = None, **more: Any) -> Any:
        found.append((args[0], memory))
        return start(self, *args, memory=memory, **more)

    monkeypatch.setattr(Git, "start", started)
    Git(git_repo).talk("ls-remote", str(git_repo))
    Git(git_repo).run("rev-parse", "HEAD")
    assert found == [("ls-remote", REMOTE_MEMORY), ("rev-parse", None)]

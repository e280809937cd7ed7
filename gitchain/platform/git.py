"""Run git: the only way in which gitchain does, safe in a repository that somebody else wrote.

- The program comes from an absolute element of PATH that does not lie in the repository.
- Hooks, file-system monitors, replaced objects and signature programs are off, and nothing prompts. A call that is
  `offline` has no transport, so that a partial clone fetches nothing.
- The environment is allow-listed. A call that may talk to a remote keeps what the user's own credential helpers may
  read, without the variables of git that bind it to another repository.
- Every call has a deadline, at which it is killed with its children, and a bounded output.
- Special files where git expects its own are refused before git opens them: a named pipe would stall it.

Callers put `--end-of-options` before what comes from outside, or give it on standard input, and ask for `-z` where git
offers it. `git status` and `git diff` run the filters that the repository's settings name: only what records changes may
call them. Talking to a remote runs the programs that the settings name for that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.errors import GitchainError, ProjectError, StoreError, TransportError
from gitchain.platform.files import is_special, read_regular, special_files
from gitchain.platform.processes import (
    MAX_OUTPUT,
    Job,
    Output,
    find_program,
    search_path,
    start_conversation,
)

if TYPE_CHECKING:
    import subprocess

__all__ = ["LOCAL_SECONDS", "MAX_OUTPUT", "NETWORK_SECONDS", "Done", "Git", "git_program"]

LOCAL_SECONDS = 120.0  # a local call reads or writes a few objects
NETWORK_SECONDS = 600.0  # a first fetch of a large store over a slow line
_MAX_POINTER = 64 << 10  # of `.git` as a file, and of `commondir`

_DEEP = ("gitchain", "logs", "objects", "refs", "reftable")
"""What is looked through with its subdirectories for special files."""

_WORK_TREE = (".gitattributes", ".gitignore", ".gitmodules")
"""What git opens at the top of a work tree. One of a subdirectory ends at the deadline of the call."""

_BINDING = frozenset(
    {
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_COMMON_DIR",
        "GIT_DIR",
        "GIT_GRAFT_FILE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_INDEX_FILE",
        "GIT_NAMESPACE",
        "GIT_OBJECT_DIRECTORY",
        "GIT_PREFIX",
        "GIT_QUARANTINE_PATH",
        "GIT_SHALLOW_FILE",
        "GIT_WORK_TREE",
    }
)
"""What binds git to a repository (`git rev-parse --local-env-vars`), as set for every hook."""

_ALWAYS = re.compile(
    r"HOME|USER|LOGNAME|TMPDIR|SUDO_UID|LD_LIBRARY_PATH|XDG_CONFIG_HOME|GIT_EXEC_PATH|GIT_CEILING_DIRECTORIES"
    r"|GIT_DISCOVERY_ACROSS_FILESYSTEM|GIT_CONFIG_(GLOBAL|SYSTEM|NOSYSTEM|PARAMETERS|COUNT|(KEY|VALUE)_\d+)"
    r"|GIT_(AUTHOR|COMMITTER)_(NAME|EMAIL|DATE)",
    re.ASCII,
)
_TALKING = re.compile(
    r"(?!GIT_).*|GIT_(ASKPASS|SSH|SSH_COMMAND|SSH_VARIANT|PROXY_COMMAND|PROTOCOL_FROM_USER|ALLOW_PROTOCOL)"
    r"|GIT_(SSL|HTTP|TLS)_\w+",
    re.ASCII | re.DOTALL,
)
_FIXED = {
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GCM_INTERACTIVE": "never",
    "LC_ALL": "C",
}
_OFFLINE = {"GIT_ALLOW_PROTOCOL": "", "GIT_NO_LAZY_FETCH": "1"}
_OPTIONS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=keep",
    "log.showSignature=false",
    "protocol.ext.allow=never",
    "protocol.file.allow=user",
    "core.fsync=all",
    "core.fsyncObjectFiles=true",
    "fetch.fsckObjects=true",
    "gc.auto=0",
    "maintenance.auto=false",
)


@dataclass(frozen=True, slots=True)
class Done:
    """What a finished call left behind."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def reason(self) -> str:
        """Return the first line of git's error output that is an error, without its label."""
        lines = [line for line in self.stderr.splitlines() if line.strip()]
        told = [line for line in lines if line.startswith(("fatal:", "error:"))]
        line = (told or lines or [f"exit code {self.code}"])[0]
        return line.removeprefix("fatal: ").removeprefix("error: ").strip()


@cache
def git_program(directory: Path) -> str:
    """Return the absolute path of git to run in a directory; ProjectError where PATH has none outside of the repository."""
    found = find_program("git", directory)
    if found is None:
        raise ProjectError(
            "git is not installed",
            where="PATH",
            expected="git in an absolute directory outside of the repository",
            help="install git 2.31 or newer",
        )
    return found


@dataclass(frozen=True, slots=True)
class GitJob:
    """A git command that runs; several may at a time."""

    job: Job
    verb: str
    where: str

    def finish(self, accept: tuple[int, ...] | None = (0,)) -> Done:
        """Return the finished call; ProjectError, StoreError, TransportError, LimitError unless its code is accepted.

        With None every code is.
        """
        found: Output = self.job.finish()
        done = Done(found.code, found.stdout, found.stderr)
        if accept is not None and done.code not in accept:
            raise _translate(done, self.verb, self.where)
        return done


@dataclass(frozen=True, slots=True)
class Git:
    """Runs git in one directory; `offline` forbids every transport, lazy fetches included.

    `bound` keeps the variables that bind git to a repository, for a program that git itself started.
    """

    directory: Path
    offline: bool = False
    bound: bool = False

    def command(self, *args: str, config: tuple[str, ...] = (), honour: str = "") -> list[str]:
        """Return the full argument list of a call; `honour` names a setting of ours to leave to the repository."""
        fixed = (option for option in _OPTIONS if option.partition("=")[0] != honour)
        options = [part for option in (*fixed, *config) for part in ("-c", option)]
        return [git_program(self.directory), *options, *args]

    def environment(self) -> dict[str, str]:
        """Return the environment of a call."""
        kept = {key: value for key, value in os.environ.items() if self._keeps(key)}
        path = os.pathsep.join(search_path(self.directory))
        return {**kept, "PATH": path, **_FIXED, **(_OFFLINE if self.offline else {})}

    def _keeps(self, name: str) -> bool:
        if name in _BINDING:
            return self.bound
        return bool(_ALWAYS.fullmatch(name) or (not self.offline and _TALKING.fullmatch(name)))

    def start(
        self,
        *args: str,
        stdin: bytes = b"",
        seconds: float = LOCAL_SECONDS,
        limit: int = MAX_OUTPUT,
        sink: Callable[[bytes], object] | None = None,
        config: tuple[str, ...] = (),
        honour: str = "",
    ) -> GitJob:
        """Start a command; ProjectError or StoreError if that fails. See `Job` for `sink`."""
        if not self.bound:
            check_repository_files(self.directory)
        argv = self.command(*args, config=config, honour=honour)
        try:
            job = Job(
                argv,
                cwd=self.directory,
                env=self.environment(),
                stdin=stdin,
                seconds=seconds,
                limit=limit,
                sink=sink,
            )
        except OSError as error:
            if not self.directory.is_dir():
                raise ProjectError("no such directory", where=str(self.directory)) from error
            raise StoreError("cannot start git", where=argv[0], got=str(error)) from error
        return GitJob(job, args[0], str(self.directory))

    def run(
        self,
        *args: str,
        stdin: bytes = b"",
        seconds: float = LOCAL_SECONDS,
        limit: int = MAX_OUTPUT,
        accept: tuple[int, ...] | None = (0,),
        honour: str = "",
    ) -> Done:
        """Run a local command; raises as `start` and `GitJob.finish`."""
        return self.start(*args, stdin=stdin, seconds=seconds, limit=limit, honour=honour).finish(accept)

    def talk(
        self, *args: str, config: tuple[str, ...] = (), stdin: bytes = b"", seconds: float = NETWORK_SECONDS
    ) -> Done:
        """Run a command that speaks to a remote and return whatever came of it.

        TransportError when offline or late.
        """
        if self.offline:
            remedy = "run it without --offline"
            raise TransportError("this needs the network", where=f"git {args[0]}", help=remedy)
        return self.start(*args, config=config, stdin=stdin, seconds=seconds).finish(None)

    def converse(self, *args: str) -> subprocess.Popen[bytes]:
        """Start a command that is asked through its pipes; StoreError if that fails. See `start_conversation`."""
        check_repository_files(self.directory)
        try:
            return start_conversation(self.command(*args), cwd=self.directory, env=self.environment())
        except OSError as error:
            raise StoreError("cannot start git", where=str(self.directory), got=str(error)) from error


@cache
def check_repository_files(directory: Path) -> None:
    """Raise ProjectError for a named pipe or device among the files that git and libgit2 open without looking.

    Once per directory and process. What is missing or cannot be read is left to git.
    """
    folder, git = _find_repository(directory)
    if git is None:
        return
    for name in _WORK_TREE:
        if is_special(folder / name):
            raise _special_file(folder / name)
    common = _pointer(git / "commondir").strip() if os.path.lexists(git / "commondir") else ""
    tops = ((".", False), ("info", False), *((name, True) for name in _DEEP))
    for place in dict.fromkeys((git, git / common)):
        for top, is_deep in tops:
            for path in special_files(place / top, is_deep=is_deep):
                raise _special_file(path)


def _special_file(path: Path) -> ProjectError:
    return ProjectError(
        "special file where Git expects its own",
        where=str(path),
        expected="a regular file",
        help=f"if you did not make it: rm {path}",
    )


def _find_repository(directory: Path) -> tuple[Path, Path | None]:
    """Return the work tree and the Git directory around a directory, without asking git; None where there is none."""
    start = Path.cwd() / directory
    for folder in (start, *start.parents):
        git = folder / ".git"
        if git.is_dir():
            return folder, git
        if os.path.lexists(git):
            return folder, folder / _pointer(git).removeprefix("gitdir:").strip()
        if (folder / "HEAD").exists() and (folder / "objects").is_dir():
            return folder, folder
    return start, None


def _pointer(path: Path) -> str:
    """Return the text of a small file by which git finds another directory."""
    try:
        return os.fsdecode(read_regular(path, _MAX_POINTER))
    except OSError as error:
        raise ProjectError(
            "cannot read a file of Git", where=str(path), expected="a regular file", got=str(error.strerror)
        ) from error


_SAYINGS: Mapping[str, tuple[type[GitchainError], str]] = {
    "dubious ownership": (ProjectError, "git config --global --add safe.directory <the repository>"),
    "not a git repository": (ProjectError, "run this inside a Git repository, or: git init"),
    "unknown repository extension": (ProjectError, "use a newer git, or another repository format"),
    "ref storage format": (ProjectError, "use a newer git, or another repository format"),
    "Expected git repo version": (ProjectError, "use a newer git, or another repository format"),
    "No space left": (StoreError, "free some disk space and try again"),
    "File too large": (StoreError, "free some disk space and try again"),
    "Read-only file system": (StoreError, "make the repository writable"),
    "ermission denied": (StoreError, "make the repository writable for this user"),
}


def _translate(done: Done, verb: str, where: str) -> GitchainError:
    for saying, (kind, remedy) in _SAYINGS.items():
        if saying in done.stderr:
            return kind(done.reason, where=where, help=remedy)
    return StoreError(f"git {verb} failed", where=where, got=done.reason)

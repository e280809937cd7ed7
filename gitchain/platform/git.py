"""Run git, safely in an untrusted repository. All calls of git use this module.

- The program is found in an absolute element of PATH outside of the repository.
- Hooks, file-system monitors, replaced objects and signature programs are disabled, and nothing prompts. An `offline`
  call has no transport, so that a partial clone fetches nothing.
- The environment is allow-listed. A call that may connect to a remote keeps the variables for the user's credential
  helpers, without git's variables that bind it to another repository.
- Every call has a deadline, after which it is killed with its children, and a bounded output.
- Special files at paths that git reads are refused first: a named pipe would block git.

Callers put `--end-of-options` before external arguments, or pass them on standard input, and use `-z` if git supports
it. `git status` and `git diff` run filters from the repository's settings: call them only to record changes.
Connecting to a remote runs programs from the settings.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.errors import GitchainError, ProjectError, StoreError, TransportError, os_errors_as, reason
from gitchain.platform.files import check_repository_files
from gitchain.platform.processes import (
    MAX_OUTPUT,
    RunningProgram,
    find_program,
    search_path,
    start_conversation,
)

if TYPE_CHECKING:
    import subprocess

__all__ = [
    "LOCAL_SECONDS",
    "MAX_OUTPUT",
    "NETWORK_SECONDS",
    "Git",
    "GitResult",
    "git_program",
    "refused_owner",
]

LOCAL_SECONDS = 120.0  # a local call reads or writes a few objects
NETWORK_SECONDS = 600.0  # a first fetch of a large store over a slow connection
REMOTE_MEMORY = 2 << 30
"""Most bytes of data that git, and each program of its, may hold while it speaks to a remote: a tree of 10 GB fits into a
pack of 10 MB, and git has no bound of its own. Packs that git maps do not count, so large repositories are no problem."""


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
"""Variables that bind git to a repository (`git rev-parse --local-env-vars`), as set for every hook."""

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
class GitResult:
    """Result of a finished call."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def reason(self) -> str:
        """Return the first error line of git's stderr, without its label."""
        lines = [line for line in self.stderr.splitlines() if line.strip()]
        told = [line for line in lines if line.startswith(("fatal:", "error:"))]
        line = (told or lines or [f"exit code {self.code}"])[0]
        return line.removeprefix("fatal: ").removeprefix("error: ").strip()


def git_program(directory: Path) -> str:
    """Return the absolute path of git for a directory. Raises ProjectError if PATH has none outside of the repository."""
    try:
        here = Path.cwd()
    except OSError:
        here = None
    return find_git(directory, here)


@cache
def find_git(directory: Path, here: Path | None) -> str:
    """Return `git_program` for a directory and a working directory."""
    del here
    found = find_program("git", directory)
    inside = shutil.which("git") if found is None else None
    if inside is not None:
        raise ProjectError(
            "the only git on PATH is inside of a repository or directory that it would work on",
            where=str(directory),
            expected="git in an absolute directory outside of the repository",
            got=inside,
            help="check the path of the repository",
        )
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
    """A running git command; several may run at a time."""

    job: RunningProgram
    verb: str
    where: str

    def finish(self, accept: tuple[int, ...] | None = (0,)) -> GitResult:
        """Wait for the call and return its result; None accepts every exit code.

        Raises ProjectError, StoreError, TransportError or LimitError unless the exit code is accepted.
        """
        found = self.job.finish()
        done = GitResult(found.code, found.stdout, found.stderr)
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
        """Return the full argument list of a call; `honour` is a setting to take from the repository."""
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
        memory: int | None = None,
    ) -> GitJob:
        """Start a command. Raises ProjectError or StoreError. See `RunningProgram` for `sink` and `memory`."""
        if not self.bound:
            check_repository_files(self.directory)
        argv = self.command(*args, config=config, honour=honour)
        try:
            job = RunningProgram(
                argv,
                cwd=self.directory,
                env=self.environment(),
                stdin=stdin,
                seconds=seconds,
                limit=limit,
                sink=sink,
                memory=memory,
            )
        except OSError as error:
            if not self.directory.is_dir():
                raise ProjectError("no such directory", where=str(self.directory)) from error
            raise StoreError("cannot start git", where=argv[0], got=reason(error)) from error
        return GitJob(job, args[0], str(self.directory))

    def run(
        self,
        *args: str,
        stdin: bytes = b"",
        seconds: float = LOCAL_SECONDS,
        limit: int = MAX_OUTPUT,
        accept: tuple[int, ...] | None = (0,),
        honour: str = "",
    ) -> GitResult:
        """Run a local command. Raises the errors of `start` and `GitJob.finish`."""
        return self.start(*args, stdin=stdin, seconds=seconds, limit=limit, honour=honour).finish(accept)

    def talk(
        self, *args: str, config: tuple[str, ...] = (), stdin: bytes = b"", seconds: float = NETWORK_SECONDS
    ) -> GitResult:
        """Run a command that connects to a remote and return its result, within REMOTE_MEMORY.

        Raises TransportError if offline or after the deadline.
        """
        if self.offline:
            remedy = "run it without --offline"
            raise TransportError("this needs the network", where=f"git {args[0]}", help=remedy)
        return self.start(*args, config=config, stdin=stdin, seconds=seconds, memory=REMOTE_MEMORY).finish(
            None
        )

    def converse(self, *args: str) -> subprocess.Popen[bytes]:
        """Start an interactive command with pipes. Raises StoreError. See `start_conversation`."""
        check_repository_files(self.directory)
        with os_errors_as(StoreError, "cannot start git", self.directory):
            return start_conversation(self.command(*args), cwd=self.directory, env=self.environment())


def refused_owner(stderr: str, otherwise: str) -> str:
    """Return the command that trusts the repository in git's ownership error, or `otherwise` without one."""
    found = re.search(r"dubious ownership in repository at '(.*)'$", stderr, re.MULTILINE)
    return f"git config --global --add safe.directory {shlex.quote(found[1] if found else otherwise)}"


_SAYINGS: Mapping[str, tuple[type[GitchainError], str]] = {
    "safe.bareRepository": (ProjectError, "git config --global safe.bareRepository all"),
    "not a git repository": (ProjectError, "run this inside a Git repository, or: git init"),
    "unknown repository extension": (ProjectError, "use a newer git, or another repository format"),
    "ref storage format": (ProjectError, "use a newer git, or another repository format"),
    "Expected git repo version": (ProjectError, "use a newer git, or another repository format"),
    "No space left": (StoreError, "free some disk space and try again"),
    "File too large": (StoreError, "free some disk space and try again"),
    "Read-only file system": (StoreError, "make the repository writable"),
    "ermission denied": (StoreError, "make the repository writable for this user"),
}


def _translate(done: GitResult, verb: str, where: str) -> GitchainError:
    if "dubious ownership" in done.stderr:
        return ProjectError(done.reason, where=where, help=refused_owner(done.stderr, where))
    for saying, (kind, remedy) in _SAYINGS.items():
        if saying in done.stderr:
            return kind(done.reason, where=where, help=remedy)
    return StoreError(f"git {verb} failed", where=where, got=done.reason)

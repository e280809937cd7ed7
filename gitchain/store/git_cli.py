"""One way to run the git binary, safe in a repository that somebody else wrote.

The program is found once, by an absolute entry of PATH (never in the current directory). Hooks, file-system
monitors and replaced objects are switched off; the environment that would point git at another repository is
dropped; nothing ever prompts; output is bounded; a call that overruns its time is killed with all its
children. Callers put `--end-of-options` before anything that came from outside and ask for `-z` where git
offers it.

It does not make a hostile *configuration* harmless: git runs the programs that `.git/config` names for
talking to a remote. That is why an offline call is given no transport at all.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from gitchain.errors import GitchainError, LimitError, ProjectError, StoreError, TransportError

LOCAL_SECONDS = 120.0  # a local call reads or writes a few objects
NETWORK_SECONDS = 600.0  # a first fetch of a large store over a slow line
MAX_OUTPUT = 64 << 20  # no call of ours prints more than an object; lists are shorter
_MAX_TALK = 64 << 10  # stderr is for a human: keep its end
_CHUNK = 1 << 16

# Variables that bind git to a repository (`git rev-parse --local-env-vars`), as set for every hook. Those
# that carry the user's own configuration (GIT_CONFIG_*) stay: a CI job hands over its credentials that way.
_BINDING = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_EXTERNAL_DIFF",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
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
        """Return the last line that git said, without its label."""
        lines = [line for line in self.stderr.splitlines() if line.strip()]
        told = [line for line in lines if line.startswith(("fatal:", "error:"))]
        line = (told or lines or [f"exit code {self.code}"])[0]
        return line.removeprefix("fatal: ").removeprefix("error: ").strip()


@cache
def git_program() -> str:
    """Return the absolute path of git; ProjectError where PATH has none."""
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        candidate = Path(folder) / "git"
        if candidate.is_absolute() and candidate.is_file() and os.access(candidate, os.X_OK):
            return str(candidate)
    raise ProjectError("git is not installed", where="PATH", help="install git 2.31 or newer")


@dataclass(frozen=True, slots=True)
class Git:
    """Runs git in one directory; `offline` forbids every transport, lazy fetches included."""

    directory: Path
    offline: bool = False

    def command(self, *args: str, config: tuple[str, ...] = ()) -> list[str]:
        """Return the full argument list of a call."""
        options = [part for option in (*_OPTIONS, *config) for part in ("-c", option)]
        return [git_program(), "-C", str(self.directory), *options, *args]

    def environment(self) -> dict[str, str]:
        """Return the environment of a call."""
        kept = {key: value for key, value in os.environ.items() if key not in _BINDING}
        return {**kept, **_FIXED, **(_OFFLINE if self.offline else {})}

    def run(
        self,
        *args: str,
        stdin: bytes = b"",
        seconds: float = LOCAL_SECONDS,
        limit: int = MAX_OUTPUT,
        accept: tuple[int, ...] = (0,),
    ) -> Done:
        """Run a local command; ProjectError, StoreError, LimitError unless it exits with an accepted code."""
        done = self._call(args, stdin, seconds, limit)
        if done.code not in accept:
            raise _translate(done, args[0], str(self.directory))
        return done

    def talk(
        self, *args: str, config: tuple[str, ...] = (), stdin: bytes = b"", seconds: float = NETWORK_SECONDS
    ) -> Done:
        """Run a command that speaks to a remote and return whatever came of it.

        TransportError when offline or late.
        """
        if self.offline:
            remedy = "run it without --offline"
            raise TransportError("this needs the network", where=f"git {args[0]}", help=remedy)
        return self._call(args, stdin, seconds, MAX_OUTPUT, config)

    def _call(
        self, args: tuple[str, ...], stdin: bytes, seconds: float, limit: int, config: tuple[str, ...] = ()
    ) -> Done:
        try:
            process = subprocess.Popen(
                self.command(*args, config=config),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self.environment(),
                start_new_session=True,
            )
        except OSError as error:
            raise StoreError("cannot start git", where=git_program(), got=str(error)) from error
        try:
            return _communicate(process, args[0], stdin, seconds, limit)
        finally:
            _kill(process)


def _communicate(
    process: subprocess.Popen[bytes], verb: str, stdin: bytes, seconds: float, limit: int
) -> Done:
    out, err = _Drain(process, process.stdout, limit), _Drain(process, process.stderr, None)
    feed = threading.Thread(target=_feed, args=(process.stdin, stdin), daemon=True)
    feed.start()
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired as error:
        raise TransportError(
            "git did not answer in time", where=f"git {verb}", got=f"{seconds:.0f} s"
        ) from error
    if out.result(seconds) is None:
        raise LimitError(
            "git printed more than expected", where=f"git {verb}", expected=f"{limit} bytes at most"
        )
    return Done(code, out.data, (err.result(seconds) or b"").decode("utf-8", "replace"))


class _Drain:
    """A thread that empties a pipe: up to `limit` bytes, beyond which git is killed.

    Or only the last part.
    """

    def __init__(self, process: subprocess.Popen[bytes], pipe: IO[bytes] | None, limit: int | None) -> None:
        self.data = b""
        self._over = False
        self._thread = threading.Thread(target=self._read, args=(process, pipe, limit), daemon=True)
        self._thread.start()

    def _read(self, process: subprocess.Popen[bytes], pipe: IO[bytes] | None, limit: int | None) -> None:
        parts, size = [], 0
        while pipe is not None and (chunk := pipe.read(_CHUNK)):
            parts.append(chunk)
            size += len(chunk)
            if limit is None and len(parts) > _MAX_TALK // _CHUNK + 1:
                parts = parts[1:]
            elif limit is not None and size > limit:
                self._over = True
                _kill(process)
                return
        self.data = b"".join(parts)

    def result(self, seconds: float) -> bytes | None:
        """Return what was read, or None if it was too much."""
        self._thread.join(seconds)
        return None if self._over else self.data


def _feed(pipe: IO[bytes] | None, data: bytes) -> None:
    if pipe is None:
        return
    try:
        pipe.write(data)
        pipe.close()
    except OSError:  # git went away first: its exit code says why
        return


def _kill(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        process.wait()


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

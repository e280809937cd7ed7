"""The git binary, run so that the repository it looks at decides nothing: no hooks, no monitor, no fetches, no prompts.

Arguments that come from outside go through standard input, never onto the command line.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from gitchain.errors import ProjectError

_SAFE = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "protocol.file.allow=never")
_LOCAL = frozenset(
    [
        "GIT_ALTERNATE_OBJECT_DIRECTORIES",
        "GIT_CONFIG",
        "GIT_CONFIG_PARAMETERS",
        "GIT_OBJECT_DIRECTORY",
        "GIT_DIR",
        "GIT_WORK_TREE",
        "GIT_IMPLICIT_WORK_TREE",
        "GIT_GRAFT_FILE",
        "GIT_INDEX_FILE",
        "GIT_REPLACE_REF_BASE",
        "GIT_PREFIX",
        "GIT_SHALLOW_FILE",
        "GIT_COMMON_DIR",
        "GIT_INTERNAL_SUPER_PREFIX",
        "GIT_NAMESPACE",
        "GIT_EXTERNAL_DIFF",
    ]
)
"""What a hook's environment says of the repository that runs it (git rev-parse --local-env-vars)."""


def first_line(message: str) -> str:
    """Return the first line of what git said, without its `fatal:`."""
    return next(iter(message.splitlines()), "").removeprefix("fatal: ")[:200]


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key not in _LOCAL}
    fixed = {
        "GIT_ALLOW_PROTOCOL": "",  # no lazy fetch: it runs what the repository's settings name for transports
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C",
    }
    return {**kept, **fixed}


def start(root: str, *args: str, stdin: bytes = b"") -> subprocess.Popen[bytes]:
    """Start git in `root`; raise ProjectError if that fails. Larger input is left for `finish`."""
    try:
        job = subprocess.Popen(
            ["git", *_SAFE, *args],
            cwd=root,
            env=_environment(),
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except FileNotFoundError as error:
        missing = "git" if error.filename == "git" else root
        raise ProjectError("not found", where=missing, help="install git") from error
    except OSError as error:
        raise ProjectError("git cannot be started", where=root, got=str(error)) from error
    if job.stdin is not None and len(stdin) <= 4096:  # fits every pipe: several jobs may run at once
        job.stdin.write(stdin)
        job.stdin.close()
        job.stdin = None
    return job


def finish(
    job: subprocess.Popen[bytes], root: str, *, stdin: bytes | None = None, ok: Sequence[int] = (0,)
) -> bytes:
    """Return the output once git has ended; raise ProjectError unless its exit code is among `ok`."""
    out, error = job.communicate(stdin)
    if job.returncode not in ok:
        said = error.decode("utf-8", "replace")
        lacking = "promisor" in said or "not allowed" in said
        raise ProjectError(
            "this clone lacks objects" if lacking else "git failed",
            where=root,
            got=first_line(said),
            help="git fetch --refetch --no-filter" if lacking else "",
        )
    return out


def run_git(root: Path, *args: str, stdin: bytes = b"") -> bytes:
    """Run git to its end and return its output; raise ProjectError if it fails."""
    job = start(str(root), *args, stdin=stdin)
    return finish(job, str(root), stdin=stdin if job.stdin is not None else None)

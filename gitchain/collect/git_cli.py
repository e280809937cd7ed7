"""Git as `collect` runs it: without any transport, and with errors that name the repository.

Arguments that come from outside go through standard input, never onto the command line.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from gitchain.errors import ProjectError
from gitchain.platform.git import LOCAL_SECONDS, Git, GitJob

MAX_OUTPUT = 256 << 20
"""Most bytes of an answer: the names of a million files are shorter."""

WORK_TREE_SECONDS = 600.0
"""For what looks at every file of a work tree."""


def start(
    root: str,
    *args: str,
    stdin: bytes = b"",
    seconds: float = LOCAL_SECONDS,
    sink: Callable[[bytes], object] | None = None,
) -> GitJob:
    """Start git in `root`. Raises ProjectError or StoreError if that fails."""
    git = Git(Path(root), offline=True)
    return git.start(*args, stdin=stdin, seconds=seconds, limit=MAX_OUTPUT, sink=sink)


def finish(job: GitJob, root: str, *, ok: tuple[int, ...] = (0,)) -> bytes:
    """Return the output once git has ended. Raises ProjectError unless its exit code is among `ok`."""
    done = job.finish(None)
    if done.code not in ok:
        lacking = "promisor" in done.stderr or "not allowed" in done.stderr
        raise ProjectError(
            "this clone lacks objects" if lacking else "git failed",
            where=root,
            got=done.reason[:200],
            help="git fetch --refetch --no-filter" if lacking else "",
        )
    return done.stdout


def run_git(root: Path, *args: str, stdin: bytes = b"", seconds: float = LOCAL_SECONDS) -> bytes:
    """Run git to its end and return its output. Raises ProjectError if it fails, TransportError, LimitError."""
    return finish(start(str(root), *args, stdin=stdin, seconds=seconds), str(root))

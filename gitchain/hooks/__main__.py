"""Programs that the hooks start: `python -m gitchain.hooks drain COMMON_DIR` and `… push COMMON_DIR REMOTE`.

`push` takes at most PUSH_SECONDS (`git config gitchain.prePushTimeout SECONDS`). It exits with BLOCK only with `git
config gitchain.prePush block` and if something is not attested; else it prints a warning.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType

from gitchain.errors import GitchainError, TransportError

PUSH_SECONDS = 20
"""Longest time that a push waits for attestations, in seconds: a signature over the network takes two or three."""

BLOCK = 9
"""Exit code that makes the pre-push hook stop the push; `python` itself exits with 1 or 2."""


def main(arguments: list[str]) -> int:
    """Run one of the two programs; return the exit code."""
    match arguments:
        case ["drain", common_dir]:
            return _drain(Path(common_dir))
        case ["push", common_dir, remote]:
            return _push(Path(common_dir), remote)
    sys.stderr.write("usage: python -m gitchain.hooks drain COMMON_DIR | push COMMON_DIR REMOTE\n")
    return 2


def _drain(common_dir: Path) -> int:
    from gitchain.hooks.drainer import drain

    try:
        drain(common_dir)
    except GitchainError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    return 0


def _push(common_dir: Path, remote: str) -> int:
    from gitchain.hooks.drainer import flush

    seconds = int(_setting(common_dir, "gitchain.prePushTimeout", "--int") or PUSH_SECONDS)
    signal.signal(signal.SIGALRM, _late)
    signal.alarm(max(1, seconds))
    try:
        waiting = flush(common_dir, remote)
        problem = f"{waiting} statements wait for a signature" if waiting else ""
    except GitchainError as error:
        problem = str(error)
    finally:
        signal.alarm(0)
    if not problem:
        return 0
    stops = _setting(common_dir, "gitchain.prePush") == "block"
    verdict = "push stopped" if stops else "pushed without"
    sys.stderr.write(f"gitchain: {problem}\ngitchain: {verdict}; later: gitchain sync\n")
    return BLOCK if stops else 0


def _late(_number: int, _frame: FrameType | None) -> None:
    signal.alarm(1)  # repeat the alarm for code that catches the exception and continues
    raise TransportError("attesting took too long", help="gitchain sync")


def _setting(common_dir: Path, name: str, *kind: str) -> str:
    from gitchain.platform.git import Git

    done = Git(common_dir, offline=True).run("config", *kind, "--get", name, accept=None)
    return done.stdout.decode("utf-8", "replace").strip() if done.code == 0 else ""


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

"""What gitchain's hooks cost: `git commit`, `git tag` and a rebase of 30 commits, with them and without.

Both sides take turns in one run, with the real git. A drainer that a commit starts waits a second, and is stopped before
the next round: what it does later is not what a commit waits for.
Prints one JSON document a line: {"name", "ours", "peer", "unit", "ratio", "goal"}; a line behind "# " is for information:
what a commit costs that has to start the drainer, and everything with the hook for tags.

    python bench/git_commit.py [ROUNDS]
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from gitchain.hooks import install

PICKS = 30
GOALS = {"git commit": 2.0, "git tag": 2.0, "git rebase": 1.3}
ENV = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    **{
        f"GIT_{who}_{what}": "ada@example.com"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
}
Times = dict[str, dict[str, list[float]]]


def git(repo: Path, *args: str) -> float:
    """Run git; return how many milliseconds it took."""
    start = time.perf_counter()
    subprocess.run(["git", *args], cwd=repo, env=ENV, check=True, capture_output=True)
    return (time.perf_counter() - start) * 1000


def make(repo: Path, setup: Callable[[Path], object] | None) -> Path:
    """Make a repository with a branch of PICKS commits that is one commit behind main."""
    repo.mkdir()
    git(repo, "init", "-q", "-b", "main")
    git(repo, "commit", "-q", "--allow-empty", "-m", "first")
    git(repo, "checkout", "-q", "-b", "topic")
    for number in range(PICKS):
        (repo / f"file{number}").write_text(str(number), encoding="utf-8")
        git(repo, "add", ".")
        git(repo, "commit", "-q", "-m", f"change {number}")
    git(repo, "checkout", "-q", "main")
    git(repo, "commit", "-q", "--allow-empty", "-m", "base")
    for sample in (repo / ".git" / "hooks").glob("*.sample"):
        sample.unlink()
    if setup:
        setup(repo)
    return repo


def stop_drainer(repo: Path) -> None:
    """Kill the drainer of a repository, and forget that there was one."""
    wake = repo / ".git" / "gitchain" / "wake"
    if wake.exists():
        with contextlib.suppress(ProcessLookupError, ValueError):
            os.kill(int(wake.read_text(encoding="utf-8")), signal.SIGKILL)
        wake.unlink(missing_ok=True)


def one_round(repo: Path, number: int) -> dict[str, float]:
    """Time each command once in one repository."""
    times = {}
    stop_drainer(repo)
    times["git commit that starts the drainer"] = git(
        repo, "commit", "-q", "--allow-empty", "-m", str(number)
    )
    times["git commit"] = git(repo, "commit", "-q", "--allow-empty", "-m", str(number))
    times["git tag"] = git(repo, "tag", f"v{number}")
    git(repo, "checkout", "-q", "-B", "work", "topic")
    times["git rebase"] = git(repo, "rebase", "-q", "main")
    git(repo, "checkout", "-q", "main")
    return times


def main(rounds: int) -> int:
    """Print the figures; return 1 if a goal is missed."""
    missed = 0
    with tempfile.TemporaryDirectory() as directory:
        sides = {
            "without": make(Path(directory, "without"), None),
            "with": make(Path(directory, "with"), install),
            "with tags": make(Path(directory, "tags"), lambda repo: install(repo, tags=True)),
        }
        seen: Times = {side: {} for side in sides}
        for number in range(rounds):
            for side, repo in sides.items():
                for name, took in one_round(repo, number).items():
                    seen[side].setdefault(name, []).append(took)
        for side in ("with", "with tags"):
            for name, times in seen[side].items():
                missed += not report(name, side, times, seen["without"][name])
        for repo in sides.values():
            stop_drainer(repo)
    return 1 if missed else 0


def report(name: str, side: str, taken: list[float], bare: list[float]) -> bool:
    """Print one line; return whether the goal, if there is one, is met."""
    ours, peer = statistics.median(taken), statistics.median(bare)
    goal = GOALS.get(name) if side == "with" else None
    full = f"{name} with hooks" if side == "with" else f"{name} with hooks, --tags"
    line = {"name": full, "ours": ours, "peer": peer, "unit": "ms", "ratio": ours / peer, "goal": goal}
    shown = {key: round(value, 3) if isinstance(value, float) else value for key, value in line.items()}
    print(("" if goal else "# ") + json.dumps(shown), flush=True)
    return goal is None or ours / peer <= goal


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 15))

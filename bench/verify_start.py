"""What `gitchain verify` of one attested step costs against `import sigstore.verify`, whole processes, interleaved.

    python bench/verify_start.py [--rounds 15]

The model is one small file, so nearly all of the time is start-up: imports, and reading the repository. Both sides import
compiled bytecode. Time is the processor time of the process, as wall time follows the load of the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

GOAL = 0.9
GITCHAIN = str(Path(sys.executable).with_name("gitchain"))
ENV = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("GIT_", "GITCHAIN_")) and name != "PYTHONDONTWRITEBYTECODE"
}


def main() -> None:
    """Print the ratio of the medians."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=15)
    rounds = options.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="gitchain-bench-") as directory:
        top = Path(directory)
        ENV.update({"GITCHAIN_HOME": str(top / "home"), "GIT_CONFIG_GLOBAL": str(top / "gitconfig")})
        repository = make_project(top)
        sides = (
            [GITCHAIN, "-C", str(repository), "verify", "model.pkl"],
            [sys.executable, "-c", "import sigstore.verify"],
        )
        for side in sides:  # compiles what is not compiled yet
            processor_time(side)
        times = [[processor_time(side) for side in sides] for _ in range(rounds)]
    ours, peer = (statistics.median(side) for side in zip(*times, strict=True))
    row = {
        "name": "gitchain verify of one step / import sigstore.verify",
        "ours": ours,
        "peer": peer,
        "unit": "ms",
    }
    print(json.dumps(row | {"ratio": ours / peer, "goal": GOAL, "note": "processor time"}))


def make_project(top: Path) -> Path:
    """Make a repository whose layout a run of one step satisfies."""
    repository = top / "repository"
    repository.mkdir()
    (top / "gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.com\n")
    (repository / "data.csv").write_text("1,2\n")
    words = ("run", "train", "-m", "data.csv", "-p", "model.pkl", "--", "cp", "data.csv", "model.pkl")
    for command in (
        ("git", "init", "-q"),
        (GITCHAIN, "init", "--local", "--no-hooks"),
        (GITCHAIN, *words),
        (GITCHAIN, "layout", "draft", "--write"),
        (GITCHAIN, "layout", "sign"),
    ):
        run(list(command), repository)
    return repository


def processor_time(command: list[str]) -> float:
    """Run the command and return the milliseconds that it and its children used."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run(command, Path.cwd())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime) * 1000


def run(command: list[str], directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, env=ENV, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} ended with {done.returncode}: {done.stderr}")


if __name__ == "__main__":
    main()

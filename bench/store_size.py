"""What verification costs in a large store against a small one: the index has to make them equal.

    python bench/store_size.py [--attestations 20000] [--peer 100] [--rounds 7]

Fixture: the two repositories of `bench/evidence.py`: the chains of two models, signed by the embedded instance, and
attestations about other models up to the number. All of them name the same data set. The commands run interleaved, each
in a process of its own, and their processor time and memory are compared. Building the index and following 1,000 more
are measured once.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from admission import row  # noqa: E402
from evidence import fill  # noqa: E402

from tests.support.admission import AdmissionFiles, digest, write_admission_files  # noqa: E402

TARGET, SECOND = (f"sha256:{digest(model)}" for model in ("good", "second"))
BUILD_RATE, FOLLOW_SECONDS = 20_000, 0.2
"""Goals. The first is missed: an attestation takes some 0.7 ms, half of it to parse and check the bundle."""


@dataclass(frozen=True)
class Spent:
    """Processor time in seconds of one process and its children, and the most memory in MB of the process itself."""

    seconds: float
    memory: float


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--attestations", type=int, default=20_000)
    options.add_argument("--peer", type=int, default=100)
    options.add_argument("--rounds", type=int, default=7)
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="gitchain-bench-") as directory:
        os.environ |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "user.email"}
        os.environ |= {"GIT_CONFIG_VALUE_0": "ada@example.com"}
        worlds = {number: made(Path(directory), number) for number in (given.peer, given.attestations)}
        for one in measured(worlds, given.rounds):
            print(json.dumps(one), flush=True)


def made(directory: Path, number: int) -> AdmissionFiles:
    top = directory / str(number)
    top.mkdir()
    os.environ["GITCHAIN_HOME"] = str(top / "home")
    world = write_admission_files(top, ["good", "second"])
    fill(world, number)
    return world


def measured(worlds: dict[int, AdmissionFiles], rounds: int) -> list[dict[str, object]]:
    peer, large = worlds
    first = {number: spent(world, "verify", TARGET) for number, world in worlds.items()}
    fill(worlds[large], large + 1000)
    follow = spent(worlds[large], "verify", TARGET)
    found, times = [], {}
    for name, command in (
        ("verify", ["verify", TARGET]),
        ("verify of two", ["verify", TARGET, SECOND]),
        ("diff of two", ["diff", TARGET, SECOND]),
        ("log", ["log", TARGET]),
        ("show", []),
    ):
        taken: dict[int, list[Spent]] = {number: [] for number in worlds}
        for _ in range(rounds):
            for number, world in worlds.items():
                taken[number].append(spent(world, *(command or ["show", first_id(world)])))
        times[name] = {
            number: statistics.median(one.seconds for one in all_of) for number, all_of in taken.items()
        }
        goal = 1.2 if name.startswith("verify") else 1.5
        about = f"{name}, {large} stored / {peer}"
        found.append(row(about, times[name][large] * 1000, times[name][peer] * 1000, "ms", goal))
        memory = {number: max(one.memory for one in all_of) for number, all_of in taken.items()}
        found.append(row(f"{about}, most memory", memory[large], memory[peer], "MB", goal))
    both = (times[name][large] * 1000 for name in ("diff of two", "verify of two"))
    found.append(row(f"diff / verify of two models, {large} stored", *both, "ms", 1.3))
    build = (first[large].seconds - times["verify"][large]) / (large - peer)
    found.append(row("index an attestation / 1 of 20,000 a second", build * 1e6, 1e6 / BUILD_RATE, "us", 1))
    found.append(
        row("follow 1,000 new / 0.2 s", follow.seconds - times["verify"][large], FOLLOW_SECONDS, "s", 1)
    )
    return found


def first_id(world: AdmissionFiles) -> str:
    return str(json.loads(output(world, "log", TARGET, "--json"))["events"][0]["id"])


def environment(world: AdmissionFiles) -> dict[str, str]:
    return {**os.environ, "GITCHAIN_HOME": str(world.top / "home")}


def output(world: AdmissionFiles, *command: str) -> str:
    line = [sys.executable, "-m", "gitchain", *command]
    return subprocess.run(
        line, cwd=world.repository, env=environment(world), check=True, capture_output=True, text=True
    ).stdout


COMMAND = """
import atexit, runpy
from pathlib import Path

@atexit.register
def memory():
    Path({place!r}).write_text(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])

runpy.run_module("gitchain", run_name="__main__", alter_sys=True)
"""
"""Runs gitchain, and writes the most memory of this program in kB: `ru_maxrss` would begin with that of the parent."""


def spent(world: AdmissionFiles, *command: str) -> Spent:
    """Run a command, and return what it took."""
    place = world.top / "memory"
    line = [sys.executable, "-c", COMMAND.format(place=str(place)), *command]
    process = subprocess.Popen(line, cwd=world.repository, env=environment(world), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command} ended with {process.returncode}")
    return Spent(usage.ru_utime + usage.ru_stime, int(place.read_text()) / 1024)


if __name__ == "__main__":
    main()

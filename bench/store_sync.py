"""What exchanging a store with a remote costs for each attestation, and in a large store against a small one.

    python bench/store_sync.py [--attestations 10000] [--peer 1000] [--rounds 3]

Fixture: two repositories with the chain of one model, signed by the embedded instance, and their bare remotes, which
`git fast-import` fills with as many attestations about other models as are missing (see `bench/evidence.py`). Both sides
run interleaved. Commands run in a process of their own, and their shortest time counts, since other programs may run.
On a busy machine read the note: the processor time of the command and of all programs that it ran.

- fresh clone and sync, first push: time of `gitchain sync` for each attestation between the two sizes
- sync of 1,000 new: the whole command, in a clone that has the others already
- append, look-up: one call in this process. A look-up finds a bundle by its name and by its subject
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from admission import row  # noqa: E402
from evidence import others  # noqa: E402

from gitchain.evidence.digest import sha256_hex  # noqa: E402
from gitchain.store.git_ref import DEFAULT_REF, AttestationStore  # noqa: E402
from gitchain.store.tree_paths import content_path, subject_path  # noqa: E402
from tests.support.admission import write_admission_files  # noqa: E402
from tests.support.store_samples import bundle  # noqa: E402

EACH_MS = 0.3
NEW = 1000
CALLS = 60


@dataclass
class Place:
    """A directory with a remote that holds `number` attestations, and the clones of it."""

    top: Path
    number: int
    form: dict[str, object] = field(default_factory=dict)
    names: list[tuple[str, str]] = field(default_factory=list)
    """Of attestations in the remote, with the digest of the subject."""
    processor: list[float] = field(default_factory=list)
    """Seconds of the processor that each command took."""

    @classmethod
    def make(cls, top: Path, number: int) -> Place:
        top.mkdir()
        os.environ["GITCHAIN_HOME"] = str(top / "home")
        repository = write_admission_files(top, ["good"]).repository
        place = cls(top, 0)
        git(repository, "add", "--all")
        git(repository, "commit", "-qm", "layout")
        git(top, "init", "-q", "--bare", "remote.git")
        git(repository, "remote", "add", "origin", str(place.remote))
        git(repository, "push", "-q", "origin", "HEAD")
        place.sync(repository)
        store = AttestationStore.open(repository)
        place.form = json.loads(next(iter(store.all())))
        place.number = store.count()
        place.fill(number)
        return place

    @property
    def remote(self) -> Path:
        return self.top / "remote.git"

    def fill(self, number: int) -> None:
        """Add attestations about other models to the remote until it has `number`."""
        command = ["git", "-C", str(self.remote), "fast-import", "--quiet", "--force"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE)
        assert child.stdin is not None
        head = f"commit {DEFAULT_REF}\ncommitter a <a@example.com> {int(time.time())} +0000\ndata 4\nfill\n"
        child.stdin.write(f"{head}from {git(self.remote, 'rev-parse', DEFAULT_REF)}\n".encode())
        form = self.form
        for payload, digest in others(self.number, number):
            envelope = {**form["dsseEnvelope"], "payload": base64.b64encode(payload).decode()}  # type: ignore[dict-item]
            raw = json.dumps({**form, "dsseEnvelope": envelope}).encode()
            name = sha256_hex(raw)
            for path in (content_path("att", name), (*subject_path("sha256", digest), name)):
                child.stdin.write(
                    f"M 100644 inline {'/'.join(path)}\ndata {len(raw)}\n".encode() + raw + b"\n"
                )
            self.names.append((name, digest))
        child.stdin.close()
        if child.wait() != 0:
            sys.exit("git fast-import failed")
        self.number = number

    def clone(self, name: str) -> Path:
        git(self.top, "clone", "-q", str(self.remote), name)
        return self.top / name

    def sync(self, repository: Path) -> float:
        """Run `gitchain sync` and return its time in seconds; note that of the processor, with all programs it ran."""
        environment = {**os.environ, "GITCHAIN_HOME": str(self.top / "home")}
        started = time.perf_counter()
        with (self.top / "output").open("wb") as output:
            command = [sys.executable, "-m", "gitchain", "sync"]
            child = subprocess.Popen(command, cwd=repository, env=environment, stdout=output, stderr=output)
            _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            sys.exit(f"gitchain sync ended with {child.returncode}: {(self.top / 'output').read_text()}")
        self.processor.append(usage.ru_utime + usage.ru_stime)
        return time.perf_counter() - started

    def fresh_clone(self, number: int) -> float:
        return self.sync(self.clone(f"fresh-{number}"))

    def first_push(self, number: int) -> float:
        """Sync a repository that has everything with an empty remote."""
        repository = self.clone(f"push-{number}")
        git(repository, "fetch", "-q", "origin", f"{DEFAULT_REF}:{DEFAULT_REF}")
        git(self.top, "init", "-q", "--bare", f"empty-{number}.git")
        git(repository, "remote", "set-url", "origin", str(self.top / f"empty-{number}.git"))
        return self.sync(repository)

    def new_ones(self, _number: int) -> float:
        """Sync the first clone after the remote got NEW attestations."""
        self.fill(self.number + NEW)
        return self.sync(self.top / "fresh-0")

    def append(self, number: int) -> float:
        store = AttestationStore.open(self.top / "push-0")
        data = bundle(f"model-{number}", note=str(self.top))
        return timed(lambda: store.add([data]))

    def look_up(self, number: int) -> float:
        name, digest = Random(number).choice(self.names)
        store = AttestationStore.open(self.top / "fresh-0")
        store.get(name)  # starts what the first reading starts
        name, digest = Random(-number).choice(self.names)

        def find() -> None:
            if store.get(name) is None or not store.by_subject("sha256", digest):
                sys.exit("an attestation was not found")

        return timed(find)


def timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def git(directory: Path, *command: str) -> str:
    done = subprocess.run(["git", "-C", str(directory), *command], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--attestations", type=int, default=10_000)
    options.add_argument("--peer", type=int, default=1000)
    options.add_argument("--rounds", type=int, default=3)
    given = options.parse_args()
    names = {"init.defaultBranch": "main", "user.email": "ada@example.com", "user.name": "Ada"}
    os.environ["GIT_CONFIG_COUNT"] = str(len(names))
    for number, (name, value) in enumerate(names.items()):
        os.environ |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    with tempfile.TemporaryDirectory(prefix="gitchain-bench-") as directory:
        places = [
            Place.make(Path(directory) / str(number), number) for number in (given.peer, given.attestations)
        ]
        for one in measured(places, given.rounds):
            print(json.dumps(one), flush=True)


def measured(places: list[Place], rounds: int) -> list[dict[str, object]]:
    peer, large = places
    more, found = large.number - peer.number, []
    about = f"{large.number} stored"
    for name, do in (("fresh clone and sync", Place.fresh_clone), ("first push", Place.first_push)):
        for place in places:
            place.processor.clear()
        small_time, large_time = taken(do, places, rounds, min)
        each = (large_time - small_time) / more * 1000
        note = f"{(min(large.processor) - min(peer.processor)) / more * 1000:.2f} ms of the processor"
        found.append(row(f"{name}, {about}, each / {EACH_MS} ms", each, EACH_MS, "ms", 1, note))
    against = f"{about} / {peer.number}"
    for name, do, calls, chosen, goal in (
        ("sync of 1,000 new", Place.new_ones, rounds, min, 3),
        ("append", Place.append, CALLS, statistics.median, 2),
        ("look-up", Place.look_up, CALLS, statistics.median, 1.5),
    ):
        small_time, large_time = taken(do, places, calls, chosen)
        found.append(row(f"{name}, {against}", large_time * 1000, small_time * 1000, "ms", goal))
    return found


def taken(
    do: Callable[[Place, int], float],
    places: list[Place],
    rounds: int,
    chosen: Callable[[list[float]], float],
) -> list[float]:
    """Return one time for each place, chosen among the rounds."""
    times: list[list[float]] = [[] for _ in places]
    for number in range(rounds):
        for place, all_of in zip(places, times, strict=True):
            all_of.append(do(place, number))
    return [chosen(all_of) for all_of in times]


if __name__ == "__main__":
    main()

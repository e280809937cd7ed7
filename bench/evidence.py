"""gitchain serve over large evidence against small evidence: time until it is ready, memory, warm reviews.

    python bench/evidence.py [--attestations 10000] [--peer 100]

Fixture: a repository with the chain of one model, signed by the embedded instance, and as many bundles about other models
as are missing to `--attestations`. Those have a signed bundle's form with another payload: they are parsed, indexed and
never needed. Their signatures do not verify; to sign 100,000 takes an hour. They are written with `git fast-import`, so the
repository is packed, as after `git gc`. Both servers have a process each, on one core, one after the other.

- ready: from the start of the process until reviews are decided, against the chart's `startupSeconds`
- again: from a new attestation until it is in use, with the old evidence still held
- memory: the most that was resident until then, against the chart's limit
- warm: processor time of the server for a review, large against small evidence

Measured with 100,000 on a machine that was busy with other programs (load 8 on 2 cores): ready after 401 s of 600, 9 s
until a new one is in use, 337 MB of 1024, warm reviews 0.93 of those with 100.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import yaml  # noqa: E402
from admission import Line, asked, load, processor, row  # noqa: E402

from gitchain.evidence.digest import sha256_hex  # noqa: E402
from gitchain.store.tree_paths import content_path, subject_path  # noqa: E402
from tests.support.admission import WHO, AdmissionFiles, chain, statement, write_admission_files  # noqa: E402

VALUES = yaml.safe_load((Path(__file__).parents[1] / "deploy/helm/gitchain/values.yaml").read_text())
REVIEWS = 2000
SECONDS = 1800.0


@dataclass(frozen=True)
class Measured:
    """What one server took: seconds, megabytes, milliseconds of its processor."""

    ready: float
    again: float
    memory: float
    warm: float


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--attestations", type=int, default=10_000)
    options.add_argument("--peer", type=int, default=100)
    given = options.parse_args()
    small, large = (measured(number) for number in (given.peer, given.attestations))
    each = (large.ready - small.ready) / (given.attestations - given.peer) * 1000
    limit = float(VALUES["resources"]["limits"]["memory"].removesuffix("Gi")) * 1024
    about = f"{given.attestations} attestations"
    for one in (
        row(
            f"{about}, until ready / startupSeconds",
            large.ready,
            VALUES["startupSeconds"],
            "s",
            1,
            f"{each:.2f} ms each",
        ),
        row(f"{about}, a new one in use / times.fresh", large.again, 60, "s", 1),
        row(f"{about}, most memory / the chart's limit", large.memory, limit, "MB", 1),
        row(
            f"{about}, until ready / {given.peer}",
            large.ready,
            small.ready,
            "s",
            given.attestations / given.peer,
        ),
        row(
            f"{about}, most memory / {given.peer}",
            large.memory,
            small.memory,
            "MB",
            given.attestations / given.peer,
        ),
        row(f"{about}, warm review, processor time / {given.peer}", large.warm, small.warm, "ms", 1.2),
    ):
        print(json.dumps(one), flush=True)


def measured(number: int) -> Measured:
    with tempfile.TemporaryDirectory(prefix="gitchain-bench-") as directory:
        top = Path(directory)
        os.environ |= {"GITCHAIN_HOME": str(top / "home"), "GIT_CONFIG_COUNT": "1"}
        os.environ |= {"GIT_CONFIG_KEY_0": "user.email", "GIT_CONFIG_VALUE_0": "ada@example.com"}
        world = write_admission_files(top, ["good"])
        fill(world, number)
        server = Path(__file__).with_name("admission.py")
        started = time.perf_counter()
        command = [sys.executable, str(server), "--serve", str(world.top)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        try:
            port = int(child.stdout.readline().rsplit(":", 1)[1])
            return asyncio.run(measure(world, port, child.pid, started))
        finally:
            child.send_signal(signal.SIGINT)
            child.wait(60)


async def measure(world: AdmissionFiles, port: int, pid: int, started: float) -> Measured:
    await until(port, b"GET /readyz", b'"state":"deciding"')
    ready = time.perf_counter() - started
    lines = [await Line.open(port) for _ in range(4)]
    body = asked("good")
    await load(lines, "POST /validate", body, REVIEWS)
    before = processor(pid)
    await load(lines, "POST /validate", body, REVIEWS)
    warm = (processor(pid) - before) / REVIEWS * 1000
    sign(world)
    started = time.perf_counter()
    await until(port, b"POST /validate", b'"allowed":true', asked("second"))
    return Measured(ready, time.perf_counter() - started, peak(pid), warm)


async def until(port: int, what: bytes, found: bytes, body: bytes = b"") -> None:
    """Ask until the answer holds `found`; every connection is new, as silent ones are closed."""
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        line = await Line.open(port)
        if found in (await line.call(what.decode(), body))[1]:
            return
        await asyncio.sleep(0.2)
    sys.exit(f"{what.decode()} did not answer {found!r} within {SECONDS} s")


def sign(world: AdmissionFiles) -> None:
    """Add the chain of another model."""
    from gitchain.trust.load_profile import load_profile
    from gitchain.trust.profiles import SigningIdentity
    from gitchain.workspace.project import open_project

    with load_profile("local").signer(SigningIdentity(WHO)) as signer:
        open_project(world.repository).store.add(signer.sign(chain("second")))


def peak(pid: int) -> float:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) / 1024


def fill(world: AdmissionFiles, number: int) -> None:
    """Add bundles about other models until the store has `number`, in one commit of `git fast-import`."""
    from gitchain.workspace.project import open_project

    store = open_project(world.repository).store
    there = list(store.items(store.tip(), lambda _problem: None))
    form = json.loads(there[-1][1])
    command = ["git", "-C", str(world.repository), "fast-import", "--quiet", "--force"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert child.stdin is not None
    who = f"ada <ada@example.com> {int(time.time())} +0000"
    commit = f"commit {store.ref}\ncommitter {who}\ndata 4\nfill\nfrom {store.tip()}\n"
    child.stdin.write(commit.encode())
    for payload, digest in others(len(there), number):
        form["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
        raw = json.dumps(form).encode()
        name = sha256_hex(raw)
        for path in (content_path("att", name), (*subject_path("sha256", digest), name)):
            child.stdin.write(f"M 100644 inline {'/'.join(path)}\ndata {len(raw)}\n".encode() + raw + b"\n")
    child.stdin.close()
    if child.wait() != 0:
        sys.exit("git fast-import failed")


def others(first: int, end: int) -> Iterator[tuple[bytes, str]]:
    """Yield payloads and the subjects' digests of training statements about numbered models that no layout serves."""
    for one in range(first, end):
        name = f"models/other-{one}"
        made = statement("train", {"data/clean.csv": "clean"}, {name: name})
        yield made.payload, made.subject[0].digest["sha256"]


if __name__ == "__main__":
    main()

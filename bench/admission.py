"""gitchain serve under load: warm and cold reviews over TLS, against the same server answering a constant, and its memory.

    python bench/admission.py [--models 100] [--reviews 100000] [--seconds 240]

Fixture: a repository with one six-step chain for each model, signed by the embedded instance, and the whole server in a
process of its own on one core, on loopback. A review is a Deployment of 6 kB with one model by its digest. The client sends
over 8 connections that stay open, from this process.

- cold: each model's first review, one after the other, with nothing remembered; the slowest but one in a hundred
- warm: processor time of the server for each review against that of the same HTTP server reading the same body and
  answering a constant, in turns, all connections busy. The reviews are all alike, as those of one workload's pods are;
  another row has one variable with another value in each. How long a review then takes stands beside how long a constant
  does: where both are late, it is the machine that has other things to do
- memory: the resident set after all reviews against that after the first tenth, among them unknown and revoked models.
  `--reviews 0` leaves it out; after `--seconds` it ends with what it has, and says how many reviews that were
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.admission import (
    AdmissionFiles,
    certificate,
    oci,
    pod,
    review,
    templated,
    write_admission_files,
)

CONNECTIONS = 8
PADDING = [{"name": f"VARIABLE_{number}", "value": "x" * 40} for number in range(60)]
ROUNDS, BATCH = 5, 2000
PARTS = 10
LATE_MS, COLD_MS, GROWTH = 50, 1500, 1.05


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--models", type=int, default=100)
    options.add_argument("--reviews", type=int, default=100_000)
    options.add_argument("--seconds", type=float, default=240)
    options.add_argument("--serve", type=Path)
    given = options.parse_args()
    if given.serve:
        serve(given.serve)
        return
    with tempfile.TemporaryDirectory(prefix="gitchain-bench-") as directory:
        top = Path(directory)
        os.environ |= {"GITCHAIN_HOME": str(top / "home"), "GIT_CONFIG_COUNT": "1"}
        os.environ |= {"GIT_CONFIG_KEY_0": "user.email", "GIT_CONFIG_VALUE_0": "ada@example.com"}
        models = [f"m{number:03}" for number in range(given.models)]
        world = write_admission_files(top, ["good", "revoked", *models])
        for row in measure(world, models, given.reviews, given.seconds):
            print(json.dumps(row))


def serve(top: Path) -> None:
    """Serve with one more endpoint, which reads the body and answers a constant."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from gitchain.admit import app, server
    from gitchain.admit.admission import AdmissionResult
    from gitchain.admit.config import read_settings
    from gitchain.admit.logs import set_up
    from gitchain.admit.review import ReviewResponse
    from gitchain.admit.run import serve as run
    from gitchain.admit.tls import TlsFiles

    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    made = AdmissionResult("u" * 36, ReviewResponse(allowed=True, audit={"models": "x" * 90}), "verified")
    constant = json.dumps(made.answer.to_json(made.uid)).encode()

    async def answer(request: Request) -> Response:
        await request.body()
        return Response(constant, headers={"content-type": "application/json"})

    def application(one: app.Server) -> Starlette:
        found = app.application(one)
        found.router.routes.append(Route("/constant", answer, methods=["POST"]))
        return found

    server.application = application
    set_up(open(os.devnull, "w"))  # noqa: PTH123, SIM115 - as long as the process
    files = TlsFiles(*certificate(top))
    run(
        read_settings(top / "serve.yaml"),
        files,
        ("127.0.0.1", 0),
        None,
        told=lambda text: print(text, flush=True),
    )


def measure(
    world: AdmissionFiles, models: Sequence[str], reviews: int, seconds: float
) -> list[dict[str, object]]:
    child = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(world.top)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    try:
        port = int(child.stdout.readline().rsplit(":", 1)[1])
        return asyncio.run(rows(port, child.pid, models, reviews, seconds))
    finally:
        child.send_signal(signal.SIGINT)
        if child.wait(60) != 0:
            sys.exit("the server did not end well")


async def rows(
    port: int, pid: int, models: Sequence[str], reviews: int, seconds: float
) -> list[dict[str, object]]:
    first = await Line.open(port)
    while not (await first.call("GET /readyz", b""))[1].startswith(b'{"ready":true'):
        pass
    cold = last_of_hundred([await first.review(model) for model in models])
    lines = [await Line.open(port) for _ in range(CONNECTIONS)]  # now: silent ones are closed
    found = [
        *await warm(lines, pid),
        row("cold chain of six, p99 / 1.5 s", cold, COLD_MS, "ms", 1),
    ]
    return [*found, await memory(lines, pid, models, reviews, seconds)] if reviews else found


async def warm(lines: Sequence[Line], pid: int) -> list[dict[str, object]]:
    ours, new, constant = Taken(), Taken(), Taken()
    same = itertools.repeat(asked("good"))
    others = (asked("good", number) for number in itertools.count())
    await load(lines, "POST /validate", same, BATCH)
    for _ in range(ROUNDS):
        for path, bodies, taken in (
            ("POST /validate", same, ours),
            ("POST /validate", others, new),
            ("POST /constant", same, constant),
        ):
            before, started = processor(pid), time.perf_counter()
            taken.times += await load(lines, path, bodies, BATCH)
            taken.seconds += time.perf_counter() - started
            taken.processor.append((processor(pid) - before) / BATCH * 1000)
    needed, least = statistics.median(ours.processor), statistics.median(constant.processor)
    unknown = statistics.median(new.processor)
    late, both = last_of_hundred(ours.times), last_of_hundred(constant.times)
    rate = f"{len(ours.times) / ours.seconds:.0f} a second came"
    return [
        row("warm, processor time / a constant", needed, least, "ms", 2.5),
        row("warm, another environment each / a constant", unknown, least, "ms", 6),
        row("warm, processor time / 300 a second of one core", needed, 1000 / 300, "ms", 1, rate),
        row("warm at full load, p99 / 50 ms", late, LATE_MS, "ms", 1, f"a constant: {both:.1f} ms"),
    ]


async def memory(
    lines: Sequence[Line], pid: int, models: Sequence[str], reviews: int, seconds: float
) -> dict[str, object]:
    """Measure after each part, until all are sent or the time is over; the second part is always sent."""
    start, done, until = 0.0, 0, time.perf_counter() + seconds
    for part in range(PARTS):
        mixed = [asked(one) for one in ("good", "nosuch", "revoked", f"unknown-{part}", models[part])]
        for body in mixed:
            same = itertools.repeat(body)
            done += len(await load(lines, "POST /validate", same, reviews // PARTS // len(mixed)))
        start = start or resident(pid)
        if part and time.perf_counter() > until:
            break
    note = f"of {reviews}: the time was over" if done < reviews else ""
    return row(f"memory after {done} reviews / the first tenth", resident(pid), start, "MB", GROWTH, note)


def row(name: str, ours: float, peer: float, unit: str, goal: float, note: str = "") -> dict[str, object]:
    found = {"name": name, "ours": ours, "peer": peer, "unit": unit, "ratio": ours / peer, "goal": goal}
    return found | ({"note": note} if note else {})


@dataclass
class Taken:
    """What one path took: each request, all of them, and of the server's processor for each, in batches."""

    times: list[float] = field(default_factory=list)
    seconds: float = 0.0
    processor: list[float] = field(default_factory=list)


class Line:
    """One connection that stays open."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> Line:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=context))

    async def call(self, what: str, body: bytes) -> tuple[int, bytes]:
        head = f"{what} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        return int(answer.split(b" ", 2)[1]), await self._reader.readexactly(length)

    async def review(self, model: str) -> float:
        started = time.perf_counter()
        status, answer = await self.call("POST /validate", asked(model))
        taken = (time.perf_counter() - started) * 1000
        if status != 200 or b'"allowed":true' not in answer:
            sys.exit(f"{model} was not admitted: {answer!r}")
        return taken


def asked(model: str, number: int = 0) -> bytes:
    source = pod(oci(model))
    source["spec"]["containers"][0]["env"] = [*PADDING, {"name": "NUMBER", "value": f"{number:08}"}]
    return json.dumps(review(templated("apps/v1", "Deployment", source))).encode()


async def load(lines: Sequence[Line], what: str, bodies: Iterator[bytes], count: int) -> list[float]:
    """Send `count` requests over all connections; return how long each took, in milliseconds."""
    taken: list[float] = []

    async def send(line: Line, number: int) -> None:
        for _ in range(number):
            body = next(bodies)
            started = time.perf_counter()
            status, _ = await line.call(what, body)
            taken.append((time.perf_counter() - started) * 1000)
            if status != 200:
                sys.exit(f"{what} was answered with {status}")

    await asyncio.gather(*(send(line, count // len(lines)) for line in lines))
    return taken


def processor(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def last_of_hundred(times: Sequence[float]) -> float:
    return sorted(times)[max(0, -(-len(times) * 99 // 100) - 1)]


if __name__ == "__main__":
    main()

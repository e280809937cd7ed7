"""gitchain serve under load: warm and cold reviews over TLS, against the same server answering a constant, and its memory.

    python bench/admission.py [--models 100] [--reviews 100000]

Fixture: a repository with one six-step chain for each model, signed by the embedded instance, and the whole server in a
process of its own on one core, on loopback. A review is a Deployment of 6 kB with one model by its digest. The client sends
over 8 connections that stay open, from this process.

- cold: each model's first review, one after the other, with nothing remembered; the slowest but one in a hundred
- warm: processor time of the server for each review against that of the same HTTP server reading the same body and
  answering a constant, in turns; how long one connection waits for both; the rate at full load
- memory: growth of the resident set over all reviews after the first tenth, among them unknown and revoked models
"""

from __future__ import annotations

import argparse
import asyncio
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
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "tests" / "admit"), str(Path(__file__).parents[1] / "tests")]

from admit_world import World, certificate, make_world, oci, pod, review, templated  # noqa: E402

CONNECTIONS = 8
PADDING = [{"name": f"VARIABLE_{number}", "value": "x" * 40} for number in range(60)]
ROUNDS, BATCH = 5, 400
GROWTH_MB = 16.0


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--models", type=int, default=100)
    options.add_argument("--reviews", type=int, default=100_000)
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
        world = make_world(top, ["good", "revoked", *models])
        for row in measure(world, models, given.reviews):
            print(json.dumps(row))


def serve(top: Path) -> None:
    """Serve with one more endpoint, which reads the body and answers a constant."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from gitchain.admit import app, server
    from gitchain.admit.admission import Judgement
    from gitchain.admit.config import read_settings
    from gitchain.admit.logs import set_up
    from gitchain.admit.review import Answer
    from gitchain.admit.run import serve as run
    from gitchain.admit.tls import Files

    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    made = Judgement("u" * 36, Answer(allowed=True, audit={"models": "x" * 90}), "verified")
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
    files = Files(*certificate(top))
    run(
        read_settings(top / "serve.yaml"),
        files,
        ("127.0.0.1", 0),
        None,
        told=lambda text: print(text, flush=True),
    )


def measure(world: World, models: Sequence[str], reviews: int) -> list[dict[str, object]]:
    child = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(world.top)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    try:
        port = int(child.stdout.readline().rsplit(":", 1)[1])
        return list(rows(asyncio.run(figures(port, child.pid, models, reviews))))
    finally:
        child.send_signal(signal.SIGINT)
        if child.wait(60) != 0:
            sys.exit("the server did not end well")


async def figures(port: int, pid: int, models: Sequence[str], reviews: int) -> dict[str, float]:
    first = await Line.open(port)
    while not (await first.call("GET /readyz", b""))[1].startswith(b'{"ready":true'):
        pass
    cold = [await first.review(model) for model in models]
    lines = [await Line.open(port) for _ in range(CONNECTIONS)]  # now: silent ones are closed
    ours: list[float] = []
    constant: list[float] = []
    alone: list[float] = []
    beside: list[float] = []
    body = asked("good")
    await load(lines, "POST /validate", body, BATCH)
    for _ in range(ROUNDS):
        for path, found, waited in (("POST /validate", ours, alone), ("POST /constant", constant, beside)):
            before = processor(pid)
            await load(lines, path, body, BATCH)
            found.append((processor(pid) - before) / BATCH * 1000)
            waited.extend(await load(lines[:1], path, body, BATCH))
    started = time.perf_counter()
    times = await load(lines, "POST /validate", body, ROUNDS * BATCH)
    rate = len(times) / (time.perf_counter() - started)
    start = 0.0
    for part in range(10):
        mixed = [asked(model) for model in ("good", "nosuch", "revoked", f"unknown-{part}", models[part])]
        for one in mixed:
            await load(lines, "POST /validate", one, reviews // 10 // len(mixed))
        start = start or resident(pid)
    return {
        "cold": last_of_hundred(cold),
        "ours": statistics.median(ours),
        "constant": statistics.median(constant),
        "rate": rate,
        "p99": last_of_hundred(times),
        "alone": last_of_hundred(alone),
        "beside": last_of_hundred(beside),
        "growth": resident(pid) - start,
        "resident": resident(pid),
        "reviews": float(reviews),
    }


def rows(found: dict[str, float]) -> Iterator[dict[str, object]]:
    def row(name: str, ours: float, peer: float, unit: str, goal: float, **more: object) -> dict[str, object]:
        return {
            "name": name,
            "ours": ours,
            "peer": peer,
            "unit": unit,
            "ratio": ours / peer,
            "goal": goal,
            **more,
        }

    rate = round(found["rate"])
    yield row("warm review / a constant", found["ours"], found["constant"], "ms", 3)
    yield row("warm review / 300 a second", found["ours"], 1000 / 300, "ms", 1, reviews_per_second=rate)
    limit = max(50.0, 3 * found["beside"])  # a machine that has other things to do is late for both
    yield row("warm, p99 / 50 ms or 3 constants", found["alone"], limit, "ms", 1, full_load=found["p99"])
    yield row("cold chain of six, p99 / 1.5 s", found["cold"], 1500, "ms", 1)
    name = f"memory after {found['reviews']:.0f} reviews / {GROWTH_MB:.0f} MB"
    yield row(name, max(found["growth"], 0.0), GROWTH_MB, "MB", 1, resident=found["resident"])


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


def asked(model: str) -> bytes:
    source = pod(oci(model))
    source["spec"]["containers"][0]["env"] = PADDING
    return json.dumps(review(templated("apps/v1", "Deployment", source))).encode()


async def load(lines: Sequence[Line], what: str, body: bytes, count: int) -> list[float]:
    """Send `count` requests over all connections; return how long each took, in milliseconds."""
    taken: list[float] = []

    async def send(line: Line, number: int) -> None:
        for _ in range(number):
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

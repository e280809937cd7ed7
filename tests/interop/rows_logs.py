"""Rows about the transparency logs after our entries: what programs that watch logs say of them."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from tests.interop.interop_run import Answer, InteropRun, demo, flipped, pinned
from tests.interop.rows_chain import OWNER
from tests.interop.table import Cases, Row
from tests.stack import front, keys
from tests.stack.processes import end, free_ports, run_all
from tests.stack.servers import Log, Server, log
from tests.stack.stack import binaries

TESSERA = "github.com/transparency-dev/tessera"


def whole_log(world: InteropRun, cases: Cases) -> None:
    """tessera's fsck reads the whole log through its public door, as a mirror would, and rebuilds its root."""
    fsck, log = world.tool("fsck"), world.stack.services.logs[0]
    verifier = world.write("fsck/log.vkey", log.verifier.encode())
    stranger = world.write("fsck/stranger.vkey", _other_key(log.verifier).encode())

    def ask(url: str, key: Path = verifier) -> Answer:
        _, said = world.call(fsck, "-storage_url", url, "-public_key", key, "-ui=false")
        return "Successfully fsck'd log" in said and "failed" not in said, said  # its exit code is always 0

    cases.accepts("as it stands", ask(world.stack.services.rekor))
    cases.refuses("under another key", ask(world.stack.services.rekor, stranger))
    storage = world.stack.folder / "rekor"
    for name, pattern in (
        ("a byte of an entry", "tile/entries/**/*"),
        ("a byte of a hash", "tile/[0-9]/**/*"),
    ):
        with _copy(world, storage) as (url, copied):
            for file in copied.glob(pattern):
                if file.is_file():
                    file.write_bytes(flipped(file.read_bytes()))
            cases.refuses(name, ask(url))
    with _copy(world, storage) as (url, copied):
        checkpoint = (copied / "checkpoint").read_text(encoding="utf-8")
        size = int(checkpoint.split("\n")[1])
        (copied / "checkpoint").write_text(
            checkpoint.replace(f"\n{size}\n", f"\n{size - 1}\n", 1), encoding="utf-8"
        )
        cases.refuses("a checkpoint with another size", ask(url))


@contextmanager
def _copy(world: InteropRun, storage: Path) -> Iterator[tuple[str, Path]]:
    """Serve a copy of a log's public files, to be changed."""
    folder = world.folder / "fsck/copy"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(storage / "checkpoint", folder)
    shutil.copytree(storage / "tile", folder / "tile")
    port = free_ports(["copy"])["copy"]
    (folder / "plan.json").write_text(json.dumps([{"name": "copy", "port": port, "storage": str(folder)}]))
    command = (sys.executable, front.__file__, str(folder / "plan.json"))
    pids = run_all(folder, [Server("copy", command, str(port), "/checkpoint")], owned=True)
    try:
        yield f"http://127.0.0.1:{port}", folder
    finally:
        end(pids)


def _other_key(verifier: str) -> str:
    """Return a note verifier with the same name and id, and another key."""
    return re.sub(r"(.{4})=?$", lambda found: found[1].swapcase(), verifier)


@contextmanager
def twin(world: InteropRun) -> Iterator[str]:
    """Serve the first log as it is now by a second real server with the same key: what it takes is another history."""
    stack, folder = world.stack, world.folder / "twin"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(stack.folder / "rekor", folder / "rekor", ignore=shutil.ignore_patterns("antispam"))
    shutil.copy(stack.folder / "rekor.key", folder)
    ports = free_ports(("rekor", "rekor-grpc", "rekor-metrics", "door"))
    door = {
        "name": "rekor",
        "port": ports["door"],
        "to": str(ports["rekor"]),
        "storage": str(folder / "rekor"),
    }
    (folder / "plan.json").write_text(json.dumps([door]))
    binary = binaries(world.builder)["rekor-server"]
    servers = (
        log(folder, binary, ports, Log("rekor", stack.services.logs[0].origin, ports["door"])),
        Server(
            "front",
            (sys.executable, front.__file__, str(folder / "plan.json")),
            str(ports["door"]),
            "/checkpoint",
        ),
    )
    pids = run_all(folder, servers, owned=True)
    try:
        yield f"http://127.0.0.1:{ports['door']}"
    finally:
        end(pids)


def _size(url: str) -> int:
    """Return how many entries the checkpoint at a log's door shows."""
    with urlopen(f"{url}/checkpoint", timeout=10) as answer:
        return int(answer.read().decode().split("\n")[1])


def follows(world: InteropRun, cases: Cases) -> None:
    """What rekor-monitor checks a Rekor v2 log with accepts what became of it since the first look, and nothing else."""
    follower, door = world.tool("log-follower"), world.stack.services.rekor
    state = world.write("follower/state", b"")
    state.unlink()

    def ask(url: str, key: str = "rekor.pub") -> Answer:
        return world.call(follower, url, world.stack.services.logs[0].origin, world.stack.folder / key, state)

    with twin(world) as other:
        cases.accepts("at first sight", ask(other))
        world.sign_something()
        cases.accepts("after another entry", ask(door))
        cases.accepts("the same again", ask(door))
        cases.refuses("as it was before", ask(other))
        for _ in range(2):
            world.sign_something(rekor=other)
        cases.refuses("with another history", ask(other))
    cases.refuses("under another key", ask(door, "rekor-ecdsa.pub"))
    cases.accepts("after all that", ask(door))


def monitor(world: InteropRun, cases: Cases) -> None:
    """`gitchain monitor` in the demo's project: the log grows with and without us, then is wound back, then forks."""
    project, origin, door = world.project, world.stack.services.logs[0].origin, world.stack.services.rekor
    assert project is not None, "the demo's chain was not made"

    def ask(url: str = door, beside: str = "") -> Answer:
        also = ("--also", f"{origin}={beside}/checkpoint") if beside else ()
        code, said = project.run("gitchain", "monitor", "--log", origin, "--url", f"{origin}={url}", *also)
        return code == 0, said

    def told(code: str, answer: Answer) -> Answer:
        """Take an answer that refuses for another reason than this one for an acceptance: it proves nothing."""
        return answer[0] or code not in answer[1], answer[1]

    def silent(answer: Answer) -> Answer:
        """Take a place that could not be read, which is but a warning, for a refusal: it proves nothing."""
        return answer[0] and "GC-M08" not in answer[1], answer[1]

    with twin(world) as other:
        cases.accepts("at first sight", ask(other))
        demo().release(project, "v1.1")
        world.sign_something()
        cases.accepts("after an attestation of ours and an entry of a stranger's", ask())
        world.sign_something(OWNER)
        cases.refuses("somebody signed as we do", told("GC-M04", ask()))
        cases.accepts("which is told once", ask())
        cases.accepts("beside a copy that is behind", silent(ask(beside=other)))
        cases.refuses("the log as it was before", told("GC-M03", ask(other)))
        while _size(other) < _size(door):
            world.sign_something(rekor=other)
        cases.refuses("the log with another history as long", told("GC-M02", ask(other)))
        world.sign_something(rekor=other)
        cases.refuses("the log with a longer history", told("GC-M01", ask(other)))
        cases.refuses(
            "beside a place with another history, which is ahead", told("GC-M03", ask(beside=other))
        )
        while _size(door) <= _size(other):
            world.sign_something()
        cases.refuses("beside that place when it is behind", told("GC-M02", ask(beside=other)))
    cases.accepts("after all that", ask())


def witness(world: InteropRun, cases: Cases) -> None:
    """Rekor asks our witness for each checkpoint; who verifies demands a quorum of witnesses, and gets it or not."""
    project, named = world.project, world.stack.witness
    assert project is not None, "the demo's chain was not made"
    other = keys.witness(world.folder / "other-witness", "other.test/1", "").replace(
        "witness w ", "witness o "
    )

    def ask(*policy: str) -> Answer:
        file = world.write("witness/policy", "".join(f"{line}\n" for line in policy).encode())
        code, said = project.run("gitchain", "verify", demo().MODEL, "--witnesses", str(file))
        return code == 0 and "PASSED" in said, said

    cases.accepts("our witness", ask(named, "quorum w"))
    cases.accepts("one of two", ask(named, other, "group any any w o", "quorum any"))
    cases.refuses("another witness", ask(other, "quorum o"))
    cases.refuses("both of two", ask(named, other, "group all all w o", "quorum all"))


WATCHED = (
    Row("rekor-tiles", lambda: pinned("rekor-server"), "asks our witness, whose word we demand", witness),
    Row("rekor-tiles", lambda: pinned("rekor-server"), "is followed by our monitor", monitor),
)
"""These come before other rows sign in the demo's names."""

ROWS = (
    Row("tessera fsck", lambda: pinned("fsck"), "reads the whole log after our entries", whole_log),
    Row(
        "tessera/client",
        lambda: pinned("log-follower", TESSERA),
        "accept the log's consistency",
        follows,
    ),
)

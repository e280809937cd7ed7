"""Rows about the transparency logs after our entries: what programs that watch logs say of them."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import front
from interop_world import Answer, World, flipped, pinned
from processes import end, free_ports, run_all
from servers import Server
from table import Cases, NotHere, Row

MONITOR = "v0.0.0-20260818080513-564014c8c3a2"


def whole_log(world: World, cases: Cases) -> None:
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
def _copy(world: World, storage: Path) -> Iterator[tuple[str, Path]]:
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


def monitor(world: World, cases: Cases) -> None:
    """rekor-monitor has no releases, and its development versions are not on the module proxy."""
    raise NotHere(f"cannot be had: the module proxy holds no version of it ({MONITOR} was asked for)")


ROWS = (
    Row("tessera fsck", lambda: pinned("fsck"), "reads the whole log after our entries", whole_log),
    Row("rekor-monitor", lambda: MONITOR, "accepts the log's consistency", monitor),
)

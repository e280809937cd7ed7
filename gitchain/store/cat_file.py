"""`git cat-file` as a process that answers one request after the other, and as one that streams a blob."""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from gitchain.errors import LimitError, StoreError, reason
from gitchain.platform.git import NETWORK_SECONDS, Git
from gitchain.platform.processes import end_process
from gitchain.store.tree_paths import Oid

if TYPE_CHECKING:
    import subprocess

BEGINNING = 64  # bytes of a blob that is only hashed


class CatFile:
    """A `git cat-file` process, started on first use."""

    verb: tuple[str, ...] = ("cat-file", "--batch")

    def __init__(self, git: Git) -> None:
        self._git = git
        self._process: subprocess.Popen[bytes] | None = None

    def _start(self) -> subprocess.Popen[bytes]:
        process = self._git.converse(*self.verb)
        weakref.finalize(self, _end, process)
        self._process = process
        return process

    def _stop(self) -> None:
        if self._process is not None:
            _end(self._process)
            self._process = None

    def _request(self, oid: Oid) -> tuple[IO[bytes], list[bytes]]:
        """Return the pipe to read from, and the first line of the response."""
        process = self._process or self._start()
        if process.stdin is None or process.stdout is None:
            raise StoreError("git cat-file has no pipes", where=oid)
        process.stdin.write(oid.encode("ascii") + b"\n")
        process.stdin.flush()
        return process.stdout, process.stdout.readline(200).split()

    @contextmanager
    def _watched(self, oid: Oid) -> Iterator[None]:
        process = self._process or self._start()
        watch = threading.Timer(NETWORK_SECONDS, process.kill)  # a lazy fetch may never end
        watch.start()
        try:
            yield
        except OSError as error:
            self._stop()
            raise StoreError("git cat-file went away", where=oid, got=reason(error)) from error
        finally:
            watch.cancel()


class ObjectReader(CatFile):
    """Reads objects, whole."""

    def read(self, oid: Oid, limit: int) -> tuple[str, bytes] | None:
        """Return an object's kind and bytes, None if it is missing; LimitError beyond `limit`, StoreError without git."""
        with self._watched(oid):
            return self._read(oid, limit)

    def _read(self, oid: Oid, limit: int) -> tuple[str, bytes] | None:
        pipe, header = self._request(oid)
        if len(header) != 3:  # not `<oid> <kind> <size>` but `<oid> missing`, or git has exited
            if header[1:] != [b"missing"]:
                self._stop()
            return None
        size = int(header[2])
        if size > limit:
            self._stop()
            raise LimitError(
                "object of the store is too large", where=oid, expected=f"≤ {limit}", got=str(size)
            )
        data = pipe.read(size + 1)
        if len(data) != size + 1:
            self._stop()
            raise StoreError("git cat-file went away", where=oid)
        return header[1].decode("ascii"), data[:-1]


def _end(process: subprocess.Popen[bytes]) -> None:
    end_process(process)
    if process.stdout is not None:
        process.stdout.close()


def streamed_digest(git: Git, oid: Oid) -> tuple[str, bytes]:
    """Return the SHA-256 of a blob and its first bytes. git streams blobs beyond a megabyte.

    Raises StoreError if it is missing or not a blob.
    """
    hashed, first = hashlib.sha256(), bytearray()

    def take(data: bytes) -> None:
        hashed.update(data)
        first.extend(data[: BEGINNING - len(first)])

    git.start("cat-file", "blob", oid, sink=take, config=("core.bigFileThreshold=1m",)).finish()
    return hashed.hexdigest(), bytes(first)

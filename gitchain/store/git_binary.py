"""The store's backend for repositories that libgit2 cannot open: the git binary.

Serves SHA-256 object ids, and reftable where git is new enough. A process per flush, one `cat-file --batch`
for all reads: slower than pygit2, equal in effect.
"""

from __future__ import annotations

import hashlib
import struct
import threading
import weakref
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from gitchain.errors import LimitError, StoreError
from gitchain.evidence.digest import sha256_hex
from gitchain.platform.git import NETWORK_SECONDS, Git
from gitchain.platform.processes import end_process
from gitchain.store.backend import locate, missing, settle
from gitchain.store.loose import FASTEST, Kind, NewObject
from gitchain.store.objects import Oid

if TYPE_CHECKING:
    import subprocess

BEGINNING = 64  # bytes of a blob that is only hashed
MAX_BASE_BYTES = 32 << 20  # of an object that another one is stored as a difference to
MAX_CHAIN_BYTES = 256 << 20  # git makes chains of up to 50 differences
_PACK_TYPES = {"commit": 1, "tree": 2, "blob": 3}
_FORMAT = "%(refname)%00%(objectname)%00%(symref)"


class GitBinary:
    """A repository that only git itself can read."""

    def __init__(self, path: Path, *, offline: bool) -> None:
        self._git, self.common_dir, object_format = locate(path, offline=offline)
        self.oid_bytes = 32 if object_format == "sha256" else 20
        self._reader = _Reader(self._git)
        self._sizes = ObjectSizes(self._git.directory)
        self._pending: dict[Oid, NewObject] = {}

    @property
    def partial(self) -> bool:
        """Say whether this is a partial clone; see `Backend.partial`."""
        done = self._git.run(
            "config", "--get-regexp", r"^(remote\..*\.promisor|extensions\.partialclone)$", accept=(0, 1)
        )
        return done.code == 0

    def config(self, key: str) -> str | None:
        """Return a configuration value."""
        done = self._git.run("config", "-z", "--get", key, accept=(0, 1))
        return done.stdout.decode("utf-8", "replace").removesuffix("\0") if done.code == 0 else None

    def read(self, oid: Oid, kind: Kind, limit: int) -> bytes:
        """Return an object's bytes; see `Backend.read`."""
        if oid in self._pending:
            return self._pending[oid].data
        self._sizes.check_deltas(oid, max(limit, MAX_BASE_BYTES))
        found = self._reader.read(oid, limit)
        if found is None:
            raise missing(oid, self.common_dir, partial=self.partial)
        if found[0] != kind:
            raise StoreError("wrong kind of object in the store", where=oid, expected=kind, got=found[0])
        return found[1]

    def size(self, oid: Oid) -> int | None:
        """Return an object's size from its header; see `Backend.size`."""
        if oid in self._pending:
            return len(self._pending[oid].data)
        return self._sizes.of(oid)

    def digest(self, oid: Oid) -> tuple[str, bytes]:
        """Return the SHA-256 of a blob, which is streamed, and how it begins; see `Backend.digest`."""
        if oid in self._pending:
            return sha256_hex(self._pending[oid].data), self._pending[oid].data[:BEGINNING]
        self._sizes.check_deltas(oid, MAX_BASE_BYTES)
        return streamed_digest(self._git, oid)

    def write(self, kind: Kind, data: bytes) -> Oid:
        """Take in an object; see `Backend.write`."""
        item = NewObject.of(kind, data, self.oid_bytes)
        self._pending[item.oid] = item
        return item.oid

    def flush(self) -> None:
        """Make what was taken in durable; see `Backend.flush`."""
        pending, self._pending = self._pending, {}
        if pending:
            self._git.run("unpack-objects", "-q", stdin=_pack(tuple(pending.values()), self.oid_bytes))

    def discard(self) -> None:
        """Forget what was taken in and not flushed."""
        self._pending = {}

    def read_ref(self, name: str) -> Oid | None:
        """Return what a ref points to; see `Backend.read_ref`."""
        for line in self._git.run("for-each-ref", f"--format={_FORMAT}", name).stdout.splitlines():
            found, oid, symbolic = line.decode("utf-8", "replace").split("\0")
            if found == name and symbolic:
                raise StoreError(
                    "the store's ref is a symbolic ref", where=name, help=f"git symbolic-ref -d {name}"
                )
            if found == name:
                return Oid(oid)
        return None

    def swap_ref(self, name: str, new: Oid, old: Oid | None) -> bool:
        """Compare and swap a ref; see `Backend.swap_ref`."""
        try:
            self._git.run("update-ref", "--no-deref", name, new, old or "0" * len(new))
        except StoreError as error:
            return settle(self, name, new, old, error)
        return True


def streamed_digest(git: Git, oid: Oid) -> tuple[str, bytes]:
    """Return the SHA-256 of a blob and its first bytes; git streams what is beyond a megabyte.

    StoreError where it is missing or no blob.
    """
    hashed, first = hashlib.sha256(), bytearray()

    def take(data: bytes) -> None:
        hashed.update(data)
        first.extend(data[: BEGINNING - len(first)])

    git.start("cat-file", "blob", oid, sink=take, config=("core.bigFileThreshold=1m",)).finish()
    return hashed.hexdigest(), bytes(first)


def _pack(items: Sequence[NewObject], oid_bytes: int) -> bytes:
    """Return a pack of whole objects (gitformat-pack), by which one process writes them all."""
    parts = [b"PACK" + struct.pack(">II", 2, len(items))]
    for item in items:
        size = len(item.data)
        byte = _PACK_TYPES[item.kind] << 4 | size & 15
        size >>= 4
        header = bytearray()
        while size:
            header.append(byte | 0x80)
            byte, size = size & 0x7F, size >> 7
        parts += [bytes([*header, byte]), zlib.compress(item.data, FASTEST)]
    body = b"".join(parts)
    return body + (hashlib.sha256 if oid_bytes == 32 else hashlib.sha1)(body).digest()


class _Process:
    """One `git cat-file` that answers questions, started when first needed."""

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

    def _asked(self, oid: Oid) -> tuple[IO[bytes], list[bytes]]:
        """Return the pipe to read on from, and the first line of the answer."""
        process = self._process or self._start()
        if process.stdin is None or process.stdout is None:
            raise StoreError("git cat-file has no pipes", where=oid)
        process.stdin.write(oid.encode("ascii") + b"\n")
        process.stdin.flush()
        return process.stdout, process.stdout.readline(200).split()

    @contextmanager
    def _watched(self, oid: Oid) -> Iterator[None]:
        process = self._process or self._start()
        watch = threading.Timer(NETWORK_SECONDS, process.kill)  # a lazy fetch may never answer
        watch.start()
        try:
            yield
        except OSError as error:
            self._stop()
            raise StoreError("git cat-file went away", where=oid, got=str(error)) from error
        finally:
            watch.cancel()


class _Reader(_Process):
    """Reads objects."""

    def read(self, oid: Oid, limit: int) -> tuple[str, bytes] | None:
        with self._watched(oid):
            return self._read(oid, limit)

    def _read(self, oid: Oid, limit: int) -> tuple[str, bytes] | None:
        pipe, header = self._asked(oid)
        if len(header) != 3:  # not `<oid> <kind> <size>` but `<oid> missing`, or git died asking
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


class ObjectSizes(_Process):
    """The sizes of objects and of what they are stored as differences to, none of them inflated."""

    verb = ("cat-file", "--batch-check=%(objectsize) %(deltabase)")

    def __init__(self, directory: Path) -> None:
        super().__init__(Git(directory, offline=True))

    def of(self, oid: Oid) -> int | None:
        """Return an object's size, None where it is not at hand."""
        found = self._header(oid)
        return None if found is None else found[0]

    def check_deltas(self, oid: Oid, limit: int) -> None:
        """Check what has to be inflated to read an object: no object beyond `limit`, MAX_CHAIN_BYTES in all.

        Raises LimitError.
        """
        total, step = 0, oid
        while (found := self._header(step)) is not None:
            size, base = found
            total += size
            if size > limit or total > MAX_CHAIN_BYTES:
                raise LimitError(
                    "object of the store takes too much to unpack",
                    where=oid,
                    expected=f"objects of ≤ {limit} bytes, {MAX_CHAIN_BYTES} in all",
                    got=f"{size} bytes, {total} in all",
                )
            if base is None:
                return
            step = base

    def _header(self, oid: Oid) -> tuple[int, Oid | None] | None:
        try:  # without a deadline: it reads headers at hand, and a thread for each would cost more than the answer
            _, words = self._asked(oid)
        except OSError as error:
            self._stop()
            raise StoreError("git cat-file went away", where=oid, got=str(error)) from error
        if words[1:] == [b"missing"]:
            return None
        if len(words) != 2:
            self._stop()
            return None
        base = words[1].decode("ascii")
        return int(words[0]), None if set(base) == {"0"} else Oid(base)


def _end(process: subprocess.Popen[bytes]) -> None:
    end_process(process)
    if process.stdout is not None:
        process.stdout.close()

"""Store backend with the git binary, for repositories that libgit2 cannot open.

Supports SHA-256 object ids, and reftable if git is new enough. Uses one process per flush and one `cat-file --batch`
for all reads: slower than pygit2, with equal results.
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

from gitchain.errors import LimitError, StoreError, reason
from gitchain.evidence.digest import sha256_hex
from gitchain.platform.git import NETWORK_SECONDS, Git
from gitchain.platform.processes import end_process
from gitchain.store.backend import locate, missing, settle
from gitchain.store.loose import FASTEST, Kind, NewObject
from gitchain.store.objects import Oid

if TYPE_CHECKING:
    import subprocess

BEGINNING = 64  # bytes of a blob that is only hashed
MAX_BASE_BYTES = 32 << 20  # bytes of a delta base
MAX_CHAIN_BYTES = 256 << 20  # git creates delta chains of up to 50 objects
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
        """Return True for a partial clone; see `Backend.partial`."""
        done = self._git.run(
            "config", "--get-regexp", r"^(remote\..*\.promisor|extensions\.partialclone)$", accept=(0, 1)
        )
        return done.code == 0

    def config(self, key: str) -> str | None:
        """Return a configuration value, or None."""
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

    def expect(self, oids: Sequence[Oid]) -> list[Oid]:
        """Prepare to read these objects; see `Backend.expect`."""
        pending = [oid for oid in oids if oid in self._pending]
        return [*pending, *self._sizes.expect([oid for oid in oids if oid not in self._pending])]

    def digest(self, oid: Oid) -> tuple[str, bytes]:
        """Return the SHA-256 of a blob (streamed) and its first bytes; see `Backend.digest`."""
        if oid in self._pending:
            return sha256_hex(self._pending[oid].data), self._pending[oid].data[:BEGINNING]
        self._sizes.check_deltas(oid, MAX_BASE_BYTES)
        return streamed_digest(self._git, oid)

    def write(self, kind: Kind, data: bytes) -> Oid:
        """Stage an object; see `Backend.write`."""
        item = NewObject.of(kind, data, self.oid_bytes)
        self._pending[item.oid] = item
        return item.oid

    def flush(self) -> None:
        """Write staged objects durably; see `Backend.flush`."""
        pending, self._pending = self._pending, {}
        if pending:
            self._git.run("unpack-objects", "-q", stdin=_pack(tuple(pending.values()), self.oid_bytes))

    def discard(self) -> None:
        """Drop staged objects."""
        self._pending = {}

    def read_ref(self, name: str) -> Oid | None:
        """Return the target of a ref; see `Backend.read_ref`."""
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
    """Return the SHA-256 of a blob and its first bytes. git streams blobs beyond a megabyte.

    Raises StoreError if it is missing or not a blob.
    """
    hashed, first = hashlib.sha256(), bytearray()

    def take(data: bytes) -> None:
        hashed.update(data)
        first.extend(data[: BEGINNING - len(first)])

    git.start("cat-file", "blob", oid, sink=take, config=("core.bigFileThreshold=1m",)).finish()
    return hashed.hexdigest(), bytes(first)


def _pack(items: Sequence[NewObject], oid_bytes: int) -> bytes:
    """Return a pack of undeltified objects (gitformat-pack), which a single process writes."""
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


TOGETHER = 256
"""Headers of one request: requests and responses fit into the pipes' buffers."""


MAX_EXPECTED = 200_000
"""Responses that are kept until they are needed, some 300 bytes each; without one, the request is repeated."""

_Place = tuple[bytes, int]
"""The first object in a chain of deltas, and the bytes from there on, to the object and with it."""


class _Process:
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


class _Reader(_Process):
    """Reads objects."""

    def read(self, oid: Oid, limit: int) -> tuple[str, bytes] | None:
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


class ObjectSizes(_Process):
    """Sizes of objects and of their delta bases, without decompression."""

    verb = ("cat-file", "--batch-check=%(objectsize) %(deltabase)")

    def __init__(self, directory: Path) -> None:
        super().__init__(Git(directory, offline=True))
        self._below: dict[bytes, _Place] = {}
        """By object: its place, if it was checked."""
        self._expected: dict[Oid, list[bytes]] = {}
        """The responses to `expect`, until they are needed."""

    def of(self, oid: Oid) -> int | None:
        """Return an object's size, or None if it is not available."""
        found = self._header(oid)
        return None if found is None else found[0]

    def expected(self, oid: Oid) -> int | None:
        """Return an object's size if `expect` requested it and it was not checked since."""
        words = self._expected.get(oid)
        return int(words[0]) if words is not None and len(words) == 2 else None

    def expect(self, oids: Sequence[Oid]) -> list[Oid]:
        """Request the headers of objects that are read next, many at once: a request for each costs more than the read.

        Returns the objects by chains of deltas, so that each base is unpacked about once.
        """
        if len(self._expected) > MAX_EXPECTED:
            self._expected.clear()
        self._request_chains(oids)
        return self._by_chains(oids)

    def _by_chains(self, oids: Sequence[Oid]) -> list[Oid]:
        """Return the objects, once each, sorted by the chain of deltas that each is in, as far as headers tell."""
        places: dict[Oid, _Place] = {}
        for oid in oids:
            step: Oid | None = oid
            above = list[tuple[Oid, int]]()
            root, total = b"", 0
            while step is not None:
                if (known := places.get(step) or self._below.get(bytes.fromhex(step))) is not None:
                    root, total = known
                    break
                places[step] = b"", 0  # ends the walk if headers form a circle
                words = self._expected.get(step, [])
                root = bytes.fromhex(step)
                above.append((step, int(words[0]) if len(words) == 2 else 0))
                step = _base(words)
            for one, size in reversed(above):
                total += size
                places[one] = root, total
            places.setdefault(oid, (root, total))
        return sorted(dict.fromkeys(oids), key=places.__getitem__)

    def _request_chains(self, oids: Sequence[Oid]) -> None:
        """Request the headers of objects and of their bases. Stops beyond MAX_EXPECTED."""
        wanted = dict.fromkeys(oids)
        while wanted and len(self._expected) < MAX_EXPECTED:
            try:
                self._request_all(list(wanted))
            except OSError:
                self._expected.clear()
                self._stop()
                return
            bases = {_base(self._expected.get(one, [])) for one in wanted}
            wanted = dict.fromkeys(
                one
                for one in bases
                if one is not None and one not in self._expected and bytes.fromhex(one) not in self._below
            )

    def _request_all(self, oids: Sequence[Oid]) -> None:
        for start in range(0, len(oids), TOGETHER):
            part = oids[start : start + TOGETHER]
            process = self._process or self._start()
            if process.stdin is None or process.stdout is None:
                raise StoreError("git cat-file has no pipes", where=part[0])
            process.stdin.write(b"".join(oid.encode("ascii") + b"\n" for oid in part))
            process.stdin.flush()
            for oid in part:
                words = process.stdout.readline(200).split()
                if words[1:] != [b"missing"]:  # it may be fetched until it is read, and is checked then
                    self._expected[oid] = words

    def check_deltas(self, oid: Oid, limit: int) -> None:
        """Check the sizes of everything to decompress for an object: `limit` each, MAX_CHAIN_BYTES in total.

        Raises LimitError. The bytes below each object are remembered as long as this reads: chains share their bases.
        """
        total, step, chain = 0, oid, list[tuple[Oid, int]]()
        while (found := self._header(step)) is not None:
            size, base = found
            total += size
            if size > limit or total > MAX_CHAIN_BYTES:
                raise _too_deep(oid, limit, size, total)
            chain.append((step, size))
            known = (bytes.fromhex(step), 0) if base is None else self._below.get(bytes.fromhex(base))
            if known is not None and total + known[1] <= min(limit, MAX_CHAIN_BYTES):
                root, below = known
                for one, taken in reversed(chain):
                    below += taken
                    self._below[bytes.fromhex(one)] = root, below
                return
            if base is None:
                return
            step = base

    def _header(self, oid: Oid) -> tuple[int, Oid | None] | None:
        try:  # without a deadline: headers are local, and a thread for each would cost more than the read
            words = self._expected.pop(oid, None) or self._request(oid)[1]
        except OSError as error:
            self._stop()
            raise StoreError("git cat-file went away", where=oid, got=reason(error)) from error
        if words[1:] == [b"missing"]:
            return None
        if len(words) != 2:
            self._stop()
            return None
        return int(words[0]), _base(words)


def _base(words: list[bytes]) -> Oid | None:
    """Return the object that an object is stored as a difference to, from git's answer; None without one."""
    if len(words) != 2 or words[1] == b"missing" or not words[1].strip(b"0"):
        return None
    return Oid(words[1].decode("ascii"))


def _too_deep(oid: Oid, limit: int, size: int, total: int) -> LimitError:
    return LimitError(
        "object of the store takes too much to unpack",
        where=oid,
        expected=f"objects of ≤ {limit} bytes, {MAX_CHAIN_BYTES} in all",
        got=f"{size} bytes, {total} in all",
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    end_process(process)
    if process.stdout is not None:
        process.stdout.close()

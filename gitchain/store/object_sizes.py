"""Check the sizes of objects before they are unpacked: a small pack can hold huge ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gitchain.errors import LimitError, StoreError, reason
from gitchain.platform.git import Git
from gitchain.store.cat_file import CatFile
from gitchain.store.tree_paths import Oid

MAX_BASE_BYTES = 32 << 20  # bytes of a delta base
MAX_CHAIN_BYTES = 256 << 20  # git creates delta chains of up to 50 objects

TOGETHER = 256
"""Headers of one request: requests and responses fit into the pipes' buffers."""

MAX_EXPECTED = 200_000
"""Responses that are kept until they are needed, some 300 bytes each; without one, the request is repeated."""

_Place = tuple[bytes, int]
"""The first object in a chain of deltas, and the bytes from there on, to the object and with it."""


class ObjectSizes(CatFile):
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

"""Read a file to inspect, and check block by block that its bytes are those that were hashed.

The whole file is read once: its SHA-256 must be the one that was verified, and the digest of each block is kept. Every
later read fetches whole blocks and compares them with those digests. So a file that is swapped or changed between the
look and the verdict is noticed, however often it is read and in whatever order.

Does NOT open files by name: the caller hands over a descriptor, and closes it.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat

from gitchain.collect.paths import special_file, unreadable
from gitchain.errors import GitchainError, VerificationError
from gitchain.evidence.digest import Sha256

BLOCK = 1 << 20
"""1 MiB: a file of 1 TiB needs 32 MiB of digests."""


class ModelFile:
    """The open file `name`; every byte that it returns was part of the digest.

    `broken` is the error of the first read that was not, for callers of libraries that hide errors.
    """

    def __init__(self, handle: int, name: str, sha256: Sha256) -> None:
        """Hash the file. Raises VerificationError if its SHA-256 is another, ProjectError if it cannot be read."""
        self.name = name
        self.broken: GitchainError | None = None
        self._handle = handle
        self._held = (-1, b"")
        self._digests, self.size = self._first_look(sha256)

    def _first_look(self, expected: str) -> tuple[list[bytes], int]:
        whole, digests, size = hashlib.sha256(), [], 0
        if not stat.S_ISREG(os.fstat(self._handle).st_mode):
            raise special_file(self.name)
        while block := self._fetch(size):
            whole.update(block)
            digests.append(hashlib.sha256(block).digest())
            size += len(block)
            if len(block) < BLOCK:
                break
        if whole.hexdigest() != expected:
            raise VerificationError(
                "file is no longer the one that was verified",
                where=ascii(self.name),
                expected=f"sha256:{expected}",
                got=f"sha256:{whole.hexdigest()}",
                help="stop the program that writes to it, and verify again",
            )
        return digests, size

    def _fetch(self, offset: int) -> bytes:
        """Read one block; a short one is the end of the file."""
        parts, left = [], BLOCK
        try:
            while left and (part := os.pread(self._handle, left, offset + BLOCK - left)):
                parts.append(part)
                left -= len(part)
        except OSError as error:
            raise unreadable(error, self.name) from error
        return b"".join(parts)

    def _block(self, number: int) -> bytes:
        if self._held[0] != number:
            block = self._fetch(number * BLOCK)
            if hashlib.sha256(block).digest() != self._digests[number]:
                self.broken = VerificationError(
                    "file changed while it was inspected",
                    where=ascii(self.name),
                    help="stop the program that writes to it, and verify again",
                )
                raise self.broken
            self._held = (number, block)
        return self._held[1]

    def read_at(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes from `offset` on; fewer where the file ends."""
        end = min(offset + max(count, 0), self.size)
        parts = []
        while offset < end:
            number, start = divmod(offset, BLOCK)
            part = self._block(number)[start : start + end - offset]
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def buffered(self) -> io.BufferedReader:
        """Return a reader from the start that asks for whole blocks."""
        return io.BufferedReader(_SourceFile(self), BLOCK)


class _SourceFile(io.RawIOBase):
    """A source as the libraries of archives want a file: with a position, and to be closed."""

    def __init__(self, source: ModelFile) -> None:
        super().__init__()
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset from the start, the position or the end."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._source.size}[whence]
        if start + offset < 0:
            raise OSError("seek before the start of the file")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer from the position on; 0 at the end."""
        data = self._source.read_at(self._position, len(buffer))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

"""Unpack the compressed formats that the standard library supports, and detect others by their first bytes.

joblib and pandas read pickles through gzip, zlib, bzip2 and xz by the file's first bytes, whatever its name.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterator
from typing import IO, Protocol

from gitchain.collect.inspect.problem import shown
from gitchain.errors import MalformedError, reason

SEALED = {
    b"\x28\xb5\x2f\xfd": "zstandard", b"\x04\x22\x4d\x18": "LZ4", b"7z\xbc\xaf\x27\x1c": "7z", b"Rar!": "RAR",
}  # fmt: skip
"""Beginnings of compressed files that are not unpacked."""

CHUNK = 1 << 16


class _Unpacker(Protocol):
    """Common interface of the decompressors of bz2 and lzma."""

    @property
    def eof(self) -> bool:
        """Return whether the end of the compressed stream was read."""

    @property
    def needs_input(self) -> bool:
        """Return whether more compressed bytes are needed."""

    @property
    def unused_data(self) -> bytes:
        """Return the bytes after the end of the compressed stream."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Return at most `max_length` bytes."""


class _Zlib:
    """zlib and gzip with the interface of the other decompressors."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def is_compressed(head: bytes) -> bool:
    """Return whether the file begins as a file of gzip, zlib, bzip2, xz or LZMA that this module unpacks."""
    return _unpacker(head) is not None


def _unpacker(head: bytes) -> _Unpacker | None:
    if head.startswith(b"\x1f\x8b"):
        return _Zlib()
    if head[:1] == b"\x78" and len(head) > 1 and int.from_bytes(head[:2]) % 31 == 0 and _inflates(head):
        return _Zlib()
    if head.startswith(b"BZh"):
        return bz2.BZ2Decompressor()
    if head.startswith((b"\xfd7zXZ\0", b"\x5d\0\0")):
        return lzma.LZMADecompressor(memlimit=256 << 20)
    return None


def _inflates(head: bytes) -> bool:
    """Return whether zlib takes the first bytes: two of them alone also begin texts."""
    try:
        zlib.decompressobj().decompress(head, CHUNK)
    except zlib.error:
        return False
    return True


def unpack(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the unpacked bytes of a file from its start, in pieces of at most 64 KiB.

    Raises MalformedError if it is damaged, ends too early, or holds anything behind the compressed stream.
    """
    file.seek(0)
    data = file.read(CHUNK)
    unpacker = _unpacker(data)
    if unpacker is None:
        raise MalformedError("file is not compressed")
    try:
        while True:
            piece = unpacker.decompress(data, CHUNK)
            if piece:
                yield piece
            if unpacker.eof:
                break
            data = file.read(CHUNK) if unpacker.needs_input else b""
            if not data and not piece and unpacker.needs_input:
                raise MalformedError("compressed file ends too early")
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, MemoryError) as error:
        raise MalformedError("compressed file cannot be unpacked", got=shown(reason(error))) from error
    if unpacker.unused_data or file.read(1):
        raise MalformedError("compressed file has bytes after its end")

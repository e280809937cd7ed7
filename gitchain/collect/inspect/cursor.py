"""A cursor over a source: little-endian numbers and bounded pieces, one after the other, never past the end."""

from __future__ import annotations

from gitchain.collect.inspect.source import ModelFile
from gitchain.errors import LimitError, MalformedError

WINDOW = 1 << 16
"""Bytes that are fetched at once: headers are read in small pieces."""


class Cursor:
    """Reads forwards through a source."""

    def __init__(self, source: ModelFile) -> None:
        self._source = source
        self.at = self._from = 0
        self.end = source.size
        self._window = b""

    def take(self, count: int, what: str, limit: int = WINDOW) -> bytes:
        """Return the next `count` bytes. Raises MalformedError past the end, LimitError beyond `limit`."""
        if count > self.end - self.at:
            raise MalformedError(
                "file ends too early", where=what, expected=f"{count} bytes", got=f"{self.end - self.at}"
            )
        if count > limit:
            raise LimitError(f"{what} is too large", expected=f"at most {limit} bytes", got=str(count))
        start = self.at - self._from
        if not 0 <= start <= len(self._window) - count:
            self._from, start = self.at, 0
            self._window = self._source.read_at(self.at, min(max(count, WINDOW), self.end - self.at))
        self.at += count
        return self._window[start : start + count]

    def skip(self, count: int, what: str) -> None:
        """Pass over `count` bytes without reading them."""
        if count > self.end - self.at:
            raise MalformedError(
                "file ends too early", where=what, expected=f"{count} bytes", got=f"{self.end - self.at}"
            )
        self.at += count

    def varint(self, what: str) -> int:
        """Return the next number in protobuf's variable length. Raises MalformedError beyond ten bytes."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1, what)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise MalformedError("number is too long", where=what, expected="at most 10 bytes")

    def number(self, width: int, what: str) -> int:
        """Return the next unsigned little-endian number of `width` bytes."""
        return int.from_bytes(self.take(width, what), "little")

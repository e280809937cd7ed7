"""The bytes of a pickle as opcodes and their arguments. Long arguments are passed over, not kept."""

from __future__ import annotations

import pickletools
from typing import IO

from gitchain.collect.inspect.pickle_values import MAX_LINE, TEXTS
from gitchain.errors import MalformedError

CHUNK = 1 << 16
_TOO_LONG = b"\n"  # in place of an argument that is passed over: no name
_LENGTHS = {
    -2: 1,
    -3: 4,
    -4: 4,
    -5: 8,
}  # pickletools: an argument with its own length in front, in so many bytes
_LINE = -1  # pickletools: an argument up to the next newline
_OPCODES = {ord(one.code): one for one in pickletools.opcodes}


class OpcodeStream:
    """Reads opcodes and arguments from a stream of pickles."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.source = stream

    def first_byte(self) -> bytes:
        """Return the next byte, or nothing at the end of the stream."""
        return self.source.read(1)

    def opcode(self, code: bytes) -> pickletools.OpcodeInfo:
        """Return the opcode of this byte. Raises MalformedError for another byte."""
        known = _OPCODES.get(code[0])
        if known is None:
            raise MalformedError("not a pickle", expected="an opcode", got=f"byte 0x{code[0]:02x}")
        return known

    def argument(self, known: pickletools.OpcodeInfo) -> bytes:
        """Return the argument, or as much of its start as could matter."""
        if known.arg is None:
            return b""
        width = known.arg.n
        if known.name in {"GLOBAL", "INST"}:
            return self._line() + b"\n" + self._line()
        if width == _LINE:
            return self._line()
        if width >= 0:
            return self.take(width)
        length = int.from_bytes(self.take(_LENGTHS[width]), "little")
        if known.name == "LONG1" or (known.name in TEXTS and length <= MAX_LINE):
            return self.take(length)
        self.skip(length)
        return _TOO_LONG

    def _line(self) -> bytes:
        line = self.source.readline(MAX_LINE)
        start = line
        while line and not line.endswith(b"\n"):
            line = self.source.readline(CHUNK)
        if not line:
            raise MalformedError("pickle ends too early")
        return start.removesuffix(b"\n")

    def take(self, count: int) -> bytes:
        """Return exactly `count` bytes. Raises MalformedError at the end of the stream."""
        data = self.source.read(count) if count else b""
        if len(data) != count:
            raise MalformedError("pickle ends too early")
        return data

    def skip(self, count: int) -> None:
        """Pass over `count` bytes without keeping them. Raises MalformedError at the end of the stream."""
        while count > 0:
            data = self.source.read(min(count, CHUNK))
            if not data:
                raise MalformedError("pickle ends too early")
            count -= len(data)

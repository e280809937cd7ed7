r"""Check that a GGUF file's metadata and tensor table are whole and describe exactly the bytes that follow.

    "GGUF" | version u32 | tensors u64 | pairs u64
    for each pair: key string | type u32 | value
    for each tensor: name string | n u32 | n sizes u64 | type u32 | offset u64
    padding to the alignment | data

A string is its length (u64) and its bytes; an array is its type (u32), its count (u64) and its values. Little-endian,
versions 2 and 3. The alignment is `general.alignment`, else 32. Tensors follow one another, each padded to it.

Format: https://github.com/ggml-org/ggml (its page gguf.md). Does NOT look at values, and knows no big-endian files.
"""

from __future__ import annotations

import math

from gitchain.collect.inspect.cursor import Cursor
from gitchain.collect.inspect.problem import shown
from gitchain.collect.inspect.source import ModelFile
from gitchain.errors import LimitError, MalformedError

VERSIONS = (2, 3)

MAX_TENSORS = 1_000_000
MAX_PAIRS = 100_000
MAX_KEY_BYTES = 65_535
"""The format's own limit for keys."""
MAX_NAME_BYTES = 1024
MAX_STRINGS = 4_000_000
"""Most strings in arrays: a vocabulary has some 300,000 tokens and as many merges."""
MAX_DIMENSIONS = 4
"""The format's own limit."""
MAX_ALIGNMENT = 1 << 20
MAX_ARRAY_DEPTH = 4

STRING, ARRAY = 8, 9
WIDTHS = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of each metadata type that has a fixed width."""

BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 10: (256, 84), 11: (256, 110),
    12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66), 17: (256, 74), 18: (256, 98),
    19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4),
    27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17), 40: (64, 36),
}  # fmt: skip
"""Elements and bytes of one block of each tensor type that is stored in files."""


TEMPLATE = b"tokenizer.chat_template"
"""Beginning of the keys of chat templates: one is the default, others have names."""


def check_gguf(source: ModelFile) -> None:
    """Raise MalformedError or LimitError for the first thing that is wrong with the file."""
    cursor = Cursor(source)
    tensors, pairs = _start(cursor, source)
    alignment = _Metadata(cursor).read(pairs)
    table = _tensors(cursor, tensors)
    _check_data(table, alignment, source.size - _padded(cursor.at, alignment))


def chat_templates(source: ModelFile, limit: int) -> list[str]:
    """Return the chat templates in the metadata, each of at most `limit` bytes. Raises the errors of `check_gguf`."""
    cursor = Cursor(source)
    _, pairs = _start(cursor, source)
    metadata = _Metadata(cursor, limit)
    metadata.read(pairs)
    return metadata.templates


def _start(cursor: Cursor, source: ModelFile) -> tuple[int, int]:
    """Read the file's start; return the numbers of tensors and of metadata pairs."""
    if cursor.take(4, "magic") != b"GGUF":
        raise MalformedError("not a GGUF file", got=shown(source.read_at(0, 4)))
    version = cursor.number(4, "version")
    if version not in VERSIONS:
        raise MalformedError("GGUF version is unknown", expected="2 or 3", got=str(version))
    tensors = _count(cursor, "number of tensors", MAX_TENSORS)
    return tensors, _count(cursor, "number of metadata pairs", MAX_PAIRS)


def _count(cursor: Cursor, what: str, limit: int) -> int:
    found = cursor.number(8, what)
    if found > limit:
        raise LimitError(f"GGUF {what} is too large", expected=f"at most {limit}", got=str(found))
    return found


class _Metadata:
    """Reads the key-value pairs; keeps the alignment, and chat templates up to a limit in bytes if there is one."""

    def __init__(self, cursor: Cursor, limit: int | None = None) -> None:
        self.templates: list[str] = []
        self._limit = limit
        self._cursor = cursor
        self._strings = 0

    def read(self, pairs: int) -> int:
        """Pass over all pairs; return the alignment that they set."""
        seen: set[bytes] = set()
        alignment = 32
        for _ in range(pairs):
            key = _string(self._cursor, "metadata key", MAX_KEY_BYTES)
            if key in seen:
                raise MalformedError("GGUF metadata key appears twice", got=shown(key))
            seen.add(key)
            kind = self._cursor.number(4, shown(key))
            if key == b"general.alignment":
                alignment = self._alignment(kind)
            elif self._limit is not None and kind == STRING and key.startswith(TEMPLATE):
                self.templates.append(_string(self._cursor, shown(key), self._limit).decode())
            else:
                self._pass_value(kind, shown(key), 0)
        return alignment

    def _alignment(self, kind: int) -> int:
        found = self._cursor.number(4, "general.alignment") if kind == 4 else 0
        if found == 0 or found % 8 or found > MAX_ALIGNMENT:
            raise MalformedError(
                "GGUF alignment is malformed",
                expected=f"a u32, multiple of 8, at most {MAX_ALIGNMENT}",
                got=str(found),
            )
        return found

    def _pass_value(self, kind: int, where: str, depth: int) -> None:
        if kind == STRING:
            self._cursor.skip(self._cursor.number(8, where), where)
        elif kind == ARRAY:
            self._pass_array(where, depth + 1)
        else:
            self._cursor.skip(_width(kind, where), where)

    def _pass_array(self, where: str, depth: int) -> None:
        if depth > MAX_ARRAY_DEPTH:
            raise LimitError("GGUF array is nested too deeply", where=where)
        kind, count = self._cursor.number(4, where), self._cursor.number(8, where)
        if kind not in {STRING, ARRAY}:
            self._cursor.skip(_width(kind, where) * count, where)
            return
        self._strings += count
        if self._strings > MAX_STRINGS:
            raise LimitError(
                "GGUF metadata holds too many strings", where=where, expected=f"at most {MAX_STRINGS}"
            )
        for _ in range(count):
            self._pass_value(kind, where, depth)


def _width(kind: int, where: str) -> int:
    if kind not in WIDTHS:
        raise MalformedError("GGUF metadata type is unknown", where=where, got=str(kind))
    return WIDTHS[kind]


def _string(cursor: Cursor, what: str, limit: int) -> bytes:
    data = cursor.take(cursor.number(8, what), what, limit)
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError(f"GGUF {what} is not UTF-8", got=shown(data)) from error
    return data


def _tensors(cursor: Cursor, count: int) -> list[tuple[int, int, bytes]]:
    """Return offset, bytes and name of each tensor."""
    seen: set[bytes] = set()
    table = []
    for _ in range(count):
        name = _string(cursor, "tensor name", MAX_NAME_BYTES)
        where = shown(name)
        if name in seen:
            raise MalformedError("GGUF tensor appears twice", got=where)
        seen.add(name)
        dimensions = cursor.number(4, where)
        if dimensions > MAX_DIMENSIONS:
            raise MalformedError("GGUF tensor has too many dimensions", where=where, got=str(dimensions))
        shape = [cursor.number(8, where) for _ in range(dimensions)]
        size = _tensor_bytes(cursor.number(4, where), shape, where)
        table.append((cursor.number(8, where), size, name))
    return table


def _tensor_bytes(kind: int, shape: list[int], where: str) -> int:
    if kind not in BLOCKS:
        raise MalformedError("GGUF tensor type is unknown", where=where, got=str(kind))
    elements, width = BLOCKS[kind]
    row = shape[0] if shape else 1
    if row % elements:
        raise MalformedError(
            "GGUF tensor's rows do not fill whole blocks",
            where=where,
            expected=f"a multiple of {elements}",
            got=str(row),
        )
    return math.prod(shape) // elements * width


def _check_data(table: list[tuple[int, int, bytes]], alignment: int, size: int) -> None:
    """Check that the tensors are consecutive, each padded, and end where the file does."""
    free = end = 0
    for offset, length, name in table:
        if offset != free:
            raise MalformedError(
                "GGUF tensor is not where the one before it ends",
                where=shown(name),
                expected=str(free),
                got=str(offset),
            )
        end = offset + length
        free = _padded(end, alignment)
    if table and not end <= size <= free:
        raise MalformedError(
            "GGUF tensors do not end where the file does", expected=f"{end} bytes", got=str(size)
        )
    if not table and size > 0:
        raise MalformedError("GGUF file has data after its last tensor", got=f"{size} bytes")


def _padded(size: int, alignment: int) -> int:
    return -(-size // alignment) * alignment

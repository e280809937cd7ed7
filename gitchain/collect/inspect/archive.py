"""Archives: the members of a zip or tar file, one after the other, within bounds and without writing any of them.

Strict, because two readers that disagree about an archive are a way around an inspection. A zip file must start with its
first member, hold nothing between its members, end with its directory (no comment), name each member once, and hold members
that are stored or deflated, not encrypted, and whose own header agrees with the directory. A tar file may hold files and
directories, with long names; no links, no sparse files, nothing but zeros behind its end.

Does NOT inspect members, and knows no other archives.
"""

from __future__ import annotations

import io
import re
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, NamedTuple, Protocol

from gitchain.collect.inspect.problem import shown
from gitchain.errors import GitchainError, LimitError, MalformedError

MAX_MEMBERS = 100_000
"""Most members of one archive: the largest models have some ten thousand tensors."""

CHUNK = 1 << 16
MAX_DIRECTORY_BYTES = 64 << 20
MAX_HEADER_BYTES = 64 << 10
"""Largest extended header of a tar member."""

_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCAL = struct.Struct("<4s5H3L2H")
_DESCRIPTORS = {12, 16, 20, 24}  # CRC and sizes behind a member that was written without knowing them
_ENCRYPTED = 0x1


class ByteStream(Protocol):
    """A source of consecutive bytes."""

    def read(self, count: int, /) -> bytes:
        """Return up to `count` bytes; none at the end."""


class ArchiveMember(NamedTuple):
    """A file in an archive: its name, its bytes from the start, and how many there are."""

    name: str
    stream: ByteStream
    size: int
    packed: bool


def is_zip(head: bytes, tail: bytes) -> bool:
    """Return whether some reader would take a file with this beginning and end for a zip file."""
    return head.startswith((b"PK\x03\x04", b"PK\x05\x06")) or b"PK\x05\x06" in tail


def is_tar(head: bytes) -> bool:
    """Return True if some reader would take the first 512 bytes for the header of a tar member.

    Python's takes a checksum of signed bytes, in base 256, or as int() reads it: `tar_members` refuses these.
    """
    header = head[:512]
    if len(header) < 512 or not any(header):
        return False
    if _is_exact(header):
        return True
    try:
        tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        return False
    return True


@contextmanager
def foreign(what: str) -> Iterator[None]:
    """Turn every exception of an archive library into MalformedError: these readers raise many types."""
    try:
        yield
    except GitchainError:
        raise
    except Exception as error:  # what cannot be read is refused, whatever the reason
        raise MalformedError(
            f"{what} cannot be read", got=f"{type(error).__name__}: {shown(str(error))}"
        ) from error


def zip_members(file: IO[bytes], size: int) -> Iterator[ArchiveMember]:
    """Yield the members of a zip file. Raises MalformedError or LimitError if it violates the rules above."""
    _check_end(file, size)
    with foreign("zip file"), zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        _check_gaps(file, members, archive.start_dir)
        names: set[str] = set()
        for one in members:
            where = shown(one.filename)
            if one.filename in names:
                raise MalformedError("zip member appears twice", where=where)
            names.add(one.filename)
            if one.flag_bits & _ENCRYPTED:
                raise MalformedError("zip member is encrypted", where=where)
            if one.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
                raise MalformedError(
                    "zip member is packed in another way", where=where, expected="stored or deflated"
                )
            if not one.is_dir():
                with archive.open(one) as stream:
                    yield ArchiveMember(
                        one.filename, stream, one.file_size, one.compress_type != zipfile.ZIP_STORED
                    )


def _check_gaps(file: IO[bytes], members: list[zipfile.ZipInfo], directory: int) -> None:
    """Check that members follow each other from the first byte to the directory, with data descriptors at most between."""
    end = 0
    for one in sorted(members, key=lambda member: member.header_offset):
        if one.header_offset != end and one.header_offset - end not in _DESCRIPTORS:
            raise MalformedError("zip file holds something between its members", where=f"byte {end}")
        header = _read(file, one.header_offset, _LOCAL.size)
        if len(header) != _LOCAL.size:
            raise MalformedError("zip member has no header", where=shown(one.filename))
        name, extra = _LOCAL.unpack(header)[-2:]
        end = one.header_offset + _LOCAL.size + name + extra + one.compress_size
    if directory - end not in {0, *_DESCRIPTORS}:
        raise MalformedError("zip file holds something between its members", where=f"byte {end}")


def _check_end(file: IO[bytes], size: int) -> None:
    """Check that the directory is bounded and at the end of the file, before any library reads it."""
    at = size - _END.size
    end = _END.unpack(_read(file, at, _END.size)) if at >= 0 else (b"",)
    if end[0] != b"PK\x05\x06" or end[-1] != 0:
        raise MalformedError(
            "zip file does not end with its directory", expected="no comment, nothing behind it"
        )
    count, directory = end[4], end[5]
    record = _read(file, at - 76, _END_64.size) if at >= 76 else b""
    if record.startswith(b"PK\x06\x06") and _read(file, at - 20, 4) == b"PK\x06\x07":
        count, directory = _END_64.unpack(record)[7:9]
    if count > MAX_MEMBERS:
        raise LimitError("zip file has too many members", expected=f"at most {MAX_MEMBERS}", got=str(count))
    if directory > MAX_DIRECTORY_BYTES:
        raise LimitError(
            "zip directory is too large", expected=f"at most {MAX_DIRECTORY_BYTES} bytes", got=str(directory)
        )


def _read(file: IO[bytes], at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)


def tar_members(file: IO[bytes], size: int) -> Iterator[ArchiveMember]:
    """Yield the members of a tar file. Raises MalformedError or LimitError if it violates the rules above."""
    at, name = 0, ""
    for _ in range(MAX_MEMBERS):
        header = _read(file, at, 512)
        if not any(header):
            _check_zeros(file, at)
            return
        if not _is_exact(header):
            raise MalformedError("tar member has a broken header", where=f"byte {at}")
        length, kind = _octal(header[124:136]), header[156:157]
        at += 512
        if not 0 <= length <= size - at:
            raise MalformedError("tar member is longer than the file", where=f"byte {at}", got=str(length))
        if kind == b"5" and length:  # some readers skip these bytes, others read members there
            raise MalformedError("tar directory has a size", where=f"byte {at}", got=str(length))
        if kind in b"xgLK" and kind:
            name = _extended(_bounded(file, at, length), kind) or name
        elif kind in {b"0", b"\0", b"5"}:
            own = header[:100].rstrip(b"\0").decode("utf-8", errors="replace")
            file.seek(at)
            if kind != b"5":
                yield ArchiveMember(
                    name or own, io.BufferedReader(ArchiveSlice(file, at, length)), length, packed=False
                )
            name = ""
        else:
            raise MalformedError("tar member is no file or directory", where=f"byte {at}", got=shown(kind))
        at += -(-length // 512) * 512
    raise LimitError("tar file has too many members", expected=f"at most {MAX_MEMBERS}")


def _check_zeros(file: IO[bytes], at: int) -> None:
    file.seek(at)
    while data := file.read(CHUNK):
        if any(data):
            raise MalformedError("tar file has bytes after its end", where=f"byte {at}")


def _bounded(file: IO[bytes], at: int, length: int) -> bytes:
    if length > MAX_HEADER_BYTES:
        raise LimitError(
            "tar header is too large", expected=f"at most {MAX_HEADER_BYTES} bytes", got=str(length)
        )
    return _read(file, at, length)


def _extended(data: bytes, kind: bytes) -> str:
    """Return the name that an extended header gives to the next member; refuse one that changes its size."""
    if b"GNU.sparse" in data or (kind in b"xg" and b" size=" in data) or kind == b"K":
        raise MalformedError("tar member is sparse, a link, or of two sizes")
    if kind == b"L":
        return data.rstrip(b"\0").decode("utf-8", errors="replace")
    path = re.search(rb"\d+ path=([^\n]*)\n", data)
    return path[1].decode("utf-8", errors="replace") if path else ""


def _octal(text: bytes) -> int:
    """Return the number in a field that every reader reads alike, else -1."""
    digits = re.fullmatch(rb" *([0-7]{1,12})[ \0]*", text)
    return int(digits[1], 8) if digits else -1


def _is_exact(header: bytes) -> bool:
    return _octal(header[148:156]) == _checksum(header)


def _checksum(header: bytes) -> int:
    return sum(header[:148]) + 8 * 32 + sum(header[156:512])


class ArchiveSlice(io.RawIOBase):
    """A part of a file as a stream of its own."""

    def __init__(self, file: IO[bytes], start: int, length: int) -> None:
        super().__init__()
        self._file, self._at, self._end = file, start, start + length

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer; 0 at the end of the part."""
        data = _read(self._file, self._at, min(len(buffer), self._end - self._at))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

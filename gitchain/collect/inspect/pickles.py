"""Pickles: whether a file, or anything in the archive that it is, runs code when it is loaded.

What a file is, its content says and not its name alone:

1. A zip file (as `torch.save` and `numpy.savez` write), a tar file: every member is looked at, archives in archives too.
2. A NumPy array: the pickle behind the header if it holds objects.
3. A pickle, one or several; behind the five of PyTorch's old format lie raw tensors.
4. Something else. That is a problem only if its name is one that is loaded as a pickle, or if it begins like one and
   imports something dangerous before it breaks off: an unpickler has run that by then.

Compressed files cannot be looked into: a problem. Bounds hold for the whole file: opcodes, members, bytes unpacked, depth.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import IO

from gitchain.collect.inspect.archive import SEALED, Member, foreign, is_tar, is_zip, tar_members, zip_members
from gitchain.collect.inspect.pickle_machine import UNKNOWN, Imports, Machine, Name
from gitchain.collect.inspect.pickle_names import dangerous, scanner_is_here
from gitchain.collect.inspect.problem import Problem, shown
from gitchain.collect.inspect.source import Source
from gitchain.errors import GitchainError, LimitError, MalformedError

SUFFIXES = (
    ".pkl", ".pickle", ".p", ".joblib", ".sav", ".dill", ".cloudpickle", ".pt", ".pth", ".ckpt", ".bin", ".npy", ".npz",
)  # fmt: skip
"""Names of files that are loaded as pickles."""

MAX_DEPTH = 3
"""Deepest archive in archive."""

MAX_UNPACKED = 1 << 30
"""Most bytes that are unpacked from one file, a few seconds: stored members do not count."""

MAX_SHOWN = 20
"""Most problems of one file."""

TAR_NAMES = ("pickle", "storages", "sys_info", "tensors")
"""Members of the tar files that PyTorch wrote before 0.1.10."""

MAX_NUMPY_HEADER = 64 << 10
NUMPY = b"\x93NUMPY"
CHUNK = 1 << 16
HEAD = 512
TAIL = 22 + 65_535
LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The first of the five pickles that PyTorch wrote before 1.6: a magic number."""


def check_pickles(source: Source, allowed: Sequence[str] = ()) -> tuple[Problem, ...]:
    """Return what is wrong with the file; `allowed` are patterns that every imported name must match."""
    if not scanner_is_here():
        return (
            Problem(
                "pickle inspection cannot be made: its scanner is not installed",
                source.name,
                expected="picklescan",
                help="pip install 'gitchain[inspect]'",
            ),
        )
    scan = _Scan(allowed)
    scan.look(source.buffered(), source.size, source.name, source.name, 0)
    return tuple(scan.problems[:MAX_SHOWN])


@dataclass(slots=True)
class _Scan:
    allowed: Sequence[str]
    problems: list[Problem] = field(default_factory=list)
    opcodes: int = 0
    unpacked: int = 0

    def look(self, file: IO[bytes], size: int, name: str, where: str, depth: int) -> None:
        """Look at one file, and at what is in it."""
        head, tail = _at(file, 0, HEAD), _at(file, max(size - TAIL, 0), TAIL)
        try:
            if is_zip(head, tail):
                self._members(zip_members(file, size), where, depth)
            elif is_tar(head):
                self._members(tar_members(file, size), where, depth)
            if head.startswith(b"PK") or is_tar(head):
                return
            file.seek(0)
            self._single(file, head, where, loaded=_is_loaded(name))
        except GitchainError as error:
            self.problems.append(Problem.of(error, where))

    def _members(self, members: Iterable[Member], where: str, depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise LimitError("archives are nested too deeply", expected=f"at most {MAX_DEPTH}")
        for member in members:
            with io.BufferedReader(_Unpacked(member, self), CHUNK) as stream:
                self._member(stream, member, f"{where}: {shown(member.name)}", depth + 1)

    def _member(self, stream: io.BufferedReader[_Unpacked], member: Member, where: str, depth: int) -> None:
        head = stream.peek(HEAD)[:HEAD]
        loaded = _is_loaded(member.name)
        if head.startswith(b"PK\x03\x04") or is_tar(head):
            with tempfile.TemporaryFile() as copy:
                while data := stream.read(CHUNK):
                    copy.write(data)
                    self.count(0 if member.packed else len(data))
                self.look(copy, copy.tell(), member.name, where, depth)
        elif loaded or _begins_like_a_pickle(head):
            try:
                self._single(stream, head, where, loaded=loaded)
            except GitchainError as error:
                self.problems.append(Problem.of(error, where))

    def _single(self, stream: IO[bytes], head: bytes, where: str, *, loaded: bool) -> None:
        """Look at a file that is no archive, from its start."""
        for start, kind in SEALED.items():
            if head.startswith(start):
                raise MalformedError(f"{kind} file cannot be looked into", help="unpack it")
        if head.startswith(NUMPY):
            if not _holds_objects(stream):
                return
            loaded, head = True, b""
        imports = Imports(opcodes=self.opcodes)
        broken: MalformedError | None = None
        try:
            Machine(stream, imports).run(5 if head.startswith(LEGACY_TORCH) else None)
        except MalformedError as error:
            broken = error
        self.opcodes = imports.opcodes
        self._judge(imports.names, where, whole=loaded or broken is None)
        if broken is not None and (loaded or (imports.pickles and _begins_like_a_pickle(head))):
            raise broken

    def _judge(self, names: set[Name], where: str, *, whole: bool) -> None:
        """Report dangerous names; what broke off and has no pickle's name may import what cannot be told."""
        bad = dangerous(names, self.allowed) if whole else dangerous(names - {UNKNOWN})
        self.problems.extend(
            Problem("pickle imports what is dangerous to load", where, got=shown(".".join(name)))
            for name in bad[:MAX_SHOWN]
        )

    def count(self, more: int) -> None:
        """Count bytes that were unpacked; raises LimitError beyond MAX_UNPACKED."""
        self.unpacked += more
        if self.unpacked > MAX_UNPACKED:
            raise LimitError("archive unpacks to too much", expected=f"at most {MAX_UNPACKED} bytes")


class _Unpacked(io.RawIOBase):
    """A member's bytes, counted if they had to be unpacked."""

    def __init__(self, member: Member, scan: _Scan) -> None:
        super().__init__()
        self._member, self._scan = member, scan

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the buffer; 0 at the end."""
        with foreign("archive member"):
            data = self._member.stream.read(len(buffer))
        self._scan.count(len(data) if self._member.packed else 0)
        buffer[: len(data)] = data
        return len(data)


def _at(file: IO[bytes], offset: int, count: int) -> bytes:
    file.seek(offset)
    return file.read(count)


def _is_loaded(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) or name in TAR_NAMES


def _begins_like_a_pickle(head: bytes) -> bool:
    return len(head) > 1 and head[0] == 0x80 and head[1] <= 5


def _holds_objects(stream: IO[bytes]) -> bool:
    """Pass over a NumPy array's header; tell whether a pickle follows it."""
    start = stream.read(8)
    width = 2 if start[6:7] == b"\x01" else 4
    length = int.from_bytes(stream.read(width), "little")
    if len(start) < 8 or length > MAX_NUMPY_HEADER:
        raise MalformedError(
            "NumPy header is malformed", expected=f"at most {MAX_NUMPY_HEADER} bytes", got=str(length)
        )
    header = stream.read(length)
    return b"O" in header.partition(b"descr")[2]

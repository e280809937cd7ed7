"""Find the names that a file imports when it is loaded, in the file and in every archive that it is.

A file's content, not its name, decides its type:

1. A zip file (as `torch.save` and `numpy.savez` write), a tar file: every member is inspected, archives in archives too.
   A zip file starts with its first member and holds nothing between members; nothing follows the end of a tar file.
2. A compressed file that the standard library can unpack: what it holds is inspected.
3. A NumPy array: exactly the bytes that its header describes, or a pickle if it holds objects.
4. Anything is inspected as a pickle too, tar files included, because an unpickler runs whatever a file starts with
   until something stops it. In PyTorch's old format, raw tensors follow the five pickles.

Each imported name must be allowed. A file whose name is one of a pickle must also be readable to its end.
Bounds hold for the whole file: opcodes, members, bytes unpacked, depth.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import IO

from gitchain.collect.inspect.archive import ArchiveMember, foreign, is_tar, is_zip, tar_members, zip_members
from gitchain.collect.inspect.compressed import SEALED, is_compressed, unpack
from gitchain.collect.inspect.numpy_array import MAGIC as NUMPY
from gitchain.collect.inspect.numpy_array import data_size
from gitchain.collect.inspect.pickle_imports import Imports
from gitchain.collect.inspect.pickle_machine import PickleMachine
from gitchain.collect.inspect.pickle_names import AllowedImports, refused
from gitchain.collect.inspect.pickle_values import UNKNOWN, NotFollowedError
from gitchain.collect.inspect.problem import ModelProblem, shown
from gitchain.collect.inspect.source import ModelFile
from gitchain.errors import GitchainError, LimitError, MalformedError

SUFFIXES = (
    ".pkl", ".pickle", ".p", ".joblib", ".sav", ".dill", ".cloudpickle", ".pt", ".pth", ".ckpt", ".bin", ".npy", ".npz",
)  # fmt: skip
"""Names of files that are loaded as pickles: they must be one, or an archive, to their end."""

MAX_DEPTH = 3
"""Deepest archive in archive."""

MAX_UNPACKED = 1 << 30
"""Most bytes that are unpacked from one file, a few seconds: stored members do not count."""

MAX_SHOWN = 20
"""Most problems of one file."""

TAR_NAMES = ("pickle", "storages", "sys_info", "tensors")
"""Members of the tar files that PyTorch wrote before 0.1.10."""

CHUNK = 1 << 16
HEAD = 512
TAIL = 22 + 65_535
LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The first of the five pickles that PyTorch wrote before 1.6: a magic number."""


def check_pickles(source: ModelFile, allowed: AllowedImports) -> tuple[ModelProblem, ...]:
    """Return the problems of the file: imported names that are not allowed, and parts that cannot be read."""
    scan = _PickleScan(allowed)
    scan.look(source.buffered(), source.size, source.name, source.name, 0)
    return tuple(scan.problems[:MAX_SHOWN])


@dataclass(slots=True)
class _PickleScan:
    allowed: AllowedImports
    problems: list[ModelProblem] = field(default_factory=list)
    opcodes: int = 0
    unpacked: int = 0

    def look(self, file: IO[bytes], size: int, name: str, where: str, depth: int) -> None:
        """Inspect one file, and the files in it."""
        head, tail = _at(file, 0, HEAD), _at(file, max(size - TAIL, 0), TAIL)
        try:
            if is_zip(head, tail):
                self._members(zip_members(file, size), where, depth)
                if head.startswith(b"PK"):  # no unpickler gets past it: it asks for a persistent object
                    return
            elif is_tar(head):
                self._members(tar_members(file, size), where, depth)
            elif is_compressed(head):
                self._compressed(file, name, where, depth)
            file.seek(0)
            loaded = _is_loaded(name) and not is_tar(head) and not is_compressed(head)
            self._single(file, size, head, where, loaded=loaded)
        except GitchainError as error:
            self.problems.append(ModelProblem.of(error, where))

    def _members(self, members: Iterable[ArchiveMember], where: str, depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise LimitError("archives are nested too deeply", expected=f"at most {MAX_DEPTH}")
        for member in members:
            with io.BufferedReader(_UnpackedMember(member, self), CHUNK) as stream:
                self._member(stream, member, f"{where}: {shown(member.name)}", depth + 1)

    def _member(
        self, stream: io.BufferedReader[_UnpackedMember], member: ArchiveMember, where: str, depth: int
    ) -> None:
        head = stream.peek(HEAD)[:HEAD]
        if head.startswith(b"PK\x03\x04") or is_tar(head) or is_compressed(head):
            with tempfile.TemporaryFile() as copy:
                while data := stream.read(CHUNK):
                    copy.write(data)
                    self.count(0 if member.packed else len(data))
                self.look(copy, copy.tell(), member.name, where, depth)
            return
        try:
            self._single(stream, member.size, head, where, loaded=_is_loaded(member.name))
        except GitchainError as error:
            self.problems.append(ModelProblem.of(error, where))

    def _compressed(self, file: IO[bytes], name: str, where: str, depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise LimitError("archives are nested too deeply", expected=f"at most {MAX_DEPTH}")
        with tempfile.TemporaryFile() as copy:
            for data in unpack(file):
                self.count(len(data))
                copy.write(data)
            self.look(copy, copy.tell(), name, f"{where}: unpacked", depth + 1)

    def _single(self, stream: IO[bytes], size: int, head: bytes, where: str, *, loaded: bool) -> None:
        """Inspect a file from its start, as an array or as a pickle."""
        for start, kind in SEALED.items():
            if head.startswith(start):
                raise MalformedError(f"{kind} file cannot be inspected", help="unpack it")
        if head.startswith(NUMPY):
            if not _holds_objects(stream, size):
                return
            loaded, head = True, b""
        imports = Imports(opcodes=self.opcodes)
        broken: MalformedError | None = None
        try:
            PickleMachine(stream, imports).run(5 if head.startswith(LEGACY_TORCH) else None)
        except MalformedError as error:
            broken = error
        self.opcodes = imports.opcodes
        self._judge(imports, where, whole=loaded or broken is None)
        is_read_on = isinstance(broken, NotFollowedError) or imports.has_arrays
        if broken is not None and (loaded or is_read_on or (imports.pickles and _begins_like_a_pickle(head))):
            raise broken

    def _judge(self, imports: Imports, where: str, *, whole: bool) -> None:
        """Report names that are not allowed.

        Random bytes can import names that no program writes. These count only if a loader would take the file for a
        pickle (`whole`), because an unpickler would look the name up.
        """
        names = imports.names if whole else imports.names - {UNKNOWN}
        found = refused(names, imports.called | imports.given, self.allowed, imports.given)
        self.problems.extend(problem.at(where) for problem in found[:MAX_SHOWN])

    def count(self, more: int) -> None:
        """Count bytes that were unpacked. Raises LimitError beyond MAX_UNPACKED."""
        self.unpacked += more
        if self.unpacked > MAX_UNPACKED:
            raise LimitError("archive unpacks to too much", expected=f"at most {MAX_UNPACKED} bytes")


class _UnpackedMember(io.RawIOBase):
    """A member's bytes, counted if they had to be unpacked."""

    def __init__(self, member: ArchiveMember, scan: _PickleScan) -> None:
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


def _holds_objects(stream: IO[bytes], size: int) -> bool:
    """Return whether a NumPy array is a pickle. Raises MalformedError unless its data ends where the file does."""
    count = data_size(stream)
    if count is None:
        return True
    while count > 0 and (data := stream.read(min(count, CHUNK))):
        count -= len(data)
    if count or stream.read(1):
        raise MalformedError("NumPy array has another size than in its header", got=f"a file of {size} bytes")
    return False

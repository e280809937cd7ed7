"""Read an archive: one tar file with evidence, layout, trusted root and manifest (docs/formats/archive.md).

The reader is strict. The file is exactly what its manifest lists, in that order, in the one form of `gitchain.platform.tar`;
every content is hashed when the archive is opened, and again whenever it is read. Memory holds the manifest and one
member at a time.

Does NOT verify evidence, layout or trusted root: the writer of the archive chose them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Self

from gitchain.errors import MalformedError, UsageError, VerificationError, os_errors_as
from gitchain.evidence.digest import Sha256, sha256_hex
from gitchain.platform import tar
from gitchain.platform.files import open_regular
from gitchain.sources.archive_manifest import MANIFEST, MAX_MANIFEST_BYTES, ArchiveManifest, ArchiveMember
from gitchain.sources.bundle_index import BundleIndex
from gitchain.sources.follow_store import add_bundles
from gitchain.sources.interface import Snapshot

_CHUNK = 1 << 20


@dataclass(eq=False)
class Archive(AbstractContextManager["Archive"]):
    """An open archive whose members have the sizes and digests in its manifest. Made by `open`."""

    path: Path
    manifest: ArchiveManifest
    digest: Sha256
    """The SHA-256 of the whole file."""
    _file: BinaryIO = field(repr=False)
    _places: Mapping[str, tuple[int, ArchiveMember]] = field(repr=False)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an archive and check all of it.

        Raises UsageError if it cannot be read, MalformedError for another form or a truncated file, VerificationError
        for a content with another digest, LimitError for too much.
        """
        with os_errors_as(UsageError, "cannot read the archive", path, help="check the path"):
            file = open_regular(path)
        try:
            with os_errors_as(UsageError, "cannot read the archive", path):
                return cls(path, *_checked(file))
        except BaseException as error:
            file.close()
            if isinstance(error, MalformedError | VerificationError):
                error.where = f"{path}: {error.where}" if error.where else str(path)
            raise

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self._file.close()

    def __contains__(self, name: str) -> bool:
        """Return True if there is a member of this name."""
        return name in self._places

    def read(self, name: str) -> bytes:
        """Return the content of a member. Raises VerificationError if it changed since the archive was opened."""
        place, member = self._places[name]
        with os_errors_as(UsageError, "cannot read the archive", self.path):
            data = os.pread(self._file.fileno(), member.size, place)
        if sha256_hex(data) != member.sha256:
            raise _changed(member, sha256_hex(data))
        return data

    def bundles(self) -> Iterator[tuple[str, bytes]]:
        """Yield SHA-256 and bytes of every bundle, one at a time."""
        return ((one.sha256, self.read(one.name)) for one in self.manifest.members if one.is_bundle)

    def nodes(self) -> Iterator[tuple[str, bytes]]:
        """Yield SHA-256 and bytes of every node of a directory manifest, one at a time."""
        return ((one.sha256, self.read(one.name)) for one in self.manifest.members if one.is_node)

    def node(self, digest: str) -> bytes | None:
        """Return the manifest node with this digest, or None."""
        name = f"evidence/{digest}.manifest.json"
        return self.read(name) if name in self._places else None


@dataclass(frozen=True)
class ArchiveSource:
    """The evidence of an archive, as a source: layout and trusted root of the archive are not used."""

    archive: Archive

    @property
    def name(self) -> str:
        """Return the archive's path."""
        return str(self.archive.path)

    @property
    def remembers(self) -> bool:
        """Return False: an archive cannot detect removed evidence."""
        return False

    def version(self) -> str:
        """Return the SHA-256 of the file when it was opened."""
        return self.archive.digest

    def read(self) -> Snapshot:
        """Index every bundle; each is read again when it is needed."""
        index, archive = BundleIndex(), self.archive
        with index.filling():
            add_bundles(index, archive.bundles())
            index.add_nodes(one.sha256 for one in archive.manifest.members if one.is_node)
        stored = index, lambda facts: archive.read(f"evidence/{facts.name}.sigstore.json")
        return Snapshot({}, archive.node, self.version(), stored=stored)

    def check(self, snapshot: Snapshot) -> None:
        """Do nothing: no earlier state is stored."""

    def remember(self, snapshot: Snapshot, now: datetime) -> None:
        """Do nothing: no state is stored."""


def _checked(
    file: BinaryIO,
) -> tuple[ArchiveManifest, Sha256, BinaryIO, dict[str, tuple[int, ArchiveMember]]]:
    """Read the whole file once: manifest, digest, and the place of each member."""
    whole = hashlib.sha256()
    block = file.read(tar.BLOCK)
    size = tar.first_member(block, MANIFEST, MAX_MANIFEST_BYTES)
    data = file.read(tar.span(size) - tar.BLOCK)
    if len(data) != tar.span(size) - tar.BLOCK:
        raise tar.truncated(MANIFEST)
    _check_zeros(data[size:], MANIFEST)
    whole.update(block + data)
    manifest = ArchiveManifest.parse(data[:size])
    expected = file.tell() + sum(tar.span(member.size) for member in manifest.members) + len(tar.END)
    found = os.fstat(file.fileno()).st_size
    if found > expected:
        raise MalformedError(
            "the archive has more than its manifest lists", expected=f"{expected} bytes", got=f"{found} bytes"
        )
    places = {member.name: (_skip(file, member, whole), member) for member in manifest.members}
    end = file.read(len(tar.END) + 1)
    if end != tar.END:
        raise tar.truncated("the end of the archive")
    whole.update(end)
    return manifest, Sha256(whole.hexdigest()), file, places


def _skip(file: BinaryIO, member: ArchiveMember, whole: hashlib._Hash) -> int:
    """Check header, content and padding of the next member, and return the place of its content."""
    block = file.read(tar.BLOCK)
    tar.check_header(block, member.name, member.size)
    whole.update(block)
    place, left, content = file.tell(), member.size, hashlib.sha256()
    while left:
        chunk = file.read(min(left, _CHUNK))
        if not chunk:
            raise tar.truncated(member.name)
        content.update(chunk)
        whole.update(chunk)
        left -= len(chunk)
    if content.hexdigest() != member.sha256:
        raise _changed(member, content.hexdigest())
    padding = file.read(len(tar.padding(member.size)))
    if len(padding) != len(tar.padding(member.size)):
        raise tar.truncated(member.name)
    _check_zeros(padding, member.name)
    whole.update(padding)
    return place


def _check_zeros(padding: bytes, name: str) -> None:
    if any(padding):
        raise MalformedError("the padding of a member is not zero", where=name)


def _changed(member: ArchiveMember, got: str) -> VerificationError:
    return VerificationError(
        "a member does not have the digest in the manifest",
        where=member.name,
        expected=f"sha256:{member.sha256}",
        got=f"sha256:{got}",
        help="the archive was changed or damaged: copy it again from where it came",
    )

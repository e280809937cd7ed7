"""Places where evidence lies besides this repository, by the names that users give them.

    git+https://HOST/PATH     the attestation ref of another repository, mirrored; git+file:///PATH too
    oci://HOST/NAME@sha256:…  what refers to an artifact in a registry; or to what a tag names: oci://HOST/NAME:TAG
    DIRECTORY                 *.sigstore.json, and the nodes of directory manifests as *.manifest.json

docs/evidence-sources.md
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gitchain.errors import LimitError, StoreError, UsageError
from gitchain.evidence.bundle import MAX_BUNDLE_BYTES
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.manifest import MAX_NODE_BYTES
from gitchain.pipeline.home import write_atomically
from gitchain.pipeline.mirror import Mirror
from gitchain.pipeline.referrers import Referrers
from gitchain.pipeline.snapshots import MAX_BUNDLES, Budget, Snapshot, Source
from gitchain.platform.files import open_regular

BUNDLE_SUFFIX = ".sigstore.json"
NODE_SUFFIX = ".manifest.json"
GIT_SCHEMES = ("git+https://", "git+http://", "git+file://")
OCI_SCHEME = "oci://"


def open_source(text: str, *, offline: bool = False) -> Source:
    """Return the source that `text` names, without reading it; UsageError if it names none."""
    if text.startswith(GIT_SCHEMES):
        return Mirror.of(text, offline=offline)
    if text.startswith(OCI_SCHEME):
        return Referrers.of(text, offline=offline)
    if "://" in text or not Path(text).is_dir():
        raise UsageError(
            "no such source of evidence",
            got=text,
            expected="a directory, git+https://…, git+file://… or oci://…",
        )
    return Directory(Path(text))


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory of bundles, as somebody exported or downloaded them. Others may write it: it has no memory."""

    path: Path

    @property
    def name(self) -> str:
        """The directory's path."""
        return str(self.path)

    @property
    def remembers(self) -> bool:
        """A directory forgets: nothing says what lay there before."""
        return False

    def version(self) -> str:
        """Return the digest of the list of files with their sizes and times."""
        lines = []
        for path in self._files():
            found = _looked(path)
            lines.append(f"{path.name} {found[0]} {found[1]} {found[2]}")
        return sha256_hex("\n".join(lines).encode("utf-8", "surrogateescape"))

    def read(self) -> Snapshot:
        """Read every bundle and node; StoreError for a file that cannot be read, LimitError for too much."""
        version = self.version()  # before: what changes meanwhile is read again
        budget = Budget(self.name)
        bundles: dict[str, bytes] = {}
        nodes: dict[str, bytes] = {}
        for path in self._files():
            is_bundle = path.name.endswith(BUNDLE_SUFFIX)
            data = _content(path, MAX_BUNDLE_BYTES if is_bundle else MAX_NODE_BYTES)
            budget.take(len(data))
            (bundles if is_bundle else nodes)[sha256_hex(data)] = data
        return Snapshot(bundles, nodes.get, version, nodes=frozenset(nodes))

    def check(self, found: Snapshot) -> None:
        """Say nothing: there is nothing to compare with."""

    def remember(self, found: Snapshot, now: datetime) -> None:
        """Remember nothing."""

    def write(self, bundles: Iterable[bytes], nodes: Iterable[bytes]) -> int:
        """Write what is not there yet, and return how many files that were; StoreError."""
        named = [(sha256_hex(data) + BUNDLE_SUFFIX, data) for data in bundles]
        named += [(sha256_hex(data) + NODE_SUFFIX, data) for data in nodes]
        fresh = [(self.path / name, data) for name, data in named if not (self.path / name).exists()]
        for path, data in fresh:
            write_atomically(path, data)
        return len(fresh)

    def _files(self) -> list[Path]:
        try:
            found = sorted(self._named())
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if len(found) > MAX_BUNDLES:
            raise LimitError("too many bundles", where=self.name, expected=f"at most {MAX_BUNDLES}")
        return found

    def _named(self) -> Iterator[Path]:
        for path in self.path.iterdir():
            if path.name.endswith((BUNDLE_SUFFIX, NODE_SUFFIX)):
                yield path


def _looked(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return found.st_ino, found.st_size, found.st_mtime_ns


def _content(path: Path, limit: int) -> bytes:
    if not path.is_file():
        raise StoreError("cannot read the evidence", where=str(path), got="not a file")
    try:
        with open_regular(path) as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(data) > limit:
        raise LimitError("a bundle or manifest is too large", where=str(path), expected=f"≤ {limit} bytes")
    return data


def _unreadable(path: Path, error: OSError) -> StoreError:
    return StoreError("cannot read the evidence", where=str(path), got=str(error.strerror))

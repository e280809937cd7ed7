"""Parser of evidence source names.

git+https://HOST/PATH     the attestation ref of another repository, mirrored; git+file:///PATH too
oci://HOST/NAME@sha256:…  the referrers of an artifact in a registry; or of a tag: oci://HOST/NAME:TAG
DIRECTORY                 *.sigstore.json, and the nodes of directory manifests as *.manifest.json
FILE                      the evidence of an archive; its layout and trusted root are not used

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
from gitchain.platform.files import open_regular, write_durably
from gitchain.sources.git import Mirror, remote_url
from gitchain.sources.interface import MAX_BUNDLES, EvidenceSource, Snapshot, SourceBudget
from gitchain.sources.oci import Referrers

BUNDLE_SUFFIX = ".sigstore.json"
NODE_SUFFIX = ".manifest.json"
GIT_SCHEMES = ("git+https://", "git+http://", "git+file://")
OCI_SCHEME = "oci://"


def open_source(text: str, *, offline: bool = False) -> EvidenceSource:
    """Return the source called `text` without reading it; an archive is read, checked and kept open.

    Raises UsageError for an unknown kind of name, and the errors of `Archive.open`.
    """
    if text.startswith(GIT_SCHEMES):
        return Mirror.of(text, offline=offline)
    if text.startswith(OCI_SCHEME):
        return Referrers.of(text, offline=offline)
    if "://" not in text and Path(text).is_file():
        from gitchain.sources.archive_file import Archive, ArchiveSource

        return ArchiveSource(Archive.open(Path(text)))
    if "://" in text or not Path(text).is_dir():
        raise UsageError(
            "no such source of evidence",
            got=text,
            expected="a directory, an archive, git+https://…, git+file://… or oci://…",
            help="check the path; gitchain bundle push DIR   fills a directory",
        )
    if (Path(text) / "HEAD").is_file() and (Path(text) / "objects").is_dir():
        raise UsageError(
            "this directory is a bare Git repository",
            got=text,
            expected="git+file://… for its attestations",
            help=f"--evidence git+file://{Path(text).absolute()}",
        )
    return Directory(Path(text))


def check_source_name(text: str) -> None:
    """Check that `text` can name a source, without reading the disk. Raises UsageError.

    The name of a directory has no colon here: it would be a scheme that is written wrongly.
    """
    if text.startswith(GIT_SCHEMES):
        remote_url(text)
    elif text.startswith(OCI_SCHEME):
        Referrers.of(text)
    elif ":" in text or "\0" in text or not text.strip():
        raise UsageError(
            "no such source of evidence",
            got=ascii(text[:200]),
            expected="a directory, an archive, git+https://…, git+file://… or oci://…",
        )


@dataclass(frozen=True, slots=True)
class Directory:
    """A directory of exported or downloaded bundles. Its state is not stored, since others may write it."""

    path: Path

    @property
    def name(self) -> str:
        """Return the directory's path."""
        return str(self.path)

    @property
    def remembers(self) -> bool:
        """Return False: a directory cannot detect removed evidence."""
        return False

    def version(self) -> str:
        """Return the digest of the file list with sizes and times."""
        lines = []
        for path in self._files():
            state = _looked(path)
            lines.append(f"{path.name} {state[0]} {state[1]} {state[2]}")
        return sha256_hex("\n".join(lines).encode("utf-8", "surrogateescape"))

    def read(self) -> Snapshot:
        """Read every bundle and node. Raises StoreError for an unreadable file, LimitError for too much content."""
        version = self.version()  # computed before reading: a change during reading leads to another version
        budget = SourceBudget(self.name)
        bundles: dict[str, bytes] = {}
        nodes: dict[str, bytes] = {}
        for path in self._files():
            is_bundle = path.name.endswith(BUNDLE_SUFFIX)
            data = _content(path, MAX_BUNDLE_BYTES if is_bundle else MAX_NODE_BYTES)
            budget.take(len(data))
            (bundles if is_bundle else nodes)[sha256_hex(data)] = data
        return Snapshot(bundles, nodes.get, version, nodes=frozenset(nodes))

    def check(self, snapshot: Snapshot) -> None:
        """Do nothing: no earlier state is stored."""

    def remember(self, snapshot: Snapshot, now: datetime) -> None:
        """Do nothing: no state is stored."""

    def write(self, bundles: Iterable[bytes], nodes: Iterable[bytes]) -> int:
        """Write the missing bundles and nodes, and return the number of new files. Raises StoreError."""
        named = [(sha256_hex(data) + BUNDLE_SUFFIX, data) for data in bundles]
        named += [(sha256_hex(data) + NODE_SUFFIX, data) for data in nodes]
        fresh = [(self.path / name, data) for name, data in named if not (self.path / name).exists()]
        for path, data in fresh:
            write_durably(path, data, mode=0o644)
        return len(fresh)

    def _files(self) -> list[Path]:
        try:
            paths = sorted(self._named())
        except OSError as error:
            raise _unreadable(self.path, error) from error
        if len(paths) > MAX_BUNDLES:
            raise LimitError("too many bundles", where=self.name, expected=f"at most {MAX_BUNDLES}")
        return paths

    def _named(self) -> Iterator[Path]:
        for path in self.path.iterdir():
            if path.name.endswith((BUNDLE_SUFFIX, NODE_SUFFIX)):
                yield path


def _looked(path: Path) -> tuple[int, int, int]:
    try:
        info = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from error
    return info.st_ino, info.st_size, info.st_mtime_ns


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

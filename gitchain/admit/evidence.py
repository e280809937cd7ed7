"""Where a layout's evidence is read from, and which state of it was read.

A version names everything that a verdict rests on besides time: the layout's file, the trust's, the store's commit,
the bundles that lie beside it. While it stays the same nothing has to be read again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gitchain.admit.config import Source
from gitchain.errors import LimitError, StoreError, TrustError
from gitchain.evidence.digest import sha256_hex

if TYPE_CHECKING:
    from gitchain.pipeline.consume import Policy, Verifier
    from gitchain.pipeline.project import Project

MAX_BUNDLES = 100_000
MAX_POLICY_BYTES = 16 << 20
PUBLIC_AGE = 3600
"""Seconds until the public trusted root is asked for again: it rotates, and sigstore-python keeps it up to date."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A verifier over one state of the evidence, and the version that names this state."""

    verifier: Verifier
    version: str


class Reader(Protocol):
    """Reads the evidence of one layout. Both may block, and raise GitchainError; neither changes anything."""

    def version(self, now: datetime) -> str:
        """Return what names the state that is there now."""
        ...

    def open(self, now: datetime) -> Verifier:
        """Accept the layout and read the evidence as it is now."""
        ...


@dataclass(frozen=True, slots=True)
class FileReader:
    """Reads a repository's attestation store, a directory of bundles, or both."""

    source: Source

    def version(self, now: datetime) -> str:
        """Return the digest of the layout's and the trust's bytes, the store's commit and the list of bundles."""
        source = self.source
        parts = [_content(source.layout)]
        if source.trust == "public":
            parts.append(f"public {int(now.timestamp()) // PUBLIC_AGE}")
        elif source.trust != "local":
            parts.append(_content(Path(source.trust)))
        if (project := self._project()) is not None:
            parts.append(f"tip {project.store.tip()}")
        parts += self._listed()
        return sha256_hex("\n".join(parts).encode("utf-8", "surrogateescape"))

    def open(self, now: datetime) -> Verifier:
        """Accept the layout and read the evidence; errors as `Verifier.open`."""
        from gitchain.pipeline.consume import Verifier

        return Verifier.open(self._project(), self._policy(), now, [str(path) for path in self._bundles()])

    def _project(self) -> Project | None:
        from gitchain.pipeline.project import open_project

        if self.source.repository is None:
            return None
        return open_project(self.source.repository, configured=False, changes=False)

    def _policy(self) -> Policy:
        from gitchain.pipeline.consume import Policy

        source = self.source
        return Policy(source.layout, source.signers, source.trust, minimum_version=source.minimum_version)

    def _listed(self) -> Iterator[str]:
        for path in self._bundles():
            try:
                found = path.stat()
            except OSError as error:
                raise _unreadable(path, error) from error
            yield f"{path.name} {found.st_ino} {found.st_size} {found.st_mtime_ns}"

    def _bundles(self) -> list[Path]:
        from gitchain.pipeline.targets import BUNDLE_SUFFIXES

        place = self.source.bundles
        if place is None:
            return []
        try:
            found = sorted(path for path in place.iterdir() if path.name.endswith(BUNDLE_SUFFIXES))
        except OSError as error:
            raise _unreadable(place, error) from error
        if len(found) > MAX_BUNDLES:
            raise LimitError("too many bundles", where=str(place), expected=f"at most {MAX_BUNDLES}")
        return found


def _content(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_POLICY_BYTES + 1)
    except OSError as error:
        raise TrustError("cannot read what decides", where=str(path), got=str(error.strerror)) from error
    return sha256_hex(data)


def _unreadable(path: Path, error: OSError) -> StoreError:
    return StoreError("cannot read the evidence", where=str(path), got=str(error.strerror))

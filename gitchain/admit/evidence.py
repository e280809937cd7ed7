"""Where a layout's evidence is read from, and which state of it was read.

A version names everything that a verdict rests on besides time: the layout's file, the trust's, the store's commit,
what each source says of itself (docs/evidence-sources.md). While it stays the same nothing has to be read again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gitchain.admit.config import Source
from gitchain.errors import LayoutError, TrustError
from gitchain.evidence.digest import sha256_hex
from gitchain.pipeline.profiles import is_path
from gitchain.platform.files import open_regular

if TYPE_CHECKING:
    from gitchain.pipeline.consume import Policy, Verifier
    from gitchain.pipeline.project import Project
    from gitchain.pipeline.snapshots import Source as Place
    from gitchain.verify.verified import SignedLayout

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
class SourceReader:
    """Reads a repository's attestation store, the sources that the settings name, or both."""

    source: Source
    highest: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Version and digest of the newest layout accepted in this process, by its name."""

    def version(self, now: datetime) -> str:
        """Return the digest of the layout's and the trust's bytes, the store's commit and what the sources say."""
        source = self.source
        parts = [_content(source.layout)]
        if is_path(source.trust):
            parts.append(_content(Path(source.trust)))
        elif source.trust != "local":
            parts.append(f"{source.trust} {int(now.timestamp()) // PUBLIC_AGE}")
        if (project := self._project()) is not None:
            parts.append(f"tip {project.store.tip()}")
        parts += [f"{one.name} {one.version()}" for one in self._sources()]
        return sha256_hex("\n".join(parts).encode("utf-8", "surrogateescape"))

    def open(self, now: datetime) -> Verifier:
        """Accept the layout and read the evidence; errors as `Verifier.open`."""
        from gitchain.pipeline.consume import Verifier

        found = Verifier.open(self._project(), self._policy(), now, sources=self._sources())
        self.check_version(found.accepted.signed)
        return found

    def check_version(self, signed: SignedLayout) -> None:
        """Remember the layout's version for the life of the process; LayoutError for an older one, or other content."""
        name, found = signed.layout.name, (signed.layout.version, signed.digest)
        version, digest = self.highest.get(name, found)
        if found[0] < version or (found[0] == version and found[1] != digest):
            raise LayoutError(
                "layout is older than the one accepted before, or another one of the same version",
                where=str(self.source.layout),
                expected=f"version {version}, sha256:{digest}, or newer",
                got=f"version {found[0]}, sha256:{found[1]}",
                help="its owner must raise the version",
            )
        self.highest[name] = found

    def _project(self) -> Project | None:
        from gitchain.pipeline.project import open_project

        if self.source.repository is None:
            return None
        return open_project(self.source.repository, configured=False, changes=False)

    def _policy(self) -> Policy:
        from gitchain.pipeline.consume import Policy

        source = self.source
        return Policy(
            source.layout,
            source.signers,
            source.trust,
            minimum_version=source.minimum_version,
            name=source.layout_name,
        )

    def _sources(self) -> list[Place]:
        from gitchain.pipeline.places import open_source

        return [open_source(text) for text in self.source.evidence]


def _content(path: Path) -> str:
    try:
        with open_regular(path) as file:
            data = file.read(MAX_POLICY_BYTES + 1)
    except OSError as error:
        raise TrustError("cannot read what decides", where=str(path), got=str(error.strerror)) from error
    return sha256_hex(data)

"""Readers of a layout's evidence, and the version of the evidence.

A version covers everything that a verdict depends on besides time: the layout file, the trusted root, the store's
commit, and the version of each source (docs/evidence-sources.md). While it is unchanged, nothing must be read again.
"""

from __future__ import annotations

import os
import weakref
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from gitchain.admit.memory import recall, remember
from gitchain.admit.settings import LayoutSource
from gitchain.errors import LayoutError, NoRepositoryError, StoreError, TrustError
from gitchain.evidence.digest import sha256_hex
from gitchain.platform.files import read_input
from gitchain.trust.load_profile import is_path

if TYPE_CHECKING:
    from gitchain.consume.load_layout import LayoutOptions
    from gitchain.consume.verifier import Verifier
    from gitchain.sources.evidence import Evidence
    from gitchain.sources.interface import EvidenceSource as Place
    from gitchain.verify.verified import SignedLayout
    from gitchain.workspace.project import Project

MAX_POLICY_BYTES = 16 << 20
PUBLIC_AGE = 3600
"""Seconds between updates of the public trusted root, which rotates."""


@dataclass(frozen=True, slots=True)
class EvidenceState:
    """A verifier over one state of the evidence, and the version of this state."""

    verifier: Verifier
    version: str


class EvidenceReader(Protocol):
    """Reads the evidence of one layout. Methods may block, raise GitchainError, and change nothing."""

    def version(self, now: datetime) -> str:
        """Return the version of the current state."""
        ...

    def open(self, now: datetime) -> Verifier:
        """Load the layout and read the current evidence."""
        ...


@dataclass(frozen=True, slots=True)
class SourceReader:
    """Reads a repository's attestation store, the sources in the settings, or both."""

    source: LayoutSource
    offline: bool = False
    """Whether the network must not be used."""

    is_remembering: bool = True
    """Whether accepted layout versions are stored in the user's directory for the next process."""

    highest: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Version and digest of the newest layout that this reader accepted, by its name."""

    last: list[weakref.ref[Evidence]] = field(default_factory=list)
    """The evidence of the last reading while it is in use: what it indexed is not parsed again."""

    def version(self, now: datetime) -> str:
        """Return a digest over the layout, the trusted root, the store's commit and the versions of the sources."""
        source = self.source
        parts = [_content(source.layout, LayoutError, "cannot read the layout")]
        if is_path(source.trust):
            parts.append(_content(Path(source.trust), TrustError, "cannot read the trust"))
        elif source.trust != "local":
            parts.append(f"{source.trust} {int(now.timestamp()) // PUBLIC_AGE}")
        if (project := self._project()) is not None:
            parts.append(f"tip {project.store.tip()}")
        parts += [f"{one.name} {one.version()}" for one in self._sources()]
        return sha256_hex("\n".join(parts).encode("utf-8", "surrogateescape"))

    def open(self, now: datetime) -> Verifier:
        """Load the layout and read the evidence. Raises the errors of `Verifier.open` and `check_version`.

        If another replica accepted a newer layout meanwhile, everything is read once more.
        """
        found = self._open(now)
        try:
            forgotten = self.check_version(found.accepted.signed)
        except LayoutError:
            found = self._open(now)
            forgotten = self.check_version(found.accepted.signed)
        return replace(found, forgotten=found.forgotten or forgotten)

    def _open(self, now: datetime) -> Verifier:
        from gitchain.consume.verifier import Verifier

        last = self.last[0]() if self.last else None
        found = Verifier.open(self._project(), self._policy(), now, sources=self._sources(), before=last)
        self.last[:] = [weakref.ref(found.evidence)]
        return found

    def check_version(self, signed: SignedLayout) -> StoreError | None:
        """Store the layout's version; return the error if the user's directory is not writable.

        Raises LayoutError for an older version than was accepted, or different content of the same version;
        TrustError if the stored state is damaged.
        """
        name, found = signed.layout.name, (signed.layout.version, signed.digest)
        key = f"{self.source.name}/{name}"
        known = [self.highest.get(name), recall(key) if self.is_remembering else None]
        for version, digest in filter(None, known):
            if found[0] < version or (found[0] == version and found[1] != digest):
                raise LayoutError(
                    "layout is older than the one accepted before, or another one of the same version",
                    where=str(self.source.layout),
                    expected=f"version {version}, sha256:{digest}, or newer",
                    got=f"version {found[0]}, sha256:{found[1]}",
                    help="its owner must raise the version",
                )
        self.highest[name] = found
        try:
            if self.is_remembering:
                remember(key, found)
        except StoreError as error:
            return error
        return None

    def _project(self) -> Project | None:
        return None if self.source.repository is None else repository_at(self.source.repository)

    def _policy(self) -> LayoutOptions:
        from gitchain.consume.load_layout import LayoutOptions

        source = self.source
        return LayoutOptions(
            source.layout,
            source.signers,
            source.trust,
            offline=self.offline,
            minimum_version=source.minimum_version,
            name=source.layout_name,
        )

    def _sources(self) -> list[Place]:
        from gitchain.sources.open_source import open_source

        for text in self.source.evidence:
            if "://" not in text and not _is_directory(text):
                raise StoreError("there is no directory of evidence", where=text, help="check the path")
        return [open_source(text, offline=self.offline) for text in self.source.evidence]


def repository_at(path: Path) -> Project:
    """Return the repository at a path, never one around it. Raises StoreError without one."""
    from gitchain.workspace.project import open_project

    why = "no such directory"
    place = os.path.realpath(path)  # once: a link may be replaced meanwhile, as git-sync does
    try:
        if _is_directory(place):
            project = open_project(Path(place), configured=False, changes=False)
            if place in map(os.path.realpath, (project.root, project.git.common_dir)):
                return project
            why = f"a directory inside of the repository {project.root}"
    except NoRepositoryError as error:
        why = error.got
    raise StoreError(
        "there is no Git repository",
        where=str(path),
        expected="the directory of a clone, or a bare repository",
        got=why,
        help="check the path",
    )


def _is_directory(path: Path | str) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - Path.is_dir raises for a name that is too long


def _content(path: Path, kind: type[LayoutError | TrustError], what: str) -> str:
    return sha256_hex(read_input(path, MAX_POLICY_BYTES, kind, what))

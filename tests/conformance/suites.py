"""The public suites of test vectors that we run, as a table: add a suite by adding a function that yields its cases.

The vectors are not in this repository: GITCHAIN_VECTORS names their directory, or they lie in ../shared/vectors
beside it. A case is a command line and whether it must succeed; where we differ on purpose it says why, and
docs/conformance.md lists it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
VECTORS = Path(os.environ.get("GITCHAIN_VECTORS") or ROOT.parent / "shared" / "vectors")


@dataclass(frozen=True)
class Case:
    """One vector: the arguments after `gitchain`, and whether they must verify. `deviation` is why we differ."""

    name: str
    args: tuple[str, ...]
    verifies: bool
    deviation: str = ""


@dataclass(frozen=True)
class Suite:
    """A set of vectors in a directory under VECTORS; `cases` reads them."""

    name: str
    directory: str
    read: Callable[[Path], Iterator[Case]]

    @property
    def path(self) -> Path:
        return VECTORS / self.directory

    def cases(self) -> tuple[Case, ...]:
        """Return the cases, none where the vectors are absent."""
        return tuple(self.read(self.path)) if self.path.is_dir() else ()


IDENTITY = (
    "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/"
    "extremely-dangerous-oidc-beacon.yml@refs/heads/main"
)
ISSUER = "https://token.actions.githubusercontent.com"


def sigstore_bundles(path: Path) -> Iterator[Case]:
    """Each directory: a bundle and what differs from the defaults in the suite's README."""
    for case in sorted(one for one in path.iterdir() if one.is_dir()):
        args = ["bundle", "verify", "--bundle", str(case / "bundle.sigstore.json")]
        if (case / "key.pub").exists():
            args += ["--key", str(case / "key.pub")]
        else:
            args += ["--certificate-identity", _text(case / "identity", IDENTITY)]
            args += ["--certificate-oidc-issuer", _text(case / "issuer", ISSUER)]
        if (case / "trusted_root.json").exists():
            args += ["--trusted-root", str(case / "trusted_root.json")]
        artifact = case / "artifact"
        args.append(str(artifact if artifact.exists() else path / "a.txt"))
        yield Case(case.name, tuple(args), not case.name.endswith("_fail"))


def _text(path: Path, default: str) -> str:
    return path.read_text(encoding="utf-8").strip() if path.exists() else default


SUITES = (
    Suite("sigstore-conformance bundle-verify", "sigstore-conformance/bundle-verify", sigstore_bundles),
)

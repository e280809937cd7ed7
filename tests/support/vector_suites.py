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


SIGNER = "stefanb@us.ibm.com"
SIGNER_ISSUER = "https://sigstore.verify.ibm.com/oauth2"
MODELS = "model-transparency"
OLD = "signed before the specification: another predicate, and a signature that is not over the DSSE encoding"
LEFT_OUT = ("ignore-me", "model.sig")


def _signer(kind: str) -> tuple[str, ...]:
    """Return who must have signed, by what stands at the end of a directory's name or in a file's."""
    keys = VECTORS / MODELS / "keys" / "certificate"
    if kind.endswith("key"):
        return "--key", str(keys / "signing-key-pub.pem")
    if kind.endswith("certificate"):
        return "--certificate-chain", str(keys / "ca-cert.pem")
    return "--certificate-identity", SIGNER, "--certificate-oidc-issuer", SIGNER_ISSUER


def signed_models(path: Path) -> Iterator[Case]:
    """Each directory but `keys`: a model with its signature, as one release made it."""
    for case in sorted(one for one in path.iterdir() if (one / "model.sig").exists()):
        args = ["bundle", "verify", "--bundle", str(case / "model.sig"), *_signer(case.name)]
        args += ["--ignore-path", "ignore-me"]
        one_file = case.name in {"v0.3.1-elliptic-key", "v1.0.0-elliptic-key"}
        args.append(str(case / "signme-1" if one_file else case))
        yield Case(case.name, tuple(args), True, OLD if case.name.startswith("v0.2.0") else "")


def model_signatures(path: Path) -> Iterator[Case]:
    """Bundles without models: those that are valid are about models of the other suite."""
    for bundle in sorted(path.glob("*/*.bundle.json")):
        kind = bundle.name.removesuffix(".bundle.json")
        model = "v1.1.0-sigstore" if kind in {"sigstore", "missing-tlog-entries"} else "v1.1.0-elliptic-key"
        known = kind if kind in {"key", "certificate", "sigstore"} else "key"
        signer = _signer("sigstore" if kind == "missing-tlog-entries" else known)
        ignored = [word for name in LEFT_OUT for word in ("--ignore-path", name)]
        args = ["bundle", "verify", "--bundle", str(bundle), *signer, *ignored, str(VECTORS / MODELS / model)]
        yield Case(f"{bundle.parent.name}/{kind}", tuple(args), bundle.parent.name == "valid")


SUITES = (
    Suite("sigstore-conformance bundle-verify", "sigstore-conformance/bundle-verify", sigstore_bundles),
    Suite("oms-spec", "model-signing-spec/v1.0", model_signatures),
    Suite("oms-models", MODELS, signed_models),
)

"""What the cluster's tests stand on: models with real chains, good and bad, and the settings that decide about them.

Everything is signed by an embedded instance of gitchain; the serving side gets the layouts, the trust and the store.
"""

from __future__ import annotations

import datetime as dt
import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitchain.evidence.statement import Statement
from tests.support.admission import LAYOUT, REGISTRY, WHO, chain, digest, statement, taken_back, upstream

STRANGER = "eve@example.com"
ADMISSION = "admission@example.com"
ENFORCED, LENIENT, CLAIMING, WARNED, UNRULED, GUARDED = (
    "prod",
    "lenient",
    "claims",
    "warn",
    "no-rule",
    "guarded",
)
NAMESPACES = (ENFORCED, LENIENT, CLAIMING, WARNED, UNRULED, GUARDED)
LOG = "/deployments/log"
"""Where the chart has the deployment log; here it is the repository of the evidence."""

GUARD = f"registry.example.com/gitchain@sha256:{'0' * 64}"
FLIPPED = digest("good")[:-1] + ("0" if digest("good")[-1] != "0" else "1")


def image(model: str, sha256: str = "") -> str:
    """Return the reference of a model as an image volume has it; `sha256` is another content than the model's."""
    return f"{REGISTRY}/{model}@sha256:{sha256 or digest(model)}"


@dataclass(frozen=True)
class Ground:
    """Files of the serving side: what the chart's ConfigMaps hold, and the repository in /evidence."""

    top: Path
    issuer: str

    @property
    def policy(self) -> Sequence[Path]:
        """The files of the ConfigMap with the policy."""
        return [self.top / name for name in ("credit.sigstore.json", "trust.json")]

    def settings(self) -> dict[str, Any]:
        """Return the settings, as the chart's values have them; only the evidence is a path of this machine."""
        credit = {
            "layout": "credit.sigstore.json",
            "signers": [{"issuer": self.issuer, "subject": WHO}],
            "trust": "trust.json",
            "repository": str(self.top / "repo"),
        }
        rules: list[Mapping[str, Any]] = [
            {"namespaces": [ENFORCED], "layout": "credit", "images": [f"{REGISTRY}/*"]},
            {"namespaces": [LENIENT], "layout": "credit", "strict": False},
            {"namespaces": [CLAIMING], "layout": "credit", "claims": True},
            {"namespaces": [WARNED], "layout": "credit", "mode": "warn"},
            {"namespaces": [GUARDED], "layout": "credit", "claims": True, "guard": {"image": GUARD}},
        ]
        log = {"repository": LOG, "environment": "production", "cluster": "test"}
        return {
            "layouts": {"credit": credit},
            "rules": rules,
            "times": {"refresh": 1, "verdict": 30, "drain": 3},
            "deployments": {**log, "trust": "local", "identity": ADMISSION},
            "reporting": {"reports": "openreports.io"},
        }


def make(top: Path) -> Ground:
    """Sign the layout and the chains; one of them so long ago that the layout does not take its approval any more."""
    from gitchain.trust.load_profile import load_profile
    from gitchain.trust.profiles import SigningIdentity
    from gitchain.workspace.project import open_project

    for name in ("jwt", "sigstore.oidc", "sigstore.sign", "gitchain.instance.local", "gitchain.sign.keyless"):
        importlib.import_module(name)
    repo = top / "repo"
    subprocess.run(["git", "init", "-q", str(repo)], check=True)
    with _ago(hours=14):
        issuer = _layout(top, repo)
    profile = load_profile("local")
    with _ago(hours=13), profile.signer(SigningIdentity(WHO)) as signer:
        bundles = signer.sign(chain("stale"))
    with profile.signer(SigningIdentity(WHO)) as signer:
        bundles += signer.sign([*upstream(), *_by_ada(), taken_back("revoked")])
    with profile.signer(SigningIdentity(STRANGER)) as signer:
        bundles += signer.sign(_steps("stranger", "train"))
    open_project(repo).store.add(bundles)
    (top / "trust.json").write_text(profile.text, encoding="utf-8")
    return Ground(top, issuer)


@contextmanager
def _ago(hours: int) -> Iterator[None]:
    """Let everything that signs here believe that it is earlier."""
    real = dt.datetime

    class Shifted(real):  # type: ignore[misc, valid-type]
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> dt.datetime:
            return real.now(tz) - dt.timedelta(hours=hours)

    names = ("gitchain.", "sigstore.", "jwt.")
    changed = [
        one
        for name, one in sys.modules.items()
        if name.startswith(names) and getattr(one, "datetime", 0) is real
    ]
    for one in changed:
        one.datetime = Shifted  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for one in changed:
            one.datetime = real  # type: ignore[attr-defined]


def _layout(top: Path, repo: Path) -> str:
    from gitchain.cli.main import run
    from gitchain.trust.load_profile import load_profile

    with chdir(repo):
        assert run(["-q", "init", "--local", "--name", "credit", "--no-hooks"]) == 0
        instance = load_profile("local").instance
        assert instance is not None
        (repo / ".gitchain/layout.yaml").write_text(LAYOUT.format(issuer=instance.issuer), encoding="utf-8")
        assert run(["-q", "layout", "sign", "--no-lint", "--as", WHO]) == 0
    shutil.copy(repo / ".gitchain/layout.sigstore.json", top / "credit.sigstore.json")
    return str(instance.issuer)


def _by_ada() -> list[Statement]:
    """Return whole chains of three models, and of four others all but what is wrong with them."""
    found = [one for model in ("good", "second", "revoked") for one in chain(model)]
    found += _steps("unapproved", "train", "evaluate", "release")
    found += _steps("stranger", "evaluate", "approve", "release")
    found += _steps("edited", "train", "evaluate", "release")
    model = {"models/edited": "model edited"}
    found.append(
        statement(
            "approve", model | {"metrics/edited": "better metrics"}, {"approvals/edited": "approval edited"}
        )
    )
    return found


def _steps(model: str, *names: str) -> list[Statement]:
    order = ("train", "evaluate", "approve", "release")
    return [one for name, one in zip(order, chain(model), strict=True) if name in names]

"""A repository that signs with a private instance over HTTP, whose server fails on order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitchain.sign.http import Limits
from gitchain.store.git_ref import AttestationStore
from gitchain.workspace.project import open_project
from tests.support.faulty_server import FaultServer

Gitchain = Callable[..., Any]
ADA = "ada@example.com"
QUICK = Limits(call=0.5, budget=1.0, attempts=3, first_wait=0.01, longest_wait=0.05, rest=30)


@dataclass(frozen=True)
class Site:
    """A repository that signs with a private instance over HTTP."""

    repo: Path
    server: FaultServer
    trust: Path
    gitchain: Gitchain

    @property
    def token(self) -> str:
        return self.server.instance.token(ADA)

    def attest(self, step: str = "train") -> Any:
        (self.repo / "model.bin").write_text(step)
        return self.gitchain(
            "attest", step, "-p", "model.bin", "--identity-token", self.token, "--json", cwd=self.repo
        )

    def sync(self) -> Any:
        return self.gitchain("sync", "--no-remote", "--identity-token", self.token, "--json", cwd=self.repo)

    def waiting(self) -> int:
        return len(open_project(self.repo).outbox)

    def stored(self) -> int:
        return len(set(AttestationStore.open(self.repo).names()))

    def logged(self) -> int:
        return self.server.instance.log.size() - 1  # the first entry is the instance's own

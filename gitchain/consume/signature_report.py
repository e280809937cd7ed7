"""Report the signature of a commit or tag for `gitchain verify`."""

from __future__ import annotations

from dataclasses import dataclass

from gitchain.errors import (
    GitchainError,
    ProjectError,
    StoreError,
    TransportError,
    UnknownSignerError,
)
from gitchain.evidence.canonical import Json
from gitchain.evidence.gitobject import GitObject
from gitchain.evidence.vocabulary import time_text
from gitchain.verify.verified import VerifiedObject


@dataclass(frozen=True, slots=True)
class SignatureReport:
    """Signature state of a commit or tag, and whether its signer may sign a source step of the layout."""

    object: GitObject
    verified: VerifiedObject | None
    problem: GitchainError | None
    functionaries: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """Return unsigned, verified, unread (key not in the layout), unchecked (gpg fails) or invalid."""
        if self.object.signature is None:
            return "unsigned"
        if self.verified is not None:
            return "verified"
        if isinstance(self.problem, UnknownSignerError):
            return "unread"
        return "unchecked" if isinstance(self.problem, NOT_RUN) else "invalid"

    @property
    def allowed(self) -> bool:
        """Return True if the signer is a functionary of a step of signed sources."""
        return bool(self.steps)

    def to_json(self) -> dict[str, Json]:
        """Return the report as JSON for `verify --json`."""
        verified, log = self.verified, self.verified.log if self.verified else None
        return {
            "kind": self.object.kind,
            "id": self.object.oid,
            "name": self.object.name or None,
            "digest": {"sha256": self.object.sha256},
            "signature": self.object.signature.form if self.object.signature else None,
            "state": self.state,
            "signer": verified.identity.to_json() if verified else None,
            "time": time_text(verified.time) if verified and verified.time else None,
            "log": {"origin": log.origin, "index": log.index} if log else None,
            "functionaries": self.functionaries,
            "steps": self.steps,
            "allowed": self.allowed,
            "message": str(self.problem) if self.problem and self.state != "unsigned" else None,
        }


NOT_RUN = (ProjectError, StoreError, TransportError)
"""Errors of a missing or failed gpg: the signature is then unchecked."""

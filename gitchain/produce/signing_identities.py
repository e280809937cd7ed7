"""The identity that signs: of a command, and of each statement that waits in the outbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.errors import (
    GitchainError,
    MalformedError,
    TrustError,
)
from gitchain.evidence.statement import Statement
from gitchain.produce.draft import StatementDraft
from gitchain.trust.profiles import Profile, SigningIdentity
from gitchain.workspace.project import Project

if TYPE_CHECKING:
    from gitchain.store.trees import StoreProblem


def outbox_meta(trust: str, identity: SigningIdentity) -> dict[str, str]:
    """Return the metadata of an outbox item: the trust profile and the identity to sign with."""
    signing = {"identity": identity.name, "key": identity.key}
    return {"trust": trust} | {name: value for name, value in signing.items() if value}


Waiting = Sequence[tuple[str, StatementDraft]]


def by_identity(
    project: Project, profile: Profile, identity: SigningIdentity
) -> tuple[
    list[tuple[SigningIdentity, list[tuple[str, StatementDraft]]]],
    tuple[Statement, ...],
    GitchainError | None,
]:
    """Group the waiting statements by signing identity; return also those this profile cannot sign, and why.

    Statements that another process is signing are excluded.
    """
    default = signing_identity(project, profile, identity)
    groups: dict[SigningIdentity, list[tuple[str, StatementDraft]]] = {}
    foreign: list[Statement] = []
    broken: list[StoreProblem] = []
    reason: GitchainError | None = None
    for item in project.outbox.items(broken.append):
        trust, statement = item.meta.get("trust", profile.name), Statement.parse(item.payload)
        if trust != profile.name:
            foreign.append(statement)
            reason = TrustError(
                "stated under another trust profile",
                expected=profile.name,
                got=trust,
                help=f"gitchain --trust {trust} sync",
            )
        elif project.outbox.is_free(item):
            identity = _stated_by(item.meta, profile, default)
            groups.setdefault(identity, []).append((item.id, StatementDraft(statement, item.manifests)))
    for problem in broken:
        reason = MalformedError(
            "a file in the outbox cannot be read",
            where=problem.path,
            got=problem.message,
            help="move it away, then state it again: gitchain attest",
        )
    return list(groups.items()), tuple(foreign), reason


def _stated_by(meta: Mapping[str, str], profile: Profile, default: SigningIdentity) -> SigningIdentity:
    """Return the identity to sign an item with; a given token is used unless the item has a key."""
    if "key" in meta:
        return replace(default, name=None, token=None, key=meta["key"])
    if profile.is_local and "identity" in meta:
        return replace(default, name=meta["identity"], key=None)
    return default


def signing_identity(project: Project, profile: Profile, identity: SigningIdentity) -> SigningIdentity:
    """Return the identity to sign with: the given one, else the configuration's, else (embedded instance) Git's e-mail.

    A key file in the configuration is relative to the repository.
    """
    if identity.name or identity.token or identity.key:
        return identity
    config = project.config
    if config and config.key:
        return replace(identity, key=rooted(config.key, project.root))
    if not profile.is_local:
        return identity
    from gitchain.collect.identity import user_email

    return replace(identity, name=(config.identity if config else None) or user_email(project.root))


def rooted(key: str, root: Path) -> str:
    """Return a key URI with an absolute path, since the outbox may be drained from another directory."""
    path = key.removeprefix("file:")
    return key if ":" in path else str((root / Path(path).expanduser()).absolute())

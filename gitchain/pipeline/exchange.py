"""The exchange of attestations with the one configured remote.

    exchange = begin(project, remote)                       fetch, and take over what is evidence there
    …                                                       sign what is still not attested
    done = finish(project, exchange, profile, who, now)     sign a checkpoint, push, remember what the remote holds

What a clone publishes, and where, is announced once for each remote, before its first push.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from gitchain.collect.remotes import public_url
from gitchain.errors import GitchainError, StoreError
from gitchain.pipeline.checkpointing import Signed, sign_checkpoint
from gitchain.pipeline.privacy import is_announced, remember_announced
from gitchain.pipeline.profiles import Profile
from gitchain.pipeline.project import Project
from gitchain.pipeline.record import Identity
from gitchain.pipeline.seen import remember_exchange
from gitchain.store.remote import Exchange, SyncResult, configured_remote

__all__ = ["Announce", "Exchange", "Exchanged", "SyncResult", "begin", "finish", "push_only", "rehearse"]

Announce = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What one exchange did; `forgotten` is why what the remote holds, or the announcement, was not remembered."""

    result: SyncResult
    checkpoint: Signed
    forgotten: GitchainError | None = None


def remote_of(project: Project) -> str | None:
    """Return the one remote that attestations are exchanged with, None where there is none; ProjectError."""
    return configured_remote(project.store)


def rehearse(project: Project, remote: str | None) -> Exchange | None:
    """From now on keep every change of the store in memory, and fetch from the remote into it.

    Raises as `begin`. The caller ends with `Exchange.forget`.
    """
    project.store.rehearse()
    if remote is None:
        return None
    exchange = Exchange(project.store, remote, rehearses=True)
    try:
        exchange.fetch()
    except BaseException:
        exchange.forget()
        raise
    return exchange


def begin(project: Project, remote: str) -> Exchange:
    """Fetch the remote's store and take over its evidence; raises as `Exchange` and `Exchange.fetch`."""
    exchange = Exchange(project.store, remote)
    exchange.fetch()
    return exchange


def finish(
    project: Project,
    exchange: Exchange,
    profile: Profile | None,
    who: Identity,
    now: datetime,
    *,
    announce: Announce,
    prune: bool = False,
) -> Exchanged:
    """Sign a checkpoint of what is here, push what the remote lacks, and remember what it holds.

    Without a profile no checkpoint is signed.
    Raises as `Exchange.push`, and RollbackError where another clone of this user has seen more at a remote: then both
    stores are united all the same.
    """
    signed = sign_checkpoint(project, profile, who, now) if profile else Signed()
    forgotten = _announce(project, exchange, announce)
    result = exchange.push(prune=prune)
    try:
        if result.tip is not None:
            remember_exchange(project, result.tip, now)
    except StoreError as error:
        forgotten = error
    return Exchanged(result, signed, forgotten)


def push_only(
    project: Project, remote: str, profile: Profile, who: Identity, now: datetime, announce: Announce
) -> Exchanged:
    """Sign a checkpoint and push what the remote lacks; take nothing over from it. Raises as `Exchange.push`."""
    signed = sign_checkpoint(project, profile, who, now)
    exchange = Exchange(project.store, remote, imports=False)
    exchange.fetch()
    forgotten = _announce(project, exchange, announce)
    return Exchanged(exchange.push(), signed, forgotten)


def remote_address(project: Project, remote: str) -> str:
    """Return where a push to the remote goes, without credentials."""
    done = project.store.git().run("remote", "get-url", "--push", "--end-of-options", remote)
    url = done.stdout.decode("utf-8", "replace").splitlines()[0]
    return public_url(url) or url


def _announce(project: Project, exchange: Exchange, announce: Announce) -> GitchainError | None:
    """Say what is about to be published, unless that was said of this remote before or there is nothing to push."""
    address = remote_address(project, exchange.remote)
    if is_announced(address):
        return None
    count = exchange.lacking()
    if not count:
        return None
    announce(
        f"first push to {exchange.remote} ({address}): publishes {count} attestations of this repository in "
        f"{project.store.ref}. Everyone who can read that remote can read the signers, commits, file names, "
        "parameters and commands in them. To keep them here: gitchain sync --no-remote"
    )
    try:
        remember_announced(address)
    except GitchainError as error:
        return error
    return None

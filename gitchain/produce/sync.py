"""Exchange attestations with the configured remote.

exchange = begin(project, remote)                       fetch, and add its evidence to the store
…                                                       sign waiting statements
done = finish(project, exchange, profile, identity, now)     sign a checkpoint, push, store the remote's state

The content and destination of a push are announced once for each remote, before the first push.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from gitchain.collect.remotes import public_url
from gitchain.errors import GitchainError, LimitError, StoreError
from gitchain.produce.checkpoint import CheckpointResult, sign_checkpoint
from gitchain.produce.sign_and_store import SigningIdentity
from gitchain.sources.rollback_protection import lacks_exchanged, remember_exchange
from gitchain.sources.seen_store import forget_unread, remember_unread
from gitchain.store.remote import RemoteExchange, SyncResult
from gitchain.store.remote_names import configured_remote
from gitchain.trust.profiles import Profile
from gitchain.trust.publication_consent import is_announced, remember_announced
from gitchain.workspace.project import Project

__all__ = [
    "Announce",
    "RemoteExchange",
    "SyncOutcome",
    "SyncResult",
    "begin",
    "finish",
    "push_only",
    "rehearse",
]

Announce = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class SyncOutcome:
    """Result of an exchange; `forgotten` is the error if the remote's state or the announcement was not stored."""

    result: SyncResult
    checkpoint: CheckpointResult
    forgotten: GitchainError | None = None


def remote_of(project: Project) -> str | None:
    """Return the configured remote for attestations, or None. Raises ProjectError."""
    return configured_remote(project.store)


def rehearse(project: Project, remote: str | None) -> RemoteExchange | None:
    """Start a dry run: keep changes of the store in memory, and fetch from the remote into it.

    Raises the errors of `begin`. The caller ends it with `Exchange.forget`.
    """
    project.store.rehearse()
    if remote is None:
        return None
    exchange = RemoteExchange(project.store, remote, rehearses=True)
    try:
        exchange.fetch()
    except BaseException:
        exchange.forget()
        raise
    return exchange


def begin(project: Project, remote: str) -> RemoteExchange:
    """Fetch the remote's store and add its evidence. Raises the errors of `RemoteExchange` and `RemoteExchange.fetch`.

    A failure is recorded, and shown by later verifications.
    """
    exchange = RemoteExchange(project.store, remote)
    try:
        exchange.fetch()
    except GitchainError as error:
        remember_unread(project, remote, error)
        raise
    if exchange.unread:
        remember_unread(project, remote, unread_error(remote, exchange.unread))
    else:
        forget_unread(project)
    return exchange


def finish(
    project: Project,
    exchange: RemoteExchange,
    profile: Profile | None,
    identity: SigningIdentity,
    now: datetime,
    *,
    announce: Announce,
    prune: bool = False,
) -> SyncOutcome:
    """Sign a checkpoint of the store, push the attestations that the remote lacks, and store the remote's state.

    No checkpoint is signed without a profile. Raises the errors of `Exchange.push`, and RollbackError if another
    clone of this user saw more at a remote; both stores are merged even then.
    """
    signed = sign_checkpoint(project, profile, identity, now) if profile else CheckpointResult()
    forgotten = _announce(project, exchange, announce)
    result = exchange.push(prune=prune)
    try:
        if result.tip is not None and lacks_exchanged(project, result.tip):
            exchange.fetch()  # what another clone pushed meanwhile
            result = replace(again := exchange.push(prune=prune), pushed=result.pushed + again.pushed)
        if result.tip is not None:
            remember_exchange(project, result.tip, now)
    except StoreError as error:
        forgotten = error
    return SyncOutcome(result, signed, forgotten)


def push_only(
    project: Project,
    remote: str,
    profile: Profile,
    identity: SigningIdentity,
    now: datetime,
    announce: Announce,
) -> SyncOutcome:
    """Sign a checkpoint and push the missing attestations, without fetching. Raises the errors of `Exchange.push`."""
    signed = sign_checkpoint(project, profile, identity, now)
    exchange = RemoteExchange(project.store, remote, imports=False)
    exchange.fetch()
    forgotten = _announce(project, exchange, announce)
    return SyncOutcome(exchange.push(), signed, forgotten)


def unread_error(remote: str, count: int) -> LimitError:
    """Return the error for entries of a remote that exceeded the limits of one exchange."""
    return LimitError(
        "the remote's store holds more than is read in one exchange",
        where=remote,
        got=f"{count} entries that were not read",
        help="gitchain sync   again reads more; its owner can remove what is no evidence",
    )


def remote_address(project: Project, remote: str) -> str:
    """Return the push address of the remote, without credentials."""
    done = project.store.git().run("remote", "get-url", "--push", "--end-of-options", remote)
    url = done.stdout.decode("utf-8", "replace").splitlines()[0]
    return public_url(url) or url


def _announce(project: Project, exchange: RemoteExchange, announce: Announce) -> GitchainError | None:
    """Announce the attestations to publish, unless this remote was announced or there is nothing to push."""
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

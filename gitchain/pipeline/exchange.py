"""The exchange of attestations with a remote: a checkpoint is signed before, what the remote holds is remembered after."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gitchain.errors import StoreError
from gitchain.pipeline.checkpointing import Signed, sign_checkpoint
from gitchain.pipeline.profiles import Profile
from gitchain.pipeline.project import Project
from gitchain.pipeline.record import Identity
from gitchain.pipeline.seen import remember_exchange
from gitchain.store.remote import SyncResult, sync


@dataclass(frozen=True, slots=True)
class Exchanged:
    """What one exchange did; `forgotten` is why what the remote holds could not be remembered."""

    result: SyncResult
    checkpoint: Signed
    forgotten: StoreError | None = None


def exchange(project: Project, remote: str, profile: Profile, who: Identity, now: datetime) -> Exchanged:
    """Sign a checkpoint of what is here, make the store and the remote's hold the same, and remember that.

    Raises what `gitchain.store.remote.sync` raises, and RollbackError where another clone of this user has seen more
    at a remote: then both stores are united all the same.
    """
    signed = sign_checkpoint(project, profile, who, now)
    result = sync(project.store, remote)
    try:
        if result.tip is not None:
            remember_exchange(project, result.tip, now)
    except StoreError as error:
        return Exchanged(result, signed, error)
    return Exchanged(result, signed)

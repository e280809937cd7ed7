"""Check the age of the newest signed checkpoint of the store, for a layout with `freshness`.

A store that a remote holds back, for example at a state before a revocation, has only old checkpoints. A checkpoint
counts if a functionary or revoker of the layout signed it, it is readable, neither it nor its signer is revoked, and it
is not ahead of the clock.

Does NOT check that the store has what a checkpoint covers: `gitchain.verify.checkpoints` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.store_checkpoint import read_checkpoint
from gitchain.layout.model import Layout
from gitchain.verify.findings import Finding, FindingCode
from gitchain.verify.revocations import Revocations, is_signed_by
from gitchain.verify.verified import VerifiedStatement, is_early


def check_freshness(
    layout: Layout,
    revocations: Sequence[Revocations],
    statements: Iterable[VerifiedStatement],
    now: datetime,
) -> Finding | None:
    """Return a finding if the newest checkpoint is older than the layout allows, or there is none; else None."""
    if layout.freshness is None:
        return None
    newest = newest_checkpoint(layout, revocations, statements, now)
    oldest = now - layout.freshness
    if newest is not None and newest >= oldest:
        return None
    return Finding(
        FindingCode.NOT_FRESH,
        f"the newest signed checkpoint of the store is older than layout {layout.name} allows"
        if newest
        else f"the store has no signed checkpoint that counts for layout {layout.name}",
        expected=f"a checkpoint signed not before {oldest.isoformat()}",
        got=newest.isoformat() if newest else "none",
        help="gitchain sync   by a functionary signs a checkpoint; by anybody else it fetches the newest",
    )


def newest_checkpoint(
    layout: Layout,
    revocations: Sequence[Revocations],
    statements: Iterable[VerifiedStatement],
    now: datetime,
) -> datetime | None:
    """Return the proven time of the newest checkpoint that counts, or None."""
    signed = (
        one
        for one in statements
        if is_signed_by(layout.functionaries, one)
        and not is_early(one, now)
        and not any(by.statement(one) or by.signer(one.identity, one.time) for by in revocations)
    )
    return max(_times_of_checkpoints(signed), default=None)


def _times_of_checkpoints(statements: Iterable[VerifiedStatement]) -> Iterator[datetime]:
    """Yield the proven time of each readable checkpoint statement."""
    for one in statements:
        with suppress(MalformedError, LimitError):
            read_checkpoint(one.statement)
            yield one.time

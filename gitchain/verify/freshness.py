"""How old the newest signed checkpoint of the store may be: what the layout's `freshness` asks for.

A store that is held back, such as one that a remote serves from before a revocation, holds only old checkpoints. A
checkpoint counts here if a functionary or revoker of the layout signed it, it can be read, neither it nor its signer is
revoked, and it is not ahead of the clock.

Does NOT check that the store holds what a checkpoint covers: `gitchain.verify.checkpoints` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.inventory import read_checkpoint
from gitchain.evidence.vocabulary import CHECKPOINT
from gitchain.layout.model import Layout
from gitchain.verify.clock import is_early
from gitchain.verify.findings import Code, Finding
from gitchain.verify.revocations import Revocations, is_signed_by
from gitchain.verify.verified import VerifiedStatement


def check_freshness(
    layout: Layout,
    revocations: Sequence[Revocations],
    statements: Iterable[VerifiedStatement],
    now: datetime,
) -> Finding | None:
    """Return that the newest checkpoint is older than the layout allows, or that there is none; None if it is not."""
    if layout.freshness is None:
        return None
    newest = newest_checkpoint(layout, revocations, statements, now)
    oldest = now - layout.freshness
    if newest is not None and newest >= oldest:
        return None
    return Finding(
        Code.NOT_FRESH,
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
    times = (
        one.time
        for one in statements
        if one.statement.predicate_type == CHECKPOINT
        and is_signed_by(layout.functionaries, one)
        and not is_early(one, now)
        and not any(by.statement(one) or by.signer(one.identity, one.time) for by in revocations)
        and _is_readable(one)
    )
    return max(times, default=None)


def _is_readable(one: VerifiedStatement) -> bool:
    try:
        read_checkpoint(one.statement)
    except (MalformedError, LimitError):
        return False
    return True

"""Compare proven times with the verifier's clock: evidence from the future does not count.

    counts = not is_ahead(statement.time, now)

Only negative evidence counts before its time (docs/negative-evidence.md).
"""

from __future__ import annotations

from datetime import datetime, timedelta

from gitchain.errors import SignatureError
from gitchain.verify.verified import LogRef, VerifiedStatement

MAX_CLOCK_SKEW = timedelta(minutes=5)
"""How far a proven time may be ahead of the clock. Timestamps have whole seconds, and clocks differ."""


def is_ahead(time: datetime | None, now: datetime) -> bool:
    """Return whether a proven time is ahead of the verifier's clock. An unproven time is not ahead."""
    return time is not None and time > now + MAX_CLOCK_SKEW


def is_early(statement: VerifiedStatement, now: datetime) -> bool:
    """Return whether the statement, or the cosignatures of its log entry, are ahead of the verifier's clock.

    Missing cosignatures that a witness policy requires are ahead of every clock.
    """
    return is_ahead(statement.time, now) or is_ahead(statement.log.cosigned, now)


def check_time(time: datetime | None, log: LogRef | None, now: datetime) -> None:
    """Raise SignatureError if a signature, or the cosignatures of its log entry, are ahead of the verifier's clock."""
    for found in (time, log.cosigned if log else None):
        if found is not None and is_ahead(found, now):
            raise SignatureError(
                "signed in the future",
                expected=f"not after {now.isoformat()}",
                got=found.isoformat(),
                help="check the clock of this machine: gitchain doctor",
            )

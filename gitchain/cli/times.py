"""Read times on the command line."""

from __future__ import annotations

from datetime import UTC, datetime

import click


def moment(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    """Return a time in ISO 8601; without a zone it is UTC."""
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value)
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        found.astimezone(UTC)
    except (ValueError, OverflowError) as error:  # such as the year 1 in a zone east of Greenwich
        message = f"{value!r} is no time: expected 2026-11-30 or 2026-11-30T12:00:00Z"
        raise click.BadParameter(message, ctx, param) from error
    return found

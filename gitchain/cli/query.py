"""`gitchain query`: questions to the index of many sources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from gitchain.cli.index import database_option
from gitchain.cli.main import global_options
from gitchain.cli.output import HelpGroup, Options, escape, table
from gitchain.cli.signing import not_empty
from gitchain.cli.times import moment
from gitchain.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from gitchain.fleet.answers import Answer, AnswerRow
    from gitchain.fleet.database import Database

QUERY_SCHEMA = "https://gitchain.dev/query/v1"
MOST = 10_000


@click.group(name="query", cls=HelpGroup)
@global_options
def command() -> None:
    """Ask the index of many sources: what is deployed, who signed, which licences, what a revocation affects.

    Answers are hints: the index may be old, incomplete or changed by others. Each row states whether its bundle was
    verified when it was indexed, and --json has the commands that prove it now. `gitchain index` makes the index.

    \b
    Examples:
      gitchain index .
      gitchain query deployed data.csv
    """


def _options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that every question has."""
    for option in (
        click.option(
            "--skip",
            type=click.IntRange(0, 1 << 31),
            default=0,
            metavar="N",
            help="Leave out the first N rows.",
        ),
        click.option(
            "--limit",
            type=click.IntRange(1, MOST),
            default=100,
            show_default=True,
            metavar="N",
            help="Show at most N rows.",
        ),
        database_option,
    ):
        function = option(function)
    return global_options(click.pass_obj(function))


@command.command(name="deployed")
@click.argument("data", metavar="DATA", callback=not_empty)
@_options
def deployed(options: Options, data: str, database: str | None, limit: int, skip: int) -> ExitCode:
    """List where artifacts are deployed that descend from DATA: sha256:… or an attested name.

    \b
    Examples:
      gitchain query deployed data.csv
    """
    from gitchain.fleet.answers import Page
    from gitchain.fleet.questions import deployed as ask

    return _answer(options, database, lambda opened: ask(opened, data, Page(limit, skip)))


@command.command(name="signed")
@click.argument("identity", metavar="IDENTITY", callback=not_empty)
@click.option("--issuer", metavar="URL", callback=not_empty, help="Only with certificates of this issuer.")
@click.option(
    "--from", "start", metavar="TIME", callback=moment, required=True, help="Signed at this time or later."
)
@click.option("--to", "end", metavar="TIME", callback=moment, help="Signed before this time [default: now].")
@_options
def signed(
    options: Options,
    identity: str,
    issuer: str | None,
    start: datetime,
    end: datetime | None,
    database: str | None,
    limit: int,
    skip: int,
) -> ExitCode:
    """List what IDENTITY signed between two times, by the time that the log or a timestamp proves.

    \b
    Examples:
      gitchain query signed ada@example.com --from 2026-11-01 --to 2026-12-01
    """
    from datetime import UTC, timedelta

    from gitchain.fleet.answers import Page
    from gitchain.fleet.questions import Interval
    from gitchain.fleet.questions import signed as ask

    interval = Interval(start, end or datetime.now(UTC) + timedelta(seconds=1))  # this second too
    if interval.end <= interval.start:
        raise UsageError("--to is not after --from", help="give the earlier time as --from")
    return _answer(
        options, database, lambda opened: ask(opened, identity, issuer, interval, Page(limit, skip))
    )


@command.command(name="licensed")
@click.argument("licence", metavar="LICENCE", callback=not_empty)
@_options
def licensed(options: Options, licence: str, database: str | None, limit: int, skip: int) -> ExitCode:
    """List models made of data under LICENCE, an SPDX expression, and those whose data has an unknown licence.

    \b
    Examples:
      gitchain query licensed CC-BY-NC-4.0
    """
    from gitchain.fleet.answers import Page
    from gitchain.fleet.questions import licensed as ask

    return _answer(options, database, lambda opened: ask(opened, licence, Page(limit, skip)))


@command.command(name="affected")
@click.argument("attestation", metavar="[ID]", required=False, callback=not_empty)
@click.option(
    "--artifact", metavar="DATA", callback=not_empty, help="Of this artifact: sha256:… or an attested name."
)
@click.option("--signer", metavar="IDENTITY", callback=not_empty, help="Of everything that IDENTITY signed.")
@click.option("--issuer", metavar="URL", callback=not_empty, help="Issuer of --signer.")
@click.option(
    "--since", metavar="TIME", callback=moment, help="Of what --signer signed at this time or later."
)
@_options
def affected(
    options: Options,
    attestation: str | None,
    artifact: str | None,
    signer: str | None,
    issuer: str | None,
    since: datetime | None,
    database: str | None,
    limit: int,
    skip: int,
) -> ExitCode:
    """List what a revocation of an attestation, an artifact or a signer affects: deployments and descendants.

    For the ID of a revocation, lists what is affected by what it revokes.

    \b
    Examples:
      gitchain query affected 4c5478ab616a
      gitchain query affected --artifact data.csv
      gitchain query affected --signer ada@example.com --since 2026-11-01
    """
    from gitchain.fleet.affected import Revoked
    from gitchain.fleet.affected import affected as ask
    from gitchain.fleet.answers import Page

    if sum(one is not None for one in (attestation, artifact, signer)) != 1:
        raise UsageError("name one thing that is revoked", expected="an ID, --artifact or --signer")
    if signer is None and (issuer or since):
        raise UsageError("--issuer and --since belong to --signer", help="add --signer IDENTITY")
    revoked = Revoked(attestation or "", signer or "", issuer or "", since, artifact or "")
    return _answer(options, database, lambda opened: ask(opened, revoked, Page(limit, skip)))


def _answer(options: Options, database: str | None, ask: Callable[[Database], Answer]) -> ExitCode:
    """Print the answer. The exit code is 3 if it has no row."""
    from gitchain.fleet.answers import HINT
    from gitchain.fleet.database import open_database

    with open_database(database, write=False) as opened:
        answer = ask(opened)
    options.document({"schema": QUERY_SCHEMA, **answer.to_json()})
    if answer.rows:
        header, wrapped = _COLUMNS[str(answer.question["kind"])]
        rows = [_cells(row, header) for row in answer.rows]
        options.page(table(rows, header, options.width, wrapped=wrapped))
        for line in answer.rows[0].prove():
            options.talk(f"prove     {escape(line)}   (of the first row; --json has those of each)")
        trusts = sorted({row.trust for row in answer.rows if row.trust})
        if trusts:
            options.talk(f"trust     verified with {escape(', '.join(trusts))}")
    elif answer.total:
        options.talk(f"no row after the first {answer.skipped}: there are {answer.total}")
    else:
        options.talk("no row in the index: that proves nothing about what is not indexed")
    if answer.is_cut:
        of = "" if answer.total is None else f" of {answer.total}"
        options.talk(
            f"limit     {len(answer.rows)} rows{of}; the next: --skip {answer.skipped + len(answer.rows)}"
        )
    for note in answer.notes:
        options.talk(f"note      {escape(note)}")
    for name, since, reason in answer.stale:
        when = f" since {escape(since)}" if since else ""
        options.talk(f"stale     {escape(name)}{when}: {escape(reason)}")
    options.talk(f"hint      {HINT}")
    return ExitCode.OK if answer.rows else ExitCode.NOTHING


_WRAPPED = {"model", "name", "where", "signer", "licence", "revoked by", "type", "when indexed"}
_COLUMNS: dict[str, tuple[tuple[str, ...], set[str]]] = {
    kind: (header, _WRAPPED)
    for kind, header in {
        "deployed": (
            "model",
            "where",
            "since",
            "until",
            "signer",
            "when indexed",
            "revoked by",
            "sha256",
            "attestation",
        ),
        "signed": ("time (UTC)", "type", "step", "issuer", "when indexed", "revoked by", "attestation"),
        "licensed": (
            "name",
            "licence",
            "match",
            "deployed",
            "when indexed",
            "revoked by",
            "sha256",
            "attestation",
        ),
        "affected": (
            "kind",
            "name",
            "where",
            "since",
            "until",
            "signer",
            "when indexed",
            "sha256",
            "attestation",
        ),
    }.items()
}


def _revoked_by(row: AnswerRow) -> str:
    """Return the first verified revocations, and the numbers of the others."""
    parts = [one[:12] for one in row.revoked[:3]]
    if len(row.revoked) > len(parts):
        parts.append(f"{len(row.revoked) - len(parts)} more")
    if row.unverified_revocations:
        parts.append(f"{len(row.unverified_revocations)} not verified")
    return ", ".join(parts)


def _cells(row: AnswerRow, header: Sequence[str]) -> list[str]:
    """Return the cells of a row below these headings."""
    fields = row.fields
    place = fields.get("place") or {}
    name = fields.get("name") or fields.get("model")
    values = {
        **{key: fields.get(key) for key in ("kind", "licence", "match", "since", "step", "type")},
        "name": name,
        "model": name,
        "where": " / ".join(value for key, value in place.items() if key != "uid"),
        "until": fields.get("until") or ("now" if place else ""),
        "deployed": "yes" if fields.get("deployed") else "no",
        "signer": row.signer,
        "issuer": row.issuer,
        "when indexed": "verified" if row.verified else "not verified",
        "revoked by": _revoked_by(row),
        "sha256": row.digest[:12],
        "attestation": row.attestation[:12],
        "time (UTC)": row.to_json()["logged"],
    }
    return [str(values[key] or "-") for key in header]

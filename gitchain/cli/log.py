"""`gitchain log`: print the history of a model: events, signers, times and deployments."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import click

from gitchain.cli.key_options import keys_option, public_keys
from gitchain.cli.main import global_options
from gitchain.cli.output import Options, escape, table
from gitchain.cli.signing import not_empty
from gitchain.cli.times import moment
from gitchain.errors import ExitCode

if TYPE_CHECKING:
    from gitchain.consume.history import History

SHOWN = 3  # names on one line; --json has them all
WHERE = ("environment", "cluster", "namespace", "workload")
GIT_WORDS = ("tag ", "commit ")
LOG_SCHEMA = "https://gitchain.dev/log/v1"


def _patterns(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse an empty pattern: an unset variable in a script must not hide everything."""
    for value in values:
        not_empty(ctx, param, value)
    return values


@click.command(name="log")
@click.argument("target", required=False)
@click.option(
    "--layout-name",
    metavar="NAME",
    callback=not_empty,
    help="Whose revocations count: those of this layout [default: the one that is pinned].",
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="With a tag or commit: also the chains of its other artifacts, not only of the models that the layout serves.",
)
@click.option(
    "--step",
    "steps",
    multiple=True,
    metavar="PATTERN",
    callback=_patterns,
    help="Only steps that match this pattern, as in column step (repeatable).",
)
@click.option(
    "--signer",
    "signers",
    multiple=True,
    metavar="PATTERN",
    callback=_patterns,
    help="Only signers that match this pattern, such as '*@example.com' (repeatable).",
)
@click.option(
    "--since",
    metavar="TIME",
    callback=moment,
    help="Only what was signed at this time or later, such as 2026-11-30 (UTC).",
)
@keys_option
@global_options
@click.pass_obj
def command(
    options: Options,
    target: str | None,
    layout_name: str | None,
    everything: bool,
    steps: tuple[str, ...],
    signers: tuple[str, ...],
    since: datetime | None,
    key_files: tuple[Path, ...],
) -> ExitCode:
    """Show the verified attestations on TARGET's chain, oldest first [default: all of this repository].

    Marks revoked artifacts and every model derived from them. The history shows what was signed; `gitchain
    verify` checks it against a layout.

    \b
    Examples:
      gitchain log
      gitchain log model.pkl
      gitchain log v1.0 --step train --since 2026-01-01
    """
    from gitchain.consume.history import KEY_HELP, history, lacks_key
    from gitchain.consume.history_rows import HistoryFilter
    from gitchain.workspace.project import open_project

    project = open_project(options.directory, options.hashing, changes=False)
    found = history(
        project,
        target,
        options.trust,
        offline=options.offline,
        layout_name=layout_name,
        keys=tuple(public_keys(key_files).values()),
        everything=everything,
    )
    shown = list(filter(HistoryFilter(steps, signers, since).matches, found.events))
    events = [event.to_json() for event in shown]
    refused = [
        {"step": one.step or "", "id": one.attestation_id, "reason": one.reason}
        for one in found.evidence.refused
    ]
    options.document(
        {
            "schema": LOG_SCHEMA,
            "target": target,
            "trust": found.profile.name,
            "events": events,
            "refused": refused,
            "revoked": [one.to_json() for one in found.tainted],
        }
    )
    _print_events(options, [(event.name, row) for event, row in zip(shown, events, strict=True)])
    if not shown:
        options.talk(f"no event matches; {len(found.events)} are not shown")
    _print_revoked(options, found)
    for warning in found.warnings:
        options.talk(f"warning   {escape(warning)}")
    _print_refused(options, refused)
    if lacks_key(found.evidence):
        options.talk(f"  help      {KEY_HELP}")
    return ExitCode.OK


def _print_events(options: Options, events: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Print one row for each pair of an event's name and document."""
    rows = [
        (
            event["time"][:19].replace("T", " "),
            name,
            event["evidence"] or "-",
            event["signer"],
            _what(event) + ("  REVOKED" if "revoked" in event else ""),
            event["id"][:12],
        )
        for name, event in events
    ]
    header = ("time (UTC)", "step", "evidence", "signer", "what", "id")
    options.page(table(rows, header, options.width, wrapped={"step", "signer", "what"}))


def _print_refused(options: Options, refused: Sequence[dict[str, str]]) -> None:
    """Print each reason once for all attestations of its step: an attacker can add thousands of forged ones."""
    groups: dict[tuple[str, str], list[str]] = {}
    for one in refused:
        groups.setdefault((one["step"], one["reason"]), []).append(one["id"][:12])
    for (step, reason), ids in groups.items():
        if len(ids) == 1:
            options.talk(f"not counted: {escape(step or ids[0] or 'a stored object')}: {escape(reason)}")
        else:
            options.talk(
                f"not counted: {escape(step or 'no step')}: {escape(reason)} ({len(ids)} attestations)"
            )


def _print_revoked(options: Options, found: History) -> None:
    """Print each revocation with its signer, and the models that verified statements derive from a revoked artifact."""
    for event in found.events:
        for what, one in event.revoked:
            if what != "artifact":
                options.data(f"revoked   {what} of {event.verified.attestation_id[:12]}: {escape(str(one))}")
    for tainted in found.tainted:
        options.data(f"revoked   artifact sha256:{tainted.sha256}: {escape(str(tainted.revoked))}")
        served = [one for one in tainted.made if one.served]
        for made in served or tainted.made:
            options.data(
                f"  claimed   {escape(str(made.name))} sha256:{made.sha256} was made of it, "
                f"by step {escape(str(made.step))} ({made.id[:12]})"
            )


def _check(check: dict[str, object]) -> str:
    """Return a check as text: the result, the codes, the layout, and where the model runs."""
    place = " / ".join(str(check[part]) for part in WHERE if isinstance(check.get(part), str))
    layout = f" under layout {check['layout']}" if "layout" in check else ""
    if check.get("result") == "PASSED":
        return f"acceptable again in {place}{layout}"
    return f"not acceptable in {place}: {check.get('codes', 'no code')}{layout}"


def _what(event: dict[str, object]) -> str:
    check = event.get("check")
    if isinstance(check, dict):
        return _check(check)
    for key, word, by in (("deployment", "to", "deployedBy"), ("retirement", "left", "retiredBy")):
        place = event.get(key)
        if isinstance(place, dict):
            parts = [str(place[part]) for part in WHERE if isinstance(place.get(part), str)]
            who = f", by {place[by]}" if isinstance(place.get(by), str) else ""
            told = f", reported by {place['reportedBy']}" if "reportedBy" in place else ""
            return f"{word} {' / '.join(parts)}{who}{told}"
    subject = event["subject"]
    assert isinstance(subject, list)  # noqa: S101 - Event.to_json makes it so
    names = sorted(
        (_short(str(item["name"])) for item in subject), key=lambda name: not name.startswith(GIT_WORDS)
    )
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _short(name: str) -> str:
    """Show Git objects as people name them."""
    if name.startswith("git:commit:"):
        return f"commit {name.removeprefix('git:commit:')[:12]}"
    return f"tag {unquote(name.removeprefix('git:tag:'))}" if name.startswith("git:tag:") else name

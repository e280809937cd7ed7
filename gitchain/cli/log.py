"""`gitchain log`: what happened to a model, by whom, when, and where it went."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import Options, escape, table
from gitchain.cli.signing import not_empty
from gitchain.errors import ExitCode

if TYPE_CHECKING:
    from gitchain.pipeline.history import History

SHOWN = 3  # names on one line; --json has them all
WHERE = ("environment", "cluster", "namespace", "workload")
GIT_WORDS = ("tag ", "commit ")
LOG_SCHEMA = "https://gitchain.dev/log/v1"


@click.command(name="log")
@click.argument("target", required=False)
@click.option(
    "--layout-name",
    metavar="NAME",
    callback=not_empty,
    help="Whose revocations count: those of this layout [default: the one that is pinned].",
)
@global_options
@click.pass_obj
def command(options: Options, target: str | None, layout_name: str | None) -> ExitCode:
    """Show the verified attestations on TARGET's chain, oldest first [default: all of this repository].

    What is revoked is marked, with every model that verified statements claim was made of a revoked artifact.
    The history says what was signed, not that it satisfies a layout: `gitchain verify` says that.
    """
    from gitchain.pipeline.history import history
    from gitchain.pipeline.project import open_project

    project = open_project(options.directory, options.hashing, changes=False)
    found = history(project, target, options.trust, offline=options.offline, layout_name=layout_name)
    events = [event.to_json() for event in found.events]
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
    rows = [
        (
            event["time"][:19].replace("T", " "),
            event["step"] or event["predicateType"].rsplit("/", 2)[-2],
            event["evidence"] or "-",
            event["signer"],
            _what(event) + ("  REVOKED" if "revoked" in event else ""),
            event["id"][:12],
        )
        for event in events
    ]
    options.data(table(rows, ("time (UTC)", "step", "evidence", "signer", "what", "id")))
    _print_revoked(options, found)
    for warning in found.warnings:
        options.talk(f"warning   {escape(warning)}")
    for one in refused:
        options.talk(
            f"not counted: {escape(one['step'] or one['id'][:12] or 'a stored object')}: {escape(one['reason'])}"
        )
    return ExitCode.OK


def _print_revoked(options: Options, found: History) -> None:
    """Say who took back what, and which models verified statements claim were made of it."""
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


def _what(event: dict[str, object]) -> str:
    for key, word, by in (("deployment", "to", "deployedBy"), ("retirement", "left", "retiredBy")):
        place = event.get(key)
        if isinstance(place, dict):
            parts = [str(place[part]) for part in WHERE if isinstance(place.get(part), str)]
            who = f", by {place[by]}" if isinstance(place.get(by), str) else ""
            return f"{word} {' / '.join(parts)}{who}"
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
    return f"tag {name.removeprefix('git:tag:')}" if name.startswith("git:tag:") else name

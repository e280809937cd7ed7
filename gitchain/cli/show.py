"""`gitchain show`: one attestation, verified or marked as not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitchain.cli.key_options import keys_option, public_keys
from gitchain.cli.main import global_options
from gitchain.cli.output import Options, escape
from gitchain.errors import ExitCode, NoRepositoryError
from gitchain.evidence.dsse import AttestationId

if TYPE_CHECKING:
    from gitchain.sources.interface import EvidenceSource, Snapshot
    from gitchain.workspace.project import Project

SHOW_SCHEMA = "https://gitchain.dev/show/v1"


@click.command(name="show")
@click.argument("attestation", metavar="ID")
@click.option(
    "--evidence",
    "places",
    multiple=True,
    metavar="SOURCE",
    help="Read evidence from here too: a directory, an archive, git+https://… or oci://… (repeatable).",
)
@keys_option
@global_options
@click.pass_obj
def command(
    options: Options, attestation: AttestationId, places: tuple[str, ...], key_files: tuple[Path, ...]
) -> ExitCode:
    """Print the attestation whose id starts with ID. Exits 1, after printing it, if it does not verify.

    Outside of a repository, name --evidence and --trust.

    \b
    Examples:
      gitchain show 4c5478ab616a
      gitchain show 4c5478ab616a --evidence git+https://git.example.com/team/model.git --trust public
    """
    from gitchain.consume.history import find_attestation
    from gitchain.consume.history_rows import HistoryEvent

    project, sources = _places(options, places)
    statement, verified, reason = find_attestation(
        project,
        attestation,
        options.trust,
        offline=options.offline,
        keys=tuple(public_keys(key_files).values()),
        snapshots=tuple(_read(source) for source in sources),
    )
    document = json.loads(statement.payload)
    options.document(
        {
            "schema": SHOW_SCHEMA,
            "verified": verified is not None,
            "reason": reason or None,
            "signature": HistoryEvent(verified).to_json() if verified else None,
            "statement": document,
        }
    )
    if verified:
        who, when = escape(str(verified.identity)), verified.time.isoformat()
        options.data(f"verified  signed by {who} at {when}")
        options.data(f"logged    {escape(verified.log.origin)} entry {verified.log.index}")
    else:
        options.data(options.style(f"UNVERIFIED  {escape(reason)}", fg="red"))
    options.data(json.dumps(document, indent=2, ensure_ascii=True))
    return ExitCode.OK if verified else ExitCode.FAILED


def _places(options: Options, places: Sequence[str]) -> tuple[Project | None, tuple[EvidenceSource, ...]]:
    """Return the repository, None outside of one if --evidence and --trust are given, and the sources."""
    from gitchain.sources.open_source import open_source
    from gitchain.workspace.project import open_project

    sources = tuple(open_source(place, offline=options.offline) for place in places)
    try:
        return open_project(options.directory, changes=False), sources
    except NoRepositoryError as error:
        if not sources or options.trust is None:
            error.help = (
                "work in a clone (cd, or -C DIR); without one, add --evidence SOURCE --trust FILE; "
                "git init makes a new repository"
            )
            raise
        return None, sources


def _read(source: EvidenceSource) -> Snapshot:
    """Return the content of a source. Raises its errors."""
    snapshot = source.read()
    source.check(snapshot)
    return snapshot

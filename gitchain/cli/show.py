"""`gitchain show`: one attestation, verified or marked as not."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gitchain.cli.key_options import keys_option, public_keys
from gitchain.cli.main import global_options
from gitchain.cli.output import Options, escape
from gitchain.errors import ExitCode
from gitchain.evidence.dsse import AttestationId

SHOW_SCHEMA = "https://gitchain.dev/show/v1"


@click.command(name="show")
@click.argument("attestation", metavar="ID")
@keys_option
@global_options
@click.pass_obj
def command(options: Options, attestation: AttestationId, key_files: tuple[Path, ...]) -> ExitCode:
    """Print the attestation whose id starts with ID. Exits 1, after printing it, if it does not verify.

    \b
    Examples:
      gitchain show 4c5478ab616a
    """
    from gitchain.consume.history import find_attestation
    from gitchain.consume.history_rows import HistoryEvent
    from gitchain.workspace.project import open_project

    project = open_project(options.directory, changes=False)
    statement, verified, reason = find_attestation(
        project,
        attestation,
        options.trust,
        offline=options.offline,
        keys=tuple(public_keys(key_files).values()),
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

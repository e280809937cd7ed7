"""`gitchain import`: store the bundles of other tools."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitchain.cli.key_options import keys_option, public_keys
from gitchain.cli.main import global_options
from gitchain.cli.output import Options, escape
from gitchain.errors import ExitCode

if TYPE_CHECKING:
    from gitchain.produce.import_evidence import ImportedBundle, ImportResult

IMPORTED_SCHEMA = "https://gitchain.dev/imported/v1"
SHOWN = 50  # bundles that are printed; --json has all
NAMES = 3  # subjects that are printed for each bundle


@click.command(name="import")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option("--dry-run", is_flag=True, help="Verify and show the bundles; store nothing.")
@keys_option
@global_options
@click.pass_obj
def command(
    options: Options, sources: tuple[str, ...], key_files: tuple[Path, ...], *, dry_run: bool
) -> ExitCode:
    """Verify the Sigstore bundles of other tools, and store them.

    SOURCE is a bundle, JSON lines of `gh attestation download`, the attestations of npm, PyPI's provenance, a model
    signature, or a directory of such files. All of them are verified first, under the repository's trust or --trust:
    if one does not verify, none is stored.

    \b
    Examples:
      gitchain import sbom.sigstore.json
      gitchain import downloads/ --dry-run
    """
    from gitchain.produce.import_evidence import import_bundles
    from gitchain.workspace.project import open_project

    project = open_project(options.directory, changes=not dry_run)
    done = import_bundles(
        project,
        sources,
        options.trust,
        datetime.now(UTC),
        keys=tuple(public_keys(key_files).values()),
        offline=options.offline,
        store=not dry_run,
        progress=lambda total: options.progress("verifying", total),
    )
    options.document(
        {
            "schema": IMPORTED_SCHEMA,
            "dryRun": dry_run,
            "trust": done.profile.name,
            "imported": 0 if dry_run else done.added,
            "present": len(done.bundles) - done.added,
            "skipped": done.skipped,
            "bundles": [one.to_json() for one in done.bundles],
        }
    )
    _print(options, done, dry_run=dry_run)
    return ExitCode.OK


def _print(options: Options, done: ImportResult, *, dry_run: bool) -> None:
    for one in done.bundles[:SHOWN]:
        for line in _lines(one):
            options.data(line)
    if len(done.bundles) > SHOWN:
        options.data(f"and {len(done.bundles) - SHOWN} more: --json has all")
    warned = [one for one in done.bundles if one.warning and not one.is_present]
    for one in warned[:SHOWN]:
        options.talk(f"warning   {escape(one.where)}: {escape(one.warning)}")
    if len(warned) > SHOWN:
        options.talk(f"warning   {len(warned) - SHOWN} more of this kind: --json has all")
    if done.skipped:
        options.talk(f"skipped   {done.skipped} entries of directories that are no bundles by their names")
    verb = "would import" if dry_run else "imported"
    options.data(f"{verb}  {done.added}, already stored {len(done.bundles) - done.added}")


def _lines(one: ImportedBundle) -> list[str]:
    statement = one.verified.statement
    names = ", ".join(escape(str(item.rule_name), 100) for item in statement.subject[:NAMES])
    more = f" and {len(statement.subject) - NAMES} more" if len(statement.subject) > NAMES else ""
    state = "stored already" if one.is_present else "verified"
    return [
        f"{state}  {one.verified.attestation_id[:12]}  {escape(statement.predicate_type)}",
        f"  about     {names}{more}",
        f"  signer    {escape(str(one.verified.identity))}",
        f"  from      {escape(one.where)}",
    ]

"""`gitchain index`: put the attestations of many sources into one database."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitchain.cli.key_options import keys_option, public_keys
from gitchain.cli.main import global_options
from gitchain.cli.output import NOTICE, Options, escape
from gitchain.cli.signing import not_empty
from gitchain.errors import ExitCode, NoRepositoryError, UsageError

if TYPE_CHECKING:
    from gitchain.fleet.indexer import SourceReport
    from gitchain.trust.profiles import Profile

INDEX_SCHEMA = "https://gitchain.dev/index/v1"
MAX_LIST_BYTES = 4 << 20

database_option = click.option(
    "--database",
    metavar="FILE|URL",
    envvar="GITCHAIN_DATABASE",
    callback=not_empty,
    help="SQLite file, or postgresql://HOST/NAME [default: GITCHAIN_DATABASE, else fleet.sqlite in the user directory].",
)


@click.command(name="index")
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@database_option
@click.option(
    "--sources",
    "list_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Index the sources in FILE too, one on each line.",
)
@click.option("--remove", is_flag=True, help="Remove each SOURCE from the index; read none.")
@click.option("--no-verify", is_flag=True, help="Verify no bundle: every row is marked as not verified.")
@keys_option
@global_options
@click.pass_obj
def command(
    options: Options,
    sources: tuple[str, ...],
    database: str | None,
    list_file: Path | None,
    key_files: tuple[Path, ...],
    *,
    remove: bool,
    no_verify: bool,
) -> ExitCode:
    """Index the attestations of many sources, for `gitchain query` [default: of all sources that are indexed already].

    SOURCE is a repository's directory, git+https://…, git+file://…, oci://… or a directory of bundles. Reads only
    bundles that are new in a source. A source that cannot be read, or lost attestations, does not stop the others:
    its rows are kept and marked as stale, and the exit code is that of the first such source.

    \b
    Examples:
      gitchain index . git+https://git.example.com/team/model.git
      gitchain index --sources fleet.txt --database postgresql://db.example.com/gitchain
    """
    from gitchain.fleet.database import open_database
    from gitchain.fleet.indexer import FleetIndexer

    named = dict.fromkeys((*sources, *_listed(list_file)))
    if remove:
        return _remove(options, database, list(named))
    profile = None if no_verify else _profile(options)
    verifier = None if profile is None else _verifier(profile, key_files)
    with open_database(database, write=True) as opened:
        indexer = FleetIndexer(opened, verifier, datetime.now(UTC), options.offline)
        wanted = list(named) or indexer.sources()
        if not wanted:
            raise UsageError("no source is named", where=opened.shown, help="gitchain index SOURCE")
        reports = []
        for name in wanted:
            reports.append(indexer.index(name))
            _tell(options, reports[-1])
        shown = opened.shown
    options.document(
        {
            "schema": INDEX_SCHEMA,
            "database": shown,
            "trust": verifier.name if verifier else None,
            "sources": [_document(one) for one in reports],
        }
    )
    if profile is not None and profile.is_local:
        options.talk(f"trust     {NOTICE}")
    if no_verify:
        options.talk("no bundle was verified: `gitchain index` without --no-verify verifies them")
    return next((one.error.exit_code for one in reports if one.error), ExitCode.OK)


def _remove(options: Options, database: str | None, names: Sequence[str]) -> ExitCode:
    """Remove sources from the index, in this order."""
    from gitchain.fleet.database import open_database
    from gitchain.fleet.indexer import SourceReport
    from gitchain.fleet.removal import remove_source

    if not names:
        raise UsageError("no source is named", help="gitchain index --remove SOURCE")
    reports = []
    with open_database(database, write=True) as opened:
        for name in names:
            known, count = remove_source(opened, name)
            reports.append(SourceReport(known, gone=count))
            options.data(f"removed    {escape(known)}: {count} bundles that no other source holds")
        shown = opened.shown
    found = [_document(one) | {"result": "removed"} for one in reports]
    options.document({"schema": INDEX_SCHEMA, "database": shown, "trust": None, "sources": found})
    return ExitCode.OK


def _listed(path: Path | None) -> Sequence[str]:
    """Return the sources in a file; lines that start with # are comments."""
    if path is None:
        return ()
    from gitchain.consume.single_bundle import read_file

    data = read_file(path, "list of sources", MAX_LIST_BYTES)
    if len(data) > MAX_LIST_BYTES:
        raise UsageError(
            "the list of sources is too long", where=str(path), expected=f"≤ {MAX_LIST_BYTES} bytes"
        )
    lines = (line.strip() for line in data.decode("utf-8", "surrogateescape").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def _profile(options: Options) -> Profile:
    """Return the trust profile of --trust, else of the repository around, else `public`."""
    from gitchain.consume.history import reading_profile
    from gitchain.trust.load_profile import load_profile
    from gitchain.workspace.project import open_project

    if options.trust is None:
        try:
            project = open_project(options.directory, changes=False)
        except NoRepositoryError:
            return load_profile("public", offline=options.offline)
        return reading_profile(project, None, offline=options.offline)
    return load_profile(options.trust, offline=options.offline)


def _verifier(profile: Profile, key_files: Sequence[Path]) -> Any:
    from gitchain.fleet.bundle_rows import Verifier

    keys = tuple(public_keys(key_files).values())
    return Verifier.of(profile.name, profile.trust_digest, profile.trust, keys)


def _tell(options: Options, report: SourceReport) -> None:
    name = escape(report.source)
    _tell_unread(options, report)
    for bundle, reason in report.reasons:
        options.talk(f"not verified: {bundle[:12]}: {escape(reason)}")
    if report.refused > len(report.reasons):
        options.talk(f"not verified: {report.refused - len(report.reasons)} more")
    if report.error is not None:
        options.data(f"FAILED     {name}: {escape(str(report.error))}")
        if report.error.help:
            options.talk(f"  help      {escape(report.error.help)}")
        if report.stale:
            options.data(
                f"           rows that the index has of it are kept, and are stale since {report.stale}"
            )
    elif report.unchanged:
        options.data(f"unchanged  {name}: {report.held} bundles")
    else:
        read = f"{report.verified} of {report.verified + report.refused} read are verified"
        options.data(f"indexed    {name}: {report.added} new, {read}, {report.held} in all")
    if not report.held and not report.error:
        options.talk(f"no bundle is in {name}: name a repository by its top directory")
    if report.gone:
        options.data(f"           {report.gone} are not there any more: their rows are kept, with that time")


def _tell_unread(options: Options, report: SourceReport) -> None:
    for problem in report.problems:
        options.talk(f"not read: {escape(problem)}")
    if report.unread > len(report.problems):
        options.talk(f"not read: {report.unread - len(report.problems)} more")
    if report.is_cut:
        options.talk("not read yet: what some directories hold; the next `gitchain index` continues")


def _document(report: SourceReport) -> dict[str, Any]:
    from gitchain.cli.output import error_document

    return {
        "source": report.source,
        "result": "failed" if report.error else "unchanged" if report.unchanged else "indexed",
        "new": report.added,
        "verified": report.verified,
        "notVerified": report.refused,
        "reasons": [{"bundle": bundle, "reason": reason} for bundle, reason in report.reasons],
        "problems": report.problems,
        "notRead": report.unread,
        "more": report.is_cut,
        "held": report.held,
        "gone": report.gone,
        "staleSince": report.stale or None,
        "error": error_document(report.error)["error"] if report.error else None,
    }

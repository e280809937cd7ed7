"""`gitchain report`: one HTML page about a model, for auditors and colleagues."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import Options, escape
from gitchain.cli.signing import not_empty
from gitchain.cli.times import moment
from gitchain.cli.verify_options import (
    VerifyOptions,
    refused_documents,
    tell_bundle,
    tell_reading,
    unread,
    verify_options,
)
from gitchain.errors import ExitCode, UsageError, os_errors_as
from gitchain.platform.files import open_regular, write_durably

STDOUT = "-"
PAGE, CYCLONEDX = "page", "cyclonedx"
MAX_STEM = 60
MAX_START = 4096
STARTS = {PAGE: (b"<!DOCTYPE html>", b"gitchain report</title>"), CYCLONEDX: (b"{", b'"bomFormat"')}
"""How a document of each kind begins, and what is in its first MAX_START bytes."""


@click.command(name="report")
@click.argument("target", metavar="TARGET")
@verify_options
@click.option(
    "-o",
    "--output",
    metavar="FILE|-",
    callback=not_empty,
    help="Write the page to FILE, or to stdout [default: report-TARGET.html].",
)
@click.option(
    "--cyclonedx",
    metavar="FILE|-",
    callback=not_empty,
    help="Write a CycloneDX 1.6 ML-BOM to FILE, or to stdout; the page only with -o.",
)
@click.option(
    "--at",
    "as_of",
    metavar="TIME",
    callback=moment,
    help="Verify as of TIME, such as 2026-11-30T12:00:00Z, and print it [default: now].",
)
@global_options
@click.pass_obj
def command(
    options: Options,
    target: str,
    chosen: VerifyOptions,
    output: str | None,
    cyclonedx: str | None,
    as_of: datetime | None,
) -> ExitCode:
    """Write one HTML page about TARGET: a path, tag, commit, sha256:…, oci://… or bundle file.

    Verifies TARGET, and shows verdict, lineage, timeline, signers, data sets, parameters, metrics, proofs and gaps. Each
    line is proven, claimed or missing. The page needs no network and has no script. The same evidence, layout and TIME
    give the same bytes. A target that fails has a report too: the exit code is that of `gitchain verify`.

    Replaces an earlier report at once, when the page is complete; no other file, directory or link.

    \b
    Examples:
      gitchain report v1.0
      gitchain report model.pkl -o report.html --at 2026-12-31T12:00:00Z
      gitchain report v1.0 --cyclonedx model.cdx.json
      gitchain report model.pkl --layout layout.sigstore.json --evidence evidence/
    """
    from gitchain.consume.targets import GivenTarget
    from gitchain.consume.verifier import Verifier
    from gitchain.report.facts import report_facts

    now = datetime.now(UTC)
    if as_of is not None and as_of > now:
        raise UsageError("--at is ahead of the clock", expected=f"at most {now.isoformat()}", got=str(as_of))
    files = _files(options, target, output, cyclonedx)
    inputs = chosen.open(options, (target,))
    given = GivenTarget.parse(inputs.targets[0])
    # the layout has to be valid now; the time of verification is that of the decision alone
    verifier = replace(
        Verifier.open(inputs.project, inputs.policy, now, [given], inputs.sources), now=as_of or now
    )
    facts = report_facts(verifier, given, as_of)
    refused = facts.verification.refused
    document = facts.document | {"refused": refused_documents(refused)} | unread(inputs.project)
    options.document(document)
    _write(options, document, files)
    tell_bundle(options, target, facts.verification)
    tell_reading(options, facts.accepted, refused, verifier.forgotten)
    return facts.exit_code


def _files(
    options: Options, target: str, output: str | None, cyclonedx: str | None
) -> dict[str, Path | None]:
    """Return the paths of the documents to write, None for stdout. Raises UsageError."""
    if options.json and (output or cyclonedx == STDOUT):
        raise UsageError(
            "--json prints the facts on stdout", help="name a FILE: --cyclonedx FILE, without -o"
        )
    if output and cyclonedx and os.path.realpath(output) == os.path.realpath(cyclonedx):
        raise UsageError("-o and --cyclonedx name the same file", got=output, help="name two files")
    wanted = {PAGE: output, CYCLONEDX: cyclonedx}
    if not (output or cyclonedx or options.json):
        wanted[PAGE] = default_name(target)
    return {
        kind: None if name == STDOUT else _checked(Path(name), kind) for kind, name in wanted.items() if name
    }


def default_name(target: str) -> str:
    """Return the name of the page about a target: `report-` and the harmless characters of the target."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", target).strip("-.")[:MAX_STEM]
    return f"report-{stem or 'model'}.html"


def _checked(path: Path, kind: str) -> Path:
    """Return the path. Raises UsageError for what is no regular file, and for a file that is no document of this kind."""
    with os_errors_as(UsageError, "cannot write the report", path, help="name another file: -o FILE"):
        if not path.parent.is_dir():
            raise UsageError("the directory of the report does not exist", where=str(path.parent))
        mode = path.lstat().st_mode if path.is_symlink() or path.exists() else stat.S_IFREG
        is_other = stat.S_ISREG(mode) and path.exists() and not _is_document(path, kind)
    if not stat.S_ISREG(mode) or is_other:
        got = "a symbolic link" if stat.S_ISLNK(mode) else "a directory" if stat.S_ISDIR(mode) else "no file"
        raise UsageError(
            "the report is not written there",
            where=str(path),
            expected="a new file, or a regular file with an earlier report",
            got="a file with other content" if is_other else got,
            help="name another file: -o FILE",
        )
    return path


def _is_document(path: Path, kind: str) -> bool:
    """Return whether a file begins as a document of this kind, or is empty: any other file is not ours to replace."""
    with open_regular(path) as file:
        start = file.read(MAX_START)
    first, word = STARTS[kind]
    return not start or (start.startswith(first) and word in start)


def _write(options: Options, document: Mapping[str, Any], files: Mapping[str, Path | None]) -> None:
    """Make all documents, then write them, and print where they are; to stdout if there is no path. Raises StoreError."""
    made = {kind: _made(kind, document) for kind in files}
    result = document["verificationResult"]
    for kind, path in files.items():
        if path is None:
            sys.stdout.buffer.write(made[kind])
            continue
        write_durably(path, made[kind], mode=0o644)
        if not options.json and None not in files.values():
            colour = "green" if result == "PASSED" else "red"
            options.data(f"{options.style(result, fg=colour, bold=True)}  {escape(str(path))}")


def _made(kind: str, document: Mapping[str, Any]) -> bytes:
    if kind == CYCLONEDX:
        from gitchain.report.cyclonedx import cyclonedx

        return cyclonedx(document)
    from gitchain.report.page import page

    return page(document).encode()

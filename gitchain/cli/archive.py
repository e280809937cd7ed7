"""`gitchain archive`: one file with the evidence about a model, to verify without network or repository."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import HelpGroup, Options, escape
from gitchain.cli.verdict import decision_document, print_line, print_verdict
from gitchain.cli.verify_options import (
    VerifyOptions,
    layout_options,
    refused_documents,
    tell_reading,
    unread,
    verify_options,
)
from gitchain.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from gitchain.consume.archive_verdict import ArchiveVerdict, Coverage
    from gitchain.layout.model import Identity
    from gitchain.produce.archive import WrittenArchive

ARCHIVED_SCHEMA = "https://gitchain.dev/archived/v1"
VERDICT_SCHEMA = "https://gitchain.dev/archive-verdict/v1"
NAMED = {"reader": "named by you", "pin": "pinned by you", "archive": "the archive's own"}


class Archives(HelpGroup):
    """A group that takes a target without `create` before it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert `create` if the first word is not a subcommand."""
        words = [one for one in args if not one.startswith("-")]
        is_help = bool({"-h", "--help"} & set(args[:1]))
        if args and not is_help and (not words or words[0] not in self.commands):
            args = ["create", *args]
        return super().parse_args(ctx, args)


@click.group(name="archive", cls=Archives)
@global_options
def command() -> None:
    """Write one file with all evidence about a model, and verify it offline, years later.

    `gitchain archive TARGET -o FILE` is short for `gitchain archive create TARGET -o FILE`.

    \b
    Examples:
      gitchain archive v1.0 -o model-v1.0.tar
      gitchain archive verify model-v1.0.tar
    """


@command.command(name="create")
@click.argument("target", metavar="TARGET")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="File to write.",
)
@verify_options
@global_options
@click.pass_obj
def create(options: Options, target: str, output: Path, chosen: VerifyOptions) -> ExitCode:
    """Verify TARGET and write an archive of its evidence: a path, tag, commit, sha256:…, oci://… or bundle file.

    The archive has every attestation of the repository and the sources, the layout, the trusted root, the verdict
    and a page that explains how to check it by hand. It has no bytes of the model or the data, only their digests.
    The archive of a target that fails is written too: the exit code is that of `gitchain verify`.

    \b
    Examples:
      gitchain archive v1.0 -o model-v1.0.tar
      gitchain archive create model.pkl -o model.tar
    """
    from gitchain.produce.archive import write_archive

    inputs = chosen.open(options, (target,))
    made = write_archive(
        inputs.project,
        inputs.targets[0],
        inputs.policy,
        datetime.now(UTC),
        output,
        decision_document,
        inputs.sources,
    )
    accepted, unsynced = made.verification.accepted, unread(inputs.project)
    documents = [decision_document(one, accepted.profile) for one in made.verification.decisions]
    document = _archived(made, documents)
    options.document(document | unsynced)
    for one in documents:
        print_line(options, one)
    options.data(f"archive   {escape(str(output))}  sha256:{document['sha256']}")
    options.data(f"  trust     sha256:{document['trustDigest']}")
    options.data(f"  signer    {escape(str(accepted.signed.signer))}")
    options.data(f"  evidence  {_covered(made.alone.coverage)}")
    options.talk("Send trust and signer to the reader by another way than the archive.")
    tell_reading(options, accepted, made.verification.refused, made.verification.forgotten)
    return made.exit_code


def _archived(made: WrittenArchive, documents: list[dict[str, Any]]) -> dict[str, Any]:
    archive = made.alone.archive
    return {
        "schema": ARCHIVED_SCHEMA,
        "path": str(made.path),
        "sha256": archive.digest,
        "created": documents[0]["timeVerified"],
        "members": len(archive.manifest.members) + 1,
        "evidence": made.alone.coverage.to_json(),
        "trustDigest": archive.manifest.trust_digest,
        "signer": made.verification.accepted.signed.signer.to_json(),
        "results": documents,
    }


def _covered(coverage: Coverage) -> str:
    total, covered = coverage.total, coverage.covered
    if total == covered:
        return f"{total} attestations and manifests, all covered by checkpoints"
    return (
        f"{total} attestations and manifests; no checkpoint covers {total - covered} of them: "
        "their removal would not be detected"
    )


def _moment(ctx: click.Context, param: click.Parameter, value: str | None) -> datetime | None:
    from gitchain.cli.times import moment

    return datetime.now(UTC) if value == "now" else moment(ctx, param, value)


@command.command(name="verify")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.argument("path", metavar="[PATH]", required=False, type=click.Path(path_type=Path))
@layout_options
@click.option("--explain", is_flag=True, help="Show every check, who signed, when, and where it is logged.")
@click.option(
    "--at",
    metavar="TIME",
    callback=_moment,
    help="Verify as of this time, such as 2026-11-30, or now [default: when the archive was made].",
)
@global_options
@click.pass_obj
def verify(
    options: Options,
    file: Path,
    path: Path | None,
    chosen: VerifyOptions,
    explain: bool,
    at: datetime | None,
) -> ExitCode:
    """Verify the archive FILE with its own evidence alone; with PATH, also that this is the archived model.

    Needs no repository and no network. VERIFIED, exit code 0: you named the trusted root (--trust sha256:… or a
    file) and the signer of the layout (--signer, --issuer), or they are pinned. CONSISTENT, exit code 4: the archive
    fits together, but root or signer are its own, so anyone could have made it.

    \b
    Examples:
      gitchain archive verify model-v1.0.tar
      gitchain archive verify model.tar model.pkl --at now
    """
    from gitchain.consume.archive_verdict import verify_archive
    from gitchain.sources.archive_file import Archive

    if path is not None and not path.exists():
        raise UsageError("no such file", got=str(path), help="the file or directory of the archived model")
    with Archive.open(file) as archive:
        policy = chosen.policy(options)
        found = verify_archive(archive, policy, datetime.now(UTC), at=at, path=path, explain=explain)
    profile = found.verification.accepted.profile
    documents = [decision_document(one, profile) for one in found.verification.decisions]
    options.document(_document(found, path, documents))
    word = None if found.is_anchored else "CONSISTENT"
    for document in documents:
        print_verdict(options, document, explain=explain, word=word)
    _print_basis(options, found, path)
    tell_reading(
        options, found.verification.accepted, found.verification.refused, found.verification.forgotten
    )
    return found.exit_code


def _document(found: ArchiveVerdict, path: Path | None, documents: list[dict[str, Any]]) -> dict[str, Any]:
    from gitchain.evidence.vocabulary import time_text

    archive = found.archive
    return {
        "schema": VERDICT_SCHEMA,
        "result": found.result,
        "archive": {
            "path": str(archive.path),
            "sha256": archive.digest,
            "created": time_text(archive.manifest.created),
            "target": archive.manifest.target,
        },
        "path": None if path is None else str(path),
        "basis": dict(found.basis),
        "evidence": found.coverage.to_json(),
        "trustDigest": found.verification.accepted.profile.trust_digest,
        "signer": found.verification.accepted.signed.signer.to_json(),
        "results": documents,
        "refused": refused_documents(found.verification.refused),
    }


def _print_basis(options: Options, found: ArchiveVerdict, path: Path | None) -> None:
    """Print what the verdict rests on."""
    from gitchain.evidence.vocabulary import time_text

    accepted, basis = found.verification.accepted, found.basis
    colour = {"VERIFIED": "green", "CONSISTENT": "yellow", "FAILED": "red"}[found.result]
    options.data(f"{options.style(found.result, fg=colour, bold=True)}  {escape(str(found.archive.path))}")
    newest = "" if found.newest is None else f"; newest evidence of the chain: {time_text(found.newest)}"
    signer: Identity = accepted.signed.signer
    rows = {
        "trust": f"sha256:{accepted.profile.trust_digest}, {NAMED[basis['trust']]}",
        "signer": f"{signer}, {NAMED[basis['signer']]}",
        "layout": f"{accepted.signed.layout.name} v{accepted.signed.version}, {NAMED[basis['layout']]}",
        "as of": f"{time_text(found.time)}, {NAMED[basis['time']]}{newest}",
        "model": "not read: compare its digest" if path is None else f"{path}, hashed now",
        "evidence": _covered(found.coverage),
    }
    for label, text in rows.items():
        options.data(f"  {label:<9} {escape(text)}")
    if found.result == "CONSISTENT":
        options.talk(
            "Anyone could have made this archive. Get trusted root and signer from a source that you trust, then add: "
            f"--trust sha256:DIGEST --signer {escape(signer.subject)} --issuer {escape(signer.issuer)}"
        )

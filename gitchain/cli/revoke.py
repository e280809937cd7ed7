"""`gitchain revoke`: sign and log that an attestation, a signer or an artifact no longer counts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import HelpGroup, Options, escape
from gitchain.cli.signing import not_empty, report, signing_options
from gitchain.errors import ExitCode

if TYPE_CHECKING:
    from gitchain.produce.draft import StatementDraft
    from gitchain.produce.revoke import RevocationReason
    from gitchain.produce.sign_and_store import SigningIdentity
    from gitchain.workspace.project import Project

REASONS = ("compromised", "mistaken", "superseded", "withdrawn")


@click.group(name="revoke", cls=HelpGroup)
@global_options
def command() -> None:
    """Revoke an attestation, a signer or an artifact, if the layout lists you as a revoker.

    A revocation is permanent; to undo a mistake, revoke its own id with `gitchain revoke attestation`.
    """


def _why_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add --reason and --message."""
    function = click.option(
        "--message", metavar="TEXT", callback=not_empty, help="Free text about the reason."
    )(function)
    return click.option("--reason", type=click.Choice(REASONS), required=True, help="Why it is revoked.")(
        function
    )


@command.command(name="attestation")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@_why_options
@signing_options
@global_options
@click.pass_obj
def attestation(
    options: Options,
    ids: tuple[str, ...],
    reason: Any,
    message: str | None,
    who: SigningIdentity,
) -> ExitCode:
    """Revoke attestations by their ids, or the first six digits or more of them.

    \b
    Examples:
      gitchain revoke attestation 4c5478ab616a --reason compromised
    """
    from gitchain.produce.revoke import revoke_attestations

    return _revoke(
        options,
        reason,
        message,
        who,
        lambda project, why: revoke_attestations(project, ids, why),
    )


@command.command(name="signer")
@click.argument("subject", callback=not_empty)
@click.option("--issuer", required=True, metavar="URL", callback=not_empty, help="Issuer of the identity.")
@click.option(
    "--from",
    "since",
    metavar="TIME",
    callback=not_empty,
    help="Time from which to revoke: 2026-01-31T12:00:00Z, or now [default: everything it ever signed].",
)
@_why_options
@signing_options
@global_options
@click.pass_obj
def signer(
    options: Options,
    subject: str,
    issuer: str,
    since: str | None,
    reason: Any,
    message: str | None,
    who: SigningIdentity,
) -> ExitCode:
    """Revoke a signer: SUBJECT as in certificates, such as an e-mail address.

    \b
    Examples:
      gitchain revoke signer ada@example.com --issuer https://accounts.example.com --reason compromised
    """
    from gitchain.produce.revoke import revoke_signer

    return _revoke(
        options,
        reason,
        message,
        who,
        lambda _project, why: revoke_signer(issuer, subject, since, why),
    )


@command.command(name="artifact")
@click.argument("artifacts", nargs=-1, required=True, metavar="PATH|ALGORITHM:HEX...")
@_why_options
@signing_options
@global_options
@click.pass_obj
def artifact(
    options: Options,
    artifacts: tuple[str, ...],
    reason: Any,
    message: str | None,
    who: SigningIdentity,
) -> ExitCode:
    """Revoke artifacts by their content, such as a data set: every model made from it fails.

    \b
    Examples:
      gitchain revoke artifact data.csv --reason withdrawn
    """
    from gitchain.produce.revoke import revoke_artifacts

    return _revoke(
        options,
        reason,
        message,
        who,
        lambda project, why: revoke_artifacts(project, artifacts, why),
    )


def _revoke(
    options: Options,
    reason: Any,
    message: str | None,
    who: SigningIdentity,
    make: Callable[[Project, RevocationReason], StatementDraft],
) -> ExitCode:
    from gitchain.produce.revoke import RevocationReason, no_effect_reasons
    from gitchain.produce.sign_and_store import project_profile, record
    from gitchain.workspace.project import open_project

    project = open_project(options.directory, options.hashing)
    project.configured()
    now = datetime.now(UTC)
    draft = make(project, RevocationReason(reason, message, now))
    profile = project_profile(project, options.trust, offline=options.offline)
    recorded = record(project, profile, [draft], who)
    code = report(options, profile, recorded)
    for statement in recorded.stored:
        for problem in no_effect_reasons(project, statement, now):
            options.talk(f"warning   {escape(problem)}")
    if recorded.stored:
        options.talk("others learn of it by gitchain sync")
    return code

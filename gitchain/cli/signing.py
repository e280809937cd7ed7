"""The options for the signer that all signing verbs have, and the report of signed statements."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitchain.cli.output import Options, escape
from gitchain.errors import ExitCode, GitchainError

if TYPE_CHECKING:
    from gitchain.produce.draft import StatementDraft
    from gitchain.produce.sign_and_store import SigningResult
    from gitchain.trust.profiles import Profile
    from gitchain.workspace.project import Project

ATTESTED_SCHEMA = "https://gitchain.dev/attested/v1"


def signing_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for the signer; the function gets them as one `who`."""

    @functools.wraps(function)
    def called(
        *args: Any,
        identity: str | None,
        token: str | None,
        key: str | None,
        interactive: bool,
        agreed: bool,
        **rest: Any,
    ) -> Any:
        from gitchain.trust.profiles import SigningIdentity

        where = None
        if key is not None:
            from gitchain.produce.signing_identities import rooted

            where = rooted(key, Path.cwd())
        who = SigningIdentity(identity, token, where, interactive, agreed)
        who.check_token()  # before anything is kept, run or sent
        return function(*args, who=who, **rest)

    for option in reversed(_SIGNING):
        called = option(called)
    return called


def not_empty(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuse an empty value: an unset variable in a script must not sign under another identity."""
    if value is not None and not value.strip():
        raise click.BadParameter("it is empty", ctx, param)
    return value


_SIGNING = (
    click.option(
        "--as",
        "identity",
        metavar="IDENTITY",
        callback=not_empty,
        help="Identity that signs (embedded instance only).",
    ),
    click.option(
        "--identity-token",
        "token",
        envvar="GITCHAIN_IDENTITY_TOKEN",
        metavar="JWT",
        callback=not_empty,
        help="OIDC token to sign with.",
    ),
    click.option(
        "--key",
        envvar="GITCHAIN_KEY",
        metavar="URI",
        callback=not_empty,
        help="Key to sign with instead: a PEM file, hsm:…, pkcs11:…, or a cloud's (docs/signing.md).",
    ),
    click.option("--interactive", is_flag=True, help="Log in for a token if the environment has none."),
    click.option(
        "--yes",
        "agreed",
        is_flag=True,
        envvar="GITCHAIN_YES",
        help="Accept that your identity is published permanently in a public log.",
    ),
)


def not_attested(options: Options, name: str, problem: GitchainError) -> None:
    """Name on stderr a step or file that could not be attested, and why."""
    options.talk(f"not attested: {escape(name)}: {escape(str(problem))}")
    if problem.help:
        options.talk(f"  help  {escape(problem.help)}")


def report(
    options: Options,
    profile: Profile,
    recorded: SigningResult,
    problems: Sequence[tuple[str, GitchainError]] = (),
) -> ExitCode:
    """Print the signed and the queued statements; return OK if all are stored, QUEUED if one is queued.

    `problems` are steps that could not be attested: the document of --json lists them.
    """
    from gitchain.evidence.predicates import claim_of

    def row(statement: Any) -> dict[str, Any]:
        claim = claim_of(statement)
        return {
            "id": statement.attestation_id,
            "step": claim.step,
            "evidence": claim.evidence,
            "predicateType": statement.predicate_type,
            "subject": [
                {"name": item.rule_name, "sha256": item.digest.get("sha256")} for item in statement.subject
            ],
        }

    attested = [row(statement) for statement in recorded.stored]
    document = {
        "schema": ATTESTED_SCHEMA,
        "trust": profile.name,
        "attested": attested,
        "queued": [row(statement) for statement in recorded.queued],
        "reason": str(recorded.reason) if recorded.reason else None,
        "notAttested": [{"name": name, "reason": str(problem)} for name, problem in problems],
    }
    options.document(document)
    for entry in attested:
        names = ", ".join(escape(str(item["name"])) for item in entry["subject"])
        options.data(
            f"attested  {escape(entry['step'] or '-')}  {names}  {entry['evidence'] or '-'}  {entry['id'][:12]}"
        )
    if recorded.stored and profile.trust.is_local:
        options.talk(
            "signed by the embedded instance: proves only that the holder of this machine's keys signed"
        )
    if recorded.queued:
        options.talk(
            f"{len(recorded.queued)} statement(s) wait in the outbox: {escape(str(recorded.reason))}"
        )
        options.talk(f"  help  {escape(getattr(recorded.reason, 'help', '') or 'gitchain sync')}")
        return ExitCode.QUEUED
    return ExitCode.OK


def note_line_endings(options: Options, project: Project, drafts: Sequence[StatementDraft]) -> None:
    """Print which attested files have other bytes here than in Git, because Git converts their line endings."""
    from gitchain.consume.line_endings import converted_in, keep_bytes

    for name, (here, committed) in sorted(
        converted_in(project, (draft.statement for draft in drafts)).items()
    )[:20]:
        shown = escape(name)
        options.talk(
            f"note      {shown} was hashed with {here} line endings, and Git holds it with {committed}"
        )
        options.talk("  why   a clone elsewhere may have other bytes, which do not verify")
        options.talk(f"  help  {escape(keep_bytes(name))}; git add --renormalize {escape(shlex.quote(name))}")

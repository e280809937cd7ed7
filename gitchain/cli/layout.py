"""`gitchain layout`: draft, lint, test, sign and show the policy."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import HelpGroup, Options, escape
from gitchain.cli.signing import signing_options
from gitchain.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from gitchain.produce.sign_and_store import SigningIdentity

LAYOUT_SCHEMA = "https://gitchain.dev/layout-status/v1"
TEST_SCHEMA = "https://gitchain.dev/layout-test/v1"
LINT_SCHEMA = "https://gitchain.dev/layout-lint/v1"


@click.group(name="layout", cls=HelpGroup)
@global_options
def command() -> None:
    """Draft, check, test, sign and show the layout, which is your policy."""


@command.command(name="draft")
@click.option("--name", metavar="NAME", help="The layout's name [default: the configured one].")
@click.option("--issuer", metavar="URL", help="Issuer of the functionary [default: the embedded instance's].")
@click.option("--subject", metavar="ID", help="The functionary [default: Git's user.email].")
@click.option("--write", is_flag=True, help="Write .gitchain/layout.yaml instead of printing.")
@click.option("--force", is_flag=True, help="Overwrite an existing layout.")
@global_options
@click.pass_obj
def draft(
    options: Options, name: str | None, issuer: str | None, subject: str | None, write: bool, force: bool
) -> None:
    """Draft a layout: a step per stage of the DVC pipeline, a MATCH per edge, DISALLOW * at every end.

    Without a DVC pipeline, the steps are those that the functionary attested.

    \b
    Examples:
      gitchain layout draft
      gitchain layout draft --write
    """
    from gitchain.layout.model import Identity as FunctionaryIdentity
    from gitchain.produce.init import default_identity, write_layout
    from gitchain.produce.sign_layout import draft_layout
    from gitchain.workspace.project import LAYOUT, open_project

    project = open_project(options.directory)
    config = project.configured()
    who = default_identity(project, options.trust or config.trust, issuer, subject)
    if who is None:
        raise UsageError("the functionary's identity is missing", help="--issuer URL --subject IDENTITY")
    text = draft_layout(
        project, name or config.layout or project.root.name, FunctionaryIdentity(*who), datetime.now(UTC)
    )
    if write:
        write_layout(project, text, force=force)
        options.talk(f"wrote {LAYOUT}: read it, change it, then: gitchain layout sign")
    else:
        click.echo(text, nl=False)


@command.command(name="sign")
@click.option("--no-lint", is_flag=True, help="Sign even a layout with lint errors.")
@signing_options
@global_options
@click.pass_obj
def sign(options: Options, no_lint: bool, who: SigningIdentity) -> ExitCode:
    """Sign .gitchain/layout.yaml for verification. A layout with errors of lint is refused.

    \b
    Examples:
      gitchain layout sign
      gitchain layout sign --key owner.pem
    """
    from gitchain.produce.sign_and_store import project_profile
    from gitchain.produce.sign_layout import sign_layout
    from gitchain.workspace.project import open_project

    project = open_project(options.directory)
    profile = project_profile(project, options.trust, offline=options.offline)
    signed = sign_layout(project, profile, who, datetime.now(UTC), linted=not no_lint)
    layout = signed.layout
    options.document(
        {
            "schema": LAYOUT_SCHEMA,
            "layout": {"name": layout.name, "version": layout.version, "expires": layout.expires.isoformat()},
            "signer": signed.signer.to_json(),
            "path": str(signed.path),
        }
    )
    here = Path.cwd()
    path = signed.path.relative_to(here) if signed.path.is_relative_to(here) else signed.path
    options.data(f"signed  {escape(layout.name)} v{layout.version}  by {escape(str(signed.signer))}  {path}")
    for message, help_ in signed.warnings:
        options.talk(f"warning   {escape(message)}")
        options.talk(f"  help    {escape(help_)}")
    return ExitCode.OK


@command.command(name="lint")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Treat warnings as errors.")
@global_options
@click.pass_obj
def lint(options: Options, file: Path | None, strict: bool) -> ExitCode:
    """Check the layout for common mistakes; exit 5 if one is an error.

    \b
    Examples:
      gitchain layout lint
      gitchain layout lint .gitchain/layout.yaml
    """
    from gitchain.consume.layout_files import own_layout, read_layout
    from gitchain.consume.load_layout import pinned_signers
    from gitchain.layout.lint import lint as lint_layout
    from gitchain.workspace.project import open_project

    path = file or own_layout(open_project(options.directory, changes=False))
    layout = read_layout(path)
    found = lint_layout(layout, datetime.now(UTC), pinned_signers(layout.name))
    options.document(
        {
            "schema": LINT_SCHEMA,
            "layout": {"name": layout.name, "version": layout.version},
            "findings": [one.to_json() for one in found],
        }
    )
    for one in found:
        colour = "red" if one.severity == "error" else "yellow"
        options.data(f"{one.code} {options.style(one.severity, fg=colour)} {escape(one.where)}")
        options.data(f"  {escape(one.message)}")
        if one.help:
            options.data(f"  help: {escape(one.help)}")
    errors = sum(one.severity == "error" for one in found)
    options.talk(f"{escape(layout.name)} v{layout.version}: {errors} errors, {len(found) - errors} warnings")
    return ExitCode.LAYOUT if errors or (strict and found) else ExitCode.OK


@command.command(name="test")
@click.argument("folder", default=".", type=click.Path(path_type=Path), metavar="DIR")
@global_options
@click.pass_obj
def test(options: Options, folder: Path) -> ExitCode:
    """Verify every case in DIR/cases and compare with its expectation; exit 1 if one differs.

    \b
    Examples:
      gitchain layout test examples/layouts/credit-model
    """
    from gitchain.layout_test.cases import run_cases

    layout, results = run_cases(folder)
    options.document(
        {
            "schema": TEST_SCHEMA,
            "layout": {"name": layout.name, "version": layout.version},
            "cases": [one.to_json() for one in results],
        }
    )
    width = max(len(one.case.name) for one in results)
    for one in results:
        verdict = ", ".join(f"{found.code} {found.step or ''}".strip() for found in one.found) or "PASSED"
        word, colour = ("ok", "green") if one.as_expected else ("DIFFERS", "red")
        options.data(
            f"{options.style(f'{word:<7}', fg=colour)} {escape(one.case.name):<{width}}  {escape(verdict)}"
        )
        if not one.as_expected:
            wanted = one.case.expected or ()
            named = ", ".join(f"{item.code} {item.step or ''}".strip() for item in wanted) or "PASSED"
            options.data(f"        expected {escape(named)}")
            for finding in one.decision.findings:
                options.data(f"        {finding.code} {escape(finding.step)} {escape(finding.message)}")
    wrong = sum(not one.as_expected for one in results)
    options.talk(f"{escape(layout.name)} v{layout.version}: {len(results)} cases, {wrong} not as expected")
    options.talk("signed on a temporary instance, with one generated identity for each functionary")
    return ExitCode.FAILED if wrong else ExitCode.OK


@command.command(name="show")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@global_options
@click.pass_obj
def show(options: Options, file: Path | None) -> ExitCode:
    """Show the signed layout after checking it against the pin.

    \b
    Examples:
      gitchain layout show
    """
    from gitchain.consume.load_layout import LayoutOptions, load_policy
    from gitchain.workspace.project import open_project

    project = None if file else open_project(options.directory, changes=False)
    accepted = load_policy(
        project, LayoutOptions(layout=file, trust=options.trust, offline=options.offline), datetime.now(UTC)
    )
    layout, signer = accepted.signed.layout, accepted.signed.signer
    options.document(
        {
            "schema": LAYOUT_SCHEMA,
            "layout": layout.to_json(),
            "signer": signer.to_json(),
            "digest": accepted.signed.digest,
        }
    )
    options.data(
        f"{escape(layout.name)} v{layout.version}, expires {layout.expires:%F}, signed by {escape(str(signer))}"
    )
    for step in layout.steps:
        people = ", ".join(escape(name) for name in step.functionaries)
        strength = f"{step.evidence or 'any'} evidence, {escape(step.predicate_type)}"
        options.data(f"  {escape(step.name)}: {step.threshold} of {people}, {strength}")
    return ExitCode.OK

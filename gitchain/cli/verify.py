"""`gitchain verify`: whether the supply chain of this model matches its layout."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitchain.cli.local import NOTICE
from gitchain.cli.main import global_options
from gitchain.cli.output import Options, escape
from gitchain.errors import ExitCode, ProjectError, UsageError

if TYPE_CHECKING:
    from gitchain.pipeline.consume import Verification
    from gitchain.pipeline.project import Project


@click.command(name="verify")
@click.argument("target", required=False, default="HEAD")
@click.option(
    "--layout",
    type=click.Path(path_type=Path),
    help="Signed layout [default: .gitchain/layout.sigstore.json].",
)
@click.option(
    "--signer",
    "subjects",
    multiple=True,
    metavar="IDENTITY",
    help="Who may sign the layout [default: the pin].",
)
@click.option("--issuer", metavar="URL", help="Issuer of --signer.")
@click.option("--minimum-version", type=click.IntRange(0), default=0, help="Refuse an older layout.")
@click.option("--explain", is_flag=True, help="Show every step's evidence.")
@global_options
@click.pass_obj
def command(
    options: Options,
    target: str,
    layout: Path | None,
    subjects: tuple[str, ...],
    issuer: str | None,
    minimum_version: int,
    explain: bool,
) -> ExitCode:
    """Verify TARGET: a path, tag, commit, sha256:…, or bundle file [default: HEAD].

    Exit code 0 means verified, and nothing else does.
    """
    from gitchain.layout.model import Identity
    from gitchain.pipeline.consume import Policy, verify
    from gitchain.pipeline.project import open_project

    if bool(subjects) != bool(issuer):
        raise UsageError("--signer and --issuer go together", help="--signer IDENTITY --issuer URL")
    policy = Policy(
        layout=layout,
        signers=tuple(Identity(str(issuer), subject) for subject in subjects),
        trust=options.trust,
        offline=options.offline,
        minimum_version=minimum_version,
    )
    project: Project | None
    try:
        project = open_project(options.directory, options.hashing)
    except ProjectError:
        if layout is None:
            raise
        project = None
    result = verify(project, target, policy, datetime.now(UTC))
    return _report(options, result, explain=explain)


def _report(options: Options, result: Verification, *, explain: bool) -> ExitCode:
    trust = result.accepted.profile.trust
    about: dict[str, Any] = {
        "name": result.accepted.profile.name,
        "digest": trust.digest,
        "local": trust.is_local,
    }
    documents = [decision.to_json(about) for decision in result.decisions]
    refused = [
        {"step": one.step, "id": one.attestation_id or None, "reason": one.reason} for one in result.refused
    ]
    options.document(_document(documents) | {"refused": refused})
    for decision, document in zip(result.decisions, documents, strict=True):
        _print(options, document, passed=decision.passed, explain=explain)
    if trust.is_local:
        options.talk(f"trust     {NOTICE}")
    if result.forgotten:
        options.talk(
            f"warning   an older layout would be accepted later: {escape(str(result.forgotten))}; "
            "pin it where it can be written, or give --minimum-version"
        )
    for one in result.refused:
        what = f"step {one.step}" if one.step else one.attestation_id[:12] or "the store"
        options.talk(f"not counted: evidence of {escape(what)} does not verify: {escape(one.reason)}")
    failed = [decision.exit_code for decision in result.decisions if not decision.passed]
    if not result.decisions:
        return ExitCode.NOTHING
    return min(
        failed, default=ExitCode.OK
    )  # one contradiction among unknown artifacts is a failure, not an absence


def _document(documents: list[dict[str, Any]]) -> dict[str, Any]:
    if len(documents) == 1:
        return documents[0]
    passed = bool(documents) and all(document["verificationResult"] == "PASSED" for document in documents)
    return {
        "schema": "https://gitchain.dev/verify-several/v1",
        "verificationResult": "PASSED" if passed else "FAILED",
        "results": documents,
    }


def _print(options: Options, document: dict[str, Any], *, passed: bool, explain: bool) -> None:
    resource, layout = document["resource"], document["layout"]
    colour = "green" if passed else "red"
    name = resource.get("name") or resource.get("uri") or ""
    options.data(
        f"{options.style(document['verificationResult'], fg=colour, bold=True)}  {escape(str(name))}  {_digest(resource)}"
    )
    options.data(
        f"  layout    {escape(layout['name'])} v{layout['version']}, signed by {_who(layout['signer'])}"
    )
    if passed or explain:
        for step in document["steps"]:
            who = ", ".join(escape(str(person)) for person in step["functionaries"])
            options.data(f"  step      {escape(step['name']):<20} {step['evidence'] or '-':<9} {who}")
            for one in step["attestations"] if explain else ():
                where = f"{one['log']['origin']} entry {one['log']['index']}"
                options.data(
                    f"              {one['id'][:12]}  {one['time']}  {_who(one['signer'])}  {escape(where)}"
                )
    for finding in document["findings"]:
        _print_finding(options, finding)


def _print_finding(options: Options, finding: dict[str, Any]) -> None:
    colour = "red" if finding["severity"] == "error" else "yellow"
    options.data(
        f"{options.style(finding['severity'], fg=colour)}[{finding['code']}]: {escape(finding['message'])}"
    )
    for label, key in (
        ("step", "step"),
        ("file", "artifact"),
        ("expected", "expected"),
        ("got", "got"),
        ("help", "help"),
    ):
        if finding.get(key):
            options.data(f"  {label:<9} {escape(str(finding[key]))}")


def _digest(resource: dict[str, Any]) -> str:
    digest = resource.get("digest", {})
    return " ".join(f"{name}:{value}" for name, value in digest.items())


def _who(signer: dict[str, str]) -> str:
    return escape(f"{signer['subject']} ({signer['issuer']})")

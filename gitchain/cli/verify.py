"""`gitchain verify`: check models against their layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitchain.cli.evidence import (
    look_up,
    policy_of,
    policy_options,
    project_of,
    tell_open_choice,
    tell_unread,
    unread,
)
from gitchain.cli.main import global_options
from gitchain.cli.output import NOTICE, Options, error_document, escape
from gitchain.cli.signing import not_empty, signing_options
from gitchain.cli.verdict import print_error, print_line, print_verdict
from gitchain.errors import ExitCode, GitchainError, LimitError, NoEvidenceError, UsageError

if TYPE_CHECKING:
    from gitchain.cli.vsa import VsaRequest
    from gitchain.consume.verifier import Policy, Verification
    from gitchain.produce.sign_and_store import SigningIdentity
    from gitchain.sources.interface import EvidenceSource
    from gitchain.workspace.project import Project

MAX_TARGETS = 1_000_000
MAX_LINE = 8192
"""Longest line of a batch: no path is longer."""


@click.command(name="verify")
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@policy_options
@click.option("--explain", is_flag=True, help="Show every check, who signed, when, and where it is logged.")
@click.option(
    "--batch",
    type=click.File("rb"),
    metavar="FILE|-",
    help="Verify more targets, one a line: one result line each.",
)
@click.option(
    "--vsa",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="OUT",
    help="Sign the verdict as a SLSA summary: store it and write it to OUT.",
)
@click.option("--verifier", metavar="URI", callback=not_empty, help="Who verified, for --vsa.")
@click.option(
    "--summary",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Append verdict and chain as Markdown: $GITHUB_STEP_SUMMARY.",
)
@signing_options
@global_options
@click.pass_obj
def command(
    options: Options,
    targets: tuple[str, ...],
    layout: Path | None,
    layout_name: str | None,
    subjects: tuple[str, ...],
    issuer: str | None,
    minimum_version: int,
    checkpoint: str | None,
    witnesses: Path | None,
    places: tuple[str, ...],
    explain: bool,
    batch: Any,
    vsa: Path | None,
    verifier: str | None,
    summary: Path | None,
    who: SigningIdentity,
) -> ExitCode:
    """Verify each TARGET: a path, tag, commit, sha256:…, oci://… or bundle file [default: HEAD].

    Exit code 0 means that all targets are verified, and no other code does.

    \b
    Examples:
      gitchain verify model.pkl
      gitchain verify v1.0 --explain
      gitchain verify model.pkl --layout layout.sigstore.json --evidence evidence/
      gitchain verify oci://registry.example.com/team/model:v3 --layout layout.sigstore.json
    """
    policy = policy_of(options, layout, layout_name, subjects, issuer, minimum_version, checkpoint, witnesses)
    project = project_of(options, layout, configured=vsa is not None)
    tell_unread(options, project)
    asked = _wanted(vsa, verifier, who)
    named = (*targets, *(_lines(batch) if batch is not None else ()))
    named, sources = look_up(options, named, places)
    if batch is None and len(named) < 2:
        target = named[0] if named else "HEAD"
        return _one(options, project, target, policy, asked, summary, explain=explain, sources=sources)
    if asked is not None:
        raise UsageError("a summary is about one artifact", help="gitchain verify PATH --vsa OUT")
    return _several(options, project, named, policy, summary, explain=explain, sources=sources)


def _wanted(path: Path | None, verifier: str | None, who: SigningIdentity) -> VsaRequest | None:
    """Return the requested summary, None without --vsa; raises UsageError if --verifier or --vsa is missing."""
    if path is None and not verifier and not who.name:
        return None
    from gitchain.cli.vsa import wanted

    return wanted(path, verifier, who)


def _lines(batch: Any) -> list[str]:
    """Return the targets of a batch: one a line, empty lines left out."""
    found: list[str] = []
    while line := batch.readline(MAX_LINE + 1):
        if len(line) > MAX_LINE or len(found) >= MAX_TARGETS:
            raise LimitError(
                "the batch is too large", expected=f"at most {MAX_TARGETS} lines of {MAX_LINE} bytes"
            )
        try:
            text = line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise UsageError("the batch is not UTF-8", where=f"line {len(found) + 1}") from error
        if text:
            found.append(text)
    return found


def _one(
    options: Options,
    project: Project | None,
    target: str,
    policy: Policy,
    asked: VsaRequest | None,
    summary: Path | None,
    *,
    explain: bool,
    sources: Sequence[EvidenceSource],
) -> ExitCode:
    from gitchain.consume.verifier import verify

    try:
        result = verify(project, target, policy, datetime.now(UTC), explain=explain, sources=sources)
    except GitchainError as error:
        if asked is not None:
            options.talk(f"no summary was written to {escape(str(asked.path))}: there is no verdict")
        if summary is not None:
            from gitchain.cli import job_summary

            job_summary.append(summary, job_summary.failures([(target, error)]))
        raise
    documents = list(_documents(result))
    if summary is not None:
        from gitchain.cli import job_summary

        job_summary.append(summary, job_summary.verdicts(documents, result.accepted.signed.layout))
    for document in documents:
        print_verdict(options, document, explain=explain)
    _say_bundle(options, target, result)
    code = _exit_code(decision.exit_code for decision in result.decisions)
    whole = documents[0] if len(documents) == 1 else _several_document(documents)
    whole |= {"refused": _refused(result)} | unread(project)
    if asked is not None:
        from gitchain.cli.vsa import summarised

        written, unwritten = summarised(options, project, result.decisions, asked)
        whole |= {"summary": written}
        code = code or unwritten
    options.document(whole)
    _talk(options, result)
    return code


def _several(
    options: Options,
    project: Project | None,
    targets: tuple[str, ...],
    policy: Policy,
    summary: Path | None,
    *,
    explain: bool,
    sources: Sequence[EvidenceSource],
) -> ExitCode:
    """Verify target by target: one that cannot be verified is a failed result, and the others go on."""
    from gitchain.consume.verifier import verify_batch

    if not targets:
        raise NoEvidenceError(
            "the batch names no target",
            expected="one a line",
            help="write one path a line into it: gitchain verify --batch FILE",
        )
    documents: list[dict[str, Any]] = []
    codes: list[int] = []
    failed: list[tuple[str, GitchainError]] = []
    last: Verification | None = None
    with options.progress("verifying", len(targets)) as advance:
        results = verify_batch(project, targets, policy, datetime.now(UTC), explain=explain, sources=sources)
        for target, result in results:
            options.clear_progress()
            if isinstance(result, GitchainError):
                documents.append({"target": target, **error_document(result)})
                print_error(options, target, result)
                codes.append(int(result.exit_code))
                failed.append((target, result))
            else:
                last = result
                for document in _documents(result):
                    documents.append({"target": target, **document})
                    (print_verdict if explain else print_line)(options, document)
                _say_bundle(options, target, result)
                codes.append(_exit_code(one.exit_code for one in result.decisions))
            advance(1)
    options.document(
        _several_document(documents) | {"refused": _refused(last) if last else []} | unread(project)
    )
    if summary is not None:
        from gitchain.cli import job_summary

        decided = [one for one in documents if "verificationResult" in one]
        pages = [job_summary.verdicts(decided, last.accepted.signed.layout)] if last is not None else []
        job_summary.append(summary, "\n".join([*pages, job_summary.failures(failed)]))
    if last is not None:
        _talk(options, last)
    options.talk(_summary(codes))
    return _exit_code(codes)


def _documents(result: Verification) -> Iterator[dict[str, Any]]:
    trust = result.accepted.profile.trust
    about: dict[str, Any] = {
        "name": result.accepted.profile.name,
        "digest": trust.digest,
        "local": trust.is_local,
    }
    for decision in result.decisions:
        document = decision.to_json(about)
        if result.signatures:
            document["git"] = [one.to_json() for one in result.signatures]
        yield document


def _say_bundle(options: Options, target: str, result: Verification) -> None:
    """Describe what the verdict on a bundle file covers."""
    if result.bundle is None:
        return
    count = len(result.bundle.targets)
    what = "its subject" if count == 1 else f"its {count} subjects"
    options.talk(
        f"bundle    {escape(target)} verifies, signed by {escape(str(result.bundle.signer))}; "
        f"the verdict is about {what}, not about a file beside it"
    )


def _refused(result: Verification) -> list[dict[str, Any]]:
    return [
        {"step": one.step, "id": one.attestation_id or None, "reason": one.reason} for one in result.refused
    ]


def _several_document(documents: list[dict[str, Any]]) -> dict[str, Any]:
    passed = bool(documents) and all(one.get("verificationResult") == "PASSED" for one in documents)
    return {
        "schema": "https://gitchain.dev/verify-several/v1",
        "verificationResult": "PASSED" if passed else "FAILED",
        "results": documents,
    }


def _talk(options: Options, result: Verification) -> None:
    if result.accepted.profile.trust.is_local:
        options.talk(f"trust     {NOTICE}")
    tell_open_choice(options, result.accepted)
    if result.forgotten:
        options.talk(
            f"warning   an older layout would be accepted later: {escape(str(result.forgotten))}; "
            "pin it where it can be written, or give --minimum-version"
        )
    for one in result.refused:
        what = f"attestation {one.attestation_id[:12]}" if one.attestation_id else "evidence"
        step = f" of step {one.step}" if one.step else ""
        options.talk(f"not counted: {escape(what + step)}: {escape(one.reason)}")


def _summary(codes: Sequence[int]) -> str:
    passed = sum(code == ExitCode.OK for code in codes)
    return f"{passed} of {len(codes)} target(s) passed"


def _exit_code(codes: Iterable[int]) -> ExitCode:
    """Return OK only if there is something and all of it passed.

    Else the lowest code: one contradiction among unknown artifacts is a failure, not an absence.
    """
    found = list(codes)
    if not found:
        return ExitCode.NOTHING
    return ExitCode(min((code for code in found if code != ExitCode.OK), default=ExitCode.OK))

"""`gitchain verify`: check models against their layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import Options, error_document, escape
from gitchain.cli.signing import not_empty, signing_options
from gitchain.cli.verdict import decision_document, print_error, print_line, print_verdict
from gitchain.cli.verify_options import (
    VerifyInputs,
    VerifyOptions,
    refused_documents,
    tell_bundle,
    tell_reading,
    unread,
    verify_options,
)
from gitchain.errors import ExitCode, GitchainError, LimitError, NoEvidenceError, StoreError, UsageError

if TYPE_CHECKING:
    from gitchain.cli.ci_reports import CiReports
    from gitchain.cli.vsa import VsaRequest
    from gitchain.consume.verifier import Verification
    from gitchain.produce.sign_and_store import SigningIdentity

MAX_TARGETS = 1_000_000
MAX_LINE = 8192
"""Longest line of a batch: no path is longer."""


@click.command(name="verify")
@click.argument("targets", nargs=-1, metavar="[TARGET]...")
@verify_options
@click.option("--explain", is_flag=True, help="Show every check, who signed, when, and where it is logged.")
@click.option(
    "--batch",
    type=click.File("rb"),
    metavar="FILE|-",
    help="Read more targets from FILE, one per line; print one result line each.",
)
@click.option(
    "--vsa",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="OUT",
    help="Sign the verdict as a SLSA summary: store it and write it to OUT.",
)
@click.option("--verifier", metavar="URI", callback=not_empty, help="Verifier named in the summary of --vsa.")
@click.option(
    "--summary",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Append verdict and chain as Markdown: $GITHUB_STEP_SUMMARY.",
)
@click.option(
    "--junit",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write JUnit XML: one test case for each model, and for each target without a verdict.",
)
@click.option(
    "--sarif",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the findings as SARIF 2.1.0, for code scanning.",
)
@signing_options
@global_options
@click.pass_obj
def command(
    options: Options,
    targets: tuple[str, ...],
    chosen: VerifyOptions,
    explain: bool,
    batch: Any,
    vsa: Path | None,
    verifier: str | None,
    summary: Path | None,
    junit: Path | None,
    sarif: Path | None,
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
    asked = _wanted(vsa, verifier, who)
    named = (*targets, *(_lines(batch) if batch is not None else ()))
    reports = _reports(summary, junit, sarif)
    inputs = chosen.open(options, named, configured=asked is not None)
    if batch is None and len(named) < 2:
        return _one(options, inputs, asked, reports, explain=explain)
    if asked is not None:
        raise UsageError("a summary is about one artifact", help="gitchain verify PATH --vsa OUT")
    return _several(options, inputs, reports, explain=explain)


def _reports(summary: Path | None, junit: Path | None, sarif: Path | None) -> CiReports | None:
    if summary is None and junit is None and sarif is None:
        return None
    from gitchain.cli.ci_reports import CiReports

    return CiReports(summary, junit, sarif)


def _wanted(path: Path | None, verifier: str | None, who: SigningIdentity) -> VsaRequest | None:
    """Return the requested summary, None without --vsa. Raises UsageError if --verifier or --vsa is missing."""
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
    inputs: VerifyInputs,
    asked: VsaRequest | None,
    reports: CiReports | None,
    *,
    explain: bool,
) -> ExitCode:
    from gitchain.consume.verifier import verify

    project, policy = inputs.project, inputs.policy
    target = inputs.targets[0] if inputs.targets else "HEAD"
    try:
        result = verify(project, target, policy, datetime.now(UTC), explain=explain, sources=inputs.sources)
    except GitchainError as error:
        if asked is not None:
            options.talk(f"no summary was written to {escape(str(asked.path))}: there is no verdict")
        if reports is not None:
            _write_failure(options, reports, target, error)
        raise
    documents = list(_documents(result))
    for document in documents:
        print_verdict(options, document, explain=explain)
    if reports is not None:
        reports.write([(target, one) for one in documents], [], result.accepted.signed.layout)
    tell_bundle(options, target, result)
    code = _exit_code(decision.exit_code for decision in result.decisions)
    whole = documents[0] if len(documents) == 1 else _several_document(documents)
    whole |= {"refused": refused_documents(result.refused)} | unread(project)
    if asked is not None:
        from gitchain.cli.vsa import summarised

        written, unwritten = summarised(options, project, result.decisions, asked)
        whole |= {"summary": written}
        code = code or unwritten
    options.document(whole)
    tell_reading(options, result.accepted, result.refused, result.forgotten)
    return code


def _write_failure(options: Options, reports: CiReports, target: str, error: GitchainError) -> None:
    """Write that there is no verdict; a report that cannot be written does not hide the reason."""
    try:
        reports.write([], [(target, error)], None)
    except StoreError as unwritten:
        options.talk(f"warning   {escape(str(unwritten))}")


def _several(
    options: Options,
    inputs: VerifyInputs,
    reports: CiReports | None,
    *,
    explain: bool,
) -> ExitCode:
    """Verify target by target: one that cannot be verified is a failed result, and the others go on."""
    from gitchain.consume.verifier import verify_batch

    project, policy, targets = inputs.project, inputs.policy, inputs.targets
    _require_targets(targets)
    documents, codes = list[dict[str, Any]](), list[int]()
    failed: list[tuple[str, GitchainError]] = []
    last: Verification | None = None
    with options.progress("verifying", len(targets)) as advance:
        results = verify_batch(
            project, targets, policy, datetime.now(UTC), explain=explain, sources=inputs.sources
        )
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
                tell_bundle(options, target, result)
                codes.append(_exit_code(one.exit_code for one in result.decisions))
            advance(1)
    options.document(
        _several_document(documents)
        | {"refused": refused_documents(last.refused) if last else []}
        | unread(project)
    )
    if reports is not None:
        decided = [(str(one["target"]), one) for one in documents if "verificationResult" in one]
        reports.write(decided, failed, last.accepted.signed.layout if last else None)
    if last is not None:
        tell_reading(options, last.accepted, last.refused, last.forgotten)
    options.talk(_summary(codes))
    return _exit_code(codes)


def _require_targets(targets: Sequence[str]) -> None:
    if not targets:
        raise NoEvidenceError(
            "the batch names no target",
            expected="one a line",
            help="write one path a line into it: gitchain verify --batch FILE",
        )


def _documents(result: Verification) -> Iterator[dict[str, Any]]:
    for decision in result.decisions:
        document = decision_document(decision, result.accepted.profile)
        if result.signatures:
            document["git"] = [one.to_json() for one in result.signatures]
        yield document


def _several_document(documents: list[dict[str, Any]]) -> dict[str, Any]:
    passed = bool(documents) and all(one.get("verificationResult") == "PASSED" for one in documents)
    return {
        "schema": "https://gitchain.dev/verify-several/v1",
        "verificationResult": "PASSED" if passed else "FAILED",
        "results": documents,
    }


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

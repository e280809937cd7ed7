"""Run every suite through the command line and print what passed, what failed and where we differ on purpose."""

from __future__ import annotations

import contextlib
import io
import sys

import click

from gitchain.cli.main import run
from gitchain.errors import ExitCode
from tests.support.vector_suites import SUITES, VECTORS, Case, Suite


def code_of(case: Case) -> ExitCode:
    """Return the exit code of `gitchain` with these arguments, in this process."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return ExitCode(run(case.args))


def conforms(case: Case) -> bool:
    """Tell whether the verdict is the suite's. A bug (70) is no verdict, whatever was expected."""
    code = code_of(case)
    return code is not ExitCode.BUG and (code is ExitCode.OK) == case.verifies


def report(suite: Suite) -> int:
    """Print one suite's result; return how many cases failed that should not have."""
    cases = suite.cases()
    if not cases:
        click.echo(f"{suite.name}: SKIPPED, no vectors in {suite.path}")
        return 0
    failed = [case for case in cases if not conforms(case)]
    unexplained = [case for case in failed if not case.deviation]
    click.echo(f"{suite.name}: {len(cases) - len(failed)} of {len(cases)} passed, {len(unexplained)} failed")
    for case in failed:
        click.echo(f"  {'deviates' if case.deviation else 'FAILED'}  {case.name}  {case.deviation}")
    return len(unexplained)


def main() -> int:
    """Print every suite's result; 1 if any case failed that is not listed, 3 if there are no vectors at all."""
    failed = sum(report(suite) for suite in SUITES)
    if not any(suite.cases() for suite in SUITES):
        click.echo(f"no vectors in {VECTORS}: set GITCHAIN_VECTORS", err=True)
        return ExitCode.NOTHING
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())

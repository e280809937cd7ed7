"""`gitchain doctor`: what is wrong here, and what to type."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import Options, escape
from gitchain.errors import ExitCode

DOCTOR_SCHEMA = "https://gitchain.dev/doctor/v1"
COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command(name="doctor")
@global_options
@click.pass_obj
def command(options: Options) -> ExitCode:
    """Look at clock, git, dvc, trust, layout, hooks and outbox. Exits 1 when there is a problem."""
    from gitchain.pipeline.doctor import examine

    checks = examine(options.directory, options.trust, datetime.now(UTC))
    options.document({"schema": DOCTOR_SCHEMA, "checks": [asdict(check) for check in checks]})
    for check in checks:
        options.data(
            f"{options.style(f'{check.state:<8}', fg=COLOURS[check.state])} {check.name:<14} {escape(check.detail)}"
        )
        if check.help and check.state != "ok":
            options.data(f"{'':<8} {'':<14} {escape(check.help)}")
    return ExitCode.FAILED if any(check.state == "problem" for check in checks) else ExitCode.OK

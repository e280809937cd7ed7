"""`gitchain doctor`: what is wrong here, and what to type."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import Options, escape
from gitchain.errors import ExitCode, GitchainError

if TYPE_CHECKING:
    from gitchain.pipeline.doctor import Check

DOCTOR_SCHEMA = "https://gitchain.dev/doctor/v1"
COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command(name="doctor")
@global_options
@click.pass_obj
def command(options: Options) -> ExitCode:
    """Look at clock, git, dvc, trust, layout, hooks and outbox. Exits 1 when there is a problem."""
    from gitchain.pipeline.doctor import examine

    checks = [*examine(options.directory, options.trust, datetime.now(UTC)), *_hooks(options.directory)]
    options.document({"schema": DOCTOR_SCHEMA, "checks": [asdict(check) for check in checks]})
    for check in checks:
        options.data(
            f"{options.style(f'{check.state:<8}', fg=COLOURS[check.state])} {check.name:<14} {escape(check.detail)}"
        )
        if check.help and check.state != "ok":
            options.data(f"{'':<8} {'':<14} {escape(check.help)}")
    return ExitCode.FAILED if any(check.state == "problem" for check in checks) else ExitCode.OK


def _hooks(directory: Path) -> list[Check]:
    """Return what the hooks and their drainer left behind, which lie above the pipeline."""
    from gitchain.hooks import status, troubles
    from gitchain.pipeline.doctor import Check

    try:
        states = {hook.name: hook.state for hook in status(directory)}
        left = troubles(directory)
    except GitchainError as error:
        return [Check("hooks", "warning", str(error), error.help)]
    missing = [name for name, state in states.items() if state != "installed"]
    found = [Check("hooks", "problem", trouble, "gitchain sync") for trouble in left]
    if missing:
        return [
            Check("hooks", "warning", f"not installed: {', '.join(missing)}", "gitchain hooks install"),
            *found,
        ]
    return [Check("hooks", "ok", ", ".join(states)), *found]

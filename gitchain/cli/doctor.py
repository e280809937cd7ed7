"""`gitchain doctor`: diagnose the setup, and print the commands that fix it."""

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
    from gitchain.produce.doctor import DoctorCheck

DOCTOR_SCHEMA = "https://gitchain.dev/doctor/v1"
COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command(name="doctor")
@global_options
@click.pass_obj
def command(options: Options) -> ExitCode:
    """Check clock, Git, DVC, trust, layout, hooks and outbox. Exits 1 if there is a problem.

    \b
    Examples:
      gitchain doctor
      gitchain doctor --json
    """
    from gitchain.produce.doctor import examine, only_verifies

    found = examine(options.directory, options.trust, datetime.now(UTC))
    checks = [*found, *_hooks(options.directory, signs=not any(map(only_verifies, found)))]
    options.document({"schema": DOCTOR_SCHEMA, "checks": [asdict(check) for check in checks]})
    for check in checks:
        options.data(
            f"{options.style(f'{check.state:<8}', fg=COLOURS[check.state])} {check.name:<14} {escape(check.detail)}"
        )
        if check.help and check.state != "ok":
            options.data(f"{'':<8} {'':<14} {escape(check.help)}")
    return ExitCode.FAILED if any(check.state == "problem" for check in checks) else ExitCode.OK


def _hooks(directory: Path, *, signs: bool) -> list[DoctorCheck]:
    """Return the problems that the hooks and their drainer recorded. Hooks are optional: `sync` does their work too."""
    from gitchain.hooks import status, troubles
    from gitchain.produce.doctor import DoctorCheck

    try:
        states = {hook.name: hook.state for hook in status(directory)}
        left = troubles(directory)
    except GitchainError as error:
        return [DoctorCheck("hooks", "warning", str(error), error.help)]
    missing = [name for name, state in states.items() if state != "installed"]
    found = [DoctorCheck("hooks", "problem", trouble, "gitchain sync") for trouble in left]
    if missing and not signs:
        return [
            DoctorCheck("hooks", "ok", "not installed: this machine signs nothing that they could queue"),
            *found,
        ]
    if missing:
        return [
            DoctorCheck("hooks", "warning", f"not installed: {', '.join(missing)}", "gitchain hooks install"),
            *found,
        ]
    return [DoctorCheck("hooks", "ok", ", ".join(states)), *found]

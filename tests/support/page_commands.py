"""How the journeys type the commands of the pages: with bash, in a project of Ada's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.shell import Shell

ID = "4c5478ab616a"
"""The attestation that the pages show; a session types the id of its own."""
OWN_ID = (
    '$(gitchain log --json | python -c \'import json, sys; print(json.load(sys.stdin)["events"][0]["id"])\')'
)


def lines(text: str) -> list[str]:
    """Return the commands of a session; one that no page shows starts with `! `."""
    return text.strip().splitlines()


def now_and_tomorrow() -> dict[str, str]:
    """Return the times that the pages show, each with the one that a session types at this moment."""
    now = datetime.now(UTC)
    return {
        "--at 2026-12-31T12:00:00Z": f"--at {now:%Y-%m-%dT%H:%M:%SZ}",
        "--to 2026-12-01": f"--to {now + timedelta(days=1):%Y-%m-%d}",
    }


def type_lines(shell: Shell, commands: list[str], own: Mapping[str, str] | None = None) -> None:
    """Type each command with bash; it must end with 0. Times, the id and the names in `own` are the session's."""
    for line in commands:
        typed = line.removeprefix("! ")
        for shown, replacement in {ID: OWN_ID, **now_and_tomorrow(), **(own or {})}.items():
            typed = typed.replace(shown, replacement)
        done = shell.run("bash", "-c", typed)
        assert done.code == 0, (line, done.code, done.text)


def repository(folder: Path, files: dict[str, str]) -> Shell:
    """Return Ada's new repository `churn` with some files, and two remotes."""
    shell = Shell(folder / "churn", folder / "home")
    for directory in (shell.cwd, shell.home):
        directory.mkdir(parents=True, exist_ok=True)
    shell.write(files)
    shell.must("git", "init", "-q", "-b", "main")
    shell.must("git", "config", "user.name", "Ada")
    shell.must("git", "config", "user.email", "ada@example.com")
    for remote in ("origin", "upstream"):
        shell.must("git", "init", "-q", "--bare", "-b", "main", str(folder / f"{remote}.git"))
        shell.must("git", "remote", "add", remote, str(folder / f"{remote}.git"))
    return shell

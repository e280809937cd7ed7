"""Who Git says is working here: a name to ask for a token with, never a proof of anything."""

from __future__ import annotations

import subprocess
from pathlib import Path


def user_email(root: Path) -> str | None:
    """Return Git's user.email as this repository sees it, None when it is not set or git is missing."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "config", "--get", "user.email"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None

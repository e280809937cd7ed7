"""Who Git says is working here: a name to ask for a token with, never a proof of anything."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path


def user_email(root: Path) -> str | None:
    """Return the e-mail that Git would commit with here (GIT_COMMITTER_EMAIL, user.email), None when nobody set one."""
    if given := os.environ.get("GIT_COMMITTER_EMAIL", "").strip():
        return given
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

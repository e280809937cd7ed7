"""Read the user's identity from Git's configuration: a name for a token request, not a proof."""

from __future__ import annotations

import os
from pathlib import Path

from gitchain.errors import GitchainError
from gitchain.platform.git import Git


def user_email(root: Path) -> str | None:
    """Return the e-mail that Git would commit with here (GIT_COMMITTER_EMAIL, user.email), or None."""
    if given := os.environ.get("GIT_COMMITTER_EMAIL", "").strip():
        return given
    try:
        done = Git(root, offline=True).run("config", "--get", "user.email", seconds=10, accept=None)
    except GitchainError:
        return None
    return done.stdout.decode("utf-8", "replace").strip() or None

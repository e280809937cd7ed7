"""Configure Git to sign commits with the user's SSH key, in one repository.

Existing settings of any scope are not changed, and no key is created.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from gitchain.errors import LayoutError, StoreError
from gitchain.layout.keys import MAX_KEY_CHARS, ssh_text
from gitchain.platform.files import open_regular
from gitchain.platform.git import Git

NAMES = ("id_ed25519", "id_ecdsa", "id_rsa")
"""Key files of `ssh-keygen`, in order of preference. Security keys cannot be functionaries."""

SETTINGS = ("gpg.format", "user.signingkey", "commit.gpgsign")
GIT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class SshSigning:
    """The key for signing with Git, in the layout's form, and the existing settings."""

    key: Path | None
    public: str
    taken: tuple[str, ...]

    @property
    def possible(self) -> bool:
        """Return True if there is a key and no setting."""
        return self.key is not None and not self.taken


def find_ssh_signing(root: Path) -> SshSigning:
    """Return the key and the settings for signing commits of this repository."""
    pattern = f"^({'|'.join(map(re.escape, SETTINGS))})$"
    held = (_git(root, "config", "--name-only", "--get-regexp", pattern) or "").split()
    taken = tuple(name for name in SETTINGS if name in held)
    for name in NAMES:
        key = Path.home() / ".ssh" / f"{name}.pub"
        try:
            if key.with_suffix("").is_file():
                return SshSigning(key, ssh_text(_first_line(key)), taken)
        except (OSError, LayoutError, UnicodeDecodeError):
            continue
    return SshSigning(None, "", taken)


def set_up_ssh_signing(root: Path, signing: SshSigning) -> tuple[str, ...]:
    """Set the three settings in the repository's configuration; return them as text. Raises StoreError if git fails."""
    values = ("ssh", str(signing.key), "true")
    for name, value in zip(SETTINGS, values, strict=True):
        if _git(root, "config", "--local", name, value) is None:
            raise StoreError("git did not take a setting", where=name, help=f"git config {name} {value}")
    return tuple(f"{name}={value}" for name, value in zip(SETTINGS, values, strict=True))


def _first_line(path: Path) -> str:
    with open_regular(path) as file:
        return file.readline(MAX_KEY_CHARS + 1).decode("ascii").rstrip("\r\n")


def _git(root: Path, *arguments: str) -> str | None:
    """Return git's stdout, or None if it exits non-zero."""
    done = Git(root, offline=True).run(*arguments, seconds=GIT_SECONDS, accept=None)
    return done.stdout.decode("utf-8", "replace") if done.code == 0 else None

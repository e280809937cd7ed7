"""Set Git up to sign commits with the user's SSH key, in one repository, where nothing is set up yet.

Does NOT change a setting that is there, in whatever scope, and makes no key.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gitchain.errors import LayoutError, StoreError
from gitchain.layout.keys import MAX_KEY_CHARS, ssh_text
from gitchain.platform.files import open_regular
from gitchain.platform.git import Git

NAMES = ("id_ed25519", "id_ecdsa", "id_rsa")
"""The files that `ssh-keygen` makes, the best kind first; security keys are no functionaries."""

SETTINGS = ("gpg.format", "user.signingkey", "commit.gpgsign")
GIT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class SshSigning:
    """The key that Git could sign with, as a layout has it; or which settings are there already."""

    key: Path | None
    public: str
    taken: tuple[str, ...]

    @property
    def possible(self) -> bool:
        """Tell whether there is a key and no setting."""
        return self.key is not None and not self.taken


def find_ssh_signing(root: Path) -> SshSigning:
    """Return what there is to sign commits of this repository with."""
    taken = tuple(name for name in SETTINGS if _git(root, "config", "--get", name) is not None)
    for name in NAMES:
        key = Path.home() / ".ssh" / f"{name}.pub"
        try:
            if key.with_suffix("").is_file():
                return SshSigning(key, ssh_text(_first_line(key)), taken)
        except (OSError, LayoutError, UnicodeDecodeError):
            continue
    return SshSigning(None, "", taken)


def set_up_ssh_signing(root: Path, found: SshSigning) -> tuple[str, ...]:
    """Set the three settings in this repository's own configuration; return them as text. StoreError if git refuses."""
    values = ("ssh", str(found.key), "true")
    for name, value in zip(SETTINGS, values, strict=True):
        if _git(root, "config", "--local", name, value) is None:
            raise StoreError("git did not take a setting", where=name, help=f"git config {name} {value}")
    return tuple(f"{name}={value}" for name, value in zip(SETTINGS, values, strict=True))


def _first_line(path: Path) -> str:
    with open_regular(path) as file:
        return file.readline(MAX_KEY_CHARS + 1).decode("ascii").rstrip("\r\n")


def _git(root: Path, *arguments: str) -> str | None:
    """Return git's output, None if it exits with an error."""
    done = Git(root, offline=True).run(*arguments, seconds=GIT_SECONDS, accept=None)
    return done.stdout.decode("utf-8", "replace") if done.code == 0 else None

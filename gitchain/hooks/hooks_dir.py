"""Find a repository's hooks directory, and write hooks there.

Git reports the directory (`git rev-parse --git-path hooks`), so `core.hooksPath` is respected and never set. Writes
use a temporary file and a rename, so that Git never runs a partially written hook.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from gitchain.errors import ProjectError, StoreError, os_errors_as
from gitchain.platform.files import open_regular, replace_file
from gitchain.platform.git import Git

MAX_HOOK_BYTES = 4 << 20  # a larger hook is a program, and is moved aside unread


@dataclass(frozen=True, slots=True)
class HooksDirectory:
    """Hooks directory and state directory of a repository.

    `shared` is the reason why other users or repositories would run hooks that are installed here, or empty.
    """

    hooks: Path
    home: Path
    shared: str


def find_place(root: Path) -> HooksDirectory:
    """Return the hooks directory of the repository that contains `root`.

    Raises ProjectError without a repository, or for a bare one: attest before you push to a server.
    """
    told = _git(root, "--git-common-dir", "--is-bare-repository", "--git-path", "hooks")
    found = re.fullmatch(r"(.*)\n(true|false)\n(.*)", told, re.DOTALL)
    if found is None:
        raise ProjectError(
            "git answers otherwise than it should",
            where=str(root),
            expected="two paths",
            got=told[:200],
            help="git --version",
        )
    common, hooks = Path(found[1]), Path(found[3])
    if found[2] == "true":
        raise ProjectError(
            "a bare repository has no commits of its own to hook",
            where=str(root),
            expected="a work tree",
            help="gitchain hooks install, in the clone where you commit",
        )
    return HooksDirectory(hooks=hooks, home=common / "gitchain", shared=_shared(root, hooks, common))


def _shared(root: Path, hooks: Path, common: Path) -> str:
    if hooks.resolve().is_relative_to(common.resolve()):
        return ""
    top = Path(_git(root, "--show-toplevel")).resolve()
    if not hooks.resolve().is_relative_to(top):
        return "core.hooksPath names a directory outside of this repository"
    listed = Git(top, offline=True).run("ls-files", "-z", "--", str(hooks.resolve()), accept=None)
    return "core.hooksPath names a directory that is committed" if listed.stdout else ""


def _git(root: Path, *args: str) -> str:
    try:
        done = Git(root, offline=True).run(
            "rev-parse", "--path-format=absolute", *args, accept=None, honour="core.hooksPath"
        )
    except StoreError as error:
        raise ProjectError(
            "git cannot be started here", where=str(root), got=error.got, help="install git, and check PATH"
        ) from error
    if done.code:
        raise ProjectError(
            "not a Git repository", where=str(root.absolute()), got=done.reason, help="git init"
        )
    return os.fsdecode(done.stdout.removesuffix(b"\n"))


def read_hook(path: Path) -> bytes | None:
    """Return the content of a regular file; None for a link, a directory, or more than MAX_HOOK_BYTES.

    Raises FileNotFoundError if it does not exist, StoreError if it cannot be read.
    """
    try:
        info = path.lstat()
        if not stat.S_ISREG(info.st_mode) or info.st_size > MAX_HOOK_BYTES:
            return None
        with open_regular(path) as file:
            return file.read(MAX_HOOK_BYTES)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StoreError("cannot read a hook", where=str(path), got=str(error.strerror)) from error


def write_hook(path: Path, content: bytes, mode: int | None) -> None:
    """Write an executable file atomically, with `mode` or 0777 without the umask.

    Raises StoreError, without a change, if the disk refuses.
    """
    with os_errors_as(StoreError, "cannot write a hook", path):
        replace_file(path, content, _default_mode(path.parent) if mode is None else mode)


def move(source: Path, target: Path) -> None:
    """Rename a hook. Raises StoreError if the disk refuses."""
    with os_errors_as(StoreError, "cannot rename a hook", source):
        source.rename(target)


def delete(path: Path) -> None:
    """Delete a hook. Raises StoreError if the disk refuses."""
    with os_errors_as(StoreError, "cannot delete a hook", path):
        path.unlink(missing_ok=True)


def _default_mode(directory: Path) -> int:
    """Return a mode that lets every reader of the directory read and run its hooks."""
    return 0o700 | stat.S_IMODE(directory.stat().st_mode) & 0o055

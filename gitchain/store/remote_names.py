"""The remotes of a repository, and the one with which attestations are exchanged."""

from __future__ import annotations

from gitchain.errors import ProjectError
from gitchain.store.git_ref import AttestationStore

REMOTE_KEY = "gitchain.remote"
"""Git configuration key of the remote for attestations."""


def remotes(store: AttestationStore) -> tuple[str, ...]:
    """Return the names of the repository's remotes."""
    return tuple(store.git().run("remote").stdout.decode("utf-8", "replace").splitlines())


def configured_remote(store: AttestationStore) -> str | None:
    """Return the remote for attestations: `git config gitchain.remote`, `origin`, or the only one.

    None without a remote. Raises ProjectError if the choice is ambiguous, or the configured one does not exist.
    """
    names, named = remotes(store), store.backend.config(REMOTE_KEY)
    if named is not None:
        check_named(named, names)
        return named
    if "origin" in names or len(names) < 2:
        return "origin" if "origin" in names else next(iter(names), None)
    raise ProjectError(
        "several remotes, and none is named to exchange attestations with",
        expected="one of " + ", ".join(sorted(names)),
        help=f"git config {REMOTE_KEY} NAME",
    )


def check_named(name: str, names: tuple[str, ...]) -> None:
    """Raise ProjectError if there is no remote of this name."""
    if not names:
        raise ProjectError("the repository has no remote", help="git remote add origin <url>")
    if name not in names:
        known = ", ".join(sorted(names))
        raise ProjectError("no such remote", where=repr(name), expected=known, help="git remote -v")

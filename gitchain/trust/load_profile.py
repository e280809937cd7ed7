"""Load a trust configuration by name: the embedded instance, a TUF repository, an archived root or a file."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.errors import (
    LimitError,
    TransportError,
    TrustError,
    UsageError,
    reason,
)
from gitchain.platform.files import open_regular, read_regular
from gitchain.workspace.user_directory import local_directory

if TYPE_CHECKING:
    from gitchain.trust.tuf import FetchedTrust, Repository
from gitchain.trust.profiles import Profile

EXPORTED = "trust.json"
"""Where the embedded instance keeps its trust configuration, in its directory."""


MAX_TRUST_BYTES = 16 << 20  # the public trusted root has about 10 kB


def load_profile(
    name: str, *, base: Path | None = None, offline: bool = False, now: datetime | None = None
) -> Profile:
    """Return the profile called `name`, or load it from a file path relative to `base`.

    Contacts a TUF repository only if the cached metadata is due, and never if `offline`. Raises TrustError if the
    profile cannot be loaded, TransportError if a due update fails.
    """
    return replace(_load(name, base or Path(), now or datetime.now(UTC), offline=offline), offline=offline)


def _load(name: str, base: Path, now: datetime, *, offline: bool) -> Profile:
    if name == "local":
        directory = local_directory()
        return Profile(name="local", text=_exported(directory) or _opened(directory), directory=directory)
    from gitchain.trust.archive import archived
    from gitchain.trust.tuf import Repository

    repository, kept = Repository.of(name), archived(name)
    if repository is not None:
        return _from_tuf(repository, offline=offline, now=now)
    if kept is not None:
        return Profile(name=name, text=kept)
    return _from_file(base / name, _left_out(base, name))


def _exported(directory: Path) -> str | None:
    """Return the trust configuration that the embedded instance exported: to verify, its keys are not opened.

    None if it cannot be read, or others may have written it: opening the instance then names the fault.
    """
    place = directory / EXPORTED
    try:
        for path, is_kind in ((directory, stat.S_ISDIR), (place, stat.S_ISREG)):
            found = path.lstat()
            if not is_kind(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
                return None
        return read_regular(place, MAX_TRUST_BYTES).decode("utf-8")
    except (OSError, LimitError, UnicodeDecodeError):
        return None


def _opened(directory: Path) -> str:
    from gitchain.instance import Instance

    return Instance.open(directory).trust_config()


def _left_out(base: Path, name: str) -> bytes | None:
    """Return a trust configuration of the repository at `base` that a sparse checkout left out, or None."""
    inside = not Path(name).is_absolute() and ".." not in Path(name).parts
    if not inside or (base / name).exists() or not (base / ".git").exists():
        return None
    from gitchain.collect.committed import left_out

    return left_out(base, Path(name))


def is_path(name: str) -> bool:
    """Return True if a --trust value is a file path, not an instance, a TUF repository or an archived root."""
    if name == "local":
        return False
    from gitchain.trust.archive import NAME
    from gitchain.trust.tuf import Repository

    return Repository.of(name) is None and NAME.fullmatch(name) is None


def pin_root(name: str, root: bytes | None) -> None:
    """Pin the initial root of the TUF repository called `name`.

    Raises UsageError if `name` is no TUF repository, and the errors of `Repository.pin`.
    """
    if root is None:
        return
    from gitchain.trust.tuf import Repository

    repository = Repository.of(name)
    if repository is None:
        raise UsageError(
            "--tuf-root belongs to a TUF repository",
            got=name,
            expected="--trust https://…",
            help="gitchain --trust https://HOST init --tuf-root root.json",
        )
    repository.pin(root)


def update_profile(name: str) -> Profile:
    """Update a profile from its TUF repository and return it.

    Raises UsageError if the profile has no TUF repository, and the errors of `Repository.refresh`.
    """
    from gitchain.sign.http import Http
    from gitchain.trust.tuf import Repository

    repository = Repository.of(name)
    if repository is None:
        raise UsageError(
            "this trust is not updated",
            got=name,
            expected="public, public-v2 or the URL of a TUF repository",
            help="local trust and files need no update; gitchain trust status   shows them",
        )
    return _profile(repository, repository.refresh(Http(), datetime.now(UTC)))


def _from_tuf(repository: Repository, *, offline: bool, now: datetime) -> Profile:
    cached = repository.cached()
    if cached is not None and (offline or not cached.is_due(now)):
        return _profile(repository, cached)
    if offline:
        return _never_fetched(repository)
    from gitchain.sign.http import Http

    try:
        return _profile(repository, repository.refresh(Http(), now))
    except TransportError:
        if cached is None or now > cached.expires:
            raise
        return _profile(repository, cached)  # older than a day, but not expired


def _never_fetched(repository: Repository) -> Profile:
    from gitchain.trust.tuf import PUBLIC

    if repository.name == PUBLIC:
        from gitchain.verify.public_trust import public_trust_config

        return Profile(name=PUBLIC, text=public_trust_config(offline=True), rotates=True)
    raise TrustError(
        "this trust was never fetched, and --offline fetches nothing",
        where=repository.url,
        help=f"gitchain --trust {repository.name} trust update",
    )


def _profile(repository: Repository, fetched: FetchedTrust) -> Profile:
    from gitchain.trust.archive import archive

    archive(fetched.text)
    return Profile(name=repository.name, text=fetched.text, rotates=True, fetched=fetched)


def _from_file(path: Path, kept: bytes | None = None) -> Profile:
    from gitchain.verify.trust import trust_digest

    try:
        data = kept
        if data is None:
            with open_regular(path) as file:
                data = file.read(MAX_TRUST_BYTES + 1)
        if len(data) > MAX_TRUST_BYTES:
            raise TrustError(
                "the trust configuration is too large", where=str(path), expected=f"≤ {MAX_TRUST_BYTES} bytes"
            )
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TrustError(
            "cannot read the trust configuration",
            where=str(path),
            got=reason(error),
            help="--trust takes local, public, public-v2, the https:// URL of a TUF repository, sha256:… of a kept root, "
            "or a file that holds a Sigstore trust configuration or trusted root",
        ) from error
    try:
        trust_digest(text)  # validate the file before anything is signed under it
    except TrustError as error:
        where = f"{path}: {error.where}" if error.where else str(path)
        raise TrustError(
            error.what, where=where, expected=error.expected, got=error.got, help=error.help
        ) from error
    return Profile(name=str(path), text=text)

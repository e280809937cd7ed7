"""Consent of the user before an identity is published permanently.

A public log shows every signer, and its entries cannot be deleted. An e-mail address is personal data: gitchain asks
for consent on a terminal, and requires `--yes` without one. The identity of a workflow is a URI: gitchain prints a
notice.

`told.json` in the user's directory (`schemas/told.schema.json`) stores the answers by profile and identity; a
repository cannot give consent. It also stores the remotes whose first push was announced, and the trust file that a
user signs under in each repository (`gitchain.trust.committed_trust`).

Stored consent is not revoked here.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import click

from gitchain.errors import UsageError
from gitchain.evidence.canonical import Json
from gitchain.workspace.user_directory import home_lock, read_state, user_directory, write_state

TOLD_SCHEMA = "https://gitchain.dev/told/v1"
_PAIR = 2  # profile and identity


def require_consent(profile: str, identity: str, whole_statements: bool, *, accepted: bool) -> None:
    """Return if the user accepts that `identity` becomes public.

    Raises UsageError without consent, TrustError if stored consent cannot be read.
    """
    if [profile, identity] in _accepted_identities():
        return
    click.echo(_notice(profile, identity, whole_statements), err=True)
    if not accepted and _is_personal(identity):
        _ask(identity)
    _remember(profile, identity)


def _notice(profile: str, identity: str, whole_statements: bool) -> str:
    what = (
        "the whole statement, with file names and parameters"
        if whole_statements
        else "the statement's digest"
    )
    shown = "".join(char if char.isprintable() else "?" for char in identity[:200])
    return (
        f"the public log of {profile} permanently publishes, without a way to delete it:\n"
        f"  signer  {shown}\n"
        f"  and     {what}, with the time"
    )


def _is_personal(identity: str) -> bool:
    """Return True for an e-mail address, False for the URI of a workflow or workload."""
    return "@" in identity and "://" not in identity and not identity.startswith(("repo:", "project_path:"))


def _ask(identity: str) -> None:
    if sys.stdin.isatty() and sys.stderr.isatty():
        if click.confirm("sign, and make this public?", default=False, err=True):
            return
        raise UsageError(
            "not agreed: nothing was sent", got=identity[:200], help="gitchain sync, if you change your mind"
        )
    raise UsageError(
        "publication of this identity in a public log is not accepted yet",
        got=identity[:200],
        help="gitchain sync --yes, or on a terminal: gitchain sync; for a commit once: GITCHAIN_YES=1 git commit",
    )


def is_announced(remote: str) -> bool:
    """Return True if a push of attestations to this remote was announced before. Raises TrustError."""
    return remote in _read().remotes


def remember_announced(remote: str) -> None:
    """Record that a push to this remote was announced. Raises StoreError if the user's directory is not writable."""
    with home_lock():
        consents = _read()
        _write(replace(consents, remotes=(*consents.remotes, remote)))


def chosen_trust(repository: str) -> str | None:
    """Return the digest of the trust file that the user accepted for a repository, or None.

    Raises TrustError if stored consent cannot be read.
    """
    return _read().signs.get(repository)


def remember_chosen(repository: str, digest: str) -> None:
    """Record the trust file that the user accepted for a repository. Raises StoreError."""
    with home_lock():
        consents = _read()
        _write(replace(consents, signs={**consents.signs, repository: digest}))


@dataclass(frozen=True, slots=True)
class _Consents:
    """Content of `told.json`: identities with their profiles, announced remotes, trust files by repository."""

    identities: tuple[tuple[str, str], ...] = ()
    remotes: tuple[str, ...] = ()
    signs: Mapping[str, str] = field(default_factory=dict)


def _accepted_identities() -> list[list[str]]:
    return [list(pair) for pair in _read().identities]


def _read() -> _Consents:
    path = user_directory() / "told.json"
    remedy = f"remove {path}: gitchain then asks for your consent again"
    return read_state(path, TOLD_SCHEMA, _parse, "the stored consent", help=remedy) or _Consents()


def _parse(document: Mapping[str, Json]) -> _Consents:
    told, remotes, signs = (document.get(key) for key in ("told", "remotes", "signs"))
    pairs = (
        [pair for pair in told if isinstance(pair, list) and len(pair) == _PAIR]
        if isinstance(told, list)
        else []
    )
    return _Consents(
        tuple((str(profile), str(identity)) for profile, identity in pairs),
        tuple(str(remote) for remote in remotes) if isinstance(remotes, list) else (),
        {place: str(digest) for place, digest in signs.items()} if isinstance(signs, dict) else {},
    )


def _remember(profile: str, identity: str) -> None:
    with home_lock():
        consents = _read()
        _write(replace(consents, identities=(*consents.identities, (profile, identity))))


def _write(consents: _Consents) -> None:
    told: list[Json] = [list(pair) for pair in consents.identities]
    document: dict[str, Json] = {"told": told}
    if consents.remotes:
        document["remotes"] = list(consents.remotes)
    if consents.signs:
        document["signs"] = dict(consents.signs)
    write_state(user_directory() / "told.json", TOLD_SCHEMA, document)

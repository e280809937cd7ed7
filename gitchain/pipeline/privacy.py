"""What becomes public for ever is said once, before it does, and who signs agrees.

A public log shows everybody who signed, and nobody can take an entry out. An e-mail address is a person's: it is asked
for on a terminal, and elsewhere `--yes` has to be given. The identity of a workflow is its address: it is told. The
answer is remembered in the user's directory, `told.json` (schemas/told.schema.json), by profile and identity; no
repository can give it. So is the address of each remote that attestations were pushed to, which is announced before.

It does NOT stop what was agreed to before.
"""

from __future__ import annotations

import sys

import click

from gitchain.errors import GitchainError, TrustError, UsageError
from gitchain.evidence.canonical import Json, canonical_json, strict_json
from gitchain.pipeline.home import home_lock, user_directory, write_atomically

TOLD_SCHEMA = "https://gitchain.dev/told/v1"


def agree(profile: str, identity: str, whole_statements: bool, *, agreed: bool) -> None:
    """Return once it is agreed that `identity` becomes public; UsageError if it is not.

    TrustError if what was agreed to before cannot be read.
    """
    if [profile, identity] in _told():
        return
    click.echo(_notice(profile, identity, whole_statements), err=True)
    if not agreed and _is_personal(identity):
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
        f"the public log of {profile} shows everybody, for ever and without a way to delete it:\n"
        f"  who signed  {shown}\n"
        f"  and         {what}, and when"
    )


def _is_personal(identity: str) -> bool:
    """Tell an e-mail address from the URI of a workflow or workload."""
    return "@" in identity and "://" not in identity and not identity.startswith(("repo:", "project_path:"))


def _ask(identity: str) -> None:
    if sys.stdin.isatty() and sys.stderr.isatty():
        if click.confirm("sign, and make this public?", default=False, err=True):
            return
        raise UsageError(
            "not agreed: nothing was sent", got=identity[:200], help="gitchain sync, if you change your mind"
        )
    raise UsageError(
        "nobody has agreed that this identity becomes public for ever",
        got=identity[:200],
        help="gitchain sync --yes, or on a terminal: gitchain sync; for a commit once: GITCHAIN_YES=1 git commit",
    )


def is_announced(remote: str) -> bool:
    """Tell whether a push of attestations to this address was announced before; TrustError if that cannot be read."""
    return remote in _read()[1]


def remember_announced(remote: str) -> None:
    """Remember that a push to this address was announced; StoreError where the user's directory cannot be written."""
    with home_lock():
        told, remotes = _read()
        _write(told, [*remotes, remote])


def _told() -> list[list[str]]:
    return _read()[0]


def _read() -> tuple[list[list[str]], list[str]]:
    """Return the identities that were agreed to, with their profiles, and the remotes that were announced."""
    path = user_directory() / "told.json"
    try:
        document = strict_json(path.read_bytes(), "told.json")
        if not isinstance(document, dict) or document.get("schema") != TOLD_SCHEMA:
            raise TrustError("not what gitchain writes", expected=TOLD_SCHEMA)
        told, remotes = document.get("told"), document.get("remotes")
        return (
            [[str(part) for part in one] for one in told if isinstance(one, list)]
            if isinstance(told, list)
            else [],
            [str(one) for one in remotes] if isinstance(remotes, list) else [],
        )
    except FileNotFoundError:
        return [], []
    except (OSError, GitchainError) as error:
        raise TrustError(
            "cannot read what was agreed to",
            where=str(path),
            got=str(error),
            help=f"remove {path}: you are asked again",
        ) from error


def _remember(profile: str, identity: str) -> None:
    with home_lock():
        told, remotes = _read()
        _write([*told, [profile, identity]], remotes)


def _write(told: list[list[str]], remotes: list[str]) -> None:
    document: dict[str, Json] = {"schema": TOLD_SCHEMA, "told": told}
    if remotes:
        document["remotes"] = remotes
    write_atomically(user_directory() / "told.json", canonical_json(document), mode=0o600)

"""The names that shells complete: tags, commits, steps, attestation ids, identities, layouts, trust profiles, remotes.

They come from the files of the repository and from git, which runs without network and for two seconds at most. What
cannot be read adds no name. The names are unfiltered: `gitchain.cli.shells` offers only the harmless ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

MAX_FILE_BYTES = 1 << 18
"""Largest layout or dvc.yaml that is read: they have a few kilobytes."""
SECONDS = 2.0
"""Longest time that git may take."""


def _git(*args: str) -> str:
    """Return git's output in the current directory, empty if git fails."""
    from gitchain.errors import GitchainError
    from gitchain.platform.git import Git

    try:
        done = Git(Path(), offline=True).run(*args, seconds=SECONDS, limit=1 << 20)
    except (GitchainError, OSError):
        return ""
    return done.stdout.decode("utf-8", "replace")


def _remotes(_: str) -> Iterator[str]:
    """Yield the remotes of the repository."""
    yield from _git("remote").splitlines()


def _profiles(_: str) -> Iterator[str]:
    """Yield the names of the trust profiles that have one."""
    yield from ("local", "public", "public-v2")


def _revisions(_: str) -> Iterator[str]:
    """Yield HEAD, tags, branches, and the last commits."""
    refs = ("--count=1000", "--format=%(refname:lstrip=2)", "refs/tags", "refs/heads")
    commits = _git("rev-list", "--max-count=20", "--abbrev-commit", "HEAD").splitlines()
    if commits:
        yield "HEAD"
    yield from _git("for-each-ref", *refs).splitlines()
    yield from commits


def _attestations(incomplete: str) -> Iterator[str]:
    """Yield the ids in the store by their first twelve digits, or whole where more digits are given."""
    if not re.fullmatch(r"[0-9a-f]{0,64}", incomplete):
        return
    ref = _git("config", "gitchain.ref").strip() or "refs/gitchain/attestations"
    folder = "/".join(("att", *(incomplete[at : at + 2] for at in (0, 2) if len(incomplete) >= at + 2)))
    found = _git("ls-tree", "-r", "--name-only", "--full-tree", "--end-of-options", ref, f"{folder}/")
    for path in found.splitlines():
        digits = "".join(path.split("/")[1:])
        if re.fullmatch(r"[0-9a-f]{64}", digits):
            yield digits[:12] if len(incomplete) < 12 else digits


def _steps(_: str) -> Iterator[str]:
    """Yield the stages of dvc.yaml in the current directory and the steps of the layout."""
    dvc = _document(Path("dvc.yaml"))
    if isinstance(dvc, dict) and isinstance(dvc.get("stages"), dict):
        yield from map(str, dvc["stages"])
    steps = _layout().get("steps")
    for step in steps if isinstance(steps, list) else ():
        if isinstance(step, dict):
            yield str(step.get("name"))


def _identities(_: str) -> Iterator[str]:
    """Yield the subjects of the layout's functionaries, and Git's user."""
    functionaries = _layout().get("functionaries")
    for functionary in functionaries.values() if isinstance(functionaries, dict) else ():
        identities = functionary.get("identities") if isinstance(functionary, dict) else None
        for identity in identities if isinstance(identities, list) else ():
            if isinstance(identity, dict) and isinstance(identity.get("subject"), str):
                yield identity["subject"]
    yield _git("config", "user.email").strip()


def _layouts(_: str) -> Iterator[str]:
    """Yield the name in the layout of the repository, and the names that this user pinned."""
    from gitchain.errors import GitchainError
    from gitchain.workspace.user_directory import read_pins

    yield str(_layout().get("name") or "")
    try:
        yield from read_pins()
    except GitchainError:
        return


def _layout() -> dict[str, Any]:
    """Return the layout file of the repository around the current directory, or an empty one."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / ".gitchain" / "layout.yaml").is_file():
            found = _document(folder / ".gitchain" / "layout.yaml")
            return found if isinstance(found, dict) else {}
        if (folder / ".git").exists():
            break
    return {}


def _document(path: Path) -> Any:
    """Return the document in a small YAML file, or None if it cannot be read."""
    from gitchain.collect.strict_yaml import load_yaml
    from gitchain.errors import GitchainError
    from gitchain.platform.files import read_regular

    try:
        return load_yaml(read_regular(path, MAX_FILE_BYTES), str(path))
    except (OSError, GitchainError):
        return None


NAMES: Mapping[str, Callable[[str], Iterable[str]]] = {
    "attestation": _attestations,
    "identity": _identities,
    "layout": _layouts,
    "remote": _remotes,
    "revision": _revisions,
    "step": _steps,
    "trust": _profiles,
}
"""The names of a kind; some are found by the beginning of the word."""

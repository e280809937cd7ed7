"""Read heads, tags and reachable commits from Git; the hooks only give hints.

Ids and names are passed to git on standard input. Read-only; runs no hook.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gitchain.errors import GitchainError, ProjectError
from gitchain.evidence.digest import Sha256, sha256_hex
from gitchain.platform.git import Git

MAX_MISSED = 1000
"""Most commits that `catch_up` searches for an attested one; older history precedes gitchain."""

_TAG_FACTS = "%(objectname) %(objecttype) %(refname:lstrip=2) %(*objectname) %(*objecttype)"
_OID = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class TagRef:
    """A tag: its name, the tag object (the commit itself for a lightweight one), and the commit."""

    name: str
    oid: str
    commit: str


def find_work_tree(common_dir: Path, here: Path | None) -> Path:
    """Return a work tree of the repository with this common directory: around `here`, else the first one.

    Raises ProjectError if it has none on this machine.
    """
    listed = _worktrees(Git(common_dir))
    for path in (here, common_dir.parent, *(path for path, _ in listed)):
        if path is not None and path.is_dir() and (top := _top(path, common_dir)):
            return top
    raise ProjectError(
        "no work tree of this repository is here", where=str(common_dir), help="git worktree list"
    )


def _top(path: Path, common_dir: Path) -> Path | None:
    try:
        done = Git(path).run("rev-parse", "--path-format=absolute", "--git-common-dir", "--show-toplevel")
    except GitchainError:
        return None
    common, _, top = done.stdout.decode("utf-8", "surrogateescape").removesuffix("\n").partition("\n")
    return Path(top) if top and Path(common).resolve() == common_dir.resolve() else None


def heads(git: Git) -> tuple[str, ...]:
    """Return the commits that the work trees have checked out."""
    return tuple(dict.fromkeys(head for _, head in _worktrees(git) if head))


def _worktrees(git: Git) -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    for block in git.run("worktree", "list", "--porcelain", "-z").stdout.split(b"\0\0"):
        facts = dict(line.partition(b" ")[::2] for line in block.split(b"\0"))
        head = facts.get(b"HEAD", b"").decode("ascii", "replace")
        if b"worktree" in facts and b"bare" not in facts:
            path = Path(facts[b"worktree"].decode("utf-8", "surrogateescape"))
            found.append((path, head if _OID.fullmatch(head) and head.strip("0") else ""))
    return found


def tags(git: Git) -> tuple[TagRef, ...]:
    """Return all tags of commits. Names that are not UTF-8 are skipped."""
    out = git.run("for-each-ref", f"--format={_TAG_FACTS}", "refs/tags").stdout
    found = []
    for line in out.splitlines():
        with suppress(UnicodeDecodeError):
            oid, kind, name, *peeled = line.decode().split(" ")
            commit = oid if kind == "commit" else peeled[0] if peeled[1:] == ["commit"] else None
            if commit is not None:
                found.append(TagRef(name, oid, commit))
    return tuple(found)


def reachable(git: Git, oids: Iterable[str]) -> tuple[str, ...]:
    """Return the commits that are reachable from a branch, a tag, a remote's branch or a work tree."""
    here = [oid for oid in dict.fromkeys(oids) if _OID.fullmatch(oid)]
    if not here:
        return ()
    asked = "".join(f"{oid}\n" for oid in here).encode()
    kinds = (
        git.run("cat-file", "--batch-check=%(objectname) %(objecttype)", stdin=asked)
        .stdout.decode()
        .splitlines()
    )
    commits = [line.partition(" ")[0] for line in kinds if line.endswith(" commit")]
    roots = ("--not", "--branches", "--tags", "--remotes", *heads(git))
    out = git.run("rev-list", "--stdin", *roots, stdin="".join(f"{oid}\n" for oid in commits).encode()).stdout
    lost = set(out.decode("ascii").split())
    return tuple(oid for oid in commits if oid not in lost)


def recent(git: Git, tips: Iterable[str], known: Iterable[str] = ()) -> tuple[str, ...]:
    """Return up to MAX_MISSED commits reachable from `tips` but not from `known`, newest first."""
    asked = "".join([*(f"{oid}\n" for oid in tips), *(f"^{oid}\n" for oid in known)])
    if not asked:
        return ()
    out = git.run("rev-list", f"--max-count={MAX_MISSED}", "--stdin", stdin=asked.encode()).stdout
    return tuple(out.decode("ascii").split())


def raw_digests(git: Git, oids: Iterable[str]) -> dict[str, Sha256]:
    """Return the sha256 of each raw object, by id."""
    out = git.run("cat-file", "--batch", stdin="".join(f"{oid}\n" for oid in oids).encode()).stdout
    found: dict[str, Sha256] = {}
    while out:
        head, _, out = out.partition(b"\n")
        if head.endswith(b" missing"):  # a shallow or damaged repository
            continue
        oid, _, size = head.decode("ascii").split(" ")
        found[oid] = sha256_hex(out[: int(size)])
        out = out[int(size) + 1 :]
    return found

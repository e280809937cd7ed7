"""The files of a commit, and the trailer that names them in a tag."""

from __future__ import annotations

from pathlib import Path

from gitchain.collect.git import git_state, run_git
from gitchain.collect.git_objects import raw_objects, resolve
from gitchain.errors import (
    LimitError,
    ProjectError,
)
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.gittree import parse_tree, trailer
from gitchain.evidence.manifest import FileEntry, build_manifest

MAX_FILES = 10_000
"""Most files read from a tree: a statement has no more subjects."""


def read_files(root: Path, tree: str) -> tuple[FileEntry, ...]:
    """Return every file below a tree with its SHA-256, each object checked against its id.

    Raises ProjectError for a missing object, MalformedError for an invalid tree, LimitError for too many files.
    """
    level, blobs = {tree: [""]}, []
    while level:
        below: dict[str, list[str]] = {}
        for (oid, folders), (kind, raw) in zip(level.items(), raw_objects(root, level), strict=True):
            if kind != "tree":
                raise ProjectError("not a tree", where=oid, got=kind)
            for entry in parse_tree(raw, len(oid) // 2):
                for folder in folders:
                    path = f"{folder}{entry.name}"
                    if entry.kind == "tree":
                        below.setdefault(entry.oid, []).append(f"{path}/")
                    elif entry.kind in {"file", "program"}:
                        blobs.append((path, entry.kind == "program", entry.oid))
            if len(blobs) > MAX_FILES or sum(map(len, below.values())) > MAX_FILES:
                raise LimitError("the commit has too many files", expected=f"at most {MAX_FILES}")
        level = below
    contents = {
        oid: (len(raw), sha256_hex(raw))
        for oid, (_, raw) in zip(
            dict.fromkeys(oid for _, _, oid in blobs),
            raw_objects(root, dict.fromkeys(oid for _, _, oid in blobs)),
            strict=True,
        )
    }
    return tuple(FileEntry(path, program, *contents[oid]) for path, program, oid in blobs)


def trailer_for(directory: Path, revision: str | None) -> str:
    """Return the trailer that binds the files of a revision, or of the staged changes if it is None.

    Raises ProjectError outside a repository or for an unknown revision, and the errors of `read_files`.
    """
    root = git_state(directory, changes=False).root
    if revision is None:
        tree = run_git(root, "write-tree").decode("ascii").strip()
    else:
        _, tree = resolve(root, f"{revision}^{{tree}}")
    return trailer(build_manifest(read_files(root, tree), 1).digest)

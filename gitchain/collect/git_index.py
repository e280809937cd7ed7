"""Files in the index and in commits of a repository: entries, submodules, files of DVC."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gitchain.collect.git import OID, WORK_TREE_SECONDS, format_of, parse_batch, path_text, run_git
from gitchain.errors import ProjectError


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """A tracked file: its blob, and whether a sparse checkout leaves it out."""

    oid: str
    left_out: bool


def index_entry(root: Path, name: str) -> IndexEntry | None:
    """Return the entry of Git's index at this path below `root`, or None if no file is tracked there."""
    out = run_git(root, "ls-files", "-z", "-t", "--stage", "--", f":(literal){name}")
    for line in out.split(b"\0"):
        facts, _, path = line.partition(b"\t")
        if path == os.fsencode(name):
            tag, _, oid, _ = facts.decode("ascii").split()
            return IndexEntry(oid, tag == "S")
    return None


def is_submodule(root: Path, name: str) -> bool:
    """Return whether Git's index holds a submodule at this path below `root`."""
    out = run_git(root, "ls-files", "-z", "--stage", "--", f":(literal){name}")
    return any(
        line.startswith(b"160000 ") and line.endswith(b"\t" + os.fsencode(name)) for line in out.split(b"\0")
    )


def dvc_files_at(root: Path, commit: str) -> Mapping[str, bytes]:
    """Return the content of every *.dvc, dvc.lock and dvc.yaml file in the commit's tree, by path.

    Raises ProjectError if the commit is not here or a path is not UTF-8. Links and submodules are left out.
    """
    if not OID.fullmatch(commit):
        raise ProjectError("object id is malformed", got=ascii(commit[:100]))
    found: dict[str, str] = {}
    for line in run_git(root, "ls-tree", "-r", "-z", "--full-tree", commit).split(b"\0"):
        facts, _, path = line.partition(b"\t")
        if path.endswith(b".dvc") or path.rpartition(b"/")[2] in {b"dvc.lock", b"dvc.yaml"}:
            mode, _, oid = facts.decode("ascii").split()
            if mode.startswith("100"):
                found[path_text(path)] = oid
    out = run_git(root, "cat-file", "--batch", stdin="".join(f"{oid}\n" for oid in found.values()).encode())
    files: dict[str, bytes] = {}
    for name, oid in found.items():
        blob = parse_batch(out, format_of(oid), oid)
        if blob is None:
            raise ProjectError("Git object is not here", where=name, got=oid)
        files[name] = blob[2]
        out = out[out.index(b"\n") + 2 + len(blob[2]) :]
    return files


def dvc_files_here(root: Path) -> tuple[str, ...]:
    """Return the paths of *.dvc and dvc.lock files in the work tree, tracked or not, but none that is ignored."""
    return tuple(
        name for name in _here(root, "*.dvc", "dvc.lock", "**/dvc.lock") if not name.endswith("/.dvc")
    )


def pipelines_here(root: Path) -> tuple[str, ...]:
    """Return the paths of dvc.yaml files in the work tree, tracked or not, but none that is ignored."""
    return _here(root, "dvc.yaml", "**/dvc.yaml")


def _here(root: Path, *patterns: str) -> tuple[str, ...]:
    flags = ("-z", "-c", "-o", "--exclude-standard")
    out = run_git(root, "ls-files", *flags, "--", *patterns, seconds=WORK_TREE_SECONDS)
    names = {path_text(name) for name in out.split(b"\0") if name}
    return tuple(sorted(name for name in names if (root / name).is_file()))

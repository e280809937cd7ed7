"""Hash files and directories of a commit from Git's objects, independent of the work tree.

No filter and no line-ending conversion is applied: the bytes are the blob's. Every blob is checked against its id.
Links, submodules and pointers of Git LFS and git-annex are refused: the commit does not hold their content.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from gitchain.collect.file_digests import MAX_POINTER_BYTES, HashedFile
from gitchain.collect.git import finish, run_git, start
from gitchain.collect.paths import check_path_name
from gitchain.collect.pointers import check_no_pointer
from gitchain.errors import ProjectError
from gitchain.evidence.digest import Sha256

BLOB_SECONDS = 3600.0
"""For one blob: models of many gigabytes are committed too."""


@dataclass(frozen=True, slots=True)
class TreeFile:
    """One file of a commit, by its path below the repository's root."""

    path: str
    mode: str
    oid: str


def tree_files(root: Path, commit: str, name: str) -> tuple[TreeFile, ...]:
    """Return the file at this path of the commit, or every file in the directory; empty if it does not exist.

    Raises ProjectError for a link, a submodule or a path that is not UTF-8.
    """
    check_path_name(name)
    out = run_git(root, "--literal-pathspecs", "ls-tree", "-r", "-z", "--full-tree", commit, "--", name)
    found = []
    for line in filter(None, out.split(b"\0")):
        facts, _, raw = line.partition(b"\t")
        mode, kind, oid = facts.decode("ascii").split()
        path = check_path_name(raw.decode("utf-8", "surrogateescape"))
        if kind != "blob" or not mode.startswith("100"):
            what = "submodule" if kind == "commit" else "symbolic link"
            raise ProjectError(
                f"the commit holds a {what}, not its content",
                where=f"{commit[:12]}: {path}",
                expected="a file",
            )
        if path == name or path.startswith(f"{name}/"):
            found.append(TreeFile(path, mode, oid))
    return tuple(found)


def hash_tree(root: Path, commit: str, name: str) -> HashedFile | tuple[HashedFile, ...] | None:
    """Return the file at this path of the commit, or the files of the directory there sorted by path, None if absent.

    Raises ProjectError for what `tree_files` refuses, a pointer, and an object that is not here or corrupted.
    """
    found = tree_files(root, commit, name)
    if not found:
        return None
    if found[0].path == name:
        return _hashed(root, found[0], "")
    files = [_hashed(root, one, one.path[len(name) + 1 :]) for one in found]
    return tuple(sorted(files, key=lambda file: file.path.encode()))


def write_blob(root: Path, commit: str, name: str, handle: int) -> None:
    """Write the content of the commit's file at this path to an open file.

    Raises ProjectError if the commit has no such file, for what `tree_files` refuses, and for an object that is not here.
    """
    found = [one for one in tree_files(root, commit, name) if one.path == name]
    if not found:
        raise ProjectError("no such file or directory", where=f"{commit[:12]}: {name}")

    def take(data: bytes) -> None:
        while data:
            data = data[os.write(handle, data) :]

    finish(start(str(root), "cat-file", "blob", found[0].oid, seconds=BLOB_SECONDS, sink=take), str(root))


def _hashed(root: Path, one: TreeFile, path: str) -> HashedFile:
    size = run_git(root, "cat-file", "--batch-check=%(objectsize)", stdin=one.oid.encode() + b"\n").strip()
    if not size.isdigit():
        raise ProjectError(
            "Git object is not here", where=one.path, got=one.oid, help="git fetch --refetch --no-filter"
        )
    digests = (
        hashlib.sha256(),
        hashlib.md5(usedforsecurity=False),
        hashlib.new("sha1" if len(one.oid) == 40 else "sha256", usedforsecurity=False),
    )
    digests[2].update(b"blob %d\0" % int(size))
    start_of_file = bytearray()

    def take(data: bytes) -> None:
        for digest in digests:
            digest.update(data)
        start_of_file.extend(data[: MAX_POINTER_BYTES + 1 - len(start_of_file)])

    finish(start(str(root), "cat-file", "blob", one.oid, seconds=BLOB_SECONDS, sink=take), str(root))
    if digests[2].hexdigest() != one.oid:
        raise ProjectError(
            "Git object is corrupted",
            where=one.path,
            expected=one.oid,
            got=digests[2].hexdigest(),
            help="git fsck",
        )
    if len(start_of_file) <= MAX_POINTER_BYTES:
        check_no_pointer(bytes(start_of_file), one.path)
    sha256 = Sha256(digests[0].hexdigest())
    return HashedFile(path, one.mode == "100755", int(size), sha256, digests[1].hexdigest())

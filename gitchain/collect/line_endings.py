"""Detect files whose line endings alone differ from the recorded bytes, because of `core.autocrlf` or attributes.

Git may check text files out with CRLF and commit them with LF. Digests are of the bytes in the work tree, so the same
commit has other digests on another machine. That a file differs by nothing else is proven: its bytes with the other line
endings have the recorded digest.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from gitchain.collect.git import WORK_TREE_SECONDS, run_git
from gitchain.collect.git_index import index_entry
from gitchain.collect.git_objects import raw_object
from gitchain.collect.inspect.opening import open_file
from gitchain.errors import GitchainError

MAX_BYTES = 64 << 20
"""Largest file that is converted to compare it: what Git treats as text is far smaller."""

_MAX_NAMES = 1000


def differs_by_line_endings(root: Path, name: str, expected: str, algorithm: str = "sha256") -> bool:
    """Return whether the file below `root` has the expected digest once its line endings are LF, or CRLF, throughout."""
    try:
        with open_file(str(root), name) as handle:
            data = _read(handle)
    except (GitchainError, OSError):
        return False
    return any(
        hashlib.new(algorithm, one, usedforsecurity=False).hexdigest() == expected for one in _converted(data)
    )


def directory_differs_by_line_endings(
    root: Path, name: str, files: Mapping[str, str], is_recorded: Callable[[Mapping[str, str]], bool]
) -> bool:
    """Return whether the directory is the recorded one if the files that Git converted have Git's line endings.

    `files` maps paths in the directory to their md5; `is_recorded` compares such a mapping with the record.
    """
    try:
        converted = converted_names(root, [name])
    except GitchainError:
        return False
    as_git_has = {
        path: committed_digest(root, f"{name}/{path}", "md5")
        for path in files
        if f"{name}/{path}" in converted
    }
    if not as_git_has or None in as_git_has.values():
        return False
    return is_recorded({**files, **{path: md5 for path, md5 in as_git_has.items() if md5 is not None}})


def help_for_directory(name: str) -> str:
    """Return the command for a directory whose recorded bytes Git has."""
    quoted = shlex.quote(name)
    return f"Git converts its line endings here: {keep_bytes(f'{name}/**')}; rm -r {quoted}; git restore {quoted}"


def help_for(root: Path, name: str, expected: str, algorithm: str = "sha256") -> str:
    """Return the command to type, which depends on whether Git's own copy of the file is the recorded one."""
    attribute, quoted = keep_bytes(name), shlex.quote(name)
    if committed_digest(root, name, algorithm) == expected:
        return f"Git converts its line endings here: {attribute}; rm {quoted}; git restore {quoted}"
    return (
        f"Git converted its line endings where it was recorded, and holds other bytes: there {attribute}; "
        f"git add --renormalize {quoted}; commit, and run the step again"
    )


def keep_bytes(name: str) -> str:
    """Return the command that stops Git from converting the file's line endings."""
    pattern = f'"/{name}"' if re.search(r"\s", name) else f"/{name}"
    return f"echo {shlex.quote(f'{pattern} -text')} >> .gitattributes"


def converted_names(root: Path, names: Iterable[str]) -> Mapping[str, tuple[str, str]]:
    """Return the tracked text files whose line endings differ from Git's: those here, and Git's.

    Directories include their files. Raises ProjectError if git fails. Only the first names are checked.
    """
    asked = [f":(literal){name}" for name in list(dict.fromkeys(names))[:_MAX_NAMES]]
    if not asked:
        return {}
    out = run_git(root, "ls-files", "--eol", "-z", "--", *asked, seconds=WORK_TREE_SECONDS)
    found = {}
    for line in out.split(b"\0"):
        facts, _, name = line.partition(b"\t")
        index, work = (part.partition(b"/")[2].decode("ascii") for part in (*facts.split()[:2], b"", b"")[:2])
        if {index, work} <= {"lf", "crlf", "mixed"} and index != work:
            found[os.fsdecode(name)] = (work.upper(), index.upper())
    return found


def committed_digest(root: Path, name: str, algorithm: str) -> str | None:
    """Return the digest of the file's bytes in Git's index, None if they are not there."""
    try:
        entry = index_entry(root, name)
        data = raw_object(root, entry.oid)[1] if entry is not None else None
    except GitchainError:
        return None
    return None if data is None else hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()


def _converted(data: bytes) -> Iterator[bytes]:
    """Yield the data with LF, and with CRLF, where that is not what it has."""
    unix = data.replace(b"\r\n", b"\n")
    yield from (one for one in (unix, unix.replace(b"\n", b"\r\n")) if one != data)


def _read(handle: int) -> bytes:
    if os.fstat(handle).st_size > MAX_BYTES:
        return b""
    parts = []
    while part := os.read(handle, 1 << 20):
        parts.append(part)
    return b"".join(parts)

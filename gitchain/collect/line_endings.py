"""Files that differ from what was recorded by their line endings alone: what `core.autocrlf` and attributes do.

Git may check text files out with CRLF and commit them with LF. Digests are of the bytes in the work tree, so the same
commit has other digests on another machine. That a file differs by nothing else is proven: its bytes with the other line
endings have the recorded digest.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gitchain.collect.git import index_entry, raw_object
from gitchain.collect.git_cli import WORK_TREE_SECONDS, run_git
from gitchain.collect.inspect.opening import open_file
from gitchain.errors import GitchainError

MAX_BYTES = 64 << 20
"""Largest file that is converted to compare it: what Git treats as text is far smaller."""

_MAX_NAMES = 1000


def differs_by_line_endings(root: Path, name: str, expected: str, algorithm: str = "sha256") -> bool:
    """Tell whether the file below `root` has the expected digest once its line endings are LF, or CRLF, throughout."""
    try:
        with open_file(str(root), name) as handle:
            data = _read(handle)
    except (GitchainError, OSError):
        return False
    return any(
        hashlib.new(algorithm, one, usedforsecurity=False).hexdigest() == expected for one in _converted(data)
    )


def help_for(root: Path, name: str, expected: str, algorithm: str = "sha256") -> str:
    """Return what to type: it depends on whether Git's own copy of the file is the recorded one."""
    attribute, quoted = keep_bytes(name), shlex.quote(name)
    if _committed_is(root, name, expected, algorithm):
        return f"Git converts its line endings here: {attribute}; rm {quoted}; git restore {quoted}"
    return (
        f"Git converted its line endings where it was recorded, and holds other bytes: there {attribute}; "
        f"git add --renormalize {quoted}; commit, and run the step again"
    )


def keep_bytes(name: str) -> str:
    """Return the command after which Git leaves the file's bytes as they are."""
    pattern = f'"/{name}"' if re.search(r"\s", name) else f"/{name}"
    return f"echo {shlex.quote(f'{pattern} -text')} >> .gitattributes"


def converted_names(root: Path, names: Iterable[str]) -> Mapping[str, tuple[str, str]]:
    """Return the tracked text files among the names whose line endings differ from Git's: those here, and Git's.

    Directories stand for their files. Raises ProjectError if git fails. Only the first names are looked at.
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


def _committed_is(root: Path, name: str, expected: str, algorithm: str) -> bool:
    try:
        entry = index_entry(root, name)
        data = raw_object(root, entry.oid)[1] if entry is not None else None
    except GitchainError:
        return False
    return data is not None and hashlib.new(algorithm, data, usedforsecurity=False).hexdigest() == expected


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

"""Resolve revisions of a repository, and read raw Git objects, each checked against its id, with the git binary.

Revisions are passed on standard input, never as arguments, so that none is parsed as an option.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from gitchain.collect.git import OID, format_of, parse_batch, run_git
from gitchain.errors import LimitError, ProjectError

MAX_OBJECT_BYTES = 64 * 1024 * 1024
"""Largest Git object that is read: commits and DVC's files are far smaller."""

_REF_RULES = ("", "refs/", "refs/tags/", "refs/heads/", "refs/remotes/")
"""Where Git looks for a name in this order (gitrevisions): the first only below `refs/`, as `HEAD` is one of its own."""


def resolve(root: Path, rev: str) -> tuple[str, str]:
    """Return (kind, object id) of a revision, an annotated tag as itself.

    Raises ProjectError if it is unknown, or ambiguous between refs with different objects.
    """
    if "\n" in rev or "\0" in rev or not rev:
        raise ProjectError("revision is malformed", got=ascii(rev[:100]))
    base = _base(rev)
    found, *refs = _resolved(root, [rev, *(prefix + base for prefix in _REF_RULES)])
    if found is None:
        raise ProjectError(
            "no such revision",
            where=str(root),
            got=ascii(rev[:100]),
            help="git log, git tag   show those that are here; git fetch --tags   gets those of the remote",
        )
    named = {prefix + base: one for prefix, one in zip(_REF_RULES, refs, strict=True) if one is not None}
    if len({oid for _, oid in named.values()}) > 1 and not OID.fullmatch(base):
        raise ProjectError(
            "revision is ambiguous",
            got=ascii(rev[:100]),
            expected="the name of one ref",
            help=f"name it in full: {' or '.join(map(ascii, named))}",
        )
    return found


def refs_named(root: Path, rev: str) -> Mapping[str, tuple[str, str]]:
    """Return kind and object id of each ref that Git's rules find under the name in a revision, by full name."""
    base = _base(rev)
    names = [f"{prefix}{base}" for prefix in _REF_RULES if f"{prefix}{base}".startswith("refs/")]
    return {
        name: found for name, found in zip(names, _resolved(root, names), strict=True) if found is not None
    }


def _base(rev: str) -> str:
    """Return the name that a revision begins with, without `^…`, `~…`, `@{…}` and `:…`."""
    return re.split(r"\^|~|:|@\{", rev, maxsplit=1)[0]


def _resolved(root: Path, names: list[str]) -> list[tuple[str, str] | None]:
    """Return kind and object id of each name, None for one that names no object, by one process."""
    lines = b"".join(os.fsencode(name) + b"\n" for name in names)
    out = run_git(root, "cat-file", "--batch-check", stdin=lines).decode("utf-8", "replace").splitlines()
    found = [line.split(" ") for line in out]
    return [(one[1], one[0]) if len(one) == 3 and OID.fullmatch(one[0]) else None for one in found]


def raw_object(root: Path, oid: str) -> tuple[str, bytes]:
    """Return (kind, raw content) of an object, its bytes checked against its id.

    Raises ProjectError if it is not here or corrupted, LimitError beyond MAX_OBJECT_BYTES.
    """
    if not OID.fullmatch(oid):
        raise ProjectError("object id is malformed", got=ascii(oid[:100]))
    size = run_git(root, "cat-file", "--batch-check=%(objectsize)", stdin=oid.encode() + b"\n").split()
    if len(size) == 1 and size[0].isdigit() and int(size[0]) > MAX_OBJECT_BYTES:
        raise LimitError("Git object is too large", where=oid, expected=f"at most {MAX_OBJECT_BYTES} bytes")
    found = parse_batch(run_git(root, "cat-file", "--batch", stdin=oid.encode() + b"\n"), format_of(oid), oid)
    if found is None:
        raise ProjectError("Git object is not here", where=str(root), got=oid, help="git fetch --unshallow")
    return found[1], found[2]


def raw_objects(root: Path, oids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Yield kind and raw content of these objects in order, by one process, each checked against its id.

    Raises ProjectError for one that is not here or corrupted, LimitError beyond MAX_OBJECT_BYTES all together.
    """
    asked = list(oids)
    if not all(OID.fullmatch(oid) for oid in asked):
        raise ProjectError("object id is malformed", where=str(root))
    lines = "".join(f"{oid}\n" for oid in asked).encode()
    sizes = run_git(root, "cat-file", "--batch-check=%(objectsize)", stdin=lines).split() if asked else []
    if sum(int(size) for size in sizes if size.isdigit()) > MAX_OBJECT_BYTES:
        raise LimitError(
            "Git objects are too large", where=str(root), expected=f"at most {MAX_OBJECT_BYTES} bytes"
        )
    out = run_git(root, "cat-file", "--batch", stdin=lines) if asked else b""
    for oid in asked:
        found = parse_batch(out, format_of(oid), oid)
        if found is None or found[0] != oid:
            raise ProjectError(
                "Git object is not here", where=str(root), got=oid, help="git fetch --unshallow"
            )
        out = out[out.index(b"\n") + 2 + len(found[2]) :]
        yield found[1], found[2]

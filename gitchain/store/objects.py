"""Git's objects as bytes: trees and commits parsed entry by entry, rendered canonically; objects to write, with their ids.

A tree is a sequence of entries `<mode> SP <name> NUL <raw object id>`, sorted by name with directories compared as if
their name ended in `/` (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects). Works for SHA-1 and SHA-256
repositories: the length of an object id is an argument. No I/O. `tree_paths` defines the meaning of names.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NewType

from gitchain.errors import MalformedError

Oid = NewType("Oid", str)  # a Git object id in lower-case hex: 40 (SHA-1) or 64 (SHA-256) characters
Kind = Literal["blob", "tree", "commit"]

TREE_MODE = "40000"
BLOB_MODE = "100644"
_COMMIT = re.compile(
    rb"tree ([0-9a-f]{40}|[0-9a-f]{64})\n((?:parent (?:[0-9a-f]{40}|[0-9a-f]{64})\n)*)author "
)


@dataclass(frozen=True, slots=True)
class StoredTreeEntry:
    """One entry of a tree."""

    name: str
    mode: str
    oid: Oid

    @property
    def is_tree(self) -> bool:
        """Return True if the entry is a directory."""
        return self.mode == TREE_MODE

    @property
    def sort_key(self) -> bytes:
        """Return the sort key of entries in Git's order."""
        return self.raw_name + (b"/" if self.is_tree else b"")

    @property
    def raw_name(self) -> bytes:
        """Return the name as bytes."""
        return self.name.encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Commit:
    """Tree and parents of a commit."""

    tree: Oid
    parents: tuple[Oid, ...]


def parse_tree(data: bytes, oid_bytes: int, where: str) -> Iterator[StoredTreeEntry]:
    """Yield the entries of a raw tree, in the order of its bytes. Raises MalformedError for a truncated tree.

    Lenient: invalid names and modes, a wrong order and duplicate names are yielded unchanged, so that one invalid
    entry cannot hide others. `tree_paths.check_entry` refuses entries that the store does not have.
    """
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 8)
        end = data.find(b"\0", position)
        if space < 0 or end < space or end + 1 + oid_bytes > len(data):
            raise MalformedError("tree object is cut short", where=where)
        name = data[space + 1 : end].decode("utf-8", "surrogateescape")
        mode = data[position:space].decode("latin-1")
        yield StoredTreeEntry(name, mode, Oid(data[end + 1 : end + 1 + oid_bytes].hex()))
        position = end + 1 + oid_bytes


def render_tree(entries: Iterable[StoredTreeEntry]) -> bytes:
    """Return the bytes of a tree with these entries in git's order; inverse of `parse_tree` for git's own trees."""
    ordered = sorted(entries, key=lambda entry: entry.sort_key)
    return b"".join(
        entry.mode.encode("latin-1") + b" " + entry.raw_name + b"\0" + bytes.fromhex(entry.oid)
        for entry in ordered
    )


def parse_commit(data: bytes, where: str) -> Commit:
    """Return tree and parents of a raw commit. Raises MalformedError for other headers."""
    match = _COMMIT.match(data)
    if match is None:
        raise MalformedError("not a commit of this store", where=where)
    parents = tuple(Oid(line[7:].decode("ascii")) for line in match[2].splitlines())
    return Commit(Oid(match[1].decode("ascii")), parents)


def render_commit(commit: Commit, ident: str, seconds: int, message: str) -> bytes:
    """Return the bytes of a commit by `ident` (`name <mail>`) at a time in seconds since 1970, UTC."""
    lines = [f"tree {commit.tree}", *(f"parent {parent}" for parent in commit.parents)]
    lines += [f"author {ident} {seconds} +0000", f"committer {ident} {seconds} +0000", "", message]
    return ("\n".join(lines) + "\n").encode("utf-8")


@dataclass(frozen=True, slots=True)
class NewObject:
    """An object to write."""

    oid: Oid
    kind: Kind
    data: bytes = field(repr=False)

    @classmethod
    def of(cls, kind: Kind, data: bytes, oid_bytes: int) -> NewObject:
        """Return the object with its Git id."""
        hashed = (hashlib.sha256 if oid_bytes == 32 else hashlib.sha1)(_header(kind, data) + data)
        return cls(Oid(hashed.hexdigest()), kind, data)

    @property
    def hashed(self) -> bytes:
        """Return what the id is the hash of, and what a loose object holds: a header, and the data."""
        return _header(self.kind, self.data) + self.data


def _header(kind: Kind, data: bytes) -> bytes:
    return f"{kind} {len(data)}\0".encode("ascii")

"""The store's tree: Git's objects as bytes, and the paths in the tree.

A tree is a sequence of entries `<mode> SP <name> NUL <raw object id>`, sorted by name with directories compared as if
their name ended in `/` (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects). Works for SHA-1 and SHA-256
repositories: the length of an object id is an argument.

VERSION                                        1 and a newline
att/<aa>/<bb>/<60 hex>                         a bundle; the name is the sha256 of its bytes
by-subject/<alg>/<aa>/<bb>/<rest>/<64 hex>     the same blob again, under the digest of a subject
manifest/<aa>/<bb>/<60 hex>                    a manifest node; the name is the sha256 of its bytes

Only trees (040000) and regular files (100644) exist. A leaf's name is a function of its bytes, so two stores have no
regular conflicts. `by-subject` is a hint: it avoids the walk over all of `att`, and proves nothing. Pure: no
repository is read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NewType

from gitchain.errors import MalformedError
from gitchain.evidence.bundle import Bundle

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
    entry cannot hide others. `check_entry` refuses entries that the store does not have.
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


VERSION_NAME = "VERSION"
VERSION_BYTES = b"1\n"
ATTESTATIONS = "att"
SUBJECTS = "by-subject"
MANIFESTS = "manifest"

# Digest algorithms of indexed subjects, with the lengths of their hex. md5 and sha1 are never match keys; Git's own
# object names are, because a version attestation is looked up by its commit.
INDEXED: Mapping[str, tuple[int, ...]] = {
    "sha256": (64,),
    "sha384": (96,),
    "sha512": (128,),
    "gitCommit": (40, 64),
    "gitTree": (40, 64),
    "gitTag": (40, 64),
    "gitBlob": (40, 64),
}

_HEX = re.compile(r"[0-9a-f]+")
_EntryKind = Literal["tree", "blob"]
_CONTENT: Mapping[tuple[int, int], _EntryKind] = {
    (2, 2): "tree",
    (3, 2): "tree",
    (4, 60): "blob",
}  # depth, length
_ROOT: Mapping[str, _EntryKind] = {
    VERSION_NAME: "blob",
    ATTESTATIONS: "tree",
    SUBJECTS: "tree",
    MANIFESTS: "tree",
}


def content_path(room: str, name: str) -> tuple[str, ...]:
    """Return the path of a leaf with this sha256 in `att` or `manifest`."""
    return (room, name[:2], name[2:4], name[4:])


def subject_path(alg: str, value: str) -> tuple[str, ...]:
    """Return the index directory of one subject digest."""
    return (SUBJECTS, alg, value[:2], value[2:4], value[4:])


def is_indexed(alg: str, value: str) -> bool:
    """Return True if a digest can be a key of `by-subject`."""
    return len(value) in INDEXED.get(alg, ()) and _HEX.fullmatch(value) is not None


def is_sha256(name: str) -> bool:
    """Return True if a string is a sha256 in lower-case hex."""
    return len(name) == 64 and _HEX.fullmatch(name) is not None


def leaf_name(path: tuple[str, ...]) -> str:
    """Return the sha256 required for the bytes at a leaf's path."""
    return path[-1] if path[0] == SUBJECTS else "".join(path[1:])


def check_entry(parent: tuple[str, ...], entry: StoredTreeEntry) -> tuple[str, ...]:
    """Return the entry's path. Raises MalformedError if the store has no such name or kind of entry there."""
    path = (*parent, entry.name)
    expected = _kind(path)
    if expected is None:
        raise MalformedError("name that this store never writes", where="/".join(path))
    mode = TREE_MODE if expected == "tree" else BLOB_MODE
    if entry.mode != mode:
        raise MalformedError(
            "wrong kind of entry in the store", where="/".join(path), expected=mode, got=entry.mode
        )
    return path


def _kind(path: tuple[str, ...]) -> _EntryKind | None:
    if len(path) == 1:
        return _ROOT.get(path[0])
    if path[0] == SUBJECTS:
        return _subject_kind(path)
    if path[0] not in {ATTESTATIONS, MANIFESTS} or _HEX.fullmatch(path[-1]) is None:
        return None
    return _CONTENT.get((len(path), len(path[-1])))


def _subject_kind(path: tuple[str, ...]) -> _EntryKind | None:
    lengths = INDEXED.get(path[1])
    if lengths is None:
        return None
    if len(path) == 2:
        return "tree"
    if _HEX.fullmatch(path[-1]) is None:
        return None
    allowed: Mapping[int, tuple[int, ...]] = {3: (2,), 4: (2,), 5: tuple(n - 4 for n in lengths), 6: (64,)}
    if len(path[-1]) not in allowed.get(len(path), ()):
        return None
    return "blob" if len(path) == 6 else "tree"


Path = tuple[str, ...]


def attestation_paths(data: bytes, name: str) -> tuple[Path, ...]:
    """Return the paths of a bundle in a store: its own first, then those of the index.

    Raises MalformedError or LimitError if the bytes are no bundle with a statement.
    """
    return paths_under(subject_keys(data), name)


def subject_keys(data: bytes) -> list[tuple[str, str]]:
    """Return algorithm and value of the indexed digests of a bundle's subjects. Raises as `attestation_paths`."""
    keys = dict.fromkeys(
        (alg, value)
        for subject in Bundle.parse(data).statement().subject
        for alg, value in subject.digest.items()
        if is_indexed(alg, value)
    )
    return list(keys)


def paths_under(keys: Iterable[Sequence[str]], name: str) -> tuple[Path, ...]:
    """Return the paths of the bundle with this name, whose subjects have these digests."""
    index = ((*subject_path(alg, value), name) for alg, value in keys)
    return (content_path(ATTESTATIONS, name), *index)

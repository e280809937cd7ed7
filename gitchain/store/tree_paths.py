"""Paths in the store's tree.

VERSION                                        1 and a newline
att/<aa>/<bb>/<60 hex>                         a bundle; the name is the sha256 of its bytes
by-subject/<alg>/<aa>/<bb>/<rest>/<64 hex>     the same blob again, under the digest of a subject
manifest/<aa>/<bb>/<60 hex>                    a manifest node; the name is the sha256 of its bytes

Only trees (040000) and regular files (100644) exist. A leaf's name is a function of its bytes, so two stores have no
regular conflicts. `by-subject` is a hint: it avoids the walk over all of `att`, and proves nothing. Pure: no
repository is read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from gitchain.errors import MalformedError
from gitchain.evidence.bundle import Bundle
from gitchain.store.objects import BLOB_MODE, TREE_MODE, StoredTreeEntry

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
Kind = Literal["tree", "blob"]
_CONTENT: Mapping[tuple[int, int], Kind] = {(2, 2): "tree", (3, 2): "tree", (4, 60): "blob"}  # depth, length
_ROOT: Mapping[str, Kind] = {
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


def _kind(path: tuple[str, ...]) -> Kind | None:
    if len(path) == 1:
        return _ROOT.get(path[0])
    if path[0] == SUBJECTS:
        return _subject_kind(path)
    if path[0] not in {ATTESTATIONS, MANIFESTS} or _HEX.fullmatch(path[-1]) is None:
        return None
    return _CONTENT.get((len(path), len(path[-1])))


def _subject_kind(path: tuple[str, ...]) -> Kind | None:
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

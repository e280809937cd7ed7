"""Directory manifests: one digest for a directory, Merkle by directory, so that one changed file is O(depth).

A node lists one directory, as canonical JSON, entries sorted by the UTF-8 bytes of their names:

    {"entries":[{"files":2,"name":"sub","sha256":"<sha256 of its node>","size":10,"type":"dir"},
                {"name":"x.csv","sha256":"<sha256 of the file>","size":4,"type":"file"}],
     "schema":"https://gitchain.dev/manifest/v2"}

A directory's digest is the SHA-256 of its node. Names, sizes and contents are in the hash: a rename changes it.
`size` and `files` of a directory are sums over everything below it.

Version 2 is written. Version 1 is read: its files carry a mode as well, so its digests differ. The schema is in the
hash, and all nodes under one root have one version: no digest covers nodes of both. `to_version_2` derives the
digest of the same directory under version 2 from nodes of version 1.

Spec: docs/formats/manifest.md. Does NOT read the disk, and knows no symlinks and no empty subdirectories.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from gitchain.errors import LimitError, MalformedError, NoEvidenceError
from gitchain.evidence.canonical import MAX_SAFE_INTEGER, Json, strict_json
from gitchain.evidence.digest import Sha256, check_hex, sha256_hex
from gitchain.evidence.fields import as_object, get_array, get_integer, get_string
from gitchain.evidence.names import check_name
from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPES, MANIFEST_VERSION, ManifestVersion

SCHEMAS: Mapping[ManifestVersion, str] = MappingProxyType(
    {1: "https://gitchain.dev/manifest/v1", 2: "https://gitchain.dev/manifest/v2"}
)

MAX_DIRECTORY_ENTRIES = 1_000_000
"""Most entries of one directory: flat data sets of 100,000 files are common, of a million known."""

MAX_NODE_BYTES = 256 * 1024 * 1024
"""Largest node: MAX_DIRECTORY_ENTRIES of about 200 bytes each, with room."""

MAX_FILES = 10_000_000
"""Most files under one root when a manifest is expanded: ten times the largest directory."""

MAX_DEPTH = 512
"""Deepest directory: a name of 1024 bytes has at most 512 parts."""

Fetch = Callable[[str], bytes | None]
"""Returns the node with this digest, or None if it is not there."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a directory, by its path below the root. The constructor raises MalformedError.

    `executable` is in the digest under version 1 alone; read from a manifest of version 2 it is False.
    """

    path: str
    executable: bool
    size: int
    sha256: Sha256

    def __post_init__(self) -> None:
        check_name(self.path, "file name")
        check_hex(self.sha256, (64,), self.path)
        if not 0 <= self.size <= MAX_SAFE_INTEGER:
            raise MalformedError("file size is out of range", where=ascii(self.path), got=str(self.size))


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """One entry of a node: a file, or a directory with the number of files below it."""

    name: str
    is_directory: bool
    executable: bool
    size: int
    files: int
    sha256: Sha256

    def render(self, version: ManifestVersion) -> str:
        """Return the entry in canonical JSON; quotes are all that a checked name needs escaped."""
        name = self.name.replace('"', '\\"')
        tail = f'"name":"{name}","sha256":"{self.sha256}","size":{self.size}'
        if self.is_directory:
            return f'{{"files":{self.files},{tail},"type":"dir"}}'
        mode = f'"mode":"{"755" if self.executable else "644"}",' if version == 1 else ""
        return f'{{{mode}{tail},"type":"file"}}'


@dataclass(frozen=True, slots=True)
class Manifest:
    """A directory's digest, the totals, and every node by its digest. Make it with build_manifest()."""

    digest: Sha256
    size: int
    files: int
    nodes: Mapping[str, bytes] = field(repr=False, hash=False)
    version: ManifestVersion = MANIFEST_VERSION


_Children = dict[str, NodeEntry | None]
"""The entries of one directory by name; None for a directory whose node is not made yet."""


def build_manifest(entries: Iterable[FileEntry], version: ManifestVersion = MANIFEST_VERSION) -> Manifest:
    """Return the manifest of a directory with these files; their order does not matter.

    Raises MalformedError if a path appears twice or is both file and directory, LimitError beyond the limits.
    """
    directories: dict[str, _Children] = {"": {}}
    for entry in entries:
        _place(directories, entry)
    nodes: dict[str, bytes] = {}
    # Longest path first: a directory's node needs the digests of those below it.
    for path in sorted(filter(None, directories), key=len, reverse=True):
        parent, _, name = path.rpartition("/")
        directories[parent][name] = _seal(name, _sorted(directories[path]), version, nodes)
    root = _seal("", _sorted(directories[""]), version, nodes)
    return Manifest(root.sha256, root.size, root.files, MappingProxyType(nodes), version)


def _place(directories: dict[str, _Children], entry: FileEntry) -> None:
    parent, _, name = entry.path.rpartition("/")
    if parent not in directories:
        _open(directories, parent)
    siblings = directories[parent]
    if name in siblings:
        raise MalformedError("path appears twice in the manifest", where=ascii(entry.path))
    if len(siblings) == MAX_DIRECTORY_ENTRIES:
        raise LimitError(
            "directory has too many entries", where=ascii(parent), expected=f"at most {MAX_DIRECTORY_ENTRIES}"
        )
    siblings[name] = NodeEntry(name, False, entry.executable, entry.size, 1, entry.sha256)


def _open(directories: dict[str, _Children], path: str) -> None:
    """Add a directory that is not there yet, and those above it."""
    directories[path] = {}
    parent, _, name = path.rpartition("/")
    if directories.get(parent, {}).get(name) is not None:
        raise MalformedError("path is both file and directory", where=ascii(path))
    if parent not in directories:
        _open(directories, parent)
    directories[parent][name] = None


def _sorted(children: _Children) -> list[NodeEntry]:
    return [child for _, child in sorted(children.items(), key=lambda item: item[0].encode()) if child]


def _seal(
    name: str, entries: Sequence[NodeEntry], version: ManifestVersion, nodes: dict[str, bytes]
) -> NodeEntry:
    """Make the directory's node and return its entry in the directory above."""
    size, files = _sums(entries)
    if size > MAX_SAFE_INTEGER:
        raise LimitError("directory is too large", where=ascii(name), expected="at most 2^53-1 bytes")
    data = _render(entries, version)
    if len(data) > MAX_NODE_BYTES:
        raise LimitError("directory is too large to list", where=ascii(name), help="split it")
    digest = sha256_hex(data)
    nodes[digest] = data
    return NodeEntry(name, True, False, size, files, digest)


def _render(entries: Iterable[NodeEntry], version: ManifestVersion) -> bytes:
    listed = ",".join(entry.render(version) for entry in entries)
    return f'{{"entries":[{listed}],"schema":"{SCHEMAS[version]}"}}'.encode()


def _sums(entries: Sequence[NodeEntry]) -> tuple[int, int]:
    return sum(entry.size for entry in entries), sum(entry.files for entry in entries)


def media_type_of(node: bytes) -> str:
    """Return the media type of a node by the schema that it ends in; a node that names no known one gets version 1's."""
    return next(
        (MANIFEST_MEDIA_TYPES[one] for one in SCHEMAS if node.endswith(f'"{SCHEMAS[one]}"}}'.encode())),
        MANIFEST_MEDIA_TYPES[1],
    )


def parse_node(
    data: bytes, digest: str, version: ManifestVersion = MANIFEST_VERSION
) -> tuple[NodeEntry, ...]:
    """Return the entries of the node with this digest.

    Raises MalformedError if the bytes have another digest or are not a node of this version in canonical form,
    LimitError beyond MAX_NODE_BYTES or MAX_DIRECTORY_ENTRIES.
    """
    where = f"manifest {digest[:12]}"
    if len(data) > MAX_NODE_BYTES:
        raise LimitError(
            "manifest node is too large", where=where, expected=f"at most {MAX_NODE_BYTES} bytes"
        )
    if sha256_hex(data) != digest:
        raise MalformedError("manifest node has another digest", expected=digest, got=sha256_hex(data))
    limits = {"max_bytes": MAX_NODE_BYTES, "max_values": 8 * MAX_DIRECTORY_ENTRIES}
    node = as_object(strict_json(data, where, **limits), where)
    items = get_array(node, "entries", where, limit=MAX_DIRECTORY_ENTRIES)
    entries = tuple(_parse_entry(item, where) for item in items)
    names = [entry.name.encode() for entry in entries]
    if any(left >= right for left, right in itertools.pairwise(names)):
        raise MalformedError("manifest entries are not sorted, or one appears twice", where=where)
    # One comparison covers the schema, unknown and missing fields, modes, and the canonical form.
    if _render(entries, version) != data:
        raise MalformedError("manifest node is not canonical", where=where, expected=SCHEMAS[version])
    return entries


def _parse_entry(item: Json, where: str) -> NodeEntry:
    source = as_object(item, where)
    is_directory = get_string(source, "type", where) == "dir"
    name = check_name(get_string(source, "name", where), "file name")
    if "/" in name:
        raise MalformedError("manifest entry reaches into another directory", where=where, got=ascii(name))
    files = get_integer(source, "files", where) if is_directory else 1
    if files == 0:
        raise MalformedError("manifest holds an empty subdirectory", where=where, got=ascii(name))
    digest = check_hex(get_string(source, "sha256", where), (64,), where)
    size = get_integer(source, "size", where)
    return NodeEntry(name, is_directory, source.get("mode") == "755", size, files, Sha256(digest))


def expand(
    root: str, fetch: Fetch, version: ManifestVersion = MANIFEST_VERSION, *, max_files: int = MAX_FILES
) -> Iterator[FileEntry]:
    """Yield the files under the root digest, each node checked before its entries are used.

    Raises NoEvidenceError for a node that `fetch` does not have, MalformedError for one with another digest, of another
    version, not in canonical form or with wrong sums, LimitError if the root counts more than `max_files`.
    """
    check_hex(root, (64,), "manifest digest")
    entries = _read(root, fetch, version)
    files = _sums(entries)[1]
    # Every directory's count is checked against its node, so the root's count bounds the whole walk.
    if files > max_files:
        raise LimitError("manifest names too many files", expected=f"at most {max_files}", got=str(files))
    yield from _walk(entries, "", fetch, version, MAX_DEPTH)


def _read(digest: str, fetch: Fetch, version: ManifestVersion) -> tuple[NodeEntry, ...]:
    data = fetch(digest)
    if data is None:
        raise NoEvidenceError("manifest node is not here", where=digest, help="gitchain sync")
    return parse_node(data, digest, version)


def _walk(
    entries: Sequence[NodeEntry], prefix: str, fetch: Fetch, version: ManifestVersion, depth: int
) -> Iterator[FileEntry]:
    for entry in entries:
        path = prefix + entry.name
        if not entry.is_directory:
            yield FileEntry(path, entry.executable, entry.size, entry.sha256)
            continue
        if depth == 0:
            raise LimitError("manifest is nested too deeply", expected=f"at most {MAX_DEPTH} directories")
        below = _read(entry.sha256, fetch, version)
        if _sums(below) != (entry.size, entry.files):
            raise MalformedError("manifest sums do not add up", where=ascii(path))
        yield from _walk(below, f"{path}/", fetch, version, depth - 1)


def to_version_2(digest: str, fetch: Fetch, known: dict[str, NodeEntry] | None = None) -> Sha256:
    """Return the version 2 digest of the directory that a root of version 1 lists: the same files, without modes.

    `known` keeps the nodes that were converted, by their version 1 digest. Raises what `expand` raises for version 1.
    """
    return _converted(digest, fetch, {} if known is None else known, MAX_DEPTH).sha256


def _converted(digest: str, fetch: Fetch, known: dict[str, NodeEntry], depth: int) -> NodeEntry:
    if digest in known:
        return known[digest]
    if depth < 0:
        raise LimitError("manifest is nested too deeply", expected=f"at most {MAX_DEPTH} directories")
    entries = []
    for entry in _read(digest, fetch, 1):
        if entry.is_directory:
            below = _converted(entry.sha256, fetch, known, depth - 1)
            if (below.size, below.files) != (entry.size, entry.files):
                raise MalformedError("manifest sums do not add up", where=ascii(entry.name))
            entries.append(replace(entry, sha256=below.sha256))
        else:
            entries.append(entry)
    known[digest] = _seal("", entries, 2, {})
    return known[digest]

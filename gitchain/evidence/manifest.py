"""Directory manifests: one digest for a directory, Merkle by directory, so that one changed file is O(depth).

A node lists one directory, as canonical JSON, entries sorted by the UTF-8 bytes of their names:

    {"entries":[{"files":2,"name":"sub","sha256":"<sha256 of its node>","size":10,"type":"dir"},
                {"mode":"644","name":"x.csv","sha256":"<sha256 of the file>","size":4,"type":"file"}],
     "schema":"https://gitchain.dev/manifest/v1"}

A directory's digest is the SHA-256 of its node. Names, modes and sizes are in the hash: a rename changes it.
`size` and `files` of a directory are sums over everything below it.

Spec: docs/formats/manifest.md. Does NOT read the disk, and knows no symlinks and no empty subdirectories.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from types import MappingProxyType

from gitchain.errors import LimitError, MalformedError, NoEvidenceError
from gitchain.evidence.canonical import MAX_SAFE_INTEGER, Json, canonical_json, strict_json
from gitchain.evidence.digest import check_hex, sha256_hex
from gitchain.evidence.fields import Object, as_object, get_array, get_integer, get_string
from gitchain.evidence.names import check_name

MANIFEST_SCHEMA = "https://gitchain.dev/manifest/v1"
MANIFEST_MEDIA_TYPE = "application/vnd.gitchain.manifest.v1+json"

MAX_DIRECTORY_ENTRIES = 1_000_000
"""Most entries of one directory: flat data sets of 100,000 files are common, of a million known."""

MAX_NODE_BYTES = 256 * 1024 * 1024
"""Largest node: MAX_DIRECTORY_ENTRIES of about 200 bytes each, with room."""

MAX_FILES = 10_000_000
"""Most files under one root when a manifest is expanded: ten times the largest directory."""

MAX_DEPTH = 512
"""Deepest directory: a name of 1024 bytes has at most 512 parts."""

_MODES = frozenset({"644", "755"})


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a directory, by its path below the root. The constructor raises MalformedError."""

    path: str
    executable: bool
    size: int
    sha256: str

    def __post_init__(self) -> None:
        check_name(self.path, "file name")
        check_hex(self.sha256, (64,), self.path)
        if not 0 <= self.size <= MAX_SAFE_INTEGER:
            raise MalformedError("file size is out of range", where=self.path, got=str(self.size))


@dataclass(frozen=True, slots=True)
class Manifest:
    """A directory's digest, the totals, and every node by its digest. Make it with build_manifest()."""

    digest: str
    size: int
    files: int
    nodes: Mapping[str, bytes] = field(repr=False, hash=False)


@dataclass(frozen=True, slots=True)
class _Sum:
    digest: str
    size: int
    files: int


def build_manifest(entries: Iterable[FileEntry]) -> Manifest:
    """Return the manifest of a directory with these files; their order does not matter.

    Raises MalformedError if a path appears twice or is both file and directory, LimitError beyond the limits.
    """
    directories: dict[str, dict[str, FileEntry | None]] = {"": {}}
    for entry in entries:
        _place(directories, entry)
    nodes: dict[str, bytes] = {}
    sums: dict[str, _Sum] = {}
    # Deepest first: a directory's node needs the digests of those below it.
    for path in sorted(directories, key=lambda path: path.count("/") + bool(path), reverse=True):
        sums[path] = _node(path, directories[path], sums, nodes)
    root = sums[""]
    return Manifest(root.digest, root.size, root.files, MappingProxyType(nodes))


def _place(directories: dict[str, dict[str, FileEntry | None]], entry: FileEntry) -> None:
    """Put the file, and the directories above it that are not there yet, into their parents."""
    path, child = entry.path, entry
    parent, _, name = path.rpartition("/")
    siblings = directories.get(parent)
    if siblings is None:
        siblings = _open(directories, parent)
    if name in siblings:
        raise MalformedError("path appears twice in the manifest", where=ascii(path))
    siblings[name] = child
    if len(siblings) > MAX_DIRECTORY_ENTRIES:
        raise LimitError(
            "directory has too many entries", where=ascii(parent), expected=f"at most {MAX_DIRECTORY_ENTRIES}"
        )


def _open(directories: dict[str, dict[str, FileEntry | None]], path: str) -> dict[str, FileEntry | None]:
    opened: dict[str, FileEntry | None] = {}
    directories[path] = opened
    while path:
        path, _, name = path.rpartition("/")
        known = path in directories
        siblings = directories.setdefault(path, {})
        if siblings.setdefault(name, None) is not None:
            raise MalformedError("path is both file and directory", where=ascii(f"{path}/{name}".lstrip("/")))
        if known:
            break
    return opened


def _node(
    path: str, children: Mapping[str, FileEntry | None], sums: Mapping[str, _Sum], nodes: dict[str, bytes]
) -> _Sum:
    entries: list[Json] = []
    size = files = 0
    for name in sorted(children, key=str.encode):
        child = children[name]
        if child is None:
            below = sums[f"{path}/{name}" if path else name]
            item: dict[str, Json] = {"type": "dir", "size": below.size, "files": below.files}
            entries.append({**item, "name": name, "sha256": below.digest})
            size, files = size + below.size, files + below.files
        else:
            mode = "755" if child.executable else "644"
            entries.append(
                {"type": "file", "name": name, "mode": mode, "size": child.size, "sha256": child.sha256}
            )
            size, files = size + child.size, files + 1
    if size > MAX_SAFE_INTEGER:
        raise LimitError("directory is too large", where=ascii(path), expected="at most 2^53-1 bytes")
    data = canonical_json({"schema": MANIFEST_SCHEMA, "entries": entries})
    digest = sha256_hex(data)
    nodes[digest] = data
    return _Sum(digest, size, files)


def expand(
    root: str, fetch: Callable[[str], bytes | None], *, max_files: int = MAX_FILES
) -> Iterator[FileEntry]:
    """Yield the files under the root digest, each node checked before anything of it is believed.

    `fetch` returns the node with a digest, or None. Raises NoEvidenceError for a node that is missing,
    MalformedError for one with another digest, not in canonical form or with wrong sums, LimitError beyond
    `max_files`, which is checked against the root's own count before the rest is fetched.
    """
    check_hex(root, (64,), "manifest digest")
    yield from _walk(_read(root, fetch), "", fetch, _Budget(max_files), 0)


class _Budget:
    def __init__(self, files: int) -> None:
        self.limit = self.left = files

    def take(self, files: int) -> None:
        self.left -= files
        if self.left < 0:
            raise LimitError("manifest names too many files", expected=f"at most {self.limit}")


_KEYS: Mapping[str, AbstractSet[str]] = MappingProxyType(
    {
        "file": frozenset({"type", "name", "mode", "size", "sha256"}),
        "dir": frozenset({"type", "name", "size", "files", "sha256"}),
    }
)


def _read(digest: str, fetch: Callable[[str], bytes | None]) -> list[Object]:
    data = fetch(digest)
    if data is None:
        raise NoEvidenceError(
            "manifest node is not here", where=digest, help="fetch the attestations: gitchain sync"
        )
    return parse_node(data, digest)


def parse_node(data: bytes, digest: str) -> list[Object]:
    """Return the entries of the node; raise MalformedError unless these bytes are the node of that digest."""
    if sha256_hex(data) != digest:
        raise MalformedError("manifest node has another digest", expected=digest, got=sha256_hex(data))
    where = f"manifest {digest[:12]}"
    limits = {"max_bytes": MAX_NODE_BYTES, "max_values": 8 * MAX_DIRECTORY_ENTRIES}
    node = as_object(strict_json(data, where, **limits), where)
    if set(node) != {"schema", "entries"} or node["schema"] != MANIFEST_SCHEMA:
        raise MalformedError("not a manifest node", where=where, expected=MANIFEST_SCHEMA)
    items = get_array(node, "entries", where, limit=MAX_DIRECTORY_ENTRIES)
    entries = [as_object(item, where) for item in items]
    names = [_check_entry(entry, where).encode() for entry in entries]
    if any(left >= right for left, right in itertools.pairwise(names)):
        raise MalformedError("manifest entries are not sorted, or one appears twice", where=where)
    if canonical_json(node) != data:
        raise MalformedError("manifest node is not canonical JSON", where=where)
    return entries


def _check_entry(entry: Object, where: str) -> str:
    kind = get_string(entry, "type", where)
    if entry.keys() != _KEYS.get(kind):
        raise MalformedError("manifest entry has the wrong fields", where=where, got=ascii(kind[:20]))
    name = check_name(get_string(entry, "name", where), "file name")
    if "/" in name:
        raise MalformedError("manifest entry names another directory", where=where, got=ascii(name))
    check_hex(get_string(entry, "sha256", where), (64,), where)
    get_integer(entry, "size", where)
    if kind == "dir" and get_integer(entry, "files", where) == 0:
        raise MalformedError("manifest holds an empty subdirectory", where=where, got=ascii(name))
    if kind == "file" and entry["mode"] not in _MODES:
        raise MalformedError(
            "file mode is unknown", where=where, expected="644 or 755", got=str(entry["mode"])
        )
    return name


def _sums(entries: list[Object], where: str) -> tuple[int, int]:
    sizes = sum(get_integer(entry, "size", where) for entry in entries)
    counts = [get_integer(entry, "files", where) if entry["type"] == "dir" else 1 for entry in entries]
    return sizes, sum(counts)


def _walk(
    entries: list[Object], prefix: str, fetch: Callable[[str], bytes | None], budget: _Budget, depth: int
) -> Iterator[FileEntry]:
    if depth == 0:
        _Budget(budget.limit).take(_sums(entries, "manifest")[1])
    if depth > MAX_DEPTH:
        raise LimitError("manifest is nested too deeply", expected=f"at most {MAX_DEPTH} directories")
    for entry in entries:
        path = prefix + get_string(entry, "name", "manifest")
        digest, size = get_string(entry, "sha256", path), get_integer(entry, "size", path)
        if entry["type"] == "file":
            budget.take(1)
            yield FileEntry(path, entry["mode"] == "755", size, digest)
            continue
        below = _read(digest, fetch)
        if _sums(below, path) != (size, get_integer(entry, "files", path)):
            raise MalformedError("manifest sums do not add up", where=ascii(path))
        yield from _walk(below, f"{path}/", fetch, budget, depth + 1)

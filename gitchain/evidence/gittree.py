"""Parse Git trees from their exact bytes, and the line in a signed message that binds a tree's files by SHA-256.

    tree      <mode> SP <name> NUL <raw id> …           modes 100644, 100755 (files), 40000 (trees), 120000, 160000
    trailer   Gitchain-Manifest: sha256:<hex>           the manifest of all files of the commit's tree

A SHA-1 repository binds nothing by itself: the id of a tree is a SHA-1. There the signed message has to name the files'
manifest (docs/formats/manifest.md) of version 1, which holds modes as Git does.
Links and submodules are not files, so a manifest omits them.

Format: https://git-scm.com/docs/gitformat-pack, docs/git-signatures.md. Does NOT read the repository.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gitchain.errors import MalformedError

TreeKind = Literal["file", "program", "tree", "link", "submodule"]

TRAILER = "Gitchain-Manifest"
_TRAILER = re.compile(rb"^Gitchain-Manifest:[ \t]*(.*)$", re.MULTILINE)
_DIGEST = re.compile(rb"sha256:([0-9a-f]{64})")
_KINDS: dict[bytes, TreeKind] = {
    b"100644": "file",
    b"100755": "program",
    b"40000": "tree",
    b"120000": "link",
    b"160000": "submodule",
}


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One entry of a tree."""

    kind: TreeKind
    name: str
    oid: str


def parse_tree(raw: bytes, id_bytes: int) -> Sequence[TreeEntry]:
    """Return the entries of a tree whose ids have this many bytes. Raises MalformedError for anything Git does not write."""
    found: list[TreeEntry] = []
    at = 0
    while at < len(raw):
        head, end, _ = raw[at:].partition(b"\0")
        mode, _, name = head.partition(b" ")
        oid = raw[at + len(head) + 1 : at + len(head) + 1 + id_bytes]
        if not end or mode not in _KINDS or len(oid) != id_bytes:
            raise MalformedError("Git tree is malformed", got=f"byte {at}")
        found.append(TreeEntry(_KINDS[mode], _name(name), oid.hex()))
        at += len(head) + 1 + id_bytes
    if len({one.name for one in found}) != len(found):
        raise MalformedError("Git tree names an entry twice")
    return found


def trailer_in(message: bytes) -> str | None:
    """Return the SHA-256 of the manifest that a message names, or None. Raises MalformedError for several."""
    found = _TRAILER.findall(message)
    if not found:
        return None
    match = _DIGEST.fullmatch(found[0].rstrip())
    if len(found) != 1 or match is None:
        raise MalformedError(
            "message names no single manifest", where=TRAILER, expected="sha256:…", got=str(len(found))
        )
    return match[1].decode()


def trailer(digest: str) -> str:
    """Return the line that names this manifest."""
    return f"{TRAILER}: sha256:{digest}"


def _name(name: bytes) -> str:
    try:
        text = name.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError("file name is not UTF-8", got=ascii(name[:60])) from error
    if not text or "/" in text or text in {".", "..", ".git"}:
        raise MalformedError("file name is impossible", got=ascii(text[:60]))
    return text

"""Archives to spoil: their parts, and the same archive with other parts."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gitchain.evidence.digest import sha256_hex
from gitchain.platform import tar

MANIFEST = "archive.json"

LATER = """
import datetime, sys, time
TEN_YEARS = 3652 * 86400
class Later(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls.fromtimestamp(time.time(), tz)
before = time.time
time.time = lambda: before() + TEN_YEARS
datetime.datetime = Later
from gitchain.cli.main import run
sys.exit(run(sys.argv[1:]))
"""
"""A program that runs the command line ten years later."""


def parts_of(path: Path) -> dict[str, bytes]:
    """Return the members of an archive in their order, as Python's own reader sees them."""
    with tarfile.open(path) as archive:
        return {one.name: archive.extractfile(one).read() for one in archive}  # type: ignore[union-attr]


def write_parts(path: Path, parts: Mapping[str, bytes]) -> Path:
    """Write members as they are, in this order."""
    blocks = (tar.header(name, len(data)) + data + tar.padding(len(data)) for name, data in parts.items())
    path.write_bytes(b"".join(blocks) + tar.END)
    return path


def rewrite(path: Path, change: Callable[[dict[str, bytes]], object], **fields: Any) -> Path:
    """Change members, and make a manifest that lists them truly: what a forger with this format at hand would do."""
    parts = parts_of(path)
    manifest = json.loads(parts.pop(MANIFEST))
    change(parts)
    manifest["members"] = [
        {"name": name, "sha256": sha256_hex(parts[name]), "size": len(parts[name])} for name in sorted(parts)
    ]
    whole = json.dumps(manifest | fields, indent=1, sort_keys=True).encode() + b"\n"
    return write_parts(path, {MANIFEST: whole} | {name: parts[name] for name in sorted(parts)})


def payload(bundle: bytes) -> dict[str, Any]:
    """Return the statement in a bundle."""
    from gitchain.evidence.bundle import Bundle

    document: dict[str, Any] = json.loads(Bundle.parse(bundle).envelope.payload)
    return document


def bundles_of(path: Path, kind: str) -> list[str]:
    """Return the names of the members that are bundles of this predicate type."""
    return [
        name
        for name, data in parts_of(path).items()
        if name.endswith(".sigstore.json")
        and name.startswith("evidence/")
        and payload(data)["predicateType"] == kind
    ]

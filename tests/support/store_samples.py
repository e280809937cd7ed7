"""Well-formed bundles and manifests for the store's tests. The store does not verify, so nothing here is signed."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from gitchain.evidence.canonical import canonical_json
from gitchain.evidence.digest import Sha256, sha256_hex
from gitchain.evidence.manifest import FileEntry, Manifest, build_manifest

PREDICATE = "https://gitchain.dev/predicate/dataset/v0.1"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def digest_of(name: str) -> Sha256:
    return sha256_hex(name.encode())


def payload(*names: str, note: str = "", digests: dict[str, str] | None = None) -> bytes:
    """Return a statement about the artifacts of these names; `digests` are foreign ones for the first."""
    subjects: list[dict[str, Any]] = [{"name": name, "digest": {"sha256": digest_of(name)}} for name in names]
    subjects[0]["digest"] |= digests or {}
    return canonical_json(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": subjects,
            "predicateType": PREDICATE,
            "predicate": {"note": note},
        }
    )


def bundle(*names: str, note: str = "", digests: dict[str, str] | None = None) -> bytes:
    """Return a bundle about the artifacts of these names; `note` makes it another one."""
    signed = payload(*names, note=note, digests=digests)
    entry = {
        "logIndex": "0",
        "logId": {"keyId": b64(b"k" * 32)},
        "kindVersion": {"kind": "dsse", "version": "0.0.2"},
        "canonicalizedBody": b64(b"{}"),
    }
    envelope = {
        "payloadType": "application/vnd.in-toto+json",
        "payload": b64(signed),
        "signatures": [{"sig": b64(b"s")}],
    }
    material = {"certificate": {"rawBytes": b64(b"c")}, "tlogEntries": [entry]}
    media_type = "application/vnd.dev.sigstore.bundle.v0.3+json"
    return json.dumps(
        {"mediaType": media_type, "dsseEnvelope": envelope, "verificationMaterial": material}
    ).encode()


def manifest(*paths: str) -> Manifest:
    """Return the manifest of a directory with one file at each path."""
    return build_manifest([FileEntry(path, False, len(path), digest_of(path)) for path in paths])


def name_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

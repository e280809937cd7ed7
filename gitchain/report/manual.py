"""Commands to check a report by hand: with gitchain, and with Git, jq and OpenSSL alone.

A command has only values that a shell cannot misread: hexadecimal digests, and a target in quotes if it is printable.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

MAX_TARGET = 200


def commands(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what each command shows, and the command."""
    target = _target(document)
    at = f" --at {document['timeVerified']}" if document["timeVerified"] else ""
    found = [
        ("The verdict again, with every check", f"gitchain verify --explain {target}"),
        ("This report again", f"gitchain report {target}{at}"),
        ("The trust that the verdict depends on", "gitchain trust status"),
        ("The layout that the verdict depends on", "gitchain layout show"),
    ]
    stored = [one["bundle"]["stored"] for one in document["attestations"] if "bundle" in one]
    certificate = "jq -r .verificationMaterial.certificate.rawBytes a.json"
    if stored:
        found += [
            ("One attestation as a file, by Git (its place is in the list above)", f"git show {stored[0]} > a.json"),
            ("What it states", "jq -r .dsseEnvelope.payload a.json | base64 -d | jq ."),
            ("Who signed it: the certificate", f"{certificate} | base64 -d | openssl x509 -inform der -noout -text"),
            ("Its log entry and the proof of inclusion", "jq .verificationMaterial.tlogEntries a.json"),
        ]  # fmt: skip
    return found


def _target(document: Mapping[str, Any]) -> str:
    """Return the target in quotes; the digest of its first artifact if the text is no harmless argument."""
    text = str(document["target"])
    if text.isprintable() and len(text) <= MAX_TARGET and not text.startswith("-"):
        return shlex.quote(text)
    return f"sha256:{document['models'][0]['digest']['sha256']}"

"""Many valid bundles of one trusted root, the leaf fields that a bundle consists of, and how to swap them.

The bundles differ in everything that can differ: signers, batches under one certificate, statements, positions
in the log, and both generations of log entries.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.instance import Instance
from gitchain.sign.keyless import KeylessSigner
from gitchain.verify.trust import Trust
from gitchain.verify.verified import VerifiedStatement
from tests.support.forged_bundles import Forge
from tests.support.rekor_v1_bundles import LOG, v1_bundle

PEOPLE = ("ada@example.com", "bob@example.com", "https://example.com/repo/.ci@refs/heads/main")
ABSENT = object()
Path = tuple[str | int, ...]
Json = dict[str, Any]

_ENTRY: Path = ("verificationMaterial", "tlogEntries", 0)
_PROOF: Path = (*_ENTRY, "inclusionProof")
LEAVES: dict[str, Path] = {
    "media type": ("mediaType",),
    "payload": ("dsseEnvelope", "payload"),
    "payload type": ("dsseEnvelope", "payloadType"),
    "signature": ("dsseEnvelope", "signatures", 0, "sig"),
    "certificate": ("verificationMaterial", "certificate", "rawBytes"),
    "timestamp": (
        "verificationMaterial",
        "timestampVerificationData",
        "rfc3161Timestamps",
        0,
        "signedTimestamp",
    ),
    "log index": (*_ENTRY, "logIndex"),
    "log id": (*_ENTRY, "logId", "keyId"),
    "entry kind": (*_ENTRY, "kindVersion", "kind"),
    "entry version": (*_ENTRY, "kindVersion", "version"),
    "integrated time": (*_ENTRY, "integratedTime"),
    "promise": (*_ENTRY, "inclusionPromise", "signedEntryTimestamp"),
    "proof index": (*_PROOF, "logIndex"),
    "proof size": (*_PROOF, "treeSize"),
    "proof root": (*_PROOF, "rootHash"),
    "proof hashes": (*_PROOF, "hashes"),
    "checkpoint": (*_PROOF, "checkpoint", "envelope"),
    "body": (*_ENTRY, "canonicalizedBody"),
}
WHOLES: dict[str, Path] = {
    "envelope": ("dsseEnvelope",),
    "signatures": ("dsseEnvelope", "signatures"),
    "material": ("verificationMaterial",),
    "timestamps": ("verificationMaterial", "timestampVerificationData"),
    "entry": _ENTRY,
    "proof": _PROOF,
    "entry version, whole": (*_ENTRY, "kindVersion"),
}


def get(source: Any, path: Path) -> Any:
    """Return what is at the path, or ABSENT."""
    found = source
    for key in path:
        is_item = isinstance(key, int) and isinstance(found, list) and key < len(found)
        is_field = isinstance(key, str) and isinstance(found, dict) and key in found
        if not (is_item or is_field):
            return ABSENT
        found = found[key]
    return found


def put(source: Json, path: Path, value: Any) -> Json:
    """Return a copy with the value at the path; ABSENT takes the field away, missing parents are made."""
    changed = copy.deepcopy(source)
    place: Any = changed
    for key, following in pairwise(path):
        if value is ABSENT and get(place, (key,)) is ABSENT:
            return changed
        if isinstance(key, int):
            while len(place) <= key:
                place.append([] if isinstance(following, int) else {})
            place = place[key]
        else:
            place = place.setdefault(key, [] if isinstance(following, int) else {})
    if value is not ABSENT:
        if isinstance(place, list):
            place[int(path[-1]) :] = [value]
        else:
            place[path[-1]] = value
    elif get(place, path[-1:]) is not ABSENT:
        del place[path[-1]]
    return changed


def facts(verified: VerifiedStatement) -> VerifiedStatement:
    """Return everything that was proven, without the bytes that proved it."""
    return replace(verified, raw=b"")


def is_v1(bundle: Json) -> bool:
    return bool(get(bundle, LEAVES["entry version"]) == "0.0.1")


def statement(number: int) -> Statement:
    subject = ResourceDescriptor(f"model-{number}.pkl", DigestSet({"sha256": sha256_hex(b"%d" % number)}))
    return Statement.build([subject], "https://example.com/p/v1", {"number": number})


def make_bundles(instance: Instance) -> Iterator[Json]:
    """Yield 56 valid bundles: batches of several signers, single ones, and entries of the old kind."""
    number = 0
    for batch in (1, 3, 4, 8):
        for who in PEOPLE:
            with KeylessSigner(instance.signing_context(), instance.token(who)) as signer:
                batched = [statement(number + one) for one in range(batch)]
                yield from (json.loads(one) for one in signer.sign(batched))
            number += batch
    yield from (Forge(instance, PEOPLE[0]).bundle(statement(3).payload) for _ in range(2))
    yield from (v1_bundle(Forge(instance, who)) for who in (*PEOPLE, PEOPLE[0], PEOPLE[1], "eve@example.com"))


def make_trust(instance: Instance, *others: Instance) -> Trust:
    """Return the trust in the instance's log, in the old kind of log, and in the other instances' keys."""
    root = json.loads(instance.trust_config())["trustedRoot"]
    for other in others:
        theirs = json.loads(other.trust_config())["trustedRoot"]
        for key in ("tlogs", "ctlogs", "certificateAuthorities", "timestampAuthorities"):
            root[key] += theirs[key]
    root["tlogs"].append(LOG)
    return Trust.parse(json.dumps(root))

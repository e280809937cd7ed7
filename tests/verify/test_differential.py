"""sigstore-python is the oracle: what we accept it accepts, and where we alone refuse it is a check with a number.

Over the public vectors (where they are) and over some thousand bundles with one part changed. The cases in which
we accept what it refuses are listed here, each with its reason; docs/decisions/0006 tells the same.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sigstore.models import Bundle
from sigstore.verify import Verifier

from gitchain.errors import GitchainError, SignatureError
from gitchain.evidence.bundle import Bundle as OurBundle
from gitchain.instance import Instance
from gitchain.verify.bundle import verify_artifact
from gitchain.verify.keys import Key
from gitchain.verify.public_trust import public_trust_config
from gitchain.verify.trust import Trust
from tests.support.bundle_kinds import both_logs, craft
from tests.support.forged_bundles import Forge, raw, some_statement
from tests.support.sigstore_oracle import Anyone, oracle_of, verifier_of
from tests.support.vector_suites import VECTORS

FILE = b"some model"
CHECKS = {  # what a refusal of ours says, and the check that it is
    "P": "not base64|not canonical base64|not a canonical decimal|wrong type|empty|must carry one of|another media type|"
    "of an unknown kind|has no promise, in tlogEntries|another field|keyid|too long|not JSON|no possible length|hash has the wrong length|"
    "outside its tree|kind is malformed|certificate chain|must hold one|checkpoint (is|line|size|root|signature)|no signed note|"
    "signature name is malformed|payload type is malformed|JSON",
    "B1": "payload is not an in-toto statement|carries a messageSignature",
    "B2": "signature does not verify",
    "B3": "statement|subject|predicate|artifact name|digest",
    "B5": "about another file",
    "C3": "not for signing|does not state",
    "C4": "root certificate",
    "T1": "proves no time",
    "T5": "occurs twice|timestamp cannot be read",
    "L1": "not in the trusted root",
    "L2": "trees of different size",
    "L3": "one signature of its log",
    "L4": "checkpoint is of another log",
    "L6": "another index",
    "L9": "inclusion proof (leads|is too)",
    "L10": "another root than the log",
    "L11": "promise",
    "L12": "log entry is about|entry is of a kind|body cannot be read|not canonical JSON",
}
OURS_ALONE = {  # vectors that we accept and sigstore-python refuses
    "intoto-with-custom-trust-root": "it does not read the old entry kind intoto 0.0.2",
    "managed-key-happy-path": "it reads no bundles of bare keys",
    "managed-key-and-trusted-root": "it reads no bundles of bare keys",
    "trust-root-tsa-validity-end-inclusive": "it counts the last second of a window as outside",
}


def theirs(verifier: Verifier, data: bytes, file: bytes) -> str:
    """Return why sigstore-python refuses the bundle, nothing if it accepts."""
    try:
        bundle = Bundle.from_json(data)
        if json.loads(data).get("dsseEnvelope") is None:
            verifier.verify_artifact(file, bundle, Anyone())
        else:
            verifier.verify_dsse(bundle, Anyone())
    except Exception as error:  # noqa: BLE001 - of many types
        return f"{type(error).__name__}: {error}"
    return ""


def ours(trust: Trust, data: bytes, file: bytes, keys: Sequence[bytes] = ()) -> str:
    """Return why we refuse the bundle, nothing if we accept; a statement's subject is not the question here."""
    digests = {name: hashlib.new(name, file).digest() for name in ("sha256", "sha384", "sha512")}
    try:
        verify_artifact(data, trust, digests, keys)
    except GitchainError as error:
        return "" if error.what == "statement is about other artifacts" else str(error)
    return ""


def numbered(reason: str) -> str:
    return next((name for name, words in CHECKS.items() if re.search(words, reason)), "")


# The vectors -----------------------------------------------------------------------------------------------------


def _vectors() -> list[Path]:
    folder = VECTORS / "sigstore-conformance" / "bundle-verify"
    return sorted(one for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []


def _keys(case: Path) -> list[bytes]:
    path = case / "key.pub"
    try:
        return [Key.from_pem(path.read_bytes()).spki] if path.exists() else []
    except SignatureError:
        return []


@pytest.mark.skipif(not _vectors(), reason=f"NO VECTORS in {VECTORS}: set GITCHAIN_VECTORS")
def test_vectors_are_judged_alike() -> None:
    """Of the public vectors we accept nothing that sigstore-python refuses, but for the list, and refuse nothing more."""
    public = public_trust_config(offline=True)
    alone, refused = set(), set()
    for case in _vectors():
        own = case / "trusted_root.json"
        text = own.read_text(encoding="utf-8") if own.exists() else public
        artifact = case / "artifact"
        file = (artifact if artifact.exists() else case.parent / "a.txt").read_bytes()
        data = (case / "bundle.sigstore.json").read_bytes()
        try:
            trust = Trust.parse(text)
        except GitchainError:
            assert case.name == "trust-root-tlog-missing-validity-start_fail"
            continue
        we, they = ours(trust, data, file, _keys(case)), theirs(verifier_of(text), data, file)
        if they and not we:
            alone.add(case.name)
        elif we and not they:
            refused.add(case.name)
    assert alone == set(OURS_ALONE)
    assert refused == set()


# Changed bundles ---------------------------------------------------------------------------------------------------


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for key in value:
            yield from _leaves(value[key], (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, (*path, index))
    if path:
        yield path


def _changed(
    bundle: dict[str, Any], other: dict[str, Any], path: tuple[Any, ...]
) -> Iterator[dict[str, Any]]:
    """Yield the bundle with one place dropped, null, of another type, from another bundle, cut, or spoilt."""
    found: Any = bundle
    for step in path:
        found = found[step]
    values: list[Any] = [None, 5, [], {}, [found, found]]
    if isinstance(found, str):
        middle = len(found) // 2
        values += ["", found[:-1], found[:middle] + "\n" + found[middle:], found + found, "0", "1", "-1"]
        values += [found[:middle] + ("A" if found[middle : middle + 1] != "A" else "B") + found[middle + 1 :]]
    place: Any = other
    try:
        for step in path:
            place = place[step]
        values.append(place)
    except (KeyError, IndexError, TypeError):
        pass
    for value in values:
        changed = copy.deepcopy(bundle)
        inner: Any = changed
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value
        yield changed
    dropped = copy.deepcopy(bundle)
    inner = dropped
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    yield dropped


NULL = ("verificationMaterial", "timestampVerificationData", "rfc3161Timestamps")
"""Null here is none at all for us, as in proto3 JSON; sigstore-python's model wants a list."""

KINDS: dict[str, dict[str, Any]] = {
    "v2 envelope": {},
    "v2 file": {"file": FILE},
    "v1 envelope": {"kind": "dsse 0.0.1"},
    "v1 envelope, v0.2": {"kind": "dsse 0.0.1", "version": "0.2"},
    "v1 file, v0.1": {"kind": "hashedrekord 0.0.1", "file": FILE, "version": "0.1"},
}


@pytest.mark.parametrize("name", KINDS)
def test_a_changed_bundle_is_judged_alike(instance: Instance, name: str) -> None:
    """One place changed: accepted by us, it is accepted by sigstore-python; refused by us alone, it has a number."""
    more, forge = KINDS[name], Forge(instance)
    trust = both_logs(instance)
    verifier = oracle_of(trust)
    bundle = craft(forge, **more)
    other = craft(forge, **(more | ({} if "file" in more else {"payload": some_statement("other").payload})))
    assert (ours(trust, raw(bundle), FILE), theirs(verifier, raw(bundle), FILE)) == ("", "")
    meant = OurBundle.parse_any(
        raw(bundle)
    )  # proto3 JSON has several spellings of one value; sigstore-python reads one
    alone, unnumbered, count = [], [], 0
    for path in _leaves(bundle):
        for changed in _changed(bundle, other, path):
            data = raw(changed)
            we, count = ours(trust, data, FILE), count + 1
            they = theirs(verifier, data, FILE)
            if they and not we:
                alone.append((path, they, OurBundle.parse_any(data) == meant))
            elif we and not they and not numbered(we):
                unnumbered.append((path, we))
    assert count > 300
    assert [(path, they) for path, they, same in alone if path != NULL and not same] == []
    assert unnumbered == []


def test_a_hundred_mixed_bundles_are_judged_alike(instance: Instance) -> None:
    """Every part of one bundle in another: both refuse, or both accept the same."""
    forge, trust = Forge(instance), both_logs(instance)
    verifier = oracle_of(trust)
    made = [craft(forge, **more) for more in KINDS.values()]
    parts = ("certificate", "x509CertificateChain", "tlogEntries", "timestampVerificationData")
    for one in made:
        for two in made:
            for part in (*parts, "mediaType", "dsseEnvelope", "messageSignature"):
                mixed = copy.deepcopy(one)
                place, source = (
                    (mixed["verificationMaterial"], two["verificationMaterial"])
                    if part in parts
                    else (mixed, two)
                )
                place.pop(part, None)
                if part in source:
                    place[part] = source[part]
                we, they = ours(trust, raw(mixed), FILE), theirs(verifier, raw(mixed), FILE)
                assert bool(we) or not they
                assert not we or bool(they) or numbered(we)

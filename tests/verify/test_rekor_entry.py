"""The body of a log entry, compared as a whole with what it must be: what may differ, and what is told otherwise."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gitchain.errors import InclusionError
from gitchain.evidence.canonical import canonical_json
from gitchain.evidence.dsse import IN_TOTO_PAYLOAD_TYPE, Envelope, pae
from gitchain.evidence.entry import LogEntry
from gitchain.verify.keys import Key
from gitchain.verify.rekor_entry import SignatureRecord, body_of, check_body
from tests.support.bundle_kinds import body_of as crafted
from tests.support.bundle_kinds import sign, spki
from tests.support.forged_bundles import some_statement

KEY = ec.derive_private_key(5, ec.SECP256R1())
PAYLOAD = some_statement().payload
MESSAGE = pae(IN_TOTO_PAYLOAD_TYPE, PAYLOAD)
SIGNATURE = sign(KEY, MESSAGE)
ENVELOPE = Envelope(IN_TOTO_PAYLOAD_TYPE, PAYLOAD, SIGNATURE)
RECORD = SignatureRecord(
    SIGNATURE, hashlib.sha256(MESSAGE).digest(), Key.of(KEY.public_key()), None, ENVELOPE
)
KINDS = ("hashedrekord 0.0.2", "dsse 0.0.1", "intoto 0.0.2")
INTOTO = "spec.content.envelope.signatures"

Edit = Callable[[dict[str, Any]], object]


def entry(kind: str, body: bytes) -> LogEntry:
    word, version = kind.split()
    return LogEntry(0, b"x", word, version, 0, body, None, None)


def body(kind: str, edit: Edit = lambda _body: None) -> dict[str, Any]:
    found = crafted(kind, KEY, None, MESSAGE, SIGNATURE, PAYLOAD)
    edit(found)
    return found


def refused(kind: str, body: bytes) -> InclusionError:
    with pytest.raises(InclusionError) as told:
        check_body(entry(kind, body), RECORD)
    return told.value


def at(path: str, value: Any) -> Edit:
    """Return an edit that puts a value into the body."""

    def edit(body: dict[str, Any]) -> None:
        *above, last = path.split(".")
        place: Any = body
        for key in above:
            place = place[int(key) if isinstance(place, list) else key]
        place[last] = value

    return edit


@pytest.mark.parametrize("kind", KINDS)
def test_check_body_accepts_what_is_about_the_signature(kind: str) -> None:
    """Of each kind that may be about an envelope."""
    check_body(entry(kind, canonical_json(body(kind))), RECORD)


def test_check_body_asks_for_canonical_json_of_rekor_v2_alone() -> None:
    """L7: two bodies of Rekor v2 with one meaning would be two entries; Rekor v1 wrote what it wrote."""
    for kind in ("dsse 0.0.1", "intoto 0.0.2"):
        check_body(entry(kind, json.dumps(body(kind), indent=1).encode()), RECORD)
    v2 = KINDS[0]
    told = refused(v2, json.dumps(body(v2), indent=1).encode())
    assert (told.what, told.where) == ("log entry body is not canonical JSON", "canonicalizedBody")
    other = body(v2, at("spec.hashedRekordV002.data.digest", "AAAA"))
    told = refused(v2, canonical_json(other))
    assert (told.what, told.where) == (
        "log entry is about another signature",
        "body.spec.hashedRekordV002.data.digest",
    )


@pytest.mark.parametrize("kind", KINDS)
def test_check_body_says_that_a_body_cannot_be_read(kind: str) -> None:
    """Not that it is about something else: nobody knows what it is about."""
    told = refused(kind, b"no json")
    assert told.what == "log entry body cannot be read"
    assert told.got


@pytest.mark.parametrize(
    ("kind", "path", "value", "where"),
    [
        ("dsse 0.0.1", "spec.payloadHash.value", {"of": "x"}, "body.spec.payloadHash.value"),
        ("dsse 0.0.1", "spec.payloadHash", "x", "body.spec.payloadHash"),
        ("dsse 0.0.1", "spec", [], "body.spec.envelopeHash.value"),
        ("dsse 0.0.1", "spec.envelopeHash.value", "", "body.spec.envelopeHash.value"),
        ("dsse 0.0.1", "spec.envelopeHash.value", "A" * 64, "body.spec.envelopeHash.value"),
        ("dsse 0.0.1", "spec.envelopeHash.value", None, "body.spec.envelopeHash.value"),
        ("dsse 0.0.1", "spec.envelopeHash.algorithm", "sha1", "body.spec.envelopeHash.algorithm"),
        ("intoto 0.0.2", "spec.content.hash.value", "", "body.spec.content.hash.value"),
        ("intoto 0.0.2", INTOTO, [], f"body.{INTOTO}"),
        ("intoto 0.0.2", f"{INTOTO}.0.publicKey", None, f"body.{INTOTO}"),
        ("intoto 0.0.2", f"{INTOTO}.0.publicKey", "", f"body.{INTOTO}"),
        ("intoto 0.0.2", f"{INTOTO}.0.publicKey", "%%%", f"body.{INTOTO}"),
        ("intoto 0.0.2", f"{INTOTO}.0.sig", "AAAA", f"body.{INTOTO}"),
    ],
)
def test_check_body_names_the_first_field_that_differs(
    kind: str, path: str, value: object, where: str
) -> None:
    """A hash that is none, an empty list and a value of another type are all about something else."""
    told = refused(kind, canonical_json(body(kind, at(path, value))))
    assert (told.what, told.where) == ("log entry is about another signature", where)


def test_check_body_names_a_field_of_a_stranger_in_part() -> None:
    """Names are theirs: printed in ASCII and cut."""
    told = refused("dsse 0.0.1", canonical_json(body("dsse 0.0.1", at("Ä" + "x" * 300, 1))))
    assert told.where == r"body.\xc4".ljust(200, "x")


@pytest.mark.parametrize("v2", [True, False])
def test_body_of_a_file_is_what_a_log_keeps(*, v2: bool) -> None:
    """Canonical JSON, as the log's own tests write it."""
    kind = "hashedrekord 0.0.2" if v2 else "hashedrekord 0.0.1"
    assert spki(KEY) == RECORD.key.spki
    assert body_of(RECORD, v2=v2) == canonical_json(body(kind))

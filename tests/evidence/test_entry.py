"""Log entries: which values are read, and which field an error names."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest

from gitchain.errors import GitchainError, LimitError, MalformedError
from gitchain.evidence.entry import MAX_BODY_BYTES, MAX_DER_BYTES, MAX_KIND_CHARS, MAX_PROOF_HASHES, LogEntry


def b64(data: bytes) -> str:
    return b64encode(data).decode()


PROOF = {
    "logIndex": "1",
    "treeSize": "2",
    "rootHash": b64(b"r" * 32),
    "hashes": [b64(b"h" * 32)],
    "checkpoint": {"envelope": "text"},
}
ENTRY: dict[str, Any] = {
    "logIndex": "7",
    "logId": {"keyId": b64(b"k")},
    "kindVersion": {"kind": "hashedrekord", "version": "0.0.1"},
    "integratedTime": "9",
    "canonicalizedBody": b64(b"body"),
    "inclusionPromise": {"signedEntryTimestamp": b64(b"p")},
    "inclusionProof": PROOF,
}


def proof(**changes: Any) -> dict[str, Any]:
    return {"inclusionProof": PROOF | changes}


def words(kind: str = "k", version: str = "v") -> dict[str, Any]:
    return {"kindVersion": {"kind": kind, "version": version}}


@pytest.mark.parametrize(
    ("changes", "what", "where"),
    [
        (words(kind=""), "kind is malformed", "kindVersion.kind"),
        (words(version=""), "kind is malformed", "kindVersion.version"),
        (words(kind="k" * (MAX_KIND_CHARS + 1)), "kind is malformed", "kindVersion.kind"),
        (words(kind="\u00e9"), "kind is malformed", "kindVersion.kind"),
        (words(kind="a\tb"), "kind is malformed", "kindVersion.kind"),
        ({"logId": {"keyId": ""}}, "is empty", "logId"),
        ({"logId": {"keyId": b64(bytes(MAX_DER_BYTES + 1))}}, "too large", "logId"),
        ({"canonicalizedBody": ""}, "is empty", "canonicalizedBody"),
        ({"canonicalizedBody": b64(bytes(MAX_BODY_BYTES + 1))}, "too large", "canonicalizedBody"),
        ({"inclusionPromise": {"signedEntryTimestamp": ""}}, "is empty", "inclusionPromise"),
        (proof(logIndex="2"), "outside its tree", "inclusionProof"),
        (proof(rootHash="?"), "not base64", "inclusionProof.rootHash"),
        (proof(rootHash=b64(b"r" * 31)), "wrong length", "inclusionProof.rootHash"),
        (proof(rootHash=None), "wrong type", "inclusionProof.rootHash"),
        (proof(hashes=[b64(b"h" * 33)]), "wrong length", "inclusionProof.hashes"),
        (proof(hashes=[1]), "wrong type", "inclusionProof.hashes"),
        (proof(hashes=[b64(b"h" * 32)] * (MAX_PROOF_HASHES + 1)), "too many", "inclusionProof.hashes"),
    ],
)
def test_parse_says_which_field_is_wrong(changes: dict[str, Any], what: str, where: str) -> None:
    """Empty, too long, of another length, outside the tree: LimitError or MalformedError with the field."""
    with pytest.raises((MalformedError, LimitError)) as caught:
        LogEntry.parse(ENTRY | changes, "entry")
    assert (what in caught.value.what, caught.value.where) == (True, where)


def test_parse_takes_every_value_up_to_its_limit() -> None:
    """One character, the longest kind, the largest body and key id, the longest proof, the first of one leaf."""
    changes = {
        **words("k" * MAX_KIND_CHARS, "1"),
        "logId": {"keyId": b64(bytes(MAX_DER_BYTES))},
        "canonicalizedBody": b64(bytes(MAX_BODY_BYTES)),
        **proof(logIndex="0", treeSize="1", hashes=[b64(b"h" * 32)] * MAX_PROOF_HASHES),
    }
    found = LogEntry.parse(ENTRY | changes, "entry")
    assert (found.kind, found.version) == ("k" * MAX_KIND_CHARS, "1")
    assert found.proof is not None
    assert (found.proof.index, found.proof.tree_size, len(found.proof.hashes)) == (0, 1, MAX_PROOF_HASHES)


def test_parse_reads_each_field_into_its_place() -> None:
    """Every field has a value of its own, so that no two can change places."""
    found = LogEntry.parse(ENTRY, "entry")
    assert (found.log_index, found.key_id, found.kind, found.version) == (7, b"k", "hashedrekord", "0.0.1")
    assert (found.integrated_time, found.body, found.promise) == (9, b"body", b"p")
    assert found.proof is not None
    assert (found.proof.index, found.proof.tree_size, found.proof.root) == (1, 2, b"r" * 32)
    assert (found.proof.hashes, found.proof.checkpoint) == ((b"h" * 32,), "text")


@pytest.mark.parametrize("absent", ["inclusionPromise", "inclusionProof"])
def test_parse_without_an_optional_part(absent: str) -> None:
    """Null, absent, or a promise that holds nothing: there is none."""
    for value in (None, {"signedEntryTimestamp": None}) if absent == "inclusionPromise" else (None,):
        found = LogEntry.parse(ENTRY | {absent: value}, "entry")
        assert (found.promise if absent == "inclusionPromise" else found.proof) is None


@pytest.mark.parametrize("key", ["logId", "kindVersion", "canonicalizedBody"])
def test_parse_needs_the_other_fields(key: str) -> None:
    """An entry without its log, kind or body is malformed."""
    with pytest.raises(GitchainError):
        LogEntry.parse({name: value for name, value in ENTRY.items() if name != key}, "entry")


def test_an_entry_is_shown_without_its_long_fields() -> None:
    """Body and promise are bytes that nobody reads in a message."""
    assert "body=" not in repr(LogEntry.parse(ENTRY, "entry"))
    assert "promise=" not in repr(LogEntry.parse(ENTRY, "entry"))

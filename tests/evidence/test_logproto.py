"""Log entries in protobuf: what gitsign writes is read, what another reader could read otherwise is refused."""

from __future__ import annotations

from base64 import b64encode

import pytest

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.entry import MAX_DER_BYTES, InclusionProof, LogEntry
from gitchain.evidence.logproto import entry_bytes, entry_json

PROOF = InclusionProof(7, 300, b"r" * 32, (b"h" * 32, b"i" * 32), "log.example.com\n300\n")
ENTRY = LogEntry(1000, b"k" * 32, "hashedrekord", "0.0.1", 1_700_000_000, b"body", PROOF, b"promise")


def parsed(data: bytes) -> LogEntry:
    return LogEntry.parse(entry_json(data) | {"canonicalizedBody": b64encode(b"body").decode()}, "entry")


def test_an_entry_is_written_and_read_back() -> None:
    """All but the body, which is left out."""
    assert parsed(entry_bytes(ENTRY)) == ENTRY
    assert b"body" not in entry_bytes(ENTRY)


def test_an_entry_without_promise_and_proof_is_written_and_read_back() -> None:
    """Fields of value zero are left out, as protobuf has it."""
    bare = LogEntry(0, b"k", "hashedrekord", "0.0.2", 0, b"body", None, None)
    assert parsed(entry_bytes(bare)) == bare


def test_the_bytes_are_those_of_the_format() -> None:
    """Written by hand from the definition of the message."""
    entry = LogEntry(5, b"kk", "h", "1", 300, b"body", InclusionProof(5, 6, b"r" * 32, (), "c"), b"p")
    proof = b"\x08\x05" + b"\x12\x20" + b"r" * 32 + b"\x18\x06" + b"\x2a\x03\x0a\x01c"
    assert entry_bytes(entry) == (
        b"\x08\x05"
        b"\x12\x04\x0a\x02kk"
        b"\x1a\x06\x0a\x01h\x12\x011"
        b"\x20\xac\x02"
        b"\x2a\x03\x0a\x01p"
        b"\x32" + bytes([len(proof)]) + proof
    )


@pytest.mark.parametrize("value", [1, 126, 127, 128, 129, 255, 16_383, 16_384, 2**63 - 1])
def test_a_number_is_written_in_its_shortest_spelling(value: int) -> None:
    """Seven bits a byte: what the strict reader takes is what is written."""
    entry = LogEntry(value, b"k", "h", "1", 0, b"body", None, None)
    assert parsed(entry_bytes(entry)) == entry


def test_an_empty_promise_is_none() -> None:
    """gitsign writes an empty message where a log makes no promise."""
    assert parsed(b"\x12\x03\x0a\x01k\x1a\x06\x0a\x01h\x12\x011\x2a\x00").promise is None


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x3a\x01b", "unknown field"),  # the body, which nobody keeps
        (b"\x40\x01", "unknown field"),
        (b"\x0a\x01x", "unknown field"),  # a number as bytes
        (b"\x10\x01", "unknown field"),  # a message as a number
        (b"\x08\x01\x08\x01", "too often"),
        (b"\x20\x01\x20\x01", "too often"),  # field 4, a number here, is a list in the proof
        (b"\x12\x00\x12\x00", "too often"),
        (b"\x12\x06\x0a\x01k\x0a\x01k", "too often"),
        (b"\x32\x82\x01" + b"\x22\x00" * 65, "too often"),
        (b"\x08", "number is malformed"),
        (b"\x08\x80", "number is malformed"),
        (b"\x08\x81\x00", "number is malformed"),
        (b"\x88\x00\x01", "number is malformed"),
        (b"\x08\x80\x00", "number is malformed"),
        (b"\x08\x80\x00\x01", "number is malformed"),
        (b"\x08\x81\x00\x01", "number is malformed"),
        (b"\x08" + b"\xff" * 9 + b"\x01", "number is malformed"),
        (b"\x12\x05\x0a\x01k", "field is malformed"),
        (b"\x09\x01\x02\x03\x04\x05\x06\x07\x08", "field is malformed"),
        (b"\x0b\x00", "field is malformed"),
        (b"\x1a\x03\x0a\x01\xff", "not UTF-8"),
    ],
)
def test_another_spelling_is_refused(data: bytes, says: str) -> None:
    """Unknown fields, fields twice, other wire types, long or endless numbers, lengths beyond the end."""
    with pytest.raises(MalformedError, match=says):
        entry_json(data)


def test_the_largest_number_is_read() -> None:
    """2^63 - 1 has nine bytes."""
    assert entry_json(b"\x08" + b"\xff" * 8 + b"\x7f")["logIndex"] == str(2**63 - 1)


def test_many_hashes_are_read() -> None:
    """As many as the longest proof has."""
    found = entry_json(b"\x32\x80\x01" + b"\x22\x00" * 64)["inclusionProof"]
    assert isinstance(found, dict)
    assert found["hashes"] == [""] * 64


def test_the_size_is_bounded() -> None:
    """Nothing, the largest, one more."""
    with pytest.raises(MalformedError, match="empty"):
        entry_json(b"")
    with pytest.raises(LimitError):
        entry_json(b"\0" * (MAX_DER_BYTES + 1))

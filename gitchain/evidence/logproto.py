"""A log entry as gitsign keeps it in the signature of a commit or tag: protobuf, without the body.

    message TransparencyLogEntry { int64 log_index = 1; LogId log_id = 2; KindVersion kind_version = 3;
      int64 integrated_time = 4; InclusionPromise inclusion_promise = 5; InclusionProof inclusion_proof = 6; }

Read strictly: a field that is unknown or there twice, of another wire type, or spelled longer than need be is refused.
The body is made again from what was signed (`gitchain.verify.gitcms`), so the entry can be about nothing else.

Format: https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_rekor.proto,
https://protobuf.dev/programming-guides/encoding. Does NOT verify anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gitchain.errors import MalformedError
from gitchain.evidence.canonical import Json
from gitchain.evidence.entry import MAX_PROOF_HASHES, LogEntry, bounded
from gitchain.evidence.fields import encode_base64

WHERE = "log entry"
_VARINT, _BYTES = 0, 2
_MAX_VARINT = 9  # bytes of an int64 that is not negative

_ENTRY = {1: _VARINT, 2: _BYTES, 3: _BYTES, 4: _VARINT, 5: _BYTES, 6: _BYTES}
_WORDS = {1: _BYTES, 2: _BYTES}
_ONE = {1: _BYTES}
_PROOF = {1: _VARINT, 2: _BYTES, 3: _VARINT, 4: _BYTES, 5: _BYTES}
_HASHES = 4  # of the proof: the one field that may be there several times; field 4 of the entry is a number


def entry_json(data: bytes) -> dict[str, Json]:
    """Return the entry as `LogEntry.parse` reads it, without `canonicalizedBody`; MalformedError or LimitError."""
    top = _WireMessage.parse(bounded(data, WHERE), _ENTRY)
    words, promise, proof = top.message(3, _WORDS), top.message(5, _ONE), top.message(6, _PROOF)
    found: dict[str, Json] = {
        "logIndex": str(top.number(1)),
        "logId": {"keyId": encode_base64(top.message(2, _ONE).chunk(1))},
        "kindVersion": {"kind": words.text(1), "version": words.text(2)},
        "integratedTime": str(top.number(4)),
    }
    if promise.chunk(1):
        found["inclusionPromise"] = {"signedEntryTimestamp": encode_base64(promise.chunk(1))}
    if 6 in top.chunks:
        found["inclusionProof"] = {
            "logIndex": str(proof.number(1)),
            "rootHash": encode_base64(proof.chunk(2)),
            "treeSize": str(proof.number(3)),
            "hashes": [encode_base64(one) for one in proof.chunks.get(_HASHES, ())],
            "checkpoint": {"envelope": proof.message(5, _ONE).text(1)},
        }
    return found


def entry_bytes(entry: LogEntry) -> bytes:
    """Return the protobuf of an entry, its body left out."""
    found = _number(1, entry.log_index) + _chunk(2, _chunk(1, entry.key_id))
    found += _chunk(3, _chunk(1, entry.kind.encode()) + _chunk(2, entry.version.encode()))
    found += _number(4, entry.integrated_time)
    if entry.promise is not None:
        found += _chunk(5, _chunk(1, entry.promise))
    proof = entry.proof
    if proof is not None:
        hashes = b"".join(_chunk(_HASHES, one) for one in proof.hashes)
        checkpoint = _chunk(5, _chunk(1, proof.checkpoint.encode()))
        numbers = _number(1, proof.index) + _chunk(2, proof.root) + _number(3, proof.tree_size)
        found += _chunk(6, numbers + hashes + checkpoint)
    return found


@dataclass(frozen=True, slots=True)
class _WireMessage:
    """One message: its numbers and its chunks by field; what is absent reads as 0, empty, or an empty message."""

    numbers: Mapping[int, int]
    chunks: Mapping[int, list[bytes]]

    @classmethod
    def parse(cls, data: bytes, types: Mapping[int, int]) -> _WireMessage:
        """Return the message with fields of these numbers and wire types. Raises MalformedError for any other."""
        numbers: dict[int, int] = {}
        chunks: dict[int, list[bytes]] = {}
        for field, wire, value in _split(data):
            if types.get(field) != wire:
                raise MalformedError("unknown field", where=WHERE, got=f"field {field} of type {wire}")
            most = MAX_PROOF_HASHES if field == _HASHES else 1
            if field in numbers or len(chunks.get(field, ())) == most:
                raise MalformedError("field occurs too often", where=WHERE, got=f"field {field}")
            if isinstance(value, int):
                numbers[field] = value
            else:
                chunks.setdefault(field, []).append(value)
        return cls(numbers, chunks)

    def number(self, field: int) -> int:
        """Return the number in this field."""
        return self.numbers.get(field, 0)

    def chunk(self, field: int) -> bytes:
        """Return the bytes in this field."""
        return self.chunks.get(field, [b""])[0]

    def text(self, field: int) -> str:
        """Return the text in this field, or raise MalformedError."""
        try:
            return self.chunk(field).decode("utf-8")
        except UnicodeDecodeError as error:
            raise MalformedError("field is not UTF-8", where=WHERE, got=f"field {field}") from error

    def message(self, field: int, types: Mapping[int, int]) -> _WireMessage:
        """Return the message in this field, or raise MalformedError."""
        return _WireMessage.parse(self.chunk(field), types)


def _split(data: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Yield number, wire type and value of each field."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value, at = _varint(data, at)
        if tag & 7 == _VARINT:
            yield tag >> 3, _VARINT, value
        elif tag & 7 == _BYTES and at + value <= len(data):
            yield tag >> 3, _BYTES, data[at : at + value]
            at += value
        else:
            raise MalformedError("field is malformed", where=WHERE, got=f"type {tag & 7} at byte {at}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins there, and where it ends. Raises MalformedError for any but its shortest spelling."""
    value = 0
    for place, byte in enumerate(data[at : at + _MAX_VARINT]):
        value |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80 and (byte or not place):
            return value, at + place + 1
        if not byte:
            break
    raise MalformedError("number is malformed", where=WHERE, got=f"byte {at}")


def _number(field: int, value: int) -> bytes:
    return _encoded(field << 3 | _VARINT) + _encoded(value) if value else b""


def _chunk(field: int, data: bytes) -> bytes:
    return _encoded(field << 3 | _BYTES) + _encoded(len(data)) + data


def _encoded(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])

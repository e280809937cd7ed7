"""Cosignatures and the keys of witnesses: the bytes of the specification, and nothing else is one."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitchain.errors import MalformedError
from gitchain.evidence.checkpoint import Checkpoint, NoteSignature
from gitchain.evidence.cosignature import (
    MAX_KEY_CHARS,
    VerifierKey,
    cosignature,
    cosigned_bytes,
    time_and_signature,
)

KEY = VerifierKey("witness.example/w1", 4, bytes(range(32)))
NOTE = Checkpoint("example.com/log", 3, bytes(32))


def test_the_key_id_covers_name_kind_and_key() -> None:
    """SHA-256 over name, newline, kind and key; its first four bytes."""
    assert KEY.key_id == hashlib.sha256(b"witness.example/w1\n\x04" + bytes(range(32))).digest()[:4]
    others = [
        VerifierKey("witness.example/w2", 4, KEY.key),
        VerifierKey(KEY.name, 1, KEY.key),
        VerifierKey(KEY.name, 4, bytes(32)),
    ]
    assert len({one.key_id for one in (KEY, *others)}) == 4


@given(st.binary(min_size=32, max_size=32), st.sampled_from((1, 4)))
def test_keys_read_back_as_they_are_written(key: bytes, kind: int) -> None:
    found = VerifierKey("log.example", kind, key)
    assert VerifierKey.parse(str(found)) == found


def test_keys_of_other_kinds_have_any_length() -> None:
    assert VerifierKey.parse(str(VerifierKey("log.example", 2, b"spki"))).key == b"spki"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "a+b",
        str(KEY)[:-1],
        str(KEY)[1:],
        str(KEY) + "=",
        str(KEY).replace("+", " "),
        f"a b+{KEY.key_id.hex()}+{base64.b64encode(b'x04' + KEY.key).decode()}",
        f"+00000000+{base64.b64encode(bytes([4]) + KEY.key).decode()}",
        "a+00000000+",
        "a+00000000+!!!!",
        f"{KEY.name}+{KEY.key_id.hex().upper()}+{base64.b64encode(bytes([4]) + KEY.key).decode()}",
        f"{KEY.name}+{'0' * 8}+{base64.b64encode(bytes([4]) + KEY.key).decode()}",
        str(VerifierKey("x" * MAX_KEY_CHARS, 4, KEY.key)),
    ],
)
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        VerifierKey.parse(text)


def test_the_longest_key_that_is_read() -> None:
    """Exactly at the limit it is read, one character more and it is not."""
    rest = len(str(VerifierKey("x", 4, KEY.key))) - 1
    longest = VerifierKey("x" * (MAX_KEY_CHARS - rest), 4, KEY.key)
    assert len(str(longest)) == MAX_KEY_CHARS
    assert VerifierKey.parse(str(longest)) == longest


@pytest.mark.parametrize(("kind", "length"), [(1, 31), (1, 33), (4, 31), (4, 33), (4, 0)])
def test_ed25519_keys_have_32_bytes(kind: int, length: int) -> None:
    with pytest.raises(MalformedError):
        VerifierKey("a", kind, bytes(length))


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n", "\t"])
def test_a_name_is_one_that_a_note_can_carry(name: str) -> None:
    with pytest.raises(MalformedError):
        VerifierKey(name, 4, KEY.key)


def test_what_is_signed() -> None:
    """A header, the time, and the checkpoint's whole body, extension lines included."""
    note = Checkpoint("example.com/log", 3, bytes(32), ("more",))
    assert cosigned_bytes(note, 1679315147) == b"cosignature/v1\ntime 1679315147\n" + note.body()
    assert note.body().endswith(b"more\n")
    assert cosigned_bytes(note, 0).startswith(b"cosignature/v1\ntime 0\n")
    assert cosigned_bytes(note, 2**63 - 1)
    for time in (-1, 2**63):
        with pytest.raises(MalformedError):
            cosigned_bytes(note, time)


def test_the_line_holds_time_and_signature() -> None:
    line = cosignature(KEY, 258, b"s" * 64)
    assert (line.name, line.key_id) == (KEY.name, KEY.key_id)
    assert line.signature == b"\x00" * 6 + b"\x01\x02" + b"s" * 64
    assert time_and_signature(line) == (258, b"s" * 64)


@pytest.mark.parametrize("length", [1, 64, 71, 73])
def test_a_line_of_another_length_is_none(length: int) -> None:
    with pytest.raises(MalformedError):
        time_and_signature(NoteSignature(KEY.name, KEY.key_id, bytes(length)))

"""The body of a request is bounded in the very form in which it is read."""

from __future__ import annotations

import io
from email.message import Message

import pytest

from gitchain.platform.http_body import BodyRefusedError, body_length, parse_length, read_body


def headers(*lengths: str, **others: str) -> Message:
    found = Message()
    for length in lengths:
        found["Content-Length"] = length
    for name, value in others.items():
        found[name.replace("_", "-")] = value
    return found


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("5", 5),
        ("007", 7),
        ("9" * 18, int("9" * 18)),
        ("9" * 19, None),
        ("", None),
        ("+5", None),
        ("-5", None),
        (" 5", None),
        ("1_0", None),
        ("\u0663", None),
        ("\u00b2", None),
    ],
)
def test_parse_length_takes_ascii_digits_only(text: str, number: int | None) -> None:
    assert parse_length(text) == number


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (headers(), 411),
        (headers("5", Transfer_Encoding="chunked"), 411),
        (headers("5", "5"), 400),
        (headers("x"), 411),
        (headers("11"), 413),
    ],
)
def test_body_length_refuses_what_is_unclear_or_too_long(given: Message, status: int) -> None:
    with pytest.raises(BodyRefusedError) as caught:
        body_length(given, 10)
    assert caught.value.status == status
    assert caught.value.reason


def test_read_body_reads_exactly_the_length() -> None:
    reader = io.BytesIO(b"0123456789abc")
    assert read_body(headers("10"), reader, 10) == b"0123456789"
    assert reader.tell() == 10
    assert read_body(headers("0"), reader, 10) == b""


def test_read_body_refuses_a_body_that_ends_early() -> None:
    with pytest.raises(BodyRefusedError) as caught:
        read_body(headers("4"), io.BytesIO(b"012"), 10)
    assert caught.value.status == 400

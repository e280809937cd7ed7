"""Fields of JSON: what each reader takes, and what its error says."""

from __future__ import annotations

import pytest

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.fields import (
    as_array,
    decimal,
    decode_proto_base64,
    get_object,
    get_string,
    get_uint64,
)


def test_a_missing_field_is_said_to_be_nothing() -> None:
    """The error names the field, what belongs there, and the type of what is there."""
    with pytest.raises(MalformedError) as caught:
        get_string({}, "name", "subject")
    error = caught.value
    assert (error.where, error.expected, error.got) == ("subject.name", "a string", "nothing")
    with pytest.raises(MalformedError) as caught:
        get_object({"digest": []}, "digest", "subject")
    error = caught.value
    assert (error.where, error.expected, error.got) == ("subject.digest", "an object", "list")


def test_an_array_has_at_most_its_limit() -> None:
    """The limit itself is allowed, one more is not."""
    assert as_array([1, 2], "x", limit=2) == [1, 2]
    with pytest.raises(LimitError):
        as_array([1, 2, 3], "x", limit=2)


@pytest.mark.parametrize(
    "text", ["", "00", "01", "+1", "-1", " 1", "1_0", "1.0", "\u0663", "\u00b2", str(2**63), "9" * 20]
)
def test_a_decimal_has_one_spelling(text: str) -> None:
    """ASCII digits alone, no zero in front, below 2^63."""
    with pytest.raises(MalformedError):
        decimal(text, "x")
    with pytest.raises(MalformedError):
        get_uint64({"n": text}, "n", "x")


def test_a_decimal_is_read() -> None:
    """Zero and the largest; an absent field is zero, a number is read too."""
    assert [decimal(text, "x") for text in ("0", "10", str(2**63 - 1))] == [0, 10, 2**63 - 1]
    assert [get_uint64(source, "n", "x") for source in ({}, {"n": 7}, {"n": "7"})] == [0, 7, 7]


def test_base64_has_two_alphabets_that_do_not_mix() -> None:
    """The standard and the URL-safe one, each with or without padding."""
    for text in ("+/+/", "-_-_"):
        assert decode_proto_base64(text, "x") == b"\xfb\xff\xbf"
    assert decode_proto_base64("-_-X", "x") == b"\xfb\xff\x97"
    for mixed in ("-/-/", "+_+_"):
        with pytest.raises(MalformedError):
            decode_proto_base64(mixed, "x")
    assert decode_proto_base64("YQ", "x") == decode_proto_base64("YQ==", "x") == b"a"

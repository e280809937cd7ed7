"""JSON: one way to write a value, and no way to read one in two ways."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence import canonical
from gitchain.evidence.canonical import canonical_json, strict_json

SAFE = 2**53 - 1
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FLOATS = st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda x: not (abs(x) > SAFE and abs(x) < 1e22)
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-SAFE, SAFE) | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_read_undoes_write(value: Any) -> None:
    """What is written reads back equal, and writing it again gives the same bytes."""
    data = canonical_json(value)
    again = strict_json(data, "value")
    assert again == value
    assert canonical_json(again) == data


def test_rfc8785_example() -> None:
    """The example of RFC 8785 section 3.2.2 comes out as the RFC says."""
    value: dict[str, Any] = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical_json(value) == (
        b'{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        b'"string":"\xe2\x82\xac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_keys_sort_by_utf16() -> None:
    """RFC 8785 section 3.2.3 sorts by UTF-16 code units, which differs from code points beyond the BMP."""
    assert canonical_json({"\ufb33": 1, "\U0001f600": 2}) == '{"\U0001f600":2,"\ufb33":1}'.encode()


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        math.inf,
        -math.inf,
        SAFE + 1,
        -SAFE - 1,
        1e20,
        2.0**53,
        "\ud800",
        {"\udfff": 1},
        {1: 2},
        b"x",
        {1, 2},
        object(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_that_json_cannot_carry(value: Any) -> None:
    """What some reader would refuse or misread is never written."""
    with pytest.raises(MalformedError):
        canonical_json([value])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b'{"a":1,"a":1}',
        b'{"a":1,"\\u0061":2}',
        b'[{"b":{"a":1,"a":2}}]',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b"-1e999",
        b"9007199254740992",
        b"-9007199254740992",
        b"1" * 5000,
        b"\xef\xbb\xbf{}",
        '"\ufeff"'.encode("utf-16"),
        "{}".encode("utf-16-le"),
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b'"\\ud800"',
        b'{"\\udc00":1}',
        b'"\\ud800\\ud800"',
        b"{} {}",
        b"{}x",
        b"{}\x00",
        b"[1,]",
        b'{"a":1,}',
        b"{a:1}",
        b"'a'",
        b"01",
        b"+1",
        b".5",
        b"1.",
        b"0x1",
        b'"\t"',
        b"// c\n{}",
        b"tru",
        b"\x0c{}",
        "١".encode(),
    ],
    ids=lambda data: ascii(data[:24]),
)
def test_ambiguous_json_is_refused(data: bytes) -> None:
    """Each case is one that two JSON parsers read differently."""
    with pytest.raises(MalformedError):
        strict_json(data, "input")


def test_good_json_is_read() -> None:
    """Escapes, surrogate pairs, exponents and white space are JSON."""
    assert strict_json(b' {"a":[1,-0.5,1e3,"\\ud83d\\ude00\\n"]}\n', "input") == {
        "a": [1, -0.5, 1000.0, "\U0001f600\n"]
    }
    assert strict_json(str(SAFE).encode(), "input") == SAFE


def test_integers_up_to_the_limit_are_read() -> None:
    """Both ends are read; an integer beyond them is too large, of however many digits."""
    for good in (SAFE, -SAFE, 0, -1):
        assert strict_json(str(good).encode(), "input") == good
    for odd in (SAFE + 1, -SAFE - 1, 10**16, 10**17, -(10**17), 10**18):
        with pytest.raises(MalformedError, match="integer is too large"):
            strict_json(str(odd).encode(), "input")
    with pytest.raises(MalformedError, match="integer is too large") as caught:
        strict_json(b"1" * 5000, "input")
    assert caught.value.got == "1" * 40


def test_byte_order_mark_is_named() -> None:
    """The usual cause of unreadable JSON is told by its name."""
    with pytest.raises(MalformedError, match="byte-order mark"):
        strict_json(b"\xef\xbb\xbf{}", "input")


@pytest.mark.parametrize("depth", [65, 1000, 100_000])
@pytest.mark.parametrize(("opened", "closed"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_depth_is_bounded(depth: int, opened: bytes, closed: bytes) -> None:
    """Nesting beyond the limit is a limit, whether or not Python's own stack would hold it."""
    with pytest.raises((LimitError, MalformedError)) as caught:
        strict_json(opened * depth + b"1" + closed * depth, "input")
    assert isinstance(caught.value, LimitError)


def test_depth_at_the_limit_is_read() -> None:
    """64 levels are read, and written, with a number in the innermost."""
    assert strict_json(b"[" * 64 + b"1" + b"]" * 64, "input")
    value = strict_json(b"[" * 64 + b"]" * 64, "input")
    assert canonical_json(value) == b"[" * 64 + b"]" * 64
    with pytest.raises(LimitError):
        canonical_json([value])


def test_size_and_count_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes and values are counted before anything is built; as many as the limit are read."""
    assert strict_json(b"[[],[]]", "input", max_bytes=7, max_values=4) == [[], []]
    monkeypatch.setattr(canonical, "_DECODER", None)
    with pytest.raises(LimitError, match="too large"):
        strict_json(b"[]", "input", max_bytes=1)
    with pytest.raises(LimitError, match="too many values"):
        strict_json(b"[[],[]]", "input", max_values=3)


@given(
    st.binary(max_size=100)
    | st.text(max_size=100).map(str.encode)
    | st.text('[]{}",:0123e+-.\\u ', max_size=30).map(str.encode)
)
def test_any_bytes(data: bytes) -> None:
    """Arbitrary bytes give a value that Python's own parser agrees with, or an error of the project."""
    try:
        value = strict_json(data, "input")
    except (MalformedError, LimitError):
        return
    assert json.loads(data) == value


def test_the_message_names_the_document() -> None:
    """The error says which document is wrong, also for errors that come from deep inside."""
    with pytest.raises(MalformedError) as caught:
        strict_json(b'{"a":1,"a":2}', "the layout")
    assert caught.value.where == "the layout"
    assert "'a'" in caught.value.got
    with pytest.raises(MalformedError, match="appears twice") as caught:
        strict_json(b'{"b":1,"a":1,"c":1,"a":2}', "the layout")
    assert caught.value.got == "'a'"

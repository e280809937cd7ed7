"""The values of `gitchain diff`: exact differences, equality by type, dotted names, and short texts of long ones."""

from __future__ import annotations

import tracemalloc
from decimal import Decimal
from hashlib import sha256
from itertools import product

import pytest

from gitchain.consume.diff_values import (
    ABSENT,
    MAX_SHOWN,
    Absent,
    Change,
    Facts,
    Name,
    Value,
    collected,
    combined,
    compare,
    decimal_text,
    document_value,
    flattened,
    shortened,
)
from gitchain.evidence.canonical import Json


def facts(value: Value) -> dict[tuple[str, str], Facts]:
    return {("step", ""): {} if isinstance(value, Absent) else {"x": value}}


def change_of(old: Value, new: Value) -> Change | None:
    found = compare(facts(old), facts(new)).changes
    return found[0] if found else None


@pytest.mark.parametrize(
    ("old", "new", "difference", "relative"),
    [
        (0.1, 0.3, "+0.2", "+200%"),
        (0.93, 0.95, "+0.02", "+2.15%"),
        (1, 0.5, "-0.5", "-50%"),
        (-2, -1, "+1", "+50%"),
        (0, 5, "+5", None),
        (0.0, -1e-9, "-1E-9", None),
        (5, 0, "-5", "-100%"),
        (1e-300, 1, "+1", "+1E+302%"),
        (2**53 - 1, -(2**53 - 1), "-18014398509481982", "-200%"),
        (1e308, -1e308, "-2E+308", "-200%"),
    ],
)
def test_difference_is_exact(old: Json, new: Json, difference: str, relative: str | None) -> None:
    """Decimals are subtracted, not floats: no noise. A zero has no relative difference."""
    change = change_of(old, new)
    assert change is not None
    assert (change.more["difference"], change.more.get("relative")) == (difference, relative)


VALUES: list[Value] = [ABSENT, None, True, False, 0, 1, 2, "1", "true", ".nan", "", [], {}, (1, 2)]


@pytest.mark.parametrize(("old", "new"), list(product(VALUES, VALUES)))
def test_compare_tells_types_apart(old: Value, new: Value) -> None:
    """A value differs from the same value of another type; only numbers have a difference."""
    change = change_of(old, new)
    assert (change is None) == (VALUES.index(old) == VALUES.index(new) if type(old) is type(new) else False)
    if change is not None:
        numbers = all(isinstance(one, int) and not isinstance(one, bool) for one in (old, new))
        assert bool(change.more) == numbers
        assert ("a" in change.to_json(), "b" in change.to_json()) == (old is not ABSENT, new is not ABSENT)


def test_compare_takes_equal_numbers_as_equal() -> None:
    """An integer and a float of the same value are the same number."""
    assert change_of(1, 1.0) is None


def test_compare_joins_equal_changes_of_steps() -> None:
    """A change that several steps state is one change with all their names; another one of the same name stays apart."""
    old = {(step, ""): {"p": 1} for step in ("one", "two", "three")}
    new = {("one", ""): {"p": 2}, ("two", ""): {"p": 2}, ("three", ""): {"p": 3}}
    assert [(one.steps, one.b) for one in compare(old, new).changes] == [(("one", "two"), 2), (("three",), 3)]


def test_changes_have_a_natural_order() -> None:
    """Numbers in names count as numbers, of any length and with leading zeros; different names are never equal."""
    names = ["p", "p1", "p02", "p2", "p10", f"p{'9' * 5000}", "q"]
    found = compare({}, {("step", ""): dict.fromkeys(reversed(names), 1)}).changes
    assert [one.name for one in found] == names


def test_change_states_the_totals_of_what_it_cuts() -> None:
    """A document has 20 steps and items of a change, and how many there are; a change of no step names none."""
    many = tuple(range(30))
    change = Change("x", tuple(map(str, many)), many[:20], many).to_json()
    assert (len(change["b"]), change["bTotal"], len(change["steps"]), change["stepsTotal"]) == (
        20,
        30,
        20,
        30,
    )
    assert "aTotal" not in change
    assert Change("x", ("",), 1, 2).to_json()["steps"] == []


def test_combined_keeps_every_value() -> None:
    """Attestations of one step that differ give a tuple of all values, equal ones a single value."""
    assert combined([{"a": 1, "b": 1}, {"a": 2, "b": 1.0}, {"c": None}]) == {"a": (1, 2), "b": 1.0, "c": None}


def test_flattened_names_are_different() -> None:
    """Two places in nested values never get the same name, even if keys hold the characters of names."""
    value: Json = {
        "a": {"b": 1, "c": [1, {"d": 2}], "e": {"0": 5}, "e[0]": 6},
        "a.b": 3,
        "": 4,
        "x": {},
        "y": [],
        "p:q": 7,
    }
    found = list(flattened(value))
    assert found == [
        ("a.b", 1), ("a.c[0]", 1), ("a.c[1].d", 2), ("a.e.0", 5), ('a."e[0]"', 6),
        ('"a.b"', 3), ('""', 4), ("x", {}), ("y", []), ('"p:q"', 7),
    ]  # fmt: skip
    assert len({name for name, _ in found}) == len(found)
    assert list(flattened(5)) == [("", 5)]
    assert list(flattened([[1]], Name() + "m.json", ":")) == [("m.json:[0][0]", 1)]


def test_flattened_names_are_short() -> None:
    """A name of more than MAX_SHOWN characters is its start, length and SHA-256: memory is that of the values."""
    many: Json = {"k" * 400_000: {f"p{number}": number for number in range(10_000)}}
    tracemalloc.start()
    found = dict(flattened(many))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(found), {len(name) for name in found}) == (10_000, {MAX_SHOWN})
    assert peak < 50_000_000
    long = "k" * 400_000 + ".p7"
    assert f"({len(long)} characters, sha256:{sha256(long.encode()).hexdigest()})" in "".join(found)
    assert [name for name, _ in flattened({"x" * MAX_SHOWN: 1})] == ["x" * MAX_SHOWN]


def test_collected_keeps_every_value() -> None:
    """Values of one name that differ are a tuple, so that none is hidden; their order does not count."""
    assert collected([("a", 1), ("b", 1), ("a", 2), ("b", 1.0)]) == {"a": (1, 2), "b": 1}
    assert change_of((1, 2, 2), (2, 1, 2)) is None
    assert change_of((1, 2, 2), (1, 2, 1)) is not None


@pytest.mark.parametrize(
    ("number", "text"),
    [("100", "100"), ("1.500", "1.5"), ("-0.000001", "-0.000001"), ("1E+20", "1E+20"), ("0", "0")],
)
def test_decimal_text(number: str, text: str) -> None:
    assert decimal_text(Decimal(number)) == text


def test_shortened_tells_long_texts_apart() -> None:
    """Two long texts with the same start differ by length or digest; lone surrogates are no problem."""
    fits, long = "x" * MAX_SHOWN, "x" * MAX_SHOWN * 2
    assert shortened(fits) == fits
    assert shortened(long) != shortened(long[:-1] + "y")
    assert f"{len(long)} characters" in shortened(long)
    assert shortened("\ud800" * len(long)).startswith("\ud800")
    assert document_value({"a": [long] * 30}) == {"a": [shortened(long)] * 20}

"""YAML as DVC writes it is read as DVC reads it; everything else is refused with file and line."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from gitchain.collect.strict_yaml import MAX_YAML_DEPTH, load_yaml, plain_scalar
from gitchain.errors import LimitError, ProjectError
from gitchain.platform.yaml import YamlMap

SCALARS = [
    "1e-3",
    "1e-05",
    "1.5",
    "1.",
    ".5",
    "1_000",
    "0x1f",
    "0o17",
    "017",
    "0b11",
    "yes",
    "no",
    "on",
    "off",
    "true",
    "False",
    "~",
    "null",
    "12:30",
    "1:20:30",
    "+5",
    "-5",
    ".inf",
    "-.inf",
    "1e5",
    "1E+5",
    "08",
    "0",
    "00",
    "abc",
    "1.2.3",
    ".",
    "+.",
    "0x",
    "+1e3",
    ".5e3",
    ".5e+3",
    "089",
    "None",
    "5d41402abc4b2a76b9719d911017c592",
]


@pytest.mark.parametrize("text", SCALARS)
def test_scalars_mean_what_they_mean_to_dvc(text: str) -> None:
    """A learning rate of 1e-05 is a number to both readers, and `on` is text to both."""
    dvc = YAML(typ="safe").load(f"a: {text}\n")["a"]
    ours = load_yaml(f"a: {text}\n".encode(), "dvc.lock")
    assert ours == {"a": dvc}
    assert type(ours["a"]) is type(dvc)


@pytest.mark.parametrize(
    ("data", "what", "line"),
    [
        (b"a: 1\nb: 2\na: 3\n", "twice", 3),
        (b"a: !!python/object:os.system 1\n", "tag", 1),
        (b"a: !mine 1\n", "tag", 1),
        (b"a:\n- &x [*x]\n", "inside its own anchor", 2),
        (b"a: 1\nb: *x\n", "no anchor", 2),
        (b"a: &x [1]\n*x : 2\n", "a key must be a string", 2),
        (b"a: &x k\nk: 1\n*x : 2\n", "twice", 3),
        (b"a: 1\n<<: 2\n", "merge key names no mapping", 2),
        (b"<<: [{}, 1]\n", "merge key names no mapping", 1),
        (b"<<: {a: 1}\n<<: {b: 1}\n", "twice", 2),
        (b"a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> theirs\n", "merge conflict", 2),
        (b"stages:\n  a: |\n    text\n  b: [1\n", "not YAML", 5),
        (b"? [a]\n: b\n", "a key must be a string", 1),
        (b"--- 1\n--- 2\n", "several", 2),
    ],
)
def test_what_is_refused_names_file_and_line(data: bytes, what: str, line: int) -> None:
    """Each refusal says in which line of which file, and what."""
    with pytest.raises(ProjectError, match=what) as caught:
        load_yaml(data, "sub/dvc.lock")
    assert caught.value.where == f"sub/dvc.lock line {line}"


@pytest.mark.parametrize("data", [b"[" * 100_000, b"- " * 100_000, b"a: " + b"{a: " * 1000])
def test_deep_nesting_is_an_error_and_no_crash(data: bytes) -> None:
    """100,000 brackets kill the process in libyaml's composer; here they are a LimitError."""
    with pytest.raises(LimitError, match="deep"):
        load_yaml(data, "x")


def test_depth_within_the_limit_is_read() -> None:
    """The limit refuses nothing below it."""
    depth = MAX_YAML_DEPTH
    assert load_yaml(b"[" * depth + b"]" * depth, "x") is not None


@pytest.mark.parametrize(
    "text",
    [
        "a: &x 1\nb: *x\n",
        "a: &x [1, two]\nb: *x\nc: *x\n",
        "a: &x {k: 1}\nb: &y {l: *x}\nc: [*x, *y]\n",
        "a: &x [1]\nb: &x [2]\nc: *x\n",
        "a: &x {k: 1, l: 2}\nb: {<<: *x, k: 3}\n",
        "a: &x {k: 1, l: 2}\nb: {k: 3, <<: *x}\n",
        "a: &x {k: 1}\nb: &y {k: 2, m: 3}\nc: {<<: [*x, *y], n: 4}\n",
        "a: &x {k: 1}\nb: &y {<<: *x, l: 2}\nc: {<<: *y}\n",
        "'<<': 1\n",
        "a: &k key\nb: {*k : 2}\n",
        "&k a: 1\nb: *k\n",
        "a: &e\nb: *e\n",
        "a: &x !!str 5\nb: *x\n",
        "a: !!int '5'\nb: !!null ''\nc: !!bool 'true'\nd: !!seq [1]\ne: !!map {x: 1}\nf: ! 5\n",
    ],
)
def test_anchors_aliases_merge_keys_and_tags_mean_what_they_mean_to_dvc(text: str) -> None:
    """People write anchors in dvc.yaml; DVC writes `&id001` into dvc.lock itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert load_yaml(text.encode(), "dvc.lock") == YAML(typ="safe").load(text)


def test_dates_binary_data_and_sets_become_json() -> None:
    """What JSON has no type for: a date and base64 stay text, a set is a mapping to nulls, pairs are a list."""
    text = "a: 2020-01-01\nb: !!timestamp 2020-01-01\nc: !!binary aGk=\nd: !!set {x, y}\ne: !!omap [k: 1]\n"
    assert load_yaml(text.encode(), "x") == {
        "a": "2020-01-01",
        "b": "2020-01-01",
        "c": "aGk=",
        "d": {"x": None, "y": None},
        "e": [{"k": 1}],
    }


def test_number_of_many_digits_stays_text() -> None:
    """DVC writes a parameter of 500 digits into dvc.lock: no stage that ran goes without evidence for that."""
    for digits in ("9" * 401, "0x" + "f" * 500, "." + "5" * 500):
        assert load_yaml(f"a: {digits}\n".encode(), "x") == {"a": digits}
    assert load_yaml(b"a: " + b"9" * 400, "x") == {"a": int("9" * 400)}


def test_lines_of_merged_and_aliased_values_are_those_where_they_are_written() -> None:
    """An error in a value names the line that a person has to change."""
    loaded = load_yaml(b"base: &x\n  k: 1\nb:\n  <<: *x\n  l: [2]\nc: *x\n", "x")
    assert isinstance(loaded, YamlMap)
    merged = loaded["b"]
    assert isinstance(merged, YamlMap)
    assert merged.lines == {"l": 5, "k": 2}
    assert loaded.lines["c"] == 6


BOMB = [b"a0: &a0 [x,x,x,x,x,x,x,x,x]"]
BOMB += [b"a%d: &a%d [%s]" % (i, i, b",".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 10)]
TEXT = b"a: &a '" + b"x" * 1_000_000 + b"'\nb: [" + b",".join([b"*a"] * 40) + b"]"
MERGES = [b"a0: &a0 {k0: [x,x,x,x,x,x,x,x,x]}"]
MERGES += [
    b"a%d: &a%d {<<: *a%d, l%d: [%s]}" % (i, i, i - 1, i, b",".join([b"*a%d" % (i - 1)] * 9))
    for i in range(1, 10)
]
DEEP = b"\n".join([b"a0: &a0 [x]", *(b"a%d: &a%d [*a%d]" % (i, i, i - 1) for i in range(1, 70))])


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"\n".join(BOMB), "too many values"),
        (b"\n".join(MERGES), "too many values"),
        (TEXT, "too many characters"),
        (DEEP, "deep"),
    ],
)
def test_alias_bomb_is_refused_at_once(data: bytes, what: str) -> None:
    """Nine lines of aliases would be a billion values: an alias counts as much as what it stands for."""
    with pytest.raises(LimitError, match=what):
        load_yaml(data, "x")


def test_alias_of_a_large_value_is_read_within_the_limit() -> None:
    """The limits refuse no ordinary repetition."""
    loaded = load_yaml(
        b"a: &a [" + b",".join([b"1"] * 1000) + b"]\nb: [" + b",".join([b"*a"] * 1000) + b"]", "x"
    )
    assert isinstance(loaded, YamlMap)
    assert isinstance(loaded["b"], list)
    assert len(loaded["b"]) == 1000


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_a_project_error(data: bytes) -> None:
    """The reader is total: no other exception whatever the bytes."""
    try:
        load_yaml(data, "x")
    except (ProjectError, LimitError):
        return


@given(st.text(alphabet="0123456789+-._eExobafin", max_size=12))
def test_plain_scalars_never_raise(text: str) -> None:
    """Every short plain scalar has a meaning."""
    plain_scalar(text)

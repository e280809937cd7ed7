"""YAML as DVC writes it is read as DVC reads it; everything else is refused with file and line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from gitchain.collect.strict_yaml import MAX_YAML_DEPTH, load_yaml, plain_scalar
from gitchain.errors import LimitError, ProjectError

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
    assert type(ours["a"]) is type(dvc)  # type: ignore[index,call-overload]


@pytest.mark.parametrize(
    ("data", "what", "line"),
    [
        (b"a: 1\nb: 2\na: 3\n", "twice", 3),
        (b"a: &x 1\nb: *x\n", "anchors", 1),
        (b"a: !!python/object:os.system 1\n", "tags", 1),
        (b"a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> theirs\n", "merge conflict", 2),
        (b"stages:\n  a: |\n    text\n  b: [1\n", "not YAML", 5),
        (b"? [a]\n: b\n", "key is not text", 1),
        (b"--- 1\n--- 2\n", "several", 2),
        (b"a: " + b"9" * 1000, "number", 1),
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


def test_alias_bomb_is_refused_at_once() -> None:
    """Nine lines of aliases would be a billion values."""
    lines = [b"a0: &a0 [x,x,x,x,x,x,x,x,x]"]
    lines += [b"a%d: &a%d [%s]" % (i, i, b",".join([b"*a%d" % (i - 1)] * 9)) for i in range(1, 10)]
    with pytest.raises(ProjectError, match="anchors"):
        load_yaml(b"\n".join(lines), "x")


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

"""What the values of a layout have in common is refused or taken to the letter."""

from __future__ import annotations

import pytest

from gitchain.errors import LayoutError
from gitchain.evidence.canonical import Json
from gitchain.layout.fields import MAX_TEXT, Fields, check_known, check_text
from gitchain.layout.identities import CLAIM_NAMES, SigstoreMember
from gitchain.layout.yaml import read_yaml


@pytest.mark.parametrize("text", ["x", "a b", "é", "x" * MAX_TEXT])
def test_texts(text: str) -> None:
    check_text(text, "here")


@pytest.mark.parametrize("text", ["", " x", "x ", "a\nb", "a\u200bb", "x" * (MAX_TEXT + 1)])
def test_what_is_no_text(text: str) -> None:
    """Empty, with spaces around it, with what does not print, too long."""
    with pytest.raises(LayoutError) as told:
        check_text(text, "here")
    assert told.value.where == "here"


def test_what_is_not_known_is_told_in_order() -> None:
    """What is unknown, and what there is."""
    check_known("unknown", "here", ["a"], "ab")
    with pytest.raises(LayoutError) as told:
        check_known("unknown", "here", [*"gfedcba", "x"], ["x", "y"])
    assert (told.value.expected, told.value.got) == ("x, y", "a, b, c, d, e, f, g")


def test_a_list_is_not_left_out() -> None:
    """Unless the field may be: then nothing is an empty list."""
    with pytest.raises(LayoutError):
        Fields({}, "").items("steps", 1)
    assert Fields({}, "").items("steps", 1, optional=True) == []


@pytest.mark.parametrize("value", ["", None, 1, True, [], {}])
def test_a_text_is_not_empty(value: Json) -> None:
    with pytest.raises(LayoutError):
        Fields({"x": value}, "").text("x")
    assert Fields({"x": "a"}, "").text("x") == "a"


@pytest.mark.parametrize("subject", ["", " alice", "a\u200blice"])
def test_a_subject_is_a_text(subject: str) -> None:
    with pytest.raises(LayoutError):
        SigstoreMember("https://issuer.example", subject)


def test_constants_of_yaml() -> None:
    """What a layout says without quotes, and no more words for it than JSON has, but for null."""
    text = "{a: true, b: false, c: null, d: ~, e: , f: yes, g: 'true', h: No}"
    assert read_yaml(text) == {
        "a": True, "b": False, "c": None, "d": None, "e": None, "f": "yes", "g": "true", "h": "No",
    }  # fmt: skip


def test_the_claims_that_there_are_are_listed_in_order() -> None:
    with pytest.raises(LayoutError) as told:
        SigstoreMember("https://issuer.example", "alice", (("colour", "red"),))
    assert told.value.expected == ", ".join(sorted(CLAIM_NAMES))

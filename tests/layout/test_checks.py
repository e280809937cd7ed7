"""What the values of a layout have in common is refused or taken to the letter."""

from __future__ import annotations

import pytest

from gitchain.errors import LayoutError
from gitchain.layout.checks import MAX_TEXT, check_text
from gitchain.layout.fields import Fields
from gitchain.layout.member import CLAIM_NAMES, SigstoreMember


@pytest.mark.parametrize("text", ["x", "a b", "é", "x" * MAX_TEXT])
def test_texts(text: str) -> None:
    check_text(text, "here")


@pytest.mark.parametrize("text", ["", " x", "x ", "a\nb", "a\u200bb", "x" * (MAX_TEXT + 1)])
def test_what_is_no_text(text: str) -> None:
    """Empty, with spaces around it, with what does not print, too long."""
    with pytest.raises(LayoutError) as told:
        check_text(text, "here")
    assert told.value.where == "here"


def test_a_list_is_not_left_out() -> None:
    """Unless the field may be: then nothing is an empty list."""
    with pytest.raises(LayoutError):
        Fields({}, "").items("steps", 1)
    assert Fields({}, "").items("steps", 1, optional=True) == []


def test_the_claims_that_there_are_are_listed_in_order() -> None:
    with pytest.raises(LayoutError) as told:
        SigstoreMember("https://issuer.example", "alice", (("colour", "red"),))
    assert told.value.expected == ", ".join(sorted(CLAIM_NAMES))

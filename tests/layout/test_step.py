"""Steps: their defaults, and which field an error names."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from gitchain.errors import LayoutError
from gitchain.layout.step import Step, Sublayout


def test_a_step_needs_one_functionary_by_default() -> None:
    """One attestation is enough, and any version of a sublayout will do."""
    assert Step("train", ("alice", "ci")).threshold == 1
    assert Sublayout("data-team").minimum_version == 1


@pytest.mark.parametrize(
    ("functionaries", "more", "where", "says"),
    [
        ((), {}, "functionaries", "the step has no functionary"),
        (("ci", "ci"), {"threshold": 2}, "functionaries", "listed twice"),
        (("ci",), {"threshold": 2}, "threshold", "does not fit"),
        (("ci",), {"threshold": 0}, "threshold", "does not fit"),
        (("ci",), {"predicate_type": "https://x.y/z\n"}, "predicateType", "not a URI"),
        (("ci",), {"predicate_type": "provenance"}, "predicateType", "not a URI"),
        (("ci",), {"max_age": timedelta(0)}, "maxAge", "longer than nothing"),
    ],
)
def test_a_step_that_cannot_be_done_is_refused(
    functionaries: tuple[str, ...], more: dict[str, Any], where: str, says: str
) -> None:
    """The error names the field of the layout."""
    with pytest.raises(LayoutError, match=says) as caught:
        Step("train", functionaries, **more)
    assert caught.value.where == where


def test_the_shortest_maximum_age_is_an_hour() -> None:
    """Any age that is longer than nothing will do."""
    assert Step("train", ("ci",), max_age=timedelta(hours=1)).max_age == timedelta(hours=1)

"""The basis of a group of `gitchain diff` that joins proven and claimed facts."""

from __future__ import annotations

import pytest

from gitchain.consume.diff import joined
from gitchain.consume.diff_values import Group


@pytest.mark.parametrize(("claims", "basis"), [(0, "proven"), (2, "claimed")])
def test_joined_group_is_claimed_if_a_claim_was_compared(claims: int, basis: str) -> None:
    """A group without changes is proven only if no claimed fact was compared in it."""
    for pair in ((Group((), 1, "proven"), Group((), claims)), (Group((), claims), Group((), 1, "proven"))):
        found = joined(*pair)
        assert (found.basis, found.compared) == (basis, 1 + claims)
    assert joined(Group((), 0), Group((), 0)).basis == "claimed"

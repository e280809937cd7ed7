"""Licence expressions: what is known is compared, and everything else is unknown."""

from __future__ import annotations

import pytest

from gitchain.fleet import licences
from gitchain.fleet.licences import licences_in


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("MIT", {"MIT"}),
        (" mit ", {"MIT"}),
        ("GPL-2.0+", {"GPL-2.0-or-later"}),
        ("MIT OR (apache-2.0 AND CC0-1.0)", {"MIT", "Apache-2.0", "CC0-1.0"}),
        (
            "GPL-2.0-only WITH Classpath-exception-2.0",
            {"GPL-2.0-only", "Classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"},
        ),
        ("MIT MIT", None),
        ("MIT AND ours", None),
        ("Classpath-exception-2.0", None),
        ("(" * 900 + "MIT" + ")" * 900, None),
        ("NONE", None),
    ],
)
def test_licences_of_an_expression(expression: str, found: set[str] | None) -> None:
    assert licences_in(expression) == (None if found is None else frozenset(found))


def test_licences_that_are_looked_up_are_those_that_are_parsed() -> None:
    """Each identifier has the same licence without the parser."""
    for name, one in sorted(licences._identifiers().items())[::25]:
        parsed = licences._parsed(name)
        assert parsed in {None, frozenset({one})}, name

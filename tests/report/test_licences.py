"""SPDX licence expressions: what the list has, in its spelling; nothing else is one."""

from __future__ import annotations

import pytest

from gitchain.report.licences import is_identifier, spdx_expression


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CC0-1.0", "CC0-1.0"),
        ("cc-by-4.0", "CC-BY-4.0"),
        ("MIT and (Apache-2.0 OR BSD-2-Clause)", "MIT AND (Apache-2.0 OR BSD-2-Clause)"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0-only WITH Classpath-exception-2.0"),
        ("LicenseRef-Our-Terms", "LicenseRef-Our-Terms"),
    ],
)
def test_spdx_expression_is_canonical(text: str, expected: str) -> None:
    """SPDX compares without regard to case."""
    assert spdx_expression(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "our own terms",
        "CC-BY",
        "MIT OR",
        "MIT MIT",
        "(" * 300,
        "NOASSERTION",
        "NONE",
        "MIT\nAND MIT",
        "MIT\u202e",
        "NA\u0130ST-2003",
        "Bae\u212amuk",
    ],
)
def test_spdx_expression_refuses_other_texts(text: str) -> None:
    """Unknown licences, broken expressions, letters that look like others, and words for an unknown licence."""
    assert spdx_expression(text) is None


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("MIT", True), ("MIT+", False), ("LicenseRef-A", False), ("MIT OR ISC", False)],
)
def test_is_identifier(expression: str, expected: bool) -> None:
    """An expression of several licences, or of a licence of nobody's list, is no identifier."""
    assert is_identifier(expression) is expected

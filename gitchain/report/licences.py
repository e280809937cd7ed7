"""Distinguish SPDX licence expressions from other texts, by the licence list of the package packaging."""

from __future__ import annotations

UNKNOWN = {"NOASSERTION", "NONE"}
"""Words of SPDX for a licence that is not known, and for no licence: neither is a licence."""


def spdx_expression(text: str) -> str | None:
    """Return the SPDX licence expression in its canonical form; None for other texts and unknown licences.

    Refuses texts that are not ASCII: some letters, such as the Kelvin sign, become ASCII letters in lower case.
    """
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    if not text.isascii() or not text.isprintable():
        return None
    try:
        return canonicalize_license_expression(text)
    except InvalidLicenseExpression:
        return None


def is_identifier(expression: str) -> bool:
    """Return whether a canonical expression is one identifier of the SPDX licence list."""
    return not (
        expression.startswith("LicenseRef-") or expression.endswith("+") or set(" ()") & set(expression)
    )

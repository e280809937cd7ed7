"""Compare licence expressions of data sets with SPDX's, by the package license-expression (extra `licences`).

An expression with a licence that is not SPDX's, or that cannot be parsed, is unknown: never one without a licence.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from gitchain.errors import UsageError

MAX_CHARS = 1000  # of an expression; a longer one is unknown
NAMES_NOTHING = frozenset({"NOASSERTION", "NONE", "OTHER", "PROPRIETARY", "UNKNOWN"})


@cache
def _licensing() -> Any:
    try:
        from license_expression import get_spdx_licensing
    except ImportError as error:
        raise UsageError(
            "questions about licences need the package license-expression",
            got=str(error)[:200],
            help="pip install 'gitchain[licences]'",
        ) from error
    return get_spdx_licensing()


@cache
def _identifiers() -> Mapping[str, str]:
    """Return the licences by identifier and alias in lower case, without exceptions."""
    found: dict[str, str] = {}
    for symbol in _licensing().known_symbols.values():
        if not symbol.is_exception:
            found |= {name.lower(): str(symbol) for name in (symbol.key, *symbol.aliases)}
    return found


def licences_in(expression: str) -> frozenset[str] | None:
    """Return the SPDX identifiers in an expression, those with an exception also as a whole; None if it is unknown."""
    text = expression.strip()
    if not text or len(text) > MAX_CHARS or text.upper() in NAMES_NOTHING:
        return None
    one = _identifiers().get(text.lower())
    return _parsed(text) if one is None else frozenset({one})


def _parsed(text: str) -> frozenset[str] | None:
    try:
        info = _licensing().validate(text, strict=True)
        if info.errors or info.normalized_expression is None:
            return None
        parsed = _licensing().parse(info.normalized_expression)
        every = (_licensing().license_symbols(parsed, decompose=one) for one in (False, True))
        return frozenset(str(one) for some in every for one in some)
    except Exception:  # noqa: BLE001 - the library raises many types for hostile text
        return None


def wanted_licences(expression: str) -> frozenset[str]:
    """Return the identifiers that a user gave. Raises UsageError for an expression that is not SPDX's."""
    found = licences_in(expression)
    if found is None:
        raise UsageError(
            "not an SPDX licence expression",
            got=ascii(expression[:100]),
            expected="such as CC-BY-NC-4.0",
            help="https://spdx.org/licenses lists the identifiers",
        )
    return found

"""Split free text and JSON into words, each with whether it can name a model."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gitchain.admit.addresses import is_path
from gitchain.admit.option_names import (
    HOLDS_SETTINGS,
    is_setting,
    last_word,
    refers_to_models,
)
from gitchain.errors import GitchainError
from gitchain.evidence.canonical import strict_json

MAX_JSON = 1 << 20
"""Most bytes of JSON in one value to parse; a longer value is treated as text."""

_PIECES = re.compile(r"[^\s\"'`,;()<>\[\]{}|&=]*(?:\{\{[^{}]*\}\}|\$\([^()]*\))[^\s\"'`,;()<>\[\]{}|&=]*"
                     r"|[^\s\"'`,;()<>\[\]{}|&=]+")  # fmt: skip

_IS_KEY = re.compile(r"[\"']?\s*[=:]")

_PAIR = re.compile(r"[\"']?\s*=\s*[\"']?(?:\.{1,2}|~)?/")


def pieces(text: str, *, wary: bool, keys: bool) -> Iterator[tuple[str, bool]]:
    """Yield the words of a text, each with whether it can name a model. With `keys`, a key can."""
    is_wary, is_inner = wary, False
    for piece in _PIECES.finditer(text):
        token = piece[0].rstrip(":.")
        inner, colon, _ = token.partition(":")
        if not token:
            continue
        if _IS_KEY.match(text, piece.end()) or piece[0].endswith(":"):
            yield (
                token,
                (keys or is_inner) and not is_setting(token) and not _PAIR.match(text, piece.end()),
            )
            is_inner = refers_to_models(token) and last_word(token) not in HOLDS_SETTINGS
            is_wary = wary or refers_to_models(token)
        else:
            is_inner = False
            yield token, is_wary or bool(colon and refers_to_models(inner))


def parsed(text: str, *, wary: bool, keys: bool) -> Iterator[tuple[str, bool]]:
    """Yield the words of a JSON text, including those below an outer key that refers to models."""
    try:
        value = strict_json(text.encode("utf-8", "surrogatepass"), "value", max_bytes=MAX_JSON)
    except GitchainError:
        yield from pieces(text, wary=wary, keys=keys)
        return
    left = [(value, wary, keys)]
    while left:
        found, is_wary, has_names = left.pop()
        if isinstance(found, dict):
            for key, inside in found.items():
                is_pair = isinstance(inside, str) and is_path(inside)
                yield key, has_names and not is_pair and not is_setting(key)
                refers = refers_to_models(key)
                below = has_names or (refers and last_word(key) not in HOLDS_SETTINGS)
                left.append((inside, is_wary or refers, below))
        elif isinstance(found, list):
            left += ((inside, is_wary, has_names) for inside in found)
        elif isinstance(found, str):
            yield from pieces(found, wary=is_wary, keys=has_names)


def is_json(text: str) -> bool:
    """Return True if a text begins as JSON does, and is no template."""
    return text.lstrip()[:1] in {"{", "["} and not text.lstrip().startswith("{{")

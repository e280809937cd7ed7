"""Split a program for a shell into words, without a shell; a word of unknown value counts as quoted or expanded.

The words of `curl 'https://example.com/'a` are `curl` and `https://example.com/a`: quotes join what they touch. Where
quotes begin and end is not followed, so a mark that separates commands may also be a part of a word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gitchain.admit.references import filled

_WORD = re.compile(r"[^\s\"'`;|&()<>]+")
_QUOTE = re.compile(r"[\"'`]")
_QUOTES = re.compile(r"[\"']+")
_SEPARATOR = re.compile(r"[;|&(\n]")
_REDIRECT = re.compile(r"[<>]")
_UNSURE = re.compile(r"[\"'`\\]|<<")
"""Marks that make a separator behind or before them a part of a word."""

_GLOB = re.compile(r"[*?\[\]]")
_BRACE = re.compile(r"[{}]")


@dataclass(frozen=True, slots=True)
class ShellWord:
    """A word of a program. Its text has no quotes."""

    text: str
    starts: bool = False
    """Whether it is certainly a program that is run."""

    is_plain: bool = True
    """Whether the shell takes it as it is: only then a pattern of the operator may match it."""

    expands: bool = False
    """Whether the shell makes another word of it, or several."""


def shell_words(text: str) -> list[ShellWord]:
    """Return the words of a program for a shell, in linear time."""
    words: list[ShellWord] = []
    parts: list[re.Match[str]] = []
    is_sure = _UNSURE.search(text) is None
    starts = is_unquoted = True
    for found in _WORD.finditer(text):
        between = text[parts[-1].end() : found.start()] if parts else text[: found.start()]
        is_unquoted = is_unquoted and _QUOTE.search(between) is None
        if parts and _QUOTES.fullmatch(between):
            parts.append(found)
            continue
        if parts:
            words.append(_word(parts, starts=starts, is_sure=is_sure))
        starts = is_unquoted and _starts(words, between)
        is_unquoted = is_unquoted and "\\" not in found[0]
        parts = [found]
    return [*words, _word(parts, starts=starts, is_sure=is_sure)] if parts else words


def _starts(words: list[ShellWord], between: str) -> bool:
    """Return True if the next word is a program: the first one, one behind a separator, or one behind `exec`."""
    if _REDIRECT.search(between):
        return False
    return (
        not words or _SEPARATOR.search(between) is not None or (words[-1].starts and words[-1].text == "exec")
    )


def _word(parts: list[re.Match[str]], *, starts: bool, is_sure: bool) -> ShellWord:
    """Return one word of parts between which are only quotes."""
    around, text = parts[0].string, "".join(part[0] for part in parts)
    before = around[max(0, parts[0].start() - 1) : parts[0].start()]
    after = around[parts[-1].end() : parts[-1].end() + 1]
    is_apart = is_sure or not (before + after).strip()
    is_one = len(parts) == 1
    is_plain = is_one and is_apart and _GLOB.search(text) is None
    return ShellWord(text, starts and is_one, is_plain, _is_brace(text))


def _is_brace(text: str) -> bool:
    return len(text) > 1 and _BRACE.search(filled(text)) is not None

"""Parse one artifact rule of a layout.

The seven rules are in-toto's, word for word (in-toto specification 1.0, section 4.3.3.1):

    MATCH <pattern> [IN <prefix>] WITH MATERIALS|PRODUCTS [IN <prefix>] FROM <step>
    CREATE | DELETE | MODIFY | ALLOW | DISALLOW <pattern>
    REQUIRE <name>

Keywords are case-insensitive, names and patterns are not. In a pattern `*` and `?` match `/` too, and `[*]`, `[?]`
and `[[]` match these characters themselves. Other character classes are refused: `[!x]` and `[^x]` mean different
things to in-toto in Python and in Go (GHSA-pmwq-pjrm-6p5r). A pattern that no valid artifact name can match is refused
too, because a DISALLOW that never applies protects nothing.

Does NOT apply rules: `gitchain.layout.rules` does.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gitchain.errors import LayoutError, MalformedError
from gitchain.evidence.names import check_name, check_step_name

MAX_PATTERN_BYTES = 1024  # as long as the longest artifact name (evidence.names.MAX_NAME_BYTES)
_URI = re.compile(r"[a-z][a-z0-9+.-]*:")
_ESCAPED = re.compile(r"\[([*?\[])\]")
_WITHOUT_CLASSES = re.compile(r"(?:[^\[\\]|\[[*?\[]\])*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Keyword(StrEnum):
    """The first token of a rule."""

    MATCH = "MATCH"
    CREATE = "CREATE"
    DELETE = "DELETE"
    MODIFY = "MODIFY"
    ALLOW = "ALLOW"
    DISALLOW = "DISALLOW"
    REQUIRE = "REQUIRE"


class ArtifactList(StrEnum):
    """One of a step's two artifact lists."""

    MATERIALS = "materials"
    PRODUCTS = "products"


@dataclass(frozen=True, slots=True)
class MatchTarget:
    """The destination of a MATCH rule: step, list, and the prefixes of both sides ("" for none)."""

    step: str
    side: ArtifactList
    source_prefix: str = ""
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class ArtifactRule:
    """One artifact rule. `match` is set for MATCH and for no other keyword."""

    keyword: Keyword
    pattern: str
    match: MatchTarget | None = None

    def __post_init__(self) -> None:
        if (self.keyword is Keyword.MATCH) != (self.match is not None):
            raise LayoutError("only MATCH names another step", got=self.keyword.value)
        if self.keyword is Keyword.REQUIRE:
            _check_required(self.pattern)
        else:
            check_pattern(self.pattern)
        if self.match is not None:
            _check_target(self.match)

    @property
    def full_pattern(self) -> str:
        """Return the pattern with its source prefix, as it applies to whole artifact names."""
        prefix = self.match.source_prefix if self.match else ""
        return f"{prefix}/{self.pattern}" if prefix else self.pattern

    @property
    def tokens(self) -> tuple[str, ...]:
        """Return the rule as the canonical list of tokens that a layout holds."""
        if self.match is None:
            return (self.keyword.value, self.pattern)
        source = ("IN", self.match.source_prefix) if self.match.source_prefix else ()
        dest = ("IN", self.match.prefix) if self.match.prefix else ()
        return (
            *("MATCH", self.pattern, *source),
            *("WITH", self.match.side.value.upper(), *dest),
            *("FROM", self.match.step),
        )

    def __str__(self) -> str:
        """Return the rule as one line, for messages."""
        return " ".join(self.tokens)


def parse_rule(tokens: Sequence[str]) -> ArtifactRule:
    """Return the rule that the tokens spell. Raises LayoutError for any other list of tokens."""
    if not tokens or tokens[0].upper() not in Keyword.__members__:
        raise LayoutError("unknown artifact rule", expected=" | ".join(Keyword), got=" ".join(tokens) or "[]")
    keyword = Keyword(tokens[0].upper())
    if keyword is Keyword.MATCH:
        return _parse_match(tokens)
    if len(tokens) != 2:
        raise LayoutError(
            f"{keyword} takes one pattern", expected=f"{keyword} <pattern>", got=" ".join(tokens)
        )
    return ArtifactRule(keyword, tokens[1])


def _parse_match(tokens: Sequence[str]) -> ArtifactRule:
    words = [token.upper() for token in tokens]
    rest = list(range(2, len(tokens)))
    source = _take(rest, words, tokens, "IN") if words[2:3] == ["IN"] else ""
    side = _take(rest, words, tokens, "WITH").upper()
    prefix = _take(rest, words, tokens, "IN") if rest and words[rest[0]] == "IN" else ""
    step = _take(rest, words, tokens, "FROM")
    if rest or side not in ArtifactList.__members__:
        raise _match_error(tokens)
    target = MatchTarget(step, ArtifactList[side], source.removesuffix("/"), prefix.removesuffix("/"))
    return ArtifactRule(Keyword.MATCH, tokens[1], target)


def _take(rest: list[int], words: Sequence[str], tokens: Sequence[str], keyword: str) -> str:
    """Remove `keyword value` from the start of the remaining tokens."""
    if len(rest) < 2 or words[rest[0]] != keyword:
        raise _match_error(tokens)
    value = tokens[rest[1]]
    del rest[:2]
    if not value or (keyword, value) == ("IN", "/"):  # a prefix that is nothing would match everything
        raise _match_error(tokens)
    return value


def _match_error(tokens: Sequence[str]) -> LayoutError:
    form = "MATCH <pattern> [IN <prefix>] WITH MATERIALS|PRODUCTS [IN <prefix>] FROM <step>"
    return LayoutError("MATCH is not well formed", expected=form, got=" ".join(tokens))


def check_pattern(pattern: str) -> str:
    """Return the pattern. Raises LayoutError where it is ambiguous or can match no artifact name."""
    _check_text(pattern, "pattern")
    if not _WITHOUT_CLASSES.fullmatch(pattern):
        raise LayoutError(
            "character classes and backslashes are not allowed in patterns",
            expected="literal characters, * and ?; [*], [?] and [[] for these characters themselves",
            got=pattern,
            help="use ? for one character; [!x] and [^x] differ between implementations",
        )
    if _URI.match(pattern):
        return pattern
    odd = pattern.startswith("/") or pattern.endswith("/") or "//" in literal_prefix(pattern)
    if odd or {".", ".."} & set(pattern.split("/")):
        raise LayoutError(
            "no artifact name can match this pattern",
            expected="a path relative to the repository, without leading or trailing slash, . or ..",
            got=pattern,
        )
    return pattern


def literal_pattern(name: str) -> str:
    """Return the pattern that matches exactly this name."""
    return re.sub(r"[*?\[]", r"[\g<0>]", name)


def unescaped(pattern: str, star: str = "*", question: str = "?") -> str:
    """Return the pattern with `[[]` as `[`, and `[*]` and `[?]` as the characters given."""
    return _ESCAPED.sub(lambda found: {"*": star, "?": question, "[": "["}[found[1]], pattern)


def literal_prefix(pattern: str) -> str:
    """Return the text before the pattern's first wildcard, with which every matching name begins."""
    coded = re.split(r"[*?]", unescaped(pattern, "\x01", "\x02"), maxsplit=1)[0]
    return coded.replace("\x01", "*").replace("\x02", "?")


def literal_name(pattern: str) -> str | None:
    """Return the one name that the pattern matches, None if it holds a wildcard."""
    return None if set("*?") & set(_ESCAPED.sub("", pattern)) else unescaped(pattern)


def _check_text(text: str, what: str) -> None:
    if not text or len(text.encode("utf-8", "surrogatepass")) > MAX_PATTERN_BYTES:
        raise LayoutError(f"{what} must have 1 to {MAX_PATTERN_BYTES} bytes", got=text[:40])
    if _CONTROL.search(text) or any("\ud800" <= char <= "\udfff" for char in text):
        raise LayoutError(f"{what} holds a control character", got=ascii(text[:40]))
    if not unicodedata.is_normalized("NFC", text):
        raise LayoutError(f"{what} is not in Unicode form NFC, so it can match no name", got=ascii(text[:40]))


def _check_required(name: str) -> None:
    if set("*?") & set(name):
        raise LayoutError("REQUIRE takes one literal name, not a pattern", got=name)
    _check_text(name, "name")
    if not _URI.match(name):
        _as_layout_error(name)


def _check_target(target: MatchTarget) -> None:
    for prefix in (target.source_prefix, target.prefix):
        if prefix:
            _as_layout_error(prefix)
            if set("*?[") & set(prefix):
                raise LayoutError("a prefix after IN is literal, no wildcard applies to it", got=prefix)
    try:
        check_step_name(target.step)
    except MalformedError as error:
        raise LayoutError(error.what, expected=error.expected, got=error.got) from error


def _as_layout_error(name: str) -> None:
    try:
        check_name(name)
    except MalformedError as error:
        raise LayoutError(error.what, expected=error.expected, got=error.got or name) from error

"""Plain English: phrases that make readers translate, and how many of each are left. The numbers only shrink.

Counted are the pages (README, CONTRIBUTING, SECURITY, docs/) without their examples, and the docstrings and messages of
gitchain/. Help texts are docstrings. CONTRIBUTING.md has the rules; write the actor as the subject, and the field's term.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEFT = json.loads((ROOT / "tests" / "plain_english.json").read_text(encoding="utf-8"))
"""For each phrase, how many are left on the pages and in the code."""
SLACK = 10
PHRASES = {
    "whoever, somebody": r"\b(?:whoever|somebody|someone's)\b",
    "told": r"\btold\b(?!\.json)",
    "asked": r"\basked\b",
    "says": r"\bsays?\b",
    "believed": r"\bbeliev(?:e|es|ed)\b",
    "is none": r"(?<!\bthere )\b(?:is|are) none\b",
    "stands behind": r"\bstands? (?:behind|for|in|there|below|above|after|before|on)\b",
    "lies": r"\b(?:lie|lies|lying|lay)\b",
    "mend": r"\bmend(?:s|ed|ing)?\b",
    "spoilt": r"\bspoil(?:s|t|ed)?\b",
    "the house, the cable": r"\bthe (?:house|cable)\b",
    "taken for granted": r"\btaken for granted\b",
    "for ever": r"\bfor ever\b",
    "speaks of": r"\bspeaks? (?:of|for)\b",
    "the word of": r"\b(?:on|by|takes?) (?:the|its|their|whose|no) words?\b",
    "judge": r"\bjudge[sd]?\b",
    "in my name": r"\bin (?:my|its|his|whose) name\b",
    "dawdle, in the clear": r"\bdawdl\w+|\bin the clear\b",
    "what is X is Y": r"(?:^|[.:;] )What (?:is|was|has|cannot|does|it|they|we|you)\b[^.,\n]* (?:is|are|was|has|does|do|counts?|goes|comes)\b(?!$)",
    "goes, comes": r"\b(?:goes|comes) (?:by|with|of|from|through|first|on|out|in|to|beside)\b",
    "nobody": r"\bnobody\b",
    "sentences that were rewritten": (
        r"may not have meant|leads to where|pins nothing|no waiting can|hears how far|one drainer signs"
        r"|Agree that the identity|did the log only grow|whenever it says no|found out once"
        r"|says anything about|cannot be seen whether|without memory"
    ),
}


def pages() -> Iterator[tuple[str, str]]:
    """Yield name and text of each page, without code blocks, code spans and generated parts."""
    for path in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "SECURITY.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    ]:
        text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        yield str(path.relative_to(ROOT)), re.sub(r"`[^`\n]*`", "", text)


def code() -> Iterator[tuple[str, str]]:
    """Yield place and text of every docstring and message of more than one word in gitchain/."""
    for path in sorted((ROOT / "gitchain").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
                yield f"{path.relative_to(ROOT)}:{node.lineno}", re.sub(r"`[^`\n]*`", "", node.value)


TEXTS = {"pages": list(pages()), "code": list(code())}


def found(phrase: str, kind: str) -> list[str]:
    """Return the place and the words of each use of a phrase."""
    pattern = re.compile(PHRASES[phrase], re.MULTILINE)
    return [f"{place}: {use[0]}" for place, text in TEXTS[kind] for use in pattern.finditer(text)]


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("phrase", PHRASES)
def test_plain_english_gets_no_more_of_a_phrase(phrase: str, kind: str) -> None:
    """Write the new sentence without it. Lower the number in tests/plain_english.json after you removed some."""
    uses = found(phrase, kind)
    left = LEFT[phrase][kind]
    assert len(uses) <= left, "\n".join(uses)
    assert left - len(uses) <= SLACK, (
        f"lower the number of {phrase!r} in tests/plain_english.json to {len(uses)}"
    )


def test_plain_english_has_a_number_for_each_phrase() -> None:
    assert list(LEFT) == list(PHRASES)


@pytest.mark.parametrize(
    ("phrase", "text"),
    [
        ("is none", "a trust that is none"),
        ("stands behind", "Return the layout that stands behind the step"),
        ("what is X is Y", "What is revoked is marked"),
        ("told", "never been told"),
        ("the house, the cable", "works with the cable out"),
    ],
)
def test_plain_english_finds_a_phrase(phrase: str, text: str) -> None:
    """The patterns match the sentences that they were written for."""
    assert re.search(PHRASES[phrase], text, re.MULTILINE)

"""The style sheet of a report: texts have enough contrast in both schemes (WCAG 2.2, 1.4.3), and lines too (1.4.11)."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

STYLE = (files("gitchain") / "report" / "templates" / "report.css").read_text("utf-8")
TEXTS = [
    ("text", back)
    for back in ("page", "card", "step", "made", "model", "input", "good-back", "bad-back", "warn-back")
]
TEXTS += [("soft", back) for back in ("page", "card", "step", "made", "model", "input", "warn-back")]
TEXTS += [
    ("link", "page"),
    ("link", "card"),
    ("good", "good-back"),
    ("bad", "bad-back"),
    ("warn", "warn-back"),
    ("bad", "page"),
]
LINES = [
    ("step-line", "page"),
    ("made-line", "page"),
    ("good", "page"),
    ("warn", "page"),
    ("bad", "page"),
    ("step-line", "card"),
]


def colours(scheme: str) -> dict[str, str]:
    """Return the colours of a scheme by name: those of the light one, and what the dark one changes."""
    blocks = [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+);", block)) for block in re.split(r":root", STYLE)]
    light, dark = blocks[1], blocks[2]
    assert light.keys() == dark.keys()
    return light if scheme == "light" else dark


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_style_has_contrast(scheme: str) -> None:
    """4.5 for each text on each background that it has, 3 for lines that carry a meaning."""
    known = colours(scheme)
    for pairs, least in ((TEXTS, 4.5), (LINES, 3.0)):
        for front, back in pairs:
            light, dark = sorted((luminance(known[front]), luminance(known[back])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= least, (front, back)


def test_style_loads_nothing() -> None:
    """No address, import or font from elsewhere."""
    assert not re.search(r"url\(|@import|@font-face|https?:", STYLE)

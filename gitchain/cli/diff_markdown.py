"""Print a comparison as Markdown, for the comment of a pull request.

Text from evidence is inside of `<code>`, with every character but letters, digits, spaces and hyphens as a numeric
reference (HTML 5, section 13.5): it can add no markup, no link and no mention, which forges do not make inside of code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from gitchain.cli.diff_text import (
    LEGEND,
    failed_note,
    has_statements,
    label,
    most_severe,
    short,
    shown_changes,
    shown_commits,
    shown_resource,
    shown_sides,
    signed_note,
)
from gitchain.cli.output import escape

Document = Mapping[str, Any]
MAX_TEXT = 200
MAX_PAGE = 60_000
"""GitHub refuses a comment of more than 65,536 characters."""

CUT = "More differences: `gitchain diff --json`."


def page(document: Document) -> str:
    """Return the page of a comparison."""
    found, room = list[str](), MAX_PAGE
    for line in _lines(document):
        room -= len(line) + 1
        if room < 0:
            return "\n".join([*found, f"\n{CUT}"])
        found.append(line)
    return "\n".join(found)


def _lines(document: Document) -> Iterator[str]:
    layout, groups = document["layout"], document["groups"]
    yield f"### Model diff: {code(document['a']['target'])} to {code(document['b']['target'])}\n"
    for name in ("a", "b"):
        yield from _verdict(name, document[name])
    who = code(f"{layout['signer']['subject']} ({layout['signer']['issuer']})")
    yield f"- Both under layout {code(layout['name'])} version {layout['version']}, signed by {who}"
    if document["trust"]["local"]:
        yield "- The embedded instance (--local) proves only that the holder of that machine's keys signed."
    changed = {name: group for name, group in groups.items() if group["changes"]}
    limit = shown_changes([len(group["changes"]) for group in changed.values()])
    if changed:
        yield "\n| group | what | A | B | change | basis |\n|---|---|---|---|---|---|"
    for name, group in changed.items():
        yield from _rows(name, group, limit)
    same = {name: group for name, group in groups.items() if not group["changes"] and group["compared"]}
    for basis in ("proven", "claimed"):
        found = [
            "layout (one for both)" if name == "layout" else f"{name}{signed_note(name, document)}"
            for name, group in same.items()
            if group["basis"] == basis
        ]
        if found:
            yield f"\nThe same ({basis}): {', '.join(found)}."
    without = [name for name, group in groups.items() if not group["changes"] and not group["compared"]]
    if without:
        yield f"\n{'Not stated' if has_statements(document) else 'Not compared'}: {', '.join(without)}."
    yield f"\n{LEGEND[0].upper()}{LEGEND[1:]}."


def _verdict(name: str, side: Document) -> Iterator[str]:
    passed = side["verificationResult"] == "PASSED"
    first, more = shown_resource(side), side["resourcesTotal"] - 1
    digest = " ".join(f"{algorithm}:{value}" for algorithm, value in first["digest"].items())
    what = f"{code(first['name'])} " if first["name"] else ""
    others = f" and {more} more" if more else ""
    yield f"- {name.upper()}: **{side['verificationResult']}** {'✅' if passed else '⛔'} {what}{code(digest)}{others}"
    for one in most_severe(side):
        where = ", ".join(code(one[key]) for key in ("step", "artifact") if one[key])
        yield f"  - {one['code']} {where}{': ' if where else ''}{code(short(one['message']))}"
    if not passed:
        note = failed_note(side)
        yield f"  - {note[0].upper()}{note[1:]}."


def _rows(name: str, group: Document, limit: int) -> Iterator[str]:
    shown = group["changes"][:limit]
    names = Counter(change["name"] for change in group["changes"])
    for change in shown:
        what = code(label(change, several=names[change["name"]] > 1))
        sides = [code(text) if text else "" for text in shown_sides(change)]
        yield f"| {name} | {what} | {sides[0]} | {sides[1]} | {_more(change)} | {change['basis']} |"
    more = group["total"] - len(shown)
    if more > 0 or not group["complete"]:
        yield f"| {name} | and {max(more, 1)} more | | | | |"


def _more(change: Document) -> str:
    if "difference" in change:
        relative = f" ({change['relative']})" if "relative" in change else ""
        return code(f"{change['difference']}{relative}")
    return shown_commits(change["commits"]) if "commits" in change else str(change["change"])


def code(text: str) -> str:
    """Return a text of evidence as code without any markup, cut to MAX_TEXT characters."""
    plain = escape(text, MAX_TEXT)
    quoted = "".join(
        char if char in " -" or (char.isascii() and char.isalnum()) else f"&#{ord(char)};" for char in plain
    )
    return f"<code>{quoted}</code>"

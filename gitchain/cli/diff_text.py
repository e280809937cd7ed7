"""Print a comparison as short text: both verdicts, then each group of differences, each line proven or claimed.

All text is made from the document that `diff --json` prints, so that both agree.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gitchain.cli.output import Options, escape

Document = Mapping[str, Any]

MAX_LINES = 20
"""Most changes of one group that are printed; `--json` has more."""

SCREEN = 40
"""Most changes of all groups that are printed."""

FEWEST = 3
"""Every group shows this many changes, however many the others have."""

MAX_FINDINGS = 3
MAX_FINDING_LINES = 3
NARROWEST, WIDEST = 60, 160
DIGITS = 12
COMMIT_DIGITS = 8
INDENT = 22
SIGNS = {"added": "+", "removed": "-", "changed": "~"}
FAILED_NOTE = "no chain satisfies the layout: the newest statements are compared"
NOTHING_NOTE = "no statement about it counts: only models and layout are compared"
LEGEND = "proven: verified by signatures, the log and digests; claimed: stated by signers, not verified"

_DIGEST = re.compile(r"(?P<kind>directory |[a-zA-Z0-9]+ )?(?:sha256|sha384|sha512):(?P<hex>[0-9a-f]{64,128})")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_AMBIGUOUS = re.compile(r' -> |  |^"')
"""What separates the parts of a line, or starts a text in quotes."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def lines(options: Options, document: Document) -> Iterator[str]:
    """Yield the lines of a comparison."""
    for side in ("a", "b"):
        yield from _verdict(options, side, document[side])
    layout = document["layout"]
    who = f"{layout['signer']['subject']} ({layout['signer']['issuer']})"
    yield _cut(
        f"        both under layout {escape(layout['name'])} v{layout['version']}, signed by {escape(who)}"
    )
    yield ""
    groups = document["groups"]
    limit = shown_changes([len(group["changes"]) for group in groups.values()])
    for name, group in groups.items():
        if group["changes"]:
            yield from _group(options, name, group, limit)
        elif group["compared"] or has_statements(document):
            yield f"{name:<12}{group['basis']:<8}{_unchanged(name, group, document)}"
    yield ""
    yield from LEGEND.split("; ")


def has_statements(document: Document) -> bool:
    """Return whether both sides have a statement: only then are groups other than model and layout compared."""
    return bool(document["a"]["steps"] and document["b"]["steps"])


def shown_changes(counts: Sequence[int]) -> int:
    """Return how many changes each group may show: all groups fit into SCREEN, but each shows FEWEST."""
    limit = MAX_LINES
    while limit > FEWEST and sum(min(count, limit) for count in counts) > SCREEN:
        limit -= 1
    return limit


def _verdict(options: Options, name: str, side: Document) -> Iterator[str]:
    passed = side["verificationResult"] == "PASSED"
    result = options.style(side["verificationResult"], fg="green" if passed else "red", bold=True)
    first = shown_resource(side)
    what = f"{first['name'] or ''}  {_digest(first)[: len('sha256:') + DIGITS]}".strip()
    more = f" and {side['resourcesTotal'] - 1} more" if side["resourcesTotal"] > 1 else ""
    target = f"{escape(side['target'])}: {escape(what)}{more}"
    yield f"{result}  {name.upper()}  {_cut(target, 11)}"
    for one in most_severe(side):
        where = ", ".join(escape(one[key]) for key in ("step", "artifact") if one[key])
        text = f"{one['code']} {where}{': ' if where else ''}{escape(short(one['message']))}"
        for line in textwrap.wrap(text, _width() - 11, max_lines=MAX_FINDING_LINES, placeholder=" …"):
            yield f"           {line}"
    if not passed:
        yield f"           help: gitchain verify {escape(shlex.quote(side['target']))} --explain"
        yield f"           {failed_note(side)}"


def failed_note(side: Document) -> str:
    """Return what is compared of a side that failed."""
    more = side.get("notCompared", 0)
    note = FAILED_NOTE if side["steps"] else NOTHING_NOTE
    return f"{note}; {more} more that failed are not compared" if more else note


def shown_resource(side: Document) -> Document:
    """Return the first artifact of a side that failed, or else its first artifact."""
    failed = (one for one in side["resources"] if one["verificationResult"] == "FAILED")
    found: Document = next(failed, side["resources"][0])
    return found


def most_severe(side: Document) -> Sequence[Document]:
    """Return up to MAX_FINDINGS findings of a side, errors first."""
    return sorted(side["findings"], key=lambda one: str(one["severity"]) != "error")[:MAX_FINDINGS]


def _digest(resource: Document) -> str:
    return " ".join(f"{name}:{value}" for name, value in resource["digest"].items())


def _unchanged(name: str, group: Document, document: Document) -> str:
    """Return the rest of the line of a group without changes."""
    if not group["compared"]:
        return "  not stated"
    if name == "layout":
        layout = document["layout"]
        summaries = "; the same policies of suppliers" if group["basis"] == "claimed" else ""
        text = f"= one layout for both: {escape(layout['name'])} v{layout['version']}{summaries}"
        return _cut(text, INDENT - 2)
    if name != "evidence":
        return f"= the same{signed_note(name, document)}"
    strengths = Counter(step["evidence"] or "no strength" for step in document["b"]["steps"])
    counts = (f"{count} step{'' if count == 1 else 's'} {name}" for name, count in strengths.items())
    return f"= the same: {', '.join(counts)}"


def signed_note(name: str, document: Document) -> str:
    """Return what must be added to "the same" of signers and approvals if the layout does not accept a side."""
    failed = [side.upper() for side in ("a", "b") if document[side]["verificationResult"] == "FAILED"]
    if not failed or name not in {"signers", "approvals"}:
        return ""
    return f" identities; the layout does not accept {' and '.join(failed)}"


def _group(options: Options, name: str, group: Document, limit: int) -> Iterator[str]:
    changes = group["changes"]
    names = Counter(change["name"] for change in changes)
    heading = options.style(f"{name:<12}", bold=True)
    lefts = [label(change, several=names[change["name"]] > 1) for change in changes[:limit]]
    column = min(max(map(len, lefts)), (_width() - INDENT) // 2)
    for change, left in zip(changes, lefts, strict=False):
        yield from _change(f"{heading}{change['basis']:<8}", left, change, column)
        heading = " " * 12
    if (more := group["total"] - len(lefts)) > 0 or not group["complete"]:
        least = "" if group["complete"] or group["total"] > len(changes) else "at least "
        yield f"{' ' * INDENT}and {least}{max(more, 1)} more: --json"


def label(change: Document, *, several: bool) -> str:
    """Return the name of a change, with its steps where the name is empty or not the only one."""
    name, steps = escape(change["name"]), ", ".join(map(escape, filter(None, change["steps"])))
    if not name:
        return steps
    return f"{name} ({steps})" if several and steps else name


def _change(lead: str, left: str, change: Document, column: int) -> Iterator[str]:
    """Yield the lines of one change: one if it fits, else its values below; the difference is never cut."""
    start, room = f"{lead}{SIGNS[change['change']]} ", _width() - INDENT
    values, more = shown_values(change), _more(change)
    right = f"{values}  {more}" if more else values
    padded = f"{left:<{column}}" if column + 2 + len(right) <= room else left
    if len(padded) + 2 + len(right) <= room:
        yield f"{start}{padded}  {right}"
        return
    first = f"{left}  {more}" if more else left
    if len(first) <= room:
        yield f"{start}{first}"
        below = [values]
    else:
        yield f"{start}{_cut_middle(left, room)}"
        below = [right] if len(right) + 2 <= room or not more else [*textwrap.wrap(more, room - 2), values]
    if len(below[-1]) + 2 > room:
        below[-1:] = _apart(change)
    for value in below:
        yield f"{' ' * INDENT}  {_cut(value, INDENT + 2)}"


def _apart(change: Document) -> Sequence[str]:
    """Return the values of both sides as two lines."""
    before, after = shown_sides(change)
    return [before, f"-> {after}"] if before and after and "commits" not in change else [shown_values(change)]


def shown_values(change: Document) -> str:
    """Return the values of both sides as text: `A -> B`, a commit range as Git writes it, or the only value."""
    before, after = shown_sides(change)
    if "commits" in change:
        return f"{before}..{after}"
    return f"{before} -> {after}" if before and after else before or after


def _more(change: Document) -> str:
    """Return the difference of numbers, or the number of commits."""
    if "difference" in change:
        return (
            f"{change['difference']} ({change['relative']})" if "relative" in change else change["difference"]
        )
    if "commits" not in change:
        return ""
    return shown_commits(change["commits"])


def shown_commits(commits: Document) -> str:
    """Return the number of commits in a range as text."""
    back, ahead = commits["onlyA"], commits["onlyB"]
    if back and ahead:
        return f"{ahead} commits only in B, {back} only in A"
    count = ahead or back
    return f"{count} commit{'' if count == 1 else 's'}{' back' if back else ''}"


def shown_sides(change: Document) -> tuple[str, str]:
    """Return the values of A and B as text; identities without the issuer if both sides have the same ones."""
    values = [change.get(side) for side in ("a", "b")]
    issuers = [_issuers(value) for value in values]
    brief = issuers[0] == issuers[1] or not all(issuers)
    texts = [
        shown(value, brief=brief) if side in change else "" for side, value in zip("ab", values, strict=True)
    ]
    if change["change"] == "changed" and texts[0] == texts[1]:
        texts = [shown(value, brief=False) for value in values]
    totals = [f", … ({change[key]} in all)" if key in change else "" for key in ("aTotal", "bTotal")]
    return f"{texts[0]}{totals[0]}", f"{texts[1]}{totals[1]}"


def _issuers(value: Any) -> set[str]:
    """Return the issuers of identities; none for another value."""
    items = value if isinstance(value, list) else []
    return {one["issuer"] for one in items if isinstance(one, dict) and "issuer" in one}


def shown(value: Any, *, brief: bool = True) -> str:
    """Return a value as text: digests short with `brief`, texts that look like another type in quotes."""
    if isinstance(value, list):
        items = [(one, shown(one, brief=brief)) for one in value]
        texts = (_quoted(text) if isinstance(one, str) and ", " in text else text for one, text in items)
        return ", ".join(texts) or "[]"
    if isinstance(value, dict):
        who = value.get("subject")
        if who is None:
            return "{}"
        issuer = "" if brief else f" ({value['issuer']})"
        when = f" at {value['time']}" if "time" in value else ""
        return escape(f"{json.dumps(who) if _AMBIGUOUS.search(who) else who}{issuer}{when}")
    if isinstance(value, str):
        text = short(value) if brief else value
        is_plain = text.strip() == text != "" and not _NUMBER.fullmatch(text) and not _AMBIGUOUS.search(text)
        return escape(text if is_plain and text not in {"true", "false", "null"} else json.dumps(text))
    return json.dumps(value)


def _quoted(text: str) -> str:
    return text if text.startswith('"') else json.dumps(text)


def short(text: str) -> str:
    """Return the text with each digest, or the commit that it is, cut to its first digits."""
    if _COMMIT.fullmatch(text):
        return text[:COMMIT_DIGITS]
    return _DIGEST.sub(lambda found: f"{found['kind'] or ''}{found['hex'][:DIGITS]}", text)


def _cut(text: str, indent: int = 0) -> str:
    room = _width() - indent
    return text if len(text) <= room else f"{text[: max(room - 1, 1)]}…"


def _cut_middle(text: str, room: int) -> str:
    """Return the text without its middle if it is too long: similar names often differ at their end."""
    end = room // 3
    return text if len(text) <= room else f"{text[: room - end - 1]}…{text[-end:]}"


def _width() -> int:
    return max(NARROWEST, min(shutil.get_terminal_size().columns, WIDEST))

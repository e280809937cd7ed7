"""Render the document of a report as one HTML page: no script, no link to anywhere, no network, bounded in size.

Every text passes `shown`, and Jinja escapes it: evidence can make neither markup nor attributes, nor reorder the text
around it. Ids and links are numbers of the page. The policy in the page (CSP) allows its own style sheet alone, by hash.

The bytes depend on the document alone.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from gitchain.errors import LimitError
from gitchain.report.drawing import drawn_lineage, drawn_series, node_name, used_and_made
from gitchain.report.manual import commands
from gitchain.report.text import shown
from gitchain.report.wording import CHECKS, MARKS, sentence, trust_sentence

MAX_BYTES = 5 << 20
LIMITS = (200, 100)
"""Longest texts on a page, in characters: shorter ones if the page gets larger than MAX_BYTES."""

MAX_PROSE = 1000
"""Longest sentence: of a finding, a gap, or the verdict."""

_FOLDER = files("gitchain") / "report" / "templates"


def page(document: Mapping[str, Any]) -> str:
    """Return the page. Raises LimitError if it is too large whatever is cut."""
    for limit in LIMITS:
        text = _page(document, limit)
        if len(text.encode()) <= MAX_BYTES:
            return text
    raise LimitError("the report is too large", expected=f"at most {MAX_BYTES} bytes")


def content_security_policy(style: str) -> str:
    """Return the policy of the page: nothing but this style sheet."""
    digest = base64.b64encode(sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


class Prose(str):
    """A sentence, which may be longer than a name."""

    __slots__ = ()


def _page(document: Mapping[str, Any], limit: int) -> str:
    style = _read("report.css")
    environment = Environment(
        autoescape=True,
        finalize=lambda value: _finalized(value, limit),
        loader=FunctionLoader(_read),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"value_text": value_text, "prose": Prose, "numbers": Markup}
    current = [one["current"] for one in document["values"]["versions"]["listed"]]
    places = {one["id"]: number for number, one in reversed(list(enumerate(document["attestations"], 1)))}
    return environment.get_template("report.html").render(
        report=document,
        policy=Markup(content_security_policy(style)),  # noqa: S704 - of the package
        style=Markup(style),  # noqa: S704 - a file of the package
        sentence=Prose(sentence(document)),
        trust_sentence=Prose(trust_sentence(document["trust"])),
        marks=MARKS,
        check_words=CHECKS,
        lineage=drawn_lineage(document["lineage"]),
        flows=used_and_made(document["lineage"]),
        node_name=node_name,
        stated=[f"sha256:{one['digest']['sha256']}" for one in document["dataSets"] if one["facts"]],
        series=[{**one, **drawn_series(one["values"], current)} for one in _changing(document)],
        places=places,
        commands=commands(document),
    )


def value_text(value: Any) -> str:
    """Return a value of a fact as text: identities with their times, and other values that are no text as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping) and isinstance(value.get("subject"), str):
        return f"{value['subject']}{' at ' + value['time'] if isinstance(value.get('time'), str) else ''}"
    if isinstance(value, list | tuple):
        return ", ".join(map(value_text, value)) or "[]"
    return json.dumps(value)


def _changing(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the courses of numbers that are not the same in all versions."""
    for one in document["values"]["versions"]["series"]:
        if len({value for value in one["values"] if value is not None}) > 1:
            yield one


def _finalized(value: Any, limit: int) -> Any:
    """Return what a template prints for a value: bounded and harmless text. Markup is that of macros, already escaped."""
    if value is None:
        return ""
    if isinstance(value, Markup):
        return value
    return shown(str(value), MAX_PROSE if isinstance(value, Prose) else limit)


def _read(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")

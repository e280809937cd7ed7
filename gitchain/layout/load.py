"""Layout bytes, YAML or JSON, to a Layout: strict, bounded, every field checked.

    schema: https://gitchain.dev/layout/v1
    name: credit-model
    version: 1
    expires: "2027-11-22T00:00:00Z"
    functionaries: {alice: {identities: [{issuer: "https://…", subject: "alice@example.com"}]}}
    steps: [{name: train, functionaries: [alice], expectedMaterials: […], expectedProducts: […]}]
    serve: [{step: train, products: [model.pkl]}]

docs/layout.md describes each field. Unknown fields are refused: a misspelt restriction must not be ignored.
The file is never executed and nothing in it is substituted. Does NOT check signatures or expiry.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from gitchain.errors import GitchainError, LayoutError, LimitError, MalformedError
from gitchain.evidence.canonical import Json, strict_json
from gitchain.layout.model import (
    MAX_FUNCTIONARIES,
    MAX_STEPS,
    SCHEMA,
    SLSA_PROVENANCE,
    Evidence,
    Functionary,
    Identity,
    Layout,
    Served,
    Step,
)
from gitchain.layout.rule import Rule, parse_rule
from gitchain.layout.yaml import MAX_DEPTH, read_yaml

MAX_LAYOUT_BYTES = 1024 * 1024
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_DURATION = re.compile(r"P(?:(\d{1,6})D)?(?:T(\d{1,6})H)?")


def parse_layout(data: bytes) -> Layout:
    """Return the layout in these bytes; raise LayoutError, with the field's path, for any fault in them."""
    if len(data) > MAX_LAYOUT_BYTES:
        raise LayoutError(
            "layout is too large", expected=f"at most {MAX_LAYOUT_BYTES} bytes", got=str(len(data))
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise LayoutError("layout is not UTF-8", got=str(error)) from error
    if not text.lstrip().startswith("{"):
        return layout_from_json(read_yaml(text))
    try:
        return layout_from_json(strict_json(data, "layout", max_bytes=MAX_LAYOUT_BYTES, max_depth=MAX_DEPTH))
    except (MalformedError, LimitError) as error:
        raise _layout_error(error, "") from error


def layout_from_json(value: Json) -> Layout:
    """Return the layout that this JSON value describes; raise LayoutError as `parse_layout` does."""
    fields = _Fields(value, "")
    fields.constant("schema", SCHEMA)
    layout = Layout(
        name=fields.text("name"),
        version=fields.integer("version"),
        expires=_time(fields),
        functionaries=tuple(_functionaries(fields)),
        steps=tuple(_step(item) for item in fields.items("steps", MAX_STEPS)),
        serve=tuple(_served(item) for item in fields.items("serve", MAX_STEPS)),
    )
    fields.done()
    return layout


def _functionaries(fields: _Fields) -> Iterator[Functionary]:
    people = _Fields(fields.take("functionaries"), fields.path("functionaries"))
    for name in people.names(MAX_FUNCTIONARIES):
        one = _Fields(people.take(name), people.path(name))
        with _placed(one.where):
            identities = tuple(_identity(item) for item in one.items("identities", MAX_FUNCTIONARIES))
            yield Functionary(name, identities)
        one.done()


def _identity(fields: _Fields) -> Identity:
    with _placed(fields.where):
        identity = Identity(fields.text("issuer"), fields.text("subject"))
        fields.done()
        return identity


def _step(fields: _Fields) -> Step:
    with _placed(fields.where):
        step = Step(
            name=fields.text("name"),
            functionaries=fields.texts("functionaries"),
            threshold=fields.integer("threshold", 1),
            predicate_type=fields.text("predicateType", SLSA_PROVENANCE),
            evidence=_evidence(fields),
            max_age=_duration(fields),
            expected_materials=_rules(fields, "expectedMaterials"),
            expected_products=_rules(fields, "expectedProducts"),
        )
        fields.done()
        return step


def _served(fields: _Fields) -> Served:
    with _placed(fields.where):
        served = Served(fields.text("step"), fields.texts("products"))
        fields.done()
        return served


def _rules(fields: _Fields, name: str) -> tuple[Rule, ...]:
    found: list[Rule] = []
    for index, item in enumerate(fields.sequence(name, default=())):
        with _placed(f"{fields.path(name)}[{index}]"):
            if not isinstance(item, list) or not all(isinstance(token, str) for token in item):
                raise LayoutError("a rule is a list of strings", expected='[ALLOW, "src/*"]', got=str(item))
            found.append(parse_rule([str(token) for token in item]))
    return tuple(found)


def _evidence(fields: _Fields) -> Evidence | None:
    value = fields.text("evidence", "")
    if value in {"observed", "declared"}:
        return "observed" if value == "observed" else "declared"
    if value:
        raise LayoutError("unknown strength", where="evidence", expected="observed or declared", got=value)
    return None


def _time(fields: _Fields) -> datetime:
    text = fields.text("expires")
    try:
        if _TIME.fullmatch(text):
            return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise LayoutError("no such time", where="expires", got=text) from error
    raise LayoutError("not a time in UTC", where="expires", expected="2027-11-22T00:00:00Z", got=text)


def _duration(fields: _Fields) -> timedelta | None:
    text = fields.text("maxAge", "")
    if not text:
        return None
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        raise LayoutError("not a duration", where="maxAge", expected="P90D, PT12H or P1DT12H", got=text)
    return timedelta(days=int(match[1] or 0), hours=int(match[2] or 0))


class _Fields:
    """One JSON object that is being read: every field is taken once, and `done` refuses what is left."""

    __slots__ = ("_left", "where")

    def __init__(self, value: Json, where: str) -> None:
        if not isinstance(value, dict):
            raise LayoutError("not a map", where=where, got=type(value).__name__)
        self._left: dict[str, Json] = dict(value)
        self.where = where

    def path(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name

    def names(self, limit: int) -> tuple[str, ...]:
        if len(self._left) > limit:
            raise LayoutError("too many entries", where=self.where, expected=f"at most {limit}")
        return tuple(self._left)

    def take(self, name: str) -> Json:
        if name not in self._left:
            raise LayoutError("field is missing", where=self.path(name))
        return self._left.pop(name)

    def text(self, name: str, default: str | None = None) -> str:
        if default is not None and name not in self._left:
            return default
        value = self.take(name)
        if not isinstance(value, str) or not value:
            raise LayoutError(
                "not a string",
                where=self.path(name),
                got=str(value) or "nothing",
                help="put the value in quotes",
            )
        return value

    def integer(self, name: str, default: int | None = None) -> int:
        if default is not None and name not in self._left:
            return default
        value = self.take(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise LayoutError("not an integer", where=self.path(name), got=str(value))
        return value

    def constant(self, name: str, expected: str) -> None:
        value = self.take(name)
        if value != expected:
            raise LayoutError("unknown schema", where=self.path(name), expected=expected, got=str(value))

    def sequence(self, name: str, default: Sequence[Json] | None = None) -> Sequence[Json]:
        if default is not None and name not in self._left:
            return default
        value = self.take(name)
        if not isinstance(value, list):
            raise LayoutError("not a list", where=self.path(name), got=str(value))
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        found: list[str] = []
        for index, value in enumerate(self.sequence(name)):
            if not isinstance(value, str):
                raise LayoutError("not a string", where=f"{self.path(name)}[{index}]", got=str(value))
            found.append(value)
        return tuple(found)

    def items(self, name: str, limit: int) -> list[_Fields]:
        values = self.sequence(name)
        if len(values) > limit:
            raise LayoutError("too many entries", where=self.path(name), expected=f"at most {limit}")
        return [_Fields(value, f"{self.path(name)}[{index}]") for index, value in enumerate(values)]

    def done(self) -> None:
        if self._left:
            raise LayoutError("unknown field", where=self.path(next(iter(self._left))))


@contextmanager
def _placed(where: str) -> Iterator[None]:
    """Put the path before the place of a LayoutError that names only its own field."""
    try:
        yield
    except LayoutError as error:
        if error.where.startswith(where):
            raise
        raise _layout_error(error, where) from error


def _layout_error(error: GitchainError, where: str) -> LayoutError:
    place = ".".join(part for part in (where, error.where) if part)
    return LayoutError(error.what, where=place, expected=error.expected, got=error.got, help=error.help)

"""What the operator says about admission: a file outside of the cluster, read once at the start.

    schema: https://gitchain.dev/serve/v1
    layouts:
      credit:
        layout: credit.sigstore.json
        signers: [{issuer: "https://issuer.example.com", subject: risk@example.com}]
        trust: trust.json
        repository: evidence.git
    rules:
      - {namespaces: [ml-prod, "ml-prod-*"], layout: credit}
      - {namespaces: ["*"], layout: credit, mode: audit, strict: false}

docs/admission.md and schemas/serve.schema.json say what each field means. Paths are relative to the file. The first
rule whose patterns match a namespace is the rule for it; a namespace without one is denied. Nothing in an object of
the cluster chooses a rule, and labels and annotations of namespaces do not either.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, TypeVar

from gitchain.admit.models import Looking
from gitchain.admit.mutate import NOBODY, Guarding
from gitchain.errors import LayoutError, UsageError
from gitchain.evidence.canonical import Json
from gitchain.layout.fields import Fields
from gitchain.layout.model import Identity
from gitchain.layout.yaml import read_yaml
from gitchain.pipeline.profiles import is_path
from gitchain.platform.files import open_regular

SCHEMA = "https://gitchain.dev/serve/v1"
MAX_CONFIG_BYTES = 1 << 20
MAX_RULES = 1000
IMAGE = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}", re.ASCII)
Mode = Literal["enforce", "warn", "audit"]
MODES: tuple[Mode, ...] = ("enforce", "warn", "audit")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """One layout: where it is, who may sign it, under which trust, and where its evidence is."""

    name: str
    layout: Path
    signers: tuple[Identity, ...]
    trust: str
    repository: Path | None = None
    evidence: tuple[str, ...] = ()
    minimum_version: int = 0
    layout_name: str | None = None
    """The name that the layout must have; any that the signers signed if it is not given."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What is demanded in some namespaces: the layout, how hard, and what counts as naming a model."""

    namespaces: tuple[str, ...]
    layout: str
    mode: Mode = "enforce"
    looking: Looking = field(default_factory=Looking)
    guarding: Guarding | None = None
    """How pods are changed so that volumes are verified on the node; None where they are left as they are."""

    def matches(self, namespace: str) -> bool:
        """Tell whether this is the rule for a namespace; cluster-wide objects have the empty one."""
        return any(fnmatchcase(namespace, pattern) for pattern in self.namespaces)


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds. A verdict counts for `verdict` at most, evidence that cannot be read again for `fresh` and `stale`."""

    refresh: int = 10
    fresh: int = 60
    stale: int = 0
    verdict: int = 30
    denial: int = 5
    answer: int = 8
    """The API server waits 10 seconds unless told otherwise, and then the failure policy decides."""

    drain: int = 5
    audit: int = 0

    def __post_init__(self) -> None:
        if self.fresh < self.refresh:
            raise LayoutError(
                "evidence would go stale before it is read again",
                where="times.fresh",
                expected=f"at least {self.refresh}, as times.refresh says",
                got=str(self.fresh),
            )


@dataclass(frozen=True, slots=True)
class Deployments:
    """Where what is admitted is stated, who signs it, and what this cluster is called."""

    repository: Path
    environment: str
    cluster: str
    trust: str
    identity: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole file."""

    sources: Mapping[str, Source]
    rules: tuple[Rule, ...]
    times: Times = field(default_factory=Times)
    decisions: int = 10_000
    """Most verdicts that are remembered."""

    connections: int = 256
    deployments: Deployments | None = None

    def rule_for(self, namespace: str) -> Rule | None:
        """Return the first rule for a namespace, None if there is none."""
        return next((rule for rule in self.rules if rule.matches(namespace)), None)


def read_settings(path: Path) -> Settings:
    """Read the file; UsageError, which names the field, for anything that is not as it should be."""
    try:
        with open_regular(path) as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("cannot read the settings", where=str(path), got=str(error)) from error
    if len(data) > MAX_CONFIG_BYTES:
        raise UsageError(
            "the settings are too large", where=str(path), expected=f"at most {MAX_CONFIG_BYTES} bytes"
        )
    try:
        return _settings(Fields(read_yaml(text), ""), path.parent)
    except LayoutError as error:
        raise UsageError(
            error.what,
            where=f"{path}: {error.where}" if error.where else str(path),
            expected=error.expected,
            got=error.got,
            help="docs/admission.md describes every field",
        ) from error


def _settings(fields: Fields, base: Path) -> Settings:
    fields.constant("schema", SCHEMA)
    named = fields.map("layouts")
    sources = {name: _source(name, named.map(name), base) for name in named.names(MAX_RULES)}
    rules = tuple(_rule(one, sources) for one in fields.items("rules", MAX_RULES))
    if not sources or not rules:
        raise LayoutError("there must be a layout and a rule", where="rules" if sources else "layouts")
    settings = Settings(
        sources,
        rules,
        _optional(fields, "times", _times, Times()),
        _bounded(fields, "decisions", 10_000, 100, 1_000_000),
        _bounded(fields, "connections", 256, 8, 4096),
        _deployments(fields.map("deployments"), base) if "deployments" in fields else None,
    )
    fields.done()
    return settings


def _source(name: str, fields: Fields, base: Path) -> Source:
    signers = tuple(_signer(one) for one in fields.items("signers", MAX_RULES))
    if not signers:
        raise LayoutError("nobody may sign the layout", where=fields.path("signers"))
    source = Source(
        name,
        base / fields.text("layout"),
        signers,
        _trust(fields, base),
        _optional_path(fields, "repository", base),
        tuple(_place(text, base) for text in fields.texts("evidence", ())),
        fields.integer("minimumVersion", 0),
        fields.text("layoutName") if "layoutName" in fields else None,
    )
    if source.repository is None and not source.evidence:
        raise LayoutError("there is no evidence", where=fields.where, expected="repository or evidence")
    fields.done()
    return source


def _signer(fields: Fields) -> Identity:
    found = Identity(fields.text("issuer"), fields.text("subject"))
    fields.done()
    return found


def _deployments(fields: Fields, base: Path) -> Deployments:
    found = Deployments(
        base / fields.text("repository"),
        fields.text("environment"),
        fields.text("cluster"),
        _trust(fields, base),
        fields.text("identity") if "identity" in fields else None,
        fields.text("key") if "key" in fields else None,
    )
    fields.done()
    return found


def _trust(fields: Fields, base: Path) -> str:
    name = fields.text("trust")
    return str(base / name) if is_path(name) else name


def _rule(fields: Fields, sources: Mapping[str, Source]) -> Rule:
    namespaces = fields.texts("namespaces")
    if not namespaces:
        raise LayoutError("the rule is for no namespace", where=fields.path("namespaces"))
    layout = _one_of(fields, "layout", tuple(sources), None)
    mode = _one_of(fields, "mode", MODES, "enforce")
    looking = Looking(
        _boolean(fields, "claims", default=False),
        fields.texts("ignore", ()),
        fields.texts("images", ()),
        _boolean(fields, "strict", default=True),
    )
    guarding = _guarding(fields.map("guard")) if "guard" in fields else None
    fields.done()
    return Rule(namespaces, layout, mode, looking, guarding)


def _guarding(fields: Fields) -> Guarding:
    image = fields.text("image")
    if IMAGE.fullmatch(image) is None:
        raise LayoutError(
            "the guard's image is not pinned",
            where=fields.path("image"),
            expected="NAME@sha256:DIGEST",
            got=image,
        )
    found = Guarding(
        image,
        fields.texts("arguments", ()),
        fields.texts("ignore", ()),
        _bounded(fields, "user", NOBODY, 1, 2**31 - 1),
    )
    fields.done()
    return found


def _one_of(fields: Fields, name: str, allowed: tuple[T, ...], default: T | None) -> T:
    if default is not None and name not in fields:
        return default
    value: Json = fields.text(name)
    for one in allowed:
        if one == value:
            return one
    raise LayoutError(
        "not one of the words that are allowed",
        where=fields.path(name),
        expected=" or ".join(map(str, allowed)),
        got=str(value),
    )


def _boolean(fields: Fields, name: str, *, default: bool) -> bool:
    value = fields.take(name) if name in fields else default
    if not isinstance(value, bool):
        raise LayoutError(
            "not true or false", where=fields.path(name), expected="true or false", got=str(value)
        )
    return value


def _times(fields: Fields) -> Times:
    default = Times()
    found = Times(
        _bounded(fields, "refresh", default.refresh, 1, 3600),
        _bounded(fields, "fresh", default.fresh, 1, 86_400),
        _bounded(fields, "stale", default.stale, 0, 7 * 86_400),
        _bounded(fields, "verdict", default.verdict, 1, 300),
        _bounded(fields, "denial", default.denial, 0, 60),
        _bounded(fields, "answer", default.answer, 1, 29),
        _bounded(fields, "drain", default.drain, 0, 60),
        _bounded(fields, "audit", default.audit, 0, 86_400),
    )
    fields.done()
    return found


def _bounded(fields: Fields, name: str, default: int, least: int, most: int) -> int:
    value = fields.integer(name, default)
    if not least <= value <= most:
        raise LayoutError(
            "out of range", where=fields.path(name), expected=f"{least} to {most}", got=str(value)
        )
    return value


def _optional(fields: Fields, name: str, read: Callable[[Fields], T], default: T) -> T:
    return read(fields.map(name)) if name in fields else default


def _place(text: str, base: Path) -> str:
    """Return a source of evidence as `gitchain verify --evidence` takes it; a directory is relative to the file."""
    return text if "://" in text else str(base / text)


def _optional_path(fields: Fields, name: str, base: Path) -> Path | None:
    return base / fields.text(name) if name in fields else None

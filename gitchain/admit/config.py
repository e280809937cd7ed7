"""Parse the operator's admission settings: a file outside of the cluster's objects.

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

docs/admission.md and schemas/serve.schema.json define the fields. Paths are relative to the file. The first
rule whose patterns match a namespace is the rule for it; a namespace without one is denied. Nothing in an object of
the cluster chooses a rule, and labels and annotations of namespaces do not either.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from gitchain.admit.denial_reasons import printable
from gitchain.admit.model_problems import ModelSearchSettings
from gitchain.admit.mutate import NOBODY, GuardSettings
from gitchain.admit.reports import Reports, ReportSettings
from gitchain.admit.settings import (
    MODES,
    AdmissionRule,
    AdmissionSettings,
    Deployments,
    Durations,
    LayoutSource,
)
from gitchain.errors import LayoutError, TrustError, UsageError, reason
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import sha256_hex
from gitchain.layout.fields import Fields
from gitchain.layout.model import Identity
from gitchain.layout.yaml import read_yaml
from gitchain.platform.files import read_input
from gitchain.sources.open_source import check_source_name
from gitchain.trust.load_profile import is_path

SCHEMA = "https://gitchain.dev/serve/v1"
MAX_CONFIG_BYTES = 1 << 20
MAX_RULES = 1000
MAX_SHOWN = 200
IMAGE = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
T = TypeVar("T")


def read_settings(path: Path) -> AdmissionSettings:
    """Return the settings in a file. Raises UsageError with the name of the invalid field."""
    return parse_settings(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of the settings file. Raises UsageError if it cannot be read or is too large."""
    remedy = "check the path and its rights"
    data = read_input(path, MAX_CONFIG_BYTES, UsageError, "cannot read the settings", help=remedy)
    if len(data) > MAX_CONFIG_BYTES:
        raise UsageError(
            "the settings are too large", where=str(path), expected=f"at most {MAX_CONFIG_BYTES} bytes"
        )
    return data


def parse_settings(data: bytes, path: Path) -> AdmissionSettings:
    """Return the settings in these bytes. Paths are relative to the file.

    Raises UsageError with the name of the invalid field.
    """
    try:
        found = _settings(Fields(read_yaml(data.decode("utf-8")), ""), path.parent)
    except UnicodeDecodeError as error:
        raise UsageError("the settings are not UTF-8", where=str(path), got=reason(error)) from error
    except LayoutError as error:
        raise UsageError(
            error.what,
            where=f"{path}: {error.where}" if error.where else str(path),
            expected=error.expected,
            got=printable(error.got, MAX_SHOWN),
            help="docs/admission.md describes every field",
        ) from error
    return replace(found, path=path, digest=sha256_hex(data))


def _settings(fields: Fields, base: Path) -> AdmissionSettings:
    fields.constant("schema", SCHEMA)
    named = fields.map("layouts")
    sources = {name: _source(name, named.map(name), base) for name in named.names(MAX_RULES)}
    rules = tuple(_rule(one, sources) for one in fields.items("rules", MAX_RULES))
    if not sources or not rules:
        raise LayoutError("there must be a layout and a rule", where="rules" if sources else "layouts")
    settings = AdmissionSettings(
        sources,
        rules,
        _optional(fields, "times", _times, Durations()),
        _bounded(fields, "decisions", 10_000, 100, 1_000_000),
        _bounded(fields, "connections", 256, 8, 4096),
        _deployments(fields.map("deployments"), base) if "deployments" in fields else None,
        _reporting(fields.map("reporting")) if "reporting" in fields else None,
    )
    fields.done()
    return settings


def _source(name: str, fields: Fields, base: Path) -> LayoutSource:
    signers = tuple(_signer(one) for one in fields.items("signers", MAX_RULES))
    if not signers:
        raise LayoutError("the layout has no allowed signer", where=fields.path("signers"))
    source = LayoutSource(
        name,
        base / _text(fields, "layout"),
        signers,
        _trust(fields, base),
        _optional_path(fields, "repository", base),
        _places(fields, base),
        _bounded(fields, "minimumVersion", 0, 0, 2**53 - 1),
        _text(fields, "layoutName") if "layoutName" in fields else None,
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
        base / _text(fields, "repository"),
        _text(fields, "environment"),
        _text(fields, "cluster"),
        _trust(fields, base),
        _text(fields, "identity") if "identity" in fields else None,
        _text(fields, "key") if "key" in fields else None,
    )
    fields.done()
    return found


def _reporting(fields: Fields) -> ReportSettings:
    reports = _one_of(fields, "reports", tuple(Reports), None) if "reports" in fields else None
    found = ReportSettings(_boolean(fields, "events", default=True), reports)
    fields.done()
    return found


def _trust(fields: Fields, base: Path) -> str:
    name = _text(fields, "trust")
    try:
        return str(base / name) if is_path(name) else name
    except TrustError as error:
        where = fields.path("trust")
        raise LayoutError(error.what, where=where, expected=error.expected, got=error.got) from error


def _text(fields: Fields, name: str) -> str:
    """Take a text that is not blank."""
    found = fields.text(name)
    if not found.strip():
        raise LayoutError("the text is blank", where=fields.path(name), got=ascii(found[:80]))
    return found


def _rule(fields: Fields, sources: Mapping[str, LayoutSource]) -> AdmissionRule:
    namespaces = fields.texts("namespaces")
    if not namespaces:
        raise LayoutError("the rule is for no namespace", where=fields.path("namespaces"))
    layout = _one_of(fields, "layout", tuple(sources), None)
    mode = _one_of(fields, "mode", MODES, "enforce")
    guarding = _guarding(fields.map("guard")) if "guard" in fields else None
    looking = ModelSearchSettings(
        _boolean(fields, "claims", default=False),
        fields.texts("ignore", ()),
        fields.texts("images", ()),
        _boolean(fields, "strict", default=True),
        guarding.ignore if guarding else None,
    )
    fields.done()
    return AdmissionRule(namespaces, layout, mode, looking, guarding)


def _guarding(fields: Fields) -> GuardSettings:
    image = fields.text("image")
    if IMAGE.fullmatch(image) is None:
        raise LayoutError(
            "the guard's image is not pinned",
            where=fields.path("image"),
            expected="NAME@sha256:DIGEST",
            got=image,
        )
    found = GuardSettings(
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


def _times(fields: Fields) -> Durations:
    default = Durations()
    found = Durations(
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


def _places(fields: Fields, base: Path) -> tuple[str, ...]:
    """Return evidence sources as `gitchain verify --evidence` takes them. Directories are relative to the file."""
    if "evidence" not in fields:
        return ()
    found = fields.texts("evidence")
    if not found:
        raise LayoutError("the list of sources is empty", where=fields.path("evidence"))
    for index, text in enumerate(found):
        try:
            check_source_name(text)
        except UsageError as error:
            where = f"{fields.path('evidence')}[{index}]"
            raise LayoutError(error.what, where=where, expected=error.expected, got=error.got) from error
    return tuple(text if "://" in text else str(base / text) for text in found)


def _optional_path(fields: Fields, name: str, base: Path) -> Path | None:
    return base / _text(fields, name) if name in fields else None

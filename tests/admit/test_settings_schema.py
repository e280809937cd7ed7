"""The schema and the parser of the settings accept the same values, over a list of mistakes and of good values."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gitchain.admit.config import SCHEMA, parse_settings
from gitchain.errors import UsageError

ROOT = Path(__file__).parents[2]


def as_written(value: Any) -> Any:
    """Return a schema whose `$` is the end of a text, as in JSON Schema; Python takes a newline behind it too."""
    if isinstance(value, dict):
        return {
            key: re.sub(r"\$\Z", r"\\Z", one) if key == "pattern" else as_written(one)
            for key, one in value.items()
        }
    return [as_written(one) for one in value] if isinstance(value, list) else value


VALIDATOR = Draft202012Validator(as_written(json.loads((ROOT / "schemas/serve.schema.json").read_text())))
DIGEST = "a" * 64
GOOD: dict[str, Any] = {
    "schema": SCHEMA,
    "layouts": {
        "credit": {
            "layout": "credit.sigstore.json",
            "signers": [{"issuer": "https://issuer.example.com", "subject": "risk@example.com"}],
            "trust": "trust.json",
            "repository": "evidence",
            "evidence": ["bundles"],
            "minimumVersion": 1,
            "layoutName": "credit",
        }
    },
    "rules": [
        {
            "namespaces": ["*"], "layout": "credit", "mode": "enforce", "strict": True, "claims": False, "images": ["x"],
            "ignore": ["x"],
            "guard": {"image": f"r/g@sha256:{DIGEST}", "arguments": ["x"], "ignore": ["x"], "user": 1},
        }
    ],
    "times": {"refresh": 10, "fresh": 60, "stale": 0, "verdict": 30, "denial": 5, "answer": 8, "drain": 5, "audit": 0},
    "decisions": 1000,
    "connections": 100,
    "deployments": {"repository": "log", "environment": "e", "cluster": "c", "trust": "local", "identity": "a", "key": "k"},
    "reporting": {"events": True, "reports": "openreports.io"},
}  # fmt: skip
VALUES: list[Any] = [
    *(None, True, False, -1, 0, 1, 5, 2**31 - 1, 2**31, 2**53 - 1, 10**6, "", " ", "\t", "\u00a0", "a\0b", "x", "x y", " x"),
    *("x\n", "1", "true", "C:\\x", "git+https:/h", "oci:/h/x:y", "https://h/x", "http://h/x", "http://127.0.0.1/x"),
    *("gitchain:key", "gitchain:other", "enforce", "Enforce", "openreports.io", f"g@sha256:{DIGEST}", "g:v1"),
    *(f"a\u00a0b@sha256:{DIGEST}", f"g@sha256:{DIGEST.upper()}", [], ["x"], ["x", 1], [""], [" "], ["a\0b"], [None], [[]]),
    *({}, {"x": "y"}, [{}], [{"issuer": "https://h"}]),
]  # fmt: skip
SOURCES = [
    *("bundles", "/a/b", "./a", " a", "C:\\x", "a:b", "", " ", "a\0b", "git+https:/h", "git+https://h", "git+https://h/x.git"),
    *("git+https://u@h/x", "git+https://u:p@h/x", "git+https:///x", "git+https://:443/x", "git+https://h:443/x", "git+https://h x"),
    *("git+https://hé/x", "git+http://h/x", "git+http://127.0.0.1:80/x", "git+http://localhost/x", "git+http://[::1]:8/x"),
    *("git+file:///x", "git+file://x", "git+file:/x", "git+file:///a b", "git+ssh://h/x", "https://h/x", "file:///x", "s3://b/x"),
    *("GIT+https://h/x", "oci://h/x", "oci://h/x:v1", f"oci://h/x@sha256:{DIGEST}", f"oci://h/x:v1@sha256:{DIGEST}", "oci://h"),
    *("oci://h/X:v1", "oci://h:5000/a/b-c__d:v1", "oci://[::1]:5000/x:v1", "oci://h/x@sha256:00", "oci:/h/x:v1", "oci://h/x:"),
]  # fmt: skip
UNSAYABLE = {
    ("trust", "http://h/x"): "only loopback may be without TLS",
    ("times.fresh", 1): "is compared with another field",
    ("times.fresh", 5): "is compared with another field",
}
"""Mistakes that a schema cannot tell, by the end of their place: the parser refuses them."""


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [*([path] if path else []), *(one for key, item in inside for one in places(item, (*path, key)))]


def changed(path: tuple[str | int, ...], value: Any) -> Any:
    found = copy.deepcopy(GOOD)
    holder: Any = found
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return found


def is_parsed(settings: Any) -> bool:
    try:
        parse_settings(json.dumps(settings).encode(), Path("/nowhere/serve.yaml"))
    except UsageError as error:
        is_clear = str(error).isprintable() and "serve.yaml" in error.where and len(str(error)) < 700
        return not is_clear
    return True


def differences(path: tuple[str | int, ...], values: list[Any]) -> list[str]:
    where, found = ".".join(map(str, path)), []
    for value in values:
        settings = changed(path, value)
        by_schema, by_parser = VALIDATOR.is_valid(settings), is_parsed(settings)
        is_known = any(
            where.endswith(end) and value == one and type(value) is type(one) for end, one in UNSAYABLE
        )
        is_known = is_known or (where == "rules.0.layout" and isinstance(value, str))  # names another field
        if by_schema != by_parser and not (is_known and by_schema):
            found.append(f"{where} = {value!r}: schema {by_schema}, parser {by_parser}")
    return found


@pytest.mark.parametrize("path", places(GOOD), ids=lambda path: ".".join(map(str, path)))
def test_schema_and_parser_agree_about_a_mistake(path: tuple[str | int, ...]) -> None:
    """At every place of the settings, each value that does not belong there, and no field at all."""
    assert VALIDATOR.is_valid(GOOD)
    assert is_parsed(GOOD)
    assert differences(path, VALUES) == []


def test_schema_and_parser_agree_about_sources() -> None:
    """A name that can be no source is refused when the settings are read, before anything starts."""
    assert differences(("layouts", "credit", "evidence", 0), SOURCES) == []
    refused = [one for one in SOURCES if not is_parsed(changed(("layouts", "credit", "evidence", 0), one))]
    assert {"C:\\x", "git+https:/h", "a\0b", " ", "oci://h/x", "git+https://u@h/x", "git+http://h/x"} <= set(
        refused
    )
    assert {"bundles", "git+https://h/x.git", "git+file:///x", "oci://h/x:v1"}.isdisjoint(refused)


@pytest.mark.parametrize("path", places(GOOD), ids=lambda path: ".".join(map(str, path)))
def test_schema_and_parser_agree_about_a_field_that_is_missing(path: tuple[str | int, ...]) -> None:
    settings = copy.deepcopy(GOOD)
    holder: Any = settings
    for key in path[:-1]:
        holder = holder[key]
    del holder[path[-1]]
    assert VALIDATOR.is_valid(settings) == is_parsed(settings)

"""docs/layout.md is true: its examples are layouts. docs/reference/layout.md has every field, claim, keyword and limit."""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest

from gitchain.evidence.vocabulary import Evidence
from gitchain.layout import parse_layout
from gitchain.layout.identities import CLAIM_NAMES
from gitchain.layout.load import MAX_CONSTRAINTS, MAX_INSPECTIONS, MAX_LAYOUT_BYTES
from gitchain.layout.model import KEY_ISSUER, MAX_FUNCTIONARIES, MAX_STEPS, OPENPGP_ISSUER, SSH_ISSUER
from gitchain.layout.openpgp import MAX_BLOCK_CHARS
from gitchain.layout.parts import INSPECTION_KINDS, MAX_EXPRESSION
from gitchain.layout.rule import MAX_PATTERN_BYTES, Keyword
from gitchain.layout.yaml import MAX_DEPTH, read_yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "layout.md").read_text(encoding="utf-8")
SCHEMA = json.loads((ROOT / "schemas" / "layout.schema.json").read_text(encoding="utf-8"))
WHOLE, *PARTS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module examples/layout_reference.py."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    sys.modules.pop("layout_reference", None)
    return importlib.import_module("layout_reference")


def test_the_first_example_is_a_layout() -> None:
    """The page's first YAML parses as it stands."""
    assert parse_layout(WHOLE.encode()).name == "credit-model"


def test_the_parts_together_are_a_layout() -> None:
    """The other examples are parts of one layout, which uses everything that the page describes."""
    parts: dict[str, Any] = {}
    for part in PARTS:
        parts.update(read_yaml(part))  # type: ignore[arg-type]
    for name in ("supplier", "vendor", "bob"):
        who = {"issuer": "https://accounts.example.com", "subject": f"{name}@example.com"}
        parts["functionaries"][name] = {"identities": [who]}
    head = {
        "schema": "https://gitchain.dev/layout/v1",
        "name": "x",
        "version": 1,
        "expires": "2027-11-22T00:00:00Z",
    }
    layout = parse_layout(json.dumps({**head, **parts}).encode())
    assert set(layout.to_json()) == set(SCHEMA["properties"])
    assert parse_layout(layout.canonical) == layout


def nodes(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the schema of every field that is there to be written, by its path in the schema."""
    if isinstance(schema, list):
        for number, value in enumerate(schema):
            yield from nodes(value, f"{path}/{number}")
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key == "properties":
                yield from ((f"{path}/{name}", field) for name, field in value.items())
            if key not in {"allOf", "if", "then", "else"}:
                yield from nodes(value, f"{path}/{key}")


def test_reference_is_todays(reference: ModuleType) -> None:
    """If this fails because the schema or a limit changed: python examples/cli_reference.py."""
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page()


def test_every_field_of_the_schema_is_described() -> None:
    """Each property has a description, which says more than its name; so has each definition and each choice."""
    fields = dict(nodes(SCHEMA)) | {f"$defs/{name}": node for name, node in SCHEMA["$defs"].items()}
    choices = [one for node in fields.values() for one in node.get("oneOf", ()) if "$ref" not in one]
    assert len(fields) > 50
    assert [path for path, node in fields.items() if not str(node.get("description", "")).endswith(".")] == []
    assert [one for one in choices if not one["description"].endswith(".")] == []


def test_reference_has_every_field(reference: ModuleType) -> None:
    """Each field of the schema is a row of the page, in the table of its own object."""
    written = re.findall(r"^\| `(\w+)` \| .+ \| .+ \|$", reference.page(), re.MULTILINE)
    wanted = [path.rpartition("/")[2] for path, _ in nodes(SCHEMA)]
    assert sorted(written) == sorted(wanted)


def test_reference_names_every_claim_kind_strength_and_keyword(reference: ModuleType) -> None:
    """They are those of the code, in the schema and on the page."""
    defined = SCHEMA["$defs"]
    kinds = SCHEMA["properties"]["inspections"]["items"]["properties"]["kind"]["oneOf"]
    assert tuple(one["const"] for one in kinds) == INSPECTION_KINDS
    assert tuple(one["const"] for one in defined["evidence"]["oneOf"]) == get_args(Evidence)
    assert {one["title"].split()[0] for one in defined["rule"]["oneOf"]} == set(Keyword)
    page = reference.page()
    assert [name for name in CLAIM_NAMES if f"`{name}`" not in page] == []
    assert [keyword for keyword in Keyword if f"`{keyword} <" not in page] == []


def test_page_names_every_keyword_and_issuer_of_keys() -> None:
    """docs/layout.md has them where it explains rules and keys."""
    assert [keyword for keyword in Keyword if f"`{keyword}`" not in PAGE.split("## Rules")[1]] == []
    assert [name for name in (KEY_ISSUER, SSH_ISSUER, OPENPGP_ISSUER) if f"`{name}`" not in PAGE] == []


def test_limits_of_the_schema_are_those_of_the_code(reference: ModuleType) -> None:
    """The page takes its limits from the code; the schema has the same ones."""
    fields, defined = SCHEMA["properties"], SCHEMA["$defs"]
    assert fields["steps"]["maxItems"] == MAX_STEPS
    assert fields["functionaries"]["maxProperties"] == MAX_FUNCTIONARIES
    assert fields["inspections"]["maxItems"] == MAX_INSPECTIONS
    assert defined["constraints"]["maxItems"] == MAX_CONSTRAINTS
    assert defined["constraints"]["items"]["properties"]["expression"]["maxLength"] == MAX_EXPRESSION
    assert defined["openPgpKey"]["properties"]["openpgp"]["maxLength"] == MAX_BLOCK_CHARS
    assert defined["pattern"]["maxLength"] == MAX_PATTERN_BYTES
    assert f"| a layout | {MAX_LAYOUT_BYTES >> 20} MiB, nested {MAX_DEPTH} deep |" in reference.page()

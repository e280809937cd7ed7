"""docs/layout.md is true: its examples are layouts, and it names every field, claim and keyword."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

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


def properties(schema: Any) -> set[str]:
    """Return every field that the schema knows, wherever."""
    if isinstance(schema, list):
        return {name for item in schema for name in properties(item)}
    if not isinstance(schema, dict):
        return set()
    own = set(schema.get("properties", {})) if isinstance(schema.get("properties"), dict) else set()
    return own | {name for item in schema.values() for name in properties(item)}


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


def test_every_field_is_explained() -> None:
    """Each field of the schema is in one of the tables."""
    told = "\n".join(line for line in PAGE.splitlines() if line.startswith("|"))
    fields = properties(SCHEMA) - {"name", "expression", "step", "products"}
    assert {"issuer", "minimumVersion", "maxBytes", "sameRun"} <= fields
    assert [name for name in sorted(fields) if not re.search(rf"`([a-zA-Z\[\]]+\.)?{name}`", told)] == []


def test_every_claim_and_kind_is_named() -> None:
    """Claims, kinds of inspections and the issuers of keys are those of the code."""
    names = (*CLAIM_NAMES, *INSPECTION_KINDS, KEY_ISSUER, SSH_ISSUER, OPENPGP_ISSUER)
    assert [name for name in names if f"`{name}`" not in PAGE] == []


def test_every_keyword_is_described() -> None:
    """The table of rules is complete."""
    assert [keyword for keyword in Keyword if keyword not in PAGE.split("## Rules")[1]] == []


def test_the_limits_are_those_of_the_code() -> None:
    """The page's limits are the loader's."""
    table = PAGE.split("## Limits")[1].split("## ")[0]
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", table, re.MULTILINE))
    assert rows["a layout"] == f"{MAX_LAYOUT_BYTES >> 20} MiB, nested {MAX_DEPTH} deep"
    assert rows["steps; functionaries"] == f"{MAX_STEPS:,}; {MAX_FUNCTIONARIES:,}"
    assert rows["constraints in one list; inspections"] == f"{MAX_CONSTRAINTS}; {MAX_INSPECTIONS}"
    assert rows["an expression"] == f"{MAX_EXPRESSION:,} characters"
    assert rows["an OpenPGP key's block"] == f"{MAX_BLOCK_CHARS >> 10} KiB"
    assert rows["a pattern"] == f"{MAX_PATTERN_BYTES:,} bytes"

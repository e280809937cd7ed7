"""The page docs/reference/layout.md, made from schemas/layout.schema.json and the tables of the code.

`examples/cli_reference.py` writes it. The texts are the `description` of each field in the schema.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gitchain.layout.constraint import VARIABLES
from gitchain.layout.load import MAX_CONSTRAINTS, MAX_INSPECTIONS, MAX_LAYOUT_BYTES
from gitchain.layout.model import MAX_FUNCTIONARIES, MAX_STEPS
from gitchain.layout.openpgp import MAX_BLOCK_CHARS
from gitchain.layout.parts import MAX_EXPRESSION
from gitchain.layout.rule import MAX_PATTERN_BYTES
from gitchain.layout.yaml import MAX_DEPTH
from gitchain.verify.sublayout_candidates import MAX_DEPTH as MAX_LAYOUTS

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference" / "layout.md"
SCHEMA: dict[str, Any] = json.loads((ROOT / "schemas" / "layout.schema.json").read_text(encoding="utf-8"))
HEAD = """# Fields of a layout

Made from `schemas/layout.schema.json` and the code by `examples/cli_reference.py`; `tests/layout/test_reference.py`
compares them.
[The layout language](../layout.md) explains how the fields work together, with examples.

Unknown fields are refused. A field that is not marked as required may be left out.
"""
DOCS_PAGE = re.compile(r"docs/([\w./-]+\.md)(#[\w-]+)?")
SCOPES = {
    "step": "`steps[].constraints`",
    "select": "`steps[].select.where`",
    "chain": "`constraints`",
    "dataset": "`datasets.constraints`",
}
CEL = {"DYN": "any", "LIST": "list", "MAP": "map", "STRING": "string", "TIMESTAMP": "timestamp"}
NAMED = {
    "rule": "[rule](#rules)",
    "pattern": "pattern",
    "stepName": "name",
    "evidence": "[strength](#strength)",
}
IDENTITIES = {
    "sigstoreIdentity": "a certificate",
    "key": "a key",
    "sshKey": "an SSH key",
    "openPgpKey": "an OpenPGP key",
}

Node = dict[str, Any]


def resolved(node: Node) -> Node:
    """Return a schema with the definition that it refers to; what is beside the reference wins."""
    name = str(node.get("$ref", "")).rpartition("/")[2]
    return {**resolved(SCHEMA["$defs"][name]), **node} if name else node


def prose(text: str) -> str:
    """Return a description for a cell of a table: pages as links, nothing that ends the cell."""
    linked = DOCS_PAGE.sub(lambda found: f"[{found[1]}](../{found[1]}{found[2] or ''})", text)
    return linked.replace("|", "\\|")


def kind(node: Node) -> str:  # noqa: PLR0911 - one return for each kind of value
    """Return what a field may hold: its type, with the limits that people meet."""
    name = str(node.get("$ref", "")).rpartition("/")[2]
    if name in NAMED:
        return NAMED[name]
    node = resolved(node)
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return ", ".join(f"`{one}`" for one in node["enum"])
    if "oneOf" in node:
        return "[kind](#kinds-of-inspections)" if "const" in node["oneOf"][0] else "object"
    if node["type"] == "array":
        most = f", at most {node['maxItems']:,}" if "maxItems" in node else ""
        least = f", at least {node['minItems']:,}" if node.get("minItems", 1) > 1 else ""
        return f"list of {kind(node['items'])}{least}{most}"
    if node["type"] == "object" and isinstance(node.get("additionalProperties"), dict):
        return f"map of names to {kind(node['additionalProperties'])}"
    least = f" from {node['minimum']}" if node["type"] == "integer" else ""
    return f"{node['type']}{least}"


def field(name: str, node: Node, required: Iterable[str]) -> str:
    """Return the row of one field."""
    whole = resolved(node)
    default = f"; default `{whole['default']}`" if "default" in whole else ""
    need = "; required" if name in required else ""
    return f"| `{name}` | {prose(kind(node))}{default}{need} | {prose(whole['description'])} |"


def table(node: Node) -> str:
    """Return the table of an object's fields."""
    rows = [field(name, one, node.get("required", ())) for name, one in node["properties"].items()]
    return "\n".join(["| field | value | meaning |", "|---|---|---|", *rows])


def item(node: Node) -> Node:
    """Return the schema of the values in a list or a map."""
    whole = resolved(node)
    return resolved(whole["items"] if whole["type"] == "array" else whole["additionalProperties"])


def objects() -> Iterator[tuple[str, Node]]:
    """Yield every object that has fields, by its path in a layout."""
    fields = SCHEMA["properties"]
    step, sets = item(fields["steps"]), fields["datasets"]
    yield "`functionaries.NAME`", item(fields["functionaries"])
    for name, signs in IDENTITIES.items():
        yield f"`functionaries.NAME.identities[]`: {signs}", SCHEMA["$defs"][name]
    yield "`steps[]`", step
    yield "`steps[].sublayout`", step["properties"]["sublayout"]
    yield "`steps[].select`", step["properties"]["select"]
    yield "`datasets`", sets
    yield "`datasets.artifacts[]`", item(sets["properties"]["artifacts"])
    yield "`constraints[]`, also in `steps[]` and `datasets`", item(fields["constraints"])
    yield "`inspections[]`", item(fields["inspections"])
    yield "`serve[]`", item(fields["serve"])


def choices(heading: str, node: Node) -> str:
    """Return the table of the constants that a field may have."""
    rows = [f"| `{one['const']}` | {prose(one['description'])} |" for one in node["oneOf"]]
    return "\n".join([f"| {heading} | meaning |", "|---|---|", *rows])


def rules() -> str:
    """Return the table of rules: one row for each form of a keyword."""
    rows = [
        f"| `{prose(one['title'])}` | {prose(one['description'])} |"
        for one in SCHEMA["$defs"]["rule"]["oneOf"]
    ]
    return "\n".join(["| rule | effect |", "|---|---|", *rows])


def variables() -> str:
    """Return the table of the variables that each kind of constraint reads."""
    rows = [
        f"| {SCOPES[scope]} | {', '.join(f'`{name}` ({CEL[kind]})' for name, kind in names.items())} |"
        for scope, names in VARIABLES.items()
    ]
    return "\n".join(["| constraint | variables |", "|---|---|", *rows])


def limits() -> str:
    """Return the table of limits, from the constants of the code."""
    rows = {
        "a layout": f"{MAX_LAYOUT_BYTES >> 20} MiB, nested {MAX_DEPTH} deep",
        "steps; functionaries": f"{MAX_STEPS:,}; {MAX_FUNCTIONARIES:,}",
        "constraints in one list; inspections": f"{MAX_CONSTRAINTS}; {MAX_INSPECTIONS}",
        "an expression": f"{MAX_EXPRESSION:,} characters",
        "a pattern": f"{MAX_PATTERN_BYTES:,} bytes",
        "an OpenPGP key's block": f"{MAX_BLOCK_CHARS >> 10} KiB",
        "layouts behind layouts": f"{MAX_LAYOUTS} deep",
    }
    return "\n".join(
        ["| what | limit |", "|---|---|", *(f"| {what} | {limit} |" for what, limit in rows.items())]
    )


def page() -> str:
    """Return the page."""
    defined = SCHEMA["$defs"]
    claims = defined["sigstoreIdentity"]["properties"]["claims"]["propertyNames"]["enum"]
    inspected = item(SCHEMA["properties"]["inspections"])["properties"]["kind"]
    parts = [
        HEAD.rstrip(),
        f"## The layout\n\n{table(SCHEMA)}",
        *(f"## {title}\n\n{table(node)}" for title, node in objects()),
        f"## Strength\n\n{choices('`evidence`', defined['evidence'])}",
        f"## Kinds of inspections\n\n{choices('`kind`', inspected)}",
        f"## Rules\n\n{defined['rule']['description']} [How rules run](../layout.md#rules).\n\n{rules()}",
        f"A pattern: {defined['pattern']['description']}",
        f"## Claims of certificates\n\n{', '.join(f'`{name}`' for name in claims)}",
        f"## Variables of constraints\n\n[Constraints](../constraints.md#variables) explains them.\n\n{variables()}",
        f"## Limits\n\n{limits()}",
    ]
    return "\n\n".join(parts) + "\n"

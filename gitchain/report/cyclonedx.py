"""Make a CycloneDX 1.6 ML-BOM from the document of a report (https://cyclonedx.org/docs/1.6/json/).

The model is `metadata.component`; data sets, and inputs that no step made, are further components. CycloneDX has no field
for how well a value is known: a property `gitchain:basis:FIELD` states `proven`, `claimed` or `missing` of a field beside
it. docs/report.md lists fields and properties.

The bytes depend on the document and the version of gitchain alone; the serial number is made from the other bytes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from gitchain import __version__
from gitchain.report.cyclonedx_parts import (
    data_component,
    data_ref,
    input_component,
    model_component,
    prop,
)
from gitchain.report.page import MAX_PROSE

VERSION = "1.6"
MODEL = "model"
LISTS = ("models", "findings", "dataSets", "attestations")
VALUES = ("parameters", "metrics")

Document = Mapping[str, Any]
Properties = Iterator[dict[str, str]]


def cyclonedx(document: Document) -> bytes:
    """Return the ML-BOM as JSON in ASCII."""
    inputs = _inputs(document)
    refs = [*(data_ref(one["digest"]["sha256"]) for one in document["dataSets"]), *inputs]
    model = model_component(document, MODEL)
    bom: dict[str, Any] = {
        "$schema": f"http://cyclonedx.org/schema/bom-{VERSION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": VERSION,
        "version": 1,
        "metadata": _metadata(document) | {"component": model, "properties": list(_properties(document))},
        "components": [
            *map(data_component, document["dataSets"]),
            *(input_component(ref, node) for ref, node in inputs.items()),
        ],
        "dependencies": [{"ref": MODEL, "dependsOn": _ancestors(document, refs, inputs)}],
        "compositions": [
            {
                "aggregate": "incomplete" if any(_omitted(document)) else "unknown",
                "assemblies": [MODEL],
                "dependencies": [MODEL],
            }
        ],
    }
    serial = uuid5(NAMESPACE_URL, json.dumps(bom))
    bom = {key: bom[key] for key in list(bom)[:3]} | {"serialNumber": f"urn:uuid:{serial}"} | bom
    return (json.dumps(bom, indent=2) + "\n").encode("ascii")


def _metadata(document: Document) -> dict[str, Any]:
    """Return the time of verification if it was given, else that of the newest evidence, and the tool."""
    time = document["timeVerified"] or document["newestEvidence"]
    tool = {"type": "application", "name": "gitchain", "version": __version__}
    return ({"timestamp": time} if time else {}) | {"tools": {"components": [tool]}}


def _properties(document: Document) -> Properties:
    """Yield what was verified, under which layout and trust, what was found, and what is not known."""
    layout, trust = document["layout"], document["trust"]
    if document["timeVerified"] or document["newestEvidence"]:
        yield prop("timestamp", "timeVerified" if document["timeVerified"] else "newestEvidence")
    yield prop("target", document["target"])
    yield prop("verificationResult", document["verificationResult"])
    yield prop("layout:name", layout["name"])
    yield prop("layout:version", layout["version"])
    yield prop("layout:sha256", layout["digest"]["sha256"])
    yield prop("layout:signer", layout["signer"]["subject"])
    yield prop("layout:issuer", layout["signer"]["issuer"])
    yield prop("trust:name", trust["name"])
    yield prop("trust:local", "true" if trust["local"] else "false")
    yield prop("basis:dependencies", "claimed")
    for one in document["findings"]:
        yield prop(f"finding:{one['code']}", one["message"], MAX_PROSE)
    for one in document["gaps"]:
        yield prop(f"gap:{one['code']}", one["text"], MAX_PROSE)
    yield from _omitted(document)


def _omitted(document: Document) -> Properties:
    """Yield how much the report, and so the document, leaves out because of its limits."""
    counts = {name: document[f"{name}Total"] - len(document[name]) for name in LISTS}
    for name in VALUES:
        counts[name] = document["values"][name]["total"] - len(document["values"][name]["values"])
    lineage = document["lineage"]
    counts["artifacts"] = lineage["nodesTotal"] - sum(one["members"] == 1 for one in lineage["nodes"])
    for name, count in counts.items():
        if count:
            yield prop(f"omitted:{name}", count)
    if not lineage["complete"] and not counts["artifacts"]:
        yield prop("omitted:edges", lineage["edgesTotal"] - len(lineage["edges"]))


def _inputs(document: Document) -> dict[str, Mapping[str, Any]]:
    """Return by reference the artifacts that no step made and that are no data sets."""
    data = {f"sha256:{one['digest']['sha256']}" for one in document["dataSets"]}
    return {
        f"input-{number}": node
        for number, node in enumerate(document["lineage"]["nodes"])
        if node["kind"] == "input" and node["members"] == 1 and node["detail"] not in data
    }


def _ancestors(document: Document, refs: Sequence[str], inputs: Mapping[str, Any]) -> list[str]:
    """Return the components from which the lineage leads to a model."""
    nodes, before = document["lineage"]["nodes"], defaultdict(list)
    for start, end in document["lineage"]["edges"]:
        before[end].append(start)
    waiting = [number for number, node in enumerate(nodes) if node["kind"] == "model"]
    seen = set(waiting)
    while waiting:
        new = set(before[waiting.pop()]) - seen
        seen |= new
        waiting.extend(new)
    found = {f"input-{number}" for number in seen} & inputs.keys()
    found |= {data_ref(nodes[number]["detail"].removeprefix("sha256:")) for number in seen}
    return [ref for ref in refs if ref in found]

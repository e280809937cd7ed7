"""Make a CycloneDX 1.6 ML-BOM from the document of a report (https://cyclonedx.org/docs/1.6/json/).

The model is `metadata.component`; data sets, and inputs that no step made, are further components. CycloneDX has no field
for how well a value is known: a property `gitchain:basis:FIELD` states `proven`, `claimed` or `missing` of a field beside
it. docs/report.md lists fields and properties.

The bytes depend on the document and the version of gitchain alone; the serial number is made from the other bytes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from gitchain import __version__
from gitchain.report.cyclonedx_parts import (
    data_component,
    data_ref,
    input_component,
    model_component,
    part_ref,
    prop,
)
from gitchain.report.cyclonedx_workflow import formulation
from gitchain.report.page import MAX_PROSE

VERSION = "1.6"
MODEL = "model"
INPUT = "input-"
LISTS = ("models", "findings", "dataSets", "attestations")
VALUES = ("parameters", "metrics", "commands")

Document = Mapping[str, Any]
Properties = Iterator[dict[str, str]]


def cyclonedx(document: Document) -> bytes:
    """Return the ML-BOM as JSON in ASCII."""
    places = _places(document)
    nodes = document["lineage"]["nodes"]
    inputs = [input_component(ref, nodes[number]) for number, ref in places.items() if ref.startswith(INPUT)]
    model = model_component(document, MODEL)
    workflow = formulation(document, places)
    bom: dict[str, Any] = {
        "$schema": f"http://cyclonedx.org/schema/bom-{VERSION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": VERSION,
        "version": 1,
        "metadata": _metadata(document) | {"component": model, "properties": list(_properties(document))},
        "components": [*map(data_component, document["dataSets"]), *inputs],
        "dependencies": [{"ref": MODEL, "dependsOn": _ancestors(document, places)}],
        "compositions": [
            {
                "aggregate": "incomplete" if any(_omitted(document)) else "unknown",
                "assemblies": [MODEL],
                "dependencies": [MODEL],
            }
        ],
        **({"formulation": workflow} if workflow else {}),
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


def _places(document: Document) -> dict[int, str]:
    """Return by its place in the lineage the reference of each model, data set, and input that no step made."""
    models = [one["digest"]["sha256"] for one in document["models"]]
    known = {
        f"sha256:{one['digest']['sha256']}": data_ref(one["digest"]["sha256"]) for one in document["dataSets"]
    }
    known |= {f"sha256:{one}": part_ref(MODEL, number, len(models)) for number, one in enumerate(models, 1)}
    found = {}
    for number, node in enumerate(document["lineage"]["nodes"]):
        if node["kind"] != "step" and node["members"] == 1:
            if node["detail"] in known:
                found[number] = known[node["detail"]]
            elif node["kind"] == "input":
                found[number] = f"{INPUT}{number}"
    return found


def _ancestors(document: Document, places: Mapping[int, str]) -> list[str]:
    """Return the components from which the lineage leads to a model."""
    nodes, before = document["lineage"]["nodes"], defaultdict(list)
    for start, end in document["lineage"]["edges"]:
        before[end].append(start)
    waiting = [number for number, node in enumerate(nodes) if node["kind"] == "model"]
    models, seen = set(waiting), set(waiting)
    while waiting:
        new = set(before[waiting.pop()]) - seen
        seen |= new
        waiting.extend(new)
    return list(dict.fromkeys(places[number] for number in sorted(seen - models) if number in places))

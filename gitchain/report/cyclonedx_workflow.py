"""The steps of a chain as a CycloneDX workflow: commands, and the components that each step used and made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gitchain.report.cyclonedx_parts import basis, prop, words

WORKFLOW = "workflow"
MAX_COMMAND = 1000

Document = Mapping[str, Any]


def formulation(document: Document, places: Mapping[int, str]) -> list[dict[str, Any]]:
    """Return one workflow with a task for each step of the lineage; nothing without a step.

    `places` has the references of the components by their place in the nodes of the lineage.
    """
    nodes = document["lineage"]["nodes"]
    names = list(dict.fromkeys(node["name"] for node in nodes if node["kind"] == "step"))
    tasks = [_task(document, places, f"task-{number}", name) for number, name in enumerate(names, 1)]
    if not tasks:
        return []
    workflow = {"bom-ref": WORKFLOW, "uid": WORKFLOW, "taskTypes": ["other"], "tasks": tasks}
    return [{"bom-ref": "formula", "workflows": [workflow]}]


def _task(document: Document, places: Mapping[int, str], ref: str, name: str) -> dict[str, Any]:
    """Return a step. CycloneDX knows no types of tasks for machine learning: each is `other`."""
    lineage = document["lineage"]
    steps = {
        number
        for number, node in enumerate(lineage["nodes"])
        if node["kind"] == "step" and node["name"] == name
    }
    inputs = _known(places, [start for start, end in lineage["edges"] if end in steps])
    outputs = _known(places, [end for start, end in lineage["edges"] if start in steps])
    commands = list(_commands(document, name))
    known = {"inputs": bool(inputs), "outputs": bool(outputs), "steps": bool(commands)}
    properties = [*basis(known)]
    properties += [
        prop("evidence", text) for text in sorted({lineage["nodes"][one]["detail"] for one in steps}) if text
    ]
    found = {
        "inputs": [{"resource": {"ref": one}} for one in inputs],
        "outputs": [{"type": "artifact", "resource": {"ref": one}} for one in outputs],
        "steps": [{"commands": [{"executed": one}]} for one in commands],
    }
    return {
        "bom-ref": ref,
        "uid": ref,
        "name": words(name),
        "taskTypes": ["other"],
        **{key: value for key, value in found.items() if value},
        "properties": properties,
    }


def _known(places: Mapping[int, str], numbers: Sequence[int]) -> list[str]:
    return list(dict.fromkeys(places[one] for one in numbers if one in places))


def _commands(document: Document, step: str) -> Iterator[str]:
    """Yield the different commands that attestations of the step state."""
    stated = [one["values"] for one in document["values"]["commands"]["values"] if one["step"] == step]
    yield from dict.fromkeys(words(value, MAX_COMMAND) for values in stated for value in values)

"""The components of an ML-BOM: the model with its card, data sets, and inputs. Every text of evidence passes `words`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gitchain.report.datasets import TERMS
from gitchain.report.licences import UNKNOWN, is_identifier, spdx_expression
from gitchain.report.page import LIMITS, value_text
from gitchain.report.text import shown

NAMESPACE = "gitchain"
"""The first part of each property's name, which docs/report.md documents."""

CARD = "modelCard"
MAX_COMMENT = 1000

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)

Document = Mapping[str, Any]
Component = dict[str, Any]
Properties = Iterator[dict[str, str]]


def words(value: Any, limit: int = LIMITS[0]) -> str:
    """Return a value of evidence as bounded text without control, bidirectional or invisible characters."""
    return shown(value_text(value), limit)


def prop(name: str, value: Any, limit: int = LIMITS[0]) -> dict[str, str]:
    """Return a property in gitchain's namespace."""
    return {"name": f"{NAMESPACE}:{name}", "value": words(value, limit)}


def basis(fields: Mapping[str, bool], known: str = "claimed") -> Properties:
    """Yield the basis of each field: `known` if it has a value, else `missing`."""
    for field, is_stated in fields.items():
        yield prop(f"basis:{field}", known if is_stated else "missing")


def data_ref(sha256: str) -> str:
    """Return the reference of a data set."""
    return f"data:{sha256}"


def part_ref(model: str, number: int, parts: int) -> str:
    """Return the reference of one artifact of the target: the model itself if it is the only one."""
    return model if parts == 1 else f"{model}-{number}"


def model_component(document: Document, ref: str) -> Component:
    """Return the model with its card; a target of several artifacts is one model, with these as its parts."""
    models = document["models"]
    is_one = document["modelsTotal"] == 1
    name = models[0]["name"] if is_one else None
    version = _version(document)
    found: Component = {
        "type": "machine-learning-model",
        "bom-ref": ref,
        "name": words(name or document["target"]),
        **({"version": words(version)} if version else {}),
        **(_hashes(models[0]) if is_one else {}),
        "externalReferences": list(_attestations(document["attestations"])),
    }
    if not is_one:
        found["components"] = [
            _part(part_ref(ref, number, len(models)), one) for number, one in enumerate(models, 1)
        ]
    card = _card(document)
    analysis = card.get("quantitativeAnalysis", {})
    properties = [prop("verificationResult", document["verificationResult"])]
    properties += [*_digest(models[0])] if is_one else []
    properties += basis({"externalReferences": bool(found["externalReferences"])}, "proven")
    properties += basis(
        {
            "name": bool(name),
            "version": bool(version),
            "licenses": False,
            f"{CARD}.modelParameters.datasets": bool(card.get("modelParameters")),
            f"{CARD}.quantitativeAnalysis.performanceMetrics": bool(analysis),
            f"{CARD}.considerations": False,
            f"{CARD}.properties": any(document["values"]["parameters"]["values"]),
        }
    )
    return found | ({CARD: card} if card else {}) | {"properties": properties}


def _part(ref: str, one: Document) -> Component:
    properties = [prop("verificationResult", one["verificationResult"]), *_digest(one)]
    properties += basis({"name": bool(one["name"])})
    name = words(one["name"] or f"sha256:{one['digest']['sha256']}")
    return {"type": "file", "bom-ref": ref, "name": name, **_hashes(one), "properties": properties}


def _hashes(one: Document) -> Component:
    """Return the digest of a file. That of a directory is of gitchain's manifest, which no other tool computes."""
    if one["directory"]:
        return {}
    return {"hashes": [{"alg": "SHA-256", "content": one["digest"]["sha256"]}]}


def _digest(one: Document, known: str = "proven") -> Properties:
    if one["directory"]:
        yield prop("manifest:sha256", one["digest"]["sha256"])
    yield from basis({"manifest:sha256" if one["directory"] else "hashes": True}, known)


def _version(document: Document) -> str | None:
    """Return the tag of the model, if a functionary attested exactly one; a stage, MODEL#STAGE, is no version."""
    listed = document["values"]["versions"]["listed"]
    tags = {tag for one in listed if one["current"] for tag in one["tags"] if "#" not in tag}
    return tags.pop() if len(tags) == 1 and document["modelsTotal"] == 1 else None


def _attestations(listed: Iterable[Document]) -> Iterator[Component]:
    """Yield a reference to each attestation of the chain, with the hash of its bundle."""
    found: dict[str, list[Document]] = {}
    for one in listed:
        found.setdefault(one["id"], []).append(one)
    for name, several in found.items():
        bundle = next((one["bundle"] for one in several if "bundle" in one), None)
        signers = ", ".join(words(one["signer"]["subject"]) for one in several[:5])
        revoked = "REVOKED, " if any(one["revoked"] for one in several) else ""
        comment = f"{revoked}step {words(several[0]['step'])}, signed by {signers} at {several[0]['time']}"
        yield _reference(name, comment, bundle)


def _reference(name: str, comment: str, bundle: Document | None = None) -> Component:
    """Return a reference to an attestation: its id as a digest (RFC 6920, section 7), if it is one."""
    found: Component = {
        "type": "attestation",
        "url": f"nih:sha-256;{name}",
        "comment": shown(comment, MAX_COMMENT),
    }
    if not _DIGEST.fullmatch(name):
        found["url"] = f"#{''.join(char for char in name if char.isascii() and char.isalnum())[:80]}"
    if bundle:
        found["hashes"] = [{"alg": "SHA-256", "content": bundle["digest"]["sha256"]}]
    return found


def _card(document: Document) -> Component:
    """Return the model card: data sets, metrics, and parameters as properties. It has only what is stated."""
    values = document["values"]
    found: Component = {}
    if document["dataSets"]:
        found["modelParameters"] = {
            "datasets": [{"ref": data_ref(one["digest"]["sha256"])} for one in document["dataSets"]]
        }
    metrics = list(_each(values["metrics"]["values"]))
    if metrics:
        listed = [{"type": words(one["name"]), "value": words(value)} for one, value in metrics]
        found["quantitativeAnalysis"] = {"performanceMetrics": listed}
    properties = [
        prop(f"performanceMetrics:{number}:step", one["step"]) for number, (one, _) in enumerate(metrics)
    ]
    properties += [
        prop(f"parameter:{words(one['step'])}:{words(one['name'])}", value)
        for one, value in _each(values["parameters"]["values"])
    ]
    return found | ({"properties": properties} if properties else {})


def _each(facts: Iterable[Document]) -> Iterator[tuple[Document, Any]]:
    """Yield each value of each fact: attestations of one step may state several."""
    for one in facts:
        for value in one["values"]:
            yield one, value


def data_component(one: Document) -> Component:
    """Return a data set with the terms that functionaries state."""
    stated = {name: _stated(one["facts"], name) for name in TERMS}
    licences = _licences(stated["licence"])
    name = words(one["name"])
    properties = [*_digest(one, "claimed"), *basis({"name": bool(name), "licenses": bool(licences)})]
    properties += basis({term: bool(stated[term]) for term in TERMS if term != "licence"})
    properties += [prop(term, value) for term in TERMS for value in stated[term]]
    properties += [prop("revoked", "true")] if one["revoked"] else []
    if one["factsTotal"] > len(one["facts"]):
        properties.append(prop("omitted:statements", one["factsTotal"] - len(one["facts"])))
    found: Component = {
        "type": "data",
        "bom-ref": data_ref(one["digest"]["sha256"]),
        "name": name or f"sha256:{one['digest']['sha256']}",
        **_hashes(one),
        **({"licenses": licences} if licences else {}),
        "data": [{"type": "dataset"}],
        "properties": properties,
    }
    references = [
        _reference(
            each["id"], f"facts about the data set, signed by {words(each['signer'])} at {each['time']}"
        )
        for each in one["facts"]
    ]
    return found | ({"externalReferences": references} if references else {})


def input_component(ref: str, node: Document) -> Component:
    """Return an artifact that a step used and no step made, such as a base model."""
    properties = [*basis({"name": bool(node["name"]), "digest": bool(node["detail"])})]
    properties += [prop("digest", node["detail"])] if node["detail"] else []
    properties += [prop("revoked", "true")] if node["revoked"] else []
    name = words(node["name"]) or words(node["detail"]) or ref
    return {"type": "file", "bom-ref": ref, "name": name, "properties": properties}


def _stated(facts: Iterable[Document], name: str) -> list[str]:
    """Return the different values that are stated, the newest first."""
    return list(dict.fromkeys(one[name] for one in facts if one.get(name, "").strip()))


def _licences(stated: Sequence[str]) -> list[Component]:
    """Return the licences as stated: SPDX expressions and identifiers as such, others by name."""
    known = {spdx_expression(one) or one: bool(spdx_expression(one)) for one in stated if one not in UNKNOWN}
    if len(known) == 1 and all(known.values()) and not is_identifier(next(iter(known))):
        return [{"expression": next(iter(known)), "acknowledgement": "declared"}]
    return [
        {"license": {key: words(one), "acknowledgement": "declared"}}
        for one, is_spdx in known.items()
        for key in ["id" if is_spdx and is_identifier(one) else "name"]
    ]

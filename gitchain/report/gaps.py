"""What a verdict does not show: what the layout does not require, what no statement states, and what is only claimed.

A gap is no finding: it never changes the verdict. Each has a code that stays the same, a kind and one sentence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gitchain.consume.diff_facts import is_approval, metrics, parameters
from gitchain.consume.model_versions import Placement, open_placements
from gitchain.evidence.vocabulary import DEPLOYMENT, RELEASE, RETIREMENT, build_type
from gitchain.report.evidence import ModelEvidence
from gitchain.report.lineage import Lineage
from gitchain.report.text import document_text
from gitchain.report.timeline import Event
from gitchain.verify.report import UNKNOWN

MAX_NAMES = 5
LISTED = {"source": "source", "licence": "licence", "consent": "consent", "personalData": "personal data"}


@dataclass(frozen=True, slots=True)
class Gap:
    """One gap: `layout` (the layout does not require it), `missing` (no statement counts), `claimed` or `limit`."""

    code: str
    kind: Literal["layout", "missing", "claimed", "limit"]
    text: str

    def to_json(self) -> dict[str, Any]:
        """Return the gap as in `report --json`."""
        return {"code": self.code, "kind": self.kind, "text": document_text(self.text)}


def gaps(
    evidence: ModelEvidence, lineage: Lineage, events: Sequence[Event], data: Sequence[dict[str, Any]]
) -> list[Gap]:
    """Return the gaps, in the order in which a reader asks for them."""
    found = [*_missing(evidence, events), *_data(data), *_inputs(lineage), *_people(evidence)]
    found += [*_strength(evidence), *_layout(evidence)]
    if evidence.verifier.accepted.profile.trust.is_local:
        found.append(
            Gap(
                "embedded-instance",
                "limit",
                "The trust profile is an embedded instance: its signatures prove only that the holder of one "
                "machine's keys signed. Its log is no public log.",
            )
        )
    return [*found, *(Gap("always", "limit", f"Not checked: {text}.") for text in UNKNOWN)]


def _missing(evidence: ModelEvidence, events: Sequence[Event]) -> Iterator[Gap]:
    statements = [one for step in evidence.steps for one in step.reported.statements]
    counted = [one for one in events if one.is_counted and not one.revoked]
    kinds = {one.kind for one in counted}
    if not any(is_approval(one) for one in statements):
        yield Gap("no-approval", "missing", "No step of the chain approves the model.")
    if not any(metrics(one) for one in statements):
        yield Gap("no-metrics", "missing", "No statement of the chain states a metric.")
    if not any(parameters(one) for one in statements):
        yield Gap("no-parameters", "missing", "No statement of the chain states a parameter.")
    types = {one.predicate_type for one in statements}
    if "release" not in kinds and RELEASE not in types:
        yield Gap("no-release", "missing", "No functionary attested a release: no tag is bound to the model.")
    if "deployment" not in kinds and DEPLOYMENT not in types:
        yield Gap("no-deployment", "missing", "No functionary attested a deployment of the model.")
    elif places := len(_deployed(evidence)):
        text = (
            f"The model may be serving: {places} deployment(s) have no later retirement by the same signer."
        )
        yield Gap("no-retirement", "missing", text)
    others = sum(not one.is_counted for one in events)
    if others:
        yield Gap(
            "other-signers",
            "claimed",
            f"{others} statement(s) about the model are signed by identities that are no functionaries. "
            "They are listed in the timeline and count for nothing.",
        )


def _deployed(evidence: ModelEvidence) -> list[Placement]:
    """Return the deployments of the models by functionaries that no later retirement of the same place ends."""
    about = evidence.about_models(DEPLOYMENT, RETIREMENT)
    counted = [one for one in about if evidence.functionary(one) and not evidence.revoked(one)]
    return list(open_placements(counted))


def _data(data: Sequence[dict[str, Any]]) -> Iterator[Gap]:
    if not data:
        yield Gap(
            "no-data", "missing", "The chain has no data set: nothing states what the model is made of."
        )
    by_missing: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
    for one in data:
        if one["missing"]:
            by_missing[tuple(one["missing"])].append(one["name"])
    for missing, names in by_missing.items():
        words = " and ".join(LISTED[name] for name in missing)
        yield Gap("data-facts", "missing", f"No functionary states {words} of {_names(names)}.")


def _inputs(lineage: Lineage) -> Iterator[Gap]:
    """Yield the artifacts that no step made; commits are known to Git."""
    names = [node.name for node in lineage.nodes.values() if node.kind == "input"]
    if names:
        yield Gap(
            "inputs", "missing", f"No step of the chain made {_names(names)}: their origin is not attested."
        )
    dirty = [node.name for node in lineage.nodes.values() if node.revoked]
    if dirty:
        yield Gap("revoked", "claimed", f"Revoked, or with revoked content: {_names(dirty)}.")


def _people(evidence: ModelEvidence) -> Iterator[Gap]:
    """Yield the approvers that signed another step too."""
    steps: defaultdict[str, dict[str, bool]] = defaultdict(dict)
    for step in evidence.steps:
        approves = any(is_approval(one) for one in step.reported.statements)
        for one in step.reported.attestations:
            steps[str(one.signer)][step.name] = approves
    for signer, signed in sorted(steps.items()):
        others = [name for name, approves in signed.items() if not approves]
        if others and any(signed.values()):
            text = f"{signer} approved the model and also signed {_names(others)}: no separation of duties."
            yield Gap("same-approver", "missing", text)


def _strength(evidence: ModelEvidence) -> Iterator[Gap]:
    declared = [
        step.name
        for step in evidence.steps
        if step.reported.evidence != "observed"
        and any(one.products for one in step.claims)
        and not any(_is_kind(one.predicate, "data") for one in step.reported.statements)
    ]
    if declared:
        text = f"gitchain did not run {_names(declared)} itself: their signers declared inputs and outputs afterwards."
        yield Gap("declared", "claimed", text)


def _is_kind(predicate: Any, kind: Literal["data"]) -> bool:
    definition = predicate.get("buildDefinition") if isinstance(predicate, dict) else None
    return isinstance(definition, dict) and definition.get("buildType") == build_type(kind)


def _layout(evidence: ModelEvidence) -> Iterator[Gap]:
    """Yield what the layout does not require."""
    layout = evidence.layout
    one_signer = [step.name for step in layout.steps if step.threshold == 1]
    for code, missing, text in (
        ("no-datasets", layout.datasets is None, "facts about data sets, such as licence and consent"),
        ("no-inspection", not layout.inspections, "an inspection of the model's own bytes"),
        ("no-freshness", layout.freshness is None, "a recent checkpoint of the store, which shows removed evidence"),
        ("no-age", all(step.max_age is None for step in layout.steps), "that evidence is recent: no step has maxAge"),
        ("no-constraints", not (layout.constraints or any(step.constraints for step in layout.steps)),
         "any value of a parameter or metric: it has no constraints"),
        ("one-signer", bool(one_signer), f"more than one signer of {_names(one_signer)}"),
    ):  # fmt: skip
        if missing:
            yield Gap(code, "layout", f"The layout does not require {text}.")
    if not layout.revokers:
        yield Gap("no-revokers", "layout", "The layout names no revokers: nothing can be revoked under it.")
    if evidence.verifier.accepted.profile.trust.witnesses is None:
        text = "No witnesses of the log are required: whether the log shows all readers the same entries is not checked."
        yield Gap("no-witnesses", "layout", text)


def _names(names: Sequence[str]) -> str:
    known = sorted(set(names))
    more = f" and {len(known) - MAX_NAMES} more" if len(known) > MAX_NAMES else ""
    return ", ".join(one[:100] for one in known[:MAX_NAMES]) + more

"""The data sets of a chain: where data enter it, and what functionaries state about source, licence and consent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gitchain.consume.diff_facts import terms
from gitchain.evidence.statement import ResourceDescriptor
from gitchain.evidence.vocabulary import DATASET, time_text
from gitchain.report.evidence import ModelEvidence
from gitchain.report.text import document_text
from gitchain.verify.verified import VerifiedStatement

TERMS = ("source", "licence", "consent", "personalData")
MAX_DATASETS = 200
NOTHING = {"", "NOASSERTION"}
"""Values of a fact that state nothing; SPDX writes NOASSERTION for a licence about which nothing is claimed."""

MAX_FACTS = 10
"""Most statements about one data set, the newest."""


def datasets(evidence: ModelEvidence) -> list[dict[str, Any]]:
    """Return the data sets with the facts that count, as in `report --json`.

    A data set is an artifact that a step made of no other artifact, or one with facts that is used in the chain. The facts
    of a directory that holds it are not read.
    """
    stated = _stated(evidence)
    used = {
        sha256: item
        for step in evidence.steps
        for claim in step.claims
        for item in (*claim.materials, *claim.products)
        if (sha256 := item.digest.sha256) in stated
    }
    found = evidence.origins | used
    return [_dataset(evidence, item, stated.get(sha256, ())) for sha256, item in sorted(found.items())]


def _stated(evidence: ModelEvidence) -> dict[str, list[VerifiedStatement]]:
    """Return the statements about data sets by SHA-256, the newest first: of those who may state them in the layout."""
    rules = evidence.layout.datasets
    names = rules.functionaries if rules else ()
    found: dict[str, list[VerifiedStatement]] = {}
    for one in reversed(evidence.of_type(DATASET)):
        if evidence.functionary(one, names) and not evidence.revoked(one):
            for item in one.statement.subject:
                found.setdefault(item.digest.sha256 or "", []).append(one)
    return found


def _stating(one: VerifiedStatement) -> dict[str, str]:
    """Return the facts about a data set without those that state nothing."""
    facts = ((name, str(value)) for name, value in terms(one.statement).items())
    return {name: value for name, value in facts if value.strip().upper() not in NOTHING}


def _dataset(
    evidence: ModelEvidence, item: ResourceDescriptor, stated: Sequence[VerifiedStatement]
) -> dict[str, Any]:
    facts = [
        {
            **{name: document_text(value) for name, value in _stating(one).items()},
            "signer": document_text(one.identity.subject),
            "time": time_text(one.time),
            "id": one.attestation_id,
        }
        for one in stated[:MAX_FACTS]
    ]
    known = {name for one in facts for name in one}
    return {
        "name": document_text(item.rule_name or ""),
        "digest": {"sha256": item.digest.sha256},
        "directory": item.is_directory,
        "revoked": evidence.revoked_artifact(item) is not None,
        "facts": facts,
        "factsTotal": len(stated),
        "missing": [name for name in TERMS if name not in known],
    }

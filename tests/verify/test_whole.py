"""The whole verifier on real bundles: signed at an instance, verified, decided."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from gitchain.errors import GitchainError
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.predicates import LAYOUT as LAYOUT_TYPE
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.instance import Instance
from gitchain.layout import Identity, parse_layout
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.decide import Decision, decide
from gitchain.verify.layout import verify_layout
from gitchain.verify.trust import Trust
from tests.support.decision_input import ISSUER, LAYOUT, NOW, PREPARED, model, run
from tests.support.forged_bundles import Forge, raw

WHO = {
    "alice": "alice@example.com",
    "bob": "bob@example.com",
    "carol": "carol@example.com",
    "alice2": "alice@work.example.com",
}


@pytest.fixture(scope="module")
def evidence(instance: Instance) -> dict[str, bytes]:
    """The layout and one run as bundles: the bytes that a repository would hold."""
    text = LAYOUT.replace(ISSUER, instance.issuer)
    for name, mail in WHO.items():
        text = text.replace(f"subject: {name}}}", f"subject: {mail}}}")
    layout = parse_layout(text.encode())
    subject = ResourceDescriptor(layout.name, DigestSet({"sha256": layout.digest}))
    signed = Statement.build([subject], LAYOUT_TYPE, layout.to_json())
    found = {"layout": raw(Forge(instance, "owner@example.com").bundle(signed.payload))}
    for step, statement in run().items():
        who = WHO[statement.identity.subject]
        found[step] = raw(Forge(instance, who).bundle(statement.statement.payload))
    return found


def authorizer(instance: Instance, trust: Trust, evidence: dict[str, bytes]) -> Decision:
    now = datetime.now(UTC)
    owner = Identity(instance.issuer, "owner@example.com")
    layout = verify_layout(evidence["layout"], trust, [owner], now, 1)
    statements = [verify_bundle(bundle, trust) for step, bundle in evidence.items() if step != "layout"]
    return decide(layout, statements, model(), now, PREPARED.nodes.get)


def test_real_evidence_passes(instance: Instance, trust: Trust, evidence: dict[str, bytes]) -> None:
    """From bytes to PASSED, with the log's origin and index of every attestation in the report."""
    decision = authorizer(instance, trust, evidence)
    assert decision.passed, decision.findings
    document = json.loads(json.dumps(decision.to_json()))
    logs = [step["attestations"][0]["log"] for step in document["steps"]]
    assert {log["origin"] for log in logs} == {instance.origin}
    assert len({log["index"] for log in logs}) == 5


@pytest.mark.parametrize("step", ["layout", "data", "prepare", "train", "evaluate", "approve"])
def test_every_piece_of_real_evidence_matters(
    instance: Instance, trust: Trust, evidence: dict[str, bytes], step: str
) -> None:
    """Each bundle with one byte of its payload's base64 changed: never PASSED."""
    at = evidence[step].index(b'"payload": "') + 40
    flipped = b"A" if evidence[step][at : at + 1] != b"A" else b"B"
    changed = evidence[step][:at] + flipped + evidence[step][at + 1 :]
    with pytest.raises(GitchainError):
        authorizer(instance, trust, {**evidence, step: changed})
    if step != "layout":
        left = {name: bundle for name, bundle in evidence.items() if name != step}
        assert not authorizer(instance, trust, left).passed


def test_the_tests_clock_is_not_used(instance: Instance, trust: Trust, evidence: dict[str, bytes]) -> None:
    """Times come from the timestamps in the bundles, not from what the tests' world says."""
    times = [one.time for step in authorizer(instance, trust, evidence).steps for one in step.attestations]
    assert NOW not in times

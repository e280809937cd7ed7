"""A decision as a verification summary: what it says, and that it stands for the chain behind its subject."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gitchain import __version__
from gitchain.errors import MalformedError
from gitchain.evidence.claim import claim_of
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPE, VSA
from gitchain.layout import parse_layout
from gitchain.verify.target import Target
from gitchain.verify.verified import VerifiedStatement
from gitchain.verify.vsa import summary, vsa_predicate
from tests.support.decision_input import NOW, PREPARED, DecisionInput, codes, model, verified
from tests.support.decision_variants import SUPPLIER, signed_layout, supplied, with_supplier
from tests.verify.test_vsa_steps import VERIFIER, vendored


def test_a_summary_says_what_was_verified_against_what_and_on_which_evidence() -> None:
    """Verifier, time, layout with its digest, every attestation, result; no SLSA level."""
    world = DecisionInput.honest()
    decision = world.verdict()
    made = summary(decision, VERIFIER)
    digest = sha256_hex(b"model 1")
    assert (made.predicate_type, claim_of(made).kind) == (VSA, "summary")
    assert [(one.name, dict(one.digest), one.media_type) for one in made.subject] == [
        ("models/model.pkl", {"sha256": digest}, None)
    ]
    ids = ["0" * 64, *(world.evidence[step.name].attestation_id for step in world.layout.steps)]
    assert made.predicate == {
        "verifier": {"id": VERIFIER, "version": {"gitchain": __version__}},
        "timeVerified": "2026-11-22T12:00:00Z",
        "resourceUri": f"pkg:generic/model.pkl?checksum=sha256:{digest}",
        "policy": {"uri": "gitchain:layout/credit-model@1", "digest": {"sha256": world.layout.digest}},
        "inputAttestations": [{"digest": {"sha256": one}} for one in ids],
        "verificationResult": "PASSED",
        "verifiedLevels": ["GITCHAIN_LAYOUT"],
        "slsaVersion": "1.2",
    }


def test_a_failed_decision_rests_on_the_layout_alone() -> None:
    """FAILED is said as plainly, and names no attestation as if it had helped."""
    predicate = vsa_predicate(DecisionInput.honest().verdict(model("other")), VERIFIER)
    assert (predicate["verificationResult"], predicate["verifiedLevels"]) == ("FAILED", ["FAILED"])
    assert predicate["inputAttestations"] == [{"digest": {"sha256": "0" * 64}}]


def test_a_directory_and_a_bare_digest_are_subjects_too() -> None:
    """A directory keeps its kind; what has no name is named by its digest, in the subject and in the resource."""
    world = DecisionInput.honest()
    whole = summary(world.verdict(Target(PREPARED.digest, "data/pre pared", directory=True)), VERIFIER)
    assert (whole.subject[0].name, whole.subject[0].media_type) == ("data/pre pared", MANIFEST_MEDIA_TYPE)
    assert whole.predicate["resourceUri"] == f"pkg:generic/pre%20pared?checksum=sha256:{PREPARED.digest}"
    digest = sha256_hex(b"model 1")
    bare = summary(world.verdict(Target(digest, None, None)), VERIFIER)
    assert (bare.subject[0].name, bare.subject[0].media_type) == (f"sha256:{digest}", None)
    assert bare.predicate["resourceUri"] == f"pkg:generic/artifact?checksum=sha256:{digest}"


def test_the_attestations_of_a_suppliers_chain_are_inputs() -> None:
    """A chain behind a step is part of what was verified."""
    layout = parse_layout(SUPPLIER.encode())
    world = DecisionInput.honest().change(with_supplier)
    del world.evidence["data"]
    behind = supplied()
    world.evidence |= {**behind, "layout": signed_layout(layout)}
    decision = world.verdict()
    assert decision.passed, decision.findings
    inputs = vsa_predicate(decision, VERIFIER)["inputAttestations"]
    assert isinstance(inputs, list)
    named = {one["digest"]["sha256"] for one in inputs}
    assert {one.attestation_id for one in behind.values()} <= named
    assert len(named) == len(inputs)


def test_the_verifier_is_a_uri() -> None:
    """A name that is no URI is not written down."""
    with pytest.raises(MalformedError):
        summary(DecisionInput.honest().verdict(), "me")


def test_our_own_summary_stands_for_the_chain_behind_it() -> None:
    """What the vendor decided about its data counts in the consumer's layout; FAILED, late or for other content never."""
    served = 'serve: [{step: train, products: ["models/*"]}]'
    vendor = DecisionInput.honest().change(
        lambda text: text.replace(served, 'serve: [{step: data, products: ["data/*"]}]')
    )

    def said(content: str) -> VerifiedStatement:
        decision = vendor.verdict(model(content, "data/raw.csv"))
        return verified(summary(decision, VERIFIER), "vendor", NOW)

    good, failed = said("raw"), said("other")
    assert vendored(good).verdict().passed
    assert ("NOT_PASSED", "data", "") in codes(vendored(failed).verdict())
    late = vendored(good, more="\n    maxAge: PT1H")
    late.now = NOW + timedelta(hours=1)
    assert late.verdict().passed
    late.now += timedelta(seconds=1)
    assert ("STALE", "data", "") in codes(late.verdict())

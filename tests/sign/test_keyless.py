"""Signing with the embedded instance, verified by unmodified sigstore-python."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from sigstore.models import Bundle, ClientTrustConfig
from sigstore.verify import Verifier, policy

from gitchain.evidence.digest import DigestSet
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.instance import Instance
from gitchain.sign import keyless
from gitchain.sign.keyless import Signer

ADA = "ada@example.com"


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance.create(tmp_path / "local")


def statement(number: int = 0) -> Statement:
    subject = ResourceDescriptor(f"file-{number}", DigestSet({"sha256": f"{number:064x}"}))
    return Statement.build((subject,), "https://example.com/predicate", {"number": number})


def verify(instance: Instance, raw: bytes, identity: str = ADA) -> bytes:
    root = ClientTrustConfig.from_json(instance.trust_config()).trusted_root
    accepted = policy.Identity(identity=identity, issuer=instance.issuer)
    return Verifier(trusted_root=root).verify_dsse(Bundle.from_json(raw), accepted)[1]


def certificate(raw: bytes) -> str:
    return str(json.loads(raw)["verificationMaterial"]["certificate"]["rawBytes"])


@pytest.mark.parametrize("identity", [ADA, "https://example.com/workload", "spiffe://example.com/trainer"])
def test_unmodified_verifier_accepts(instance: Instance, identity: str) -> None:
    """What is signed in-process verifies with the exported trust config and sigstore-python alone."""
    (raw,) = Signer(instance.signing_context(), instance.token(identity)).sign([statement()])
    assert verify(instance, raw, identity) == statement().payload


def test_batch_shares_one_certificate(instance: Instance) -> None:
    """A batch is signed with one certificate, and every bundle of it verifies."""
    bundles = Signer(instance.signing_context(), instance.token(ADA)).sign([statement(n) for n in range(5)])
    assert [verify(instance, raw) for raw in bundles] == [statement(n).payload for n in range(5)]
    assert len({certificate(raw) for raw in bundles}) == 1


def test_new_certificate_when_the_old_one_ends(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that would end before the next signature is replaced within the batch."""
    monkeypatch.setattr(keyless, "MARGIN", timedelta(days=1))
    with Signer(instance.signing_context(), lambda: instance.token(ADA)) as signer:
        first, second = signer.sign([statement(1), statement(2)])
    assert certificate(first) != certificate(second)
    assert verify(instance, second) == statement(2).payload

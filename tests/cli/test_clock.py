"""Verbs whose clock is behind what was signed: nothing from the future is shown or believed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Self

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gitchain.consume import history as module
from gitchain.consume.single_bundle import bundle_trust, verify_file, wanted_signer
from gitchain.errors import NoEvidenceError, SignatureError
from gitchain.evidence.cosignature import ED25519_COSIGNATURE, VerifierKey
from gitchain.produce.sign_and_store import project_profile
from gitchain.sources.gather import gather
from gitchain.store.git_ref import AttestationStore
from gitchain.verify.verified import NEVER
from gitchain.verify.witnesses import WitnessPolicy
from gitchain.workspace.project import open_project

Gitchain = Callable[..., Any]


@pytest.fixture
def attested(gitchain: Gitchain, tiny: Path) -> Path:
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny).code == 0
    return tiny


def test_verify_file_refuses_a_signature_from_the_future(
    gitchain: Gitchain, attested: Path, tmp_path: Path
) -> None:
    """`bundle verify`: the file is the right one, and the clock is an hour behind."""
    found = gitchain("log", "model.txt", "--json", cwd=attested).json["events"][0]
    store = AttestationStore.open(attested)
    bundle = tmp_path / "x.sigstore.json"
    for raw in store.all():
        bundle.write_bytes(raw)
        wanted = wanted_signer(found["signer"], found["issuer"], None)
        trust, now = bundle_trust(None, "local", staging=False), datetime.now(UTC)
        try:
            assert verify_file(bundle, str(attested / "model.txt"), wanted, trust, now).time <= now
        except SignatureError:
            continue  # of another artifact
        with pytest.raises(SignatureError, match="signed in the future"):
            verify_file(bundle, str(attested / "model.txt"), wanted, trust, now - timedelta(hours=1))
        return
    pytest.fail("no bundle about the model")


class Behind(datetime):
    """A clock that is an hour behind."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) - timedelta(hours=1)


def test_history_leaves_out_what_is_ahead_of_the_clock(
    attested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`log`: no event is shown before its time, and where nothing is left the answer is that nothing is known."""
    project = open_project(attested)
    assert module.history(project, str(attested / "model.txt"), None).events
    monkeypatch.setattr(module, "datetime", Behind)
    with pytest.raises(NoEvidenceError, match="nothing is attested"):
        module.history(project, str(attested / "model.txt"), None)


def test_evidence_without_the_quorum_counts_against_alone(attested: Path) -> None:
    """Under a witness policy that nothing satisfies each bundle is told as refused, and kept as negative evidence."""
    project = open_project(attested)
    trust = project_profile(project).trust
    raw = Ed25519PrivateKey.generate().public_key().public_bytes_raw()
    key = str(VerifierKey("w.example", ED25519_COSIGNATURE, raw))
    demanding = replace(trust, witnesses=WitnessPolicy.parse(f"witness w {key}\nquorum w\n".encode()))
    plain, strict = gather(project, trust), gather(project, demanding)
    found = strict.verified(strict.candidates)
    assert [one.statement for one in found] == [one.statement for one in plain.verified(plain.candidates)]
    assert {one.log.cosigned for one in found} == {NEVER}
    assert len(strict.refused) == len(found) > 0
    assert all("not enough witnesses" in one.reason for one in strict.refused)

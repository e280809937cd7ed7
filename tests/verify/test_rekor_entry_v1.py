"""Rekor v1 entries: an ECDSA log whose signed entry timestamp is the time, and whose index counts across shards."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from gitchain.errors import GitchainError, InclusionError
from gitchain.instance import Instance
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.trust import Trust
from tests.support.forged_bundles import ADA, Forge, b64, entry_of, raw
from tests.support.rekor_v1_bundles import LOG, v1_bundle
from tests.support.sigstore_oracle import trust_of


@pytest.fixture
def v1_trust(instance: Instance) -> Trust:
    root = json.loads(instance.trust_config())["trustedRoot"]
    root["tlogs"].append(LOG)
    return trust_of(json.dumps(root))


def test_a_v1_entry_verifies_with_its_own_time_and_index(forge: Forge, v1_trust: Trust) -> None:
    """The promise gives the time; the global index may differ from the shard's."""
    bundle = v1_bundle(forge)
    verified = verify_bundle(raw(bundle), v1_trust)
    assert verified.identity.subject == ADA
    assert verified.time == datetime.fromtimestamp(int(entry_of(bundle)["integratedTime"]), UTC)
    assert verified.log.index == 1000


def test_the_promise_binds_time_and_index(forge: Forge, v1_trust: Trust) -> None:
    """Neither can be changed, and without the promise there is no time at all."""
    for field in ("logIndex", "integratedTime"):
        bundle = v1_bundle(forge)
        entry_of(bundle)[field] = str(int(entry_of(bundle)[field]) - 1)
        with pytest.raises(InclusionError):
            verify_bundle(raw(bundle), v1_trust)
    bundle = v1_bundle(forge)
    del entry_of(bundle)["inclusionPromise"]
    with pytest.raises(InclusionError):
        verify_bundle(raw(bundle), v1_trust)


def test_the_earlier_of_promise_and_timestamp_is_the_time(forge: Forge, v1_trust: Trust) -> None:
    """With both, the earliest proven time counts; a timestamp over something else does not."""
    bundle = v1_bundle(forge)
    at = datetime.fromtimestamp(int(entry_of(bundle)["integratedTime"]) - 3600, UTC)
    foreign = forge.stamp(b"something else", at)
    bundle["verificationMaterial"]["timestampVerificationData"] = {
        "rfc3161Timestamps": [{"signedTimestamp": b64(foreign)}]
    }
    assert verify_bundle(raw(bundle), v1_trust).time > at


@pytest.mark.parametrize("changed", [{"origin": "rekor.other.com - 1"}, {"name": "rekor.other.com"}])
def test_l4_v1_origin_and_name_are_the_logs(forge: Forge, v1_trust: Trust, changed: dict[str, str]) -> None:
    """A v1 origin starts with the log's host."""
    with pytest.raises(InclusionError):
        verify_bundle(raw(v1_bundle(forge, **changed)), v1_trust)


def test_l2_holds_for_v1(forge: Forge, v1_trust: Trust) -> None:
    """A tree size that the log did not sign is refused."""
    bundle = v1_bundle(forge)
    entry_of(bundle)["inclusionProof"]["treeSize"] = "2"
    with pytest.raises(GitchainError):
        verify_bundle(raw(bundle), v1_trust)

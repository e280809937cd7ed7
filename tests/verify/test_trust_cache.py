"""What is remembered under a trust never turns a refusal into an acceptance, and never grows without end."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509

from gitchain.errors import GitchainError, InclusionError, SignatureError
from gitchain.instance import Instance
from gitchain.verify import certificate
from gitchain.verify import trust as module
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.trust import Trust, ValidityPeriod, VerificationCache
from tests.support.bundle_kinds import V1_HOST, V1_KEY, both_logs, craft
from tests.support.certificates import ROOT_KEY, certified, entry_of_root, intermediate, named, our_root
from tests.support.forged_bundles import Forge, entry_of, raw, resign, some_statement
from tests.support.sigstore_oracle import trust_of

MINUTE = timedelta(minutes=1)


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def warm(instance: Instance) -> Trust:
    return trust_of(instance.trust_config())


class OneCertificate(Forge):
    """A signer that keeps its certificate."""

    kept: Any = None

    def certificate(self) -> Any:
        self.kept = self.kept or super().certificate()
        return self.kept


def test_what_is_remembered_is_not_made_again(instance: Instance, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second bundle of one certificate builds no chain and checks no certificate timestamp again."""
    calls: list[str] = []
    for name in ("_build", "_check_stamp", "_read"):
        real = getattr(certificate, name)
        monkeypatch.setattr(
            certificate, name, lambda *given, name=name, real=real: (calls.append(name), real(*given))[1]
        )
    forge, trust = OneCertificate(instance), warm(instance)
    for number in range(3):
        verify_bundle(raw(forge.bundle(some_statement(f"m{number}").payload)), trust)
    assert sorted(calls) == ["_build", "_build", "_check_stamp", "_read"]


def test_the_same_certificate_at_another_time(instance: Instance) -> None:
    """A certificate that was good at one time is not good at another: before and after."""
    forge, trust = OneCertificate(instance), warm(instance)
    good = raw(forge.bundle())
    assert verify_bundle(good, trust)
    for minutes in (-2, 11):
        moment = now() + minutes * MINUTE
        other = forge.bundle(stamps=lambda signature, moment=moment: [forge.stamp(signature, moment)])  # type: ignore[misc]
        with pytest.raises(SignatureError, match="not valid at"):
            verify_bundle(raw(other), trust)
    assert verify_bundle(good, trust)


def builds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return what becomes the lengths of the authorities that chains are built to."""
    lengths: list[int] = []
    real = certificate._build
    monkeypatch.setattr(
        certificate, "_build", lambda above, *more: (lengths.append(len(above)), real(above, *more))[1]
    )
    return lengths


def test_a_known_issuer_spares_a_leaf_the_way_to_the_root(
    instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second certificate of one issuer is checked against that issuer, whose way to the root is known."""
    trust, lengths = warm(instance), builds(monkeypatch)
    for _ in range(3):
        verify_bundle(raw(Forge(instance).bundle()), trust)
    assert lengths == [2, 1, 1, 1]


def authority_trust(instance: Instance, *chain: Any) -> Trust:
    document = json.loads(instance.trust_config())["trustedRoot"]
    document["certificateAuthorities"] = [entry_of_root(now() - MINUTE, *chain)]
    return trust_of(json.dumps(document))


def test_the_issuer_of_one_is_not_the_issuer_of_all(instance: Instance, stranger: Instance) -> None:
    """A leaf of a stranger is refused after an honest one, and a second issuer of the authority is found."""
    root, start = our_root(), now()
    span = {"start": start - 9 * MINUTE, "end": start + 20 * MINUTE}
    ours, theirs = (intermediate(one, root, **span) for one in (instance, stranger))
    foreign = Forge(instance)
    foreign.certificate = Forge(stranger, key=foreign.key).certificate  # type: ignore[method-assign]
    trust = authority_trust(instance, ours, root)
    assert verify_bundle(raw(Forge(instance).bundle()), trust)
    with pytest.raises(SignatureError, match="no certificate authority"):
        verify_bundle(raw(craft(foreign)), trust)
    both = authority_trust(instance, ours, theirs, root)
    assert verify_bundle(raw(Forge(instance).bundle()), both)
    with pytest.raises(
        SignatureError, match="certificate timestamp"
    ):  # the chain is found, the CT log unknown
        verify_bundle(raw(craft(foreign)), both)


@pytest.mark.parametrize("where", ["root", "issuing"])
def test_constraints_on_names_hold_for_each_leaf(
    where: str, instance: Instance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under an authority that may certify some names only, every certificate gets a chain from the root down."""
    allowed = x509.NameConstraints([x509.DNSName("example.com")], None)
    above, below = (allowed if where == one else None for one in ("root", "issuing"))
    root = certified(named("a constrained root"), ROOT_KEY.public_key(), constraints=above)
    keys = instance.keys
    span: dict[str, Any] = {"start": now() - 9 * MINUTE, "end": now() + 20 * MINUTE}
    subject = keys.ca_certificate.subject
    issuing = certified(subject, keys.ca.public_key(), above=root, constraints=below, **span)
    trust, lengths = authority_trust(instance, issuing, root), builds(monkeypatch)
    for _ in range(3):
        assert verify_bundle(raw(Forge(instance).bundle()), trust)
    assert lengths == [2, 2, 2, 2]


@pytest.mark.parametrize("key", ["certificateAuthorities", "ctlogs", "tlogs"])
def test_windows_are_checked_each_time(instance: Instance, key: str) -> None:
    """A certificate and a checkpoint remembered from inside a window do not count outside of it."""
    forge, moment = OneCertificate(instance), now() + 2 * MINUTE
    root = json.loads(instance.trust_config())["trustedRoot"]
    valid = (root[key][0].get("publicKey") or root[key][0])["validFor"]
    valid["end"] = f"{moment:%Y-%m-%dT%H:%M:%SZ}"
    trust = trust_of(json.dumps(root))

    def at(time: datetime) -> bytes:
        return raw(forge.bundle(stamps=lambda signature: [forge.stamp(signature, time)]))

    assert verify_bundle(at(moment), trust)
    with pytest.raises((SignatureError, InclusionError), match="not in use"):
        verify_bundle(at(moment + timedelta(seconds=1)), trust)


def test_another_chain_is_found_for_another_time(instance: Instance) -> None:
    """Of two intermediates for one key each counts in its own time; the remembered chain is not the only one."""
    root, forge, start = our_root(), OneCertificate(instance), now()
    first = intermediate(instance, root, start=start - 9 * MINUTE, end=start + 3 * MINUTE)
    second = intermediate(instance, root, start=start + 4 * MINUTE, end=start + 20 * MINUTE)
    document = json.loads(instance.trust_config())["trustedRoot"]
    document["certificateAuthorities"] = [entry_of_root(start - MINUTE, first, second, root)]
    trust = trust_of(json.dumps(document))

    def at(minutes: float) -> bytes:
        return raw(forge.bundle(stamps=lambda signature: [forge.stamp(signature, start + minutes * MINUTE)]))

    assert verify_bundle(at(1), trust).time == start + MINUTE
    assert verify_bundle(at(5), trust).time == start + 5 * MINUTE
    with pytest.raises(SignatureError, match="not valid at"):
        verify_bundle(at(3.5), trust)
    assert verify_bundle(at(1), trust)


def test_the_same_checkpoint_for_another_log(instance: Instance) -> None:
    """A checkpoint that one log signed says nothing when an entry claims to be another log's."""
    forge, trust = Forge(instance), both_logs(instance)
    good = forge.bundle()
    assert verify_bundle(raw(good), trust)
    other = craft(forge, kind="dsse 0.0.1")
    entry_of(other)["inclusionProof"]["checkpoint"] = entry_of(good)["inclusionProof"]["checkpoint"]
    with pytest.raises(GitchainError):
        verify_bundle(raw(other), trust)
    posing = copy.deepcopy(good)
    entry_of(posing)["logId"] = entry_of(other)["logId"]
    with pytest.raises(InclusionError):
        verify_bundle(raw(posing), trust)


def test_a_log_with_another_host_or_key_is_another(instance: Instance, stranger: Instance) -> None:
    """What one trusted root says of a log id holds under no other."""
    bundle, trust = raw(Forge(instance).bundle()), warm(instance)
    assert verify_bundle(bundle, trust)
    other = replace(trust, logs=(replace(trust.logs[0], public_key=stranger.log.key_id),))
    shared = replace(trust.logs[0], host="log.example.com")
    for logs in ((shared,), other.logs):
        with pytest.raises(InclusionError):
            verify_bundle(bundle, replace(trust, logs=logs))


def test_a_checkpoint_with_another_signature_is_another(instance: Instance, stranger: Instance) -> None:
    """The whole text is what is remembered, not the part that is signed."""
    bundle, trust = Forge(instance).bundle(), warm(instance)
    assert verify_bundle(raw(bundle), trust)
    with pytest.raises(InclusionError, match="not signed by its log"):
        verify_bundle(raw(resign(bundle, stranger.keys.log)), trust)


def test_a_v2_checkpoint_is_no_v1_checkpoint(instance: Instance) -> None:
    """The rule for names differs between Rekor v1 and v2, and so does what is remembered."""
    forge, trust = Forge(instance), both_logs(instance)
    bundle = craft(forge, kind="dsse 0.0.1")
    assert verify_bundle(raw(bundle), trust)
    assert entry_of(bundle)["inclusionProof"]["checkpoint"]["envelope"].startswith(f"{V1_HOST} - ")
    posing = craft(forge)
    entry_of(posing)["inclusionProof"] = entry_of(bundle)["inclusionProof"]
    entry_of(posing)["logId"] = entry_of(bundle)["logId"]
    with pytest.raises(InclusionError, match="of another log"):
        verify_bundle(raw(posing), trust)
    assert V1_KEY.key_size == 256


def test_a_copy_of_a_trust_remembers_nothing(instance: Instance) -> None:
    """A trust with other values starts anew: what was verified under the old ones does not count."""
    bundle, trust = raw(Forge(instance).bundle()), warm(instance)
    assert verify_bundle(bundle, trust)
    assert len(trust.memory) > 0
    assert len(replace(trust).memory) == 0
    none = replace(trust.authorities[0], window=ValidityPeriod(now() + MINUTE, None))
    for other in (replace(trust, authorities=(none,)), replace(trust, ct_logs=())):
        with pytest.raises(SignatureError):
            verify_bundle(bundle, other)
    assert trust == replace(trust)


def test_refusals_are_not_remembered() -> None:
    """What raised is asked again; what was returned is not, even if it is nothing."""
    memory, asked = VerificationCache(), []

    def ask(answer: Any) -> Any:
        asked.append(answer)
        if isinstance(answer, Exception):
            raise answer
        return answer

    for answer in (ValueError(), ValueError(), None, 5):
        try:
            found = memory.once("kind", "key", lambda answer=answer: ask(answer))  # type: ignore[misc]
        except ValueError:
            continue
        assert found is None
    assert len(asked) == 3
    assert memory.once("other", "key", lambda: 7) == 7


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest that was not asked for goes first, and nothing else goes."""
    monkeypatch.setattr(module, "MAX_REMEMBERED", 3)
    memory, made = VerificationCache(), []
    for key in (1, 2, 3, 1, 4, 1, 2):
        memory.once("kind", key, lambda key=key: made.append(key))  # type: ignore[misc]
        assert len(memory) <= 3
    assert made == [1, 2, 3, 4, 2]

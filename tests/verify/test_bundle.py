"""Bundle verification: each check has a bundle that only it refuses, which sigstore-python often accepts."""

from __future__ import annotations

import copy
import json
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitchain.errors import GitchainError, InclusionError, LimitError, MalformedError, SignatureError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.merkle import leaf_hash, node_hash
from gitchain.instance import Instance
from gitchain.sign.keyless import KeylessSigner
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.trust import Trust
from gitchain.verify.verified import VerifiedArtifact
from tests.support.forged_bundles import ADA, Edit, Forge, b64, entry_of, raw, resign, some_statement
from tests.support.fuzzing import sized
from tests.support.sigstore_oracle import sigstore_accepts, trust_of


def changed_root(instance: Instance, change: Callable[[dict[str, Any]], object]) -> Trust:
    root = json.loads(instance.trust_config())["trustedRoot"]
    change(root)
    return trust_of(json.dumps(root))


def test_an_honest_bundle_proves_statement_identity_time_and_place(instance: Instance, trust: Trust) -> None:
    """What sigstore-python's own signer made verifies, and each fact comes from where it is proven."""
    statement = some_statement()
    with KeylessSigner(instance.signing_context(), instance.token(ADA)) as signer:
        (bundle,) = signer.sign([statement])
    verified = verify_bundle(bundle, trust)
    assert verified.statement == statement
    assert (verified.identity.issuer, verified.identity.subject) == (instance.issuer, ADA)
    assert abs(datetime.now(UTC) - verified.time) < timedelta(minutes=1)
    assert verified.log.origin == instance.origin
    assert verified.log.index == int(entry_of(json.loads(bundle))["logIndex"])
    assert (verified.attestation_id, verified.raw) == (statement.attestation_id, bundle)


def test_the_forge_makes_honest_bundles(forge: Forge, trust: Trust) -> None:
    """The tests' own bundles verify when nothing is changed: otherwise their refusals would prove nothing."""
    assert verify_bundle(raw(forge.bundle()), trust).identity.subject == ADA


def test_a_uri_is_an_identity(instance: Instance, trust: Trust) -> None:
    """Workloads have URIs as subjects."""
    who = "https://example.com/repo/.ci@refs/heads/main"
    assert verify_bundle(raw(Forge(instance, who).bundle()), trust).identity.subject == who


# Payload and statement -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/vnd.in-toto+json2", "Application/vnd.in-toto+json"]
)
def test_b1_the_payload_type_is_exact(forge: Forge, trust: Trust, kind: str) -> None:
    """A valid signature over another payload type is no attestation."""
    bundle = raw(forge.bundle(kind=kind))
    assert sigstore_accepts(bundle, trust)
    with pytest.raises(MalformedError):
        verify_bundle(bundle, trust)


GARBAGE = (
    b"",
    b"null",
    b"[]",
    b"{}",
    b"not json",
    b'{"_type":"https://in-toto.io/Statement/v1"}',
    some_statement().payload + b" {}",
    some_statement().payload.replace(b"Statement/v1", b"Statement/v0.2"),
    some_statement().payload.replace(b'"predicate":{}', b'"predicate":{},"predicate":{"a":1}'),
    some_statement().payload.replace(b'"predicate":{}', b'"predicate":{"a":NaN}'),
    some_statement().payload.replace(b'"model.pkl"', b'"../model.pkl"'),
    some_statement().payload.replace(b'"model.pkl"', b'"model.pkl\\ud800"'),
    b"\xef\xbb\xbf" + some_statement().payload,
)


@pytest.mark.parametrize("payload", GARBAGE, ids=range(len(GARBAGE)))
def test_b3_a_signature_over_garbage_is_no_statement(forge: Forge, trust: Trust, payload: bytes) -> None:
    """A payload that is not a strict statement is refused however well it is signed."""
    with pytest.raises((MalformedError, SignatureError)):
        verify_bundle(raw(forge.bundle(payload)), trust)


# Certificate --------------------------------------------------------------------------------------------------


def test_c3_a_certificate_says_what_it_is_for(instance: Instance, trust: Trust) -> None:
    """A certificate without key usage is for nothing."""
    edit: Edit = lambda found: [one for one in found if one.oid != x509.KeyUsage.oid]  # noqa: E731
    with pytest.raises(SignatureError):
        verify_bundle(raw(Forge(instance, extensions=edit).bundle()), trust)


# Time ------------------------------------------------------------------------------------------------------------


def test_t1_an_integrated_time_without_promise_is_ignored(forge: Forge, trust: Trust) -> None:
    """Time comes from the timestamp; a number that nobody signed says nothing."""
    bundle = forge.bundle()
    honest = verify_bundle(raw(bundle), trust)
    entry_of(bundle)["integratedTime"] = "1"
    assert verify_bundle(raw(bundle), trust).time == honest.time


def test_t1_only_verified_timestamps_count_and_the_earliest_wins(
    forge: Forge, stranger: Instance, trust: Trust
) -> None:
    """A stranger's earlier timestamp beside ours changes nothing; of two of ours the earlier is the time."""
    now = datetime.now(UTC).replace(microsecond=0)
    early, late = now + timedelta(seconds=10), now + timedelta(seconds=20)

    def stamps(signature: bytes) -> list[bytes]:
        foreign = Forge(stranger).stamp(signature, now)
        return [foreign, forge.stamp(signature, late), forge.stamp(signature, early)]

    assert verify_bundle(raw(forge.bundle(stamps=stamps)), trust).time == early


def test_t1_a_timestamp_over_something_else_is_none(forge: Forge, trust: Trust) -> None:
    """A timestamp over another signature proves no time for this one."""
    for stamps in (
        lambda _: [forge.stamp(b"other")],
        lambda _: [forge.stamp(b"other"), forge.stamp(b"another")],
    ):
        with pytest.raises(SignatureError):
            verify_bundle(raw(forge.bundle(stamps=stamps)), trust)


def ended(key: str) -> Callable[[dict[str, Any]], object]:
    def change(root: dict[str, Any]) -> None:
        for one in root[key]:
            valid = (one.get("publicKey") or one)["validFor"]
            start = datetime.fromisoformat(valid["start"])
            valid["end"] = (start + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")

    return change


@pytest.mark.parametrize(
    ("key", "error"),
    [("certificateAuthorities", SignatureError), ("ctlogs", SignatureError), ("tlogs", InclusionError)],
    ids=["t2", "t3", "l8"],
)
def test_t2_t3_l8_keys_whose_time_is_over_are_refused(
    instance: Instance, forge: Forge, key: str, error: type[Exception]
) -> None:
    """sigstore-python accepts keys after the end of their validity; we do not."""
    bundle, expired = raw(forge.bundle()), changed_root(instance, ended(key))
    assert sigstore_accepts(bundle, expired)
    with pytest.raises(error):
        verify_bundle(bundle, expired)


def test_t2_another_authority_in_its_window_does_not_help(
    instance: Instance, stranger: Instance, forge: Forge
) -> None:
    """Of two authorities, the one that issued the certificate has to be in its window."""
    other = json.loads(stranger.trust_config())["trustedRoot"]["certificateAuthorities"]

    def ours_ended(root: dict[str, Any]) -> None:
        ended("certificateAuthorities")(root)
        root["certificateAuthorities"] += other

    def theirs_ended(root: dict[str, Any]) -> None:
        copied = {"certificateAuthorities": copy.deepcopy(other)}
        ended("certificateAuthorities")(copied)
        root["certificateAuthorities"] += copied["certificateAuthorities"]

    bundle = raw(forge.bundle())
    assert sigstore_accepts(bundle, changed_root(instance, ours_ended))
    with pytest.raises(SignatureError):
        verify_bundle(bundle, changed_root(instance, ours_ended))
    assert verify_bundle(bundle, changed_root(instance, theirs_ended))


def test_t3_the_ct_log_is_found_by_its_own_id(instance: Instance, stranger: Instance, forge: Forge) -> None:
    """Another CT log in its window does not stand in for the one that signed."""

    def change(root: dict[str, Any]) -> None:
        ended("ctlogs")(root)
        root["ctlogs"] += json.loads(stranger.trust_config())["trustedRoot"]["ctlogs"]

    with pytest.raises(SignatureError):
        verify_bundle(raw(forge.bundle()), changed_root(instance, change))


# The log entry -----------------------------------------------------------------------------------------------------


def refused_by_us_alone(bundle: dict[str, Any], trust: Trust) -> None:
    assert sigstore_accepts(raw(bundle), trust)
    with pytest.raises(InclusionError):
        verify_bundle(raw(bundle), trust)


def test_l1_the_log_id_is_in_the_trusted_root(instance: Instance, forge: Forge, trust: Trust) -> None:
    """An unknown log id makes sigstore-python try every key it has."""
    unknown = b"\x07" * 32
    bundle = resign(forge.bundle(), instance.keys.log, key_id=unknown[:4])
    entry_of(bundle)["logId"]["keyId"] = b64(unknown)
    refused_by_us_alone(bundle, trust)


def test_l2_the_tree_size_is_the_signed_one(tmp_path: Any) -> None:
    """Entry 2 of a log of 3, shown as entry 1 of a log of 2: the path leads to the same root."""
    fresh = Instance.create(tmp_path / "fresh")
    forge = Forge(fresh)
    forge.bundle()
    bundle = forge.bundle(some_statement("second").payload)
    entry = entry_of(bundle)
    assert (entry["logIndex"], entry["inclusionProof"]["treeSize"]) == ("2", "3")
    entry["logIndex"] = entry["inclusionProof"]["logIndex"] = "1"
    entry["inclusionProof"]["treeSize"] = "2"
    refused_by_us_alone(bundle, trust_of(fresh.trust_config()))


def test_l3_the_log_signs_once(forge: Forge, trust: Trust) -> None:
    """A second line with the log's key id is refused: two readers could take different ones."""
    bundle = forge.bundle()
    place = entry_of(bundle)["inclusionProof"]["checkpoint"]
    place["envelope"] += place["envelope"].split("\n\n")[1]
    refused_by_us_alone(bundle, trust)


def test_l3_witness_lines_are_allowed(forge: Forge, trust: Trust) -> None:
    """Lines with other key ids are cosignatures and change nothing."""
    bundle = forge.bundle()
    place = entry_of(bundle)["inclusionProof"]["checkpoint"]
    place["envelope"] += f"\N{EM DASH} witness.example {b64(b'wxyz' + b'0' * 64)}\n"
    assert verify_bundle(raw(bundle), trust)


@pytest.mark.parametrize("part", ["origin", "name"])
def test_l4_origin_and_name_are_the_logs(instance: Instance, forge: Forge, trust: Trust, part: str) -> None:
    """A checkpoint that names another log is refused although the right key signed it."""
    bundle = resign(forge.bundle(), instance.keys.log, **{part: "log.example.com"})  # type: ignore[arg-type]
    refused_by_us_alone(bundle, trust)


def test_l5_the_checkpoint_is_signed_by_this_log(
    instance: Instance, stranger: Instance, forge: Forge
) -> None:
    """Another log's key of the same trusted root cannot sign for this log."""

    def change(root: dict[str, Any]) -> None:
        root["tlogs"] += json.loads(stranger.trust_config())["trustedRoot"]["tlogs"]

    refused_by_us_alone(resign(forge.bundle(), stranger.keys.log), changed_root(instance, change))


def test_l6_the_index_is_the_proven_one(forge: Forge, trust: Trust) -> None:
    """The entry's index is what users look up: it must be the one that the proof is about."""
    bundle = forge.bundle()
    entry_of(bundle)["logIndex"] = "0"
    refused_by_us_alone(bundle, trust)


def test_l7_the_body_is_canonical(forge: Forge, trust: Trust) -> None:
    """The same entry written with spaces has another leaf hash: one attestation would count as two."""
    bundle = forge.bundle(body=lambda body: json.dumps(json.loads(body), indent=1).encode())
    refused_by_us_alone(bundle, trust)


def root_of(body: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """Fold a path as RFC 9162 section 2.1.3.2 says, whatever the hashes are."""
    fn, sn, current = index, size - 1, leaf_hash(body)
    for sibling in path:
        if fn & 1 or fn == sn:
            current = node_hash(sibling, current)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            current = node_hash(current, sibling)
        fn, sn = fn >> 1, sn >> 1
    return current


def proven(forge: Forge) -> tuple[dict[str, Any], dict[str, Any]]:
    """A bundle whose entry has a path of at least one hash, and that proof."""
    forge.bundle()
    bundle = forge.bundle()
    proof = entry_of(bundle)["inclusionProof"]
    assert proof["hashes"]
    return bundle, proof


def test_l9_the_path_leads_to_the_root(forge: Forge, trust: Trust) -> None:
    """A path with another hash, one too few or one too many leads nowhere."""
    for change in (
        lambda hashes: [*hashes[:-1], b64(bytes(32))],
        lambda hashes: hashes[:-1],
        lambda hashes: [*hashes, b64(bytes(32))],
    ):
        bundle, proof = proven(forge)
        proof["hashes"] = change(proof["hashes"])
        with pytest.raises(InclusionError, match="inclusion proof"):
            verify_bundle(raw(bundle), trust)


def test_l10_the_root_is_the_one_that_the_log_signed(forge: Forge, trust: Trust) -> None:
    """A tree of one's own, in which the entry is, is not the log's."""
    bundle, proof = proven(forge)
    path = [bytes([number]) * 32 for number in range(len(proof["hashes"]))]
    body = b64decode(entry_of(bundle)["canonicalizedBody"])
    proof["hashes"] = [b64(one) for one in path]
    proof["rootHash"] = b64(root_of(body, int(proof["logIndex"]), int(proof["treeSize"]), path))
    with pytest.raises(InclusionError, match="another root than the log signed"):
        verify_bundle(raw(bundle), trust)


def test_a_proof_is_needed(forge: Forge, trust: Trust) -> None:
    """An entry without inclusion proof is not logged."""
    bundle = forge.bundle()
    del entry_of(bundle)["inclusionProof"]
    with pytest.raises((SignatureError, InclusionError, MalformedError)):
        verify_bundle(raw(bundle), trust)


# Binding and mangling ----------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[dict[str, Any], dict[str, Any]], object]] = {
    "payload": lambda one, two: one["dsseEnvelope"].update(payload=two["dsseEnvelope"]["payload"]),
    "signature": lambda one, two: one["dsseEnvelope"].update(signatures=two["dsseEnvelope"]["signatures"]),
    "envelope": lambda one, two: one.update(dsseEnvelope=two["dsseEnvelope"]),
    "certificate": lambda one, two: one["verificationMaterial"].update(
        certificate=two["verificationMaterial"]["certificate"]
    ),
    "entry": lambda one, two: one["verificationMaterial"].update(
        tlogEntries=two["verificationMaterial"]["tlogEntries"]
    ),
    "body": lambda one, two: entry_of(one).update(canonicalizedBody=entry_of(two)["canonicalizedBody"]),
    "proof": lambda one, two: entry_of(one).update(inclusionProof=entry_of(two)["inclusionProof"]),
    "timestamp": lambda one, two: one["verificationMaterial"].update(
        timestampVerificationData=two["verificationMaterial"]["timestampVerificationData"]
    ),
}


@pytest.mark.parametrize("swap", PARTS.values(), ids=PARTS)
def test_no_part_of_another_bundle_fits(
    instance: Instance, trust: Trust, swap: Callable[..., object]
) -> None:
    """Every part of a bundle is bound to the others: none can be taken from another valid bundle."""
    one = Forge(instance).bundle()
    two = Forge(instance, "eve@example.com").bundle(some_statement("other").payload)
    assert verify_bundle(raw(one), trust)
    assert verify_bundle(raw(two), trust)
    swap(one, two)
    with pytest.raises(GitchainError):
        verify_bundle(raw(one), trust)


def test_a_bundle_of_another_instance_is_refused(stranger: Instance, trust: Trust) -> None:
    """Trust is in one instance: another's honest bundle proves nothing here."""
    with pytest.raises(InclusionError):
        verify_bundle(raw(Forge(stranger).bundle()), trust)


@pytest.fixture(scope="session")
def golden(instance: Instance) -> bytes:
    return raw(Forge(instance).bundle())


@settings(
    deadline=None,
    max_examples=sized(150, 20_000),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_changed_byte_never_proves_anything_else(golden: bytes, trust: Trust, data: st.DataObject) -> None:
    """Any byte changed: refused by an error of ours, or the very same facts proven."""
    mangled = bytearray(golden)
    mangled[data.draw(st.integers(0, len(golden) - 1))] ^= data.draw(st.integers(1, 255))
    honest = verify_bundle(golden, trust)
    try:
        verified = verify_bundle(bytes(mangled), trust)
    except (MalformedError, SignatureError, InclusionError, LimitError):
        return
    assert replace(verified, raw=b"") == replace(honest, raw=b"")


def test_our_parser_stands_in_front(trust: Trust, golden: bytes) -> None:
    """Bundles that parsers could read differently never reach sigstore-python."""
    twice = golden.replace(b'"dsseEnvelope"', b'"dsseEnvelope": {}, "dsseEnvelope"', 1)
    for data in (b"", b"{}", twice, golden + b"{}", golden.replace(b"v0.3+json", b"v0.2+json")):
        with pytest.raises(MalformedError):
            verify_bundle(data, trust)
    assert Bundle.parse(golden).attestation_id == verify_bundle(golden, trust).attestation_id


def test_what_is_verified_can_be_kept_in_sets(forge: Forge, trust: Trust) -> None:
    """Its claims are a mapping, which has no hash: they are left out of it."""
    statement = verify_bundle(raw(forge.bundle()), trust)
    assert hash(statement) == hash(replace(statement, claims={"buildTrigger": "push"}))
    file = VerifiedArtifact(statement.identity, statement.time, statement.log, {"a": "b"})
    assert hash(file) == hash(replace(file, claims={}))

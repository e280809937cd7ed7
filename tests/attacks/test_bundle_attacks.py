"""Attacks on one bundle: its log entry, payload, signatures, keys and time, made with the keys of an instance.

Named after the attack catalogue and the advisories; README.md has the table.
"""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gitchain.errors import (
    ExitCode,
    GitchainError,
    InclusionError,
    LayoutError,
    LimitError,
    MalformedError,
    SignatureError,
)
from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.predicates import LAYOUT as LAYOUT_TYPE
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.instance import Instance
from gitchain.layout import Identity, parse_layout
from gitchain.verify.bundle import verify_artifact, verify_bundle
from gitchain.verify.layout import SignedLayout, verify_layout
from gitchain.verify.trust import Trust
from tests.support.decision_input import LAYOUT
from tests.support.forged_bundles import ADA, Forge, b64, entry_of, raw, resign, some_statement
from tests.support.removed_checks import goes_red, guarded, names

HONEST = parse_layout(LAYOUT.encode())
Bundle = dict[str, Any]


def refused(bundle: Bundle, trust: Trust, error: type[GitchainError] = GitchainError) -> None:
    with pytest.raises(error):
        verify_bundle(raw(bundle), trust)


# Layouts ---------------------------------------------------------------------------------------------------------


def layout_of(instance: Instance, trust: Trust, version: int = 1, **changed: Any) -> SignedLayout:
    layout = parse_layout(LAYOUT.replace("version: 1\n", f"version: {version}\n", 1).encode())
    subject = ResourceDescriptor(layout.name, DigestSet({"sha256": layout.digest}))
    signed = Statement.build([subject], LAYOUT_TYPE, layout.to_json())
    bundle = raw(Forge(instance, "owner@example.com").bundle(signed.payload))
    owner = Identity(instance.issuer, "owner@example.com")
    arguments = {"signers": [owner], "now": datetime.now(UTC), "minimum_version": 1, **changed}
    return verify_layout(bundle, trust, **arguments)


@guarded(("gitchain.verify.layout:verify_layout", "layout.version < minimum_version", "False"))
def test_a02_policy_rollback(instance: Instance, trust: Trust) -> None:
    """An old layout with the right signature is older than the one that was accepted before."""
    assert layout_of(instance, trust, 2, minimum_version=2)
    with pytest.raises(LayoutError) as caught:
        layout_of(instance, trust, 1, minimum_version=2)
    assert caught.value.exit_code is ExitCode.LAYOUT


@guarded(("gitchain.verify.layout:_check_time", "layout.expires <= now", "False"))
def test_a02_layout_expiry(instance: Instance, trust: Trust) -> None:
    """A layout that has expired decides nothing; the second of its expiry is too late."""
    assert layout_of(instance, trust, now=HONEST.expires - timedelta(seconds=1))
    with pytest.raises(LayoutError):
        layout_of(instance, trust, now=HONEST.expires)


@guarded(("gitchain.verify.layout:_check_signer", "not in signers", "in ()"))
def test_a02_layout_of_a_stranger(instance: Instance, trust: Trust) -> None:
    """A layout that nobody who may sign it has signed decides nothing; with nobody allowed, none does."""
    for signers in ([], [Identity(instance.issuer, "eve@example.com")], [Identity("https://x.example", ADA)]):
        with pytest.raises(LayoutError):
            layout_of(instance, trust, signers=signers)


# The log entry ---------------------------------------------------------------------------------------------------


@guarded(("gitchain.verify.rekor_entry:check_body", "if found != expected:", "if False:"))
def test_a08_foreign_log_entry(instance: Instance, trust: Trust) -> None:
    """A valid entry of the log, with its proof and checkpoint, that is about another signature."""
    one, two = Forge(instance).bundle(), Forge(instance).bundle(some_statement("other").payload)
    assert verify_bundle(raw(one), trust)
    one["verificationMaterial"]["tlogEntries"] = two["verificationMaterial"]["tlogEntries"]
    refused(one, trust, InclusionError)


@guarded(("gitchain.verify.rekor_entry:check_body", "if found != expected:", "if False:"))
def test_a08_entry_of_another_certificate(instance: Instance, trust: Trust) -> None:
    """The same key with a second certificate: the entry has to hold the certificate that is shown."""
    signer = Forge(instance)
    # The first certificate, as the second can begin to be valid only after the first bundle was logged.
    one, two = signer.bundle(), signer.bundle()
    two["verificationMaterial"]["certificate"] = one["verificationMaterial"]["certificate"]
    refused(two, trust, InclusionError)


@guarded(("gitchain.verify.log_inclusion:signed_checkpoint", '_verify(log, trust, signature.signature, note.body(), "checkpoint is not signed by its log")', "pass"))  # fmt: skip
def test_cve_2024_54140_unsigned_checkpoint(stranger: Instance, forge: Forge, trust: Trust) -> None:
    """A checkpoint over the right root that somebody else signed."""
    bundle = forge.bundle()
    assert verify_bundle(raw(bundle), trust)
    refused(resign(bundle, stranger.keys.log), trust, InclusionError)


@guarded(("gitchain.verify.log_inclusion:check_logged", "_check_root(proof, note)", "pass"),
         ("gitchain.verify.log_inclusion:check_logged", "_check_size(proof, note)", "pass"))  # fmt: skip
def test_a19_checkpoint_of_another_tree(instance: Instance, trust: Trust) -> None:
    """Proof and checkpoint are both honest and of two different trees: the log never said that it holds this."""
    one, two = Forge(instance).bundle(), Forge(instance).bundle(some_statement("other").payload)
    entry_of(one)["inclusionProof"]["checkpoint"] = entry_of(two)["inclusionProof"]["checkpoint"]
    refused(one, trust, InclusionError)


def test_cve_2026_49834_one_operator_counts_once(forge: Forge, trust: Trust) -> None:
    """The same entry, timestamp or signature twice does not count twice: it is refused."""
    honest = forge.bundle()
    twice = copy.deepcopy(honest)
    twice["verificationMaterial"]["tlogEntries"] *= 2
    refused(twice, trust, MalformedError)
    twice = copy.deepcopy(honest)
    twice["dsseEnvelope"]["signatures"] *= 2
    refused(twice, trust, MalformedError)
    repeated_timestamp(honest, trust)


@guarded(("gitchain.verify.timestamp:stamped_times", "len(set(stamps)) != len(stamps)", "False"))
def test_cve_2026_49834_repeated_timestamp(forge: Forge, trust: Trust) -> None:
    """One timestamp shown twice is no second opinion."""
    repeated_timestamp(forge.bundle(), trust)


def repeated_timestamp(bundle: Bundle, trust: Trust) -> None:
    stamps = bundle["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"]
    stamps.append(stamps[0])
    refused(bundle, trust, SignatureError)


# Signatures, keys and identities -----------------------------------------------------------------------------------


@guarded(("gitchain.evidence.dsse:Envelope.parse", "len(signatures) != 1", "False"))
def test_a15_extra_signature_no_effect(forge: Forge, trust: Trust) -> None:
    """A second, unverified signature in the envelope is refused, whoever made it and wherever it stands."""
    honest = forge.bundle()
    extra = {"sig": b64(b"\x30\x06\x02\x01\x01\x02\x01\x01"), "keyid": "bob@example.com"}
    after = copy.deepcopy(honest)
    after["dsseEnvelope"]["signatures"].append(extra)
    refused(after, trust, MalformedError)
    before = copy.deepcopy(honest)
    before["dsseEnvelope"]["signatures"].insert(0, extra)
    refused(before, trust, GitchainError)


def test_a15_key_id_is_a_hint(forge: Forge, trust: Trust) -> None:
    """The key id of a signature changes neither who signed nor which attestation it is."""
    bundle = forge.bundle()
    honest = verify_bundle(raw(bundle), trust)
    bundle["dsseEnvelope"]["signatures"][0]["keyid"] = "bob@example.com"
    found = verify_bundle(raw(bundle), trust)
    assert (found.identity, found.attestation_id) == (honest.identity, honest.attestation_id)


@guarded(("gitchain.verify.bundle:_signer", "for spki in keys[:MAX_KEYS]:",
          "for spki in [__import__('base64').b64decode(bundle.signer.hint)]:"))  # fmt: skip
def test_ghsa_fx35_key_from_bundle_never_trusted(instance: Instance, trust: Trust) -> None:
    """A bundle that brings the key it is signed with: nobody named that key, so nobody signed."""
    bundle, spki = key_bundle(Forge(instance))
    assert verify_bundle(raw(bundle), trust, [spki]).identity.subject.startswith("sha256:")
    refused(bundle, trust, SignatureError)
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    foreign = other.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(SignatureError):
        verify_bundle(raw(bundle), trust, [foreign])


def key_bundle(forge: Forge) -> tuple[Bundle, bytes]:
    """A bundle of a bare key, logged and timestamped, with the key as its own hint."""
    spki = forge.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def body(honest: bytes) -> bytes:
        value = json.loads(honest)
        verifier = value["spec"]["hashedRekordV002"]["signature"]["verifier"]
        del verifier["x509Certificate"]
        verifier["publicKey"] = {"rawBytes": b64(spki)}
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

    bundle = forge.bundle(body=body)
    del bundle["verificationMaterial"]["certificate"]
    bundle["verificationMaterial"]["publicKey"] = {"hint": b64(spki)}
    return bundle, spki


def test_a06_a_key_is_no_person(instance: Instance, trust: Trust) -> None:
    """What a key signed has an issuer that no certificate can have: a key never passes for an identity."""
    bundle, spki = key_bundle(Forge(instance))
    found = verify_bundle(raw(bundle), trust, [spki]).identity
    assert (found.issuer, found.subject) == ("gitchain:key", f"sha256:{sha256_hex(spki)}")
    from cryptography import x509

    from gitchain.verify.identity import ISSUER_V1

    forged = x509.Extension(ISSUER_V1, False, x509.UnrecognizedExtension(ISSUER_V1, b"gitchain:key"))

    def only(extensions: list[Any]) -> list[Any]:
        fulcio = "1.3.6.1.4.1.57264.1."
        return [one for one in extensions if not one.oid.dotted_string.startswith(fulcio)] + [forged]

    refused(Forge(instance, extensions=only).bundle(), trust, SignatureError)


@guarded(("gitchain.verify.bundle:_check_subjects", "if subjects_with(subjects, digests):", "if True:"))
def test_cve_2026_31830_subject_digest_mismatch(forge: Forge, trust: Trust) -> None:
    """A valid bundle about another file is no bundle about this one."""
    payload = Statement.build(
        [ResourceDescriptor("m", DigestSet({"sha256": sha256_hex(b"model")}))], "https://a.example/p", {}
    ).payload
    bundle = raw(forge.bundle(payload))
    assert verify_artifact(bundle, trust, {"sha256": hashlib.sha256(b"model").digest()})
    for content in (b"other", b""):
        with pytest.raises(SignatureError):
            verify_artifact(bundle, trust, {"sha256": hashlib.sha256(content).digest()})
    with pytest.raises(SignatureError):
        verify_artifact(bundle, trust, {})


# Payloads --------------------------------------------------------------------------------------------------------


@guarded(
    (
        "gitchain.evidence.bundle:Bundle.parse",
        "if bundle.envelope.payload_type != IN_TOTO_PAYLOAD_TYPE:",
        "if False:",
    )
)
def test_a14_payload_type_exact(forge: Forge, trust: Trust) -> None:
    """A signature over another payload type is about something else, though the bytes read as a statement."""
    for kind in ("application/json", "application/vnd.in-toto+json ", "Application/vnd.in-toto+json", "x"):
        refused(forge.bundle(kind=kind), trust, MalformedError)


STATEMENT = some_statement().payload


def garbage() -> Iterator[bytes]:
    """Yield more than two hundred payloads that are no statement, each a small step away from one."""
    yield from (b"", b" ", b"null", b"true", b"0", b"[]", b"{}", b'""', b"\x00", b"\xff" * 64, b"not json")
    yield from (STATEMENT[:size] for size in range(1, len(STATEMENT), 2))
    yield from (STATEMENT + tail for tail in (b"{}", b"\x00", b" x", STATEMENT, b"]", b","))
    yield from (head + STATEMENT for head in (b"\xef\xbb\xbf", b"[", b"\x00", b"{}", b")]}'\n"))
    yield STATEMENT.decode().encode("utf-16")
    yield STATEMENT.decode().encode("utf-32")
    value = json.loads(STATEMENT)
    for key in value:
        if key != "predicate":  # which may be left out, or null
            yield json.dumps({other: one for other, one in value.items() if other != key}).encode()
        wrong: Any
        for wrong in (None, 0, -1, True, [], [[]], {}, {"a": 1}, "", "x", [None], [0], ["a"], [{}]):
            if key != "predicate" or not isinstance(wrong, dict | None):
                yield json.dumps({**value, key: wrong}).encode()
        yield STATEMENT.replace(f'"{key}"'.encode(), f'"{key}":0,"{key}"'.encode(), 1)
        yield STATEMENT.replace(f'"{key}"'.encode(), f'"{key.upper()}"'.encode(), 1)
    for old, new in (
        (b"Statement/v1", b"Statement/v0.2"), (b"Statement/v1", b"Statement/v1/"), (b"https://in-toto", b"http://in-toto"),
        (b"0" * 64, b"0" * 63), (b"0" * 64, b"0" * 65), (b"0" * 64, b"G" + b"0" * 63), (b"0" * 64, b"A" * 64), (b"0" * 64, b""),
        (b'"model.pkl"', b'"../model.pkl"'), (b'"model.pkl"', b'"/model.pkl"'), (b'"model.pkl"', b'"a\\u0000b"'),
        (b'"model.pkl"', b'"a\\ud800"'), (b'"model.pkl"', b'"a\\\\b"'), (b'"model.pkl"', b'""'), (b'"model.pkl"', b'"a//b"'),
        (b'"predicate":{}', b'"predicate":{"a":NaN}'), (b'"predicate":{}', b'"predicate":{"a":1e999}'),
        (b'"predicate":{}', b'"predicate":{"a":Infinity}'), (b'"predicate":{}', b'"predicate":{"a":99999999999999999999}'),
        (b'"predicate":{}', b'"predicate":{"a":1,"a":2}'), (b'"predicate":{}', b'"predicate":' + b'{"a":' * 100 + b"1" + b"}" * 100),
        (b'"predicate":{}', b"'predicate':{}"), (b'"predicate":{}', b'"predicate":{},'), (b'"predicate":{}', b'"predicate":{/**/}'),
        (b"https://example.com/p/v1", b"p"), (b"https://example.com/p/v1", b"a: b"), (b"https://example.com/p/v1", b"a:\\u0007"),
    ):  # fmt: skip
        assert old in STATEMENT, old
        yield STATEMENT.replace(old, new, 1)


def test_cve_2026_39395_garbage_payload_signed(forge: Forge, trust: Trust) -> None:
    """More than two hundred malformed payloads, each signed, logged and timestamped: none is verified."""
    payloads = list(dict.fromkeys(garbage()))
    assert len(payloads) >= 200
    for payload in payloads:
        bundle = raw(forge.bundle(payload))
        with pytest.raises((MalformedError, SignatureError, LimitError)):
            verify_bundle(bundle, trust)


@guarded(
    ("gitchain.evidence.canonical:_pairs", "if len(found) != len(pairs):", "if False:"),
    ("gitchain.evidence.canonical:_constant", "raise MalformedError(", "return float(text) or str("),
)
def test_a14_strict_json(forge: Forge, trust: Trust) -> None:
    """What two parsers read differently is refused before anything is believed of it."""
    for predicate in (b'{"a":1,"a":2}', b'{"a":NaN}', b'{"a":{"b":1,"b":2}}'):
        payload = STATEMENT.replace(b'"predicate":{}', b'"predicate":' + predicate)
        refused(forge.bundle(payload), trust, MalformedError)


# Time ----------------------------------------------------------------------------------------------------------


@guarded(
    (
        "gitchain.verify.timestamp:_answers",
        "yield verifier.verify_message(stamp, signature)",
        "yield True",
    )
)
def test_a09_timestamp_of_something_else(forge: Forge, trust: Trust) -> None:
    """A timestamp over another signature proves no time for this one; nor does the certificate's own time."""
    refused(forge.bundle(stamps=lambda _: [forge.stamp(b"other")]), trust, SignatureError)


@guarded(("gitchain.verify.log_inclusion:promised_time", "if is_v2(entry):", "if False:"),
         ("gitchain.verify.log_inclusion:promised_time", '_verify(log, trust, entry.promise, promised, "promise is not signed by its log")', "pass"))  # fmt: skip
def test_a09_integrated_time_of_nobody(forge: Forge, trust: Trust) -> None:
    """An integrated time with somebody's promise does not date an entry of a log that gives none."""
    bundle = forge.bundle()
    entry_of(bundle)["integratedTime"] = str(int(datetime.now(UTC).timestamp()))
    entry_of(bundle)["inclusionPromise"] = {"signedEntryTimestamp": b64(b"\x30\x06\x02\x01\x01\x02\x01\x01")}
    refused(bundle, trust, InclusionError)


# Network ---------------------------------------------------------------------------------------------------------


def test_no_url_from_evidence(forge: Forge, trust: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names in evidence are never resolved and never connected to: verification opens no socket at all."""
    opened: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **_: opened.append(args))
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: opened.append(address))
    payload = STATEMENT.replace(
        b'"predicate":{}', b'"predicate":{"uri":"http://169.254.169.254/latest/meta-data"}'
    ).replace(b'"name":"model.pkl"', b'"name":"model.pkl","uri":"git+ssh://evil.example/x"')
    assert verify_bundle(raw(forge.bundle(payload)), trust)
    assert opened == []


@pytest.mark.parametrize("name", names(globals()))
def test_without_its_check_the_attack_succeeds(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attack's test goes red when the check that it names is taken out of the code."""
    goes_red(globals()[name], request, monkeypatch)


def test_bytes_that_are_verified_are_bytes_that_are_read(forge: Forge, trust: Trust) -> None:
    """The statement comes from the payload that the signature covers, byte for byte."""
    bundle = forge.bundle()
    found = verify_bundle(raw(bundle), trust)
    assert found.statement.payload == base64.b64decode(bundle["dsseEnvelope"]["payload"])

"""Every kind of bundle: formats, entry kinds, certificates and keys, envelopes and files. What fits and what does not."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gitchain.errors import GitchainError, InclusionError, MalformedError, SignatureError
from gitchain.instance import Instance
from gitchain.verify import bundle as module
from gitchain.verify.bundle import verify_artifact, verify_bundle
from gitchain.verify.keys import Key, load_log_key
from gitchain.verify.trust import Trust
from tests.support.bundle_kinds import PrivateKey, both_logs, craft, sign, spki, v1_entry
from tests.support.forged_bundles import ADA, Forge, b64, entry_of, raw, some_statement

FILE = b"some model"
DIGESTS = {name: hashlib.new(name, FILE).digest() for name in ("sha256", "sha384", "sha512")}
ENVELOPES = ("hashedrekord 0.0.2", "dsse 0.0.1", "intoto 0.0.2")
FILES = ("hashedrekord 0.0.2", "hashedrekord 0.0.1")


@cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


KEYS: dict[str, PrivateKey] = {
    "P-256": ec.derive_private_key(11, ec.SECP256R1()),
    "P-384": ec.derive_private_key(12, ec.SECP384R1()),
    "P-521": ec.derive_private_key(13, ec.SECP521R1()),
    "RSA-2048": rsa_key(2048),
    "Ed25519": ed25519.Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\x01"),
}


@pytest.fixture(scope="session")
def both(instance: Instance) -> Trust:
    return both_logs(instance)


@pytest.mark.parametrize("version", ["0.1", "0.2", "0.3"])
@pytest.mark.parametrize("kind", ENVELOPES)
def test_an_envelope_verifies_in_every_format_and_kind(
    forge: Forge, both: Trust, kind: str, version: str
) -> None:
    """A certificate's signature over a statement, in each format that can hold the entry."""
    bundle = craft(forge, kind=kind, version=version)
    if version == "0.1" and kind == "hashedrekord 0.0.2":
        with pytest.raises(MalformedError, match="promise"):
            verify_bundle(raw(bundle), both)
    else:
        assert verify_bundle(raw(bundle), both).identity.subject == ADA


@pytest.mark.parametrize("kind", FILES)
@pytest.mark.parametrize("named", [True, False])
def test_a_file_verifies_in_every_kind(forge: Forge, both: Trust, kind: str, *, named: bool) -> None:
    """A signature over a file, whether the bundle names its digest or not."""
    bundle = craft(forge, kind=kind, file=FILE)
    if not named:
        del bundle["messageSignature"]["messageDigest"]
    verified = verify_artifact(raw(bundle), both, DIGESTS)
    assert (verified.identity.subject, verified.claims) == (ADA, {"issuer": forge.instance.issuer})
    with pytest.raises(MalformedError):
        verify_bundle(raw(bundle), both)


def test_b5_another_file_is_refused(forge: Forge, both: Trust) -> None:
    """Neither another digest nor a signature over other bytes passes, nor a digest that cannot be compared."""
    other = {"sha256": hashlib.sha256(b"other").digest()}
    bundle = craft(forge, file=FILE)
    expected = f"another file, expected sha256:{other['sha256'].hex()}, got sha256:{DIGESTS['sha256'].hex()}"
    with pytest.raises(SignatureError, match=expected):
        verify_artifact(raw(bundle), both, other)
    with pytest.raises(SignatureError, match="cannot be compared, expected sha384, got sha256"):
        verify_artifact(raw(bundle), both, {"sha384": DIGESTS["sha384"]})
    del bundle["messageSignature"]["messageDigest"]
    with pytest.raises(SignatureError, match="does not verify"):
        verify_artifact(raw(bundle), both, other)
    with pytest.raises(SignatureError, match="cannot be checked"):
        verify_artifact(raw(bundle), both, {"sha384": DIGESTS["sha384"]})


def test_b6_a_statement_is_about_its_subjects(forge: Forge, both: Trust) -> None:
    """A file verifies by a statement that names its digest as a subject, any of them, and no other file does."""
    subject = {"sha256": bytes(32)}
    assert verify_artifact(raw(craft(forge)), both, subject).identity.subject == ADA
    with pytest.raises(SignatureError, match="other artifacts"):
        verify_artifact(raw(craft(forge)), both, DIGESTS)
    with pytest.raises(SignatureError, match="no digest to compare with, expected sha512, got sha256"):
        verify_artifact(raw(craft(forge)), both, {"sha512": bytes(64)})
    said = json.loads(some_statement().payload)
    said["subject"].append({"name": "another", "digest": {"sha256": "ab" * 32}})
    two = raw(craft(forge, payload=json.dumps(said).encode()))
    for digest in (bytes(32), b"\xab" * 32):
        assert verify_artifact(two, both, {"sha256": digest}).identity.subject == ADA


def test_an_older_statement_is_read_and_no_other_version(forge: Forge, both: Trust) -> None:
    """cosign writes in-toto Statement v0.1. Its subjects are compared, and it can be evidence for a step that selects."""
    payload = some_statement().payload.replace(b"Statement/v1", b"Statement/v0.1")
    bundle = raw(forge.bundle(payload))
    assert verify_artifact(bundle, both, {"sha256": bytes(32)}).identity.subject == ADA
    with pytest.raises(SignatureError, match="other artifacts"):
        verify_artifact(bundle, both, DIGESTS)
    assert verify_bundle(bundle, both).statement.is_old
    foreign = raw(forge.bundle(payload.replace(b"v0.1", b"v0.2")))
    with pytest.raises(MalformedError, match="not an in-toto statement"):
        verify_artifact(foreign, both, {"sha256": bytes(32)})
    other_kind = raw(forge.bundle(some_statement().payload, kind="text/plain"))
    with pytest.raises(MalformedError, match="payload is not"):
        verify_artifact(other_kind, both, {"sha256": bytes(32)})


# Keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ENVELOPES)
@pytest.mark.parametrize("name", KEYS)
def test_k1_a_named_key_signs(forge: Forge, both: Trust, name: str, kind: str) -> None:
    """A key that the verifier names is an identity of its own; the one in question is found among others."""
    key = KEYS[name]
    bundle = raw(craft(forge, kind=kind, key=key))
    others = [spki(other) for other in KEYS.values() if other is not key]
    if name == "Ed25519" and kind == "hashedrekord 0.0.2":
        with pytest.raises(InclusionError, match="this key signs none"):
            verify_bundle(bundle, both, [spki(key)])
        return
    verified = verify_bundle(bundle, both, [*others, spki(key)])
    assert (verified.identity.issuer, verified.claims) == ("gitchain:key", {})
    assert verified.identity.subject == f"sha256:{hashlib.sha256(spki(key)).hexdigest()}"
    for keys in ([], others):
        with pytest.raises(SignatureError, match="none that is accepted"):
            verify_bundle(bundle, both, keys)


@pytest.mark.parametrize("name", KEYS)
def test_k1_a_key_signs_a_file(forge: Forge, both: Trust, name: str) -> None:
    """Every kind of key but Ed25519, which has no digest to sign."""
    key = KEYS[name]
    bundle = raw(craft(forge, key=key, file=FILE))
    if name == "Ed25519":
        with pytest.raises(SignatureError, match="none that is accepted"):
            verify_artifact(bundle, both, DIGESTS, [spki(key)])
    else:
        assert verify_artifact(bundle, both, DIGESTS, [spki(key)]).identity.issuer == "gitchain:key"


def test_k1_a_key_does_not_stand_in_for_a_certificate(forge: Forge, both: Trust) -> None:
    """Keys count for bundles of keys alone: a certificate's signature by a named key is still the certificate's."""
    named = [forge.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)]
    assert verify_bundle(raw(craft(forge)), both, named).identity.subject == ADA


def test_k1_only_so_many_keys_are_tried(forge: Forge, both: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of keys is bounded."""
    monkeypatch.setattr(module, "MAX_KEYS", 1)
    keys = [spki(KEYS["P-384"]), spki(KEYS["P-256"])]
    with pytest.raises(SignatureError):
        verify_bundle(raw(craft(forge, key=KEYS["P-256"])), both, keys)
    assert verify_bundle(raw(craft(forge, key=KEYS["P-256"])), both, keys[1:])


def test_a_key_bundle_needs_a_proven_time_too(forge: Forge, both: Trust) -> None:
    """T1 holds for keys: without timestamp and promise there is no time."""
    bundle = raw(craft(forge, key=KEYS["P-256"], stamped=False))
    with pytest.raises(SignatureError, match="proves no time"):
        verify_bundle(bundle, both, [spki(KEYS["P-256"])])


def test_a_hint_of_any_kind_decides_nothing(forge: Forge, both: Trust) -> None:
    """The hint at a key may be missing, and may not be endless."""
    bundle = craft(forge, key=KEYS["P-256"])
    bundle["verificationMaterial"]["publicKey"] = {}
    assert verify_bundle(raw(bundle), both, [spki(KEYS["P-256"])])
    bundle["verificationMaterial"]["publicKey"] = {"hint": "x" * 2000}
    with pytest.raises(MalformedError, match="hint"):
        verify_bundle(raw(bundle), both, [spki(KEYS["P-256"])])


WEAK: dict[str, Callable[[], bytes]] = {
    "RSA-1024": lambda: spki(rsa.generate_private_key(65537, 1024)),
    "secp256k1": lambda: spki(ec.derive_private_key(5, ec.SECP256K1())),
    "no key": lambda: b"no key",
    "nothing": lambda: b"",
    "another form": lambda: KEYS["P-256"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "compressed": lambda: _compressed(spki(KEYS["P-256"])),
    "PKCS #1": lambda: rsa_key(2048).public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1),
}  # fmt: skip


def _compressed(key: bytes) -> bytes:
    """The same P-256 key with its point compressed: another SPKI, and so another name for one key."""
    x, y = key[27:59], key[59:]
    return b"\x30\x39" + key[2:23] + b"\x03\x22\x00" + bytes([2 + (y[-1] & 1)]) + x


@pytest.mark.parametrize("name", WEAK)
def test_weak_and_ambiguous_keys_are_none(name: str) -> None:
    """Small, odd and unreadable keys are refused, and so is a second spelling of a good one."""
    with pytest.raises(SignatureError):
        Key.load(WEAK[name]())


def test_a_key_is_read_from_one_pem() -> None:
    """PEM with anything but one public key is refused."""
    pem = KEYS["P-384"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert Key.from_pem(pem).spki == spki(KEYS["P-384"])
    for bad in (b"", b"x", pem + pem, pem.replace(b"PUBLIC", b"PRIVATE")):
        with pytest.raises(SignatureError):
            Key.from_pem(bad)


@pytest.mark.parametrize("name", KEYS)
def test_a_key_verifies_what_it_signed(name: str) -> None:
    """Over bytes, each key verifies its own signature and nothing else."""
    key = Key.load(spki(KEYS[name]))
    signature = sign(KEYS[name], FILE)
    key.verify(signature, FILE)
    for bad, data in ((signature, b"other"), (signature[:-1], FILE), (b"", FILE)):
        with pytest.raises(SignatureError):
            key.verify(bad, data)
    if name == "Ed25519":
        with pytest.raises(SignatureError, match="not digests"):
            key.verify_digest(signature, DIGESTS["sha256"])


def test_a_log_key_is_of_the_kind_that_the_root_says() -> None:
    """A key of another kind than its details say is not used; the oldest CT logs' PKCS #1 keys are."""
    p256 = spki(KEYS["P-256"])
    assert load_log_key(p256, "PKIX_ECDSA_P256_SHA_256").algorithm == "sha256"
    pkcs1 = rsa_key(2048).public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
    assert load_log_key(pkcs1, "PKCS1_RSA_PKCS1V5").details == "PKIX_RSA_PKCS1V15_2048_SHA256"
    for raw_key, details in (
        (p256, "PKIX_ECDSA_P384_SHA_384"),
        (p256, "PKCS1_RSA_PKCS1V5"),
        (pkcs1, "PKIX_RSA_PKCS1V15_4096_SHA256"),
        (b"no key", "PKIX_ED25519"),
    ):
        with pytest.raises(SignatureError):
            load_log_key(raw_key, details)


# The entry -------------------------------------------------------------------------------------------------------


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [leaf for key in value for leaf in _leaves(value[key], (*path, key))]
    if isinstance(value, list):
        return [leaf for index, item in enumerate(value) for leaf in _leaves(item, (*path, index))]
    return [path]


def _change(body: dict[str, Any], path: tuple[Any, ...], *, how: str) -> None:
    *outer, last = path
    place: Any = body
    for step in outer:
        place = place[step]
    if how == "drop":
        del place[last]
    elif how == "type":
        place[last] = 5
    elif how == "add":
        place["extra" if isinstance(place, dict) else 0] = None
    else:
        text = place[last]
        place[last] = ("A" if text[10:11] != "A" else "B").join((text[:10], text[11:]))


UNKNOWABLE = {("spec", "envelopeHash", "value"), ("spec", "content", "hash", "value")}
"""What Rekor v1 keeps of the upload, and nobody can know afterwards."""


@pytest.mark.parametrize("how", ["change", "drop", "type", "add"])
@pytest.mark.parametrize("kind", [*ENVELOPES, "hashedrekord 0.0.1"])
def test_l12_every_field_of_the_body_is_compared(forge: Forge, both: Trust, kind: str, how: str) -> None:
    """An entry that differs from the signature in any one field, or has one more, is about something else."""
    file = FILE if kind == "hashedrekord 0.0.1" else None
    paths: list[tuple[Any, ...]] = []
    craft(forge, kind=kind, file=file, edit=lambda body: paths.extend(_leaves(body)))
    for path in paths:
        bundle = raw(
            craft(forge, kind=kind, file=file, edit=lambda body, path=path: _change(body, path, how=how))  # type: ignore[misc]
        )
        if how == "change" and path in UNKNOWABLE:
            with pytest.raises(InclusionError):  # 'A' is no hex digit
                verify_artifact(bundle, both, {**DIGESTS, "sha256": bytes(32)})
            continue
        with pytest.raises(InclusionError, match="about another signature"):
            verify_artifact(bundle, both, DIGESTS if file else {"sha256": bytes(32)})


def test_the_hash_of_the_upload_may_be_any(forge: Forge, both: Trust) -> None:
    """What cannot be known afterwards does not decide: the digest of the envelope's JSON as it was uploaded."""
    for kind, path in (("dsse 0.0.1", ("envelopeHash",)), ("intoto 0.0.2", ("content", "hash"))):

        def edit(body: dict[str, Any], path: tuple[str, ...] = path) -> None:
            place = body["spec"]
            for key in path:
                place = place[key]
            place["value"] = "7" * 64

        assert verify_bundle(raw(craft(forge, kind=kind, edit=edit)), both)


def test_intoto_entries_may_hold_the_payload_and_other_line_ends(forge: Forge, both: Trust) -> None:
    """The old kind with its payload, the right one alone, and with a PEM in one line."""
    payload = some_statement().payload

    def holding(data: bytes) -> dict[str, Any]:
        def edit(body: dict[str, Any]) -> None:
            body["spec"]["content"]["envelope"]["payload"] = b64(b64(data).encode())

        return craft(forge, kind="intoto 0.0.2", edit=edit)

    def one_line(body: dict[str, Any]) -> None:
        one = body["spec"]["content"]["envelope"]["signatures"][0]
        head, text, tail = b64decode(one["publicKey"]).decode().strip().partition("\n")
        label = tail.rpartition("\n")[2]
        lines = head + text + tail.removesuffix(label).replace("\n", "") + "\n" + label + "\n"
        one["publicKey"] = b64(lines.encode())

    assert verify_bundle(raw(holding(payload)), both)
    assert verify_bundle(raw(craft(forge, kind="intoto 0.0.2", edit=one_line)), both)
    with pytest.raises(InclusionError, match="about another signature"):
        verify_bundle(raw(holding(b"other")), both)
    for odd in ("%%%", 5, b64(b"other")):

        def spoilt(body: dict[str, Any], odd: Any = odd) -> None:
            body["spec"]["content"]["envelope"]["signatures"][0]["publicKey"] = odd

        with pytest.raises(
            InclusionError, match=r"about another signature, in body\.spec\.content\.envelope\.signatures"
        ):
            verify_bundle(raw(craft(forge, kind="intoto 0.0.2", edit=spoilt)), both)


@pytest.mark.parametrize("kind", ["dsse 0.0.2", "rfc3161 0.0.1", "hashedrekord 0.0.1"])
def test_l12_other_kinds_of_entry_are_about_nothing(forge: Forge, both: Trust, kind: str) -> None:
    """A kind that is not known, or that cannot hold an envelope, is refused."""
    bundle = craft(forge, kind="dsse 0.0.1")
    word, version = kind.split()
    entry_of(bundle)["kindVersion"] = {"kind": word, "version": version}
    with pytest.raises(InclusionError, match="of a kind"):
        verify_bundle(raw(bundle), both)


def test_l12_a_body_that_is_no_json_is_about_nothing(forge: Forge, both: Trust) -> None:
    """Whatever a log holds: an entry that cannot be read proves nothing."""
    for kind in ("dsse 0.0.1", "intoto 0.0.2"):
        for body in (
            b"no json",
            b"[]",
            b'{"spec": {"content": {"envelope": {"signatures": 5}}}}',
            b'{"a":1,"a":2}',
        ):
            bundle = craft(forge, kind=kind)
            bundle["verificationMaterial"]["tlogEntries"] = [v1_entry(kind, body)]
            with pytest.raises(InclusionError):
                verify_bundle(raw(bundle), both)


# Promises --------------------------------------------------------------------------------------------------------


def test_l11_an_entry_of_rekor_v2_has_no_promise(forge: Forge, both: Trust) -> None:
    """A promise where there are none is not looked away from."""
    bundle = craft(forge)
    entry_of(bundle)["inclusionPromise"] = {"signedEntryTimestamp": b64(b"promise")}
    with pytest.raises(InclusionError, match="has no promise"):
        verify_bundle(raw(bundle), both)


def test_l11_an_entry_of_rekor_v1_has_one(forge: Forge, both: Trust) -> None:
    """Without it nothing authenticates the index, whatever timestamps there are; nor with an impossible time."""
    for change in ({"inclusionPromise": None}, {"integratedTime": "0"}, {"integratedTime": "253402300800"}):
        bundle = craft(forge, kind="dsse 0.0.1")
        entry_of(bundle).update(change)
        with pytest.raises(InclusionError, match="no promise with a time"):
            verify_bundle(raw(bundle), both)


def test_l11_the_promise_is_the_logs(forge: Forge, both: Trust) -> None:
    """Another log's promise, a cut one, or one over another body is none."""
    other = entry_of(craft(forge, kind="dsse 0.0.1"))["inclusionPromise"]
    for promise in (other, {"signedEntryTimestamp": "AAAA"}):
        bundle = craft(forge, kind="dsse 0.0.1")
        entry_of(bundle)["inclusionPromise"] = promise
        with pytest.raises(InclusionError, match="promise is not signed"):
            verify_bundle(raw(bundle), both)


def test_the_last_second_of_time_is_a_time(forge: Forge, both: Trust) -> None:
    """The latest time that can be written is read: the certificate was not valid then."""
    bundle = craft(forge, kind="dsse 0.0.1", stamped=False)
    body = b64decode(entry_of(bundle)["canonicalizedBody"])
    bundle["verificationMaterial"]["tlogEntries"] = [v1_entry("dsse 0.0.1", body, time=253402300799)]
    with pytest.raises(SignatureError):
        verify_bundle(raw(bundle), both)


def test_parts_of_key_bundles_do_not_fit_each_other(forge: Forge, both: Trust) -> None:
    """Entry, envelope and timestamp of two bundles by one key cannot be mixed."""
    key, accepted = KEYS["P-256"], [spki(KEYS["P-256"])]
    for kind in ("hashedrekord 0.0.2", "dsse 0.0.1"):
        for part in ("tlogEntries", "timestampVerificationData"):
            one, two = (
                craft(forge, kind=kind, key=key, payload=some_statement(name).payload) for name in "ab"
            )
            one["verificationMaterial"][part] = two["verificationMaterial"][part]
            if part == "timestampVerificationData" and kind == "dsse 0.0.1":
                assert verify_bundle(raw(one), both, accepted)  # the promise is the time
                continue
            with pytest.raises(GitchainError):
                verify_bundle(raw(one), both, accepted)

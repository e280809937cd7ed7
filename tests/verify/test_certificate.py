"""Certificates and timestamps: who may have issued them, when, and what a CT log must have seen."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import methodcaller
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from gitchain.errors import InclusionError, SignatureError
from gitchain.instance import Instance
from gitchain.instance.keys import key_usage
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.trust import Trust
from tests.support.bundle_kinds import both_logs, craft
from tests.support.certificates import (
    ROOT_KEY,
    SctForge,
    certified,
    entry_of_root,
    intermediate,
    named,
    our_root,
    sct,
    stamp,
)
from tests.support.forged_bundles import ADA, Edit, Forge, b64, raw
from tests.support.sigstore_oracle import trust_of

MINUTE = timedelta(minutes=1)


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def refused(bundle: dict[str, Any], trust: Trust, reason: str) -> None:
    with pytest.raises(SignatureError, match=reason):
        verify_bundle(raw(bundle), trust)


def root_with(instance: Instance, change: Callable[[dict[str, Any]], object]) -> Trust:
    root = json.loads(instance.trust_config())["trustedRoot"]
    change(root)
    return trust_of(json.dumps(root))


# C1 and T4: the chain and every time ------------------------------------------------------------------------------


def test_c1_every_proven_time_lies_in_the_certificate(forge: Forge, instance: Instance) -> None:
    """Of two proven times, one in the certificate's ten minutes does not make up for one outside."""
    both = both_logs(instance)
    late = now() + 11 * MINUTE
    refused(forge.bundle(stamps=lambda signature: [forge.stamp(signature, late)]), both, "not valid at")
    refused(
        forge.bundle(stamps=lambda signature: [forge.stamp(signature), forge.stamp(signature, late)]),
        both,
        "not valid at",
    )
    bundle = craft(forge, kind="dsse 0.0.1")
    signature = _signature(bundle)
    stamps = [{"signedTimestamp": b64(forge.stamp(signature, late))}]
    bundle["verificationMaterial"]["timestampVerificationData"] = {"rfc3161Timestamps": stamps}
    refused(bundle, both, "not valid at")


def _signature(bundle: dict[str, Any]) -> bytes:
    return b64decode(bundle["dsseEnvelope"]["signatures"][0]["sig"])


def test_c1_another_authority_of_the_same_name_is_none(
    forge: Forge, instance: Instance, trust: Trust
) -> None:
    """A certificate with the right issuer's name and the wrong key's signature leads nowhere."""
    impostor = Forge(instance, key=forge.key)
    other = ec.derive_private_key(99, ec.SECP256R1())
    keys = instance.keys

    class Impostor:
        ca, ct, ca_certificate, tsa, tsa_certificate = (
            other,
            keys.ct,
            keys.ca_certificate,
            keys.tsa,
            keys.tsa_certificate,
        )

    class Posing:
        info, keys, log = instance.info, Impostor, instance.log

    impostor.instance = Posing  # type: ignore[assignment]
    refused(craft(impostor), trust, "no certificate authority in use issued")


@pytest.mark.parametrize(("start", "end"), [(-5, 15), (-10, -1), (2, 15)], ids=["in", "ended", "not begun"])
def test_c1_intermediates_are_valid_at_the_proven_time(
    forge: Forge, instance: Instance, start: int, end: int
) -> None:
    """The validity of the intermediate counts as that of the leaf does, before, in and after."""
    root = our_root()
    issuing = intermediate(instance, root, start=now() + start * MINUTE, end=now() + end * MINUTE)
    authority = entry_of_root(now() - MINUTE, issuing, root)
    trust = root_with(instance, lambda one: one.update(certificateAuthorities=[authority]))
    if start < 0 < end:
        assert verify_bundle(raw(forge.bundle()), trust).identity.subject == ADA
    else:
        refused(forge.bundle(), trust, "not valid at")


def test_c1_an_authority_that_is_a_root_alone(forge: Forge, instance: Instance) -> None:
    """A trusted root may name the issuing certificate alone: then it is what is trusted."""
    issuing = instance.keys.ca_certificate
    trust = root_with(
        instance, lambda one: one.update(certificateAuthorities=[entry_of_root(now() - MINUTE, issuing)])
    )
    assert verify_bundle(raw(forge.bundle()), trust)


# C2 and T3: certificate timestamps -----------------------------------------------------------------------------------


def scts(instance: Instance, **more: Any) -> Any:
    return sct(instance.keys.ct, instance.keys.ca.public_key(), **more)


def test_c2_an_sct_with_extensions_verifies(instance: Instance, trust: Trust) -> None:
    """Static CT logs put the index into the extensions, which are signed."""
    signer = SctForge(instance, scts=[scts(instance, extensions=b"\x00\x00\x05\x00\x00\x00\x00\x07")])
    assert verify_bundle(raw(signer.bundle()), trust)


def test_c2_one_of_several_scts_is_enough(instance: Instance, stranger: Instance, trust: Trust) -> None:
    """Unknown logs' and broken ones do no harm beside one that verifies, wherever it stands."""
    foreign = sct(stranger.keys.ct, instance.keys.ca.public_key())
    several = [foreign, scts(instance, spoil=True), scts(instance)]
    for order in (several, several[::-1]):
        assert verify_bundle(raw(SctForge(instance, scts=order).bundle()), trust)


def test_c2_an_sct_of_a_known_log_is_needed(instance: Instance, stranger: Instance, trust: Trust) -> None:
    """None, another log's, one over another certificate, one for another issuer, one with another hash: refused."""
    issuer = instance.keys.ca.public_key()
    known = trust.ct_logs[0].log_id
    cases = {
        "carries no certificate timestamp": [],
        "of an unknown log": [sct(stranger.keys.ct, issuer)],
        "does not verify": [scts(instance, spoil=True)],
        "timestamp verifies": [sct(stranger.keys.ct, issuer, log_id=known)],
        "no certificate timestamp verifies": [sct(instance.keys.ct, stranger.keys.ca.public_key())],
        "another digest": [scts(instance, digest=5)],
        "cannot be read, got year": [scts(instance, moment=2**62)],
        "cannot be read, got Invalid": [scts(instance, digest=9)],
    }
    for reason, made in cases.items():
        refused(SctForge(instance, scts=made).bundle(), trust, reason)


def test_c2_only_so_many_scts_are_tried(instance: Instance, stranger: Instance, trust: Trust) -> None:
    """The seventeenth is not looked at."""
    foreign = sct(stranger.keys.ct, instance.keys.ca.public_key())
    assert verify_bundle(raw(SctForge(instance, scts=[*[foreign] * 15, scts(instance)]).bundle()), trust)
    refused(SctForge(instance, scts=[*[foreign] * 16, scts(instance)]).bundle(), trust, "of an unknown log")


def test_c2_a_ct_log_of_another_kind_is_not_believed(instance: Instance, forge: Forge) -> None:
    """A CT log's key has to be of the kind that the trusted root says, with SHA-256."""

    def change(root: dict[str, Any]) -> None:
        root["ctlogs"][0]["publicKey"]["keyDetails"] = "PKIX_ECDSA_P384_SHA_384"

    refused(forge.bundle(), root_with(instance, change), "log key is of another kind")


def test_t2_the_windows_that_the_time_missed_are_told(forge: Forge, instance: Instance) -> None:
    """Of each authority, so that the reader sees which one is meant."""

    def ended(root: dict[str, Any]) -> None:
        root["certificateAuthorities"] *= 2
        for one in root["certificateAuthorities"]:
            one["validFor"] = {"start": "2020-01-01T00:00:00Z", "end": "2021-01-01T00:00:00Z"}

    trust = root_with(instance, ended)
    with pytest.raises(SignatureError, match="authority was not in use") as told:
        verify_bundle(raw(forge.bundle()), trust)
    assert told.value.expected == "; ".join(str(one.window) for one in trust.authorities)


def test_t3_of_two_scts_one_log_has_to_be_in_use(
    instance: Instance, stranger: Instance, forge: Forge
) -> None:
    """A log whose time is over does not count, beside one in use it does no harm."""

    def ended(root: dict[str, Any]) -> None:
        valid = root["ctlogs"][0]["publicKey"]["validFor"]
        valid["end"] = valid["start"]

    def two(root: dict[str, Any]) -> None:
        ended(root)
        root["ctlogs"] += json.loads(stranger.trust_config())["trustedRoot"]["ctlogs"]

    refused(forge.bundle(), root_with(instance, ended), "CT log was not in use")
    second = sct(stranger.keys.ct, instance.keys.ca.public_key())
    signer = SctForge(instance, scts=[scts(instance), second])
    assert verify_bundle(raw(signer.bundle()), root_with(instance, two))
    refused(signer.bundle(), root_with(instance, ended), "CT log was not in use")


# C3 and C4: what the certificate is for ----------------------------------------------------------------------------


def usage(**more: bool) -> x509.KeyUsage:
    plain = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign",
         "crl_sign", "encipher_only", "decipher_only", "digital_signature"), False,
    )  # fmt: skip
    return x509.KeyUsage(**(plain | more))


def instead(kind: type[Any], value: x509.ExtensionType | None) -> Edit:
    fresh = [] if value is None else [x509.Extension(value.oid, True, value)]
    return lambda found: [one for one in found if one.oid != kind.oid] + fresh


EKU = x509.ExtendedKeyUsage
PURPOSES: dict[str, tuple[Edit, str]] = {
    "no key usage": (instead(x509.KeyUsage, None), "does not state its key usage"),
    "no extended key usage": (instead(EKU, None), "does not state its key usage"),
    "another use": (instead(x509.KeyUsage, usage(content_commitment=True)), "not for signing"),
    "certificates": (instead(x509.KeyUsage, key_usage(certificates=True)), "not for signing"),
    "certificates too": (
        instead(x509.KeyUsage, usage(digital_signature=True, key_cert_sign=True)),
        "not for signing",
    ),
    "servers": (instead(EKU, EKU([ExtendedKeyUsageOID.SERVER_AUTH])), "not for signing code"),
}


@pytest.mark.parametrize("name", PURPOSES)
def test_c3_the_certificate_is_for_signing_code(instance: Instance, trust: Trust, name: str) -> None:
    """Whatever else the authority certifies, it does not sign attestations."""
    edit, reason = PURPOSES[name]
    refused(Forge(instance, extensions=edit).bundle(), trust, reason)


def test_a_certificate_has_a_key_that_is_accepted(instance: Instance, trust: Trust) -> None:
    """A certified key is of an accepted kind, as a named one is."""
    weak = Forge(instance, key=ec.derive_private_key(9, ec.SECP256K1()))
    refused(craft(weak), trust, "kind that is not accepted")


def test_a_certified_p384_key_signs_with_sha384(instance: Instance, trust: Trust) -> None:
    """The digest goes with the key, in signature and entry."""
    strong = Forge(instance, key=ec.derive_private_key(9, ec.SECP384R1()))
    assert verify_bundle(raw(craft(strong)), trust).identity.subject == ADA


def test_a_certificate_that_cannot_be_read_is_refused(forge: Forge, trust: Trust) -> None:
    """Bytes that are no certificate, and every prefix of one, are a signature error."""
    bundle = craft(forge)
    place = bundle["verificationMaterial"]["certificate"]
    good = forge.certificate().public_bytes(Encoding.DER)
    for bad in (b"no certificate", good[:-1], good + b"\0", *(good[:cut] for cut in range(1, len(good), 40))):
        place["rawBytes"] = b64(bad)
        refused(bundle, trust, "cannot be read")


def test_c4_a_bundle_carries_no_root(forge: Forge, instance: Instance) -> None:
    """An intermediate beside the leaf is allowed and never used; a root or what cannot be read is refused."""
    trust, keys = both_logs(instance), instance.keys

    def with_others(*others: bytes) -> dict[str, Any]:
        bundle = craft(forge, kind="dsse 0.0.1", version="0.2")
        chain = bundle["verificationMaterial"]["x509CertificateChain"]["certificates"]
        chain += [{"rawBytes": b64(one)} for one in others]
        return bundle

    issuing, root = (one.public_bytes(Encoding.DER) for one in (keys.ca_certificate, keys.root_certificate))
    assert verify_bundle(raw(with_others(issuing)), trust)
    refused(with_others(issuing, root), trust, "root certificate")
    refused(with_others(b"junk"), trust, "cannot be read")


def test_c4_certificates_of_the_bundle_build_no_chain(forge: Forge, instance: Instance) -> None:
    """Where the trusted root lacks the intermediate, the bundle cannot bring it."""
    root = our_root()
    issuing = intermediate(instance, root, start=now() - MINUTE, end=now() + 20 * MINUTE)
    authority = entry_of_root(now() - MINUTE, root)
    trust = both_logs(instance, lambda one: one.update(certificateAuthorities=[authority]))
    bundle = craft(forge, kind="dsse 0.0.1", version="0.2")
    chain = bundle["verificationMaterial"]["x509CertificateChain"]["certificates"]
    chain.append({"rawBytes": b64(issuing.public_bytes(Encoding.DER))})
    refused(bundle, trust, "no certificate authority in use issued")


# T4 and T5: timestamps -----------------------------------------------------------------------------------------------


def test_t4_both_ends_of_an_authoritys_window_are_inside(forge: Forge, instance: Instance) -> None:
    """A timestamp in the first or the last second of the window counts, one second outside does not."""
    moment = now() + MINUTE
    bundle = forge.bundle(stamps=lambda signature: [forge.stamp(signature, moment)])
    for start, end, verifies in ((0, 0, True), (0, 1, True), (1, 1, False), (-1, -1, False), (-1, 0, True)):
        window = [f"{moment + timedelta(seconds=at):%Y-%m-%dT%H:%M:%SZ}" for at in (start, end)]

        def change(root: dict[str, Any], window: list[str] = window) -> None:
            root["timestampAuthorities"][0]["validFor"] = {"start": window[0], "end": window[1]}

        trust = root_with(instance, change)
        if verifies:
            assert verify_bundle(raw(bundle), trust).time == moment
        else:
            refused(bundle, trust, "proves no time")


@pytest.mark.parametrize("who", ["leaf", "root"])
@pytest.mark.parametrize("offset", [-1, 0, 1])
def test_t4_every_certificate_of_the_authority_is_valid_then(
    forge: Forge, instance: Instance, who: str, offset: int
) -> None:
    """Leaf and root of a timestamp authority have to be valid at its time: before, in and after."""
    moment, key = now() + MINUTE, ec.derive_private_key(31, ec.SECP256R1())
    span: dict[str, Any] = {
        "start": moment + (offset * 60 - 30) * MINUTE,
        "end": moment + (offset * 60 + 30) * MINUTE,
    }
    root = certified(named("stamps"), ROOT_KEY.public_key(), **(span if who == "root" else {}))
    leaf = certified(
        named("leaf"), key.public_key(), above=root, stamping=True, **(span if who == "leaf" else {})
    )
    authority = entry_of_root(now() - MINUTE, leaf, root)
    trust = root_with(instance, lambda one: one.update(timestampAuthorities=[authority]))
    bundle = forge.bundle(stamps=lambda signature: [stamp(key, leaf, signature, moment)])
    if offset == 0:
        assert verify_bundle(raw(bundle), trust).time == moment
    else:
        refused(bundle, trust, "proves no time")


def test_t4_an_authoritys_chain_holds_together(forge: Forge, instance: Instance) -> None:
    """Leaf alone, leaf under a foreign root, or a chain with a gap: nothing of that authority counts."""
    key = ec.derive_private_key(31, ec.SECP256R1())
    root = certified(named("stamps"), ROOT_KEY.public_key())
    middle = certified(named("middle"), ROOT_KEY.public_key(), above=root)
    leaf = certified(named("leaf"), key.public_key(), above=middle, stamping=True)
    foreign = instance.keys.root_certificate

    def bundle() -> dict[str, Any]:
        return forge.bundle(stamps=lambda signature: [stamp(key, leaf, signature, now())])

    for chain, verifies in (
        ((leaf, middle, root), True),
        ((leaf,), False),
        ((leaf, root), False),
        ((leaf, middle, foreign), False),
        ((leaf, middle, middle, root), False),
    ):
        authority = entry_of_root(now() - MINUTE, *chain)
        trust = root_with(instance, methodcaller("update", timestampAuthorities=[authority]))
        if verifies:
            assert verify_bundle(raw(bundle()), trust)
        else:
            refused(bundle(), trust, "proves no time")


def test_t4_an_authority_is_more_than_one_certificate(forge: Forge, instance: Instance) -> None:
    """A timestamping certificate that vouches for itself alone is no authority."""
    alone = certified(named("alone"), ROOT_KEY.public_key(), stamping=True)
    authority = entry_of_root(now() - MINUTE, alone)
    trust = root_with(instance, lambda one: one.update(timestampAuthorities=[authority]))
    bundle = forge.bundle(stamps=lambda signature: [stamp(ROOT_KEY, alone, signature, now())])
    refused(bundle, trust, "proves no time")


def test_t4_an_authority_that_does_not_stamp_is_none(forge: Forge, instance: Instance) -> None:
    """A certificate without the purpose of timestamping makes no timestamps."""
    key = ec.derive_private_key(31, ec.SECP256R1())
    root = certified(named("stamps"), ROOT_KEY.public_key())
    leaf = certified(named("leaf"), key.public_key(), above=root)
    authority = entry_of_root(now() - MINUTE, leaf, root)
    trust = root_with(instance, lambda one: one.update(timestampAuthorities=[authority]))
    refused(
        forge.bundle(stamps=lambda signature: [stamp(key, leaf, signature, now())]), trust, "proves no time"
    )


def test_t5_timestamps_are_readable_and_there_once(forge: Forge, instance: Instance, trust: Trust) -> None:
    """A timestamp twice, or one that is none, is refused, even beside a good one."""
    refused(forge.bundle(stamps=lambda signature: [forge.stamp(signature), b"junk"]), trust, "be read")

    def twice(signature: bytes) -> list[bytes]:
        return [forge.stamp(signature)] * 2

    refused(forge.bundle(stamps=twice), trust, "occurs twice")
    nobody = root_with(instance, lambda one: one.update(timestampAuthorities=[]))
    refused(forge.bundle(), nobody, "names no authority")


def change_log_key(change: dict[str, str], root: dict[str, Any]) -> None:
    root["tlogs"][0]["publicKey"].update(change)


def test_a_log_of_an_unknown_kind_of_key_signs_nothing(forge: Forge, instance: Instance) -> None:
    """A log whose key cannot be read, or is of another kind than is said, has no entries for us."""
    for change in ({"keyDetails": "PKIX_ECDSA_P256_SHA_256"}, {"rawBytes": b64(b"no key")}):
        trust = root_with(instance, partial(change_log_key, change))
        with pytest.raises(InclusionError, match="not signed by its log"):
            verify_bundle(raw(forge.bundle()), trust)
    assert isinstance(instance.keys.log, ed25519.Ed25519PrivateKey)

"""Model signatures by key, certificate and identity: what each proves, and what is refused."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from gitchain.errors import AlgorithmError, GitchainError, MalformedError, SignatureError
from gitchain.evidence.bundle import BUNDLE_MEDIA_TYPE
from gitchain.evidence.dsse import IN_TOTO_PAYLOAD_TYPE, pae
from gitchain.evidence.oms import model_statement
from gitchain.instance import Instance
from gitchain.instance.keys import key_usage
from gitchain.layout import Identity
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.oms import (
    verify_model_by_certificate,
    verify_model_by_identity,
    verify_model_by_key,
)
from gitchain.verify.trust import Trust
from tests.support.forged_bundles import ADA, Forge, b64
from tests.support.model_signatures import FILES, NOW, bundle, certificate, new_key, spki, statement

KEY, ROOT_KEY, MIDDLE_KEY = new_key(), new_key(), new_key()
ROOT = certificate("root", ROOT_KEY)
MIDDLE = certificate("middle", MIDDLE_KEY, (ROOT, ROOT_KEY), path_length=0)
LEAF = certificate("signer", KEY, (MIDDLE, MIDDLE_KEY), ca=False)
HONEST = json.dumps(bundle(statement(), KEY, [LEAF, MIDDLE])).encode()


def no_trust() -> Trust:
    raise AssertionError("a signature without a log entry needs no trusted root")


def raw(value: Any) -> bytes:
    return json.dumps(value).encode()


def by_certificate(*chain: x509.Certificate, authorities: Any = (ROOT,), key: Any = KEY) -> None:
    verify_model_by_certificate(raw(bundle(statement(), key, chain)), authorities, NOW)


def test_a_key_that_the_caller_names_may_sign_a_model() -> None:
    """The model's files come back; no time and no log entry are proven."""
    found = verify_model_by_key(raw(bundle(statement(), KEY)), no_trust, spki(KEY))
    assert list(found.signature.files) == sorted(FILES)
    assert (found.time, found.log) == (None, None)
    assert isinstance(found.signer, Identity)
    assert found.signer.issuer == "gitchain:key"


def test_another_key_signed_nothing() -> None:
    """A key that did not sign, and a payload that was changed afterwards."""
    with pytest.raises(SignatureError):
        verify_model_by_key(raw(bundle(statement(), KEY)), no_trust, spki(new_key()))
    changed = bundle(statement(), KEY)
    changed["dsseEnvelope"]["payload"] = bundle(statement({"a": b"b"}), KEY)["dsseEnvelope"]["payload"]
    with pytest.raises(SignatureError):
        verify_model_by_key(raw(changed), no_trust, spki(KEY))


def test_signed_with_something_else() -> None:
    """A certificate's signature is no bare key's, and the other way round."""
    with pytest.raises(SignatureError, match="certificate"):
        verify_model_by_key(HONEST, no_trust, spki(KEY))
    with pytest.raises(SignatureError, match="key"):
        verify_model_by_certificate(raw(bundle(statement(), KEY)), [ROOT], NOW)


def test_a_log_entry_that_is_there_is_verified(instance: Instance, trust: Trust) -> None:
    """With a log entry a key's signature is verified as any other; a certificate's belongs to an identity."""
    logged = Forge(instance).bundle(raw(statement()))
    broken = bundle(statement(), KEY, tlogEntries=logged["verificationMaterial"]["tlogEntries"])
    with pytest.raises(GitchainError):
        verify_model_by_key(raw(broken), lambda: trust, spki(KEY))
    with pytest.raises(SignatureError, match="identity"):
        verify_model_by_certificate(raw(logged), [ROOT], NOW)


def test_a_key_with_a_log_entry(instance: Instance, trust: Trust) -> None:
    """Then time and place are proven."""
    signer = Forge(instance)

    def body(honest: bytes) -> bytes:
        value = json.loads(honest)
        verifier = value["spec"]["hashedRekordV002"]["signature"]["verifier"]
        del verifier["x509Certificate"]
        verifier["publicKey"] = {"rawBytes": b64(spki(signer.key))}
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

    made = signer.bundle(raw(statement()), body=body)
    del made["verificationMaterial"]["certificate"]
    made["verificationMaterial"]["publicKey"] = {"hint": ""}
    found = verify_model_by_key(raw(made), lambda: trust, spki(signer.key))
    assert found.time is not None
    assert found.log is not None


def test_an_identity_signs_as_everywhere(instance: Instance, trust: Trust) -> None:
    """A Sigstore identity needs its log entry, and is exactly the one that was asked for."""
    made = Forge(instance).bundle(raw(statement()))
    found = verify_model_by_identity(raw(made), trust, Identity(instance.issuer, ADA))
    assert found.log is not None
    with pytest.raises(SignatureError, match="another identity signed this"):
        verify_model_by_identity(raw(made), trust, Identity("https://other.example", ADA))
    unlogged = copy.deepcopy(made)
    unlogged["verificationMaterial"]["tlogEntries"] = []
    with pytest.raises(MalformedError):
        verify_model_by_identity(raw(unlogged), trust, Identity(instance.issuer, ADA))


def test_nothing_else_may_lack_a_log_entry(trust: Trust) -> None:
    """What verifies as a model without a log entry is no evidence: the one door for it stays closed."""
    for made in (bundle(statement(), KEY), bundle(statement(), KEY, [LEAF, MIDDLE])):
        with pytest.raises(GitchainError):
            verify_bundle(raw(made), trust, [spki(KEY)])


# Certificates ----------------------------------------------------------------------------------------------------


def test_a_chain_leads_to_an_authority() -> None:
    """Through the bundle's intermediate, through one that the caller names, or directly."""
    found = verify_model_by_certificate(HONEST, [ROOT], NOW)
    assert (found.time, found.log) == (None, None)
    assert "CN=signer" in str(found.signer)
    by_certificate(LEAF, authorities=[ROOT, MIDDLE])
    by_certificate(LEAF, MIDDLE, authorities=[certificate("other", new_key()), ROOT])


def made(**changed: Any) -> tuple[x509.Certificate, ...]:
    return certificate("signer", KEY, (MIDDLE, MIDDLE_KEY), ca=False, **changed), MIDDLE


def above(**changed: Any) -> tuple[x509.Certificate, ...]:
    middle = certificate("middle", MIDDLE_KEY, (ROOT, ROOT_KEY), **changed)
    return certificate("signer", KEY, (middle, MIDDLE_KEY), ca=False), middle


DAY = timedelta(days=1)
DEEP_KEY = new_key()
DEEP = certificate("deep", DEEP_KEY, (MIDDLE, MIDDLE_KEY))
BAD_USAGE = x509.KeyUsage(
    digital_signature=True, key_cert_sign=True, crl_sign=False, content_commitment=False, key_encipherment=False,
    data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
)  # fmt: skip
NO_SIGNING = x509.KeyUsage(
    digital_signature=False, key_cert_sign=False, crl_sign=False, content_commitment=True, key_encipherment=False,
    data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
)  # fmt: skip
REFUSED = {
    "self-signed": (certificate("signer", KEY, ca=False),),
    "intermediate is missing": (LEAF,),
    "issued by nobody's authority": (certificate("signer", KEY, (certificate("root", DEEP_KEY), DEEP_KEY), ca=False),),
    "not yet valid": made(start=NOW + timedelta(seconds=1), end=NOW + DAY),
    "no longer valid": made(start=NOW - DAY, end=NOW - timedelta(seconds=1)),
    "not for signing": made(usage=NO_SIGNING),
    "may issue certificates": made(usage=BAD_USAGE),
    "no key usage": made(without=x509.KeyUsage),
    "not for code": made(extended=ExtendedKeyUsageOID.SERVER_AUTH),
    "no extended key usage": made(without=x509.ExtendedKeyUsage),
    "unknown critical extension": made(
        extra=x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    ),
    "name constraints": above(extra=x509.NameConstraints([x509.DNSName("example.com")], None)),
    "issuer is no authority": above(ca=False),
    "issuer says it is no authority": above(ca=False, usage=key_usage(certificates=True)),
    "issuer may not issue": above(usage=key_usage(certificates=False)),
    "issuer has no basic constraints": above(without=x509.BasicConstraints),
    "issuer is no longer valid": above(start=NOW - DAY, end=NOW - timedelta(seconds=1)),
    "chain is longer than its authority allows": (
        certificate("signer", KEY, (DEEP, DEEP_KEY), ca=False),
        DEEP,
        MIDDLE,
    ),
    "weak digest": made(digest=hashes.SHA224()),
}  # fmt: skip


@pytest.mark.parametrize("chain", REFUSED.values(), ids=REFUSED)
def test_certificates_that_may_not_sign(chain: tuple[x509.Certificate, ...]) -> None:
    """Each is a chain that looks right but for one thing."""
    by_certificate(LEAF, MIDDLE)
    with pytest.raises(SignatureError):
        by_certificate(*chain)


def test_a_certificate_is_valid_to_the_second() -> None:
    """From its first second to its last, both included."""
    for span in ({"start": NOW, "end": NOW + DAY}, {"start": NOW - DAY, "end": NOW}):
        by_certificate(*made(**span))


def test_an_authority_has_to_be_valid_too() -> None:
    """An authority that the caller named counts while it is valid."""
    old = certificate("root", ROOT_KEY, start=NOW - DAY, end=NOW - timedelta(seconds=1))
    with pytest.raises(SignatureError, match="not valid now"):
        by_certificate(LEAF, MIDDLE, authorities=[old])
    with pytest.raises(SignatureError, match="no chain"):
        by_certificate(LEAF, MIDDLE, authorities=[])


def test_chains_end() -> None:
    """A chain that is longer than any real one, and certificates that issue each other, are refused."""
    issuer = (ROOT, ROOT_KEY)
    chain: list[x509.Certificate] = []
    for number in range(10):
        key = new_key()
        chain.insert(0, certificate(f"ca {number}", key, issuer))
        issuer = (chain[0], key)
    with pytest.raises(SignatureError):
        by_certificate(certificate("signer", KEY, issuer, ca=False), *chain[:9])


def test_the_certificate_holds_the_signing_key() -> None:
    """A chain that is in order, over somebody else's key."""
    with pytest.raises(SignatureError):
        by_certificate(LEAF, MIDDLE, key=new_key())


@pytest.mark.parametrize("garbage", [b"", b"\x30\x03\x02\x01\x01", LEAF.public_bytes(Encoding.DER)[:-1]])
def test_a_certificate_that_cannot_be_read(garbage: bytes) -> None:
    """Bytes that are no certificate are an error of ours."""
    value = bundle(statement(), KEY, [LEAF])
    value["verificationMaterial"]["x509CertificateChain"]["certificates"] = [
        {"rawBytes": b64(garbage or b"x")}
    ]
    with pytest.raises(SignatureError):
        verify_model_by_certificate(raw(value), [ROOT], NOW)


def test_an_algorithm_that_is_not_supported_is_named() -> None:
    """A P-384 key that signed with SHA-256: not a bad signature, but an algorithm that is not read."""
    key = ec.derive_private_key(99, ec.SECP384R1())
    payload = model_statement("m", {"a": "0" * 64}).payload
    message = pae(IN_TOTO_PAYLOAD_TYPE, payload)

    def signed(hash_: hashes.HashAlgorithm) -> bytes:
        value = {
            "mediaType": BUNDLE_MEDIA_TYPE,
            "verificationMaterial": {"publicKey": {"hint": "k"}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": b64(payload),
                "payloadType": IN_TOTO_PAYLOAD_TYPE,
                "signatures": [{"sig": b64(key.sign(message, ec.ECDSA(hash_)))}],
            },
        }
        return json.dumps(value).encode()

    def trust() -> Trust:
        raise AssertionError

    assert list(verify_model_by_key(signed(hashes.SHA384()), trust, spki(key)).signature.files) == ["a"]
    with pytest.raises(
        AlgorithmError, match="expected PKIX_ECDSA_P384_SHA_384, got ECDSA secp384r1 with SHA256"
    ):
        verify_model_by_key(signed(hashes.SHA256()), trust, spki(key))

"""Signing with a key: which keys, how they are opened, and that what they sign is logged, timestamped and verifies."""

from __future__ import annotations

import json
import os
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from gitchain.errors import AuthenticationError, MalformedError, SignatureError, TransportError, UsageError
from gitchain.instance import Instance
from gitchain.instance.server import LocalServer
from gitchain.sign.context import signing_services
from gitchain.sign.keyed import KeySigner
from gitchain.sign.keys import MODULE, PASSPHRASE, open_key
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.trust import Trust
from tests.sign.test_keyless import QUICK, statement

KINDS: dict[str, Callable[[], rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey]] = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
}


def write(path: Path, private: object, password: bytes | None = None) -> str:
    how = BestAvailableEncryption(password) if password else NoEncryption()
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how))  # type: ignore[attr-defined]
    return str(path)


@pytest.mark.parametrize("kind", KINDS)
def test_key_signs_on_the_embedded_instance(instance: Instance, tmp_path: Path, kind: str) -> None:
    """Each kind of key is logged and timestamped, and verifies for who knows the key, and for nobody else."""
    trust = Trust.parse(instance.trust_config())
    with KeySigner(open_key(write(tmp_path / "k.pem", KINDS[kind]())), instance.recorder()) as signer:
        raws = signer.sign([statement(1), statement(2)])
        for number, raw in enumerate(raws, 1):
            found = verify_bundle(raw, trust, signer.keys)
            assert found.statement.payload == statement(number).payload
            assert found.identity.issuer == "gitchain:key"
            with pytest.raises(SignatureError):
                verify_bundle(raw, trust)
    assert instance.log.size() == 3


def test_bundle_of_a_key_has_a_hint_and_no_certificate(instance: Instance, tmp_path: Path) -> None:
    """The bundle is a Sigstore bundle v0.3 with a hint at the key, one entry and one timestamp."""
    signer = KeySigner(open_key(write(tmp_path / "k.pem", KINDS["P-256"]())), instance.recorder())
    (raw,) = signer.sign([statement()])
    bundle = json.loads(raw)
    material = bundle["verificationMaterial"]
    assert bundle["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert material.keys() == {"publicKey", "tlogEntries", "timestampVerificationData"}
    assert (
        len(material["tlogEntries"]) == len(material["timestampVerificationData"]["rfc3161Timestamps"]) == 1
    )
    body = json.loads(b64decode(material["tlogEntries"][0]["canonicalizedBody"]))
    verifier = body["spec"]["hashedRekordV002"]["signature"]["verifier"]
    assert b64decode(verifier["publicKey"]["rawBytes"]) == signer.keys[0]


def test_ed25519_is_refused_before_anything_is_logged(instance: Instance, tmp_path: Path) -> None:
    """Rekor v2 keeps digests and Ed25519 signs none: the user is told so, and which key to make instead."""
    holder = open_key(write(tmp_path / "k.pem", ed25519.Ed25519PrivateKey.generate()))
    with pytest.raises(UsageError, match="cannot be logged") as caught:
        KeySigner(holder, instance.recorder())
    assert "openssl" in caught.value.help
    services = signing_services(instance.trust_config())
    with pytest.raises(UsageError, match="Rekor v2"):
        KeySigner(holder, services)
    assert instance.log.size() == 1


def test_key_entries_come_from_this_process_alone(instance: Instance, tmp_path: Path) -> None:
    """Over HTTP every user of the machine could fill the log with keys of their own: the server takes none."""
    holder = open_key(write(tmp_path / "k.pem", KINDS["P-256"]()))
    with LocalServer(instance, port=0) as server:
        services = signing_services(instance.trust_config(server.url), QUICK)
        with pytest.raises(TransportError, match="refused the entry"):
            KeySigner(holder, services).sign([statement()])
    assert instance.log.size() == 1


@pytest.mark.parametrize("change", ["digest", "signature", "details", "key"])
def test_broken_key_entries_are_refused(instance: Instance, tmp_path: Path, change: str) -> None:
    """The embedded log checks the signature of a key as it does that of a certificate."""
    from gitchain.evidence.dsse import IN_TOTO_PAYLOAD_TYPE, Envelope, pae
    from gitchain.sign.entries import request_v2, signed

    holder = open_key(write(tmp_path / "k.pem", KINDS["P-384"]()))
    payload = statement().payload
    envelope = Envelope(IN_TOTO_PAYLOAD_TYPE, payload, holder.sign(pae(IN_TOTO_PAYLOAD_TYPE, payload)))
    request = json.loads(json.dumps(request_v2(signed(envelope, holder.key))))
    inner = request["hashedRekordRequestV002"]
    assert instance.log_entry(request, keys=True)
    if change == "digest":
        inner["digest"] = "A" * 64
    elif change == "signature":
        inner["signature"]["content"] = "MAYCAQECAQE="
    elif change == "details":
        inner["signature"]["verifier"]["keyDetails"] = "PKIX_ECDSA_P256_SHA_256"
    else:
        inner["signature"]["verifier"]["publicKey"]["rawBytes"] = "AAAA"
    with pytest.raises((SignatureError, MalformedError)):
        instance.log_entry(request, keys=True)
    assert instance.log.size() == 2


def test_passphrase_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encrypted key is opened with the variable's passphrase; a wrong one and none are errors that say what to do."""
    path = write(tmp_path / "k.pem", KINDS["P-256"](), b"secret")
    with pytest.raises(AuthenticationError) as caught:
        open_key(path)
    assert PASSPHRASE in caught.value.help
    monkeypatch.setenv(PASSPHRASE, "wrong")
    with pytest.raises(AuthenticationError, match="passphrase") as caught:
        open_key(path)
    assert "wrong" not in str(caught.value)
    monkeypatch.setenv(PASSPHRASE, "secret")
    assert open_key(path).key.details == "PKIX_ECDSA_P256_SHA_256"


@pytest.mark.parametrize(
    "data", [b"", b"x", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", b"\0" * 99]
)
def test_what_is_no_key_is_refused(tmp_path: Path, data: bytes) -> None:
    """A file that holds no private key is an error that names the file."""
    path = tmp_path / "k.pem"
    path.write_bytes(data)
    with pytest.raises(UsageError, match="not a private key") as caught:
        open_key(str(path))
    assert str(path) in caught.value.where


def test_weak_and_odd_keys_are_refused(tmp_path: Path) -> None:
    """A key of a kind that no verifier of ours accepts cannot sign either."""
    for private in (
        rsa.generate_private_key(65537, 1024),
        ec.generate_private_key(ec.SECP256K1()),
        dsa.generate_private_key(2048),
    ):
        with pytest.raises(UsageError, match="kind"):
            open_key(write(tmp_path / "k.pem", private))


@pytest.mark.parametrize(
    "uri",
    [
        "/nowhere",
        "nowhere.pem",
        "file:nowhere",
        "https://example.com/k",
        "tkey:",
        "\0",
        "hsm:2",
        "hsm:x?label=y",
    ],
)
def test_unusable_values_of_key(uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever --key says, the error is one of ours and says what to type."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(MODULE, raising=False)
    with pytest.raises((UsageError, TransportError)) as caught:
        open_key(uri)
    assert caught.value.help


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:token=a;id=%02?module-path=/tmp/evil.so",
        "pkcs11:token=a;id=%02?pin-value=1234",
        "pkcs11:token=a",
        "pkcs11:object=k;id=%01",
    ],
)
def test_pkcs11_uris_with_a_module_or_a_pin_are_refused(uri: str) -> None:
    """A library to load and a PIN come from the user's environment, never from a text that a repository may hold."""
    with pytest.raises(UsageError, match="PKCS#11 URI"):
        open_key(uri)


@pytest.mark.parametrize(
    "uri", ["awskms:alias/x", "gcpkms:projects/p/x", "azurekms://v.vault.azure.net/keys/k/1", "hv:k/1"]
)
def test_key_services_say_what_to_install(uri: str) -> None:
    """The services' libraries are extras: without one the error says how to get it."""
    with pytest.raises((UsageError, TransportError)) as caught:
        open_key(uri)
    assert os.linesep not in caught.value.got
    if isinstance(caught.value, UsageError):
        assert "securesystemslib[" in caught.value.help

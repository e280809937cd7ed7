"""The instance's directory, identities, tokens, certificates and entries."""

from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Self

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from sigstore.models import ClientTrustConfig

from gitchain.errors import (
    AuthenticationError,
    MalformedError,
    SignatureError,
    StoreError,
    TrustError,
    UsageError,
)
from gitchain.evidence.tile import TileId
from gitchain.instance import Instance, local
from gitchain.instance import ca as authority
from gitchain.instance.info import InstanceInfo
from tests.support.local_log import ADA, entry_request, signing_request


def claims(token: str) -> dict[str, object]:
    return dict(jwt.decode(token, options={"verify_signature": False}))


def test_everything_is_private(instance: Instance) -> None:
    """Every directory is 0700 and every file 0600, whatever the umask, also after an append."""
    old = os.umask(0)
    try:
        other = Instance.create(instance.directory.parent / "other")
        other.log.append([b"entry"])
    finally:
        os.umask(old)
    for path in (other.directory, *other.directory.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
    assert {path.name for path in (other.directory / "keys").iterdir()} == {
        "ca.pem", "certificates.pem", "ct.pem", "log.pem", "oidc.pem", "tsa.pem",
    }  # fmt: skip


def test_names_cannot_be_public(instance: Instance) -> None:
    """Origin, issuer and every name in the trusted root end in .invalid; services are on loopback only."""
    host = f"local-{instance.id[:8]}.gitchain.invalid"
    assert (instance.origin, instance.issuer) == (host, f"https://{host}")
    config = json.loads(instance.trust_config())
    for group in ("tlogs", "ctlogs"):
        assert [log["baseUrl"] for log in config["trustedRoot"][group]] == [f"https://{host}"]
    for group in ("certificateAuthorities", "timestampAuthorities"):
        assert [item["uri"] for item in config["trustedRoot"][group]] == [f"https://{host}"]
    urls = [
        service["url"]
        for name, group in config["signingConfig"].items()
        if name.endswith("Urls")
        for service in group
    ]
    assert len(urls) == 4
    assert all(url.startswith(f"http://127.0.0.1:{instance.port}") for url in urls)
    assert host in json.loads(instance.log._files.entries(TileId(None, 0, 1))[0])["spec"]["origin"]


def test_create_twice_opens_the_first(instance: Instance) -> None:
    """Creating where an instance is gives that instance, with the same port, keys and trust config."""
    again = Instance.create(instance.directory)
    assert again.id == instance.id
    assert again.trust_config() == instance.trust_config() == Instance.open(instance.directory).trust_config()


def test_racing_creators_agree(tmp_path: Path) -> None:
    """Of six processes that create one instance at once, all end up with the same one, and nothing else is left."""
    code = "import sys; from pathlib import Path; from gitchain.instance import Instance; print(Instance.create(Path(sys.argv[1])).id)"
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "race" / "local")], stdout=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]
    found = {racer.communicate()[0].strip() for racer in racers}
    assert [racer.returncode for racer in racers] == [0] * 6
    assert found == {Instance.open(tmp_path / "race" / "local").id}
    assert [path.name for path in (tmp_path / "race").iterdir()] == ["local"]


def test_create_beside_something_else_is_refused(tmp_path: Path) -> None:
    """A directory that holds other things is neither taken over nor touched."""
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(StoreError) as caught:
        Instance.create(tmp_path / "local")
    assert caught.value.help
    assert [path.name for path in tmp_path.rglob("*") if path.name != "home"] == ["local", "thesis.txt"]


def test_failed_create_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk while the instance is made leaves no directory behind."""
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "no space left on device")))
    with pytest.raises(StoreError):
        Instance.create(tmp_path / "made" / "local")
    assert list((tmp_path / "made").iterdir()) == []


@pytest.mark.parametrize("target", ["", "keys", "keys/log.pem", "instance.json", "log", "log/checkpoint"])
def test_open_to_others_is_refused(instance: Instance, target: str) -> None:
    """A directory or file that others may read is not trusted, and the error says how to close it."""
    path = instance.directory / target
    path.chmod(path.stat().st_mode | 0o044)
    with pytest.raises(TrustError, match="open to other users") as caught:
        Instance.open(instance.directory)
    assert caught.value.help.startswith("chmod")


@pytest.mark.parametrize("name", ["keys", "keys/ct.pem", "log", "log/checkpoint", "log/tile"])
def test_lost_part_is_refused(instance: Instance, name: str) -> None:
    """An instance that lost a part does not open, and is not told to be made where it is."""
    (instance.directory / name).rename(instance.directory.parent / "lost")
    with pytest.raises(TrustError) as caught:
        Instance.open(instance.directory)
    assert "move the directory away" in caught.value.help


def test_missing_is_refused(tmp_path: Path) -> None:
    """Without an instance the error says how to make one."""
    with pytest.raises(TrustError, match="missing") as caught:
        Instance.open(tmp_path / "nowhere")
    assert "gitchain init --local --force" in caught.value.help


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("target", ["", "keys/oidc.pem"])
def test_foreign_owner_is_refused(instance: Instance, target: str) -> None:
    """Another user's directory or key is not used."""
    os.chown(instance.directory / target, 12345, 12345)
    with pytest.raises(TrustError, match="another user"):
        Instance.open(instance.directory)


def test_symlinked_key_is_refused(instance: Instance, tmp_path: Path) -> None:
    """A key that is a link to elsewhere is not followed."""
    key = instance.directory / "keys" / "ca.pem"
    key.rename(tmp_path / "elsewhere.pem")
    key.symlink_to(tmp_path / "elsewhere.pem")
    with pytest.raises(TrustError, match="symbolic link"):
        Instance.open(instance.directory)


@pytest.mark.parametrize(
    "name", ["instance.json", "keys/ca.pem", "keys/certificates.pem", "keys/log.pem", "log/checkpoint"]
)
@pytest.mark.parametrize("content", [b"", b"\xff\xfe junk", b"[" * 2000, b'{"schema":1}', b"x" * 100_000])
def test_broken_file_is_refused(instance: Instance, name: str, content: bytes) -> None:
    """A file with other bytes makes the instance refuse to open, with an error that helps."""
    (instance.directory / name).write_bytes(content)
    with pytest.raises(TrustError) as caught:
        Instance.open(instance.directory)
    assert caught.value.help


def test_keys_of_another_instance_are_refused(instance: Instance, tmp_path: Path) -> None:
    """A description, a log or a CA key taken from another instance is noticed."""
    other = Instance.create(tmp_path / "other")
    for name in ("instance.json", "keys/log.pem", "log/checkpoint", "keys/ca.pem", "keys/tsa.pem"):
        mine = (instance.directory / name).read_bytes()
        (instance.directory / name).write_bytes((other.directory / name).read_bytes())
        with pytest.raises(TrustError):
            Instance.open(instance.directory)
        (instance.directory / name).write_bytes(mine)
    assert Instance.open(instance.directory).id == instance.id


def test_id_is_bound_to_the_log_key(instance: Instance) -> None:
    """An id of which one digit is not the log key's is refused, also where no name shows it."""
    file = instance.directory / "instance.json"
    changed = instance.id[:-1] + ("0" if instance.id[-1] != "0" else "1")
    file.write_bytes(file.read_bytes().replace(instance.id.encode(), changed.encode()))
    with pytest.raises(TrustError, match="another instance's keys"):
        Instance.open(instance.directory)


@pytest.mark.parametrize("field", ["id", "port", "created", "schema"])
@pytest.mark.parametrize("value", [None, 1, "", "x", [], {}, 1.5, "Z" * 32])
def test_description_is_strict(instance: Instance, field: str, value: object) -> None:
    """Any other value in any field of instance.json is refused."""
    document = json.loads(instance.info.render()) | {field: value}
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    with pytest.raises(TrustError):
        InstanceInfo.parse(data, "instance.json")


def test_private_keys_are_not_shown(instance: Instance) -> None:
    """The representation of an instance names no key object."""
    assert "PrivateKey" not in repr(instance)


def test_token_claims(instance: Instance) -> None:
    """A token lives five minutes, is for Sigstore, and carries an email only for an address."""
    found = claims(instance.token(ADA))
    assert (found["iss"], found["aud"], found["sub"], found["email"]) == (
        instance.issuer,
        "sigstore",
        ADA,
        ADA,
    )
    assert int(str(found["exp"])) - int(str(found["iat"])) == 300
    assert "email" not in claims(instance.token("https://example.com/workload"))


@pytest.mark.parametrize(
    "identity",
    ["", "ada", "a b@example.com", "ada@", "@example.com", "ada@example.com\n", "ä@example.com", "x" * 300 + "@e.com",
     "javascript", "HTTPS://x", "https://exämple.com", "https://example.com/\x00", "https:" + "x" * 3000],
)  # fmt: skip
def test_unusable_identity_is_refused(instance: Instance, identity: str) -> None:
    """What a certificate cannot carry unambiguously gets no token."""
    with pytest.raises(UsageError) as caught:
        instance.token(identity)
    assert "gitchain local token" in caught.value.help


def forged(instance: Instance, **changes: object) -> str:
    content = claims(instance.token(ADA)) | changes
    return jwt.encode(
        {key: value for key, value in content.items() if value is not None}, instance.keys.oidc, "ES256"
    )


NOW = int(datetime.now(UTC).timestamp())
BAD_CLAIMS = [
    {"aud": "other"}, {"aud": ["sigstore", "other"]}, {"iss": "https://accounts.google.com"}, {"exp": NOW - 60},
    {"nbf": NOW + 86_400}, {"iat": NOW + 86_400}, {"exp": None}, {"iat": None}, {"sub": None}, {"aud": None}, {"iss": None}, {"sub": 7},
]  # fmt: skip


@pytest.mark.parametrize("changes", BAD_CLAIMS, ids=range(len(BAD_CLAIMS)))
def test_wrong_claims_are_refused(instance: Instance, changes: dict[str, object]) -> None:
    """A token of the right key with a wrong, missing or expired claim gets no certificate."""
    with pytest.raises(AuthenticationError):
        instance.issue(forged(instance, **changes), signing_request(ec.generate_private_key(ec.SECP256R1())))


def test_foreign_and_unsigned_tokens_are_refused(instance: Instance, tmp_path: Path) -> None:
    """A token of another key, without signature, with another algorithm, or no token at all gets no certificate."""
    other = Instance.create(tmp_path / "other")
    content = claims(instance.token(ADA))
    bad = [
        other.token(ADA),
        jwt.encode(content, other.keys.oidc, "ES256"),
        jwt.encode(content, "", "none"),
        jwt.encode(content, "a shared secret of 32 characters", "HS256"),
        instance.token(ADA)[:-4] + "AAAA",
        instance.token(ADA).rsplit(".", 1)[0] + ".",
        "", "a.b.c", "x" * 20_000, "\udcff",
    ]  # fmt: skip
    request = signing_request(ec.generate_private_key(ec.SECP256R1()))
    for token in bad:
        with pytest.raises(AuthenticationError):
            instance.issue(token, request)


def test_identity_is_checked_again(instance: Instance) -> None:
    """A token of the right key for an identity that no certificate can carry is refused."""
    with pytest.raises(UsageError):
        instance.issue(
            forged(instance, sub="not an identity"), signing_request(ec.generate_private_key(ec.SECP256R1()))
        )


@pytest.mark.parametrize("days", [-30, 4000])
def test_clock_outside_of_the_lifetime(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    """With a clock before the instance was made, or after its CA ended, nothing is signed, and the error says why."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(UTC) + timedelta(days=days)

    monkeypatch.setattr(local, "datetime", Clock)
    with pytest.raises(TrustError, match="clock"):
        instance.token(ADA)


def test_certificate_profile(instance: Instance) -> None:
    """A certificate has Fulcio's profile: empty subject, critical SAN, both issuer OIDs, code signing, one SCT, ten minutes."""
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = instance.issue(instance.token(ADA), signing_request(key))
    san = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert (san.critical, san.value.get_values_for_type(x509.RFC822Name)) == (True, [ADA])
    assert list(leaf.subject) == []
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == timedelta(minutes=10)
    issuers = {
        str(item.oid.dotted_string): item.value.value
        for item in leaf.extensions
        if "57264" in item.oid.dotted_string
    }
    assert issuers["1.3.6.1.4.1.57264.1.1"] == instance.issuer.encode()
    assert issuers["1.3.6.1.4.1.57264.1.8"][2:] == instance.issuer.encode()
    scts = leaf.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps)
    assert len(list(scts.value)) == 1
    assert leaf.public_key() == key.public_key()
    leaf.verify_directly_issued_by(instance.chain[0])
    instance.chain[0].verify_directly_issued_by(instance.chain[1])


def test_bad_signing_requests_are_refused(instance: Instance) -> None:
    """A request that its key did not sign, or with a key that is not P-256, gets no certificate."""
    token = instance.token(ADA)
    der = bytearray(signing_request(ec.generate_private_key(ec.SECP256R1())).public_bytes(Encoding.DER))
    der[-3] ^= 1
    with pytest.raises(SignatureError):
        instance.issue(token, x509.load_der_x509_csr(bytes(der)))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    for key in (ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)):
        with pytest.raises(MalformedError, match="not supported"):
            instance.issue(token, builder.sign(key, hashes.SHA256()))
    for pem in (
        b"",
        b"junk",
        b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
    ):
        with pytest.raises(MalformedError):
            authority.parse_request(pem)


def test_entry_is_logged_with_proof(instance: Instance) -> None:
    """A good entry gets index 1, after the genesis, and a proof in a tree of two."""
    entry: Any = instance.log_entry(entry_request(instance))
    assert entry["logIndex"] == "1"
    assert base64.b64decode(str(entry["logId"]["keyId"])) == instance.log.key_id
    body = json.loads(base64.b64decode(str(entry["canonicalizedBody"])))
    assert (body["kind"], body["apiVersion"]) == ("hashedrekord", "0.0.2")


def test_same_request_is_one_entry(instance: Instance) -> None:
    """A client that repeats a request after a lost answer gets its entry again."""
    request = entry_request(instance)
    assert instance.log_entry(request)["logIndex"] == instance.log_entry(request)["logIndex"] == "1"


def test_unverified_signature_is_refused(instance: Instance) -> None:
    """An entry whose signature is over something else is not logged."""
    with pytest.raises(SignatureError, match="signature does not verify"):
        instance.log_entry(entry_request(instance, b"one", signed=b"two"))
    assert instance.log.size() == 1


def test_certificate_of_another_authority_is_refused(instance: Instance, tmp_path: Path) -> None:
    """A certificate of another instance, a self-made one with the CA's name, and the CA's own are refused."""
    with pytest.raises(SignatureError, match="certificate"):
        instance.log_entry(entry_request(Instance.create(tmp_path / "other")))
    for certificate in (lookalike(instance), *instance.chain, instance.keys.tsa_certificate):
        request = entry_request(instance)
        raw = base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()
        request["hashedRekordRequestV002"]["signature"]["verifier"]["x509Certificate"]["rawBytes"] = raw
        with pytest.raises(SignatureError):
            instance.log_entry(request)
    assert instance.log.size() == 1


def lookalike(instance: Instance) -> x509.Certificate:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "x")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(instance.chain[0].subject)
    builder = builder.public_key(key.public_key()).serial_number(1).not_valid_before(now)
    return builder.not_valid_after(now + timedelta(minutes=5)).sign(key, hashes.SHA256())


@pytest.mark.parametrize("minutes", [-5, 11])
def test_certificate_outside_its_time_is_refused(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    """A certificate that is not valid at the moment of logging is refused."""
    request = entry_request(instance)
    moment = datetime.now(UTC) + timedelta(minutes=minutes)
    monkeypatch.setattr(Instance, "_now", lambda _: moment)
    with pytest.raises(SignatureError, match="not valid now"):
        instance.log_entry(request)


def mutations() -> list[tuple[str, object]]:
    long = base64.b64encode(b"x" * 40_000).decode()
    return [
        ("digest", ""), ("digest", "AAAA"), ("digest", 7), ("digest", None), ("digest", "AA*A"), ("digest", long),
        ("signature.content", "AAAA"), ("signature.content", [1]), ("signature", None), ("signature.verifier", {}),
        ("signature.verifier.keyDetails", "PKIX_ED25519"), ("signature.verifier.keyDetails", None),
        ("signature.verifier.x509Certificate.rawBytes", "AAAA"), ("signature.verifier.x509Certificate", None),
        ("signature.verifier.publicKey", {"rawBytes": "AAAA"}), ("extra", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), mutations(), ids=lambda value: str(value)[:40])
def test_malformed_entry_is_refused(instance: Instance, path: str, value: object) -> None:
    """Each field of a request with another value, and each field too many, is refused and nothing is logged."""
    request = entry_request(instance)
    target = request["hashedRekordRequestV002"]
    *above, last = path.split(".")
    for name in above:
        target = target[name]
    target[last] = value
    with pytest.raises((MalformedError, SignatureError)):
        instance.log_entry(request)
    assert instance.log.size() == 1


@pytest.mark.parametrize(
    "request_", [None, [], {}, "x", 1, {"dsseRequestV002": {}}, {"hashedRekordRequestV002": []}]
)
def test_other_requests_are_refused(instance: Instance, request_: object) -> None:
    """Anything that is not a hashedrekord request is refused."""
    with pytest.raises(MalformedError):
        instance.log_entry(request_)


def test_trust_config_reads_with_sigstore(instance: Instance) -> None:
    """sigstore-python reads the exported trust config, and finds one of each service."""
    config = ClientTrustConfig.from_json(instance.trust_config())
    assert len(config.trusted_root.get_fulcio_certs()) == 2
    assert len(config.trusted_root.get_timestamp_authorities()) == 1
    assert config.signing_config.get_oidc_url() == instance.url


def test_no_secret_in_the_trust_config(instance: Instance) -> None:
    """The exported trust config holds no private key."""
    text = instance.trust_config()
    for path in (instance.directory / "keys").glob("*.pem"):
        if path.name != "certificates.pem":
            secret = "".join(path.read_text(encoding="utf-8").split("\n")[1:-2])
            assert secret not in text
            assert secret[40:70] not in text


def test_the_exported_trust_is_whole_at_every_moment(tmp_path: Path) -> None:
    """Many processes open an instance from before there was one: a reader sees none, or all of it."""
    Instance.create(tmp_path / "local")
    export = tmp_path / "local" / "trust.json"
    whole = export.read_text()
    for _ in range(10):
        export.unlink()
        with ThreadPoolExecutor(8) as pool:
            opened = [pool.submit(Instance.open, tmp_path / "local") for _ in range(8)]
            while not all(one.done() for one in opened):
                if export.exists():
                    assert export.read_text() == whole
            assert {one.result().trust_config() for one in opened} == {whole}
        assert [path.name for path in (tmp_path / "local").iterdir() if "trust.json" in path.name] == [
            "trust.json"
        ]

"""CMS signatures of commits: gitsign's profile verifies, anything beside it is refused with one error."""

from __future__ import annotations

import base64
import copy
import hashlib
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import cms, core
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from gitchain.errors import GitchainError, InclusionError, MalformedError, SignatureError
from gitchain.evidence.gitobject import GitObject
from gitchain.instance import Instance
from gitchain.verify.cms import MAX_TIMESTAMPS, parse_cms
from gitchain.verify.gitsigned import verify_object
from gitchain.verify.trust import Trust
from gitchain.verify.verified import VerifiedObject
from tests.support.bundle_kinds import V1_HOST, both_logs
from tests.support.forged_bundles import ADA, Forge
from tests.support.git_signatures import LOG_ENTRY, PAYLOAD, Cms, armor, signed_commit


@pytest.fixture(scope="session")
def logs(instance: Instance) -> Trust:
    """The instance's trust with a Rekor v1 log beside its own."""
    return both_logs(instance)


def verified(made: Cms, trust: Trust) -> VerifiedObject:
    return verify_object(made.commit(), trust)


@pytest.mark.parametrize(("v1", "stamped"), [(False, True), (True, True), (True, False)])
def test_a_signed_commit_says_who_and_when(forge: Forge, logs: Trust, v1: bool, stamped: bool) -> None:
    """With the entry of either log; Rekor v1's promise gives a time of its own."""
    found = verified(Cms(forge, v1=v1, stamped=stamped), logs)
    assert found.identity.subject == ADA
    assert found.time is not None
    assert abs(found.time - datetime.now(UTC)) < timedelta(minutes=1)
    assert found.log is not None
    assert found.log.origin.startswith(V1_HOST if v1 else forge.instance.origin)
    assert found.claims["issuer"] == forge.instance.issuer
    assert found.object.payload == PAYLOAD


def test_an_entry_of_rekor_v2_may_be_labelled_as_one_of_v1(forge: Forge, logs: Trust) -> None:
    """gitsign writes one label for both; what was logged decides, and without a promise that is v2's body."""

    def label(entry: dict[str, Any]) -> None:
        entry["kindVersion"] = {"kind": "hashedrekord", "version": "0.0.1"}

    assert verified(Cms(forge, entry=label), logs).identity.subject == ADA


def test_a_tag_is_verified_like_a_commit(forge: Forge, trust: Trust) -> None:
    """Its signature stands at the end."""
    payload = b"object " + b"a" * 40 + b"\ntype commit\ntag v1\ntagger A <a@b> 1 +0000\n\nm\n"
    made = Cms(forge, payload=payload)
    raw = payload + armor("SIGNED MESSAGE", made.der()) + b"\n"
    assert verify_object(GitObject.parse("tag", "c" * 40, raw), trust).identity.subject == ADA


def test_unsigned_objects_are_refused(trust: Trust) -> None:
    """With what to type."""
    with pytest.raises(SignatureError, match="not signed") as error:
        verify_object(GitObject.parse("commit", "c" * 40, PAYLOAD), trust)
    assert error.value.where == "commit cccccccccccc"
    assert "git commit -S" in error.value.help


def test_changed_content_is_refused(forge: Forge, trust: Trust) -> None:
    """One byte of the message, the tree, or the author."""
    armored = armor("SIGNED MESSAGE", Cms(forge).der())
    for old, new in ((b"message", b"massage"), (b"a" * 40, b"b" * 40), (b"Ada", b"Eve")):
        with pytest.raises(SignatureError, match="over other content") as error:
            verify_object(signed_commit(armored, PAYLOAD.replace(old, new, 1)), trust)
        assert error.value.expected == hashlib.sha256(PAYLOAD.replace(old, new, 1)).hexdigest()
        assert error.value.got == hashlib.sha256(PAYLOAD).hexdigest()


def other(attributes: list[Any]) -> None:
    attributes.append({"type": "1.2.3.4", "values": [core.OctetString(b"x")]})


def twice(attributes: list[Any]) -> None:
    attributes.append(copy.deepcopy(attributes[-1]))


def two_digests(attributes: list[Any]) -> None:
    attributes[2]["values"].append(b"d" * 32)


def no_digest(attributes: list[Any]) -> None:
    del attributes[2]


def no_type(attributes: list[Any]) -> None:
    del attributes[0]


def digested(attributes: list[Any]) -> None:
    attributes[0]["values"] = ["digested_data"]


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (other, "unknown signed attribute"),
        (twice, "attribute occurs twice"),
        (two_digests, "one of the values of attribute 1.2.840.113549.1.9.4"),
        (no_digest, "one of the values of attribute 1.2.840.113549.1.9.4"),
        (no_type, "one of the values of attribute 1.2.840.113549.1.9.3"),
        (digested, "another type of content"),
    ],
)
def test_signed_attributes_are_exactly_gitsigns(
    forge: Forge, trust: Trust, edit: Callable[[Any], object], says: str
) -> None:
    """Content type and message digest once, the signing time at most, nothing else: all of it was signed."""
    with pytest.raises(SignatureError, match=says):
        verified(Cms(forge, signed=edit), trust)


def test_the_signing_time_may_be_missing(forge: Forge, trust: Trust) -> None:
    """Nothing is made of it."""
    assert verified(Cms(forge, signed=lambda attributes: attributes.pop(1)), trust).identity.subject == ADA


def many(attributes: list[Any]) -> None:
    attributes[1]["values"] *= MAX_TIMESTAMPS + 1


def no_entry(attributes: list[Any]) -> None:
    del attributes[0]


def broken_entry(attributes: list[Any]) -> None:
    attributes[0]["values"] = [core.OctetString(b"\x40\x01")]


def entry_is_number(attributes: list[Any]) -> None:
    attributes[0]["values"] = [core.Integer(1)]


def two_entries(attributes: list[Any]) -> None:
    attributes[0]["values"].append(core.OctetString(b"x"))


def no_stamp(attributes: list[Any]) -> None:
    del attributes[1]


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (other, "unknown unsigned attribute"),
        (twice, "attribute occurs twice"),
        (many, "too many timestamps"),
        (no_entry, "holds no log entry"),
        (two_entries, f"one of the values of attribute {LOG_ENTRY}"),
        (broken_entry, "unknown field"),
        (entry_is_number, "attribute is malformed"),
        (no_stamp, "proves no time"),
        (lambda attributes: attributes.clear(), "holds no log entry"),
    ],
)
def test_unsigned_attributes_are_exactly_gitsigns(
    forge: Forge, trust: Trust, edit: Callable[[Any], object], says: str
) -> None:
    """One log entry and timestamps; Rekor v2 gives no time, so a timestamp has to."""
    with pytest.raises(GitchainError, match=says):
        verified(Cms(forge, unsigned=edit), trust)


def test_as_many_timestamps_as_allowed_are_read(forge: Forge) -> None:
    """The limit itself; whether they verify is asked later."""

    def full(attributes: list[Any]) -> None:
        attributes[1]["values"] *= MAX_TIMESTAMPS

    assert len(parse_cms(Cms(forge, unsigned=full).der()).timestamps) == MAX_TIMESTAMPS


def two_signers(info: dict[str, Any]) -> None:
    info["signer_infos"].append(copy.deepcopy(info["signer_infos"][0]))
    info["signer_infos"][1]["signature"] = b"other"


def no_signer(info: dict[str, Any]) -> None:
    info["signer_infos"] = []


def two_certificates(info: dict[str, Any]) -> None:
    second = Forge(FORGES[0].instance).certificate().public_bytes(Encoding.DER)
    info["certificates"].append(cms.CertificateChoices("certificate", cms.Certificate.load(second)))


def content(info: dict[str, Any]) -> None:
    info["encap_content_info"] = {"content_type": "data", "content": PAYLOAD}


def another_type(info: dict[str, Any]) -> None:
    info["encap_content_info"] = {"content_type": "digested_data"}


def another_version(info: dict[str, Any]) -> None:
    info["version"] = "v3"


def another_signer_version(info: dict[str, Any]) -> None:
    info["signer_infos"][0]["version"] = "v3"


def another_digest(info: dict[str, Any]) -> None:
    info["digest_algorithms"] = [{"algorithm": "sha512"}]


def two_digests_named(info: dict[str, Any]) -> None:
    info["digest_algorithms"] = [{"algorithm": "sha256"}, {"algorithm": "sha512"}]


def another_signer_digest(info: dict[str, Any]) -> None:
    info["signer_infos"][0]["digest_algorithm"] = {"algorithm": "sha1"}


def another_algorithm(info: dict[str, Any]) -> None:
    info["signer_infos"][0]["signature_algorithm"] = {"algorithm": "sha512_ecdsa"}


def another_serial(info: dict[str, Any]) -> None:
    sid = info["signer_infos"][0]["sid"].chosen
    info["signer_infos"][0]["sid"] = cms.SignerIdentifier(
        "issuer_and_serial_number", {"issuer": sid["issuer"], "serial_number": 7}
    )


def another_issuer(info: dict[str, Any]) -> None:
    sid = info["signer_infos"][0]["sid"].chosen
    name = cms.Name.build({"common_name": "somebody else"})
    info["signer_infos"][0]["sid"] = cms.SignerIdentifier(
        "issuer_and_serial_number", {"issuer": name, "serial_number": sid["serial_number"].native}
    )


FORGES: list[Forge] = []


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (two_signers, "one of the signers"),
        (no_signer, "one of the signers"),
        (two_certificates, "one of the certificates"),
        (content, "not a CMS signature"),
        (another_type, "another version, type or digest"),
        (another_version, "another version, type or digest"),
        (another_signer_version, "another version, type or digest"),
        (another_digest, "another version, type or digest"),
        (two_digests_named, "another version, type or digest"),
        (another_signer_digest, "another version, type or digest"),
        (another_algorithm, "unknown algorithm"),
        (another_serial, "names another certificate"),
        (another_issuer, "names another certificate"),
    ],
)
def test_a_signature_beside_the_profile_is_refused(
    forge: Forge, trust: Trust, edit: Callable[[Any], object], says: str
) -> None:
    """Two signers, certificates or digests, content inside, other versions and algorithms."""
    FORGES[:] = [forge]
    with pytest.raises((SignatureError, MalformedError), match=says):
        verified(Cms(forge, info=edit), trust)


def test_what_is_no_der_is_refused(forge: Forge, trust: Trust) -> None:
    """Bytes behind it, an unsorted set, garbage, an attribute of another type."""
    der = Cms(forge).der()
    for data in (der + b"\0", b"junk", der[:-1], _unsorted(der), _texts(der)):
        with pytest.raises(MalformedError):
            verify_object(signed_commit(armor("SIGNED MESSAGE", data)), trust)


def _unsorted(der: bytes) -> bytes:
    """Two signed attributes of one length change places."""
    first = der.index(bytes.fromhex("301806092a864886f70d010903"))
    one = der[first : first + 26]
    second = der[first + 26 : first + 26 + 30]
    return der.replace(one + second, second + one)


def _texts(der: bytes) -> bytes:
    """The digest becomes a text of the same length."""
    return der.replace(
        bytes.fromhex("06092a864886f70d01090431220420"), bytes.fromhex("06092a864886f70d01090431221320")
    )


def test_a_certificate_that_is_none_is_refused(forge: Forge) -> None:
    """One of an unknown version, which the set takes and the parser does not."""
    der = Cms(forge).der().replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09", 1)
    with pytest.raises(SignatureError, match="certificate cannot be read"):
        parse_cms(der)


def test_another_keys_signature_is_refused(forge: Forge, trust: Trust) -> None:
    """And one over another digest of the same attributes."""
    stranger = ec.generate_private_key(ec.SECP256R1())
    wrong = stranger.sign(b"x", ec.ECDSA(hashes.SHA256()))
    for made in (Cms(forge, raw=lambda _: wrong), Cms(forge, algorithm=hashes.SHA512())):
        with pytest.raises(SignatureError, match="signature does not verify"):
            verified(made, trust)


def test_a_key_of_another_kind_is_refused(instance: Instance, trust: Trust) -> None:
    """The profile says which digest is signed, and P-384 goes with another one."""
    forge = Forge(instance, key=ec.generate_private_key(ec.SECP384R1()))
    with pytest.raises(SignatureError, match="another kind of key"):
        verified(Cms(forge), trust)


def test_strangers_are_refused(stranger: Instance, trust: Trust) -> None:
    """A certificate authority, log and timestamps of nobody in the trusted root."""
    with pytest.raises(InclusionError, match="log is not in the trusted root"):
        verified(Cms(Forge(stranger)), trust)


def test_a_foreign_certificate_is_refused(instance: Instance, stranger: Instance, trust: Trust) -> None:
    """Logged and stamped here, issued elsewhere."""
    away, here = Forge(stranger), Forge(instance)
    here.certificate = away.certificate  # type: ignore[method-assign]
    here.key = away.key
    with pytest.raises(SignatureError, match="no certificate authority"):
        verified(Cms(here), trust)


def test_the_entry_is_about_this_signature(forge: Forge, logs: Trust) -> None:
    """Another signature's entry, honest in itself, leads to another leaf; so does one of the other version."""
    taken: list[dict[str, Any]] = []
    verified(Cms(forge, entry=taken.append), logs)

    def swap(entry: dict[str, Any]) -> None:
        entry.clear()
        entry.update(taken[0])

    with pytest.raises(InclusionError):
        verified(Cms(forge, entry=swap), logs)
    with pytest.raises(InclusionError):
        verified(Cms(forge, v1=True, entry=lambda entry: entry.pop("inclusionPromise")), logs)


def test_a_promise_beside_a_rekor_v2_entry_is_refused(forge: Forge, logs: Trust) -> None:
    """It makes the entry one of v1, and there is none."""

    def promise(entry: dict[str, Any]) -> None:
        entry["inclusionPromise"] = {"signedEntryTimestamp": base64.b64encode(b"x").decode()}
        entry["integratedTime"] = "1700000000"

    with pytest.raises(InclusionError, match="promise is not signed"):
        verified(Cms(forge, entry=promise), logs)


def test_the_certificate_was_valid_at_the_proven_time(forge: Forge, trust: Trust) -> None:
    """A timestamp of tomorrow is after its ten minutes."""

    class Late(Forge):
        def stamp(self, signature: bytes, at: datetime | None = None) -> bytes:
            return super().stamp(signature, datetime.now(UTC) + timedelta(days=1))

    with pytest.raises(SignatureError, match="no certificate authority in use issued this certificate"):
        verified(Cms(Late(forge.instance, key=forge.key)), trust)


def test_armor_is_read_strictly(forge: Forge, trust: Trust) -> None:
    """Empty and long lines, other characters, base64 that is not canonical."""
    armored = armor("SIGNED MESSAGE", Cms(forge).der())
    lines = armored.split(b"\n")
    whole = b"".join(lines[1:-1])
    for body in (
        [b"", *lines[1:-1]],
        [whole],
        [b"comment: x", *lines[1:-1]],
        [lines[1] + b" ", *lines[2:-1]],
        [b"QUF="],
    ):
        with pytest.raises(MalformedError):
            verify_object(signed_commit(b"\n".join([lines[0], *body, lines[-1]])), trust)
    wide = [whole[at : at + 76] for at in range(0, len(whole), 76)]
    assert (
        verify_object(signed_commit(b"\n".join([lines[0], *wide, lines[-1]])), trust).identity.subject == ADA
    )


def test_openssl_reads_what_these_tests_make(forge: Forge, tmp_path: Path) -> None:
    """The signatures made here are CMS to others too, so refusals are not for bad craft."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    (tmp_path / "s.der").write_bytes(Cms(forge).der())
    (tmp_path / "m").write_bytes(PAYLOAD)
    command = [
        "openssl",
        "cms",
        "-verify",
        "-inform",
        "DER",
        "-in",
        "s.der",
        "-content",
        "m",
        "-binary",
        "-noverify",
    ]
    done = subprocess.run(
        [*command, "-out", "out"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

"""Bundles of other tools, in every shape that their formats allow, with sigstore-python as a second opinion.

The shapes are those of package indexes (predicate null), container signers (no predicate, subjects without a name),
npm (package URLs, SHA-512 alone), forges (Git's ids beside a digest) and writers of proto3 JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from sigstore.errors import Error as SigstoreError
from sigstore.models import Bundle as SigstoreBundle

from gitchain.errors import AlgorithmError, GitchainError, InclusionError, MalformedError, SignatureError
from gitchain.evidence.claim import claim_of
from gitchain.evidence.dsse import IN_TOTO_PAYLOAD_TYPE, pae
from gitchain.evidence.statement import Statement
from gitchain.evidence.subjects import COMPARED, Subject, read_subjects, subjects_with
from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPES
from gitchain.instance import Instance
from gitchain.verify.bundle import verify_artifact, verify_bundle, verify_subjects
from gitchain.verify.keys import Key, check_algorithm
from gitchain.verify.trust import Trust
from tests.support.bundle_kinds import both_logs, craft, spki
from tests.support.forged_bundles import ADA, Forge, b64, entry_of, raw
from tests.support.sigstore_oracle import Anyone, oracle_of, sigstore_accepts

FILE = b"some package"
DIGESTS = {name: hashlib.new(name, FILE).digest() for name in COMPARED}
HEX = {name: digest.hex() for name, digest in DIGESTS.items()}
OTHER = {name: hashlib.new(name, b"other").digest() for name in COMPARED}
SHA256 = {"sha256": HEX["sha256"]}
GIT = "ec940f57f28ae1708ad8db2a7dece857513de5ba"
Json = dict[str, Any]


@pytest.fixture(scope="session")
def both(instance: Instance) -> Trust:
    return both_logs(instance)


def said(*subjects: Json, **more: Any) -> bytes:
    """Return a statement about these subjects; a field that is Ellipsis is left out."""
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": list(subjects),
        "predicateType": "https://docs.pypi.org/attestations/publish/v1",
        "predicate": {},
    } | more
    return json.dumps({key: value for key, value in statement.items() if value is not ...}).encode()


SUBJECT: Json = {"name": "package-1.0.tar.gz", "digest": SHA256}
COSIGN = "https://sigstore.dev/cosign/sign/v1"
ACCEPTED: dict[str, bytes] = {
    "predicate null": said(SUBJECT, predicate=None),
    "predicate absent": said(SUBJECT, predicate=...),
    "cosign v3 signature": said({"digest": SHA256}, predicateType=COSIGN, predicate=...),
    "name null": said({"name": None, "digest": SHA256}),
    "name empty": said({"name": "", "digest": SHA256}),
    "name is a url": said({"name": "https://registry.example/p//a?x=1#y", "digest": SHA256}),
    "name is a package url": said({"name": "pkg:npm/%40scope/p@1.0.0", "digest": SHA256 | {"sha512": HEX["sha512"]}}),
    "name is a dot": said({"name": ".", "digest": SHA256}),
    "name is absolute": said({"name": "/a/../b", "digest": SHA256}),
    "name with a backslash": said({"name": "a\\b", "digest": SHA256}),
    "names that differ in case": said({"name": "A", "digest": SHA256}, {"name": "a", "digest": SHA256}),
    "one name twice": said(SUBJECT, SUBJECT),
    "several digests": said({"name": "x", "digest": HEX}),
    "git ids beside it": said({"name": "x", "digest": SHA256 | {"gitCommit": GIT, "sha1": GIT, "blake3": "any", "md5": "?"}}),
    "a subject without digest beside it": said({"name": "git+https://x.example/r"}, {"name": "y", "digest": {}}, SUBJECT),
    "a malformed digest beside it": said({"name": "x", "digest": {"sha256": "ZZ"}}, SUBJECT),
    "the last of many": said(*({"name": f"{n}", "digest": {"sha256": f"{n:064x}"}} for n in range(999)), SUBJECT),
    "old statement": said({"digest": SHA256}, _type="https://in-toto.io/Statement/v0.1", predicateType=COSIGN),
    "predicate type without scheme": said(SUBJECT, predicateType="cosign.sigstore.dev/attestation/v1"),
    "uri instead of name": said({"uri": "oci://r.example/x", "digest": SHA256, "mediaType": "x", "annotations": {"a": 1}}),
    "unknown fields": said(SUBJECT | {"other": [1]}, other={"a": None}),
    "predicate that is no object": said(SUBJECT, predicate="text"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["hashedrekord 0.0.2", "dsse 0.0.1", "intoto 0.0.2"])
@pytest.mark.parametrize("shape", ACCEPTED)
def test_a_statement_of_another_tool_is_about_its_subjects(
    forge: Forge, both: Trust, shape: str, kind: str
) -> None:
    """sigstore-python accepts it, so do we, for the file that is a subject and for no other."""
    bundle = raw(craft(forge, kind=kind, payload=ACCEPTED[shape]))
    if not kind.startswith("intoto"):  # sigstore-python reads none of these
        assert sigstore_accepts(bundle, both)
    assert verify_artifact(bundle, both, DIGESTS).identity.subject == ADA
    assert verify_artifact(bundle, both, {"sha256": DIGESTS["sha256"]}).identity.subject == ADA
    with pytest.raises(SignatureError, match="statement is about other artifacts"):
        verify_artifact(bundle, both, OTHER)


@pytest.mark.parametrize("name", COMPARED)
def test_one_digest_is_enough(forge: Forge, both: Trust, name: str) -> None:
    """npm names a tarball by SHA-512 alone; any SHA-2 or SHA-3 of 256 bits or more will do."""
    bundle = raw(craft(forge, payload=said({"name": "pkg:npm/x@1", "digest": {name: HEX[name]}})))
    assert sigstore_accepts(bundle, both)
    assert verify_artifact(bundle, both, DIGESTS).identity.subject == ADA
    assert verify_artifact(bundle, both, {name: DIGESTS[name]}).identity.subject == ADA
    with pytest.raises(
        SignatureError, match=f"other artifacts, expected {name}:{OTHER[name].hex()}, got pkg:npm/x@1"
    ):
        verify_artifact(bundle, both, OTHER)
    others = {other: digest for other, digest in DIGESTS.items() if other != name}
    with pytest.raises(SignatureError, match=f"no digest to compare with, expected .*, got {name}$"):
        verify_artifact(bundle, both, others)


@pytest.mark.parametrize(
    ("subjects", "message"),
    [
        ([{"digest": SHA256 | {"sha512": OTHER["sha512"].hex()}}], "digests of the subject contradict each other"),
        ([{"digest": SHA256 | {"sha3_256": "0" * 64}}], "contradict each other, got sha256:"),
        ([{"digest": {"sha256": HEX["sha256"].upper()}}], "other artifacts"),
        ([{"digest": {"sha256": f"{HEX['sha256']}0"}}], "other artifacts"),
        ([{"digest": {"sha256": f"{HEX['sha256']} "}}], "other artifacts"),
        ([{"digest": {"SHA256": HEX["sha256"]}}], "got SHA256"),
        ([{"digest": {"sha-256": HEX["sha256"]}}], "got sha-256"),
        ([{"digest": {"gitCommit": GIT}}, {"digest": {"sha1": GIT}}], "got gitCommit, sha1"),
        ([{"digest": {"md5": hashlib.md5(FILE).hexdigest()}}], "got md5"),
        ([{"digest": {"sha1": hashlib.sha1(FILE).hexdigest()}}], "got sha1"),
        ([{"name": "x"}], "got no digest"),
        ([{"name": HEX["sha256"], "digest": {"x\n\u202e": "y"}}], r"got x\\n\\u202e"),
        ([{"name": f"n{n}", "digest": {"sha256": "0" * 64}} for n in range(5)], "n0 sha256:0{64}, n1 .*, n2 .* and 2 more"),
        ([{"name": f"n{n}", "digest": {"sha256": "0" * 64}} for n in range(3)], "n2 sha256:0{64}$"),
    ],
)  # fmt: skip
def test_why_a_file_is_no_subject(forge: Forge, both: Trust, subjects: list[Json], message: str) -> None:
    """The reason is the true one: another digest, no digest that can be compared, or a contradiction."""
    with pytest.raises(SignatureError, match=message):
        verify_artifact(raw(craft(forge, payload=said(*subjects))), both, DIGESTS)


def subjects_of(count: int) -> list[Json]:
    return [{"digest": {f"x{n}": "y" for n in range(count)}}]


@pytest.mark.parametrize(
    "payload",
    [
        said(),
        said(subject=...),
        said(subject=None),
        said(subject=SUBJECT),
        said("x"),  # type: ignore[arg-type]
        said(SUBJECT, _type=...),
        said(SUBJECT, _type="https://in-toto.io/Statement/v2"),
        said(SUBJECT, predicateType=...),
        said(SUBJECT, predicateType=""),
        said(SUBJECT, predicateType=7),
        said({"name": 7, "digest": SHA256}),
        said({"digest": [HEX["sha256"]]}),
        said({"digest": {"sha256": 7}}),
        said({"digest": SHA256, "mediaType": 7}),
        said(*subjects_of(33)),
        said(*(SUBJECT for _ in range(10_001))),
        b'{"_type":"https://in-toto.io/Statement/v1","_type":"https://in-toto.io/Statement/v1"}',
        said(SUBJECT)[:-1],
        b"[" * 100 + b"]" * 100,
        b"",
    ],
)
def test_what_is_no_statement_is_about_nothing(forge: Forge, both: Trust, payload: bytes) -> None:
    """Signed or not, no file is a subject of it."""
    with pytest.raises(GitchainError) as caught:
        verify_artifact(raw(craft(forge, payload=payload)), both, DIGESTS)
    assert type(caught.value).__name__ in {"MalformedError", "LimitError"}


def test_as_many_digests_as_allowed() -> None:
    assert len(read_subjects(said(*subjects_of(32)))[0].digest) == 32


def test_subjects_have_the_names_that_a_repository_could_have() -> None:
    """A name that is no normalised path is none: a target without a name is known by its digest alone."""
    names = ["a/b", "pkg:npm/x@1", "https://x.example/y", ".", "../x", "/x", "a\\b", "", None, "x" * 1025]
    found = read_subjects(said(*({"name": name, "digest": SHA256} for name in names)))
    assert [one.name for one in found] == ["a/b", "pkg:npm/x@1", *[None] * 8]
    assert [one.manifest_version for one in found] == [None] * 10
    directories = [
        {"name": "d", "digest": SHA256, "mediaType": name} for name in MANIFEST_MEDIA_TYPES.values()
    ]
    assert str(found[0]) == f"a/b sha256:{HEX['sha256']}"
    assert str(found[2]) == f"sha256:{HEX['sha256']}"
    assert str(Subject(None, {})) == "no digest"
    assert str(Subject("x", {"sha1": GIT})) == f"x sha1:{GIT}"
    assert [one.manifest_version for one in read_subjects(said(*directories))] == list(MANIFEST_MEDIA_TYPES)
    assert subjects_with(found, SHA256) == found


@pytest.mark.parametrize(
    "shape", [one for one in ACCEPTED if one.startswith("predicate") and "type" not in one]
)
def test_a_chain_reads_an_absent_predicate_as_an_empty_one(forge: Forge, both: Trust, shape: str) -> None:
    """It then says nothing about a step; a predicate of another type than an object is malformed."""
    bundle = raw(craft(forge, payload=ACCEPTED[shape]))
    if "no object" in shape:
        with pytest.raises(MalformedError, match="predicate"):
            verify_bundle(bundle, both)
        return
    statement = verify_bundle(bundle, both).statement
    assert (statement.predicate, claim_of(statement).step) == ({}, None)
    for kind in ("https://slsa.dev/provenance/v1", "https://in-toto.io/attestation/link/v0.3"):
        with pytest.raises(MalformedError):
            claim_of(Statement.parse(said(SUBJECT, predicateType=kind, predicate=None)))


@pytest.mark.parametrize("shape", [one for one in ACCEPTED if one.startswith(("name", "cosign", "one name"))])
def test_a_chain_takes_no_subject_that_rules_cannot_see(forge: Forge, both: Trust, shape: str) -> None:
    """Without a normalised name of its own a subject could slip past the rules of a layout."""
    if shape == "name is a package url":
        assert verify_bundle(raw(craft(forge, payload=ACCEPTED[shape])), both).statement.subject[0].name
        return
    with pytest.raises(MalformedError):
        verify_bundle(raw(craft(forge, payload=ACCEPTED[shape])), both)


def test_verify_subjects_says_who_signed_and_what_about(forge: Forge, both: Trust) -> None:
    proven, subjects = verify_subjects(raw(craft(forge, payload=said(SUBJECT))), both)
    assert (proven.identity.subject, subjects) == (ADA, (Subject("package-1.0.tar.gz", SHA256),))
    with pytest.raises(MalformedError, match="payload is not"):
        verify_subjects(raw(forge.bundle(said(SUBJECT), kind="text/plain")), both)


# Log entries and JSON --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keyid", ["", "SHA256:abc", "k" * 2000])
def test_an_intoto_entry_may_have_a_keyid(forge: Forge, both: Trust, keyid: str) -> None:
    """The log keeps the hint of the envelope that was uploaded; it decides nothing."""

    def edit(body: Json) -> None:
        body["spec"]["content"]["envelope"]["signatures"][0]["keyid"] = keyid

    bundle = craft(forge, kind="intoto 0.0.2", payload=said(SUBJECT), edit=edit)
    assert verify_artifact(raw(bundle), both, DIGESTS).identity.subject == ADA
    bundle["dsseEnvelope"]["signatures"][0]["keyid"] = "another"
    assert verify_artifact(raw(bundle), both, DIGESTS).identity.subject == ADA


@pytest.mark.parametrize("keyid", [7, None, ["x"], {}])
def test_an_intoto_entry_with_a_keyid_that_is_no_text_is_refused(
    forge: Forge, both: Trust, keyid: object
) -> None:
    def edit(body: Json) -> None:
        body["spec"]["content"]["envelope"]["signatures"][0]["keyid"] = keyid

    with pytest.raises(InclusionError, match="about another signature"):
        verify_artifact(
            raw(craft(forge, kind="intoto 0.0.2", payload=said(SUBJECT), edit=edit)), both, DIGESTS
        )


def snake(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            re.sub("([A-Z])", lambda one: f"_{one[1].lower()}", key): snake(item)
            for key, item in value.items()
        }
    return [snake(item) for item in value] if isinstance(value, list) else value


def omit(bundle: Json) -> Json:
    """Leave out what proto3 JSON leaves out: the entry is the only one of its shard."""
    proof = entry_of(bundle)["inclusionProof"]
    assert (proof.pop("logIndex"), proof.pop("hashes")) == ("0", [])
    return bundle


def numbers(bundle: Json) -> Json:
    entry = entry_of(bundle)
    for place, name in (
        (entry, "logIndex"),
        (entry, "integratedTime"),
        (entry["inclusionProof"], "treeSize"),
    ):
        place[name] = int(place[name])
    return bundle


def url_safe(bundle: Json) -> Json:
    envelope = bundle["dsseEnvelope"]
    for place, name in (
        (envelope, "payload"),
        (envelope["signatures"][0], "sig"),
        (entry_of(bundle), "canonicalizedBody"),
    ):
        place[name] = place[name].translate(str.maketrans("+/", "-_")).rstrip("=")
    return bundle


def no_checkpoint(bundle: Json) -> Json:
    bundle["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1"
    del entry_of(bundle)["inclusionProof"]["checkpoint"]
    certificate = bundle["verificationMaterial"].pop("certificate")
    bundle["verificationMaterial"]["x509CertificateChain"] = {"certificates": [certificate]}
    return bundle


def extra(bundle: Json) -> Json:
    bundle["extra"] = 1
    return bundle


SPELLINGS: dict[str, tuple[Callable[[Json], Json], bool, str]] = {
    "original field names": (snake, True, ""),
    "zeros and empty lists left out": (omit, False, ""),
    "numbers": (numbers, False, ""),
    "url-safe base64 without padding": (url_safe, False, ""),
    "unknown field": (extra, False, ""),
    "proof without checkpoint": (no_checkpoint, False, "inclusion proof has no checkpoint"),
}
"""Each with whether sigstore-python accepts it, and why we do not: sigstore-go reads all but unknown fields."""


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_bundle_in_another_spelling_verifies(forge: Forge, both: Trust, name: str) -> None:
    """What sigstore-python or sigstore-go reads is read, or refused with the reason."""
    spell, oracle, reason = SPELLINGS[name]
    bundle = craft(
        forge, kind="dsse 0.0.1", payload=said({"digest": {"sha512": HEX["sha512"]}}, predicate=None)
    )
    data = raw(spell(bundle))
    try:
        oracle_of(both).verify_dsse(SigstoreBundle.from_json(data), Anyone())
    except SigstoreError:
        assert not oracle
    else:
        assert oracle
    if not reason:
        assert verify_artifact(data, both, DIGESTS).identity.subject == ADA
    else:
        with pytest.raises(InclusionError, match=reason):
            verify_artifact(data, both, DIGESTS)


# Algorithms ------------------------------------------------------------------------------------------------------

P384 = ec.derive_private_key(77, ec.SECP384R1())
RSA = rsa.generate_private_key(65537, 2048)
PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)


@pytest.mark.parametrize(
    ("key", "sign_with", "message"),
    [
        (P384, lambda data: P384.sign(data, ec.ECDSA(hashes.SHA256())), "ECDSA secp384r1 with SHA256"),
        (P384, lambda data: P384.sign(data, ec.ECDSA(hashes.SHA512())), "ECDSA secp384r1 with SHA512"),
        (
            RSA,
            lambda data: RSA.sign(data, padding.PKCS1v15(), hashes.SHA512()),
            "RSA PKCS #1 v1.5 with SHA512",
        ),
        (RSA, lambda data: RSA.sign(data, PSS, hashes.SHA256()), "RSA PSS with SHA256"),
    ],
)
@pytest.mark.parametrize("what", ["envelope", "file"])
def test_an_algorithm_that_is_not_supported_is_named(
    forge: Forge, both: Trust, key: Any, sign_with: Callable[[bytes], bytes], message: str, what: str
) -> None:
    """The key did sign: the reason is the algorithm, not the signature."""
    named = Key.of(key.public_key())
    content: dict[str, Any] = {"file": FILE} if what == "file" else {"payload": said(SUBJECT)}
    bundle = craft(forge, key=key, **content)
    if what == "file":
        bundle["messageSignature"]["signature"] = b64(sign_with(FILE))
    else:
        bundle["dsseEnvelope"]["signatures"][0]["sig"] = b64(
            sign_with(pae(IN_TOTO_PAYLOAD_TYPE, said(SUBJECT)))
        )
    with pytest.raises(
        AlgorithmError, match=re.escape(f"not supported, expected {named.details}, got {message}")
    ):
        verify_artifact(raw(bundle), both, DIGESTS, [named.spki])
    bundle = craft(forge, key=key, **content)
    assert verify_artifact(raw(bundle), both, DIGESTS, [named.spki]).identity.issuer == "gitchain:key"


def test_a_certificates_key_with_another_algorithm_is_named(forge: Forge, both: Trust) -> None:
    """The forge's key is P-256, for SHA-256; sigstore-python refuses SHA-384 too."""
    payload = said(SUBJECT)
    bundle = craft(forge, kind="dsse 0.0.1", payload=payload)
    signature = forge.key.sign(pae(IN_TOTO_PAYLOAD_TYPE, payload), ec.ECDSA(hashes.SHA384()))
    bundle["dsseEnvelope"]["signatures"][0]["sig"] = b64(signature)
    with pytest.raises(AlgorithmError, match="ECDSA secp256r1 with SHA384"):
        verify_artifact(raw(bundle), both, DIGESTS)


def test_check_algorithm_passes_over_what_the_key_did_not_sign() -> None:
    """Another key's signature, its own algorithm's failure, a digest that is not known: no diagnosis."""
    digests = {name: DIGESTS[name] for name in ("sha256", "sha384", "sha512")}
    other = ec.derive_private_key(78, ec.SECP384R1()).sign(FILE, ec.ECDSA(hashes.SHA256()))
    for key in (P384, RSA):
        check_algorithm(Key.of(key.public_key()), other, digests)
        check_algorithm(Key.of(key.public_key()), b"x", digests)
    check_algorithm(
        Key.of(P384.public_key()), P384.sign(FILE, ec.ECDSA(hashes.SHA256())), {"sha512": DIGESTS["sha512"]}
    )
    check_algorithm(Key.of(P384.public_key()), P384.sign(FILE, ec.ECDSA(hashes.SHA384())), digests)
    ed = Key.load(spki(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))))
    check_algorithm(ed, b"x" * 64, digests)


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (ec.derive_private_key(5, ec.SECP256K1()), "ECDSA secp256k1"),
        (rsa.generate_private_key(65537, 1024), "RSA with 1024 bits"),
        (object(), "object"),
    ],
)
def test_a_key_that_is_not_accepted_is_named(key: Any, kind: str) -> None:
    public = key.public_key() if hasattr(key, "public_key") else key
    with pytest.raises(SignatureError, match=f"not accepted.*got {kind}$"):
        Key.of(public)


def test_the_time_of_an_old_entry_is_the_logs_promise(forge: Forge, both: Trust) -> None:
    """An entry of Rekor v1 whose promise is an empty message has none."""
    bundle = craft(forge, kind="dsse 0.0.1", payload=said(SUBJECT))
    entry_of(bundle)["inclusionPromise"] = {}
    with pytest.raises(InclusionError, match="no promise"):
        verify_artifact(raw(bundle), both, DIGESTS)

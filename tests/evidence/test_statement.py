"""Statements: what is built can be signed by Sigstore's clients, and what is parsed is strict."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from sigstore.dsse import Statement as SigstoreStatement

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.statement import (
    MAX_DESCRIPTORS,
    OLD_STATEMENT_TYPE,
    ResourceDescriptor,
    Statement,
)
from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPE, MANIFEST_MEDIA_TYPES, REVOCATION

H = "ab" * 32
TYPE = "https://example.com/predicate/v1"


def file(name: str, sha256: str = H, **more: Any) -> ResourceDescriptor:
    return ResourceDescriptor(name, DigestSet({"sha256": sha256}), **more)


def raw(**changes: Any) -> bytes:
    document: dict[str, Any] = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "model.pkl", "digest": {"sha256": H}}],
        "predicateType": TYPE,
        "predicate": {},
    }
    document.update(changes)
    return json.dumps({key: value for key, value in document.items() if value is not ...}).encode()


def test_build_parses_back_to_itself() -> None:
    """parse(build(x).payload) is build(x), annotations and media types included."""
    built = Statement.build(
        [file("model", media_type=MANIFEST_MEDIA_TYPE, annotations={"dvc.md5": "0" * 32})], TYPE, {"a": 1.5}
    )
    assert Statement.parse(built.payload) == built
    assert built.subject[0].is_directory
    assert built.subject[0].annotations == {"dvc.md5": "0" * 32}


@pytest.mark.parametrize(
    ("algorithm", "digits"),
    [("sha256", 64), ("sha384", 96), ("sha512", 128), ("sha3_256", 64), ("sha3_384", 96), ("sha3_512", 128)],
)
def test_what_sigstore_signs_over_may_be_a_subject_s_digest(algorithm: str, digits: int) -> None:
    """A digest of each algorithm that sigstore-python signs over may stand beside sha256; of no other."""
    digests = DigestSet({"sha256": H, algorithm: "a" * digits})
    assert Statement.build([ResourceDescriptor("x", digests)], TYPE, {}).subject[0].digest == digests
    other = DigestSet({"sha256": H, "XX" + algorithm: "a" * digits})
    with pytest.raises(MalformedError, match="cannot be signed"):
        Statement.build([ResourceDescriptor("x", other)], TYPE, {})


def test_the_shortest_media_type_is_one() -> None:
    """One character is a media type as far as this parser minds; none is not."""
    assert file("x", media_type="m").media_type == "m"


def test_a_descriptor_checks_its_name() -> None:
    """No descriptor has a name that no artifact may have, however it was made."""
    with pytest.raises(MalformedError):
        file("../x")


def test_the_media_type_says_which_manifest_the_digest_is_of() -> None:
    """Each version of the directory manifest has its own media type; every other is a file's."""
    for version, name in MANIFEST_MEDIA_TYPES.items():
        assert file("x", media_type=name).manifest_version == version
        assert file("x", media_type=name).is_directory
    for other in (None, "text/plain"):
        assert file("x", media_type=other).manifest_version is None
        assert not file("x", media_type=other).is_directory


def test_descriptors_and_statements_can_be_hashed() -> None:
    """Annotations and predicates are mappings, which have no hash: the hash leaves them out."""
    noted = file("x", annotations={"a": 1})
    assert hash(noted) == hash(file("x", annotations={"a": 2}))
    assert len({Statement.build([noted], TYPE, {"a": 1}), Statement.build([noted], TYPE, {"a": 1})}) == 1


def test_a_revocation_needs_an_accepted_digest_only() -> None:
    """What has no sha256 can be revoked by another digest that chains are matched by, and by no other."""
    by_sha512 = ResourceDescriptor("x", DigestSet({"sha512": "a" * 128}))
    assert Statement.build([by_sha512], REVOCATION, {}).subject == (by_sha512,)
    with pytest.raises(MalformedError, match="subject has no sha256"):
        Statement.build([ResourceDescriptor("x", DigestSet({"sha3_256": H}))], REVOCATION, {})


def test_the_first_digest_that_cannot_be_signed_is_named() -> None:
    """Of several, the first in the order of the alphabet."""
    foreign = {"gitTree": "0" * 40, "gitCommit": "0" * 40, "sha1": "0" * 40, "md5": "0" * 32, "dirHash": H}
    with pytest.raises(MalformedError, match="dirHash cannot be signed"):
        Statement.build([ResourceDescriptor("x", DigestSet({"sha256": H, **foreign}))], TYPE, {})


def test_subject_order_does_not_matter() -> None:
    """The same artifacts make the same bytes, in whatever order they were found."""
    first, second = file("a"), file("b", "cd" * 32)
    assert (
        Statement.build([first, second], TYPE, {}).payload
        == Statement.build([second, first], TYPE, {}).payload
    )


def test_sigstore_signs_what_we_build() -> None:
    """sigstore-python keeps our bytes and accepts them as a statement."""
    payload = Statement.build([file("model.pkl")], TYPE, {"x": [1]}).payload
    assert SigstoreStatement(payload)._contents == payload


def test_attestation_id_is_the_hash_of_the_pae() -> None:
    """The id covers the payload type and the payload, and nothing that is not signed."""
    statement = Statement.parse(raw())
    signed = b"DSSEv1 28 application/vnd.in-toto+json %d %b" % (len(raw()), raw())
    assert statement.attestation_id == hashlib.sha256(signed).hexdigest()


def test_parse_keeps_the_bytes() -> None:
    """Bytes that are not canonical stay as they were signed, unknown fields included."""
    payload = raw(extra={"b": 1, "a": 2})
    assert Statement.parse(payload).payload == payload


@pytest.mark.parametrize("algorithm", ["sha1", "gitCommit", "gitTree", "md5", "dirHash", "blake3"])
def test_build_refuses_digests_that_sigstore_refuses(algorithm: str) -> None:
    """A digest that the client would choke on is refused where the statement is made, with the way out."""
    value = {"md5": "0" * 32, "dirHash": "0" * 64, "blake3": "0" * 64}.get(algorithm, "0" * 40)
    descriptor = ResourceDescriptor("x", DigestSet({"sha256": H, algorithm: value}))
    with pytest.raises(MalformedError, match=f"{algorithm} cannot be signed") as caught:
        Statement.build([descriptor], TYPE, {})
    assert "annotations" in caught.value.help


@pytest.mark.parametrize(
    "subject",
    [
        [],
        [ResourceDescriptor("x", DigestSet({"sha512": "a" * 128}))],
        [ResourceDescriptor(None, DigestSet({"sha256": H}), uri="https://x")],
        [file("x"), file("x")],
        [file("x"), file("X")],
    ],
    ids=["none", "no sha256", "no name", "twice", "case"],
)
def test_build_refuses_unsignable_subjects(subject: list[ResourceDescriptor]) -> None:
    """No subject, no sha256, no name, or two with one name: nothing to sign."""
    with pytest.raises(MalformedError):
        Statement.build(subject, TYPE, {})


@pytest.mark.parametrize(
    "changes",
    [
        {"_type": "https://in-toto.io/Statement/v0.2"},
        {"_type": ...},
        {"subject": []},
        {"subject": ...},
        {"subject": {}},
        {"subject": [{"name": "x"}]},
        {"subject": [{"name": "x", "digest": {}}]},
        {"subject": [{"name": "x", "digest": {"sha256": H}}, {"name": "y", "digest": {}}]},
        {"subject": [{"digest": {"sha256": H}}]},
        {"subject": [{"name": "", "digest": {"sha256": H}}]},
        {"subject": [{"name": "../x", "digest": {"sha256": H}}]},
        {"subject": [{"name": "x", "digest": {"sha256": H.upper()}}]},
        {"subject": [{"name": "x", "digest": {"sha256": H[:-1]}}]},
        {"subject": [{"name": "x", "digest": {"sha256": 5}}]},
        {"subject": [{"name": "x", "digest": {"sha256": H}}, {"name": "x", "digest": {"sha256": "c" * 64}}]},
        {
            "subject": [
                {"uri": "https://x", "digest": {"sha256": H}},
                {"uri": "https://x", "digest": {"sha256": H}},
            ]
        },
        {"subject": [{"name": "git:x", "digest": {"sha256": H}}, {"uri": "git:x", "digest": {"sha256": H}}]},
        {"subject": [{"uri": "HTTPS//x", "digest": {"sha256": H}}]},
        {"subject": [{"name": "x", "digest": {"sha256": H}, "annotations": []}]},
        {"subject": [{"name": "x", "digest": {"sha256": H}, "mediaType": "a\nb"}]},
        {"subject": [{"name": "x", "digest": {"sha256": H}, "mediaType": "é"}]},
        {"subject": [{"name": "x", "digest": {"sha256": H}, "mediaType": ""}]},
        {"predicateType": "provenance"},
        {"predicateType": ...},
        {"predicate": []},
    ],
    ids=lambda changes: json.dumps(changes, default=lambda _: "absent")[:60],
)
def test_parse_refuses(changes: dict[str, Any]) -> None:
    """Anything but a Statement v1 whose subjects each have a digest and a name of their own."""
    with pytest.raises(MalformedError):
        Statement.parse(raw(**changes))


def test_parse_reads_a_predicate_that_is_null_or_absent_as_an_empty_one() -> None:
    """The format lets it be left out; the payload stays as it is."""
    for absent in (raw(predicate=None), raw(predicate=...)):
        found = Statement.parse(absent)
        assert (found.predicate, found.payload) == ({}, absent)
    assert Statement.parse(raw(Predicate={"a": 1})).predicate == {}
    with pytest.raises(
        MalformedError, match="another case"
    ):  # a parser that ignores case reads it as the predicate
        Statement.parse(raw(predicate=..., Predicate={"a": 1}))


def test_parse_reads_the_older_version_with_the_same_checks() -> None:
    """What cosign writes keeps its bytes; subjects need a digest and a name; gitchain's own types need a Statement v1."""
    payload = raw(_type=OLD_STATEMENT_TYPE)
    found = Statement.parse(payload)
    assert (found.is_old, found.payload, found.subject) == (True, payload, Statement.parse(raw()).subject)
    assert not Statement.parse(raw()).is_old
    wrong: list[dict[str, Any]] = [
        {"subject": []},
        {"subject": [{"name": "x", "digest": {}}]},
        {"subject": [{"digest": {"sha256": H}}]},
        {"subject": [{"name": "x", "digest": {"sha256": H.upper()}}]},
        {"subject": [{"name": "x", "digest": {"sha256": H}}, {"name": "X", "digest": {"sha256": H}}]},
        {"predicate": []},
        {"predicate": ..., "Predicate": {"a": 1}},
        {"predicateType": "https://gitchain.dev/predicate/revocation/v0.1"},
        {"predicateType": "https://gitchain.dev/predicate/layout/v1"},
        {"predicateType": "https://gitchain.dev/predicate/dataset/v0.1"},
    ]
    for changes in wrong:
        with pytest.raises(MalformedError):
            Statement.parse(raw(_type=OLD_STATEMENT_TYPE, **changes))
    with pytest.raises(MalformedError, match="key appears twice"):
        Statement.parse(b'{"_type":"https://in-toto.io/Statement/v1",' + payload[1:])
    with pytest.raises(LimitError):
        Statement.parse(raw(_type=OLD_STATEMENT_TYPE, subject=[{}] * (MAX_DESCRIPTORS + 1)))


def test_build_makes_a_statement_v1() -> None:
    """gitchain never signs the older version."""
    assert not Statement.build([file("x")], TYPE, {}).is_old


def test_parse_refuses_too_many_subjects() -> None:
    """One more subject than the limit is refused before any is read."""
    with pytest.raises(LimitError):
        Statement.parse(raw(subject=[{}] * (MAX_DESCRIPTORS + 1)))


def test_foreign_git_subject_parses() -> None:
    """Statements that others signed over a commit can be read, though we would not make them."""
    statement = Statement.parse(raw(subject=[{"uri": "git+https://x/y", "digest": {"gitCommit": "a" * 40}}]))
    assert statement.subject[0].rule_name == "git+https://x/y"

"""Subjects of foreign statements: what is read, how it is shown, and which of them are a file."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.digest import MAX_DIGESTS
from gitchain.evidence.statement import MAX_DESCRIPTORS, STATEMENT_TYPE
from gitchain.evidence.subjects import COMPARED, Subject, read_subjects, subjects_with
from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPES

A, B = "a" * 64, "b" * 64


def payload(*subject: Any, **changes: Any) -> bytes:
    value = {"_type": STATEMENT_TYPE, "predicateType": "https://x.example/p", "subject": list(subject)}
    return json.dumps(value | changes).encode()


def test_read_subjects_of_both_versions() -> None:
    """The predicate may be null or absent; each subject keeps all of its digests, in their order."""
    one = {"name": "models/a.pkl", "digest": {"sha256": A, "other": "x"}}
    for changes in ({}, {"predicate": None}, {"_type": "https://in-toto.io/Statement/v0.1"}):
        [found] = read_subjects(payload(one, **changes))
        assert found == Subject("models/a.pkl", {"sha256": A, "other": "x"})


@pytest.mark.parametrize("name", ["https://x.example/a", ".", "", "/a", "../a", None])
def test_read_subjects_without_a_usable_name(name: str | None) -> None:
    """A subject whose name is no path of a repository has none."""
    assert read_subjects(payload({"name": name, "digest": {"sha256": A}}))[0].name is None


def test_read_subjects_of_a_directory() -> None:
    """The media type of a directory manifest gives its version; any other media type is of a file."""
    for version, media_type in MANIFEST_MEDIA_TYPES.items():
        one = {"name": "d", "digest": {"sha256": A}, "mediaType": media_type}
        assert read_subjects(payload(one))[0].manifest_version == version
    assert read_subjects(payload({"digest": {}, "mediaType": "text/plain"}))[0].manifest_version is None


@pytest.mark.parametrize(
    ("data", "what", "where"),
    [
        (payload(_type="https://in-toto.io/Statement/v2"), "not an in-toto statement", "_type"),
        (payload({}, predicateType=""), "no predicate type", "statement.predicateType"),
        (payload(), "no subject", "statement.subject"),
        (payload({}, 1), "wrong type", "subject[1]"),
        (payload({"digest": {"sha256": 1}}), "wrong type", "subject[0].digest"),
    ],
)
def test_read_subjects_says_what_is_malformed(data: bytes, what: str, where: str) -> None:
    """The error names the field, a subject by its number."""
    with pytest.raises(MalformedError) as caught:
        read_subjects(data)
    assert (what in caught.value.what, caught.value.where) == (True, where)


def test_read_subjects_up_to_the_limits() -> None:
    """As many subjects, and digests of one, as other readers take; one more is refused."""
    assert len(read_subjects(payload(*[{}] * MAX_DESCRIPTORS))) == MAX_DESCRIPTORS
    with pytest.raises(LimitError):
        read_subjects(payload(*[{}] * (MAX_DESCRIPTORS + 1)))
    digests = {f"kind{number}": "x" for number in range(MAX_DIGESTS)}
    assert len(read_subjects(payload({"digest": digests}))[0].digest) == MAX_DIGESTS
    with pytest.raises(LimitError):
        read_subjects(payload({"digest": digests | {"more": "x"}}))


@pytest.mark.parametrize(
    ("subject", "shown"),
    [
        (Subject("m.pkl", {"sha256": A}), f"m.pkl sha256:{A}"),
        (Subject(None, {"sha256": A}), f"sha256:{A}"),
        (Subject("m.pkl", {"md5": "0", "sha512": "1"}), "m.pkl sha512:1"),
        (Subject("m.pkl", {"md5": "0", "gitBlob": "1"}), "m.pkl md5:0"),
        (Subject("m.pkl", {}), "m.pkl no digest"),
        (Subject(None, {}), "no digest"),
        (Subject("\u00e9", {"k": "\n"}), r"\xe9 k:\n"),
        (Subject(None, {"k": "x" * 200}), "k:" + "x" * 138),
    ],
)
def test_subject_is_shown_on_one_short_line(subject: Subject, shown: str) -> None:
    """Name and first digest, one that files are compared by if there is one; escaped, at most 140 characters of digest."""
    assert str(subject) == shown


@pytest.mark.parametrize("algorithm", COMPARED)
def test_subjects_with_the_digest_of_a_file(algorithm: str) -> None:
    """Every algorithm of COMPARED finds the subjects with that digest."""
    same, other = Subject("a", {algorithm: A}), Subject("b", {algorithm: B})
    assert subjects_with([same, other], {algorithm: A}) == (same,)


def test_subjects_with_digests_that_agree() -> None:
    """One shared digest is enough, none is not, and a shared one that differs refutes the subject."""
    one = Subject("a", {"sha256": A, "sha512": B, "md5": "0"})
    assert subjects_with([one], {"sha256": A}) == (one,)
    assert subjects_with([one], {"sha256": A, "sha512": B, "sha384": A}) == (one,)
    assert subjects_with([one], {"sha256": A, "sha512": A}) == ()
    assert subjects_with([one], {"sha384": A}) == ()
    assert subjects_with([one], {"md5": "0"}) == ()
    assert subjects_with([], {"sha256": A}) == ()

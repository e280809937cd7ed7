"""What a verification summary must say to count: resource, time, policy, levels, inputs, version."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.names import MAX_URI_BYTES
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.layout.model import Step
from gitchain.verify.findings import FindingCode
from gitchain.verify.verified import MAX_CLOCK_SKEW
from gitchain.verify.vsa_check import (
    MAX_LEVELS,
    check_age,
    check_summary,
    identifies,
    inputs_of,
    result_of,
    verifier_of,
)
from tests.support.decision_input import NOW, codes, directory, verified
from tests.support.decision_variants import revoked, summary
from tests.verify.test_vsa_steps import vendored

RAW = sha256_hex(b"raw")
OTHER = sha256_hex(b"other")
PRODUCTS: dict[str, Any] = {"data/raw.csv": "raw"}


def said(more: str = "", **fields: Any) -> list[tuple[str, str, str]]:
    """Return the findings about the honest world with this summary."""
    return codes(vendored(summary(PRODUCTS, **fields), more=more).verdict())


@pytest.mark.parametrize(
    "resource",
    [
        f"pkg:generic/raw.csv?checksum=sha256:{RAW}",
        f"pkg:generic/raw.csv?checksum=sha1:{'0' * 40},sha256:{RAW.upper()}",
        f"pkg:generic/anything@1.0?checksum=sha256%3A{RAW}",
        f"oci://registry.example/models/x@sha256:{RAW}",
        "pkg:generic/raw@1.0",
        "pkg:generic/raw.csv@1.0?download_url=https://vendor.example/other.csv",
        "https://vendor.example/data/raw.csv#fragment/other",
        "https://vendor.example/r%61w.csv",
        "data/raw.csv",
        f"pkg:generic/raw.csv?checksum=sha1:{'0' * 40}",
    ],
)
def test_resource_uri_identifies_the_subject(resource: str) -> None:
    """By a digest that gitchain accepts, in any spelling, or by the last segment of the path."""
    assert said(resourceUri=resource) == []


@pytest.mark.parametrize(
    "resource",
    [
        "pkg:generic/other.csv",
        "pkg:generic/other",
        "pkg:generic/ra",
        "pkg:generic/raw.",
        "pkg:generic/raw.csv.csv",
        f"pkg:generic/raw.csv?checksum=sha256:{OTHER}",
        f"pkg:generic/raw.csv?checksum=sha256:{RAW},sha256:{OTHER}",
        f"pkg:generic/raw.csv?checksum=sha512:{'0' * 128}",
        "pkg:generic/data?name=raw.csv",
        "https://vendor.example/other#/raw.csv",
        "https://vendor.example/data/raw.csv/",
        "https://vendor.example/xraw.csv",
        "pkg:generic/@raw.csv",
        "",
        None,
        7,
        ["data/raw.csv"],
        {"uri": "data/raw.csv"},
    ],
)
def test_resource_uri_of_something_else_does_not_count(resource: Json) -> None:
    """Another digest beats the right name; a query, a fragment and a prefix are no name."""
    assert said(resourceUri=resource) == [("SUMMARY_RESOURCE", "data", "")]


def test_long_resource_uri_of_a_stranger_takes_no_time() -> None:
    """It is read for each subject: without a limit these 1.2 MB, which anybody may sign, take over 10 minutes."""
    subjects = [ResourceDescriptor(f"f{n}", DigestSet({"sha256": RAW})) for n in range(9_000)]
    said = summary(PRODUCTS, resourceUri="x:" + f"sha256:{RAW}/" * 5_000).statement
    stranger = verified(Statement.build(subjects, said.predicate_type, said.predicate), "mallory", NOW)
    started = time.monotonic()
    assert vendored(summary(PRODUCTS), stranger).verdict().passed
    assert time.monotonic() - started < 20


def test_resource_uri_may_be_as_long_as_the_limit() -> None:
    """One character more does not count, and the finding says how many there are."""
    longest = "data/raw.csv#".ljust(MAX_URI_BYTES, "x")
    assert said(resourceUri=longest) == []
    assert told(resourceUri=longest + "x")[3] == (
        "SUMMARY_RESOURCE",
        False,
        f"a resourceUri of at most {MAX_URI_BYTES} characters",
        f"{MAX_URI_BYTES + 1} characters",
    )


def test_resource_uri_identifies_every_subject() -> None:
    """A subject that the resource is not about would be a product that nobody verified."""
    both = summary(
        {"data/raw.csv": "raw", "data/more.csv": "more"}, resourceUri=f"pkg:generic/x?checksum=sha256:{RAW}"
    )
    decision = vendored(both).verdict()
    assert codes(decision) == [("SUMMARY_RESOURCE", "data", "")]
    assert "data/more.csv" in decision.findings[0].expected
    one_content = summary({"data/raw.csv": "raw"}, resourceUri=f"x@sha256:{RAW}")
    assert vendored(one_content).verdict().passed


def test_resource_of_the_layout_is_compared_exactly() -> None:
    """A layout may name the resource: then it is that one and no other, whatever it holds."""
    wanted = "https://vendor.example/models/7"
    more = f"\n    resource: {wanted}"
    assert said(more, resourceUri=wanted) == []
    for other in (f"{wanted}/", wanted.upper(), "pkg:generic/raw.csv", None, [wanted]):
        assert said(more, resourceUri=other) == [("SUMMARY_RESOURCE", "data", "")]


def test_identifies_reads_names_and_digests_of_a_descriptor() -> None:
    """A descriptor without an accepted digest is identified by name or uri alone."""
    sha1 = DigestSet({"sha1": "0" * 40})
    named = ResourceDescriptor("m/model.bin", sha1)
    assert identifies("pkg:generic/model.bin@2", named)
    assert not identifies(f"pkg:generic/model.bin@sha256:{RAW}", named)
    by_uri = ResourceDescriptor(None, sha1, uri="git+https://x.example/r@main")
    assert identifies("git+https://x.example/r@main", by_uri)
    assert not identifies("git+https://x.example/r@other", by_uri)
    nameless = ResourceDescriptor(None, sha1)
    assert not identifies("", nameless)
    assert not identifies("https://x.example/model", nameless)
    assert not identifies("https://x.example/", ResourceDescriptor("m/model.bin", sha1))
    folder = ResourceDescriptor(None, sha1, uri="https://x.example/m/")
    assert identifies("https://x.example/m/", folder)
    assert not identifies("https://x.example/", folder)


@pytest.mark.parametrize("slip", [timedelta(0), MAX_CLOCK_SKEW])
def test_time_verified_may_be_as_late_as_the_signature(slip: timedelta) -> None:
    """The summary is signed an hour before now: within the skew of that it counts, a second later it does not."""
    signed = NOW - timedelta(hours=1)
    text = "%Y-%m-%dT%H:%M:%SZ"
    assert said(timeVerified=(signed + slip).strftime(text)) == []
    late = signed + MAX_CLOCK_SKEW + timedelta(seconds=1)
    assert said(timeVerified=late.strftime(text)) == [("SUMMARY_TIME", "data", "")]


def test_time_verified_is_not_later_than_now() -> None:
    """Neither a signature of the future nor one of now vouches for a time that has not come."""
    world = vendored(summary(PRODUCTS, timeVerified="2026-11-22T11:00:00Z"))
    world.now = NOW - timedelta(hours=1, minutes=5)
    assert world.verdict().passed
    world.now -= timedelta(seconds=1)
    found = codes(world.verdict())
    assert ("SUMMARY_TIME", "data", "") in found


def test_time_verified_counts_against_max_age() -> None:
    """A fresh signature does not refresh an old verification."""
    more = "\n    maxAge: P1D"
    assert said(more, timeVerified="2026-11-21T12:00:00Z") == []
    assert said(more, timeVerified="2026-11-21T11:59:59Z") == [("SUMMARY_TIME", "data", "")]
    assert said(timeVerified="2001-01-01T00:00:00Z") == []


@pytest.mark.parametrize(
    "time",
    ["2026-11-22T10:30:00.123456789Z", "2026-11-22T10:30:00.1Z", "2026-02-28T23:59:59Z"],
)
def test_time_verified_is_rfc_3339(time: str) -> None:
    assert said(timeVerified=time) == []


@pytest.mark.parametrize(
    "time",
    [
        None,
        "",
        7,
        ["2026-11-22T10:30:00Z"],
        "2026-11-22",
        "2026-11-22T10:30:00",
        "2026-11-22T10:30:00+00:00",
        "2026-02-30T10:30:00Z",
        "0000-01-01T00:00:00Z",
        "2026-11-22T10:30:00Z ",
        "2026-11-22T10:30:00.1234567890Z",
        "٢٠٢٦-11-22T10:30:00Z",
    ],
)
def test_time_verified_that_is_no_time_does_not_count(time: Json) -> None:
    assert said(timeVerified=time) == [("SUMMARY_TIME", "data", "")]


def test_check_age_of_no_time_does_not_pass() -> None:
    """Without a time that can be read nothing is fresh."""
    one = summary(PRODUCTS, timeVerified=None)
    oldest = "timeVerified not before 2026-11-21T12:00:00+00:00"
    assert check_age(timedelta(days=1), one, NOW) == (
        FindingCode.SUMMARY_TIME,
        False,
        oldest,
        "no timeVerified",
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"policy": {"digest": {"sha256": RAW}}},
        {"policy": {"uri": "x", "digest": {"sha256": RAW}}},
        {"policy": {"uri": None, "digest": {"sha512": "0" * 128}}},
        {"verifiedLevels": []},
        {"verifiedLevels": ["SLSA_BUILD_LEVEL_3", "SLSA_SOURCE_LEVEL_3", "ORG_LEVEL_1", "ORG_LEVEL_2"]},
        {"verifiedLevels": ["X"] * MAX_LEVELS},
        {"inputAttestations": []},
        {"inputAttestations": None},
        {"inputAttestations": [{"uri": "https://x.example", "digest": {"sha256": RAW}}]},
        {"slsaVersion": "1.0"},
        {"slsaVersion": "1.2"},
        {"slsaVersion": None},
        {"dependencyLevels": {"SLSA_BUILD_LEVEL_0": 3}},
    ],
)
def test_fields_as_the_format_has_them_count(fields: dict[str, Any]) -> None:
    assert said(**fields) == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"policy": None}, "predicate.policy"),
        ({"policy": "https://vendor.example/policy"}, "predicate.policy"),
        ({"policy": {}}, "policy: a uri or a digest"),
        ({"policy": {"uri": ""}}, "policy: a uri or a digest"),
        ({"policy": {"uri": 7}}, "policy.uri"),
        ({"policy": {"uri": "x", "digest": {}}}, "policy.digest: a digest"),
        ({"policy": {"uri": "x", "digest": {"sha256": "zz"}}}, "digest sha256"),
        ({"policy": {"uri": "x", "digest": {"sha256": 7}}}, "policy.digest"),
        ({"policy": {"digest": [RAW]}}, "policy.digest"),
        ({"verifiedLevels": None}, "predicate.verifiedLevels"),
        ({"verifiedLevels": "SLSA_BUILD_LEVEL_3"}, "predicate.verifiedLevels"),
        ({"verifiedLevels": [3]}, "verifiedLevels"),
        ({"verifiedLevels": ["X"] * (MAX_LEVELS + 1)}, "predicate.verifiedLevels"),
        ({"verifiedLevels": ["SLSA_BUILD_LEVEL_1", "SLSA_BUILD_LEVEL_3"]}, "one level of a track"),
        ({"verifiedLevels": ["SLSA_LEVEL_1", "SLSA_LEVEL_1"]}, "one level of a track"),
        ({"inputAttestations": {}}, "predicate.inputAttestations"),
        ({"inputAttestations": ["x"]}, "inputAttestations"),
        ({"inputAttestations": [{"uri": "https://x.example"}]}, "inputAttestations.digest"),
        ({"inputAttestations": [{"digest": {"sha256": RAW}}, {"digest": {}}]}, "inputAttestations.digest"),
        ({"slsaVersion": "2.0"}, "slsaVersion: 1.0 to 1.x"),
        ({"slsaVersion": "1"}, "slsaVersion: 1.0 to 1.x"),
        ({"slsaVersion": 1.2}, "slsaVersion"),
    ],
)
def test_fields_that_are_malformed_do_not_count(fields: dict[str, Any], expected: str) -> None:
    """The finding names the field and what it must be."""
    decision = vendored(summary(PRODUCTS, **fields)).verdict()
    assert codes(decision) == [("SUMMARY_FIELD", "data", "")]
    assert expected in decision.findings[0].expected


def test_levels_that_hold_failed_are_not_passed() -> None:
    """FAILED among the levels contradicts PASSED: it did not pass."""
    decision = vendored(summary(PRODUCTS, verifiedLevels=["SLSA_BUILD_LEVEL_3", "FAILED"])).verdict()
    assert codes(decision) == [("NOT_PASSED", "data", ""), ("DENIED", "prepare", "data/raw.csv")]
    assert decision.findings[0].got == "FAILED in verifiedLevels"
    assert result_of({"verificationResult": "PASSED", "verifiedLevels": None}) == "PASSED"
    assert result_of({"verificationResult": "FAILED", "verifiedLevels": ["FAILED"]}) == "FAILED"
    assert result_of({}) == "None"
    assert result_of({"verificationResult": "P" * 50}) == "P" * 40


def test_a_summary_that_rests_on_a_revoked_attestation_does_not_count() -> None:
    """What it summarises was taken back."""
    input_ = summary({"data/x": "x"})
    honest = summary(
        PRODUCTS, inputAttestations=[{"digest": {"sha256": RAW}}, {"digest": {"sha512": "0" * 128}}]
    )
    resting = summary(PRODUCTS, inputAttestations=[{"digest": {"sha256": input_.attestation_id}}])
    for one, expected in ((honest, []), (resting, [("REVOKED_ATTESTATION", "data", "")])):
        world = vendored(one)
        world.layout = replace(world.layout, revokers=("alice",))
        world.evidence["revocation"] = revoked(input_)
        assert codes(world.verdict()) == expected
    assert inputs_of(honest.statement.predicate) == (AttestationId(RAW),)
    assert inputs_of({}) == ()


def test_verifier_of_reads_nothing_but_text() -> None:
    assert verifier_of({"verifier": {"id": "x"}}) == "x"
    predicate: dict[str, Any]
    for predicate in ({}, {"verifier": "x"}, {"verifier": {}}, {"verifier": {"id": 7}}, {"verifier": ["id"]}):
        assert verifier_of(predicate) is None


def test_a_directory_is_identified_by_its_manifests_digest() -> None:
    """A subject that is a directory is compared by the digest of its manifest like a file by its own."""
    whole = directory(a="1")
    subject = ResourceDescriptor("data", DigestSet({"sha256": whole.digest}))
    assert identifies(f"pkg:generic/data?checksum=sha256:{whole.digest}", subject)
    assert not identifies(f"pkg:generic/data?checksum=sha256:{RAW}", subject)


def told(step: Step | None = None, **fields: Any) -> list[tuple[str, bool, str, str]]:
    """Return every check of a summary, with what it expected and what it got."""
    one = step or vendored().layout.step("data")
    checks = check_summary(VENDOR, one.resource, summary(PRODUCTS, **fields), NOW)
    return [(code.name, passed, expected, got) for code, passed, expected, got in checks]


VENDOR = "https://vendor.example/verifier"


def test_every_check_says_what_it_expected_and_got() -> None:
    """Of a summary that counts, of one that does not, and of one that lacks its fields."""
    signed = "timeVerified not after 2026-11-22T11:00:00+00:00"
    assert told() == [
        ("VERIFIER", True, VENDOR, VENDOR),
        ("NOT_PASSED", True, "PASSED", "PASSED"),
        ("SUMMARY_FIELD", True, "", ""),
        (
            "SUMMARY_RESOURCE",
            True,
            "a resourceUri with the name or digest of each subject",
            "pkg:generic/raw.csv",
        ),
        ("SUMMARY_TIME", True, signed, "2026-11-22T10:30:00Z"),
    ]
    subject = f"a resourceUri with the name or digest of data/raw.csv (sha256:{RAW})"
    odd = told(
        verificationResult="F" * 50,
        resourceUri="x" * 300,
        timeVerified="y" * 50,
        verifiedLevels=["L" * 300] * 2,
    )
    assert odd[1:] == [
        ("NOT_PASSED", False, "PASSED", "F" * 40),
        ("SUMMARY_FIELD", True, "", ""),
        ("SUMMARY_RESOURCE", False, subject, "x" * 200),
        ("SUMMARY_TIME", False, "timeVerified as 2026-01-31T12:00:00Z", "y" * 40),
    ]
    none = told(verifier=None, resourceUri=7, timeVerified=None, slsaVersion="2.0")
    assert none == [
        ("VERIFIER", False, VENDOR, "no verifier"),
        ("NOT_PASSED", True, "PASSED", "PASSED"),
        ("SUMMARY_FIELD", False, "slsaVersion: 1.0 to 1.x", "2.0"),
        ("SUMMARY_RESOURCE", False, subject, "no resourceUri"),
        ("SUMMARY_TIME", False, "timeVerified as 2026-01-31T12:00:00Z", "no timeVerified"),
    ]
    assert told(policy="x")[2] == ("SUMMARY_FIELD", False, "predicate.policy: an object", "str")


def test_a_named_resource_is_told_in_full_and_what_was_found_in_part() -> None:
    """What the layout names is its signer's own, what the summary says is a stranger's."""
    wanted = f"https://vendor.example/{'m' * 300}"
    step = replace(vendored().layout.step("data"), resource=wanted)
    assert told(step, resourceUri=wanted)[3] == ("SUMMARY_RESOURCE", True, wanted, wanted[:200])
    assert told(step, resourceUri=None)[3] == ("SUMMARY_RESOURCE", False, wanted, "no resourceUri")


def test_check_summary_names_the_predicate_where_the_error_names_no_field() -> None:
    """An algorithm's name that is malformed stands nowhere: the finding says at least that the predicate is wrong."""
    odd = told(policy={"uri": "x", "digest": {"": "1"}})
    assert odd[2] == ("SUMMARY_FIELD", False, "predicate: well-formed", "''")


def test_check_summary_of_an_empty_resource_says_that_there_is_none() -> None:
    """Nothing is printed as nothing: a reader would take it for a fault of the report."""
    assert told(resourceUri="")[3][1:2] + told(resourceUri="")[3][3:] == (False, "no resourceUri")


def test_check_summary_says_that_a_subject_has_no_digest_to_compare() -> None:
    """A subject with SHA-1 alone can be identified by its name only."""
    payload = summary(PRODUCTS, resourceUri="pkg:generic/other").statement.payload
    weak = payload.replace(f'"sha256":"{RAW}"'.encode(), f'"sha1":"{"0" * 40}"'.encode())
    one = verified(Statement.parse(weak), "vendor", NOW)
    checks = {code: expected for code, _, expected, _ in check_summary(VENDOR, None, one, NOW)}
    assert checks[FindingCode.SUMMARY_RESOURCE].endswith("of data/raw.csv (no accepted digest)")

"""Check the content of a SLSA verification summary (VSA v1) for a step with a `verifier`.

 1. `verifier.id` is the one that the layout names, exactly.
 2. `verificationResult` is PASSED, and FAILED is not among `verifiedLevels`.
 3. The other fields conform to the format: `policy` with a uri or a digest, `verifiedLevels` with one level
    for each track at most, `inputAttestations` each with a digest, `slsaVersion` 1.x.
 4. `resourceUri` is the `resource` that the layout names; without one it identifies every subject, by digest or name.
 5. `timeVerified` is not later than the signature or the time of the decision, and not older than `maxAge`.

Format: https://slsa.dev/spec/v1.2/verification_summary; docs/layout.md is the reference.
Does NOT check signer, proven time and revocation, which are checks of every attestation (`gitchain.verify.authorization`).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from urllib.parse import unquote

from gitchain.errors import GitchainError, MalformedError
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import ACCEPTED, DigestSet
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.fields import (
    Object,
    as_object,
    as_string,
    find_array,
    find_string,
    get_array,
    get_object,
)
from gitchain.evidence.names import MAX_URI_BYTES
from gitchain.evidence.statement import MAX_DESCRIPTORS, ResourceDescriptor
from gitchain.verify.findings import FindingCode
from gitchain.verify.verified import MAX_CLOCK_SKEW, VerifiedStatement

PASSED, FAILED = "PASSED", "FAILED"

MAX_LEVELS = 100
"""Most levels of one summary: SLSA has one for each track, and a verifier may add its own."""

Checked = tuple[FindingCode, bool, str, str]
"""Result of one check: code, whether it passed, expected and actual value."""

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)
_TRACK = re.compile(r"(SLSA(?:_[A-Z0-9]+)*?)_LEVEL_.+", re.ASCII)
_VERSION = re.compile(r"1\.\d{1,3}", re.ASCII)
_DIGEST = re.compile(r"(sha\d+):([0-9a-f]+)", re.ASCII | re.IGNORECASE)


def check_summary(
    verifier: str, resource: str | None, statement: VerifiedStatement, now: datetime
) -> Iterator[Checked]:
    """Yield each check of a summary for a step's `verifier` and `resource`, in the order above."""
    predicate = statement.statement.predicate
    found = verifier_of(predicate)
    yield FindingCode.VERIFIER, found == verifier, verifier, found or "no verifier"
    result = result_of(predicate)
    yield FindingCode.NOT_PASSED, result == PASSED, PASSED, result
    problem = _malformed(predicate)
    yield (
        FindingCode.SUMMARY_FIELD,
        problem is None,
        problem[0] if problem else "",
        problem[1] if problem else "",
    )
    yield _resource(resource, predicate.get("resourceUri"), statement.statement.subject)
    yield _not_future(statement, now)


def verifier_of(predicate: Object) -> str | None:
    """Return the id of the verifier in a verification summary, or None."""
    verifier = predicate.get("verifier")
    name = verifier.get("id") if isinstance(verifier, Mapping) else None
    return name if isinstance(name, str) else None


def result_of(predicate: Object) -> str:
    """Return the result of the summary; FAILED if its levels contain FAILED."""
    levels, result = predicate.get("verifiedLevels"), predicate.get("verificationResult")
    if result == PASSED and isinstance(levels, Sequence) and FAILED in levels:
        return f"{FAILED} in verifiedLevels"
    return PASSED if result == PASSED else str(result)[:40]


def inputs_of(predicate: Object) -> tuple[AttestationId, ...]:
    """Return the id of each input attestation of a well-formed summary."""
    items = find_array(predicate, "inputAttestations", "predicate", limit=MAX_DESCRIPTORS)
    found = (_digest(item, "inputAttestations").sha256 for item in items)
    return tuple(AttestationId(digest) for digest in found if digest is not None)


def _malformed(predicate: Object) -> tuple[str, str] | None:
    """Return expected and actual value of the first malformed field, or None."""
    try:
        _check_policy(get_object(predicate, "policy", "predicate"))
        _check_levels(get_array(predicate, "verifiedLevels", "predicate", limit=MAX_LEVELS))
        inputs_of(predicate)
        version = predicate.get("slsaVersion")
        if version is not None and _VERSION.fullmatch(as_string(version, "slsaVersion")) is None:
            raise MalformedError(
                "unknown version", where="slsaVersion", expected="1.0 to 1.x", got=str(version)[:40]
            )
    except GitchainError as error:
        return f"{error.where or 'predicate'}: {error.expected or 'well-formed'}", error.got
    return None


def _check_policy(policy: Object) -> None:
    uri = find_string(policy, "uri", "policy")
    if policy.get("digest") is not None:
        _digest(policy, "policy")
    elif not uri:
        raise MalformedError(
            "policy is not named", where="policy", expected="a uri or a digest", got="neither"
        )


def _check_levels(levels: Sequence[Json]) -> None:
    tracks: set[str] = set()
    for level in levels:
        match = _TRACK.fullmatch(as_string(level, "verifiedLevels"))
        if match is not None and match[1] in tracks:
            raise MalformedError(
                "two levels of one track",
                where="verifiedLevels",
                expected="one level of a track",
                got=str(level)[:100],
            )
        tracks.update([match[1]] if match else [])


def _digest(value: Json, where: str) -> DigestSet:
    """Return the digests of a descriptor. Raises MalformedError if it has none."""
    digest = get_object(as_object(value, where), "digest", where)
    found = DigestSet({name: as_string(item, f"{where}.digest") for name, item in digest.items()})
    if not found:
        raise MalformedError("digest is empty", where=f"{where}.digest", expected="a digest", got="none")
    return found


def _resource(wanted: str | None, resource: Json, subjects: Sequence[ResourceDescriptor]) -> Checked:
    got = resource if isinstance(resource, str) and resource else "no resourceUri"
    if len(got) > MAX_URI_BYTES:  # it is parsed once for each subject, and is not trusted
        expected = f"a resourceUri of at most {MAX_URI_BYTES} characters"
        return FindingCode.SUMMARY_RESOURCE, False, expected, f"{len(got)} characters"
    if wanted is not None:
        return FindingCode.SUMMARY_RESOURCE, resource == wanted, wanted, got[:200]
    missed = next(
        (one for one in subjects if not isinstance(resource, str) or not identifies(resource, one)), None
    )
    expected = "a resourceUri with the name or digest of each subject"
    if missed is not None:
        digest = next((f"{name}:{value}" for name, value in missed.digest.accepted), "no accepted digest")
        expected = f"a resourceUri with the name or digest of {missed.rule_name} ({digest})"
    return FindingCode.SUMMARY_RESOURCE, missed is None, expected, got[:200]


def identifies(resource: str, subject: ResourceDescriptor) -> bool:
    """Return whether the URI identifies the subject: by its digests, or by its last segment if it has none.

    `pkg:generic/m.bin?checksum=sha256:…` and `pkg:oci/m@sha256:…` hold digests; `pkg:generic/m.bin@1.0` names `m.bin`,
    and so does `pkg:generic/m@1.0`, because names of packages have no extension.
    """
    digests = [(name.lower(), value.lower()) for name, value in _DIGEST.findall(unquote(resource))]
    known = [(name, value) for name, value in digests if name in ACCEPTED]
    if known:
        shared = [value == subject.digest[name] for name, value in known if name in subject.digest]
        return bool(shared) and all(shared)
    path = re.split(r"[?#]", resource, maxsplit=1)[0]
    name = unquote(path.rpartition("/")[2].partition("@")[0])
    wanted = subject.rule_name
    if wanted is None or not name:
        return resource == wanted
    file_name = wanted.rpartition("/")[2]
    return resource == wanted or name in {file_name, posixpath.splitext(file_name)[0]}


def _not_future(statement: VerifiedStatement, now: datetime) -> Checked:
    time, got = _time_verified(statement)
    if time is None:
        return FindingCode.SUMMARY_TIME, False, "timeVerified as 2026-01-31T12:00:00Z", got
    latest = min(statement.time, now)
    expected = f"timeVerified not after {latest.isoformat()}"
    return FindingCode.SUMMARY_TIME, time <= latest + MAX_CLOCK_SKEW, expected, got


def check_age(max_age: timedelta, statement: VerifiedStatement, now: datetime) -> Checked:
    """Return the check that a well-formed `timeVerified` is not older than `max_age`."""
    time, got = _time_verified(statement)
    oldest = now - max_age
    is_fresh = time is not None and time >= oldest
    return FindingCode.SUMMARY_TIME, is_fresh, f"timeVerified not before {oldest.isoformat()}", got


def _time_verified(statement: VerifiedStatement) -> tuple[datetime | None, str]:
    """Return the parsed time (None if it is unreadable), and the original value."""
    said = statement.statement.predicate.get("timeVerified")
    return _parsed(said), "no timeVerified" if said is None else str(said)[:40]


def _parsed(said: Json) -> datetime | None:
    if not isinstance(said, str) or _TIME.fullmatch(said) is None:
        return None
    try:
        return datetime.fromisoformat(f"{said[:19]}+00:00").astimezone(UTC)
    except ValueError:
        return None

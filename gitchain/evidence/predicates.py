"""The builder of each predicate that gitchain writes; the types and `claim_of` are exported here too.

A step that transforms is SLSA provenance v1; what only informs has its own type and carries the step facts
in the extension field `gitchain_step`. Every builder returns the predicate as JSON, for `Statement.build`.

Formats: https://slsa.dev/spec/v1.1/provenance, https://github.com/in-toto/attestation/tree/main/spec/predicates,
docs/formats/predicates.md; schemas in schemas/. Does NOT read predicates: `gitchain.evidence.claim` does.
"""

# ruff: noqa: PT028 - test_result is named after its predicate type, and is no test

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gitchain import __version__
from gitchain.errors import MalformedError
from gitchain.evidence.canonical import Json
from gitchain.evidence.claim import StepClaim, StepFacts, claim_of
from gitchain.evidence.deployment import (
    DeploymentVerdict,
    ReportedBy,
    deployment,
    deployment_check,
    retirement,
)
from gitchain.evidence.digest import Sha256, check_hex
from gitchain.evidence.names import check_name, check_uri
from gitchain.evidence.provenance import git_source, git_uri, provenance, step_facts, with_optional
from gitchain.evidence.revocation import Reason, RevokedSigner, revocation
from gitchain.evidence.statement import ResourceDescriptor
from gitchain.evidence.vocabulary import (
    CHECKPOINT,
    DATASET,
    DEPLOYMENT,
    DEPLOYMENT_CHECK,
    KINDS,
    LAYOUT,
    LINK,
    PROVENANCE,
    RELEASE,
    RETIREMENT,
    REVOCATION,
    SVR,
    TEST_RESULT,
    VERSION,
    VSA,
    Evidence,
    Kind,
    check_text,
    check_time,
)

__all__ = [
    "CHECKPOINT",
    "DATASET",
    "DEPLOYMENT",
    "DEPLOYMENT_CHECK",
    "KINDS",
    "LAYOUT",
    "LINK",
    "PROVENANCE",
    "RELEASE",
    "RETIREMENT",
    "REVOCATION",
    "SVR",
    "TEST_RESULT",
    "VERSION",
    "VSA",
    "Consent",
    "DeploymentVerdict",
    "Evidence",
    "Kind",
    "PersonalData",
    "Reason",
    "ReportedBy",
    "RevokedSigner",
    "StepClaim",
    "StepFacts",
    "VersionArtifact",
    "claim_of",
    "dataset",
    "deployment",
    "deployment_check",
    "git_source",
    "git_uri",
    "provenance",
    "release",
    "retirement",
    "revocation",
    "step_facts",
    "svr",
    "test_result",
    "version",
    "vsa",
]

Consent = Literal["obtained", "not-required", "unknown"]
PersonalData = Literal["none", "anonymised", "pseudonymised", "present", "unknown"]

_SPDX = re.compile(r"[A-Za-z0-9.+:() -]{1,200}", re.ASCII)
_MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?", re.ASCII)
_OBJECT_ID = (40, 64)

SLSA_VERSION = "1.2"
LAYOUT_LEVEL = "GITCHAIN_LAYOUT"
"""The level in a summary: the layout that `policy` names is satisfied. Names that begin with SLSA_ are SLSA's."""


def test_result(
    *,
    result: Literal["PASSED", "WARNED", "FAILED"],
    configuration: Sequence[ResourceDescriptor],
    passed: Sequence[str] = (),
    warned: Sequence[str] = (),
    failed: Sequence[str] = (),
    url: str | None = None,
    step: StepFacts | None = None,
) -> dict[str, Json]:
    """Return a test-result v0.1 predicate. Raises MalformedError, also for PASSED with failures."""
    if result not in {"PASSED", "WARNED", "FAILED"}:
        raise MalformedError("test result is unknown", expected="PASSED, WARNED or FAILED", got=ascii(result))
    if result == "PASSED" and failed:
        raise MalformedError("test result is PASSED although tests failed", got=ascii(failed[0][:100]))
    value: dict[str, Json] = {
        "result": result,
        "configuration": [descriptor.to_json() for descriptor in configuration],
        "passedTests": list(passed),
        "warnedTests": list(warned),
        "failedTests": list(failed),
    }
    return with_optional(value, step, url=None if url is None else check_uri(url))


test_result.__test__ = False  # type: ignore[attr-defined]  # pytest collects test_* otherwise


def svr(
    *,
    verifier: str,
    created: str,
    properties: Sequence[str],
    policies: Sequence[ResourceDescriptor] = (),
    step: StepFacts | None = None,
) -> dict[str, Json]:
    """Return a Simple Verification Result v0.2, as approvals use. Raises MalformedError without a property."""
    if not properties:
        raise MalformedError("verification result names no property", where="properties")
    value: dict[str, Json] = {
        "verifier": {"id": check_uri(verifier), "policies": [policy.to_json() for policy in policies]},
        "timeCreated": check_time(created, "timeCreated"),
        "properties": [check_text(item, "properties", limit=200) for item in properties],
    }
    return with_optional(value, step)


def release(*, purl: str, package_id: str | None = None, step: StepFacts | None = None) -> dict[str, Json]:
    """Return a release v0.2 predicate. Raises MalformedError unless `purl` has a version."""
    if not check_uri(purl, "purl").startswith("pkg:") or "@" not in purl:
        raise MalformedError(
            "not a package url with a version", expected="pkg:TYPE/NAME@VERSION", got=ascii(purl)
        )
    return with_optional({"purl": purl}, step, packageId=package_id)


def dataset(
    *,
    source: str,
    licence: str,
    consent: Consent,
    personal_data: PersonalData,
    croissant: ResourceDescriptor | None = None,
    description: str | None = None,
    step: StepFacts | None = None,
) -> dict[str, Json]:
    """Return a dataset v0.1 predicate: the origin of the data, and the terms of their use.

    `licence` is an SPDX expression; `croissant` names the Croissant metadata file. Raises MalformedError.
    """
    if _SPDX.fullmatch(licence) is None:
        raise MalformedError(
            "licence is no SPDX expression", expected="such as CC-BY-4.0", got=ascii(licence[:100])
        )
    value: dict[str, Json] = {
        "source": check_uri(source, "source"),
        "licence": licence,
        "consent": consent,
        "personalData": personal_data,
    }
    return with_optional(
        value,
        step,
        croissant=None if croissant is None else croissant.to_json(),
        description=None if description is None else check_text(description, "description"),
    )


@dataclass(frozen=True, slots=True)
class VersionArtifact:
    """One artifact that a commit tracks, and the file that tracks it. The constructor raises MalformedError."""

    name: str
    defined_in: str
    md5: str | None = None
    sha256: Sha256 | None = None
    media_type: str | None = None

    def __post_init__(self) -> None:
        check_name(self.name)
        check_name(self.defined_in, "definedIn")
        if self.md5 is not None and _MD5.fullmatch(self.md5) is None:
            raise MalformedError("md5 is malformed", where=ascii(self.name), got=ascii(self.md5[:40]))
        if self.sha256 is not None:
            check_hex(self.sha256, (64,), ascii(self.name))

    def to_json(self) -> dict[str, Json]:
        """Return the artifact as JSON, absent fields left out."""
        value: dict[str, Json] = {"name": self.name, "definedIn": self.defined_in}
        return with_optional(value, md5=self.md5, sha256=self.sha256, mediaType=self.media_type)


def version(
    *,
    commit: str,
    tree: str,
    commit_sha256: Sha256,
    artifacts: Sequence[VersionArtifact],
    branch: str | None = None,
    ref: str | None = None,
) -> dict[str, Json]:
    """Return a version v0.1 predicate: the tracked artifacts at one commit, in the order of their names.

    Raises MalformedError for a malformed id, or an artifact that appears twice.
    """
    ordered = sorted(artifacts, key=lambda artifact: artifact.name.encode())
    if len({artifact.name for artifact in ordered}) != len(ordered):
        raise MalformedError("artifact appears twice", where="artifacts")
    value: dict[str, Json] = {
        "commit": check_hex(commit, _OBJECT_ID, "commit"),
        "tree": check_hex(tree, _OBJECT_ID, "tree"),
        "commitSha256": check_hex(commit_sha256, (64,), "commitSha256"),
        "artifacts": [artifact.to_json() for artifact in ordered],
    }
    return with_optional(value, branch=branch, ref=ref)


def vsa(
    *,
    verifier: str,
    when: str,
    resource: str,
    policy: ResourceDescriptor,
    attestations: Sequence[ResourceDescriptor],
    result: Literal["PASSED", "FAILED"],
    step: StepFacts | None = None,
) -> dict[str, Json]:
    """Return a SLSA Verification Summary v1: `verifier` checked `resource` against `policy`, with this result.

    It claims no level of SLSA's own tracks: the layout defines what was verified. Raises MalformedError.
    """
    if result not in {"PASSED", "FAILED"}:
        raise MalformedError("verification result is unknown", expected="PASSED or FAILED", got=ascii(result))
    value: dict[str, Json] = {
        "verifier": {"id": check_uri(verifier, "verifier"), "version": {"gitchain": __version__}},
        "timeVerified": check_time(when, "timeVerified"),
        "resourceUri": check_uri(resource, "resourceUri"),
        "policy": policy.to_json(),
        "inputAttestations": [one.to_json() for one in attestations],
        "verificationResult": result,
        "verifiedLevels": [LAYOUT_LEVEL if result == "PASSED" else "FAILED"],
        "slsaVersion": SLSA_VERSION,
    }
    return with_optional(value, step)

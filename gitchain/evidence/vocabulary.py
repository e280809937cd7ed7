"""Constants of the evidence formats: predicate types, media types, lifecycle kinds, strengths.

Spec: docs/formats/predicates.md. Does NOT build or read predicates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from gitchain.errors import MalformedError

NAMESPACE = "https://gitchain.dev"

PROVENANCE = "https://slsa.dev/provenance/v1"
PROVENANCE_V02 = "https://slsa.dev/provenance/v0.2"
LINK = "https://in-toto.io/attestation/link/v0.3"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
RELEASE = "https://in-toto.io/attestation/release/v0.2"
SVR = "https://in-toto.io/attestation/svr/v0.2"
VSA = "https://slsa.dev/verification_summary/v1"
OMS = "https://model_signing/signature/v1.0"
DATASET = f"{NAMESPACE}/predicate/dataset/v0.1"
VERSION = f"{NAMESPACE}/predicate/version/v0.1"
DEPLOYMENT = f"{NAMESPACE}/predicate/deployment/v0.1"
RETIREMENT = f"{NAMESPACE}/predicate/retirement/v0.1"
DEPLOYMENT_CHECK = f"{NAMESPACE}/predicate/deployment-check/v0.1"
REVOCATION = f"{NAMESPACE}/predicate/revocation/v0.1"
CHECKPOINT = f"{NAMESPACE}/predicate/checkpoint/v0.1"
LAYOUT = f"{NAMESPACE}/predicate/layout/v1"
SOURCE = f"{NAMESPACE}/predicate/source/v0.1"

ManifestVersion: TypeAlias = Literal[1, 2]

MANIFEST_VERSION: ManifestVersion = 2
"""The version of directory manifests that new statements use."""

MANIFEST_MEDIA_TYPES: Mapping[ManifestVersion, str] = MappingProxyType(
    {1: "application/vnd.gitchain.manifest.v1+json", 2: "application/vnd.gitchain.manifest.v2+json"}
)
MANIFEST_MEDIA_TYPE = MANIFEST_MEDIA_TYPES[MANIFEST_VERSION]

Evidence = Literal["observed", "declared"]
"""observed: gitchain ran the command and hashed before and after. declared: derived later from dvc.lock."""

Kind = Literal[
    "data", "preparation", "training", "evaluation", "approval", "release", "deployment", "retirement", "step"
]
"""The lifecycle kind of a step; `step` is the unspecific one."""

EVIDENCE: tuple[Evidence, ...] = get_args(Evidence)
KINDS: tuple[Kind, ...] = get_args(Kind)

STEP_FIELD = "gitchain_step"
"""Extension field (in-toto parsing rules) that carries the step facts of an informational predicate."""

CARRIED = "gitchain_checkpoints"
"""Extension field of a release: the attestation ids of the newest checkpoints when the tag was attested."""

LIFECYCLE_PREFIX = f"{NAMESPACE}/lifecycle/"
BUILDER_PREFIX = f"{NAMESPACE}/builder/"

MAX_TEXT = 10_000
"""Longest free text in a predicate, in characters: a page or two; longer text is an artifact of its own."""

_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)


def is_own_type(predicate_type: str) -> bool:
    """Return whether gitchain defines the predicate type."""
    return predicate_type.startswith(f"{NAMESPACE}/")


def build_type(kind: Kind) -> str:
    """Return the SLSA buildType of a lifecycle kind."""
    return f"{LIFECYCLE_PREFIX}{kind}/v1"


def builder_id(evidence: Evidence) -> str:
    """Return the SLSA builder id for an evidence strength."""
    return f"{BUILDER_PREFIX}{evidence}/v1"


def check_run(run: str) -> str:
    """Return the run id if it is 1 to 128 letters, digits and `._:@+-`, or raise MalformedError."""
    if _RUN.fullmatch(run) is None:
        raise MalformedError("run id is malformed", got=ascii(run[:140]))
    return run


def check_evidence(evidence: str, where: str) -> Evidence:
    """Return the evidence strength, or raise MalformedError."""
    for known in EVIDENCE:
        if evidence == known:
            return known
    raise MalformedError(
        "evidence strength is unknown", where=where, expected="observed or declared", got=ascii(evidence[:40])
    )


def check_text(text: str, where: str, *, limit: int = MAX_TEXT) -> str:
    """Return the text if it is 1 to `limit` printable characters or line breaks, or raise MalformedError."""
    if not 1 <= len(text) <= limit:
        raise MalformedError("text has the wrong length", where=where, expected=f"1 to {limit} characters")
    if not text.replace("\n", "").isprintable():
        raise MalformedError("text holds an unprintable character", where=where)
    return text


def time_text(moment: datetime) -> str:
    """Return a moment as RFC 3339 in UTC, to the second (`2026-01-31T12:00:00Z`): such texts sort by time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def check_time(text: str, where: str) -> str:
    """Return the timestamp if it is RFC 3339 in UTC (`2026-01-31T12:00:00Z`), or raise MalformedError."""
    try:
        if _TIME.fullmatch(text) is not None:
            datetime.fromisoformat(text)
            return text
    except ValueError:
        pass
    raise MalformedError(
        "timestamp is malformed", where=where, expected="2026-01-31T12:00:00Z", got=ascii(text[:40])
    )

"""Express a decision as a SLSA Verification Summary (VSA v1), for other verifiers.

The subject is the target, the policy is the layout, the inputs are the attestations of the decision. It states that the
layout was satisfied, and no SLSA level, because layouts do not grade builders.

Format: https://slsa.dev/spec/v1.2/verification_summary, docs/formats/predicates.md.
Does NOT sign (`gitchain.produce.vsa`) or verify summaries (`gitchain.verify.vsa_check`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import quote

from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.predicates import vsa
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPES, VSA, time_text
from gitchain.verify.report import Decision, StepReport
from gitchain.verify.target import Target


def summary(decision: Decision, verifier: str) -> Statement:
    """Return the summary of this decision by `verifier`, a URI. Raises MalformedError if it is no URI."""
    return Statement.build((_subject(decision.target),), VSA, vsa_predicate(decision, verifier))


def vsa_predicate(decision: Decision, verifier: str) -> dict[str, Json]:
    """Return the predicate of the summary."""
    layout = decision.signed.layout
    policy = ResourceDescriptor(
        None,
        DigestSet({"sha256": decision.signed.digest}),
        uri=f"gitchain:layout/{quote(layout.name, safe='')}@{layout.version}",
    )
    ids = dict.fromkeys((decision.signed.attestation_id, *_attestations(decision.steps)))
    return vsa(
        verifier=verifier,
        when=time_text(decision.time),
        resource=_resource(decision.target),
        policy=policy,
        attestations=[ResourceDescriptor(None, DigestSet({"sha256": one})) for one in ids],
        result=decision.result,
    )


def _subject(target: Target) -> ResourceDescriptor:
    """Return the target as a subject; without a name, it is named by its digest."""
    media_type = MANIFEST_MEDIA_TYPES[target.version] if target.directory else None
    name = target.name or f"sha256:{target.sha256}"
    return ResourceDescriptor(name, DigestSet({"sha256": target.sha256}), media_type=media_type)


def _resource(target: Target) -> str:
    name = quote(target.name.rpartition("/")[2], safe="") if target.name else "artifact"
    return f"pkg:generic/{name}?checksum=sha256:{target.sha256}"


def _attestations(steps: Sequence[StepReport]) -> Iterator[str]:
    """Yield the ids of the attestations of these steps and of their sublayouts."""
    for step in steps:
        yield from (one.id for one in step.attestations)
        if step.sublayout:
            yield from _attestations(step.sublayout.steps)

"""Evidence about a target that does not count, for findings in place of "no evidence"."""

from __future__ import annotations

from collections.abc import Sequence

from gitchain.layout.model import Layout
from gitchain.sources.evidence import Evidence
from gitchain.verify.findings import Finding
from gitchain.verify.other_statements import about_other_steps, names_target, unread, unverified
from gitchain.verify.target import Target


def why_not_counted(evidence: Evidence, layout: Layout, target: Target) -> Sequence[Finding]:
    """Return why evidence for the target does not count, if no step of the layout has evidence about it."""
    candidates = [
        candidate
        for candidate in evidence.naming(target.digests, target.name)
        if names_target(evidence.claim(candidate), target)
    ]
    other_steps = about_other_steps(layout, evidence.verified(candidates), target)
    ids = {candidate.attestation_id for candidate in candidates}
    refused = [one for one in evidence.refused if one.load is None and one.attestation_id in ids]
    return (
        *other_steps,
        *(unverified(one.attestation_id, one.step, one.reason, target) for one in refused),
        *unread(((one.attestation_id, one.unread_subjects, one.reason) for one in evidence.refused), target),
    )

"""Steps for a layout's draft from attestations: for a repository that has no DVC pipeline.

Only what one identity signed becomes a step: a draft must not make a functionary of everybody who wrote to the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gitchain.evidence.claim import claim_of
from gitchain.evidence.statement import ResourceDescriptor
from gitchain.evidence.vocabulary import LIFECYCLE_PREFIX, PROVENANCE
from gitchain.layout.draft import DraftStage
from gitchain.layout.model import Identity
from gitchain.pipeline.profiles import load_profile
from gitchain.pipeline.project import Project
from gitchain.pipeline.sources import gather


@dataclass(frozen=True, slots=True)
class AttestedSteps:
    """The steps that an identity attested, and what else is attested: `others` are lines for the draft's reader."""

    stages: tuple[DraftStage, ...]
    others: tuple[str, ...]


def attested_steps(project: Project, functionary: Identity) -> AttestedSteps:
    """Return a stage for the newest provenance of each step that `functionary` signed.

    Statements are verified under the repository's own trust. Raises TrustError as `load_profile` does.
    """
    profile = load_profile(project.configured().trust, base=project.root, offline=True)
    evidence = gather(project, profile.trust)
    newest: dict[str, tuple[datetime, DraftStage]] = {}
    others: dict[str, None] = {}
    for one in evidence.verified(evidence.candidates):
        claim, kind = claim_of(one.statement), one.statement.predicate_type
        if claim.step is None or kind.startswith(LIFECYCLE_PREFIX):
            continue
        if one.identity != functionary:
            others[f"step {claim.step}, attested by {one.identity}"] = None
        elif kind != PROVENANCE:
            others[f"step {claim.step}, predicate type {kind}"] = None
        elif claim.step not in newest or newest[claim.step][0] < one.time:
            deps, sources = _materials(claim.materials)
            outs = tuple(sorted(item.rule_name or "" for item in claim.products))
            observed = claim.evidence == "observed"
            stage = DraftStage(claim.step, deps, outs, observed=observed, sources=sources)
            newest[claim.step] = one.time, stage
    ordered = sorted(newest.values(), key=lambda pair: pair[0])
    return AttestedSteps(tuple(stage for _, stage in ordered), tuple(sorted(others)))


def _materials(items: tuple[ResourceDescriptor, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of files and directories, and the URIs."""
    names = tuple(sorted(item.name for item in items if item.name is not None))
    uris = (item.rule_name or "" for item in items if item.name is None)
    return names, tuple(sorted(set(uris)))

"""Steps for a drafted layout from attestations, for a repository without a DVC pipeline.

Only statements of one identity become steps: a draft must not make every writer of the store a functionary.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from gitchain.evidence.claim import claim_of
from gitchain.evidence.statement import ResourceDescriptor
from gitchain.evidence.vocabulary import LIFECYCLE_PREFIX, PROVENANCE
from gitchain.layout.model import Identity
from gitchain.layout.stage_paths import DraftStage
from gitchain.sources.gather import gather
from gitchain.trust.load_profile import load_profile
from gitchain.verify.verified import VerifiedStatement
from gitchain.workspace.project import Project


@dataclass(frozen=True, slots=True)
class AttestedSteps:
    """The steps that an identity attested, and a list of other attestations for the draft's reader (`others`)."""

    stages: tuple[DraftStage, ...]
    others: tuple[str, ...]


def attested_steps(project: Project, functionary: Identity) -> AttestedSteps:
    """Return a stage for the newest provenance of each step that `functionary` signed.

    Statements are verified under the repository's own trusted root. Raises the errors of `load_profile`.
    """
    profile = load_profile(project.configured().trust, base=project.root, offline=True)
    evidence = gather(project, profile.trust)
    newest: dict[str, tuple[tuple[datetime, int], DraftStage]] = {}
    others: dict[str, None] = {}
    for statement in evidence.verified(evidence.candidates):
        claim, kind = claim_of(statement.statement), statement.statement.predicate_type
        if claim.step is None or statement.statement.is_old or kind.startswith(LIFECYCLE_PREFIX):
            continue
        if statement.identity != functionary:
            others[f"step {claim.step}, attested by {statement.identity}"] = None
        elif kind != PROVENANCE:
            others[f"step {claim.step}, predicate type {kind}"] = None
        elif claim.step not in newest or newest[claim.step][0] < _position(statement):
            deps, sources = _materials(claim.materials)
            outs = tuple(sorted(item.rule_name or "" for item in claim.products))
            observed = claim.evidence == "observed"
            stage = DraftStage(claim.step, deps, outs, observed=observed, sources=sources)
            newest[claim.step] = _position(statement), stage
    ordered = sorted(newest.values(), key=lambda pair: pair[0])
    return AttestedSteps(tuple(stage for _, stage in ordered), tuple(sorted(others)))


def _position(statement: VerifiedStatement) -> tuple[datetime, int]:
    """Return proven time and log index: times are whole seconds, and two steps may be signed within one."""
    return statement.time, statement.log.index


def _materials(items: tuple[ResourceDescriptor, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of files and directories, and the URIs."""
    names = tuple(sorted(item.name for item in items if item.name is not None))
    uris = (item.rule_name or "" for item in items if item.name is None)
    return names, tuple(sorted(set(uris)))

"""Line endings that Git converted, named where they are why a file is not the attested one, and before one is attested."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from gitchain.collect.line_endings import converted_names, differs_by_line_endings, help_for, keep_bytes
from gitchain.errors import GitchainError
from gitchain.pipeline.project import Project
from gitchain.pipeline.record import Draft
from gitchain.verify.decide import Decision, Finding
from gitchain.verify.findings import Code

__all__ = ["converted_in", "keep_bytes", "with_line_endings"]

_SHA256 = "sha256:"


def with_line_endings(decision: Decision, project: Project | None) -> Decision:
    """Return the decision with findings that say so where a file differs by its line endings alone. Never another result."""
    if decision.passed or project is None:
        return decision
    return replace(decision, findings=tuple(_explained(one, project) for one in decision.findings))


def _explained(finding: Finding, project: Project) -> Finding:
    name, expected = finding.artifact, finding.expected.removeprefix(_SHA256)
    if finding.code is not Code.OTHER_CONTENT or not name or not finding.expected.startswith(_SHA256):
        return finding
    if not differs_by_line_endings(project.root, name, expected):
        return finding
    message = f"{finding.message}; only its line endings differ"
    return replace(finding, message=message, help=help_for(project.root, name, expected))


def converted_in(project: Project, drafts: Iterable[Draft]) -> Mapping[str, tuple[str, str]]:
    """Return the files that these statements name whose line endings here differ from those that Git holds."""
    from gitchain.evidence.predicates import claim_of

    names = [
        item.name
        for draft in drafts
        for claim in [claim_of(draft.statement)]
        for item in (*claim.materials, *claim.products)
        if item.name is not None
    ]
    try:
        return converted_names(project.root, names)
    except GitchainError:
        return {}  # a note is no reason to fail

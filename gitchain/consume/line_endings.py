"""Detection of line endings that Git converted, as the reason why a file differs from the attested one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from gitchain.collect.line_endings import converted_names, differs_by_line_endings, help_for, keep_bytes
from gitchain.errors import GitchainError
from gitchain.evidence.statement import Statement
from gitchain.verify.decide import Decision, Finding
from gitchain.verify.findings import FindingCode
from gitchain.workspace.project import Project

__all__ = ["converted_in", "keep_bytes", "with_line_endings"]

_SHA256 = "sha256:"


def with_line_endings(decision: Decision, project: Project | None) -> Decision:
    """Return the decision with an explanation for files that differ only in line endings. The result is unchanged."""
    if decision.passed or project is None:
        return decision
    return replace(decision, findings=tuple(_explained(finding, project) for finding in decision.findings))


def _explained(finding: Finding, project: Project) -> Finding:
    name, expected = finding.artifact, finding.expected.removeprefix(_SHA256)
    if finding.code is not FindingCode.OTHER_CONTENT or not name or not finding.expected.startswith(_SHA256):
        return finding
    if not differs_by_line_endings(project.root, name, expected):
        return finding
    message = f"{finding.message}; only its line endings differ"
    return replace(finding, message=message, help=help_for(project.root, name, expected))


def converted_in(project: Project, statements: Iterable[Statement]) -> Mapping[str, tuple[str, str]]:
    """Return the files in these statements whose line endings differ between the work tree and Git."""
    from gitchain.evidence.predicates import claim_of

    names = [
        item.name
        for statement in statements
        for claim in [claim_of(statement)]
        for item in (*claim.materials, *claim.products)
        if item.name is not None
    ]
    try:
        return converted_names(project.root, names)
    except GitchainError:
        return {}  # an explanation must not cause a failure

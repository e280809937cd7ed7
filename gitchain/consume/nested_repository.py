"""Targets in another repository below this one, such as a submodule: that repository's layout and evidence apply to them."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path

from gitchain.collect.paths import real_path
from gitchain.verify.decide import Decision
from gitchain.verify.findings import FindingCode
from gitchain.workspace.project import Project

_NO_EVIDENCE = frozenset({FindingCode.NO_EVIDENCE})


def verifying_there(project: Project | None, target: str) -> str:
    """Return the command that verifies the path in the repository below this one that holds it, or an empty text."""
    if project is None or not os.path.lexists(target):
        return ""
    path = real_path(target)
    folder = _repository_of(project.root, path)
    if folder is None:
        return ""
    name = "HEAD" if path == folder else shlex.quote(path.relative_to(folder).as_posix())
    return f"gitchain -C {shlex.quote(os.path.relpath(folder))} verify {name}"


def with_nested_repository(decision: Decision, project: Project, target: str) -> Decision:
    """Return the decision with advice to verify where the target's own evidence is. The result is unchanged."""
    if decision.passed or not any(finding.code in _NO_EVIDENCE for finding in decision.findings):
        return decision
    there = verifying_there(project, target)
    if not there:
        return decision
    help_ = f"{there}   since the file is in another repository, a submodule perhaps"
    return replace(
        decision,
        findings=tuple(
            replace(finding, help=help_) if finding.code in _NO_EVIDENCE else finding
            for finding in decision.findings
        ),
    )


def _repository_of(root: Path, path: Path) -> Path | None:
    """Return the path, or the innermost directory above it and below the root, that has a `.git`."""
    folders = (one for one in (path, *path.parents) if one != root and one.is_relative_to(root))
    return next((one for one in folders if (one / ".git").exists()), None)

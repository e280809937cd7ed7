"""A process that attests one statement after another through the pipeline: prints the id of each that is stored.

`python attesting_program.py REPOSITORY LABEL COUNT`; killed at any moment, what it printed must be in the store.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.predicates import DATASET
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.produce.draft import StatementDraft
from gitchain.produce.sign_and_store import project_profile, record
from gitchain.workspace.project import open_project


def draft(label: str, number: int) -> StatementDraft:
    """Return a statement of its own for each label and number."""
    name = f"data/{label}-{number}"
    subject = ResourceDescriptor(name, DigestSet({"sha256": sha256_hex(name.encode())}))
    return StatementDraft(Statement.build((subject,), DATASET, {"note": name}))


def main(repository: str, label: str, count: str) -> None:
    """Attest `count` statements, each on its own."""
    project = open_project(Path(repository))
    profile = project_profile(project)
    for number in range(int(count)):
        done = record(project, profile, [draft(label, number)])
        if done.queued:
            raise SystemExit(f"queued: {done.reason}")
        for statement in done.stored:
            sys.stdout.write(f"{statement.attestation_id}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""`gitchain verify --vsa`: sign the result of a verification as a SLSA VSA, store it, and write its bundle to a file.

The verdict stands whatever becomes of the summary: it is printed, and its exit code is the verb's. Only a PASSED whose
summary could not be written ends with another one than 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitchain.cli.output import Options, escape
from gitchain.errors import ExitCode, GitchainError, UsageError

if TYPE_CHECKING:
    from gitchain.produce.sign_and_store import SigningIdentity
    from gitchain.verify.decide import Decision
    from gitchain.workspace.project import Project


@dataclass(frozen=True, slots=True)
class VsaRequest:
    """Path of the summary, its verifier, and its signer."""

    path: Path
    verifier: str
    who: SigningIdentity


def wanted(path: Path | None, verifier: str | None, who: SigningIdentity) -> VsaRequest | None:
    """Return the requested summary, None without --vsa. Raises UsageError if one of its options is missing."""
    if path is None:
        if verifier or who.name:
            raise UsageError("--verifier and --as belong to --vsa", help="--vsa OUT --verifier URI")
        return None
    if not verifier:
        raise UsageError("--vsa needs the URI of the verifier", help="--vsa OUT --verifier URI")
    return VsaRequest(path, verifier, who)


def summarised(
    options: Options, project: Project | None, decisions: Sequence[Decision], asked: VsaRequest
) -> tuple[dict[str, Any] | None, ExitCode]:
    """Sign, store and write the summary of the one decision; return its part of the JSON document, and an exit code.

    The code is not 0 if nothing was written.
    """
    try:
        return _write(options, project, decisions, asked)
    except GitchainError as error:
        options.error(error, document=False)
        options.talk(f"no summary was written to {escape(str(asked.path))}; the verdict stands")
        return None, error.exit_code


def _write(
    options: Options, project: Project | None, decisions: Sequence[Decision], asked: VsaRequest
) -> tuple[dict[str, Any] | None, ExitCode]:
    from gitchain.produce.sign_and_store import project_profile
    from gitchain.produce.vsa import summarise, write_summary

    if project is None:
        raise UsageError("a summary is signed and stored in a repository", help="run it inside of one")
    if len(decisions) != 1:
        raise UsageError(
            "a summary is about one artifact",
            got=f"{len(decisions)}",
            help="name one product: gitchain verify PATH",
        )
    profile = project_profile(project, options.trust, offline=options.offline)
    recorded = summarise(project, profile, decisions[0], asked.verifier, asked.who)
    if not recorded.stored:
        options.talk(f"the summary waits in the outbox: {escape(str(recorded.reason))}")
        options.talk(f"no summary was written to {escape(str(asked.path))}; the verdict stands")
        options.talk("  help  gitchain sync, then verify again")
        return None, ExitCode.QUEUED
    statement = recorded.stored[0]
    write_summary(project, statement, asked.path)
    options.talk(
        f"summary   {statement.attestation_id[:12]} says {decisions[0].result}: {escape(str(asked.path))}"
    )
    return {"id": statement.attestation_id, "path": str(asked.path)}, ExitCode.OK

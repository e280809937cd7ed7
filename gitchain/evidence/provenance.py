"""Build SLSA provenance v1 predicates, for steps that turn materials into products.

Step name, run and layout are `externalParameters`; evidence strength and what is known of the machine, the
repository and DVC are `internalParameters`; materials are `resolvedDependencies`; products are the subjects.

Format: https://slsa.dev/spec/v1.1/provenance, docs/formats/predicates.md, schemas/step.schema.json
Does NOT read provenance back: `gitchain.evidence.claim` does.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from gitchain import __version__
from gitchain.errors import MalformedError
from gitchain.evidence.canonical import Json
from gitchain.evidence.claim import StepFacts
from gitchain.evidence.digest import DigestSet, Sha256, check_hex
from gitchain.evidence.names import check_uri
from gitchain.evidence.statement import ResourceDescriptor, check_rule_names
from gitchain.evidence.vocabulary import KINDS, STEP_FIELD, Evidence, Kind, build_type, builder_id, check_time

LOCAL_REPOSITORY = "git:local"
"""Names a repository that has no remote, or one on this machine."""

_REMOTE = re.compile(
    r"(?P<scheme>https?|ssh|git)://(?:[^/?#]*@)?(?P<host>[A-Za-z0-9.:_\[\]-]+)(?P<path>/[!-~]*?)?(?:[?#].*)?",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
_SCP = re.compile(r"(?:[^@/:]+@)?(?P<host>[A-Za-z0-9._-]{2,}):(?!//)(?P<path>[!-?A-~]+)", re.ASCII)


def step_facts(*, name: str, run: str, evidence: Evidence, layout: str | None = None) -> dict[str, Json]:
    """Return `{"gitchain_step": {…}}`, to merge into an informational predicate. Raises MalformedError."""
    return {STEP_FIELD: StepFacts(name, run, evidence, layout).to_json()}


def with_optional(value: dict[str, Json], step: StepFacts | None = None, **optional: Json) -> dict[str, Json]:
    """Return the value with the optional fields that are not None, and with the step facts."""
    value.update({key: item for key, item in optional.items() if item is not None})
    if step is not None:
        value[STEP_FIELD] = step.to_json()
    return value


def git_uri(remote: str | None) -> str:
    """Return the uri of a repository by its remote: `git+https://host/path`, or `git:local` without one.

    User information, query and fragment are left out, as they may be secrets; so are paths of this machine.
    """
    if remote is None:
        return LOCAL_REPOSITORY
    if scp := _SCP.fullmatch(remote):
        return f"git+ssh://{scp['host']}/{scp['path'].lstrip('/')}"
    if url := _REMOTE.fullmatch(remote):
        return f"git+{url['scheme'].lower()}://{url['host']}{url['path'] or ''}"
    return LOCAL_REPOSITORY


def git_source(
    *, commit: str, tree: str, commit_sha256: Sha256, uri: str = LOCAL_REPOSITORY
) -> ResourceDescriptor:
    """Return the descriptor of the Git commit that a step ran from.

    `commit_sha256` is the SHA-256 of the raw commit object: unlike a SHA-1 id it binds. Raises
    MalformedError, also for a uri with credentials in it.
    """
    if "@" in check_uri(uri).partition("//")[2].partition("/")[0]:
        raise MalformedError("uri of the repository holds user information", help="give the uri without it")
    check_hex(tree, (40, 64), "git tree")
    check_hex(commit_sha256, (64,), "commit sha256")
    annotations: dict[str, Json] = {"sha256": commit_sha256, "gitTree": tree}
    return ResourceDescriptor(None, DigestSet({"gitCommit": commit}), uri, annotations=annotations)


def provenance(  # noqa: PLR0913 - one keyword a field of the predicate
    *,
    step: StepFacts,
    materials: Sequence[ResourceDescriptor],
    kind: Kind = "step",
    command: Sequence[str] = (),
    parameters: Mapping[str, Json] | None = None,
    environment: Mapping[str, Json] | None = None,
    git: Mapping[str, Json] | None = None,
    dvc: Mapping[str, Json] | None = None,
    started: str | None = None,
    finished: str | None = None,
    byproducts: Sequence[ResourceDescriptor] = (),
    exit_code: int | None = None,
) -> dict[str, Json]:
    """Return SLSA provenance v1 for one step of the lifecycle, the materials in the order of their names.

    Raises MalformedError for an unknown kind, a malformed time, or materials that share a name.
    """
    if kind not in KINDS:
        raise MalformedError("lifecycle kind is unknown", expected=", ".join(KINDS), got=ascii(kind))
    check_rule_names(materials, "materials")
    external: dict[str, Json] = {"step": step.name, "run": step.run}
    internal: dict[str, Json] = {"evidence": step.evidence, "environment": dict(environment or {})}
    ordered = sorted(materials, key=lambda material: (material.rule_name or "").encode())
    made: list[Json] = [byproduct.to_json() for byproduct in byproducts]
    if exit_code is not None:
        made.append({"name": "exit-code", "annotations": {"value": exit_code}})
    return {
        "buildDefinition": {
            "buildType": build_type(kind),
            "externalParameters": with_optional(
                external,
                layout=step.layout,
                command=list(command) or None,
                parameters=dict(parameters) if parameters else None,
            ),
            "internalParameters": with_optional(internal, git=_copy(git), dvc=_copy(dvc)),
            "resolvedDependencies": [material.to_json() for material in ordered],
        },
        "runDetails": {
            "builder": {"id": builder_id(step.evidence), "version": {"gitchain": __version__}},
            "metadata": with_optional(
                {"invocationId": step.run}, startedOn=_time(started), finishedOn=_time(finished)
            ),
            "byproducts": made,
        },
    }


def _copy(value: Mapping[str, Json] | None) -> Json:
    return None if value is None else dict(value)


def _time(value: str | None) -> str | None:
    return None if value is None else check_time(value, "time")

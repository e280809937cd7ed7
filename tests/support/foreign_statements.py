"""Statements in the formats of other tools, and certificates of workflows as Fulcio issues them.

The shapes are those of actions/attest-build-provenance, slsa-github-generator, Syft and Trivy, in-toto, pytest behind
attest-test-result, model-signing and PyPI. `WorkflowForge` signs with the keys of an embedded instance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cryptography import x509

from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.oms import model_statement
from gitchain.evidence.vocabulary import LINK, PROVENANCE, PROVENANCE_V02, RELEASE, SVR, TEST_RESULT
from gitchain.instance import Instance, der
from gitchain.verify.identity import CLAIMS, ISSUER_V1, ISSUER_V2
from tests.support.forged_bundles import Forge

GITHUB = "https://token.actions.githubusercontent.com"
ACCOUNTS = "https://accounts.example.com"
REPOSITORY = "https://github.com/acme/credit"
WORKFLOW = f"{REPOSITORY}/.github/workflows/build.yml@refs/heads/main"
REUSABLE = "https://github.com/acme/workflows/.github/workflows/build.yml@refs/tags/v1.0.0"
GENERATOR = "https://github.com/slsa-framework/slsa-github-generator/.github/workflows/generator_generic_slsa3.yml@refs/tags/v2.0.0"
WORKFLOW_BUILD = "https://actions.github.io/buildtypes/workflow/v1"
CYCLONEDX = "https://cyclonedx.org/bom"
SPDX = "https://spdx.dev/Document"
VULNS = "https://in-toto.io/attestation/vulns/v0.2"
IMAGE = "registry.acme.example/models/credit"
PYPI = "https://docs.pypi.org/attestations/publish/v1"
OF_ACME = {
    "sourceRepositoryURI": REPOSITORY,
    "sourceRepositoryIdentifier": "123",
    "sourceRepositoryOwnerIdentifier": "45",
    "sourceRepositoryRef": "refs/heads/main",
    "buildSignerURI": WORKFLOW,
    "buildConfigURI": WORKFLOW,
    "buildTrigger": "push",
    "runnerEnvironment": "github-hosted",
}
Json = dict[str, Any]


def subject(content: str, name: str = "credit.pkl") -> Json:
    return {"name": name, "digest": {"sha256": sha256_hex(content.encode())}}


def said(kind: str, predicate: Json, *subjects: Json) -> bytes:
    """Return the payload of a statement of this predicate type."""
    statement = {"_type": "https://in-toto.io/Statement/v1", "subject": list(subjects)}
    return json.dumps({**statement, "predicateType": kind, "predicate": predicate}).encode()


def old(payload: bytes) -> bytes:
    """Return the statement as a Statement v0.1."""
    return payload.replace(b"in-toto.io/Statement/v1", b"in-toto.io/Statement/v0.1", 1)


def cosign_attest(kind: str, predicate: Json, digest: str, image: str = IMAGE) -> bytes:
    """Return what `cosign attest --type cyclonedx|spdxjson` signs for an image or an artifact in a registry.

    A Statement v0.1 without spaces, with the fields in the order of protobuf's JSON; the name has no tag.
    """
    about = {"name": image, "digest": {"sha256": digest}}
    statement = {"_type": "https://in-toto.io/Statement/v0.1", "subject": [about], "predicateType": kind}
    return json.dumps({**statement, "predicate": predicate}, separators=(",", ":")).encode()


def github_build(*subjects: Json, workflow: str = WORKFLOW, **more: Any) -> bytes:
    """Return what actions/attest-build-provenance signs."""
    path, _, ref = workflow.removeprefix(f"{REPOSITORY}/").partition("@")
    definition = {
        "buildType": WORKFLOW_BUILD,
        "externalParameters": {"workflow": {"ref": ref, "repository": REPOSITORY, "path": path}},
        "internalParameters": {
            "github": {
                "event_name": "push",
                "repository_id": "123",
                "repository_owner_id": "45",
                "runner_environment": "github-hosted",
            }
        },
        "resolvedDependencies": [
            {
                "uri": f"git+{REPOSITORY}@{ref}",
                "digest": {"gitCommit": "ec940f57f28ae1708ad8db2a7dece857513de5ba"},
            }
        ],
    }
    run = {
        "builder": {"id": workflow},
        "metadata": {"invocationId": f"{REPOSITORY}/actions/runs/7/attempts/1"},
    }
    return said(PROVENANCE, {"buildDefinition": {**definition, **more}, "runDetails": run}, *subjects)


def reusable_build(*subjects: Json) -> bytes:
    """Return what actions/attest-build-provenance signs in a reusable workflow: the caller's file, the called builder."""
    caller = f"{REPOSITORY}/.github/workflows/release.yml@refs/heads/main"
    return github_build(*subjects, workflow=caller).replace(
        f'"id": "{caller}"'.encode(), f'"id": "{REUSABLE}"'.encode()
    )


def generator_build(*subjects: Json) -> bytes:
    """Return what slsa-github-generator signs: SLSA provenance v0.2 in a Statement v0.1."""
    predicate = {
        "builder": {"id": GENERATOR},
        "buildType": "https://github.com/slsa-framework/slsa-github-generator/generic@v1",
        "invocation": {"configSource": {"uri": f"git+{REPOSITORY}@refs/tags/v1", "digest": {"sha1": "ec940f57f28ae1708ad8db2a7dece857513de5ba"}, "entryPoint": ".github/workflows/release.yml"}, "parameters": {}, "environment": {"github_event_name": "push"}},
        "metadata": {"buildInvocationID": "7-1", "completeness": {"parameters": True, "environment": False, "materials": False}, "reproducible": False},
        "materials": [{"uri": f"git+{REPOSITORY}@refs/tags/v1", "digest": {"sha1": "ec940f57f28ae1708ad8db2a7dece857513de5ba"}}],
    }  # fmt: skip
    return old(said(PROVENANCE_V02, predicate, *subjects))


def link(name: str, materials: Mapping[str, str], *subjects: Json) -> bytes:
    given = [subject(content, path) for path, content in materials.items()]
    predicate = {"name": name, "command": ["make"], "materials": given, "byproducts": {}, "environment": {}}
    return said(LINK, predicate, *subjects)


def cyclonedx(*subjects: Json, **more: Any) -> bytes:
    component = {"type": "library", "name": "numpy", "version": "2.3.1", "purl": "pkg:pypi/numpy@2.3.1"}
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": "urn:uuid:3e671687-395b-41f5-a30f-a58921a69b79",
    }
    return said(
        CYCLONEDX, {**bom, "version": 1, "metadata": {}, "components": [component], **more}, *subjects
    )


def spdx(*subjects: Json) -> bytes:
    package = {
        "name": "numpy",
        "SPDXID": "SPDXRef-numpy",
        "versionInfo": "2.3.1",
        "downloadLocation": "NOASSERTION",
    }
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": "credit",
    }
    return said(SPDX, {**document, "packages": [package]}, *subjects)


def pytest_result(*subjects: Json, result: str = "PASSED", config: str = "tests/test_model.py") -> bytes:
    predicate = {
        "result": result,
        "configuration": [{"name": config, "digest": {"sha256": sha256_hex(b"tests")}}],
        "passedTests": ["test_accuracy", "test_bias"] if result == "PASSED" else [],
        "failedTests": [] if result == "PASSED" else ["test_bias"],
    }
    return said(TEST_RESULT, predicate, *subjects)


def scan(*subjects: Json, severity: str = "LOW") -> bytes:
    scanner = {
        "uri": "pkg:github/aquasecurity/trivy@0.66.0",
        "version": "0.66.0",
        "result": [
            {"id": "CVE-2026-1", "severity": [{"method": "nvd", "score": severity}], "annotations": []}
        ],
    }
    times = {"scanStartedOn": "2026-11-22T10:00:00Z", "scanFinishedOn": "2026-11-22T10:01:00Z"}
    return said(VULNS, {"scanner": scanner, "metadata": times}, *subjects)


def pypi_publish(*subjects: Json) -> bytes:
    return said(PYPI, {}, *subjects)


def release(*subjects: Json) -> bytes:
    return said(RELEASE, {"purl": "pkg:generic/credit@1.2", "releaseId": "1.2"}, *subjects)


def approval(*subjects: Json, properties: tuple[str, ...] = ("ACME_APPROVED",)) -> bytes:
    predicate = {
        "verifier": {"id": "https://review.example.com"},
        "timeCreated": "2026-11-22T10:00:00Z",
        "properties": list(properties),
    }
    return said(SVR, predicate, *subjects)


def model_signature(files: Mapping[str, str], name: str = "credit") -> bytes:
    """Return what model-signing signs."""
    return model_statement(
        name, {path: sha256_hex(text.encode()) for path, text in files.items()}, [".git"]
    ).payload


class WorkflowForge(Forge):
    """A workflow of GitHub Actions that signs with a certificate like Fulcio's."""

    def __init__(self, instance: Instance, identity: str = WORKFLOW, **claims: str) -> None:
        said = {**OF_ACME, **claims}
        super().__init__(instance, identity, lambda found: _issued(found, GITHUB, said))


class PersonForge(Forge):
    """A person whom the issuer of the page's examples authenticated."""

    def __init__(self, instance: Instance, identity: str) -> None:
        super().__init__(instance, identity, lambda found: _issued(found, ACCOUNTS, {}))


def _issued(
    found: list[x509.Extension[Any]], issuer: str, claims: Mapping[str, str]
) -> list[x509.Extension[Any]]:
    oids = {name: oid for oid, name in CLAIMS.items()}
    fresh = {ISSUER_V1: issuer.encode(), ISSUER_V2: der.utf8(issuer)}
    fresh |= {oids[name]: der.utf8(value) for name, value in claims.items()}
    kept = [one for one in found if one.oid not in fresh]
    return kept + [
        x509.Extension(oid, False, x509.UnrecognizedExtension(oid, value)) for oid, value in fresh.items()
    ]

"""Versions of one model for `gitchain diff`: any statements of three steps, signed by the embedded instance."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gitchain.evidence import predicates
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import DigestSet, Sha256, sha256_hex
from gitchain.evidence.manifest import FileEntry, build_manifest
from gitchain.evidence.predicates import PROVENANCE, SVR, StepFacts
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPE, Evidence
from gitchain.trust.load_profile import load_profile
from gitchain.trust.profiles import SigningIdentity
from gitchain.workspace.project import open_project

LAYOUT = """\
schema: https://gitchain.dev/layout/v1
name: tiny
version: 2
expires: "2099-01-01T00:00:00Z"
functionaries:
  ada: {{identities: [{{issuer: "{issuer}", subject: ada@example.com}}]}}
  bob: {{identities: [{{issuer: "{issuer}", subject: bob@example.com}}]}}
  carol: {{identities: [{{issuer: "{issuer}", subject: carol@example.com}}]}}
revokers: [ada]
steps:
  - name: prepare
    functionaries: [ada]
    expectedProducts: [[ALLOW, "data/*"], [ALLOW, data], [DISALLOW, "*"]]
  - name: train
    functionaries: [ada, bob]
    expectedMaterials: [[MATCH, data, WITH, PRODUCTS, FROM, prepare], [MATCH, "data/*", WITH, PRODUCTS, FROM, prepare], [ALLOW, "*.py"], [ALLOW, "git*"], [DISALLOW, "*"]]
    expectedProducts: [[CREATE, "*.bin"], [DISALLOW, "*"]]
  - name: approve
    functionaries: [ada, carol]
    predicateType: https://in-toto.io/attestation/svr/v0.2
    expectedMaterials: [[MATCH, "*.bin", WITH, PRODUCTS, FROM, train], [DISALLOW, "*"]]
serve: [{{step: train, products: ["*.bin"]}}]
"""


@dataclass(frozen=True)
class Version:
    """One version of the model: its content, and what the statements of its steps state."""

    name: str
    model: str
    data: Mapping[str, str] = field(default_factory=lambda: {"data/raw.csv": "raw"})
    code: str = "train"
    directory: bool = False
    parameters: Mapping[str, Json] = field(default_factory=dict)
    metrics: Mapping[str, Json] = field(default_factory=dict)
    command: Sequence[str] = ("python train.py",)
    environment: Mapping[str, Json] = field(default_factory=dict)
    git: Mapping[str, str] | None = None
    evidence: Evidence = "observed"
    trainer: str = "ada@example.com"
    approver: str = "carol@example.com"
    layout: str = "tiny"


def descriptor(name: str, content: str) -> ResourceDescriptor:
    return ResourceDescriptor(name, DigestSet({"sha256": sha256_hex(content.encode())}))


@dataclass(frozen=True)
class Workshop:
    """Signs and stores versions in one repository."""

    repo: Path

    def add(self, *versions: Version) -> None:
        """Sign and store the statements of the versions, and write their files."""
        for version in versions:
            nodes = self.data(version)[1]
            self.sign("ada@example.com", [self.prepare(version)], nodes)
            self.sign(version.trainer, [self.train(version)])
            self.sign(version.approver, [self.approve(version)])
            (self.repo / version.name).write_text(version.model)

    def sign(
        self, who: str, statements: Sequence[Statement], nodes: Mapping[str, bytes] | None = None
    ) -> tuple[bytes, ...]:
        """Sign the statements with the embedded instance, store them with manifest nodes, and return the bundles."""
        with chdir(self.repo), load_profile("local").signer(SigningIdentity(who)) as signer:
            bundles = signer.sign(statements)
        open_project(self.repo).store.add(bundles, nodes or {})
        return bundles

    def prepare(self, version: Version) -> Statement:
        return self.step("prepare", version, [], self.data(version)[0], {})

    def train(self, version: Version) -> Statement:
        materials = [*self.data(version)[0], descriptor("train.py", version.code)]
        if version.git is not None:
            materials.append(
                predicates.git_source(
                    commit=version.git["commit"],
                    tree=version.git["tree"],
                    commit_sha256=Sha256(hashlib.sha256(b"").hexdigest()),
                )
            )
        facts: dict[str, Any] = {
            "command": version.command,
            "parameters": version.parameters,
            "environment": version.environment,
            "byproducts": [
                ResourceDescriptor(name, DigestSet({"sha256": "0" * 64}), annotations={"metrics": values})
                for name, values in version.metrics.items()
            ],
        }
        return self.step("train", version, materials, [descriptor(version.name, version.model)], facts)

    def approve(self, version: Version) -> Statement:
        facts = predicates.step_facts(
            name="approve", run=sha256_hex(version.model.encode()), evidence="declared", layout=version.layout
        )
        predicate = predicates.svr(
            verifier="https://example.com/review", created="2026-11-30T12:00:00Z", properties=["APPROVED"]
        )
        return Statement.build([descriptor(version.name, version.model)], SVR, predicate | facts)

    def step(
        self,
        name: str,
        version: Version,
        materials: Sequence[ResourceDescriptor],
        products: Sequence[ResourceDescriptor],
        facts: Mapping[str, Any],
    ) -> Statement:
        step = StepFacts(name, sha256_hex(version.model.encode()), version.evidence, version.layout)
        return Statement.build(
            products, PROVENANCE, predicates.provenance(step=step, materials=materials, **facts)
        )

    def data(self, version: Version) -> tuple[list[ResourceDescriptor], Mapping[str, bytes]]:
        """Return the data of a version, as files or as one directory with its manifest nodes."""
        if not version.directory:
            return [descriptor(*item) for item in version.data.items()], {}
        manifest = build_manifest(
            FileEntry(name, False, len(content), sha256_hex(content.encode()))
            for name, content in version.data.items()
        )
        digest = DigestSet({"sha256": manifest.digest})
        return [ResourceDescriptor("data", digest, media_type=MANIFEST_MEDIA_TYPE)], manifest.nodes


def workshop_in(repo: Path, sign_layout: Callable[[], object]) -> Workshop:
    """Return the workshop of a repository that is set up, with a layout of three steps."""
    instance = load_profile("local").instance
    assert instance is not None
    (repo / ".gitchain/layout.yaml").write_text(LAYOUT.format(issuer=instance.issuer))
    sign_layout()
    return Workshop(repo)

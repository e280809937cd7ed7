"""A small world for decisions: a layout, and honest or hostile evidence, made without any signature.

`DecisionInput.honest()` holds a whole run: data → prepare → train → evaluate → approve. An attack is one call that
adds, drops or replaces evidence. `statement` is the tests' own maker of verified statements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from gitchain.evidence.claim import StepFacts
from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.manifest import FileEntry, Manifest, build_manifest
from gitchain.evidence.predicates import SVR, provenance, svr
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPES, Evidence
from gitchain.layout import Identity, Layout, parse_layout
from gitchain.verify.decide import Decision, Target, decide
from gitchain.verify.verified import LogRef, SignedLayout, VerifiedStatement

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ISSUER = "https://issuer.example"
LAYOUT = """
schema: https://gitchain.dev/layout/v1
name: credit-model
version: 1
expires: "2027-11-22T00:00:00Z"
functionaries:
  alice: {identities: [{issuer: "https://issuer.example", subject: alice}, {issuer: "https://issuer.example", subject: alice2}]}
  bob: {identities: [{issuer: "https://issuer.example", subject: bob}]}
  carol: {identities: [{issuer: "https://issuer.example", subject: carol}]}
steps:
  - name: data
    functionaries: [carol]
    evidence: declared
    expectedProducts: [[REQUIRE, data/raw.csv], [CREATE, data/raw.csv], [DISALLOW, "*"]]
  - name: prepare
    functionaries: [alice]
    evidence: observed
    expectedMaterials: [[REQUIRE, data/raw.csv], [MATCH, data/raw.csv, WITH, PRODUCTS, FROM, data], [ALLOW, "src/*"], [DISALLOW, "*"]]
    expectedProducts: [[REQUIRE, data/prepared], [CREATE, data/prepared], [DISALLOW, "*"]]
  - name: train
    functionaries: [alice, bob]
    evidence: observed
    expectedMaterials: [[REQUIRE, data/prepared/train.csv], [MATCH, "data/prepared/*", WITH, PRODUCTS, FROM, prepare], [ALLOW, "src/*"], [DISALLOW, "*"]]
    expectedProducts: [[REQUIRE, models/model.pkl], [CREATE, "models/*"], [DISALLOW, "*"]]
  - name: evaluate
    functionaries: [alice]
    evidence: observed
    expectedMaterials: [[REQUIRE, models/model.pkl], [MATCH, "models/*", WITH, PRODUCTS, FROM, train], [MATCH, "data/prepared/*", WITH, PRODUCTS, FROM, prepare], [ALLOW, "src/*"], [DISALLOW, "*"]]
    expectedProducts: [[REQUIRE, metrics.json], [CREATE, metrics.json], [DISALLOW, "*"]]
  - name: approve
    functionaries: [bob, carol]
    predicateType: https://in-toto.io/attestation/svr/v0.2
    maxAge: P30D
    expectedMaterials: [[REQUIRE, metrics.json], [MATCH, metrics.json, WITH, PRODUCTS, FROM, evaluate], [DISALLOW, "*"]]
serve: [{step: train, products: ["models/*"]}]
"""

Content = str | Manifest


def directory(**files: str) -> Manifest:
    return build_manifest(
        FileEntry(name.replace("__", "."), False, len(content), sha256_hex(content.encode()))
        for name, content in files.items()
    )


def descriptor(name: str, content: Content) -> ResourceDescriptor:
    if isinstance(content, Manifest):
        return ResourceDescriptor(
            name, DigestSet({"sha256": content.digest}), media_type=MANIFEST_MEDIA_TYPES[content.version]
        )
    return ResourceDescriptor(name, DigestSet({"sha256": sha256_hex(content.encode())}))


def verified(statement: Statement, who: str, time: datetime, index: int = 0) -> VerifiedStatement:
    """The tests' own maker: the code under test gets what only bundle verification makes elsewhere."""
    return VerifiedStatement(
        statement, Identity(ISSUER, who), time, LogRef("log.example", index), statement.attestation_id, b""
    )


def statement(
    step: str,
    materials: Mapping[str, Content],
    products: Mapping[str, Content] | None = None,
    *,
    who: str = "alice",
    at: datetime = NOW - timedelta(hours=1),
    evidence: Evidence = "observed",
    run: str = "run-1",
    layout: str | None = "credit-model",
) -> VerifiedStatement:
    facts = StepFacts(step, run, evidence, layout)
    given = [descriptor(name, content) for name, content in materials.items()]
    if products is None:
        predicate = svr(
            verifier="https://people.example/x", created="2026-11-22T10:00:00Z", properties=["OK"], step=facts
        )
        return verified(Statement.build(given, SVR, predicate), who, at)
    made = [descriptor(name, content) for name, content in products.items()]
    predicate = provenance(step=facts, materials=given)
    return verified(Statement.build(made, "https://slsa.dev/provenance/v1", predicate), who, at)


PREPARED = directory(train__csv="train", test__csv="test")


def run(name: str = "1", prepared: Manifest = PREPARED, **more: Any) -> dict[str, VerifiedStatement]:
    """A whole honest run; `name` changes the model's and the metrics' content."""
    model, metrics = f"model {name}", f"metrics {name}"
    more["run"] = f"run-{name}"
    return {
        "data": statement("data", {}, {"data/raw.csv": "raw"}, who="carol", evidence="declared", **more),
        "prepare": statement(
            "prepare", {"data/raw.csv": "raw", "src/p.py": "code"}, {"data/prepared": prepared}, **more
        ),
        "train": statement(
            "train", {"data/prepared/train.csv": "train"}, {"models/model.pkl": model}, **more
        ),
        "evaluate": statement(
            "evaluate",
            {"models/model.pkl": model, "data/prepared/test.csv": "test"},
            {"metrics.json": metrics},
            **more,
        ),
        "approve": statement("approve", {"metrics.json": metrics}, who="bob", **more),
    }


def model(content: str = "model 1", name: str | None = "models/model.pkl") -> Target:
    return Target(sha256_hex(content.encode()), name)


@dataclass
class DecisionInput:
    """Evidence under a layout; `verdict` decides about the honest model unless told otherwise."""

    evidence: dict[str, VerifiedStatement] = field(default_factory=dict)
    layout: Layout = field(default_factory=lambda: parse_layout(LAYOUT.encode()))
    nodes: dict[str, bytes] = field(default_factory=lambda: dict(PREPARED.nodes))
    now: datetime = NOW

    @classmethod
    def honest(cls, **more: Any) -> DecisionInput:
        return cls(run(**more))

    def change(self, text: Callable[[str], str]) -> DecisionInput:
        self.layout = parse_layout(text(LAYOUT).encode())
        return self

    def verdict(self, target: Target | None = None, *, explain: bool = False) -> Decision:
        layout = self.layout
        signed = SignedLayout(
            layout, Identity(ISSUER, "owner"), layout.digest, layout.version, AttestationId("0" * 64), NOW
        )
        return decide(
            signed, self.evidence.values(), target or model(), self.now, self.nodes.get, explain=explain
        )


def codes(decision: Decision) -> list[tuple[str, str, str]]:
    """Code, step and artifact of every error."""
    return [(one.code.name, one.step, one.artifact) for one in decision.findings if one.severity == "error"]

"""The layout of docs/selectors.md, its recipes, and evidence for it with the signatures and certificates of an instance."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gitchain.evidence.claim import StepFacts
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.dsse import AttestationId
from gitchain.evidence.predicates import provenance
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import PROVENANCE
from gitchain.instance import Instance
from gitchain.layout import Identity, Layout, parse_layout
from gitchain.layout.yaml import read_yaml
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.decide import Decision, Target, decide
from gitchain.verify.trust import Trust
from gitchain.verify.verified import SignedLayout, VerifiedStatement
from tests.support.decision_input import descriptor
from tests.support.foreign_statements import (
    REUSABLE,
    PersonForge,
    WorkflowForge,
    approval,
    cyclonedx,
    github_build,
    link,
    model_signature,
    pypi_publish,
    pytest_result,
    reusable_build,
    scan,
    spdx,
    subject,
)
from tests.support.forged_bundles import Forge, raw

PAGE = Path(__file__).parents[2] / "docs" / "selectors.md"
TRAINER, ALICE = "trainer@acme.example", "alice@acme.example"
NAME, CONTENT = "models/credit.pkl", "model 1"


def blocks() -> list[dict[str, Any]]:
    found = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [dict(read_yaml(one)) for one in found]  # type: ignore[arg-type]


BASE, *RECIPE_PARTS = blocks()
RECIPES: dict[str, dict[str, Any]] = {part["steps"][0]["name"]: part["steps"][0] for part in RECIPE_PARTS}
"""The steps of the page's recipes by their names."""


def layout_with(*steps: Mapping[str, Any], **more: Any) -> Layout:
    """Return the page's layout with these steps more."""
    head = {"schema": "https://gitchain.dev/layout/v1", "name": "credit", "version": 1}
    expires = (datetime.now(UTC) + timedelta(days=300)).strftime("%Y-%m-%dT00:00:00Z")
    value = {**head, "expires": expires, **BASE, "steps": [*BASE["steps"], *steps], **more}
    return parse_layout(json.dumps(value).encode())


def changed(step: str, **more: Any) -> dict[str, Any]:
    """Return a recipe's step with other fields; a field that is None is left out."""
    return {name: value for name, value in {**RECIPES[step], **more}.items() if value is not None}


@dataclass
class SelectingWorld:
    """Evidence under a layout with selectors: each statement is signed, logged and verified for real."""

    instance: Instance
    trust: Trust
    layout: Layout
    evidence: list[VerifiedStatement] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.train()

    def signed(self, payload: bytes, by: Forge) -> VerifiedStatement:
        self.evidence.append(verify_bundle(raw(by.bundle(payload)), self.trust))
        return self.evidence[-1]

    def train(self, content: str = CONTENT, step: str = "train") -> VerifiedStatement:
        """Sign the training of the model, as `gitchain run` does, or another step that made it."""
        predicate = provenance(step=StepFacts(step, "run-1", "observed", self.layout.name), materials=())
        statement = Statement.build([descriptor(NAME, content)], PROVENANCE, predicate)
        return self.signed(statement.payload, PersonForge(self.instance, TRAINER))

    def github(self, **claims: str) -> Forge:
        return WorkflowForge(self.instance, **claims)

    def person(self, who: str = ALICE) -> Forge:
        return PersonForge(self.instance, who)

    def honest(self, step: str) -> None:
        """Sign the statements that satisfy a recipe."""
        artifact, github, reusable = subject(CONTENT), self.github(), WorkflowForge(self.instance, REUSABLE)
        payloads: dict[str, Iterable[tuple[bytes, Forge]]] = {
            "build": [(github_build(artifact), github)],
            "generate": [(reusable_build(artifact), reusable)],
            "sbom": [(cyclonedx(artifact), github)],
            "spdx": [(spdx(artifact), github)],
            "test": [(pytest_result(artifact), github)],
            "scan": [(scan(artifact), github)],
            "sign": [(model_signature({"credit.pkl": CONTENT}), self.person())],
            "publish": [(pypi_publish(subject(CONTENT, "credit-1.2.tar.gz")), github)],
            "convert": [
                (link("make-onnx", {NAME: CONTENT}, subject("onnx", "models/credit.onnx")), self.person())
            ],
            "review": [(approval(artifact), self.person()), (approval(artifact), self.person(TRAINER))],
        }
        for payload, by in payloads[step]:
            self.signed(payload, by)

    def verdict(self, content: str = CONTENT, *, explain: bool = False) -> Decision:
        layout, now = self.layout, datetime.now(UTC) + timedelta(seconds=1)
        owner = Identity("https://accounts.example.com", "owner@acme.example")
        signed = SignedLayout(layout, owner, layout.digest, 1, AttestationId("0" * 64), now)
        target = Target(sha256_hex(content.encode()), NAME)
        return decide(signed, self.evidence, target, now, lambda _digest: None, explain=explain)

"""Constraints through the command line: a floor holds, does not hold, or does not compile; each with its exit code."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.prepared_repository import refused

Gitchain = Callable[..., Any]
METRICS = "https://example.com/predicate/metrics/v1"
DATASET = "https://gitchain.dev/predicate/dataset/v0.1"
LAYOUT = """schema: https://gitchain.dev/layout/v1
name: tiny
version: 2
expires: '2099-01-01T00:00:00Z'
functionaries: {ada: {identities: [{issuer: 'ISSUER', subject: ada@example.com}]}}
steps:
  - name: train
    functionaries: [ada]
    expectedMaterials: [[ALLOW, in.txt], [ALLOW, 'git:*'], [DISALLOW, '*']]
    expectedProducts: [[CREATE, model.txt], [DISALLOW, '*']]
  - name: report
    functionaries: [ada]
    predicateType: https://example.com/predicate/metrics/v1
    constraints: [{name: floor, expression: 'predicate.accuracy >= 0.9'}]
    expectedMaterials: [[REQUIRE, model.txt], [MATCH, model.txt, WITH, PRODUCTS, FROM, train], [DISALLOW, '*']]
constraints: [{name: same-model, expression: "steps.report.materials['model.txt'].sha256 == target.sha256"}]
datasets:
  functionaries: [ada]
  artifacts: [{step: train, products: [model.txt]}]
  constraints: [{name: licence, expression: "dataset.licence == 'CC0-1.0'"}]
serve: [{step: train, products: [model.txt]}]
"""


class Setting:
    """A repository whose layout asks for a metric floor and for the licence of what was made."""

    def __init__(self, gitchain: Gitchain, repo: Path) -> None:
        self.gitchain, self.repo = gitchain, repo
        self.issuer = gitchain("local", "status", "--json", cwd=repo).json["issuer"]
        self.sign(LAYOUT)
        assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=repo).code == 0

    def sign(self, text: str, code: int = 0) -> Any:
        (self.repo / ".gitchain/layout.yaml").write_text(text.replace("ISSUER", self.issuer))
        done = self.gitchain("layout", "sign", cwd=self.repo)
        assert done.code == code, done.text
        return done

    def say(self, step: str, kind: str, said: dict[str, Any], about: str = "model.txt") -> None:
        path = self.repo / "said.json"
        path.write_text(json.dumps(said))
        arguments = ("attest", step, "--type", kind, "--predicate", str(path), "-m", about)
        done = self.gitchain(*arguments, cwd=self.repo)
        assert done.code == 0, done.text

    def licensed(self, licence: str) -> None:
        said = {
            "source": "https://example.com/d",
            "licence": licence,
            "consent": "obtained",
            "personalData": "none",
        }
        self.say("facts", DATASET, said)

    def findings(self) -> list[tuple[str, str, str]]:
        done = self.gitchain("verify", "--json", "model.txt", cwd=self.repo)
        assert done.code == (1 if done.json["findings"] else 0), done.text
        return [(one["code"], one["step"], one["got"]) for one in done.json["findings"]]


@pytest.fixture
def setting(gitchain: Gitchain, tiny: Path) -> Setting:
    return Setting(gitchain, tiny)


def test_what_holds_passes_and_what_does_not_is_said(setting: Setting) -> None:
    """Floor, same model and licence hold: exit 0. A worse evaluation of the same model, or a worse licence: exit 1."""
    setting.say("report", METRICS, {"accuracy": 0.93})
    assert ("GC-E0333", "train") in {finding[:2] for finding in setting.findings()}
    setting.licensed("CC0-1.0")
    assert setting.findings() == []
    setting.licensed("GPL-3.0-only")
    found = [("GC-E0334", "train", "is not true: dataset.licence is GPL-3.0-only")]
    assert setting.findings() == found


def test_a_worse_evaluation_of_the_same_model_is_not_hidden(setting: Setting) -> None:
    """A23 from end to end: what an authorised signer said below the floor counts until the same signer says otherwise."""
    setting.licensed("CC0-1.0")
    setting.say("report", METRICS, {"accuracy": 0.93})
    assert setting.findings() == []
    setting.say("report", METRICS, {"accuracy": 0.42})
    assert "is not true: predicate.accuracy is 0.42" in {got for _, _, got in setting.findings()}
    time.sleep(1.1)  # proven times have whole seconds
    setting.say("report", METRICS, {"accuracy": 0.99})
    assert setting.findings() == []


def test_a_rejection_of_another_subject_counts(setting: Setting) -> None:
    """A rejection of what the model was made of, which the report never named, is a rejection of the chain."""
    setting.licensed("CC0-1.0")
    setting.say("report", METRICS, {"accuracy": 0.93})
    assert setting.findings() == []
    setting.say("report", METRICS, {"accuracy": 0.1}, about="in.txt")
    assert ("GC-E0320", "train", "is not true: predicate.accuracy is 0.1") in setting.findings()


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("predicate.accuracy >= 0.9", "predicate.accuracy >=", "steps[1].constraints.floor"),
        ("predicate.accuracy >= 0.9", "accuracy >= 0.9", "undeclared reference to 'accuracy'"),
        ("steps.report", "steps.raport", "raport"),
        ("dataset.licence ==", "dataset.licence", "datasets.constraints.licence"),
    ],
)
def test_a_layout_that_does_not_compile_is_not_signed(
    setting: Setting, old: str, new: str, word: str
) -> None:
    """One clear error that names the constraint, exit 5."""
    text = LAYOUT.replace("version: 2", "version: 3").replace(old, new)
    refused(setting.sign(text, 5), 5, word)

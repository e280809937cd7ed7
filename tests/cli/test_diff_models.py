"""`gitchain diff` of targets that are several models: compared model by model, whatever the others state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from gitchain.consume import diff_sides
from gitchain.errors import ExitCode
from gitchain.evidence.predicates import SVR
from gitchain.evidence.statement import Statement
from gitchain.sources.evidence import Evidence
from tests.cli.test_diff import OLD, changes
from tests.cli.test_diff import workshop as workshop  # noqa: PLC0414 - a fixture
from tests.cli.test_documents import validator
from tests.support.model_versions import Version, Workshop, descriptor

Gitchain = Callable[..., Any]


def models(workshop: Workshop, side: str, rates: Sequence[int], names: str = "m{}.bin") -> None:
    """Add one model for each rate, and a bundle file about all of them, named after the side."""
    versions = [
        Version(
            names.format(number),
            f"{side}{number}",
            parameters={"p.yaml": {"lr": rate}},
            trainer=f"{'bob' if rate == 3 else 'ada'}@example.com",
        )
        for number, rate in enumerate(rates)
    ]
    workshop.add(*versions)
    bundle(workshop, side, versions)


def bundle(workshop: Workshop, side: str, versions: Sequence[Version]) -> None:
    subjects = [descriptor(one.name, one.model) for one in versions]
    (raw,) = workshop.sign(
        "carol@example.com", [Statement.build(subjects, SVR, workshop.approve(OLD).predicate)]
    )
    (workshop.repo / f"{side}.sigstore.json").write_bytes(raw)


def compared(gitchain: Gitchain, workshop: Workshop) -> Any:
    done = gitchain("diff", "--json", "a.sigstore.json", "b.sigstore.json", cwd=workshop.repo)
    assert done.code == ExitCode.OK, done.text
    validator("diff").validate(done.json)
    return done.json


def test_diff_of_several_models_compares_each(gitchain: Gitchain, workshop: Workshop) -> None:
    """A value that one model changed is shown, although another model has it on both sides; so is a signer."""
    models(workshop, "a", (1, 2, 3, 1))
    models(workshop, "b", (1, 2, 1, 3))
    document = compared(gitchain, workshop)
    assert changes(document, "parameters") == [
        ("p.yaml:lr", "changed", 3, 1),
        ("p.yaml:lr", "changed", 1, 3),
    ]
    assert len(changes(document, "signers")) == 2


def test_diff_of_models_of_other_names_compares_all_values(gitchain: Gitchain, workshop: Workshop) -> None:
    """Without common names the values of all models are compared, with how many models have each."""
    models(workshop, "a", (1, 2, 1))
    models(workshop, "b", (2, 1, 2), "n{}.bin")
    assert changes(compared(gitchain, workshop), "parameters") == [
        ("p.yaml:lr", "changed", [1, 2, 1], [2, 1, 2])
    ]


def test_diff_examines_a_bounded_number_of_failed_models(
    gitchain: Gitchain, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The evidence of models that failed is gathered once, for at most MAX_FAILED of them, and the output states it."""
    around = Evidence.around
    gathered = list[int]()

    def counted(self: Evidence, digests: Any, steps: Any) -> Any:
        named = list(digests)
        gathered.append(len(named))
        return around(self, named, steps)

    monkeypatch.setattr(diff_sides, "MAX_FAILED", 3)
    monkeypatch.setattr(Evidence, "around", counted)
    many = [replace(OLD, name=f"m{number}.bin", model=f"m{number}") for number in range(6)]
    workshop.add(OLD)
    workshop.sign("ada@example.com", [workshop.train(one) for one in many])
    bundle(workshop, "b", many)
    done = gitchain("diff", "old.bin", "b.sigstore.json", cwd=workshop.repo)
    assert done.code == ExitCode.FAILED, done.text
    assert gathered == [1] * (1 + len(many)) + [3]
    assert "3 more that failed are not compared" in done.out
    document = gitchain("diff", "--json", "old.bin", "b.sigstore.json", cwd=workshop.repo).json
    validator("diff").validate(document)
    assert document["b"]["notCompared"] == 3
    page = gitchain("diff", "old.bin", "b.sigstore.json", "--markdown", cwd=workshop.repo).out
    assert "3 more that failed are not compared" in page

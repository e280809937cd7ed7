"""Statements of other tools: what they took and made by the meaning of their predicate, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from gitchain.errors import GitchainError, LimitError
from gitchain.evidence import oms
from gitchain.evidence.claim import StepClaim, claim_of
from gitchain.evidence.statement import Statement
from tests.support.foreign_statements import (
    REPOSITORY,
    approval,
    cyclonedx,
    generator_build,
    github_build,
    link,
    model_signature,
    pypi_publish,
    pytest_result,
    release,
    said,
    scan,
    spdx,
    subject,
)

MODEL = subject("model")


def claim(payload: bytes) -> StepClaim:
    return claim_of(Statement.parse(payload))


def names(payload: bytes) -> tuple[list[str | None], list[str | None]]:
    found = claim(payload)
    return [one.rule_name for one in found.materials], [one.rule_name for one in found.products]


SAMPLES: dict[str, tuple[bytes, list[str], list[str]]] = {
    "GitHub": (github_build(MODEL), [f"git+{REPOSITORY}@refs/heads/main"], ["credit.pkl"]),
    "SLSA v0.2": (generator_build(MODEL), [f"git+{REPOSITORY}@refs/tags/v1"], ["credit.pkl"]),
    "link": (link("make", {"src/a.py": "a"}, MODEL), ["src/a.py"], ["credit.pkl"]),
    "OMS": (model_signature({"a/x.bin": "x", "b.json": "b"}), ["a/x.bin", "b.json"], []),
    "OMS of one file": (model_signature({".": "x"}, "credit.pkl"), ["credit.pkl"], []),
    "CycloneDX": (cyclonedx(MODEL), ["credit.pkl"], []),
    "SPDX": (spdx(MODEL), ["credit.pkl"], []),
    "test result": (pytest_result(MODEL), ["credit.pkl"], []),
    "scan": (scan(MODEL), ["credit.pkl"], []),
    "PyPI": (pypi_publish(MODEL), ["credit.pkl"], []),
    "release": (release(MODEL), ["credit.pkl"], []),
    "SVR": (approval(MODEL), ["credit.pkl"], []),
    "runtime trace": (said("https://in-toto.io/attestation/runtime-trace/v0.1", {"monitorLog": {}}, MODEL), ["credit.pkl"], []),
    "unknown": (said("https://example.com/any/v7", {"materials": [MODEL, {"name": "x"}]}, MODEL), ["credit.pkl"], []),
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLES)
def test_claim_of_another_tool_has_no_step_facts(name: str) -> None:
    """Materials and products are those of docs/selectors.md; only a link has a name, and none of them has step facts."""
    payload, materials, products = SAMPLES[name]
    found = claim(payload)
    assert names(payload) == (materials, products)
    assert not found.has_facts
    assert (found.run, found.layout, found.evidence) == (None, None, None)
    assert found.step == ("make" if name == "link" else None)


def edited(payload: bytes, change: Callable[[Any], object]) -> bytes:
    value = json.loads(payload)
    change(value["predicate"])
    return json.dumps(value).encode()


def dependencies(*items: Any) -> bytes:
    return github_build(MODEL, resolvedDependencies=list(items))


def materials(payload: bytes, *items: Any) -> bytes:
    return edited(payload, lambda predicate: predicate.update(materials=list(items)))


URI = {"uri": "git+https://x.example/r"}
HOSTILE: dict[str, bytes] = {
    "no build definition": edited(github_build(MODEL), lambda predicate: predicate.pop("buildDefinition")),
    "build definition in a list": edited(github_build(MODEL), lambda predicate: predicate.update(buildDefinition=[])),
    "no build type": edited(github_build(MODEL), lambda predicate: predicate["buildDefinition"].pop("buildType")),
    "dependencies in a map": github_build(MODEL, resolvedDependencies={}),
    "dependency that is text": dependencies("x"),
    "dependency without a name": dependencies({"digest": {"sha256": "0" * 64}}),
    "dependency twice": dependencies(URI, URI),
    "dependency that climbs": dependencies({"name": "../x"}),
    "dependency of a short digest": dependencies({**URI, "digest": {"sha256": "00"}}),
    "dependency of an upper case digest": dependencies({**URI, "digest": {"sha256": "A" * 64}}),
    "too many dependencies": dependencies(*({"uri": f"x:{number}"} for number in range(10_001))),
    "v0.2 materials in a map": edited(generator_build(MODEL), lambda predicate: predicate.update(materials={})),
    "v0.2 material twice": materials(generator_build(MODEL), URI, URI),
    "v0.2 material that is a name and a uri": materials(generator_build(MODEL), URI, {"name": URI["uri"]}),
    "link without a name": edited(link("x", {}, MODEL), lambda predicate: predicate.pop("name")),
    "link with names that differ in case": materials(link("x", {}, MODEL), {"name": "A"}, {"name": "a"}),
    "step facts that are text": said("https://spdx.dev/Document", {"gitchain_step": "train"}, MODEL),
    "OMS of shards": model_signature({"a": "a"}).replace(b'"method":"files"', b'"method":"shards"'),
    "OMS of another root": model_signature({"a": "a"}).replace(b'"name":"a"', b'"name":"b"', 1).replace(b"sha256", b"sha512"),
    "OMS without files": edited(model_signature({"a": "a"}), lambda predicate: predicate.update(resources=[])),
    "OMS of a name that climbs": edited(model_signature({"a": "a"}), lambda predicate: predicate["resources"][0].update(name="../a")),
    "OMS of one file without any name": model_signature({".": "a"}, "x").replace(b'"name":"x"', b'"uri":"x:y"'),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_statement_makes_no_claim(name: str) -> None:
    """An error of the closed set, before any rule or condition reads the statement."""
    with pytest.raises(GitchainError):
        claim(HOSTILE[name])


def test_model_signature_has_only_so_many_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as any statement has materials."""
    monkeypatch.setattr(oms, "MAX_DESCRIPTORS", 2)
    assert len(claim(model_signature({"a": "a", "b": "b"})).materials) == 2
    with pytest.raises(
        LimitError, match=r"too many files, in predicate\.resources, expected at most 2, got 3"
    ):
        claim(model_signature({"a": "a", "b": "b", "c": "c"}))

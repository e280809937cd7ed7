"""What `gitchain diff` reads from a statement, and that fields of another shape are left out."""

from __future__ import annotations

from typing import Any

import pytest

from gitchain.consume.diff_facts import (
    CLAIMED,
    approved,
    code,
    environment,
    is_approval,
    parameters,
    policy,
    terms,
)
from gitchain.evidence import predicates
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import DigestSet, Sha256
from gitchain.evidence.predicates import DATASET, LINK, PROVENANCE, RELEASE, SVR, VSA, StepFacts
from gitchain.evidence.statement import ResourceDescriptor, Statement

H = Sha256("0" * 64)
C = "a" * 40
MODEL = ResourceDescriptor("m.bin", DigestSet({"sha256": H}))


def statement(kind: str, predicate: Any, *subjects: str) -> Statement:
    named = [ResourceDescriptor(name, DigestSet({"sha256": H})) for name in subjects] or [MODEL]
    return Statement.build(named, kind, predicate)


def provenance(**facts: Any) -> Statement:
    materials = facts.pop("materials", ())
    step = StepFacts("train", "1", "observed")
    return statement(PROVENANCE, predicates.provenance(step=step, materials=materials, **facts))


def test_code_of_statements() -> None:
    """The step's own commit and repository, not that of an import; uncommitted changes; commit and tag of a release."""
    own = predicates.git_source(commit=C, tree=C, commit_sha256=H, uri="git+https://example.com/r")
    imported = ResourceDescriptor(
        None, DigestSet({"gitCommit": "b" * 40}), "git+https://example.com/data", annotations={"path": "x"}
    )
    dirty: dict[str, Json] = {"dirty": True, "diffSha256": H}
    assert code(provenance(materials=(own, imported), git=dirty)) == {
        "commit": C,
        "repository": "git+https://example.com/r",
        "uncommitted changes": f"sha256:{H}",
    }
    assert code(provenance(git={"dirty": False})) == {}
    release = predicates.release(purl="pkg:generic/x@v1.0")
    assert code(statement(RELEASE, release, f"git:commit:{C}", "git:tag:v1.0")) == {
        "commit": C,
        "tag": "v1.0",
    }


def test_terms_of_a_data_set() -> None:
    facts = predicates.dataset(source="git:local", licence="MIT", consent="obtained", personal_data="none")
    assert terms(statement(DATASET, facts)) == {
        "source": "git:local",
        "licence": "MIT",
        "consent": "obtained",
        "personalData": "none",
    }


def test_approval_of_statements() -> None:
    """A verification result approves, and so does provenance of the kind approval."""
    svr = predicates.svr(
        verifier="https://example.com", created="2026-11-30T12:00:00Z", properties=["A", "B"]
    )
    assert is_approval(statement(SVR, svr))
    assert is_approval(provenance(kind="approval"))
    assert not is_approval(provenance())
    assert approved(statement(SVR, svr)) == {"properties": "A, B", "verifier": "https://example.com"}


def test_policy_of_a_summary() -> None:
    named = {"policy": {"uri": "https://example.com/p", "digest": {"sha256": H}}}
    assert policy(statement(VSA, named)) == {
        "policy": "https://example.com/p",
        "policy digest": f"sha256:{H}",
    }


def test_parameters_of_another_tool() -> None:
    """Of a buildType that is not gitchain's, all external parameters count."""
    other = {
        "buildDefinition": {"buildType": "https://example.com/b", "externalParameters": {"ref": {"a": 1}}}
    }
    assert parameters(statement(PROVENANCE, other)) == {"ref.a": 1}


def test_facts_of_one_name_hide_nothing() -> None:
    """Files and keys with a colon are quoted; of two byproducts, commits or interpreters of one name all values count."""
    facts: dict[str, Json] = {"params.yaml": {"x:y": 1}, "params.yaml:x": {"y": 5}}
    assert parameters(provenance(parameters=facts)) == {'params.yaml:"x:y"': 1, '"params.yaml:x":y': 5}
    made = [
        ResourceDescriptor("m.json", DigestSet({"sha256": H}), annotations={"metrics": {"acc": number}})
        for number in (1, 2)
    ]
    assert CLAIMED["metrics"](provenance(byproducts=made)) == {"m.json:acc": (1, 2)}
    own = [
        predicates.git_source(commit=one * 40, tree=C, commit_sha256=H, uri=f"git+https://example.com/{one}")
        for one in "ab"
    ]
    assert code(provenance(materials=own))["commit"] == ("a" * 40, "b" * 40)
    both: list[Json] = [{"name": "python", "version": version} for version in ("3.11", "3.12")]
    assert environment(provenance(environment={"interpreters": both})) == {"python": ("3.11", "3.12")}


def test_environment_of_old_statements() -> None:
    """The fields `python` and `packages` of former versions are read, and so is a link's environment."""
    facts: dict[str, Json] = {
        "python": "3.11",
        "packages": {"list": ["numpy==1", "numpy==2", "six==1"]},
        "cpus": 2,
    }
    expected = {"python": "3.11", "cpus": 2, "package numpy": ("1", "2"), "package six": "1"}
    assert environment(provenance(environment=facts)) == expected
    assert environment(statement(LINK, {"name": "x", "environment": facts})) == expected


ODD: list[Json] = [None, 1, "x", [], [1], ["x", None], {}, {"list": 5}, {"": [[]]}]


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_facts_of_odd_fields(odd: Json) -> None:
    """Whatever JSON is in a field, reading never fails."""
    shapes: list[Json] = [
        {"buildDefinition": odd, "runDetails": odd},
        {
            "buildDefinition": {"buildType": odd, "externalParameters": odd, "internalParameters": odd},
            "runDetails": {"byproducts": odd},
        },
        {
            "buildDefinition": {
                "buildType": "https://gitchain.dev/lifecycle/step/v1",
                "externalParameters": {"parameters": odd, "command": odd},
                "internalParameters": {"environment": odd, "git": odd},
            },
            "runDetails": {"byproducts": [odd, {"name": odd, "annotations": {"metrics": odd}}]},
        },
        {
            "buildDefinition": {
                "internalParameters": {"environment": {"interpreters": [odd, {"packages": odd}], "ci": odd}}
            }
        },
        {
            "policy": odd,
            "properties": odd,
            "verifier": odd,
            "licence": odd,
            "command": odd,
            "environment": odd,
        },
    ]
    for kind in (PROVENANCE, LINK, SVR, VSA, DATASET, RELEASE):
        for shape in shapes:
            one = statement(kind, shape)
            for read in (*CLAIMED.values(), approved, policy, terms, is_approval):
                read(one)

"""Statements of a given type: known predicates are checked field by field, and nothing the caller wrote is dropped."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gitchain.errors import MalformedError, UsageError
from gitchain.evidence import predicates
from gitchain.produce.predicate_input import checked, read_predicate, typed_draft
from gitchain.workspace.project import open_project

DATASET = {
    "source": "https://example.com/d",
    "licence": "CC-BY-4.0",
    "consent": "obtained",
    "personalData": "none",
}
VERDICT = {"result": "PASSED", "layout": {"name": "credit", "version": 2, "digest": {"sha256": "a" * 64}}}
DEPLOYMENT = {
    "model": "m",
    "environment": "production",
    "deployedBy": "ada",
    "deployedOn": "2026-01-01T00:00:00Z",
}
RETIREMENT = {"model": "m", "environment": "e", "retiredBy": "ada", "retiredOn": "2026-01-01T00:00:00Z"}
CHECK = {
    "model": "m",
    "environment": "production",
    "checkedOn": "2026-01-01T00:00:00Z",
    "verdict": VERDICT | {"result": "FAILED"},
    "codes": ["GC-E0342"],
}
REPORTED = {"reportedBy": {"name": "kube-apiserver", "certificate": {"sha256": "c" * 64}}}
SVR = {
    "verifier": {"id": "https://example.com/board", "policies": []},
    "timeCreated": "2026-01-01T00:00:00Z",
    "properties": ["OK"],
}
REVOCATION: dict[str, Any] = {
    "reason": "mistaken",
    "revokedOn": "2026-01-01T00:00:00Z",
    "attestations": ["b" * 64],
    "signers": [{"issuer": "https://i.example", "subject": "ada", "from": "2026-01-01T00:00:00Z"}],
}
GOOD: dict[str, tuple[str, dict[str, Any]]] = {
    "dataset": (predicates.DATASET, DATASET | {"description": "d"}),
    "deployment": (predicates.DEPLOYMENT, DEPLOYMENT | {"cluster": "eu", "verdict": VERDICT}),
    "deployment reported": (predicates.DEPLOYMENT, DEPLOYMENT | REPORTED),
    "retirement": (predicates.RETIREMENT, RETIREMENT | {"uid": "u"} | REPORTED),
    "deployment-check": (predicates.DEPLOYMENT_CHECK, CHECK | {"cluster": "eu"}),
    "svr": (predicates.SVR, SVR),
    "test-result": (
        predicates.TEST_RESULT,
        {"result": "PASSED", "configuration": [], "passedTests": ["t"], "warnedTests": [], "failedTests": []},
    ),
    "release": (predicates.RELEASE, {"purl": "pkg:generic/m@1"}),
    "revocation": (predicates.REVOCATION, REVOCATION),
}


@pytest.mark.parametrize(("kind", "value"), GOOD.values(), ids=GOOD)
def test_what_the_caller_wrote_is_what_is_signed(kind: str, value: dict[str, Any]) -> None:
    """A known predicate comes back whole."""
    assert checked(kind, value) == value


@pytest.mark.parametrize(("kind", "value"), GOOD.values(), ids=GOOD)
def test_an_unknown_field_is_refused(kind: str, value: dict[str, Any]) -> None:
    """A typo would otherwise be signed and read by nobody."""
    with pytest.raises(MalformedError, match="unknown field"):
        checked(kind, value | {"lisence": "x"})


def nested(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every object inside a value, its own excepted."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if isinstance(item, dict):
            yield (*path, key)
        yield from nested(item, (*path, key))


@pytest.mark.parametrize(
    ("kind", "value", "path"),
    [(kind, value, path) for kind, value in GOOD.values() for path in nested(value)],
    ids=[f"{label}-{path[-1]}" for label, (_, value) in GOOD.items() for path in nested(value)],
)
def test_checked_refuses_an_unknown_field_at_any_depth(
    kind: str, value: dict[str, Any], path: tuple[Any, ...]
) -> None:
    """A nested field that no builder writes would be dropped silently."""
    wrong = copy.deepcopy(value)
    at: Any = wrong
    for key in path:
        at = at[key]
    at["lisence"] = "d" * 64
    with pytest.raises(MalformedError):
        checked(kind, wrong)


@pytest.mark.parametrize(
    ("kind", "value", "name"),
    [(kind, value, name) for kind, value in GOOD.values() for name in value],
    ids=[f"{label}-{name}" for label, (_, value) in GOOD.items() for name in value],
)
def test_a_field_of_another_type_is_refused(kind: str, value: dict[str, Any], name: str) -> None:
    """No field of a known predicate may be a number where the format says text, list or object."""
    with pytest.raises(MalformedError):
        checked(kind, value | {name: 7})


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (predicates.DATASET, DATASET | {"consent": "sure"}),
        (predicates.DATASET, DATASET | {"personalData": "some"}),
        (predicates.DATASET, {key: DATASET[key] for key in ("source", "licence")}),
        (predicates.DEPLOYMENT, DEPLOYMENT | {"verdict": VERDICT | {"result": "MAYBE"}}),
        (predicates.DEPLOYMENT, DEPLOYMENT | {"verdict": {"result": "PASSED"}}),
        (predicates.DEPLOYMENT, DEPLOYMENT | {"deployedOn": "yesterday"}),
        (predicates.DEPLOYMENT, DEPLOYMENT | {"reportedBy": {"name": "a"}}),
        (predicates.DEPLOYMENT, DEPLOYMENT | {"reportedBy": {"name": "a", "certificate": {"sha256": "c"}}}),
        (predicates.DEPLOYMENT_CHECK, CHECK | {"codes": []}),
        (predicates.DEPLOYMENT_CHECK, {key: CHECK[key] for key in CHECK if key != "verdict"}),
        (predicates.SVR, SVR | {"properties": []}),
        (predicates.REVOCATION, REVOCATION | {"attestations": ["short"]}),
        (predicates.REVOCATION, REVOCATION | {"signers": ["ada"]}),
        (predicates.REVOCATION, REVOCATION | {"signers": [{"issuer": "https://i.example"}]}),
        (predicates.REVOCATION, REVOCATION | {"signers": [REVOCATION["signers"][0] | {"until": "x"}]}),
        ("https://example.com/x/v1", {"gitchain_step": {"name": "approve"}}),
    ],
)
def test_wrong_values_are_refused(kind: str, change: dict[str, Any]) -> None:
    """Words outside the vocabulary, missing fields, and step facts that only gitchain may write."""
    with pytest.raises(MalformedError):
        checked(kind, change)


def test_an_unknown_type_passes_as_it_is(git_repo: Path) -> None:
    """Any predicate type can be attested: only its step facts are added."""
    (git_repo / "m").write_text("m")
    project = open_project(git_repo)
    draft = typed_draft(
        project, "review", "https://example.com/x/v1", {"free": [1, {"a": None}]}, [str(git_repo / "m")]
    )
    assert dict(draft.statement.predicate) | {"gitchain_step": 0} == {
        "free": [1, {"a": None}],
        "gitchain_step": 0,
    }


def test_the_statement_names_its_step(git_repo: Path) -> None:
    """step_name_is_signed: what a layout matches is in the signed bytes, and it is declared evidence."""
    (git_repo / "m").write_text("m")
    draft = typed_draft(open_project(git_repo), "approve", predicates.SVR, SVR, [str(git_repo / "m")])
    claim = predicates.claim_of(draft.statement)
    assert (claim.step, claim.evidence, claim.products) == ("approve", "declared", ())


@pytest.mark.parametrize("data", [b"", b"[]", b"1", b"{", b'{"a":1,"a":2}', b"\xff"])
def test_a_predicate_file_that_is_none_is_a_usage_error(tmp_path: Path, data: bytes) -> None:
    """The caller's file, the caller's mistake: exit 2, never 1."""
    (tmp_path / "p.json").write_bytes(data)
    with pytest.raises(UsageError):
        read_predicate(tmp_path / "p.json")


@pytest.mark.parametrize("name", ["dataset", "deployment", "deployment-check", "retirement", "revocation"])
def test_our_own_types_satisfy_their_schema(git_repo: Path, name: str) -> None:
    """The predicate validates against the published schema."""
    (git_repo / "m").write_text("m")
    kind, value = GOOD[name]
    draft = typed_draft(open_project(git_repo), "s", kind, value, [str(git_repo / "m")])
    schema = json.loads(
        (Path(__file__).parents[2] / f"schemas/{name}.schema.json").read_text(encoding="utf-8")
    )
    Draft202012Validator(schema).validate(json.loads(draft.statement.payload)["predicate"])

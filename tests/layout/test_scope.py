"""Scopes: which steps a served product needs, and the layout that is left of the others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gitchain.layout import parse_layout
from gitchain.layout.model import Layout
from gitchain.layout.scope import all_needed_steps, scopes, step_names

NONE = ["DISALLOW", "*"]


def layout(*serve: dict[str, Any], **more: Any) -> Layout:
    """Two data sets, a model of each, and an evaluation of the first model: a1, b1, a2 from a1, b2 from b1, a3 of a2."""
    steps = [
        {
            "name": name,
            "functionaries": ["ada"],
            "expectedMaterials": [
                *([["MATCH", "*", "WITH", "PRODUCTS", "FROM", source]] if source else []),
                NONE,
            ],
            "expectedProducts": [["CREATE", name], NONE],
        }
        for name, source in (("a1", None), ("b1", None), ("a2", "a1"), ("b2", "b1"), ("a3", "a2"))
    ]
    value = {
        "schema": "https://gitchain.dev/layout/v1",
        "name": "two",
        "version": 1,
        "expires": "2027-12-01T00:00:00Z",
        "functionaries": {"ada": {"identities": [{"issuer": "https://i.example", "subject": "ada"}]}},
        "steps": steps,
        "serve": list(serve),
        **more,
    }
    return parse_layout(json.dumps(value).encode())


A = {"step": "a2", "products": ["a2"], "steps": ["a1", "a2", "a3"]}
B = {"step": "b2", "products": ["b2"], "steps": ["b1", "b2"]}
DATA: dict[str, Any] = {
    "functionaries": ["ada"],
    "artifacts": [{"step": "a1", "products": ["a1"]}, {"step": "b1", "products": ["b1"]}],
}


@pytest.mark.parametrize(
    ("step", "needed"),
    [
        ("a1", ("a1", "a2", "a3")),
        ("a2", ("a1", "a2", "a3")),
        ("a3", ("a1", "a2", "a3")),
        ("b1", ("b1", "b2")),
        ("b2", ("b1", "b2")),
    ],
)
def test_all_needed_steps_are_takers_and_their_sources(step: str, needed: tuple[str, ...]) -> None:
    """Everything that a MATCH rule leads to or from, in the layout's order."""
    assert all_needed_steps(layout(A, B), [step]) == {step: needed}


def test_step_names_are_those_of_the_entry_or_all() -> None:
    """In the layout's order, whatever order the entry has."""
    found = layout({**A, "steps": ["a3", "a2", "a1"]}, {"step": "b2", "products": ["b2"]})
    assert [step_names(found, entry) for entry in found.serve] == [
        ("a1", "a2", "a3"),
        ("a1", "b1", "a2", "b2", "a3"),
    ]


def test_a_layout_without_steps_under_serve_is_its_own_scope() -> None:
    """The same object, with everything in it; none where no entry serves the step."""
    whole = layout({"step": "a2", "products": ["a2"]}, {"step": "b2", "products": ["b2"]}, datasets=DATA)
    [found] = scopes(whole, {"a2"})
    assert found is whole
    assert list(scopes(whole, {"a1"})) == []


def test_a_scope_holds_what_its_entry_needs_and_nothing_else() -> None:
    """Steps, entries, data sets and runs; the entry then needs all of the steps that are left."""
    [found] = scopes(layout(A, B, datasets=DATA, sameRun=[["a1", "a2"], ["b1", "b2"]]), {"b2"})
    assert [step.name for step in found.steps] == ["b1", "b2"]
    assert [(entry.step, entry.steps) for entry in found.serve] == [("b2", ())]
    assert found.datasets is not None
    assert [one.step for one in found.datasets.artifacts] == ["b1"]
    assert found.same_run == (("b1", "b2"),)


def test_the_only_entry_may_need_some_of_the_steps() -> None:
    """A step that it does not name is left out."""
    [found] = scopes(layout(A), {"a2"})
    assert [step.name for step in found.steps] == ["a1", "a2", "a3"]


def test_a_scope_without_data_sets_has_no_rules_for_them() -> None:
    """Where all data sets are of other steps, there are none to check."""
    data = {**DATA, "artifacts": DATA["artifacts"][:1]}
    [found] = scopes(layout(A, B, datasets=data), {"b2"})
    assert found.datasets is None


def test_entries_of_the_same_steps_are_one_scope() -> None:
    """One scope for each set of steps, and only those of the steps that are asked for."""
    more = {"step": "a1", "products": ["a1"], "steps": ["a1", "a2", "a3"]}
    whole = layout(A, more, B)
    assert [[entry.step for entry in one.serve] for one in scopes(whole, {"a1", "b2"})] == [
        ["a2", "a1"],
        ["b2"],
    ]
    assert [[entry.step for entry in one.serve] for one in scopes(whole, {"a2"})] == [["a2", "a1"]]


def test_entries_of_all_steps_and_of_some_are_two_scopes() -> None:
    """The entry that names no steps has all of them, and alone."""
    every = {"step": "b2", "products": ["b2"]}
    found = list(scopes(layout(A, every), {"a2", "b2"}))
    assert [(len(one.steps), [entry.step for entry in one.serve]) for one in found] == [
        (3, ["a2"]),
        (5, ["b2"]),
    ]

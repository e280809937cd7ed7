"""Lint of artifact rules: neighbours of each finding that a small mistake would find, or would miss."""

from __future__ import annotations

from typing import Any

import pytest

from gitchain.layout.lint_rules import FILE_SUFFIXES
from tests.layout.test_lint import (
    ALL,
    M0,
    M1,
    M2,
    NONE,
    P1,
    PREPARED,
    TRAINED,
    Change,
    both,
    linted,
    materials,
    products,
    said,
)

P0 = "steps[0].expectedProducts"


def without_materials(*rules: list[str]) -> Change:
    """A fourth step, whose materials are those of a sublayout: it has products alone."""
    one = {
        "name": "base",
        "functionaries": ["bob"],
        "sublayout": {"name": "base"},
        "expectedProducts": list(rules),
    }
    return both(
        lambda v: v["steps"].append(one),
        materials(1, PREPARED, ["MATCH", "base/*", "WITH", "PRODUCTS", "FROM", "base"], NONE),
    )


SAID: dict[str, tuple[Change, set[tuple[str, str, str]]]] = {
    "DELETE before MATCH, beside products": (materials(1, ["DELETE", "data/*"], PREPARED, NONE), set()),
    "DELETE before MATCH, without products": (
        materials(2, ["DELETE", "models/*"], TRAINED, NONE),
        {("UNREACHABLE", "error", f"{M2}[1]")},
    ),
    "CREATE before ALLOW, beside materials": (
        products(1, ["CREATE", "models/*"], ["ALLOW", "models/*"], NONE),
        set(),
    ),
    "CREATE before ALLOW, without materials": (
        without_materials(["CREATE", "base/*"], ["ALLOW", "base/a"], NONE),
        {("UNREACHABLE", "warning", "steps[3].expectedProducts[1]")},
    ),
    "CREATE before MATCH, of materials": (
        materials(1, ["CREATE", "data/*"], PREPARED, NONE),
        {("UNREACHABLE", "warning", f"{M1}[0]")},
    ),
    "MODIFY without materials": (
        without_materials(["CREATE", "base/*"], ["MODIFY", "x"], NONE),
        {("UNREACHABLE", "warning", "steps[3].expectedProducts[1]")},
    ),
    "ALLOW of everything, twice": (
        materials(0, ALL, ALL),
        {("OPEN", "warning", M0), ("UNREACHABLE", "warning", f"{M0}[1]")},
    ),
    "REQUIRE twice": (materials(0, ["REQUIRE", "x"], ["REQUIRE", "x"], ["ALLOW", "x"], NONE), set()),
    "REQUIRE of one and another": (
        materials(0, ["REQUIRE", "x"], ["ALLOW", "x"], ["REQUIRE", "y"], ["ALLOW", "y"], NONE),
        set(),
    ),
    "REQUIRE after a rule that takes nothing": (
        products(
            1,
            ["DELETE", "log.txt"],
            ["REQUIRE", "log.txt"],
            ["CREATE", "log.txt"],
            ["CREATE", "models/*"],
            NONE,
        ),
        {("UNREACHABLE", "warning", f"{P1}[0]")},
    ),
    "REQUIRE before a rule that takes nothing": (
        products(1, ["REQUIRE", "log.txt"], ["DELETE", "log.txt"], ["CREATE", "models/*"], NONE),
        {("UNSATISFIABLE", "error", f"{P1}[0]"), ("UNREACHABLE", "warning", f"{P1}[1]")},
    ),
    "REQUIRE after a restriction on its name": (
        materials(0, ["DISALLOW", "x"], ["REQUIRE", "x"], NONE),
        {("UNSATISFIABLE", "error", f"{M0}[1]")},
    ),
    "MATCH, a restriction on others, an allowance": (
        materials(1, PREPARED, ["DISALLOW", "other/*"], ["ALLOW", "data/x"], NONE),
        {("UNBOUND", "warning", f"{M1}[0]")},
    ),
    "MATCH, an allowance of others": (materials(1, PREPARED, ["ALLOW", "other/*"], NONE), set()),
    "MATCH of what is only required": (
        both(
            products(0, ["REQUIRE", "extra"], ["CREATE", "data"], NONE),
            materials(1, PREPARED, ["MATCH", "extra", "WITH", "PRODUCTS", "FROM", "prepare"], NONE),
        ),
        {("UNSATISFIABLE", "error", f"{P0}[0]"), ("DEAD_MATCH", "error", f"{M1}[1]")},
    ),
    "two products of steps that nothing ties": (
        both(
            materials(1, ["ALLOW", "data"], NONE),
            materials(2, ["ALLOW", "models"], NONE),
            lambda v: v["serve"].append({"step": "prepare", "products": ["data"]}),
        ),
        {
            *(("UNTIED", "error", f"steps[{index}]") for index in range(3)),
            ("NOT_OBSERVED", "warning", "steps[0].evidence"),
        },
    ),
    "a data set that may be everything": (
        both(
            products(0, ["CREATE", "*"], NONE),
            lambda v: v["datasets"]["artifacts"][0].update(products=["*"]),
        ),
        set(),
    ),
    "everything by one star": (
        lambda v: v["serve"][0].update(products=["*"]),
        {("SERVES_ALL", "warning", "serve[0].products[0]")},
    ),
    "everything by one character": (
        both(
            products(1, ["CREATE", "?"], NONE),
            materials(2, ["MATCH", "?", "WITH", "PRODUCTS", "FROM", "train"], NONE),
            lambda v: v["serve"][0].update(products=["?"]),
        ),
        {("SERVES_ALL", "warning", "serve[0].products[0]")},
    ),
    "an inspection with one pattern that is served": (
        lambda v: v["inspections"][0].update(artifacts=["other/*", "*.pkl"]),
        set(),
    ),
    "an inspection of one of two products": (
        both(
            lambda v: v["serve"][0].update(products=["log.txt", "models/*"]),
            lambda v: v["inspections"][0].update(artifacts=["models/*.pkl"]),
        ),
        set(),
    ),
    "an inspection of files in what is served": (
        lambda v: v["serve"][0].update(products=["models/best"]),
        set(),
    ),
}


@pytest.mark.parametrize(("change", "expected"), SAID.values(), ids=SAID)
def test_rules_and_their_neighbours(change: Change, expected: set[tuple[str, str, str]]) -> None:
    """Each list of rules gives these findings, each once, and no other."""
    found = linted(change)
    assert said(found) == expected
    assert len(found) == len(expected)


def chain(value: Any) -> None:
    """Append a data set and a training from it, which have nothing to do with the other model."""
    for name, source in (("collect", None), ("fit", "collect")):
        taken = [["MATCH", "*", "WITH", "PRODUCTS", "FROM", source]] if source else []
        value["steps"].append(
            {
                "name": name,
                "functionaries": ["bob"],
                "expectedMaterials": [*taken, NONE],
                "expectedProducts": [["CREATE", name], NONE],
            }
        )


def test_steps_that_are_tied_to_each_other_alone_are_untied() -> None:
    """A MATCH rule between two steps does not tie them to a product that neither has to do with."""
    assert said(linted(chain)) == {("UNTIED", "error", "steps[3]"), ("UNTIED", "error", "steps[4]")}


def test_a_step_that_is_tied_by_one_that_the_product_does_not_need_is_untied() -> None:
    """Only steps that a serve entry names can connect its steps."""

    def change(value: Any) -> None:
        chain(value)
        needed = [one["name"] for one in value["steps"]]
        fitted = ["MATCH", "fit", "WITH", "PRODUCTS", "FROM", "fit"]
        value["steps"].append(
            {**value["steps"][2], "name": "compare", "expectedMaterials": [TRAINED, fitted, NONE]}
        )
        value["serve"][0].update(steps=needed)

    found = {one for one in said(linted(change)) if one[0] == "UNTIED"}
    assert found == {("UNTIED", "error", "steps[3]"), ("UNTIED", "error", "steps[4]")}


def models(value: Any) -> None:
    """Four more models are trained from the same data."""
    for name in "dcba":
        value["steps"].append({**value["steps"][1], "name": name})


def test_models_that_need_each_other_are_named_in_order() -> None:
    """A serve entry without steps needs every step that is tied to its own; the message sorts their names."""
    [found] = [one for one in linted(models) if one.code.name == "TOGETHER"]
    assert "need evidence of the unrelated step a, b, c, d" in found.message
    assert found.help == "steps: [prepare, train, approve]"


def test_models_that_need_each_other_on_purpose_are_no_finding() -> None:
    """An entry that names all of its steps means them."""
    named = both(models, lambda v: v["serve"][0].update(steps=[one["name"] for one in v["steps"]]))
    assert said(linted(named)) == set()


def test_a_class_by_its_full_name_is_no_pattern() -> None:
    """Whatever letters it has."""
    change: Change = lambda v: v["inspections"][0].update(frameworks=[], allow=["xgboost.core.XGBModel"])  # noqa: E731
    assert said(linted(change)) == set()


SINGLE_FILES = [
    ".safetensors",
    ".pkl",
    ".pickle",
    ".joblib",
    ".pt",
    ".pth",
    ".bin",
    ".onnx",
    ".gguf",
    ".keras",
    ".h5",
    ".hdf5",
    ".npy",
    ".npz",
    ".json",
    ".yaml",
    ".yml",
    ".txt",
    ".csv",
    ".parquet",
    ".jinja",
    ".md",
    ".py",
]


def test_the_names_of_single_files() -> None:
    """These extensions, which docs/lint.md means by a file, and no others."""
    assert sorted(FILE_SUFFIXES) == sorted(SINGLE_FILES)


@pytest.mark.parametrize("suffix", [*SINGLE_FILES, ".PKL"])
def test_nothing_is_inspected_in_a_single_file(suffix: str) -> None:
    """A product with the name of a file holds none, so a pattern of files in it finds nothing."""
    served = f"models/model{suffix}"
    change = both(
        products(1, ["CREATE", "models/*"], NONE),
        lambda v: v["serve"][0].update(products=[served]),
        lambda v: v["inspections"][0].update(artifacts=[f"{served}/*"]),
    )
    assert said(linted(change)) == {("DEAD_INSPECTION", "warning", "inspections[0]")}


def test_the_patterns_that_an_inspection_could_have() -> None:
    """The advice names up to five products."""

    def change(value: Any) -> None:
        value["serve"][0].update(products=[f"models/{name}.pkl" for name in "abcdef"])
        value["inspections"][0].update(artifacts=["x", "y"])

    [found] = linted(change)
    assert found.message == "no served product has such a name: x, y"
    assert found.help == (
        "correct the patterns: the layout serves models/a.pkl, models/b.pkl, models/c.pkl, models/d.pkl, models/e.pkl"
    )

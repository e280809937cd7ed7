"""Constraints: exactly true or a problem; only what is written down can be seen; and every evaluation ends."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from gitchain.errors import LayoutError
from gitchain.layout import constraint as module
from gitchain.layout.cel_cost import CostBound
from gitchain.layout.constraint import (
    MAX_LEVELS,
    CompiledConstraint,
    ConstraintResult,
    Scope,
    compile_constraint,
)
from gitchain.layout.load import parse_layout
from gitchain.layout.model import Constraint

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
VARIABLES: dict[str, Any] = {
    "subject": [{"name": "model.pkl", "digest": {"sha256": "ab"}}],
    "predicateType": "https://example.com/x",
    "predicate": {
        "accuracy": 0.93,
        "epochs": 10,
        "name": "a",
        "nothing": None,
        "tests": [],
        "list": [3, 1, 2],
        "deep": {"a.b": {"c": True}},
    },
    "materials": lambda: {"data.csv": {"sha256": "cd", "directory": False}},
    "products": {},
    "time": NOON,
    "signer": {"claims": {"buildTrigger": "push"}},
    "run": None,
    "evidence": "observed",
}


def compiled(expression: str, scope: Scope = "step") -> CompiledConstraint:
    return compile_constraint(Constraint("floor", expression), scope)


def verdict(expression: str, variables: Mapping[str, Any] = VARIABLES) -> ConstraintResult:
    return compiled(expression).holds(variables)


HOLDING = [
    "predicate.accuracy >= 0.9",
    "predicate.epochs >= 10 && predicate.epochs == 10.0 && predicate.epochs < 10.5",
    "predicate.epochs in [1, 10]",
    "predicate.name in ['a', 'b'] && !(predicate.name in {'b': 1})",
    "predicate.list.all(x, x > 0) && predicate.list.exists(x, x == 3) && predicate.list.exists_one(x, x == 1)",
    "predicate.list.filter(x, x > 1).size() == 2 && predicate.list.map(x, x + 1)[0] == 4",
    "predicate.list.map(x, x > 1, x * 2) == [6, 4]",
    "predicate.deep['a.b'].c",
    "has(predicate.deep) && !has(predicate.deeper)",
    "predicate.nothing == null && run == null",
    "materials['data.csv'].sha256 == 'cd' && !materials['data.csv'].directory",
    "subject.exists(one, one.name == 'model.pkl' && one.digest.sha256.startsWith('a'))",
    "time > timestamp('2026-01-01T00:00:00Z') && time - duration('24h') < time && time.getFullYear() == 2026",
    "time == timestamp('2026-11-22T13:00:00+01:00')",
    "signer.claims.buildTrigger == 'push' && evidence == 'observed'",
    "predicateType.matches('^https://') && predicateType.contains('example') && predicateType.endsWith('x')",
    "size(predicate.name) == 1 && int('5') == 5 && double(predicate.epochs) / 4.0 == 2.5 && 'é' == '\\u00e9'",
    "type(predicate.epochs) == int && string(predicate.epochs) == '10' && bool('true') && b'a' == bytes('a')",
    "predicate.epochs > 5 ? predicate.accuracy > 0.5 : false",
    "predicate.epochs != '10'",
    "duration('60s') == duration('1m') && bytes('a').size() == 1 && uint('3') == 3u && bool('true')",
    "dyn(predicate.list) == [3, 1, 2] && uint(3) == 3u && -predicate.epochs == -10 && 7 % 4 == 3",
    ".predicate.epochs == 10",
    "[1].all(predicate, predicate == 1 && .predicate.epochs == 10)",
    "[1].all(a, " * 4 + "true" + ")" * 4,
    f"predicate.name.matches('^{'a' * 255}') || predicate.name == 'a'",
]


@pytest.mark.parametrize("expression", HOLDING, ids=range(len(HOLDING)))
def test_what_is_true_holds(expression: str) -> None:
    """Numbers compare by value, macros and string functions work, times are times, and names need no identifier."""
    assert verdict(expression) == ConstraintResult(True)


PARTS = [
    ("FullYear", 2026),
    ("Month", 10),
    ("Date", 22),
    ("DayOfMonth", 21),
    ("DayOfWeek", 0),
    ("DayOfYear", 325),
    ("Hours", 12),
    ("Minutes", 0),
    ("Seconds", 0),
    ("Milliseconds", 0),
]


@pytest.mark.parametrize(("part", "value"), PARTS)
def test_the_parts_of_a_time_are_in_utc(part: str, value: int) -> None:
    """Each part of a time can be read, in UTC, and never in a zone that the host knows."""
    assert verdict(f"time.get{part}() == {value}").ok
    with pytest.raises(LayoutError, match="times are in UTC"):
        compiled(f"time.get{part}('Europe/Berlin') == {value}")


FAILING = [
    ("predicate.accuracy >= 0.95", True, "is not true: predicate.accuracy is 0.93"),
    (
        "predicate.name == 'b' && predicate.list.size() == predicate.epochs",
        True,
        "epochs is 10, predicate.name is a",
    ),
    ("has(predicate.deep.x) || predicate.name.x", False, "Applying SELECT to non-message type"),
    ("predicate.deep == {} || has(predicate.deep.x) || predicate.nothing == 1", True, "is not true"),
    ("time < timestamp('2026-01-01T00:00:00Z')", True, "is not true: time is 2026-11-22 12:00:00+00:00"),
    ("false", True, "is not true"),
    ("predicate.loss < 1", False, 'Key not found in map : "loss"'),
    ("predicate.accuracy / 0 > 1", False, "No matching overloads"),
    ("predicate.epochs / 0 > 1", False, "divide by zero"),
    ("predicate.epochs", False, "gives int, not true or false"),
    ("predicate.name", False, "gives string, not true or false"),
    ("predicate.nothing", False, "gives null, not true or false"),
    ("predicate.deep", False, "gives map<dyn, dyn>, not true or false"),
    ("predicate.name > 1", False, "No matching overloads"),
    ("predicate.epochs + 0.5 > 1.0", False, "No matching overloads"),
    ("predicate.list[3] == 1", False, "Index error"),
    ("predicate.epochs.all(x, true)", False, "No matching overloads"),
    ("materials.model.sha256 == 'x'", False, 'Key not found in map : "model"'),
    ("timestamp(predicate.name) < time", False, "conversion failed"),
    ("predicate.name.matches('(')", False, "invalid regular expression"),
    ("9223372036854775807 + predicate.epochs > 0", False, "overflow"),
    ("predicate.tests.size() > 0 && predicate.tests.all(x, x == 1)", True, "is not true"),
]


@pytest.mark.parametrize(("expression", "evaluated", "problem"), FAILING, ids=range(len(FAILING)))
def test_what_is_not_exactly_true_fails_with_words(expression: str, evaluated: bool, problem: str) -> None:
    """False, an error value, and any other value are problems; an error is told apart from a no."""
    found = verdict(expression)
    assert (found.ok, found.evaluated) == (False, evaluated)
    assert problem in found.problem


def test_a_plain_no_is_said_in_these_words() -> None:
    """What is false without anything to show is not true, and no more is said."""
    assert verdict("false") == ConstraintResult(False, "is not true")
    assert ConstraintResult(True) == verdict("true") == ConstraintResult(True, "", evaluated=True)


def test_too_much_work_is_a_problem_before_it_is_done() -> None:
    """The work is estimated for each evaluation, from the sizes of what is read."""
    expression = "predicate.l.map(x, x).size() == predicate.l.size()"
    assert verdict(expression, {**VARIABLES, "predicate": {"l": [0] * 150}}).ok
    found = verdict(expression, {**VARIABLES, "predicate": {"l": [0] * 5000}})
    assert (found.ok, found.evaluated) == (False, False)
    assert "more work than a constraint may be" in found.problem


def test_the_engines_message_is_one_line_without_its_drawing() -> None:
    """What does not compile is told with the place, and without status words, container and arrows."""
    with pytest.raises(LayoutError) as caught:
        compiled("nonsense")
    assert (caught.value.where, caught.value.got) == ("floor", "undeclared reference to 'nonsense'")
    with pytest.raises(LayoutError) as caught:
        compiled("time > 5")
    assert (
        caught.value.got
        == "found no matching overload for '_>_' applied to '(google.protobuf.Timestamp, int)'"
    )


def test_an_error_is_forgiven_by_or_and_by_nothing_else() -> None:
    """CEL's logic is commutative: `true || error` is true, `error && true` is no pass."""
    assert verdict("predicate.loss < 1 || predicate.epochs == 10").ok
    assert not verdict("predicate.loss < 1 && predicate.epochs == 10").ok
    assert not verdict("predicate.list.all(x, x > 0 && predicate.loss > 1)").ok


REFUSED = [
    ("/", "not a valid expression"),
    ("predicate.accuracy >=", "not a valid expression"),
    ("predicat.accuracy >= 0.9", "undeclared reference to 'predicat.accuracy'"),
    ("steps.train.time > 1", "undeclared reference to 'steps.train.time'"),
    ("now() > time", "undeclared reference to 'now'"),
    ("time > 5", "no matching overload"),
    ("1 > 0.5", "no matching overload"),
    ("predicateType", "expression is not a condition"),
    ("1 + 1", "expression is not a condition"),
    ("\ud800 == 'a'", "not a valid expression"),
    ("predicate.name.matches(predicate.name)", "pattern is not a plain string"),
    (f"predicate.name.matches('{'a' * 257}')", "pattern is not a plain string"),
    ("matches(predicate.name, 'a' + 'b')", "pattern is not a plain string"),
    ("time.getHours('Europe/Berlin') == 1", "times are in UTC"),
    ("google.protobuf.Any{} == predicate", "messages are not available"),
    ("timestamp(google.protobuf.Timestamp{seconds: 1}) == time", "messages are not available"),
    ("[1].all(a, " * 5 + "true" + ")" * 5, "loops are nested too deeply"),
    ("predicate.list" + ".all(a, [1]" * 5 + ".all(b, true)" + ")" * 5, "loops are nested too deeply"),
]


@pytest.mark.parametrize(("expression", "problem"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_meant_is_refused_with_the_layout(expression: str, problem: str) -> None:
    """What does not type-check to a condition in its scope, or reaches out of it, is a LayoutError with the name."""
    with pytest.raises(LayoutError) as caught:
        compiled(expression)
    assert problem in str(caught.value)
    assert caught.value.where in {"floor", "floor.matches", "floor.getHours"}


def test_functions_that_nobody_has_looked_at_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function that a later engine brings along is not available until its work is bounded."""
    monkeypatch.setattr("gitchain.layout.cel_cost._KNOWN", frozenset({"_==_"}))
    with pytest.raises(LayoutError, match="function is not available"):
        compiled("predicate.name.contains('unheard')")


@pytest.mark.parametrize(
    ("scope", "expression"),
    [
        (
            "chain",
            "steps.train.materials.a.sha256 == target.sha256 && layout.version > 0 && target.name == null",
        ),
        (
            "dataset",
            "dataset.licence == 'CC0-1.0' && artifact.name == 'd' && signer.issuer == 'i' && time > timestamp(0)",
        ),
    ],
)
def test_each_scope_has_its_variables(scope: Scope, expression: str) -> None:
    """Across steps and for data sets there are other variables, and they work."""
    module._environment.cache_clear()  # a test before may have made the variables already
    variables: dict[str, Any] = {
        "steps": {"train": {"materials": {"a": {"sha256": "x"}}}},
        "target": {"name": None, "sha256": "x"},
        "layout": {"name": "l", "version": 1},
        "dataset": {"licence": "CC0-1.0"},
        "artifact": {"name": "d"},
        "signer": {"issuer": "i"},
        "time": NOON,
    }
    assert compiled(expression, scope).holds(variables) == ConstraintResult(True)


def test_only_what_is_read_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of a variable that the expression does not name is neither made nor counted nor able to matter."""

    def never() -> Any:
        raise AssertionError("not read")

    monkeypatch.setattr(module, "MAX_VALUES", 8)
    variables = {
        **VARIABLES,
        "products": never,
        "predicate": {"a": {"b": 1}, "large": list(range(100)), "c": never},
    }
    assert verdict("predicate.a.b == 1", variables).ok
    assert verdict("predicate['a']['b'] == 1 && has(predicate.a)", variables).ok
    assert verdict("!has(predicate.x) && !has(predicate.a.x)", variables).ok
    found = verdict("predicate.large.size() == 100", variables)
    assert (found.ok, found.evaluated) == (False, False)
    assert "more evidence than a constraint may read" in found.problem


def test_two_hundred_thousand_values_can_be_read() -> None:
    """docs/constraints.md has the limit: the map, its key, the list and what is in it count."""
    for count, ok in ((199_997, True), (199_998, False)):
        assert verdict("predicate.l.size() > 0", {**VARIABLES, "predicate": {"l": [0] * count}}).ok == ok


@pytest.mark.parametrize(
    ("value", "weight", "width"),
    [
        (1, 1, 1),
        (None, 1, 1),
        ("", 1, 1),
        ("x" * 80, 11, 11),
        ([], 1, 1),
        ([1, 2, 3], 4, 3),
        ([[1, 2], "x" * 80], 1 + 3 + 11, 11),
        ({"a": 1}, 3, 1),
        ({"a": [1, 2], "x" * 80: 1}, 1 + 1 + 3 + 11 + 1, 11),
        (lambda: [1, 2], 3, 2),
    ],
)
def test_all_of_a_value_that_is_read_is_counted(value: Any, weight: int, width: int) -> None:
    """Each list, map, key and value is one, and text one more for every eight characters; the widest part is kept."""
    one = compiled("predicate.a == predicate.a")
    data, bounds = one._given({**VARIABLES, "predicate": {"a": value, "b": [0] * 100}})
    assert bounds == {"predicate": CostBound(2 + weight, width)}
    assert data == {"predicate": {"a": value() if callable(value) else value}}


def test_each_path_takes_its_own_part() -> None:
    """Two fields with the same names below: of each, only what is read of it is given."""
    one = compiled("predicate.a.x == 1 && predicate.b.y == 1")
    data, _ = one._given({**VARIABLES, "predicate": {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 4}}})
    assert data == {"predicate": {"a": {"x": 1}, "b": {"y": 4}}}


def test_the_values_that_an_expression_looked_at_are_in_order() -> None:
    """The message names up to four of them, sorted."""
    names = "hgfedcba"
    read = " && ".join(f"predicate.{name} == 2" for name in names)
    found = verdict(f"!(predicate.a == 1) && {read}", {**VARIABLES, "predicate": dict.fromkeys(names, 1)})
    assert found.problem.endswith(": predicate.a is 1, predicate.b is 1, predicate.c is 1, predicate.d is 1")


def test_steps_that_are_not_in_the_layout_are_named_in_order() -> None:
    """All of them, so that one look is enough."""
    read = " && ".join(f"has(steps.{name}.time)" for name in "fedcba")
    text = LAYOUT.replace("steps.train.materials.a.sha256 == target.sha256", read)
    with pytest.raises(LayoutError) as caught:
        parse_layout(text.encode())
    assert caught.value.got == "a, b, c, d, e, f"


def test_what_an_expression_reads_is_known() -> None:
    """Paths go as far as their keys are fixed; whatever is computed reads the whole."""
    assert compiled("predicate.a['b'].c[0].d == 1").reads == {("predicate", "a", "b", "c")}
    assert compiled("predicate.list.all(predicate, predicate.x)").reads == {
        ("predicate", "list"),
        ("predicate", "x"),
    }
    one = compiled("materials[predicate.name].sha256 == 'x'")
    assert one.reads == {("materials",), ("predicate", "name")}
    assert compiled("true").reads == frozenset()


def test_pruned_evidence_gives_the_same_verdict_as_whole_evidence() -> None:
    """Comparing, counting and looping see everything in what they read, even if a path leads into it as well."""
    assert verdict("predicate.deep == {'a.b': {'c': true}} && predicate.deep['a.b'].c").ok
    assert verdict("predicate.size() == 7 && predicate.epochs == 10").ok
    assert verdict("predicate.deep.all(k, k == 'a.b') && has(predicate.deep)").ok
    assert verdict("size(predicate.name.x) == 1").problem == "Applying SELECT to non-message type"


def test_a_foreign_exception_is_a_problem() -> None:
    """What the engine cannot take, such as half a surrogate pair or a set, fails the constraint and nothing else."""
    for odd in ("\ud800", {1}, 2**70):
        found = verdict("predicate.odd == 1", {**VARIABLES, "predicate": {"odd": odd}})
        assert (found.ok, found.evaluated) == (False, False)
        assert found.problem


def test_a_long_message_is_cut() -> None:
    """The engine's messages may quote evidence: a problem stays short."""
    found = verdict(f"predicate.x{'y' * 2000} == 1")
    assert len(found.problem) == 301
    assert found.problem.endswith("…")


def test_constraints_are_compiled_once() -> None:
    """The same constraint in the same scope is the same program; the cache is bounded."""
    assert compiled("predicate.a == 1") is compiled("predicate.a == 1")
    assert compile_constraint.cache_info().maxsize == 1024


def test_the_engine_is_loaded_by_the_first_constraint() -> None:
    """Importing the language costs nothing of the engine."""
    code = (
        "import sys, gitchain.layout, gitchain.layout.constraint as c; assert 'cel_expr_python.cel' not in sys.modules;"
        "from gitchain.layout.model import Constraint; c.compile_constraint(Constraint('a', 'true'), 'step');"
        "assert 'cel_expr_python.cel' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


RECIPES = Path(__file__).parents[2] / "docs" / "constraints.md"


def test_every_recipe_of_the_page_compiles() -> None:
    """docs/constraints.md: each example is YAML of the language, and each of its expressions compiles in its scope."""
    scopes: list[Scope] = []
    for block in re.findall(r"```yaml\n(.*?)```", RECIPES.read_text(encoding="utf-8"), re.DOTALL):
        found: Any = yaml.safe_load(block)
        given: list[tuple[Scope, Any]] = [("step", step) for step in found.get("steps", ())]
        given += [("chain", found), ("dataset", found.get("datasets", {}))]
        for scope, part in given:
            for one in part.get("constraints", ()):
                assert compile_constraint(Constraint(one["name"], one["expression"]), scope).reads
                scopes.append(scope)
    assert (scopes.count("step"), scopes.count("chain"), scopes.count("dataset")) == (3, 5, 4)


LAYOUT = """
schema: https://gitchain.dev/layout/v1
name: credit-model
version: 1
expires: "2027-11-22T00:00:00Z"
functionaries:
  alice: {identities: [{issuer: "https://issuer.example", subject: alice}]}
steps:
  - name: train
    functionaries: [alice]
    constraints: [{name: one, expression: "predicate.a == 1"}]
    expectedProducts: [[CREATE, model.pkl], [DISALLOW, "*"]]
serve: [{step: train, products: [model.pkl]}]
datasets:
  functionaries: [alice]
  artifacts: [{step: train, products: [model.pkl]}]
  constraints: [{name: two, expression: "dataset.licence == 'CC0-1.0'"}]
constraints: [{name: three, expression: "steps.train.materials.a.sha256 == target.sha256"}]
"""


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("predicate.a", "dataset.a", "steps[0].constraints.one"),
        ("dataset.licence", "predicate.licence", "datasets.constraints.two"),
        ("target.sha256", "time", "constraints.three"),
        ("steps.train.m", "steps.tarin.m", "constraints.three"),
        ("steps.train.m", "steps['tra in'].m", "constraints.three"),
        ("steps.train.m", "has(steps.tarin) || steps.train.m", "constraints.three"),
    ],
)
def test_a_layout_whose_constraints_do_not_compile_is_refused(old: str, new: str, where: str) -> None:
    """Loading a layout compiles every constraint in its scope, and looks up the steps that they name."""
    assert parse_layout(LAYOUT.encode()).constraints
    with pytest.raises(LayoutError) as caught:
        parse_layout(LAYOUT.replace(old, new).encode())
    assert caught.value.where == where


def test_a_constraint_may_read_all_steps() -> None:
    """Only names that stand in the text are looked up: a loop over all steps reads each of them whole."""
    before, _, _ = LAYOUT.partition("datasets:")
    expression = "steps.all(s, steps[s].principals.size() > 0)"
    text = f"{before}constraints: [{{name: three, expression: '{expression}'}}]"
    (one,) = parse_layout(text.encode()).constraints
    program = compile_constraint(one, "chain")
    assert program.reads == {("steps",)}
    assert program.holds({"steps": {"train": {"principals": lambda: ("alice",)}}}).ok
    assert not program.holds({"steps": {"train": {"principals": lambda: ()}}}).ok


# Hostile: a process of their own, a second of its time, 256 MiB ----------------------------------------------------

CHILD = """
import json, resource, sys
from gitchain.errors import LayoutError
from gitchain.layout.constraint import compile_constraint
from gitchain.layout.model import Constraint
expression, predicate = json.load(sys.stdin)
compile_constraint(Constraint("warm", "true"), "step")
used = resource.getrusage(resource.RUSAGE_SELF)
second = int(used.ru_utime + used.ru_stime) + 2
resource.setrlimit(resource.RLIMIT_CPU, (second, second))
try:
    found = compile_constraint(Constraint("hostile", expression), "step").holds({"predicate": predicate})
    said = [found.ok, found.problem]
except LayoutError as error:
    said = [False, str(error)]
try:  # the peak since this program began; ru_maxrss starts at what the parent held when it forked
    with open("/proc/self/status") as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM:"))
except FileNotFoundError:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([*said, peak]))
"""
TEN = "[0,1,2,3,4,5,6,7,8,9]"
HOSTILE: dict[str, tuple[str, Any]] = {
    "parentheses": ("(" * 10_000 + "true" + ")" * 10_000, {}),
    "parentheses within the length": ("(" * 2000 + "true" + ")" * 2000, {}),
    "brackets": ("[" * 2000 + "]" * 2000 + " == []", {}),
    "maps": ("{1:" * 700 + "1" + "}" * 700 + " == {}", {}),
    "selections": ("predicate" + ".a" * 2000, {}),
    "sums": ("1" + "+1" * 2000 + " > 0", {}),
    "conditions": ("true ? " * 400 + "true" + " : true" * 400, {}),
    "unfinished string": ('"' * 3, {}),
    "nul": ("\0", {}),
    "a hundred thousand turns": (f"{TEN}.all(a, " * 4 + f"{TEN}.size() > 99" + ")" * 4, {}),
    "loops in a row": ("predicate.l" + ".map(x, x)" * 25 + ".size() == 1", {"l": list(range(9000))}),
    "loops over loops": (
        "predicate.l.all(x, predicate.l.all(y, x != y || x == y))",
        {"l": list(range(9000))},
    ),
    "map copies its list": ("predicate.l.map(x, x).size() == 1", {"l": list(range(9999))}),
    "filter copies its list": ("predicate.l.filter(x, true).size() == 1", {"l": list(range(9999))}),
    "doubling strings": ("['aaaaaaaaaaaaaaaa']" + ".map(a, a + a)" * 28 + ".size() == 1", {}),
    "doubling lists": ("[[1]]" + ".map(a, a + a)" * 28 + ".size() == 1", {}),
    "doubling by reference": ("[[1]]" + ".map(a, [a, a])" * 25 + " == [[1]]" + ".map(a, [a, a])" * 25, {}),
    "nested doubling": (
        "['a'].exists(a, [a + a + a + a].exists(b, [b + b + b + b].exists(c, c + c == c)))",
        {},
    ),
    "comparing with itself": ("predicate.l.all(x, predicate == predicate)", {"l": list(range(9000))}),
    "looking up lists": ("predicate.l.all(x, x in predicate.l)", {"l": [["a"] * 10 for _ in range(5000)]}),
    "catastrophic pattern": ("predicate.s.matches('(a*)*b')", {"s": "a" * 1_000_000}),
    "patterns of many states": ("predicate.s.matches('.*a.{900}c')", {"s": "ab" * 500_000}),
    "patterns compiled each turn": (
        "predicate.l.all(x, 'a'.matches('(a?){1000}') || true)",
        {"l": list(range(9000))},
    ),
    "patterns of classes": (
        "predicate.l.all(x, 'a'.matches('" + r"\\pL" * 80 + "') || true)",
        {"l": list(range(500))},
    ),
    "pattern too large": (r"predicate.s.matches('(\\pL{9}){100}')", {"s": "a"}),
    "searching": ("predicate.s.contains(predicate.t)", {"s": "a" * 4_000_000, "t": "a" * 200_000 + "b"}),
    "searching each turn": (
        "predicate.l.all(x, predicate.s.contains('b') || true)",
        {"l": [1] * 9000, "s": "a" * 99_999},
    ),
    "counting characters": (
        "predicate.l.all(x, size(predicate.s) > 0)",
        {"l": [1] * 9000, "s": "a" * 999_999},
    ),
    "a large predicate": ("predicate == predicate", {"l": list(range(1_000_000))}),
    "a large string": ("predicate.s + predicate.s == predicate.s", {"s": "a" * 8_000_000}),
    "a deep predicate": ("predicate.a == predicate.a", {"a": json.loads("[" * 500 + "]" * 500)}),
    "integer overflow": ("-9223372036854775808 / -1 == 0 || (-9223372036854775807 - 1) % -1 == 1", {}),
    "times": ("timestamp('9999-12-31T23:59:59Z') + duration('315576000000s') > timestamp(0)", {}),
}


def test_deep_evidence_is_a_problem_in_every_python() -> None:
    """The limit is the constraint's own: that of the interpreter depends on its version."""
    for levels, ok in ((MAX_LEVELS - 1, True), (MAX_LEVELS, False)):
        deep = json.loads("[" * levels + "]" * levels)
        found = verdict("predicate.a == predicate.a", {**VARIABLES, "predicate": {"a": [deep]}})
        assert (found.ok, "nested too deeply" in found.problem) == (ok, not ok)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_expression_ends_soon_and_small(name: str) -> None:
    """Within a second of processor time and 256 MiB: a finding or a LayoutError, and the process lives."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps(HOSTILE[name]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ok, problem, kilobytes = json.loads(done.stdout)
    assert not ok
    assert problem
    assert kilobytes < 256 * 1024

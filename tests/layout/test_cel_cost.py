"""The tree of an expression is the engine's own, and the work that is estimated is never less than what is done."""

from __future__ import annotations

from contextlib import suppress

import pytest
from cel_expr_python import cel
from hypothesis import given
from hypothesis import strategies as st

from gitchain.errors import LimitError
from gitchain.layout.cel_cost import (
    CostBound,
    check_tree,
    check_work,
    measure,
    paths,
    text_bound,
    walk,
)
from gitchain.layout.cel_tree import (
    CelCall,
    CelConstant,
    CelItems,
    CelMacro,
    CelSelect,
    CelVariable,
    Node,
    read_tree,
)

ENVIRONMENT = cel.NewEnv(variables={"p": cel.Type.DYN, "q": cel.Type.DYN})


def tree(expression: str) -> Node:
    return read_tree(ENVIRONMENT.compile(expression).serialize())


TREES: list[tuple[str, Node]] = [
    ("p.a", CelSelect(CelVariable("p"), "a", False)),
    ("has(p.a)", CelSelect(CelVariable("p"), "a", True)),
    ("p['a']", CelCall("_[_]", (CelVariable("p"), CelConstant("a", 1)))),
    ("p[0]", CelCall("_[_]", (CelVariable("p"), CelConstant()))),
    ("p.contains('é')", CelCall("contains", (CelVariable("p"), CelConstant("é", 2)))),
    ("size(b'abc')", CelCall("size", (CelConstant(None, 3),))),
    (
        "[1, 2.5, 3u, true, null, '', b'']",
        CelItems((*[CelConstant()] * 5, CelConstant("", 0), CelConstant())),
    ),
    ("{'a': p, 1: q}", CelItems((CelConstant("a", 1), CelVariable("p"), CelConstant(), CelVariable("q")))),
    ("google.protobuf.Int32Value{value: 1}", CelItems((CelConstant(),), "google.protobuf.Int32Value")),
    ("p ? 1 : 2", CelCall("_?_:_", (CelVariable("p"), CelConstant(), CelConstant()))),
    (
        "p.filter(x, x)",
        CelMacro(
            "x",
            CelVariable("p"),
            "@result",
            CelItems(()),
            CelConstant(),
            CelCall(
                "_?_:_",
                (
                    CelVariable("x"),
                    CelCall("_+_", (CelVariable("@result"), CelItems((CelVariable("x"),)))),
                    CelVariable("@result"),
                ),
            ),
            CelVariable("@result"),
        ),
    ),
]


@pytest.mark.parametrize(("expression", "expected"), TREES, ids=range(len(TREES)))
def test_the_tree_is_what_was_written(expression: str, expected: Node) -> None:
    """Every kind of node is read, with its strings, and a macro as the loop that it stands for."""
    assert tree(expression) == expected


BROKEN = [
    (b"", "unknown kind"),
    (b"\x12", "cut off"),
    (b"\x12\x05\x00", "cut off"),
    (b"\xff\xff", "cut off"),
    (b"\x13", "kind 3"),
    (b"\x12\x02\x22\x00", "unknown kind"),
    (b"\x12\x04\x22\x02\x10\x01", "unknown kind"),
    (b"\x12\x09\x22\x07\x1a\x05\x1d\x00", "cut off"),
]


@pytest.mark.parametrize(("data", "problem"), BROKEN, ids=range(len(BROKEN)))
def test_bytes_that_are_no_tree_are_a_value_error(data: bytes, problem: str) -> None:
    """What is cut off, of an unknown kind or empty is refused in one way."""
    with pytest.raises(ValueError, match=problem):
        read_tree(data)


def test_fixed_width_numbers_are_skipped() -> None:
    """Fields of four and eight bytes are passed over by their width: a double literal is eight."""
    name = b"\x22\x03\x0a\x01p"
    for odd in (b"\x09" + bytes(8), b"\x0d" + bytes(4), b"\x08\x96\x01"):
        expression = odd + name
        checked = b"\x22" + bytes([len(expression)]) + expression
        assert read_tree(b"\x12" + bytes([len(checked)]) + checked) == CelVariable("p")


@given(st.binary(max_size=60))
def test_any_bytes_are_a_tree_or_a_value_error(data: bytes) -> None:
    """The reader raises nothing else, whatever the engine would write."""
    for wrapped in (data, b"\x12" + bytes([len(data) + 2]) + b"\x22" + bytes([len(data)]) + data):
        with suppress(ValueError):
            assert list(walk(read_tree(wrapped)))


# Work -----------------------------------------------------------------------------------------------------------

S = CostBound(100, 10)
ONE = CostBound(1, 1)
MEASURED: list[tuple[str, CostBound, int]] = [
    ("p", S, 0),
    ("p.a.b", S, 2),
    ("has(p.a)", ONE, 1),
    ("'12345678901234567'", CostBound(3, 3), 0),
    ("[p, p]", CostBound(201, 10), 3),
    ("{'a': p}", CostBound(102, 10), 3),
    ("p == q", ONE, 101),
    ("p == 1", ONE, 2),
    ("p != 'a' && p < 2", ONE, 2 + 2 + 1),
    ("p + q", CostBound(200, 20), 21),
    ("p ? p : 1", S, 1),
    ("p['a']", S, 1),
    ("dyn(p)", S, 1),
    ("type(p)", ONE, 1),
    ("!p", ONE, 1),
    ("-p", ONE, 1),
    ("p in [1, 2]", ONE, 3 + 100 + 1 + 3),
    ("1 in p", ONE, 1 + 10 + 1),
    ("size(p)", CostBound(108, 18), 11),
    ("p.contains(q)", ONE, 101),
    ("p.startsWith('a')", ONE, 11),
    ("timestamp(p).getHours()", ONE, 11 + 1),
    ("p.matches('abc')", ONE, 64 * 3 + 80 * 1 + 1),
    ("p.matches('a{100}')", ONE, 64 * 600 + 80 * (1 + 600 // 7) + 1),
    ("p.matches('a{2,3}b{4,}')", ONE, 64 * 11 * 12 + 80 * (1 + 132 // 7) + 1),
    ("p.matches('(a{40}){40}')", ONE, 64 * 11_000 + 80 * (1 + 11_000 // 7) + 1),
    ("p.matches('a{0}')", ONE, 64 * 4 + 80 * 1 + 1),
    (r"p.matches('\\pL')", ONE, 64 * 43 + 80 * (1 + 43 // 7) + 1),
    (r"p.matches('\\PL')", ONE, 64 * 43 + 80 * (1 + 43 // 7) + 1),
    ("p.matches('[[:alpha:]]')", ONE, 64 * 51 + 80 * (1 + 51 // 7) + 1),
    ("p.matches('(?i)a')", ONE, 64 * 45 + 80 * (1 + 45 // 7) + 1),
    ("p.matches('')", ONE, 80 * 1 + 1),
]


@pytest.mark.parametrize(("expression", "bound", "work"), MEASURED, ids=range(len(MEASURED)))
def test_the_work_of_an_expression_follows_from_the_sizes(
    expression: str, bound: CostBound, work: int
) -> None:
    """Each operation costs what the engine does for it: the smaller side, the pattern times the text, the copy."""
    assert measure(tree(expression), {"p": S, "q": S}) == (bound, work)


COSTS: dict[str, tuple[int, list[str]]] = {
    "nothing": (1, ["!p", "type(p)", "dyn(p)", "p['a']", "-p", "p - q", "p * q", "p / q", "p % q"]),
    "the smaller side": (101, ["p == q", "p != q", "p < q", "p <= q", "p > q", "p >= q"]),
    "every place": (101, ["p.contains(q)", "p.startsWith(q)", "p.endsWith(q)"]),
    "a copy": (
        11,
        [
            *("size(p)", "int(p)", "uint(p)", "double(p)", "bool(p)", "string(p)"),
            *("bytes(p)", "duration(p)", "timestamp(p)"),
        ],
    ),
    "a copy and a look": (
        12,
        [
            *("timestamp(p).getFullYear()", "timestamp(p).getMonth()", "timestamp(p).getDate()"),
            *("timestamp(p).getDayOfMonth()", "timestamp(p).getDayOfWeek()", "timestamp(p).getDayOfYear()"),
            *("timestamp(p).getHours()", "timestamp(p).getMinutes()", "timestamp(p).getSeconds()"),
            "timestamp(p).getMilliseconds()",
        ],
    ),
    "two and the operator": (5, ["p == 1 && q == 1", "p == 1 || q == 1"]),
}


@pytest.mark.parametrize(
    ("expression", "work"), [(one, work) for work, group in COSTS.values() for one in group]
)
def test_every_available_function_has_its_cost(expression: str, work: int) -> None:
    """Each function of the language is available, and what it does with the sizes of its arguments is counted."""
    check_tree(tree(expression))
    assert measure(tree(expression), {"p": S, "q": S})[1] == work


def test_a_loop_costs_its_turns() -> None:
    """A loop turns as often as its list is long, loops within each other as often as both, all at most MAX_TURNS."""
    variables = {"p": CostBound(100, 10), "q": CostBound(1000, 1000)}
    once = measure(tree("p.all(x, x == 1)"), variables)[1]
    assert once == 10 * (1 + 2 + 1)  # the condition, the comparison and the step, ten times
    nested = measure(tree("p.all(x, q.all(y, y == 1))"), variables)[1]
    assert nested == 10 * (1 + 1) + 10 * 1000 * (1 + 2 + 1)
    capped = measure(tree("q.all(x, q.all(y, y == 1))"), variables)[1]
    assert capped == 1000 * (1 + 1) + 10_000 * (1 + 2 + 1)


def test_a_loop_that_turns_once_costs_its_step_once() -> None:
    """Finding out how much one turn adds is no turn: a step of three of the four million units fits."""
    variables = {"p": CostBound(1, 1), "q": CostBound(3_000_000, 1)}
    assert (
        measure(tree("p.all(x, q == q)"), variables)[1] == 3_000_003
    )  # 1 for each of condition, comparison, step


def test_the_engine_bounds_the_turns_as_we_do() -> None:
    """The engine's own bound on the turns of all loops is the one that the work is estimated with."""
    program = ENVIRONMENT.compile("p.all(x, x)")
    assert program.eval(data={"p": [True] * 9_999}).value() is True
    with pytest.raises(RuntimeError, match="budget"):
        program.eval(data={"p": [True] * 10_001})
    turns = 10_000 * (1 + 1 + 1)
    assert measure(tree("p.all(x, x)"), {"p": CostBound(50_000, 50_000)})[1] <= turns


def test_collecting_copies_the_list_each_turn() -> None:
    """`map` and `filter` grow with the square of their list, as the engine copies it; so does what they collect."""
    bound, work = measure(tree("p.map(x, x)"), {"p": CostBound(100, 10)})
    assert bound == CostBound(1 + 10 * 101, 1 + 10 * 10)
    assert work == 1 + 10 * (2 + (101 + 10) + 1)
    filtered, _ = measure(tree("p.filter(x, true)"), {"p": CostBound(100, 10)})
    assert filtered == bound


def test_a_loops_variable_hides_and_a_dot_finds_the_variable_of_the_same_name() -> None:
    """Inside of a loop over small things, `.p` is as large as ever."""
    variables = {"p": CostBound(1000, 1000)}
    assert measure(tree("[1].all(p, p == p)"), variables)[1] < 50
    assert measure(tree("[1].all(p, .p == .p)"), variables)[1] > 1000
    assert paths(tree("[1].all(p, .p.a == p)")) >= {("p", "a")}


def test_work_beyond_the_limit_is_refused() -> None:
    """One unit more than MAX_WORK is too much."""
    check_work(tree("p == q"), {"p": CostBound(3_999_999), "q": CostBound(4_000_000)})
    with pytest.raises(
        LimitError, match="more work than a constraint may be, expected at most 4000000 units"
    ):
        check_work(tree("p == q"), {"p": CostBound(4_000_000), "q": CostBound(4_000_000)})


def test_paths_end_where_keys_are_computed() -> None:
    """A path is a variable with the fields and string keys that stand in the text."""
    assert paths(tree("p.a['b'][q.c].d == 1")) == {("p", "a", "b"), ("q", "c")}
    assert paths(tree("{'p': 1}.p == 1")) == frozenset()
    assert paths(tree("[p.a][0].b")) == {("p", "a")}
    assert text_bound(16) == CostBound(3, 3)

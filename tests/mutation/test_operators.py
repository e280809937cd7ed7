"""The mutants themselves: what is changed, what is left alone, and that the listed ones carry a reason."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
from tests.mutation.operators import labels, mutants  # noqa: E402

CHANGES = {
    "a < b": {"a <= b"},
    "a is not None": {"a is None"},
    "a in b": {"a not in b"},
    "a and b": {"a or b", "a", "b"},
    "not a": {"a"},
    "a + 1": {"a - 1", "a + 2"},
    "x[1:n]": {"x[1:]", "x[:n]", "x[2:n]"},
    "any(x)": {"all(x)"},
    "x.startswith('a')": {"x.endswith('a')", "x.startswith('XXa')"},
    "[x for x in y if x]": {"[x for x in y if not x]", "[x for x in y if True]"},
    "b'a'": {"b'XXa'"},
    "True": {"False"},
    "f'{a}'": set(),
    "MalformedError('a', got=b[:4])": set(),
}


@pytest.mark.parametrize("text", CHANGES)
def test_an_expression_has_these_mutants(text: str) -> None:
    """Each operator, one change at a time, each once."""
    found = [mutant.texts()[1] for mutant in mutants(ast.parse(f"z = {text}"))]
    assert sorted(found) == sorted(f"z = {now}" for now in CHANGES[text])


STATEMENTS = {
    "def f() -> int:\n    '''Say.'''\n    return 1": {"return None", "return 2"},
    "if a:\n    raise B": {"if not a:", "if False:", "pass"},
    "while a:\n    continue": {"while not a:", "break"},
    "try:\n    pass\nexcept A:\n    pass": {"except ():"},
    "a += 1": {"pass", "a -= 1", "a += 2"},
    "f(a)": {"pass"},
    "a: Literal['x'] = b": set(),
    "A = Literal['x', 'y']": set(),
    "A: TypeAlias = Mapping[1, 2]": set(),
    "import a": set(),
    "if TYPE_CHECKING:\n    a = 1": set(),
    "@d(1)\nclass A:\n    ...": set(),
    "match a:\n    case _:\n        assert_never(a)": set(),
}


@pytest.mark.parametrize("text", STATEMENTS)
def test_a_statement_has_these_mutants(text: str) -> None:
    """Checks can go, loops can end early, errors can escape; what has no behaviour is left alone."""
    assert {mutant.texts()[1] for mutant in mutants(ast.parse(text))} == STATEMENTS[text]


def test_words_for_errors_are_left_alone() -> None:
    """A label says where an error is; the name of a field beside it is behaviour."""
    helper = ast.parse("def get_text(source, name, where): ...")
    tree = ast.parse("x = get_text(s, 'name', 'bundle')\nwhere = 'bundle'")
    assert set(labels(helper)) == {("get_text", 2)}
    assert [one.texts()[1] for one in mutants(tree, set(labels(helper)))] == [
        "x = get_text(s, 'XXname', 'bundle')"
    ]


def test_applying_a_mutant_changes_what_the_code_does() -> None:
    """The tree still compiles, and does the other thing."""
    tree = ast.parse("def f(a):\n    return a < 3")
    next(mutant for mutant in mutants(tree) if mutant.texts()[1] == "return a <= 3").apply()
    names: dict[str, object] = {}
    exec(compile(tree, "x", "exec"), names)
    assert names["f"](3)  # type: ignore[operator]


def test_every_mutant_that_is_let_live_has_a_reason() -> None:
    """Equivalent means somebody said why, in words, about code that is named and not numbered."""
    for one in tomllib.loads((HERE / "equivalent.toml").read_text("utf-8")).get("mutant", []):
        assert set(one) == {"module", "function", "was", "now", "reason"}
        assert len(one["reason"]) > 20

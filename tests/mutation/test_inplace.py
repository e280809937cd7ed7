"""Swapping the code of a function in a process that lives: what it reaches, and that it leaves alone what it cannot."""

from __future__ import annotations

import ast
from types import ModuleType

import pytest

from tests.mutation.inplace import Functions

SOURCE = """
from functools import cache

LIMIT = 1
PAIR = (lambda: 1), (lambda: 2)

def plain(a, b=3):
    return a + 4

@cache
def remembered():
    return [one + 5 for one in range(1)]

class Thing:
    limit = 6

    @property
    def size(self):
        return 7

def outer():
    held = 8
    def inner():
        return held + 9
    return inner

closed = outer()
"""
REACHED = {4: "plain(0)", 5: "remembered()[0]", 7: "Thing().size"}


@pytest.fixture
def module() -> ModuleType:
    """Return the module of SOURCE, executed."""
    made = ModuleType("made")
    exec(compile(SOURCE, "made.py", "exec"), made.__dict__)
    return made


def swap(module: ModuleType, number: int) -> bool:
    """Put 100 in the place of a number of SOURCE."""
    assert module.__name__ == "made"
    changed = ast.parse(SOURCE)
    for node in ast.walk(changed):
        if isinstance(node, ast.Constant) and node.value == number:
            node.value = 100
    return Functions({"made"}).swap("made", ast.parse(SOURCE), changed)


@pytest.mark.parametrize("number", REACHED)
def test_functions_methods_and_what_a_decorator_holds_are_swapped(module: ModuleType, number: int) -> None:
    """Whoever holds the function runs the changed code from now on."""
    held = module.plain
    assert swap(module, number)
    assert eval(REACHED[number], module.__dict__) == 100
    assert held is module.plain


@pytest.mark.parametrize("number", [1, 2, 3, 6])
def test_what_runs_at_the_import_is_left_alone(module: ModuleType, number: int) -> None:
    """Constants, defaults, bodies of classes, and two lambdas in one line that cannot be told apart."""
    assert not swap(module, number)
    assert (module.LIMIT, module.plain(0), module.Thing.limit) == (1, 4, 6)
    assert [one() for one in module.PAIR] == [1, 2]


def test_a_closure_that_is_made_already_keeps_its_code(module: ModuleType) -> None:
    """The function that makes closures is swapped, so those made from now on are changed."""
    assert swap(module, 9)
    assert module.closed() == 17
    assert module.outer()() == 108


def test_trees_without_a_difference_swap_nothing(module: ModuleType) -> None:
    """There is no mutant then."""
    assert not swap(module, 12345)

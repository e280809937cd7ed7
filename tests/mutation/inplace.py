"""Puts a mutant into a process that has loaded everything: the code of one function is swapped for the changed one.

    functions = Functions(names)                     in the process that collected the tests, once
    functions.swap(name, tree, changed)              in a fork of it: True if the function now is the changed one

Loading gitchain and collecting the tests takes far longer than the tests of one mutant. What runs while a module is
imported (constants, class bodies, defaults) is no function's code: for those `swap` says False and changes nothing.
"""

from __future__ import annotations

import ast
import gc
from collections import defaultdict
from collections.abc import Collection
from inspect import CO_NEWLOCALS
from types import CodeType, FunctionType

Place = tuple[str, int]
"""Qualified name and first line of a function."""


def split(tree: ast.Module) -> tuple[dict[Place, CodeType], list[object]]:
    """Return the functions of a module and of its classes by their place, and what runs at its import."""
    functions: dict[Place, CodeType] = {}
    at_import: list[object] = []
    waiting = [compile(tree, "<mutant>", "exec")]
    while waiting:
        code = waiting.pop()
        constants = [one for one in code.co_consts if not isinstance(one, CodeType)]
        at_import += [code.co_qualname, code.co_code, code.co_names, constants, code.co_exceptiontable]
        for one in (one for one in code.co_consts if isinstance(one, CodeType)):
            place = one.co_qualname, one.co_firstlineno
            if not one.co_flags & CO_NEWLOCALS:  # the body of a class
                waiting.append(one)
            elif place in functions:  # two lambdas in one line
                at_import.append(one)
            else:
                functions[place] = one
    return functions, at_import


class Functions:
    """The functions of some modules that are alive in this process."""

    def __init__(self, modules: Collection[str]) -> None:
        self._alive: dict[tuple[str, Place], list[FunctionType]] = defaultdict(list)
        for one in gc.get_objects():
            if isinstance(one, FunctionType) and one.__module__ in modules:
                place = one.__code__.co_qualname, one.__code__.co_firstlineno
                self._alive[one.__module__, place].append(one)

    def swap(self, module: str, tree: ast.Module, changed: ast.Module) -> bool:
        """Give the functions that differ between the trees the changed code; False if that is not all that differs."""
        before, at_import = split(tree)
        after, at_import_after = split(changed)
        if at_import != at_import_after or before.keys() != after.keys():
            return False
        places = [place for place in before if before[place] != after[place]]
        alive = [self._alive.get((module, place), []) for place in places]
        pairs = [(one, after[place]) for place, ones in zip(places, alive, strict=True) for one in ones]
        if not all(alive) or any(one.__code__.co_freevars != code.co_freevars for one, code in pairs):
            return False
        for one, code in pairs:
            one.__code__ = code.replace(co_filename=one.__code__.co_filename)
        return bool(pairs)

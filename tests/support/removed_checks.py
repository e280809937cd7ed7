"""Take one check out of the code and see the attack succeed: a test that cannot go red proves nothing.

A guard names a function and a piece of its source; `taken_away` runs the same function without that piece. The
tests of this folder name their guards with `@guarded`, and each module ends with a test that runs every attack
again without its check and wants to see it fail.
"""

from __future__ import annotations
import __future__

import importlib
import inspect
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import CodeType, FunctionType
from typing import Any

import pytest

Test = Callable[..., None]


@dataclass(frozen=True)
class Guard:
    """A check: `module:function`, the piece of its source that checks, and what stands there without it."""

    where: str
    check: str
    without: str


def take_away(guards: Sequence[Guard], patch: pytest.MonkeyPatch) -> None:
    """Give the function that these guards name the same code without them, for everyone who has the function."""
    where = guards[0].where
    function = find(where)
    source = textwrap.dedent(inspect.getsource(function))
    for guard in guards:
        assert guard.check in source, f"{where} has no {guard.check!r} any more: name where the check is now"
        source = source.replace(guard.check, guard.without)
    source = source[source.index("def ") :]
    code = compile(source, f"<{where} without a check>", "exec", __future__.annotations.compiler_flag)
    (inner,) = (
        one for one in code.co_consts if isinstance(one, CodeType) and one.co_name == function.__name__
    )
    patch.setattr(function, "__code__", inner)


GUARDS: dict[str, tuple[Guard, ...]] = {}
"""By the name of the attack's test."""


def guarded(*guards: tuple[str, str, str]) -> Callable[[Test], Test]:
    """Name the checks without which the attack of this test succeeds."""

    def mark(test: Test) -> Test:
        assert test.__name__ not in GUARDS, test.__name__
        GUARDS[test.__name__] = tuple(Guard(*one) for one in guards)
        return test

    return mark


def names(namespace: dict[str, Any]) -> list[str]:
    """Return the guarded tests of a module."""
    return [name for name in GUARDS if name in namespace]


def goes_red(test: Test, request: pytest.FixtureRequest, patch: pytest.MonkeyPatch) -> None:
    """Run the test without its checks: it has to fail, by an assertion of its own."""
    arguments = {name: request.getfixturevalue(name) for name in inspect.signature(test).parameters}
    guards = GUARDS[test.__name__]
    for where in dict.fromkeys(guard.where for guard in guards):
        take_away([guard for guard in guards if guard.where == where], patch)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        test(**arguments)


def find(where: str) -> FunctionType:
    """Return the function that `module:Class.function` names, below whatever decorates it."""
    module, _, path = where.partition(":")
    found: Any = importlib.import_module(module)
    for name in path.split("."):
        found = inspect.getattr_static(found, name)
    if isinstance(found, classmethod | staticmethod):
        found = found.__func__
    elif isinstance(found, property):
        found = found.fget
    elif isinstance(found, cached_property):
        found = found.func
    assert isinstance(found, FunctionType), where
    return found


def by_content(claim: Any) -> Any:
    """Return the claim for the step that such products belong to: what a verifier does that trusts a file's place."""
    import dataclasses

    made = {one.name for one in claim.products}
    return dataclasses.replace(claim, step="evaluate" if "metrics.json" in made else claim.step)

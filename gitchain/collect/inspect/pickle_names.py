"""Decide which of the names that a pickle imports may be loaded.

A name is allowed if the layout's `allow` has a pattern for it, if a framework that the layout names lists it (see
`frameworks`), or if it is one of Python's own containers and numbers. Every other name is refused.

An allowed name is still refused if it is known to run code: by gitchain's own rules (names that reach through a module,
names as Python 2 wrote them, functions that load further code) and by picklescan, if it is installed.

Does NOT import any of the names.
"""

from __future__ import annotations

import _compat_pickle  # the tables by which the unpickler itself renames what Python 2 wrote
import io
import itertools
import logging
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from gitchain.collect.inspect.frameworks import names_of
from gitchain.collect.inspect.pickle_values import HIDDEN, OVERFLOW, UNKNOWN, Name
from gitchain.collect.inspect.problem import ModelProblem, shown

_MODULES = frozenset({
    "_imp", "_posixsubprocess", "_thread", "code", "codeop", "concurrent", "dill", "imp", "importlib", "linecache",
    "marshal", "multiprocessing", "readline", "signal", "threading", "zipimport",
})  # fmt: skip
"""Modules whose functions start or load code, beyond the scanner's list."""

_FUNCTIONS = frozenset({
    ("builtins", "__import__"), ("builtins", "__build_class__"), ("builtins", "compile"), ("builtins", "delattr"),
    ("builtins", "eval"), ("builtins", "exec"), ("builtins", "execfile"), ("builtins", "getattr"), ("builtins", "globals"),
    ("builtins", "input"), ("builtins", "locals"), ("builtins", "open"), ("builtins", "setattr"), ("builtins", "vars"),
    ("joblib", "load"), ("joblib.numpy_pickle", "load"), ("numpy", "load"), ("pandas", "read_pickle"),
    ("pandas.io.pickle", "read_pickle"), ("torch", "load"), ("torch.hub", "load"), ("torch.serialization", "load"),
})  # fmt: skip

_REACHED = frozenset({
    "builtins", "ctypes", "importlib", "marshal", "nt", "os", "pickle", "posix", "pty", "runpy", "shutil", "socket",
    "subprocess", "sys",
})  # fmt: skip
"""Modules that are dangerous to get hold of, or to reach through another module."""


_UNNAMED = frozenset({HIDDEN, OVERFLOW, UNKNOWN})


@dataclass(frozen=True, slots=True)
class AllowedImports:
    """The names that a pickle may import: patterns for `module.name`, and frameworks by name."""

    patterns: tuple[str, ...] = ()
    frameworks: tuple[str, ...] = ()
    names: frozenset[Name] = field(init=False)
    objects: frozenset[Name] = field(init=False)

    def __post_init__(self) -> None:
        lists = ("python", *self.frameworks)
        object.__setattr__(self, "names", frozenset[Name]().union(*(names_of(one) for one in lists)))
        object.__setattr__(
            self, "objects", frozenset[Name]().union(*(names_of(one, "objects") for one in lists))
        )

    def has(self, name: Name, *, is_called: bool, is_given: bool = False) -> bool:
        """Return whether the name may be imported, called if the pickle does that, and given objects that it could call."""
        if is_given:
            return self._has_pattern(name)
        if name in self.names or (name in self.objects and not is_called):
            return True
        return self._has_pattern(name)

    def _has_pattern(self, name: Name) -> bool:
        return any(fnmatchcase(".".join(name), pattern) for pattern in self.patterns)


@dataclass(frozen=True, slots=True)
class RefusedName:
    """A name that may not be loaded, and whether it is known to run code."""

    name: Name
    is_known: bool

    def at(self, where: str) -> ModelProblem:
        """Return the problem of a file that imports the name."""
        if self.name in _UNNAMED:
            return ModelProblem("pickle imports a name that cannot be determined", where)
        got = shown(".".join(self.name))
        if self.is_known:
            return ModelProblem("pickle imports a name that is known to run code", where, got=got)
        return ModelProblem(
            "pickle imports a name that the layout does not allow",
            where,
            expected="a name under allow or frameworks of the inspection",
            got=got,
            help="add the name to allow if loading it is safe",
        )


def refused(
    names: Iterable[Name],
    called: Container[Name],
    allowed: AllowedImports,
    given: Container[Name] = frozenset(),
) -> tuple[RefusedName, ...]:
    """Return the names that may not be loaded, or not be called as those in `called` and `given` are, sorted."""
    return tuple(
        RefusedName(name, is_known)
        for name in sorted(names)
        if (is_known := _is_known_bad(name))
        or name in _UNNAMED
        or not allowed.has(name, is_called=name in called, is_given=name in given)
    )


def scanner_is_here() -> bool:
    """Return whether picklescan is installed."""
    try:
        import picklescan.scanner  # noqa: F401 - only whether it is there
    except ImportError:
        return False
    return True


def _is_known_bad(name: Name) -> bool:
    if name in _UNNAMED:
        return False
    forms = tuple(_forms(name))
    return any(_is_ours(form) for form in forms) or (scanner_is_here() and _scanner_refuses(forms))


def _forms(name: Name) -> Iterator[Name]:
    """Yield every form in which the unpickler could resolve the name."""
    module, attribute = name
    yield name
    renamed = _compat_pickle.NAME_MAPPING.get(name)
    if renamed is not None:
        yield renamed
    yield _compat_pickle.IMPORT_MAPPING.get(module, module), attribute
    parts = attribute.split(".")
    for at in range(len(parts) - 1):  # protocol 4 walks a dotted attribute from module to module
        for reached in {parts[at], parts[at].lstrip("_")}:
            yield reached, ".".join(parts[at + 1 :])


def _is_ours(name: Name) -> bool:
    module, attribute = name
    parents = set(itertools.accumulate(module.split("."), lambda left, right: f"{left}.{right}"))
    return bool(
        parents & (_MODULES | (_REACHED - {"builtins"}))
        or name in _FUNCTIONS
        or attribute.rpartition(".")[2].lstrip("_") in _REACHED
        or "__" in attribute.replace("__main__", "").strip("_")
    )


def _scanner_refuses(names: Iterable[Name]) -> bool:
    """Return whether picklescan reports a pickle that imports these names and does nothing else."""
    from picklescan.scanner import scan_pickle_bytes

    logging.getLogger("picklescan").addHandler(logging.NullHandler())  # it would write to the terminal
    program = b"".join(f"c{module}\n{attribute}\n".encode("ascii") for module, attribute in names) + b"."
    result = scan_pickle_bytes(io.BytesIO(program), "names")
    return bool(result.issues_count or result.scan_err or not result.globals)

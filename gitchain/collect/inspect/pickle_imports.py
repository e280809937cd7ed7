"""The names that a pickle imports, and those that loading calls or passes objects to."""

from __future__ import annotations

from dataclasses import dataclass, field

from gitchain.collect.inspect.pickle_values import (
    FORGOTTEN,
    HIDDEN,
    UNKNOWN,
    Name,
    PickledObject,
    PickleImport,
    arguments_in,
    is_plain,
    makes_object,
)
from gitchain.errors import LimitError

MAX_GLOBALS = 10_000
"""Most names that one file may import."""

_RECONSTRUCTORS = {
    ("copyreg", "_reconstructor"),
    ("copy_reg", "_reconstructor"),
}  # protocols 0 and 1 make objects so
_KEEPERS = {
    *(
        (module, name)
        for module in ("builtins", "__builtin__")
        for name in ("dict", "frozenset", "list", "set", "tuple")
    ),
    *(("collections", name) for name in ("Counter", "OrderedDict", "deque")),
}  # what is in a list or dictionary that they are given, they only keep, hash and compare
_CYTHON = "__pyx_unpickle_"  # the same holds for these, and for the functions of torch._utils
_REBUILD = ("torch._tensor", "_rebuild_from_type_v2")


@dataclass(slots=True)
class Imports:
    """The names that one or more pickles import, those that they call or let others call, and how much was read.

    `given`: names that are called with objects of the pickle's making, whose methods they could call.
    """

    names: set[Name] = field(default_factory=set)
    called: set[Name] = field(default_factory=set)
    given: set[Name] = field(default_factory=set)
    opcodes: int = 0
    pickles: int = 0
    has_arrays: bool = False

    def add(self, name: Name) -> None:
        """Note an import. Raises LimitError beyond MAX_GLOBALS names."""
        self.names.add(name)
        if len(self.names) > MAX_GLOBALS:
            raise LimitError("pickle imports too many names", expected=f"at most {MAX_GLOBALS}")

    def add_call(self, function: object, arguments: object, *, is_new: bool = False) -> bool:
        """Note a call; return True if it makes an object of a class without its constructor.

        A call of a value without a known name counts as an unknown import. `is_new`: NEWOBJ makes such an object.
        """
        if not isinstance(function, PickleImport):
            self.add(HIDDEN if isinstance(function, PickledObject) or function is FORGOTTEN else UNKNOWN)
            return is_new
        called = {one.name for one in arguments_in(arguments) if isinstance(one, PickleImport)}
        if function.name not in _RECONSTRUCTORS:
            if not is_new:
                self.called.add(function.name)
                self._give(function.name, arguments)
            self.called |= called
            return is_new
        if not makes_object(arguments):
            self.given.add(function.name)
            self.called |= called
        return True

    def _give(self, name: Name, arguments: object) -> None:
        """Note a call of a name with objects whose methods it could call, or with lists and dictionaries of such."""
        if name == _REBUILD:  # calls its first argument with those in the third
            known = arguments if isinstance(arguments, tuple) and len(arguments) == 4 else (None,) * 4
            if not isinstance(known[0], PickleImport) or not isinstance(known[2], tuple):
                self.given.add(name)
                return
            self._give(known[0].name, known[2])
        keeps = (
            name in _KEEPERS or name == _REBUILD or name[0] == "torch._utils" or name[1].startswith(_CYTHON)
        )
        if not is_plain(arguments, containers=keeps):
            self.given.add(name)

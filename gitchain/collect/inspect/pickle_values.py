"""Values that the pickle machine follows, and what it can tell about them.

Does NOT read the pickle (`pickle_machine`), nor decide which names are allowed (`pickle_names`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gitchain.errors import MalformedError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_ITEMS = 64
"""Most items of a dictionary or tuple that are kept: the descriptions of arrays and types have fewer than ten."""

MAX_ARGUMENTS = 4096
"""Most values in tuples that are looked at in one call."""

MAX_LINE = 4096
"""Longest argument of protocol 0 that could be a name, in bytes."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_<][A-Za-z0-9_<>]*)*", re.ASCII)

_LONG_INDEX = re.compile(rb"[\s0-9_+]*")

_BASES = {"dict", "frozenset", "int", "float", "list", "object", "set", "str", "tuple"}

TEXTS = {
    "STRING",
    "BINSTRING",
    "SHORT_BINSTRING",
    "UNICODE",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
}
"""The opcodes whose argument is a text."""

Name = tuple[str, str]


UNKNOWN: Final = ("unknown", "unknown")
"""The name of an import whose module or attribute is no text that Python could import from source."""

OVERFLOW: Final = ("unknown", "beyond the limit")
"""The name of an import that depends on a value that was not kept: it could be anything."""

HIDDEN: Final = ("unknown", "hidden")
"""The name of an import or a call of what only the loading process sees: a text with escapes, the result of a call."""

ARRAY: Final = "NumpyArrayWrapper"
"""The class by which joblib describes the array that follows, under whatever module it is found."""

UNSEEN: Final = object()
"""A value that the machine does not follow: bytes, a number."""

CONTAINER: Final = object()
"""A list or a set."""

UNREAD: Final = object()
"""A text that is not kept as it stands: with escapes or other letters, or too long."""

FORGOTTEN: Final = object()
"""A value of the memo that was not kept, or that the unpickler has from an earlier pickle: anything."""

KINDS = (FORGOTTEN, UNSEEN, UNREAD, CONTAINER)


class NotFollowedError(MalformedError):
    """A pickle that the machine cannot follow, although an unpickler could: its imports are unknown."""


@dataclass(frozen=True, slots=True)
class PickleImport:
    """The object that an unpickler imports by a name."""

    name: Name


@dataclass(slots=True)
class PickledObject:
    """An object that an unpickler makes by calling an imported object."""

    by: object
    arguments: object
    state: object = UNSEEN
    has_state: bool = False
    is_instance: bool = False


@dataclass(slots=True)
class PickledItems:
    """A dictionary of the pickle; None once an item cannot be followed."""

    items: dict[str, object] | None = field(default_factory=dict)

    def put(self, key: object, value: object) -> None:
        """Set one item; forget all items if the key is not seen or there are too many."""
        if not isinstance(key, str) or (self.items is not None and len(self.items) >= MAX_ITEMS):
            self.items = None
        elif self.items is not None:
            self.items[key] = value


def changeable(target: object) -> object:
    """Return the object that an opcode changes. Raises NotFollowedError if it is an import, or an object that has its state.

    An object with a state has attributes of the pickle's choice, and an unpickler would call them as its methods.
    """
    if (
        isinstance(target, PickleImport)
        or target is FORGOTTEN
        or (isinstance(target, PickledObject) and target.has_state)
    ):
        raise NotFollowedError("pickle changes an imported or finished object")
    return target


def _has_attributes(value: PickledObject) -> bool:
    """Return whether the object could have attributes of the pickle's choice. NumPy's own have none."""
    by = value.by.name[0] if isinstance(value.by, PickleImport) else ""
    return value.is_instance or (value.has_state and by.partition(".")[0] != "numpy")


def is_plain(arguments: object, *, containers: bool) -> bool:
    """Return whether no argument has attributes of the pickle's choice; `containers`: nor is a list, set or dictionary."""
    left, count = [arguments], 0
    while left and count <= MAX_ARGUMENTS:
        one, count = left.pop(), count + 1
        is_container = one is CONTAINER or isinstance(one, PickledItems)
        if isinstance(one, tuple):
            left.extend(one)
        elif (
            one is FORGOTTEN
            or (is_container and not containers)
            or (isinstance(one, PickledObject) and _has_attributes(one))
        ):
            return False
    return not left


def makes_object(arguments: object) -> bool:
    """Return whether `_reconstructor` is given a class, and one of Python's own to make it by."""
    if not isinstance(arguments, tuple) or len(arguments) != 3:
        return False
    base = arguments[1]
    return (
        isinstance(base, PickleImport)
        and base.name[0] in {"builtins", "__builtin__"}
        and base.name[1] in _BASES
    )


def is_unknown(value: object) -> bool:
    """Return True for a value that the machine does not follow (KINDS)."""
    return any(value is one for one in KINDS)


def could_be_text(value: object) -> bool:
    """Return True if an unpickler could get a text here, followed or not."""
    return isinstance(value, str | PickledObject | PickleImport) or value is UNREAD or value is FORGOTTEN


def is_array(value: object) -> bool:
    """Return True for the class by which joblib describes arrays."""
    return isinstance(value, PickleImport) and value.name[1].rpartition(".")[2] == ARRAY


def arguments_in(arguments: object) -> Iterator[object]:
    """Yield the arguments of a call, those in tuples too; UNSEEN for an unknown one, or beyond MAX_ITEMS."""
    left, count = [arguments], 0
    while left and count <= MAX_ITEMS:
        count += 1
        one = left.pop()
        if isinstance(one, tuple):
            left.extend(one)
        elif not is_unknown(one) or one is arguments:
            yield one
    if left:
        yield UNSEEN


def is_type(value: object) -> bool:
    """Return True for an object that is made by numpy.dtype."""
    return (
        isinstance(value, PickledObject)
        and isinstance(value.by, PickleImport)
        and value.by.name == ("numpy", "dtype")
    )


def memo_index(name: str, argument: bytes) -> int:
    """Return the index in the memo. Raises MalformedError for a malformed one, NotFollowedError beyond MAX_LINE digits."""
    if name not in {"GET", "PUT"}:
        return int.from_bytes(argument, "little")
    if len(argument) >= MAX_LINE and _LONG_INDEX.fullmatch(argument):
        raise NotFollowedError(
            "pickle has a memo index that is too long", expected=f"less than {MAX_LINE} digits"
        )
    try:
        index = int(argument)  # as unpicklers read it: with a sign, spaces and underscores
    except ValueError:
        index = -1
    if not 0 <= index < 1 << 63:
        raise MalformedError("pickle has a malformed memo index", got=ascii(argument[:40]))
    return index


def text_argument(opcode: str, argument: bytes) -> object:
    """Return the text if it could name something: protocol 0 quotes a STRING, and escapes a UNICODE."""
    if len(argument) >= MAX_LINE:
        return UNREAD
    if opcode == "STRING":
        argument = argument.strip()[1:-1]
    found = _name(argument)
    return UNREAD if found is UNSEEN else found


def name_on_line(line: bytes) -> object:
    """Return the name on a line of GLOBAL, UNREAD for a name that is longer than MAX_LINE, UNSEEN for anything else."""
    if len(line) < MAX_LINE:
        return _name(line)
    return UNSEEN if _name(line.rstrip(b".")) is UNSEEN else UNREAD


def _name(text: bytes) -> object:
    shown = text.decode("ascii", errors="replace")
    return shown if _NAME.fullmatch(shown) else UNSEEN

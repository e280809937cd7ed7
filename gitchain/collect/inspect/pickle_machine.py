"""Follows the opcodes of pickles without running them, and collects every name that they import.

A pickle is a program for a stack machine. The machine here keeps the values that decide which names are imported and
where the opcodes continue: texts, integers, tuples, small dictionaries, imported names, and objects that a name was
called for. Everything else is `UNSEEN`. Memory does not grow with the pickle's data: long arguments are passed over.

joblib writes the raw bytes of an array behind the object that describes it. The machine reads the description (shape,
item size, alignment) and continues behind the bytes. A description that it cannot compute is an error.

Opcodes: the standard library's `pickletools`. joblib's format: `joblib.numpy_pickle.NumpyArrayWrapper`.
Does NOT judge names (see `pickle_names`).
"""

from __future__ import annotations

import math
import pickletools
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Final

from gitchain.errors import LimitError, MalformedError

MAX_OPCODES = 5_000_000
"""Most opcodes of one file, about ten seconds: forests of a thousand trees have some 200,000."""

MAX_REMEMBERED = 200_000
"""Most values of the memo that are kept; a name that is built from a later one is OVERFLOW."""

MAX_ITEMS = 64
"""Most items of a dictionary or tuple that are kept: the descriptions of arrays and types have fewer than ten."""

MAX_ARGUMENTS = 4096
"""Most values in tuples that are looked at in one call."""

MAX_FIELDS_DEPTH = 4
"""Deepest structured type in a structured type."""

MAX_GLOBALS = 10_000
MAX_LINE = 4096
"""Longest argument of protocol 0 that could be a name, in bytes."""

MAX_PADDING = 16
"""Most bytes between joblib's description of an array and the array; the count is in one byte before them.

As opcodes, the bytes 1 to 16 end a pickle with an error: no unpickler reads the array's bytes as opcodes.
"""

CHUNK = 1 << 16
_TOO_LONG = b"\n"  # in place of an argument that is passed over: no name
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_<][A-Za-z0-9_<>]*)*", re.ASCII)
_RECONSTRUCTORS = {
    ("copyreg", "_reconstructor"),
    ("copy_reg", "_reconstructor"),
}  # protocols 0 and 1 make objects so
_LONG_INDEX = re.compile(rb"[\s0-9_+]*")
_ITEM_TYPE = re.compile(r"([biufcmMSUV])([1-9][0-9]{0,8})", re.ASCII)
_HAS_OBJECTS = 1  # NPY_ITEM_HASOBJECT, NumPy's flag of a type whose items are Python objects
_LENGTHS = {-2: 1, -3: 4, -4: 4, -5: 8}  # pickletools: an argument that says its own length, in so many bytes
_LINE = -1  # pickletools: an argument up to the next newline
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
_BASES = {"dict", "frozenset", "int", "float", "list", "object", "set", "str", "tuple"}
_CONTAINERS = {"EMPTY_LIST", "LIST", "EMPTY_SET", "FROZENSET"}
_TEXTS = {
    "STRING",
    "BINSTRING",
    "SHORT_BINSTRING",
    "UNICODE",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "BINUNICODE8",
}
_GETS, _PUTS = {"GET", "BINGET", "LONG_BINGET"}, {"PUT", "BINPUT", "LONG_BINPUT"}
_INTEGERS = {"BININT": True, "BININT1": False, "BININT2": False, "LONG1": True}  # whether it has a sign
_CONSTANTS: Mapping[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_OPCODES = {ord(one.code): one for one in pickletools.opcodes}

Name = tuple[str, str]
UNKNOWN: Final = ("unknown", "unknown")
"""The name of an import whose module or attribute is no text that Python could import from source."""

OVERFLOW: Final = ("unknown", "beyond the limit")
"""The name of an import that depends on a value that was not kept: it could be anything."""

HIDDEN: Final = ("unknown", "hidden")
"""The name of an import or a call of what only the loading process sees: a text with escapes, the result of a call."""

ARRAY: Final = "NumpyArrayWrapper"
"""The class by which joblib describes the array that follows, under whatever module it is found."""

_MARK: Final = object()
UNSEEN: Final = object()
"""A value that the machine does not follow: bytes, a number."""

CONTAINER: Final = object()
"""A list or a set."""

UNREAD: Final = object()
"""A text that is not kept as it stands: with escapes or other letters, or too long."""

FORGOTTEN: Final = object()
"""A value of the memo that was not kept, or that the unpickler has from an earlier pickle: anything."""


_KINDS = (FORGOTTEN, UNSEEN, UNREAD, CONTAINER)


class NotFollowedError(MalformedError):
    """A pickle that an unpickler reads on where the machine stops: what it imports is not known."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an unpickler finds under a name."""

    name: Name


@dataclass(slots=True)
class PickledObject:
    """An object that an unpickler makes by calling what it found under a name."""

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


@dataclass(slots=True)
class Imports:
    """What one or more pickles import, which of it they call or let others call, and how much was read for it.

    `given`: names that are called with objects of the pickle's making, whose methods they could call.
    """

    names: set[Name] = field(default_factory=set)
    called: set[Name] = field(default_factory=set)
    given: set[Name] = field(default_factory=set)
    opcodes: int = 0
    pickles: int = 0
    has_arrays: bool = False


class Machine:
    """Follows the pickles of one stream, adding what they import to `imports`."""

    def __init__(self, stream: IO[bytes], imports: Imports, *, with_arrays: bool = True) -> None:
        """`with_arrays`: follow joblib's arrays, as its loader does; the pickles inside of them hold none."""
        self._stream = stream
        self._imports = imports
        self._with_arrays = with_arrays
        self._reset()

    def _reset(self) -> None:
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}
        self._kinds = bytearray()
        self._memoized = 0
        self._put = False
        self._lost = False
        self._arrays = False

    def run(self, limit: int | None = None) -> None:
        """Follow pickles to the end of the stream, or `limit` of them.

        Raises MalformedError where the bytes are no pickle, LimitError beyond the limits; what was found stays.
        """
        done = 0
        while (limit is None or done < limit) and (first := self._stream.read(1)):
            self._reset()
            self._one(first)
            done += 1
            self._imports.pickles += 1

    def _one(self, code: bytes) -> None:
        while True:
            self._imports.opcodes += 1
            if self._imports.opcodes > MAX_OPCODES:
                raise LimitError("pickle is too long to inspect", expected=f"at most {MAX_OPCODES} opcodes")
            known = _OPCODES.get(code[0])
            if known is None:
                raise MalformedError("not a pickle", expected="an opcode", got=f"byte 0x{code[0]:02x}")
            argument = self._argument(known)
            if known.name == "STOP":
                self._pop()
                return
            self._step(known, argument)
            code = self._take(1)

    def _step(self, known: pickletools.OpcodeInfo, argument: bytes) -> None:
        name = known.name
        if name in _TEXTS:
            self._stack.append(_text(name, argument))
        elif name in _INTEGERS:
            self._stack.append(int.from_bytes(argument, "little", signed=_INTEGERS[name]))
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            self._stack.append(tuple(reversed([self._pop() for _ in range(_TUPLES[name])])))
        elif name in _GETS or name in _PUTS or name == "MEMOIZE":
            self._remember(name, argument)
        elif name in self._METHODS:
            self._METHODS[name](self, argument)
        else:
            self._effect(known)

    def _mark(self, _: bytes) -> None:
        self._stack.append(_MARK)

    def _pop_opcode(self, _: bytes) -> None:
        self._pop_any()

    def _dup(self, _: bytes) -> None:
        top = self._pop_any()
        self._stack += (top, top)

    def _tuple(self, _: bytes) -> None:
        found = self._above_mark()
        self._stack.append(tuple(found) if len(found) <= MAX_ITEMS else UNSEEN)

    def _empty_dict(self, _: bytes) -> None:
        self._stack.append(PickledItems())

    def _dict(self, _: bytes) -> None:
        self._fill(self._above_mark(), PickledItems())

    def _set_item(self, _: bytes) -> None:
        value, key = self._pop(), self._pop()
        self._fill([key, value], self._pop())

    def _set_items(self, _: bytes) -> None:
        found = self._above_mark()
        self._fill(found, self._pop())

    def _fill(self, found: list[object], target: object) -> None:
        if isinstance(target, PickledItems):
            for at in range(0, len(found) - 1, 2):
                target.put(found[at], found[at + 1])
        self._stack.append(_unfinished(target))

    def _append(self, _: bytes) -> None:
        self._pop()
        self._stack.append(_unfinished(self._pop()))

    def _append_all(self, _: bytes) -> None:
        self._above_mark()
        self._stack.append(_unfinished(self._pop()))

    def _global(self, argument: bytes) -> None:
        module, attribute = argument.split(b"\n")[:2]
        self._import(_line_name(module), _line_name(attribute))

    def _instance(self, argument: bytes) -> None:
        arguments = tuple(self._above_mark()[:MAX_ITEMS])
        self._global(argument)
        self._call(self._pop(), arguments)

    def _stack_global(self, _: bytes) -> None:
        attribute, module = self._pop(), self._pop()
        self._import(module, attribute)

    def _extension(self, _: bytes) -> None:
        self._import(UNSEEN, UNSEEN)  # a number that only the loading process can resolve

    def _reduce(self, _: bytes) -> None:
        arguments, function = self._pop(), self._pop()
        self._call(function, arguments)

    def _new(self, _: bytes) -> None:
        arguments, made_by = self._pop(), self._pop()
        if self._arrays and _is_array(made_by):
            self._stack.append(PickledObject(made_by, arguments))
        else:
            self._call(made_by, arguments, is_new=True)

    def _new_with_names(self, _: bytes) -> None:
        named, arguments, made_by = self._pop(), self._pop(), self._pop()
        self._call(made_by, (arguments, named), is_new=True)

    def _object(self, _: bytes) -> None:
        found = self._above_mark()
        if not found:
            raise MalformedError("pickle takes from an empty stack")
        self._call(found[0], tuple(found[1 : MAX_ITEMS + 1]))

    def _call(self, function: object, arguments: object, *, is_new: bool = False) -> None:
        """Push what a call returns. A call of what no name was found for counts as an unknown import.

        `is_new`: an object is made of a class without its constructor. The class of array descriptions may only be made
        by NEWOBJ: nothing else may get hold of it.
        """
        if not isinstance(function, Imported):
            self._found(HIDDEN if isinstance(function, PickledObject) or function is FORGOTTEN else UNKNOWN)
        elif function.name not in _RECONSTRUCTORS:
            if not is_new:
                self._imports.called.add(function.name)
                self._give(function.name, arguments)
            self._imports.called.update(one.name for one in _within(arguments) if isinstance(one, Imported))
        elif not _makes_object(arguments):
            self._imports.given.add(function.name)
            self._imports.called.update(one.name for one in _within(arguments) if isinstance(one, Imported))
        if self._arrays and (
            _is_array(function) or any(_is_unknown(one) or _is_array(one) for one in _within(arguments))
        ):
            raise MalformedError("array of joblib cannot be followed", expected="its class made by NEWOBJ")
        by_class = is_new or (isinstance(function, Imported) and function.name in _RECONSTRUCTORS)
        self._stack.append(PickledObject(function, arguments, is_instance=by_class))

    def _give(self, name: Name, arguments: object) -> None:
        """Note a call of a name with objects whose methods it could call, or with lists and dictionaries of such."""
        if name == _REBUILD:  # calls its first argument with those in the third
            known = arguments if isinstance(arguments, tuple) and len(arguments) == 4 else (None,) * 4
            if not isinstance(known[0], Imported) or not isinstance(known[2], tuple):
                self._imports.given.add(name)
                return
            self._give(known[0].name, known[2])
        keeps = (
            name in _KEEPERS or name == _REBUILD or name[0] == "torch._utils" or name[1].startswith(_CYTHON)
        )
        if not _is_plain(arguments, containers=keeps):
            self._imports.given.add(name)

    def _build(self, _: bytes) -> None:
        state, target = self._pop(), self._pop()
        if self._arrays and not isinstance(target, PickledObject):
            raise MalformedError("array of joblib cannot be followed", expected="the state of an object")
        if not isinstance(target, PickledObject):
            raise NotFollowedError("pickle gives a state to what it did not make")
        is_array = self._arrays and _is_array(target.by)
        if target.has_state and (is_array or _is_type(target)):
            raise MalformedError("array of joblib cannot be followed", expected="one state for each object")
        _unfinished(target)
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)  # attributes and slots
        if any(not isinstance(one, tuple) and not _is_plain(one, containers=True) for one in parts):
            raise NotFollowedError("pickle gives an object another object for a state")
        target.state, target.has_state = state, True
        if is_array:
            self._array(state)
            self._stack.append(UNSEEN)
        else:
            self._stack.append(target)

    def _array(self, state: object) -> None:
        """Pass over the array that joblib wrote behind its description; raises MalformedError if it cannot be computed."""
        items = state.items if isinstance(state, PickledItems) else None
        shape, size, alignment = _described(items or {})
        if size is None:
            Machine(self._stream, self._imports, with_arrays=False).run(
                1
            )  # an array of objects is a pickle of its own
            return
        if alignment is None:
            raise MalformedError(
                "array of joblib has no padding",
                expected="joblib 1.2 or newer",
                help="write it again with joblib",
            )
        padding = self._take(1)[0]
        if not 0 < padding <= MAX_PADDING:
            raise MalformedError("array of joblib is not aligned", expected="1 to 16 bytes", got=str(padding))
        self._pass(padding + math.prod(shape) * size)

    def _remember(self, name: str, argument: bytes) -> None:
        if name == "MEMOIZE":
            self._memoized += 1
            self._store(self._memoized - 1)
            return
        index = _index(name, argument)
        if name in _GETS:
            kind = self._kinds[index] if index < len(self._kinds) else 0
            self._stack.append(self._memo.get(index, _KINDS[kind]))
        else:
            self._put = True
            self._store(index)

    def _store(self, index: int) -> None:
        if self._put and self._memoized:
            raise NotFollowedError("pickle fills its memo in two ways at once")
        if not self._stack:
            raise MalformedError("pickle takes from an empty stack")
        top = self._stack[-1]
        self._memo.pop(index, None)
        kind = _KINDS.index(top) if _is_unknown(top) else 0
        if index < MAX_OPCODES:
            self._kinds.extend(bytes(max(index + 1 - len(self._kinds), 0)))
            self._kinds[index] = kind
        if kind:
            return
        if len(self._memo) < MAX_REMEMBERED:
            self._memo[index] = top
        else:
            self._lost = True

    def _effect(self, known: pickletools.OpcodeInfo) -> None:
        """Do what the opcode does to the stack's height; results are not seen."""
        before = list(known.stack_before)
        if pickletools.markobject in before:
            self._above_mark()
            del before[before.index(pickletools.markobject) :]
        for _ in before:
            self._pop()
        after = CONTAINER if known.name in _CONTAINERS else UNSEEN
        self._stack.extend([after] * len(known.stack_after))

    def _above_mark(self) -> list[object]:
        found = []
        while (top := self._pop_any()) is not _MARK:
            found.append(top)
        found.reverse()
        return found

    def _pop(self) -> object:
        top = self._pop_any()
        if top is _MARK:
            raise MalformedError("pickle takes a mark for a value")
        return top

    def _pop_any(self) -> object:
        if not self._stack:
            raise MalformedError("pickle takes from an empty stack")
        return self._stack.pop()

    def _import(self, module: object, attribute: object) -> None:
        if isinstance(module, str) and isinstance(attribute, str):
            name: Name = (module, attribute)
        elif self._lost:
            name = OVERFLOW
        else:
            name = HIDDEN if _could_be_text(module) and _could_be_text(attribute) else UNKNOWN
        self._found(name)
        found = Imported(name)
        self._arrays = self._arrays or (self._with_arrays and _is_array(found))
        self._imports.has_arrays |= self._arrays
        self._stack.append(found)
        if self._arrays and self._lost:
            raise LimitError("pickle has too many values to follow", expected=f"at most {MAX_REMEMBERED}")

    def _found(self, name: Name) -> None:
        self._imports.names.add(name)
        if len(self._imports.names) > MAX_GLOBALS:
            raise LimitError("pickle imports too many names", expected=f"at most {MAX_GLOBALS}")

    def _argument(self, known: pickletools.OpcodeInfo) -> bytes:
        """Return the argument, or as much of its start as could matter."""
        if known.arg is None:
            return b""
        width = known.arg.n
        if known.name in {"GLOBAL", "INST"}:
            return self._line() + b"\n" + self._line()
        if width == _LINE:
            return self._line()
        if width >= 0:
            return self._take(width)
        length = int.from_bytes(self._take(_LENGTHS[width]), "little")
        if known.name == "LONG1" or (known.name in _TEXTS and length <= MAX_LINE):
            return self._take(length)
        self._pass(length)
        return _TOO_LONG

    def _line(self) -> bytes:
        line = self._stream.readline(MAX_LINE)
        start = line
        while line and not line.endswith(b"\n"):
            line = self._stream.readline(CHUNK)
        if not line:
            raise MalformedError("pickle ends too early")
        return start.removesuffix(b"\n")

    def _take(self, count: int) -> bytes:
        data = self._stream.read(count) if count else b""
        if len(data) != count:
            raise MalformedError("pickle ends too early")
        return data

    def _pass(self, count: int) -> None:
        while count > 0:
            data = self._stream.read(min(count, CHUNK))
            if not data:
                raise MalformedError("pickle ends too early")
            count -= len(data)

    _METHODS: Mapping[str, Callable[[Machine, bytes], None]] = {
        "MARK": _mark,
        "POP": _pop_opcode,
        "DUP": _dup,
        "TUPLE": _tuple,
        "EMPTY_DICT": _empty_dict,
        "DICT": _dict,
        "SETITEM": _set_item,
        "SETITEMS": _set_items,
        "APPEND": _append,
        "APPENDS": _append_all,
        "ADDITEMS": _append_all,
        "GLOBAL": _global,
        "INST": _instance,
        "STACK_GLOBAL": _stack_global,
        "EXT1": _extension,
        "EXT2": _extension,
        "EXT4": _extension,
        "REDUCE": _reduce,
        "NEWOBJ": _new,
        "NEWOBJ_EX": _new_with_names,
        "OBJ": _object,
        "BUILD": _build,
    }


def _unfinished(target: object) -> object:
    """Return what an opcode changes; raises NotFollowedError if it is an import, or an object that has its state.

    An object with a state has attributes of the pickle's choice, and an unpickler would call them as its methods.
    """
    if (
        isinstance(target, Imported)
        or target is FORGOTTEN
        or (isinstance(target, PickledObject) and target.has_state)
    ):
        raise NotFollowedError("pickle changes what it has imported or finished")
    return target


def _has_attributes(value: PickledObject) -> bool:
    """Tell whether the object could have attributes of the pickle's choice. NumPy's own have none."""
    by = value.by.name[0] if isinstance(value.by, Imported) else ""
    return value.is_instance or (value.has_state and by.partition(".")[0] != "numpy")


def _is_plain(arguments: object, *, containers: bool) -> bool:
    """Tell whether no argument has attributes of the pickle's choice; `containers`: nor is a list, set or dictionary."""
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


def _makes_object(arguments: object) -> bool:
    """Tell whether `_reconstructor` is given a class, and one of Python's own to make it by."""
    if not isinstance(arguments, tuple) or len(arguments) != 3:
        return False
    base = arguments[1]
    return (
        isinstance(base, Imported) and base.name[0] in {"builtins", "__builtin__"} and base.name[1] in _BASES
    )


def _is_unknown(value: object) -> bool:
    return any(value is one for one in _KINDS)


def _could_be_text(value: object) -> bool:
    return isinstance(value, str | PickledObject | Imported) or value is UNREAD or value is FORGOTTEN


def _is_array(value: object) -> bool:
    return isinstance(value, Imported) and value.name[1].rpartition(".")[2] == ARRAY


def _within(arguments: object) -> Iterator[object]:
    """Yield the arguments of a call, those in tuples too; UNSEEN for what is not kept, or beyond MAX_ITEMS."""
    left, count = [arguments], 0
    while left and count <= MAX_ITEMS:
        count += 1
        one = left.pop()
        if isinstance(one, tuple):
            left.extend(one)
        elif not _is_unknown(one) or one is arguments:
            yield one
    if left:
        yield UNSEEN


def _is_type(value: object) -> bool:
    return (
        isinstance(value, PickledObject)
        and isinstance(value.by, Imported)
        and value.by.name == ("numpy", "dtype")
    )


def _described(items: Mapping[str, object]) -> tuple[tuple[int, ...], int | None, int | None]:
    """Return shape, bytes of an item (None for objects) and alignment (None if there is none) of an array of joblib."""
    shape, alignment = items.get("shape"), items.get("numpy_array_alignment_bytes")
    if not isinstance(shape, tuple):
        raise MalformedError(
            "array of joblib cannot be followed", expected="a shape", got=type(shape).__name__
        )
    sizes = [one for one in shape if isinstance(one, int) and one >= 0]
    if len(sizes) != len(shape):
        raise MalformedError("array of joblib cannot be followed", expected="sizes in its shape")
    if not isinstance(alignment, int | None) or isinstance(alignment, bool):
        raise MalformedError("array of joblib cannot be followed", expected="an alignment")
    return tuple(sizes), _item_size(items.get("dtype")), alignment


def _item_size(kind: object, depth: int = 0) -> int | None:
    """Return the size in bytes of an item of a NumPy type, None for objects.

    Raises MalformedError for a type whose arguments and state (`numpy.dtype.__reduce__`) do not agree on the size and
    on whether items are objects, and for a structured type with objects.
    """
    arguments, state = (
        (kind.arguments, kind.state) if isinstance(kind, PickledObject) and _is_type(kind) else ((), ())
    )
    text = arguments[0] if isinstance(arguments, tuple) and arguments else None
    if (
        not isinstance(text, str)
        or not isinstance(state, tuple)
        or len(state) < 8
        or depth > MAX_FIELDS_DEPTH
    ):
        raise MalformedError("array of joblib has a type that cannot be followed")
    subtype, names, fields, size, _, flags = state[2:8]
    if not isinstance(size, int) or not isinstance(flags, int) or subtype is not None:
        raise MalformedError("array of joblib has a type that cannot be followed", got=ascii(text[:40]))
    holds_objects = bool(flags & _HAS_OBJECTS)
    if text == "O8" and holds_objects:
        return None
    found = _ITEM_TYPE.fullmatch(text)
    expected = int(found[2]) * (4 if found[1] == "U" else 1) if found else -1
    if found and found[1] == "V" and isinstance(fields, PickledItems):
        for one in (fields.items or {"": None}).values():
            holds_objects |= not isinstance(one, tuple) or not one or _item_size(one[0], depth + 1) is None
    elif names is not None or fields is not None:
        expected = -1
    if expected < 0 or holds_objects or size not in {-1, expected}:
        raise MalformedError("array of joblib has a type that cannot be followed", got=ascii(text[:40]))
    return expected


def _index(name: str, argument: bytes) -> int:
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


def _text(opcode: str, argument: bytes) -> object:
    """Return the text if it could name something: protocol 0 quotes a STRING, and escapes a UNICODE."""
    if len(argument) >= MAX_LINE:
        return UNREAD
    if opcode == "STRING":
        argument = argument.strip()[1:-1]
    found = _name(argument)
    return UNREAD if found is UNSEEN else found


def _line_name(line: bytes) -> object:
    """Return the name on a line of GLOBAL, UNREAD for one that goes on, UNSEEN for what is no name."""
    if len(line) < MAX_LINE:
        return _name(line)
    return UNSEEN if _name(line.rstrip(b".")) is UNSEEN else UNREAD


def _name(text: bytes) -> object:
    shown = text.decode("ascii", errors="replace")
    return shown if _NAME.fullmatch(shown) else UNSEEN

"""Follow the opcodes of pickles without running them, and collect every name that they import.

A pickle is a program for a stack machine. The machine here keeps the values that decide which names are imported and
where the opcodes continue: texts, integers, tuples, small dictionaries, imported names, and objects that a name was
called for. Everything else is `UNSEEN`. Memory does not grow with the pickle's data: long arguments are passed over.

joblib writes the raw bytes of an array behind the object that describes it. The machine reads the description (shape,
item size, alignment) and continues behind the bytes. A description that it cannot compute is an error.

Opcodes: the standard library's `pickletools`. joblib's format: `joblib.numpy_pickle.NumpyArrayWrapper`.
Does NOT decide which names are allowed (see `pickle_names`).
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from typing import IO, Final

from gitchain.collect.inspect.joblib_arrays import skip_array
from gitchain.collect.inspect.pickle_imports import Imports
from gitchain.collect.inspect.pickle_memo import GETS, MAX_REMEMBERED, PUTS, PickleMemo
from gitchain.collect.inspect.pickle_stream import OpcodeStream
from gitchain.collect.inspect.pickle_values import (
    CONTAINER,
    HIDDEN,
    MAX_ITEMS,
    OVERFLOW,
    TEXTS,
    UNKNOWN,
    UNSEEN,
    Name,
    NotFollowedError,
    PickledItems,
    PickledObject,
    PickleImport,
    arguments_in,
    changeable,
    could_be_text,
    is_array,
    is_plain,
    is_type,
    is_unknown,
    name_on_line,
    text_argument,
)
from gitchain.errors import LimitError, MalformedError

MAX_OPCODES = 5_000_000
"""Most opcodes of one file, about ten seconds: forests of a thousand trees have some 200,000."""

_CONTAINERS = {"EMPTY_LIST", "LIST", "EMPTY_SET", "FROZENSET"}
_INTEGERS = {"BININT": True, "BININT1": False, "BININT2": False, "LONG1": True}  # whether it has a sign
_CONSTANTS: Mapping[str, object] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK: Final = object()


class PickleMachine:
    """Follows the pickles of one stream, and adds the imported names to `imports`."""

    def __init__(self, stream: IO[bytes], imports: Imports, *, with_arrays: bool = True) -> None:
        """`with_arrays`: follow joblib's arrays, as its loader does; the pickles inside of them hold none."""
        self._stream = OpcodeStream(stream)
        self._imports = imports
        self._with_arrays = with_arrays
        self._reset()

    def _reset(self) -> None:
        self._stack: list[object] = []
        self._memo = PickleMemo()
        self._arrays = False

    def run(self, limit: int | None = None) -> None:
        """Follow pickles to the end of the stream, or `limit` of them.

        Raises MalformedError where the bytes are no pickle, LimitError beyond the limits; what was found stays.
        """
        done = 0
        while (limit is None or done < limit) and (first := self._stream.first_byte()):
            self._reset()
            self._one(first)
            done += 1
            self._imports.pickles += 1

    def _one(self, code: bytes) -> None:
        while True:
            self._imports.opcodes += 1
            if self._imports.opcodes > MAX_OPCODES:
                raise LimitError("pickle is too long to inspect", expected=f"at most {MAX_OPCODES} opcodes")
            known = self._stream.opcode(code)
            argument = self._stream.argument(known)
            if known.name == "STOP":
                self._pop()
                return
            self._step(known, argument)
            code = self._stream.take(1)

    def _step(self, known: pickletools.OpcodeInfo, argument: bytes) -> None:
        name = known.name
        if name in TEXTS:
            self._stack.append(text_argument(name, argument))
        elif name in _INTEGERS:
            self._stack.append(int.from_bytes(argument, "little", signed=_INTEGERS[name]))
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in _TUPLES:
            self._stack.append(tuple(reversed([self._pop() for _ in range(_TUPLES[name])])))
        elif name in GETS or name in PUTS or name == "MEMOIZE":
            self._memo.apply(name, argument, self._stack)
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
        self._stack.append(changeable(target))

    def _append(self, _: bytes) -> None:
        self._pop()
        self._stack.append(changeable(self._pop()))

    def _append_all(self, _: bytes) -> None:
        self._above_mark()
        self._stack.append(changeable(self._pop()))

    def _global(self, argument: bytes) -> None:
        module, attribute = argument.split(b"\n")[:2]
        self._import(name_on_line(module), name_on_line(attribute))

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
        if self._arrays and is_array(made_by):
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
        """Push the result of a call, and record the called name.

        The class of array descriptions may only be made by NEWOBJ: nothing else may get hold of it.
        """
        by_class = self._imports.add_call(function, arguments, is_new=is_new)
        if self._arrays and (
            is_array(function) or any(is_unknown(one) or is_array(one) for one in arguments_in(arguments))
        ):
            raise MalformedError("array of joblib cannot be followed", expected="its class made by NEWOBJ")
        self._stack.append(PickledObject(function, arguments, is_instance=by_class))

    def _build(self, _: bytes) -> None:
        state, target = self._pop(), self._pop()
        if self._arrays and not isinstance(target, PickledObject):
            raise MalformedError("array of joblib cannot be followed", expected="the state of an object")
        if not isinstance(target, PickledObject):
            raise NotFollowedError("pickle sets the state of an object that it did not make")
        describes_array = self._arrays and is_array(target.by)
        if target.has_state and (describes_array or is_type(target)):
            raise MalformedError("array of joblib cannot be followed", expected="one state for each object")
        changeable(target)
        parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)  # attributes and slots
        if any(not isinstance(one, tuple) and not is_plain(one, containers=True) for one in parts):
            raise NotFollowedError("pickle gives an object another object for a state")
        target.state, target.has_state = state, True
        if describes_array:
            if skip_array(self._stream, state.items if isinstance(state, PickledItems) else None):
                PickleMachine(self._stream.source, self._imports, with_arrays=False).run(
                    1
                )  # an array of objects
            self._stack.append(UNSEEN)
        else:
            self._stack.append(target)

    def _effect(self, known: pickletools.OpcodeInfo) -> None:
        """Apply the opcode's effect on the stack's height; results are UNSEEN."""
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
        elif self._memo.overflowed:
            name = OVERFLOW
        else:
            name = HIDDEN if could_be_text(module) and could_be_text(attribute) else UNKNOWN
        self._imports.add(name)
        found = PickleImport(name)
        self._arrays = self._arrays or (self._with_arrays and is_array(found))
        self._imports.has_arrays |= self._arrays
        self._stack.append(found)
        if self._arrays and self._memo.overflowed:
            raise LimitError("pickle has too many values to follow", expected=f"at most {MAX_REMEMBERED}")

    _METHODS: Mapping[str, Callable[[PickleMachine, bytes], None]] = {
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

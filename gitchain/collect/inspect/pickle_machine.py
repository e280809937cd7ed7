"""Pickles: which names a pickle imports, found by following its stack without running anything.

A pickle is a program for a stack machine. This follows every opcode of every protocol with a stack of unknown values on
which only texts are known, in memory that does not grow with the pickle's data: arguments are passed over, texts are kept
where they could be a module's or an attribute's name. So `STACK_GLOBAL` is resolved as the unpickler would resolve it,
through the memo, and what cannot be resolved is `UNKNOWN`.

Opcodes: the standard library's `pickletools`. Does NOT judge names (see `pickle_names`).
"""

from __future__ import annotations

import pickletools
import re
from dataclasses import dataclass, field
from typing import IO, Final

from gitchain.errors import LimitError, MalformedError

MAX_OPCODES = 5_000_000
"""Most opcodes of one file, about ten seconds: forests of a thousand trees have some 200,000."""

MAX_TEXTS = 200_000
"""Most texts that are kept at once; later ones count as unknown, which is dangerous where a name is needed."""

MAX_GLOBALS = 10_000
MAX_LINE = 4096
"""Longest argument of protocol 0 that could be a name."""

CHUNK = 1 << 16
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_<][A-Za-z0-9_<>]*)*", re.ASCII)
_LENGTHS = {-2: 1, -3: 4, -4: 4, -5: 8}  # pickletools: an argument that says its own length, in so many bytes
_LINE = -1  # pickletools: an argument up to the next newline
_MARK: Final = object()
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
_OPCODES = {ord(one.code): one for one in pickletools.opcodes}

UNKNOWN = ("unknown", "unknown")
"""The name of what cannot be told: it could be anything."""

Name = tuple[str, str]


@dataclass(slots=True)
class Imports:
    """What one or more pickles import, and how much was read for it."""

    names: set[Name] = field(default_factory=set)
    opcodes: int = 0
    pickles: int = 0


class Machine:
    """Follows the pickles of one stream, adding what they import to `imports`."""

    def __init__(self, stream: IO[bytes], imports: Imports) -> None:
        self._stream = stream
        self._imports = imports
        self._stack: list[object] = []
        self._memo: dict[int, str] = {}
        self._memoized = 0
        self._put = False

    def run(self, limit: int | None = None) -> None:
        """Follow pickles to the end of the stream, or `limit` of them.

        Raises MalformedError where the bytes are no pickle, LimitError beyond the limits; what was found stays.
        """
        done = 0
        while (limit is None or done < limit) and (first := self._stream.read(1)):
            self._stack, self._memo, self._memoized, self._put = [], {}, 0, False
            self._one(first)
            done += 1
            self._imports.pickles += 1

    def _one(self, code: bytes) -> None:
        while True:
            self._imports.opcodes += 1
            if self._imports.opcodes > MAX_OPCODES:
                raise LimitError(
                    "pickle is too long to look through", expected=f"at most {MAX_OPCODES} opcodes"
                )
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
        elif name in {"GLOBAL", "INST"}:
            self._effect(known)
            self._import(*argument.split(b"\n")[:2])
        elif name == "STACK_GLOBAL":
            attribute, module = self._pop(), self._pop()
            self._name(module, attribute)
            self._stack.append(None)
        elif name in {"EXT1", "EXT2", "EXT4"}:
            self._name(None, None)  # a number that only the loading process can resolve
            self._stack.append(None)
        elif name in _GETS or name in _PUTS or name == "MEMOIZE":
            self._remember(name, argument)
        elif name in {"MARK", "POP", "DUP"}:
            self._shuffle(name)
        else:
            self._effect(known)

    def _shuffle(self, name: str) -> None:
        if name == "MARK":
            self._stack.append(_MARK)
        elif not self._stack:
            raise MalformedError("pickle takes from an empty stack")
        elif name == "POP":
            self._stack.pop()
        else:
            self._stack.append(self._stack[-1])

    def _remember(self, name: str, argument: bytes) -> None:
        if name == "MEMOIZE":
            self._memoized += 1
            self._store(self._memoized - 1)
            return
        index = _index(name, argument)
        if name in _GETS:
            self._stack.append(self._memo.get(index))
        else:
            self._put = True
            self._store(index)

    def _store(self, index: int) -> None:
        if self._put and self._memoized:
            raise MalformedError(
                "pickle fills its memo in two ways at once"
            )  # the index would depend on the reader
        if not self._stack:
            raise MalformedError("pickle takes from an empty stack")
        top = self._stack[-1]
        self._memo.pop(index, None)
        if isinstance(top, str) and len(self._memo) < MAX_TEXTS:
            self._memo[index] = top

    def _effect(self, known: pickletools.OpcodeInfo) -> None:
        """Do what the opcode does to the stack's height; results are unknown."""
        before = list(known.stack_before)
        if pickletools.markobject in before:
            while self._pop_any() is not _MARK:
                pass
            del before[before.index(pickletools.markobject) :]
        for _ in before:
            self._pop()
        self._stack.extend([None] * len(known.stack_after))

    def _pop(self) -> object:
        top = self._pop_any()
        if top is _MARK:
            raise MalformedError("pickle takes a mark for a value")
        return top

    def _pop_any(self) -> object:
        if not self._stack:
            raise MalformedError("pickle takes from an empty stack")
        return self._stack.pop()

    def _import(self, module: bytes, attribute: bytes) -> None:
        self._name(_name(module), _name(attribute))

    def _name(self, module: object, attribute: object) -> None:
        known = isinstance(module, str) and isinstance(attribute, str)
        self._imports.names.add((str(module), str(attribute)) if known else UNKNOWN)
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
        if known.name in _TEXTS and length <= MAX_LINE:
            return self._take(length)
        self._pass(length)
        return b""

    def _line(self) -> bytes:
        line = self._stream.readline(MAX_LINE)
        start = line
        while line and not line.endswith(b"\n"):
            line = self._stream.readline(CHUNK)
        if not line:
            raise MalformedError("pickle ends too early")
        return start[:-1] if start is line else b""

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


def _index(name: str, argument: bytes) -> int:
    if name not in {"GET", "PUT"}:
        return int.from_bytes(argument, "little")
    if re.fullmatch(rb"[0-9]{1,18}", argument) is None:
        raise MalformedError("pickle has a malformed memo index", got=ascii(argument[:40]))
    return int(argument)


def _text(opcode: str, argument: bytes) -> str | None:
    """Return the text if it could name something: protocol 0 quotes a STRING, and escapes a UNICODE."""
    if opcode == "STRING":
        argument = argument.strip()[1:-1]
    return _name(argument)


def _name(text: bytes) -> str | None:
    shown = text.decode("ascii", errors="replace")
    return shown if _NAME.fullmatch(shown) else None

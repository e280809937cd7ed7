"""The memo of a pickle: values that it stored, by number, with a bound on how many are kept."""

from __future__ import annotations

from gitchain.collect.inspect.pickle_values import KINDS, NotFollowedError, is_unknown, memo_index
from gitchain.errors import MalformedError

MAX_REMEMBERED = 200_000
"""Most values of the memo that are kept; a name that is built from a later one is OVERFLOW."""

MAX_INDEX = 5_000_000
"""Indices from here on are not kept: a pickle that reads one gets FORGOTTEN. No pickle has more opcodes than this."""

GETS = {"GET", "BINGET", "LONG_BINGET"}
PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}


class PickleMemo:
    """The values that a pickle stored. A value that is not followed takes one byte: its index in KINDS."""

    def __init__(self) -> None:
        self._values: dict[int, object] = {}
        self._kinds = bytearray()
        self._memoized = 0
        self._has_puts = False
        self.overflowed = False
        """Whether a value was left out because there were MAX_REMEMBERED."""

    def apply(self, name: str, argument: bytes, stack: list[object]) -> None:
        """Store the top of the stack, or push a stored value, as the opcode demands.

        Raises MalformedError for a malformed index or an empty stack, NotFollowedError for MEMOIZE and PUT in one pickle.
        """
        if name == "MEMOIZE":
            self._memoized += 1
            self._store(self._memoized - 1, stack)
            return
        index = memo_index(name, argument)
        if name in GETS:
            kind = self._kinds[index] if index < len(self._kinds) else 0
            stack.append(self._values.get(index, KINDS[kind]))
        else:
            self._has_puts = True
            self._store(index, stack)

    def _store(self, index: int, stack: list[object]) -> None:
        if self._has_puts and self._memoized:
            raise NotFollowedError("pickle fills its memo in two ways at once")
        if not stack:
            raise MalformedError("pickle takes from an empty stack")
        top = stack[-1]
        self._values.pop(index, None)
        kind = KINDS.index(top) if is_unknown(top) else 0
        if index < MAX_INDEX:
            self._kinds.extend(bytes(max(index + 1 - len(self._kinds), 0)))
            self._kinds[index] = kind
        if kind:
            return
        if len(self._values) < MAX_REMEMBERED:
            self._values[index] = top
        else:
            self.overflowed = True

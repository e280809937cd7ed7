"""Check that the graphs of a TensorFlow `saved_model.pb` use only known operations.

A graph is a program. Most operations compute; some read, write and send, or call Python. Each operation must be one that
`frameworks/tensorflow.json` lists, one that `allow` names, or a function of the model itself.

SavedModels save and restore themselves with `SaveV2` and `RestoreV2`, whose file names the graph computes: they are listed.
Format: tensorflow/core/protobuf/saved_model.proto, meta_graph.proto; framework/graph.proto, function.proto.
Does NOT look at weights, assets or signatures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gitchain.collect.inspect.cursor import Cursor
from gitchain.collect.inspect.frameworks import names_of
from gitchain.collect.inspect.problem import ModelProblem, shown
from gitchain.collect.inspect.source import ModelFile
from gitchain.errors import LimitError, MalformedError

MAX_FIELDS = 5_000_000
"""Most fields that are read."""

MAX_TEXT = 4096
MAX_SHOWN = 20
_WIDTHS = {1: 8, 5: 4}  # wire types of fixed size, in bytes
_BYTES = 2

PATHS: Mapping[str, Mapping[int, str]] = {
    "saved model": {2: "meta graph"},
    "meta graph": {2: "graph"},
    "graph": {1: "node", 2: "library"},
    "library": {1: "function"},
    "function": {1: "signature", 3: "node"},
    "signature": {1: "function name"},
    "node": {2: "operation"},
}
"""The messages on a way to an operation: field number to what it holds."""


def check_savedmodel(source: ModelFile, allow: Sequence[str]) -> tuple[ModelProblem, ...]:
    """Return the operations of a `saved_model.pb` that are not allowed; other files of the directory have no problem."""
    if not source.name.endswith(".pb") or source.name.rpartition("/")[2] == "fingerprint.pb":
        return ()
    walk = _SavedModelWalk(Cursor(source))
    walk.message("saved model", source.size)
    if not walk.graphs:
        raise MalformedError("not a SavedModel", expected="a graph")
    allowed = {name for _, name in names_of("tensorflow")} | walk.functions | set(allow)
    return tuple(
        ModelProblem(
            "SavedModel has an operation that the layout does not allow",
            source.name,
            expected="an operation that computes, or one under allow",
            got=shown(name),
        )
        for name in sorted(walk.operations - allowed)[:MAX_SHOWN]
    )


@dataclass(slots=True)
class _SavedModelWalk:
    cursor: Cursor
    fields: int = 0
    graphs: int = 0
    operations: set[str] = field(default_factory=set)
    functions: set[str] = field(default_factory=set)

    def message(self, name: str, end: int) -> None:
        """Walk one message up to `end`."""
        self.graphs += name == "graph"
        for number, length in self._fields(end):
            below = PATHS[name].get(number)
            stop = self.cursor.at + length
            if below in {"operation", "function name"}:
                text = self.cursor.take(length, below, MAX_TEXT).decode("utf-8", errors="replace")
                (self.operations if below == "operation" else self.functions).add(text)
            elif below:
                self.message(below, stop)
            self.cursor.at = stop

    def _fields(self, end: int) -> Iterator[tuple[int, int]]:
        """Yield number and length of each field that holds bytes; pass over the others."""
        while self.cursor.at < end:
            self.fields += 1
            if self.fields > MAX_FIELDS:
                raise LimitError("SavedModel has too many fields", expected=f"at most {MAX_FIELDS}")
            number, wire = divmod(self.cursor.varint("SavedModel"), 8)
            if wire == 0:
                self.cursor.varint("SavedModel")
            elif wire in _WIDTHS:
                self.cursor.skip(_WIDTHS[wire], "field")
            elif wire == _BYTES:
                length = self.cursor.varint("SavedModel")
                if length > end - self.cursor.at:
                    raise MalformedError("SavedModel has a field that is longer than its message")
                yield number, length
            else:
                raise MalformedError("SavedModel has a field of an unknown type", got=f"wire type {wire}")
        if self.cursor.at != end:
            raise MalformedError("SavedModel has a message with a wrong length")

"""Check that an ONNX file is one protobuf message of the shape of a model, and names no data outside its own folder.

A model is a `ModelProto`. This walks its fields on the wire, without any ONNX library and without loading a tensor:

1. Every field of a message that is walked has a number and a wire type that the format knows; every length ends inside its
   message; the messages nest at most 64 deep, and are at most a few million.
2. The model has an IR version, a graph and an operator set.
3. A tensor with its data in another file (`external_data`) names it by a relative path without `..`, inside the folder of
   the model. That file is one of those that were verified, and the range of offset and length is inside it.

Only messages on a way to a tensor are walked: model, graph, node, attribute, tensor, sparse tensor, function, training info.
Format: https://github.com/onnx/onnx (onnx/onnx.proto). Does NOT check operators, types or the graph itself.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from gitchain.collect.inspect.cursor import Cursor
from gitchain.collect.inspect.problem import shown
from gitchain.collect.inspect.source import ModelFile
from gitchain.errors import LimitError, MalformedError

MAX_DEPTH = 64
"""Deepest nesting: graphs inside attributes of nodes inside graphs."""

MAX_FIELDS = 2_000_000
"""Most fields that are walked: about fifteen for each node of the largest graphs."""

MAX_TEXT = 4096
"""Longest key, value or location that is read."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LOCATION, EXTERNAL = 14, 1  # TensorProto.data_location = EXTERNAL

Fields = Mapping[int, tuple[tuple[int, ...], str]]
_TEXT, _NUMBER = ((BYTES,), ""), ((VARINT,), "")
_FLOAT, _PACKED = ((FIXED32,), ""), ((VARINT, FIXED32, FIXED64, BYTES), "")


def _message(name: str) -> tuple[tuple[int, ...], str]:
    return (BYTES,), name


MESSAGES: Mapping[str, Fields] = {
    "model": {
        1: _NUMBER, 2: _TEXT, 3: _TEXT, 4: _TEXT, 5: _NUMBER, 6: _TEXT, 7: _message("graph"), 8: _TEXT, 14: _TEXT,
        20: _message("training"), 25: _message("function"), 26: _TEXT,
    },
    "graph": {
        1: _message("node"), 2: _TEXT, 5: _message("tensor"), 10: _TEXT, 11: _TEXT, 12: _TEXT, 13: _TEXT, 14: _TEXT,
        15: _message("sparse"), 16: _TEXT,
    },
    "node": {
        1: _TEXT, 2: _TEXT, 3: _TEXT, 4: _TEXT, 5: _message("attribute"), 6: _TEXT, 7: _TEXT, 8: _TEXT, 9: _TEXT, 10: _TEXT,
    },
    "attribute": {
        1: _TEXT, 2: _FLOAT, 3: _NUMBER, 4: _TEXT, 5: _message("tensor"), 6: _message("graph"), 7: _PACKED, 8: _PACKED,
        9: _TEXT, 10: _message("tensor"), 11: _message("graph"), 13: _TEXT, 14: _TEXT, 15: _TEXT, 20: _NUMBER, 21: _TEXT,
        22: _message("sparse"), 23: _message("sparse"),
    },
    "tensor": {
        1: _PACKED, 2: _NUMBER, 3: _TEXT, 4: _PACKED, 5: _PACKED, 6: _TEXT, 7: _PACKED, 8: _TEXT, 9: _TEXT, 10: _PACKED,
        11: _PACKED, 12: _TEXT, 13: _message("pair"), 14: _NUMBER, 16: _TEXT,
    },
    "sparse": {1: _message("tensor"), 2: _message("tensor"), 3: _PACKED},
    "function": {
        1: _TEXT, 4: _TEXT, 5: _TEXT, 6: _TEXT, 7: _message("node"), 8: _TEXT, 9: _TEXT, 10: _TEXT,
        11: _message("attribute"), 12: _TEXT, 13: _TEXT, 14: _TEXT,
    },
    "training": {1: _message("graph"), 2: _message("graph"), 3: _TEXT, 4: _TEXT},
    "pair": {1: _TEXT, 2: _TEXT},
}  # fmt: skip
"""The messages that are walked: field number to allowed wire types and, for a message, which one."""


@dataclass(frozen=True, slots=True)
class OnnxModel:
    """The files that may hold external data of one model: the folder's files, by path, with their sizes."""

    folder: str
    files: Mapping[str, int]


@dataclass(slots=True)
class _OnnxWalk:
    cursor: Cursor
    model: OnnxModel
    fields: int = 0

    def message(self, name: str, end: int, depth: int) -> set[int]:
        """Walk one message up to `end`; return the numbers of its fields."""
        if depth > MAX_DEPTH:
            raise LimitError("ONNX messages nest too deeply", expected=f"at most {MAX_DEPTH} levels")
        numbers: set[int] = set()
        pairs: dict[str, str] = {}
        external = False
        for number, wire in self._fields(name, end):
            numbers.add(number)
            below = MESSAGES[name][number][1]
            if wire != BYTES:
                value = self._number(wire)
                external |= (name, number, value) == ("tensor", LOCATION, EXTERNAL)
                continue
            stop = self._length(end, name)
            if below == "pair":
                self._pair(stop, pairs)
            elif below:
                self.message(below, stop, depth + 1)
            self.cursor.at = stop
        if pairs or external:
            self._check_external(pairs)
        return numbers

    def _fields(self, name: str, end: int) -> Iterator[tuple[int, int]]:
        while self.cursor.at < end:
            self.fields += 1
            if self.fields > MAX_FIELDS:
                raise LimitError("ONNX model has too many fields", expected=f"at most {MAX_FIELDS}")
            number, wire = divmod(self.cursor.varint("ONNX"), 8)
            known = MESSAGES[name].get(number)
            if known is None or wire not in known[0]:
                raise MalformedError(
                    f"ONNX {name} has a field that the format does not know",
                    got=f"field {number}, wire type {wire}",
                )
            yield number, wire
        if self.cursor.at != end:
            raise MalformedError(f"ONNX {name} does not end at its declared length")

    def _number(self, wire: int) -> int:
        if wire == VARINT:
            return self.cursor.varint("ONNX")
        return self.cursor.number(8 if wire == FIXED64 else 4, "number")

    def _length(self, end: int, name: str) -> int:
        length = self.cursor.varint("ONNX")
        if length > end - self.cursor.at:
            raise MalformedError(
                f"ONNX {name} has a field that is longer than itself",
                expected=f"at most {end - self.cursor.at} bytes",
                got=str(length),
            )
        return self.cursor.at + length

    def _pair(self, end: int, pairs: dict[str, str]) -> None:
        texts = {1: "", 2: ""}
        for number, _ in self._fields("pair", end):
            stop = self._length(end, "pair")
            data = self.cursor.take(stop - self.cursor.at, "external data", MAX_TEXT)
            try:
                texts[number] = data.decode("utf-8")
            except UnicodeDecodeError as error:
                raise MalformedError("ONNX external data is not UTF-8", got=shown(data)) from error
        if texts[1] in pairs:
            raise MalformedError("ONNX external data names something twice", got=shown(texts[1]))
        pairs[texts[1]] = texts[2]

    def _check_external(self, pairs: Mapping[str, str]) -> None:
        location = pairs.get("location", "")
        parts = location.split("/")
        if (
            not location
            or "\\" in location
            or "\0" in location
            or ":" in parts[0]
            or {"", ".", ".."} & set(parts)
        ):
            raise MalformedError(
                "ONNX external data is outside of the model's folder",
                expected="a relative path inside it",
                got=shown(location),
            )
        path = posixpath.join(self.model.folder, location)
        size = self.model.files.get(path)
        if size is None:
            raise MalformedError(
                "ONNX external data is in a file that was not verified",
                got=shown(location),
                help="track the model's whole folder as one artifact",
            )
        offset, length = _integer(pairs, "offset"), _integer(pairs, "length")
        if offset + length > size:
            raise MalformedError(
                "ONNX external data ends after the end of its file",
                where=shown(location),
                expected=f"{size} bytes",
                got=str(offset + length),
            )


def check_onnx(source: ModelFile, model: OnnxModel) -> None:
    """Raise MalformedError or LimitError for the first thing that is wrong with the file."""
    walk = _OnnxWalk(Cursor(source), model)
    found = walk.message("model", source.size, 0)
    missing = [
        what
        for number, what in ((1, "an IR version"), (7, "a graph"), (8, "an operator set"))
        if number not in found
    ]
    if missing:
        raise MalformedError("not an ONNX model", expected=" and ".join(missing))


def _integer(pairs: Mapping[str, str], name: str) -> int:
    text = pairs.get(name, "0")
    if re.fullmatch(r"[0-9]{1,18}", text, re.ASCII) is None:
        raise MalformedError(f"ONNX external data has a malformed {name}", got=shown(text))
    return int(text)

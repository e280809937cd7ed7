"""Safetensors, GGUF and ONNX: whole files pass, every kind of lie is a problem, no bytes raise anything else."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gitchain.collect.inspect import Kind
from tests.support import model_files
from tests.support.model_files import (
    GGUF_PAIRS,
    RAW,
    external,
    gguf,
    look,
    message,
    number,
    onnx,
    pair,
    safetensors,
    tensor,
    text,
    varint,
    whats,
)

GOLDENS: dict[Kind, bytes] = {"safetensors": safetensors(), "gguf": gguf(), "onnx": onnx()}
HEADERS: dict[Kind, int] = {"safetensors": 24, "gguf": 64, "onnx": 0}
"""Bytes at the end that are data, of which nothing is said."""

kinds = pytest.mark.parametrize("kind", GOLDENS)


@kinds
def test_a_whole_file_passes(kind: Kind) -> None:
    """The golden file of each format has no problem."""
    assert look(GOLDENS[kind], kind) == ()


@kinds
def test_every_truncation_is_a_problem(kind: Kind) -> None:
    """No beginning of a file is a file, the empty one neither."""
    data = GOLDENS[kind]
    padding = {"gguf": 32 - 18}.get(kind, 0)  # the last tensor's padding may be left out
    missed = [end for end in range(len(data)) if not look(data[:end], kind)]
    assert missed == list(range(len(data) - padding, len(data)))


@kinds
def test_no_change_of_a_byte_raises(kind: Kind) -> None:
    """Each byte set to several values: problems or none, never an exception."""
    data = GOLDENS[kind]
    for at in range(len(data) - HEADERS[kind]):
        for value in (0, 0x22, 0x7F, 0x80, 0xFF, data[at] ^ 1):
            look(data[:at] + bytes([value]) + data[at + 1 :], kind)


@kinds
@settings(max_examples=150, deadline=None)
@given(data=st.binary(max_size=300), at=st.integers(0, 400))
def test_no_bytes_raise(kind: Kind, data: bytes, at: int) -> None:
    """Any bytes, spliced into a whole file: problems or none, never an exception."""
    golden = GOLDENS[kind]
    look(golden[:at] + data + golden[at:], kind)


@kinds
def test_appended_bytes_are_a_problem(kind: Kind) -> None:
    """Nothing hides behind the end."""
    assert look(GOLDENS[kind] + bytes(64), kind)


def st_tensor(**change: Any) -> dict[str, Any]:
    return {"weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]} | change}


def test_the_smallest_safetensors_file_passes() -> None:
    """A file without a tensor, with spaces behind the header, and a scalar of no dimensions."""
    assert look(safetensors(b"{}      ", b""), "safetensors") == ()
    scalar = {"s": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}
    assert look(safetensors(scalar, bytes(4)), "safetensors") == ()
    packed = {"f": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}
    assert look(safetensors(packed, bytes(1)), "safetensors") == ()


@pytest.mark.parametrize(
    ("data", "what"),
    {
        "2^63 header": (struct.pack("<Q", 1 << 63) + b"{}", "longer than the file"),
        "own header": (struct.pack("<Q", 3) + b"{}", "longer than the file"),
        "array": (safetensors(b"[]", b""), "does not start with {"),
        "space first": (safetensors(b" {}", b""), "does not start with {"),
        "not JSON": (safetensors(b"{]", b""), "is not JSON"),
        "twice": (safetensors(b'{"a": {}, "a": {}}', b""), "twice"),
        "deep": (safetensors(b'{"a":' * 6 + b"1" + b"}" * 6, b""), "too deep"),
        "metadata": (safetensors({"__metadata__": {"a": 1}}, b""), "strings to strings"),
        "metadata kind": (safetensors({"__metadata__": []}, b""), "strings to strings"),
        "hole": (safetensors(st_tensor(data_offsets=[8, 24])), "leaves a hole"),
        "overlap": (
            safetensors(st_tensor() | {"b": {"dtype": "F32", "shape": [4], "data_offsets": [8, 24]}}),
            "overlaps",
        ),
        "rest": (safetensors(st_tensor()), "do not end where the file does"),
        "past the end": (safetensors(st_tensor(), bytes(8)), "do not end where the file does"),
        "dtype": (safetensors(st_tensor(dtype="F33"), bytes(16)), "dtype is unknown"),
        "dtype kind": (safetensors(st_tensor(dtype=["F32"]), bytes(16)), "dtype is unknown"),
        "size": (safetensors(st_tensor(shape=[2, 3]), bytes(16)), "do not fit"),
        "half a byte": (
            safetensors({"f": {"dtype": "F4", "shape": [1], "data_offsets": [0, 0]}}, b""),
            "do not fit",
        ),
        "negative": (safetensors(st_tensor(shape=[-2, -2]), bytes(16)), "shape is malformed"),
        "float": (safetensors(st_tensor(shape=[4.0]), bytes(16)), "shape is malformed"),
        "bool": (safetensors(st_tensor(shape=[True, 4]), bytes(16)), "shape is malformed"),
        "2^63": (safetensors(st_tensor(shape=[1 << 63, 0]), bytes(16)), "too large"),
        "overflow": (safetensors(st_tensor(shape=[1 << 52, 1 << 52]), bytes(16)), "do not fit"),
        "many dimensions": (safetensors(st_tensor(shape=[1] * 65), bytes(16)), "shape is malformed"),
        "shape kind": (safetensors(st_tensor(shape=4), bytes(16)), "shape is malformed"),
        "offsets backwards": (safetensors(st_tensor(data_offsets=[16, 0]), bytes(16)), "do not fit"),
        "offsets kind": (safetensors(st_tensor(data_offsets="ab"), bytes(16)), "offsets are malformed"),
        "three offsets": (
            safetensors(st_tensor(data_offsets=[0, 8, 16]), bytes(16)),
            "offsets are malformed",
        ),
        "field": (safetensors(st_tensor(x=1), bytes(16)), "tensor is malformed"),
        "no field": (safetensors({"weight": {"dtype": "F32"}}, b""), "tensor is malformed"),
        "no object": (safetensors({"weight": 1}, b""), "tensor is malformed"),
    }.values(),
)
def test_safetensors_problems(data: bytes, what: str) -> None:
    """Each lie of a header is named."""
    (problem,) = look(data, "safetensors")
    assert what in problem.what, problem


def test_a_safetensors_header_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limits of the header and of the tensors hold."""
    monkeypatch.setattr("gitchain.collect.inspect.safetensors.MAX_HEADER_BYTES", 10)
    assert "header is too large" in look(safetensors(), "safetensors")[0].what
    monkeypatch.setattr("gitchain.collect.inspect.safetensors.MAX_HEADER_BYTES", 1000)
    monkeypatch.setattr("gitchain.collect.inspect.safetensors.MAX_TENSORS", 1)
    assert "too many" in look(safetensors(), "safetensors")[0].what


def test_a_million_tensors_are_a_problem_or_not_in_bounded_time() -> None:
    """More tensors than the limit: refused before they are looked at."""
    header = b"{" + b",".join(b'"%d":0' % number for number in range(1_000_001)) + b"}"
    assert "too many" in look(safetensors(header, b""), "safetensors")[0].what


U64 = (1 << 64) - 1


@pytest.mark.parametrize(
    ("data", "what"),
    {
        "magic": (b"GGML" + gguf()[4:], "not a GGUF file"),
        "version 1": (gguf(version=1), "version is unknown"),
        "big-endian": (gguf(version=3 << 24), "version is unknown"),
        "2^63 tensors": (gguf(counts=(1 << 63, 0)), "number of tensors is too large"),
        "2^63 pairs": (gguf(counts=(0, 1 << 63)), "number of metadata pairs is too large"),
        "key twice": (gguf([GGUF_PAIRS[0]] * 2), "appears twice"),
        "long key": (gguf([pair(b"a" * 65_536, 0, b"\0")]), "too large"),
        "endless key": (gguf([struct.pack("<Q", 1 << 63)]), "ends too early"),
        "key encoding": (gguf([pair(b"\xff", 0, b"\0")]), "not UTF-8"),
        "type": (gguf([pair("a", 13, b"")]), "metadata type is unknown"),
        "array type": (gguf([pair("a", 9, struct.pack("<IQ", 13, 1))]), "metadata type is unknown"),
        "endless string": (gguf([pair("a", 8, struct.pack("<Q", U64))]), "ends too early"),
        "endless array": (gguf([pair("a", 9, struct.pack("<IQ", 0, U64))]), "ends too early"),
        "endless strings": (gguf([pair("a", 9, struct.pack("<IQ", 8, U64))]), "too many strings"),
        "deep array": (gguf([pair("a", 9, struct.pack("<IQ", 9, 1) * 9)]), "nested too deeply"),
        "alignment 0": (gguf([pair("general.alignment", 4, bytes(4))]), "alignment is malformed"),
        "alignment 4": (gguf([pair("general.alignment", 4, struct.pack("<I", 4))]), "alignment is malformed"),
        "alignment huge": (
            gguf([pair("general.alignment", 4, struct.pack("<I", 1 << 30))]),
            "alignment is malformed",
        ),
        "alignment text": (gguf([pair("general.alignment", 8, text("32"))]), "alignment is malformed"),
        "tensor twice": (gguf(tensors=[tensor("a", [8]), tensor("a", [8], 0, 32)]), "appears twice"),
        "tensor name": (gguf(tensors=[tensor("a" * 1025, [8])]), "too large"),
        "tensor encoding": (gguf(tensors=[tensor(b"\xff", [8])]), "not UTF-8"),
        "dimensions": (gguf(tensors=[tensor("a", [1] * 5)]), "too many dimensions"),
        "tensor type": (gguf(tensors=[tensor("a", [8], 4)]), "tensor type is unknown"),
        "half a block": (gguf(tensors=[tensor("a", [33], 2)]), "whole blocks"),
        "offset": (gguf(tensors=[tensor("a", [8], 0, 32)]), "is not where"),
        "overlap": (gguf(tensors=[tensor("a", [16]), tensor("b", [16], 0, 32)]), "is not where"),
        "unaligned": (gguf(tensors=[tensor("a", [1]), tensor("b", [1], 0, 4)]), "is not where"),
        "too long": (gguf(tensors=[tensor("a", [1 << 62, 1 << 62])]), "do not end where the file does"),
        "too short": (gguf(tensors=[tensor("a", [1])]), "do not end where the file does"),
        "no tensors": (gguf(tensors=[]), "data after its last"),
    }.values(),
)
def test_gguf_problems(data: bytes, what: str) -> None:
    """Each lie of a header is named."""
    (problem,) = look(data, "gguf")
    assert what in problem.what, problem


def test_gguf_without_metadata_or_tensors_passes() -> None:
    """Both may be missing; a tensor may be a scalar; version 2 has the same form."""
    assert look(gguf([], [], b""), "gguf") == ()
    assert look(gguf([], [tensor("s", [])], bytes(4), version=2), "gguf") == ()


def test_a_million_gguf_tensors_stay_within_bounds() -> None:
    """A table of 10^5 tensors is read to its end; one of more than 10^6 is refused at once."""
    many = [tensor(str(index), [8], 0, 32 * index) for index in range(100_000)]
    assert look(gguf([], many, bytes(3_200_000)), "gguf") == ()
    assert "too large" in look(gguf(counts=(1_000_001, 0)), "gguf")[0].what


LOCATED = {"models/w.bin": 16, "models/sub/w.bin": 16}


def look_onnx(data: bytes) -> list[str]:
    return whats(look(data, "onnx", "models/m.onnx", files=LOCATED))


def test_external_data_inside_the_folder_passes() -> None:
    """A file beside the model, or below it, with a part that lies inside it."""
    for pairs in ({}, {"offset": "8", "length": "8", "checksum": "ab"}):
        assert look_onnx(onnx(external(location="w.bin", **pairs))) == []
    assert look_onnx(onnx(external(location="sub/w.bin"))) == []


@pytest.mark.parametrize(
    "location",
    [
        "",
        "/etc/passwd",
        "../w.bin",
        "sub/../w.bin",
        "./w.bin",
        "sub//w.bin",
        "sub\\w.bin",
        "C:/w.bin",
        "w\0.bin",
        "..",
    ],
)
def test_external_data_outside_of_the_folder_is_a_problem(location: str) -> None:
    """No path that leads elsewhere, or that a reader could take for another."""
    assert look_onnx(onnx(external(location=location))) == [
        "ONNX external data is outside of the model's folder"
    ]


def test_external_data_is_found_wherever_a_tensor_can_be() -> None:
    """Initializers, attributes, subgraphs, sparse tensors, functions and training are all walked."""
    bad = external(location="../x")
    attribute = message(5, message(1, b"a"), message(5, bad))
    places = {
        "attribute tensors": onnx(graph=message(1, message(5, message(10, bad)))),
        "subgraph": onnx(graph=message(1, message(5, message(6, message(5, bad))))),
        "subgraphs": onnx(graph=message(1, message(5, message(11, message(1, attribute))))),
        "sparse": onnx(graph=message(15, message(1, bad))),
        "sparse indices": onnx(graph=message(15, message(2, bad))),
        "sparse attribute": onnx(graph=message(1, message(5, message(22, message(1, bad))))),
        "function": onnx(more=message(25, message(7, attribute))),
        "function attribute": onnx(more=message(25, message(11, message(5, bad)))),
        "training": onnx(more=message(20, message(1, message(5, bad)))),
        "algorithm": onnx(more=message(20, message(2, message(5, bad)))),
    }
    for place, data in places.items():
        assert look_onnx(data) == ["ONNX external data is outside of the model's folder"], place


@pytest.mark.parametrize(
    ("data", "what"),
    {
        "not verified": (onnx(external(location="other.bin")), "in a file that was not verified"),
        "past the end": (
            onnx(external(location="w.bin", offset="9", length="8")),
            "ends after the end of its file",
        ),
        "offset": (onnx(external(location="w.bin", offset="-1")), "malformed offset"),
        "length": (onnx(external(location="w.bin", length="0x1")), "malformed length"),
        "no location": (onnx(number(14, 1)), "outside of the model's folder"),
        "location twice": (onnx(message(13, message(1, b"location"), message(2, b"w.bin")) * 2), "twice"),
        "encoding": (onnx(message(13, message(1, b"\xff"))), "not UTF-8"),
        "long value": (onnx(message(13, message(2, b"a" * 5000))), "too large"),
        "field": (onnx(more=number(9, 1)), "does not know"),
        "wire type": (onnx(more=varint(7 << 3) + b"\1"), "does not know"),
        "group": (onnx(more=varint(7 << 3 | 3)), "does not know"),
        "endless field": (onnx(more=varint(2 << 3 | 2) + varint((1 << 63) - 1)), "longer than itself"),
        "endless number": (onnx(more=varint(5 << 3) + b"\xff" * 11), "too long"),
        "graph's field": (onnx(message(9, bytes(4))[:-1]), "longer than itself"),
        "no version": (message(7, b"") + message(8, b""), "not an ONNX model"),
        "no graph": (number(1, 8) + message(8, b""), "not an ONNX model"),
        "no operators": (number(1, 8) + message(7, b""), "not an ONNX model"),
        "a pickle": (b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00N.", "does not know"),
        "deep": (onnx(graph=model_files.message(1, b"")), ""),
    }.values(),
)
def test_onnx_problems(data: bytes, what: str) -> None:
    """Each lie is named."""
    found = look_onnx(data)
    assert what in found[0] if what else found == [], found


def test_onnx_numbers_of_every_width_are_passed() -> None:
    """Floats and packed or single numbers of a tensor and an attribute are no lie."""
    attribute = message(5, varint(2 << 3 | 5) + bytes(4), varint(8 << 3) + b"\1", message(8, b"\1\2"))
    doubles = varint(10 << 3 | 1) + bytes(8)
    assert look_onnx(onnx(RAW + doubles, graph=message(1, attribute))) == []


def nested(depth: int) -> bytes:
    graph = b""
    for _ in range(depth):
        graph = message(1, message(5, message(6, graph)))
    return onnx(graph=graph)


def test_onnx_nesting_and_fields_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs inside graphs end at a depth, fields at a number."""
    assert look_onnx(nested(10)) == []
    assert look_onnx(nested(40)) == ["ONNX messages nest too deeply"]
    monkeypatch.setattr("gitchain.collect.inspect.onnx.MAX_FIELDS", 20)
    assert look_onnx(onnx(*[RAW] * 20)) == ["ONNX model has too many fields"]

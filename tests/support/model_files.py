"""Small whole files of each format for the tests of inspections, and the way to inspect bytes."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tempfile
from collections.abc import Mapping, Sequence

from gitchain.collect.inspect import Inspector, Kind, ModelFile, ModelProblem, inspect_file
from gitchain.evidence.digest import Sha256


def look(
    data: bytes,
    kind: Kind,
    name: str = "model.bin",
    *,
    allow: Sequence[str] = (),
    frameworks: Sequence[str] = (),
    files: Mapping[str, int] | None = None,
) -> tuple[ModelProblem, ...]:
    """Inspect these bytes as a file of that name."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        source = ModelFile(file.fileno(), name, Sha256(hashlib.sha256(data).hexdigest()))
        return inspect_file(source, Inspector(kind, tuple(allow), tuple(frameworks), files or {}))


def whats(problems: Sequence[ModelProblem]) -> list[str]:
    return [problem.what for problem in problems]


def safetensors(header: Mapping[str, object] | bytes | None = None, data: bytes = bytes(24)) -> bytes:
    if header is None:
        header = {
            "__metadata__": {"format": "pt"},
            "bias": {"dtype": "I64", "shape": [1], "data_offsets": [16, 24]},
            "weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
        }
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def text(value: bytes | str) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def pair(key: bytes | str, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def tensor(name: bytes | str, shape: Sequence[int], kind: int = 0, offset: int = 0) -> bytes:
    sizes = b"".join(struct.pack("<Q", size) for size in shape)
    return text(name) + struct.pack("<I", len(shape)) + sizes + struct.pack("<IQ", kind, offset)


GGUF_PAIRS = (
    pair("general.architecture", 8, text("llama")),
    pair("general.alignment", 4, struct.pack("<I", 32)),
    pair("tokenizer.tokens", 9, struct.pack("<IQ", 8, 2) + text("a") + text("b")),
    pair("scores", 9, struct.pack("<IQ", 6, 2) + bytes(8)),
)
GGUF_TENSORS = (tensor("a", [2, 2]), tensor("b", [32], 2, 32))


def gguf(
    pairs: Sequence[bytes] = GGUF_PAIRS,
    tensors: Sequence[bytes] = GGUF_TENSORS,
    data: bytes = bytes(64),
    *,
    version: int = 3,
    counts: tuple[int, int] | None = None,
) -> bytes:
    given = counts or (len(tensors), len(pairs))
    head = b"GGUF" + struct.pack("<IQQ", version, *given) + b"".join(pairs) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + data


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def message(field: int, *parts: bytes) -> bytes:
    data = b"".join(parts)
    return varint(field << 3 | 2) + varint(len(data)) + data


def external(**pairs: str) -> bytes:
    """A tensor whose data lies elsewhere."""
    told = b"".join(
        message(13, message(1, key.encode()), message(2, value.encode())) for key, value in pairs.items()
    )
    return number(1, 2) + number(2, 1) + message(8, b"w") + told + number(14, 1)


RAW = number(1, 1) + number(2, 1) + message(8, b"w") + message(9, bytes(4))
NODE = (
    message(1, b"w")
    + message(2, b"y")
    + message(4, b"Relu")
    + message(5, message(1, b"value"), message(5, RAW), number(20, 4))
)


def onnx(*tensors: bytes, graph: bytes = b"", more: bytes = b"") -> bytes:
    inside = (
        message(1, NODE) + message(2, b"g") + b"".join(message(5, one) for one in tensors or (RAW,)) + graph
    )
    return (
        number(1, 8)
        + message(2, b"test")
        + message(7, inside)
        + message(8, message(1, b""), number(2, 17))
        + more
    )


class Runs:
    """Unpickles to a command: what an inspection is for."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("true",)

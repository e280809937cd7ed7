r"""Check that a safetensors file's header is whole and describes exactly the bytes that follow. Loads nothing.

    \x3c\0\0\0\0\0\0\0 {"w": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}} <16 bytes>

1. Eight bytes: the header's length, little-endian, at most 100 MB and at most the file.
2. The header: one JSON object without duplicate keys, which starts with `{` and may end in spaces.
3. `__metadata__`, if there, maps strings to strings.
4. Every other entry has exactly dtype, shape and data_offsets; offsets times dtype and shape agree.
5. Sorted by offset, the tensors have no gap and no overlap, and the last one ends at the file's end.

Format: https://github.com/huggingface/safetensors. Does NOT look at values.
"""

from __future__ import annotations

import itertools
import math

from gitchain.collect.inspect.problem import shown
from gitchain.collect.inspect.source import ModelFile
from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.canonical import Json, strict_json

MAX_HEADER_BYTES = 100_000_000
"""The format's own limit."""

MAX_TENSORS = 1_000_000
"""Most tensors of one file: the largest published models have some ten thousand."""

MAX_DIMENSIONS = 64

BITS = {
    "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32,
    "C64": 64, "I64": 64, "U64": 64, "F64": 64,
}  # fmt: skip
"""Bits of one element of each dtype."""


def check_safetensors(source: ModelFile) -> None:
    """Raise MalformedError or LimitError for the first thing that is wrong with the file."""
    length = int.from_bytes(source.read_at(0, 8), "little")
    if source.size < 8 or length > source.size - 8:
        raise MalformedError(
            "safetensors header is longer than the file",
            expected=f"at most {max(source.size - 8, 0)} bytes",
            got=str(length),
        )
    if length > MAX_HEADER_BYTES:
        raise LimitError(
            "safetensors header is too large", expected=f"at most {MAX_HEADER_BYTES} bytes", got=str(length)
        )
    header = source.read_at(8, length)
    if not header.startswith(b"{"):
        raise MalformedError("safetensors header does not start with {", got=shown(header[:16]))
    entries = strict_json(
        header, "safetensors header", max_bytes=MAX_HEADER_BYTES, max_depth=4, max_values=16 * MAX_TENSORS
    )
    assert isinstance(entries, dict)  # noqa: S101 - JSON that starts with a brace is an object
    _check_tensors(entries, source.size - 8 - length)


def _check_tensors(entries: dict[str, Json], size: int) -> None:
    metadata = entries.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise MalformedError("safetensors metadata does not map strings to strings")
    if len(entries) > MAX_TENSORS:
        raise LimitError("safetensors file has too many tensors", expected=f"at most {MAX_TENSORS}")
    ranges = sorted(_range(name, entry) for name, entry in entries.items())
    for (_, end, _), (start, _, name) in itertools.pairwise([(0, 0, ""), *ranges]):
        if start != end:
            kind = "leaves a hole" if start > end else "overlaps another"
            raise MalformedError(
                f"safetensors tensor {kind}", where=shown(name), expected=f"from {end} on", got=str(start)
            )
    last = ranges[-1][1] if ranges else 0
    if last != size:
        raise MalformedError(
            "safetensors tensors do not end where the file does", expected=f"{size} bytes", got=str(last)
        )


def _range(name: str, entry: Json) -> tuple[int, int, str]:
    """Return where a tensor starts and ends, and its name."""
    where = shown(name)
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise MalformedError(
            "safetensors tensor is malformed", where=where, expected="dtype, shape, data_offsets"
        )
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or dtype not in BITS:
        raise MalformedError("safetensors dtype is unknown", where=where, got=shown(dtype))
    if not isinstance(shape, list | tuple) or len(shape) > MAX_DIMENSIONS or not all(map(_is_size, shape)):
        raise MalformedError("safetensors shape is malformed", where=where, got=shown(shape))
    if not isinstance(offsets, list | tuple) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise MalformedError("safetensors offsets are malformed", where=where, got=shown(offsets))
    bits = math.prod(shape) * BITS[dtype]
    start, end = offsets
    if bits % 8 or (end - start) * 8 != bits:
        raise MalformedError(
            "safetensors offsets do not fit dtype and shape",
            where=where,
            expected=f"{bits} bits",
            got=shown(offsets),
        )
    return start, end, name


def _is_size(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0

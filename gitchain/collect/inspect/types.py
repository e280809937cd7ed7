"""Check that each file has an allowed extension, and that its first bytes match the extension.

`allow` lists extensions (`.json`, `.safetensors`). A file whose extension is of a kind with known first bytes must
begin with them. A file that begins as a known kind must have an extension of that kind: a pickle called
`model.safetensors` and a program called `weights.bin` are reported.

Does NOT look further than the first bytes: see the other inspections.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from gitchain.collect.inspect.archive import is_tar
from gitchain.collect.inspect.problem import ModelProblem, shown
from gitchain.collect.inspect.source import ModelFile

HEAD = 512


def _starts(*beginnings: bytes) -> Callable[[bytes], bool]:
    return lambda head: head.startswith(beginnings)


def _safetensors(head: bytes) -> bool:
    return len(head) > 8 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32


def _pickle(head: bytes) -> bool:
    return re.match(rb"\x80[\x02-\x05]", head) is not None


def _text(head: bytes) -> bool:
    return b"\0" not in head


KINDS: dict[str, tuple[Callable[[bytes], bool], tuple[str, ...]]] = {
    "a safetensors file": (_safetensors, (".safetensors",)),
    "a GGUF file": (_starts(b"GGUF"), (".gguf",)),
    "a pickle": (_pickle, (
        ".pkl", ".pickle", ".p", ".joblib", ".sav", ".dill", ".cloudpickle", ".pt", ".pth", ".ckpt", ".bin",
    )),
    "a zip file": (_starts(b"PK\x03\x04", b"PK\x05\x06"), (
        ".zip", ".npz", ".pt", ".pth", ".ckpt", ".bin", ".keras", ".jar", ".whl", ".ptl", ".xlsx",
    )),
    "a NumPy array": (_starts(b"\x93NUMPY"), (".npy",)),
    "an HDF5 file": (_starts(b"\x89HDF\r\n\x1a\n"), (".h5", ".hdf5", ".keras")),
    "a Parquet file": (_starts(b"PAR1"), (".parquet",)),
    "a gzip file": (_starts(b"\x1f\x8b"), (".gz", ".tgz")),
    "a tar file": (is_tar, (".tar", ".nemo", ".pt", ".pth")),
    "a program": (_starts(b"\x7fELF", b"MZ", b"\xfe\xed\xfa", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"#!"), (
        ".so", ".dll", ".dylib", ".exe", ".sh", ".py",
    )),
}  # fmt: skip
"""Kinds that are known by their first bytes, and the endings under which they may be found."""

REQUIRED = {
    ".safetensors": ("a safetensors file",), ".gguf": ("a GGUF file",), ".npy": ("a NumPy array",), ".npz": ("a zip file",),
    ".h5": ("an HDF5 file",), ".hdf5": ("an HDF5 file",), ".parquet": ("a Parquet file",), ".zip": ("a zip file",),
    ".keras": ("a zip file", "an HDF5 file"), ".gz": ("a gzip file",), ".tar": ("a tar file",),
}  # fmt: skip
"""Endings whose files must begin as one of these kinds."""

TEXTS = (".json", ".jsonl", ".yaml", ".yml", ".txt", ".md", ".csv", ".tsv", ".toml", ".xml", ".ini")
"""Endings of texts: no zero byte among the first ones."""


def check_type(source: ModelFile, allow: Sequence[str]) -> tuple[ModelProblem, ...]:
    """Return the problems of the file's name, and of its first bytes under that name."""
    last = source.name.rpartition("/")[2]
    ending = last.lower()
    if not ending.endswith(tuple(one.lower() for one in allow)):
        return (ModelProblem("file type is not allowed", source.name, ", ".join(allow), shown(last)),)
    head = source.read_at(0, HEAD)
    found = [
        kind for kind, (begins, endings) in KINDS.items() if begins(head) and not ending.endswith(endings)
    ]
    if found:
        return (ModelProblem("file content does not match its name", source.name, got=found[0]),)
    wanted = next((kinds for suffix, kinds in REQUIRED.items() if ending.endswith(suffix)), ())
    if wanted and not any(KINDS[kind][0](head) for kind in wanted):
        return (
            ModelProblem(
                "file content does not match its name", source.name, " or ".join(wanted), shown(head[:8])
            ),
        )
    if ending.endswith(TEXTS) and not _text(head):
        return (ModelProblem("file content does not match its name", source.name, "a text", shown(head[:8])),)
    return ()

"""File types, sizes, and the promise that the bytes inspected are the bytes that were hashed."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path

import pytest

from gitchain.collect.inspect import Inspector, ModelFile, inspect_file, inspect_sizes
from gitchain.collect.inspect.source import BLOCK
from gitchain.errors import ProjectError, VerificationError
from gitchain.evidence.digest import Sha256
from tests.support.model_files import Runs, gguf, look, onnx, safetensors, whats

ALLOW = (".json", ".safetensors", ".gguf", ".onnx", ".bin", ".npy")
RIGHT = {
    "model.safetensors": safetensors(), "MODEL.GGUF": gguf(), "m.onnx": onnx(), "config.json": b"{}",
    "empty.json": b"", "a/b/weights.bin": bytes(8), "pytorch_model.bin": pickle.dumps(1), "a.npy": b"\x93NUMPY\x01\0",
}  # fmt: skip
WRONG = {
    "model.safetensors": pickle.dumps(Runs()), "m.gguf": b"GGML" + bytes(8), "config.json": b"\x00\x01", "m.json": b"PK\x03\x04",
    "weights.bin": b"\x7fELF", "w.bin": b"#!/bin/sh", "a.npy": bytes(10), "other.safetensors": b"", "x.gguf": safetensors(),
    "m.onnx": gguf(),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_files_that_are_what_their_names_say_pass(name: str) -> None:
    """Allowed endings and names, whatever the case of the ending, and the right beginning."""
    assert look(RIGHT[name], "types", name, allow=ALLOW) == ()


@pytest.mark.parametrize("name", WRONG)
def test_files_that_hide_behind_a_name_are_a_problem(name: str) -> None:
    """A pickle called safetensors, a program called weights."""
    assert whats(look(WRONG[name], "types", name, allow=ALLOW)) == ["file content does not match its name"]


@pytest.mark.parametrize(
    "name", ["run.sh", "LICENSE", "LICENSE.txt", "model.safetensors.pkl", "json", "x.json/y"]
)
def test_names_that_are_not_allowed_are_a_problem(name: str) -> None:
    """The list is of what is allowed; nothing else passes."""
    (problem,) = look(b"{}", "types", name, allow=ALLOW)
    assert (problem.what, problem.where) == ("file type is not allowed", name)


def test_sizes_count_together() -> None:
    """Up to the limit passes; one byte more names the largest file."""
    assert inspect_sizes([("a", 3), ("b", 7)], 10) == ()
    (problem,) = inspect_sizes([("a", 3), ("b", 8)], 10)
    assert (problem.where, problem.expected, problem.got) == ("b", "at most 10 bytes", "11 bytes")
    assert inspect_sizes([], 0) == ()


def opened(path: Path, data: bytes) -> tuple[int, ModelFile]:
    path.write_bytes(data)
    handle = os.open(path, os.O_RDONLY)
    return handle, ModelFile(handle, path.name, Sha256(hashlib.sha256(data).hexdigest()))


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_a_source_gives_the_bytes_of_the_file(tmp_path: Path, size: int) -> None:
    """Every range, over the borders of blocks too, and none behind the end."""
    data = os.urandom(size)
    handle, source = opened(tmp_path / "x", data)
    for start, count in ((0, size), (size - 1, 5), (BLOCK - 3, 6), (size, 1), (size + 9, 9), (0, -1), (5, 0)):
        if start >= 0:
            assert source.read_at(start, count) == data[start : start + max(count, 0)]
    with source.buffered() as file:
        assert file.read() == data
        file.seek(-min(size, 4), os.SEEK_END)
        assert file.read() == data[max(size - 4, 0) :]
        with pytest.raises(OSError, match="before the start"):
            file.seek(-1)
    assert source.size == size
    os.close(handle)


def test_another_file_is_refused(tmp_path: Path) -> None:
    """The first look compares the whole digest."""
    (tmp_path / "x").write_bytes(b"other")
    handle = os.open(tmp_path / "x", os.O_RDONLY)
    with pytest.raises(VerificationError, match="no longer the one that was verified"):
        ModelFile(handle, "x", Sha256("0" * 64))
    os.close(handle)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    """Only regular files have bytes to inspect."""
    handle = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(ProjectError, match="not a regular file"):
        ModelFile(handle, "x", Sha256("0" * 64))
    os.close(handle)


@pytest.mark.parametrize("at", [0, BLOCK + 5])
def test_a_file_that_changes_between_hash_and_inspection_is_refused(tmp_path: Path, at: int) -> None:
    """A swap in place is noticed at the block that is read, and stays noticed."""
    handle, source = opened(tmp_path / "x", bytes(2 * BLOCK))
    assert source.read_at(at, 1) == b"\0"
    with (tmp_path / "x").open("r+b") as file:
        file.seek(at)
        file.write(b"!")
    other = 0 if at else BLOCK
    assert source.read_at(other, 1) == b"\0"
    with pytest.raises(VerificationError, match="changed while it was inspected"):
        source.read_at(at, 1)
    assert source.broken is not None
    os.close(handle)


def test_a_file_that_shrinks_is_refused(tmp_path: Path) -> None:
    """Truncation is a change too."""
    handle, source = opened(tmp_path / "x", bytes(2 * BLOCK))
    os.truncate(tmp_path / "x", BLOCK)
    with pytest.raises(VerificationError, match="changed while it was inspected"):
        source.read_at(BLOCK, 1)
    os.close(handle)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    """What the system refuses is an error with the file's name, never an empty file."""
    handle, source = opened(tmp_path / "x", b"data")
    os.close(handle)
    with pytest.raises(ProjectError, match="file cannot be read"):
        source.read_at(0, 1)


def test_a_change_that_a_library_hides_is_still_an_error(tmp_path: Path) -> None:
    """Whatever the inspection made of the failed read, the verdict is the change."""
    handle, source = opened(tmp_path / "m.pkl", pickle.dumps(1))
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(2))
    with pytest.raises(VerificationError, match="changed while it was inspected"):
        inspect_file(source, Inspector("pickle"))
    os.close(handle)


@pytest.mark.parametrize("kind", ["pickle", "safetensors", "gguf", "onnx", "types"])
def test_every_kind_is_there(kind: str) -> None:
    """A kind that a layout may name can be made."""
    assert look(b"\xff", kind, "m.pkl")  # type: ignore[arg-type]

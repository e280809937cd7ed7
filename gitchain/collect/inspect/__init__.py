"""Inspect a model's bytes, without running or loading any of them.

All inspections are built in. A layout names the ones to make, and brings no code.
docs/inspections.md describes what each finds, and what it cannot see.

Does NOT find files and does NOT decide which are inspected (see `gitchain.consume.inspections`).
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from gitchain.collect.inspect.gguf import check_gguf
from gitchain.collect.inspect.keras import check_keras
from gitchain.collect.inspect.onnx import OnnxModel, check_onnx
from gitchain.collect.inspect.pickle_names import AllowedImports
from gitchain.collect.inspect.pickles import check_pickles
from gitchain.collect.inspect.problem import ModelProblem
from gitchain.collect.inspect.safetensors import check_safetensors
from gitchain.collect.inspect.savedmodel import check_savedmodel
from gitchain.collect.inspect.source import ModelFile
from gitchain.collect.inspect.transformers import check_transformers
from gitchain.collect.inspect.types import check_type
from gitchain.errors import LimitError, MalformedError

__all__ = ["Inspector", "Kind", "ModelFile", "ModelProblem", "inspect_file", "inspect_sizes"]

Kind: TypeAlias = Literal[
    "pickle", "safetensors", "gguf", "onnx", "keras", "savedmodel", "transformers", "types"
]


@dataclass(frozen=True, slots=True)
class Inspector:
    """One inspection of single files: its kind, what it allows, and the sizes of the target's files in bytes."""

    kind: Kind
    allow: tuple[str, ...] = ()
    frameworks: tuple[str, ...] = ()
    files: Mapping[str, int] = field(default_factory=dict)


def inspect_file(source: ModelFile, check: Inspector) -> tuple[ModelProblem, ...]:
    """Return the problems in one file. Raises only the source's error for bytes that have changed."""
    try:
        problems = _INSPECTIONS[check.kind](source, check)
    except (MalformedError, LimitError) as error:
        problems = (ModelProblem.of(error, source.name),)
    if source.broken is not None:  # a library on the way may have hidden it
        raise source.broken
    return problems


def inspect_sizes(files: Iterable[tuple[str, int]], max_bytes: int) -> tuple[ModelProblem, ...]:
    """Return a problem if the files are larger than `max_bytes` together; it names the largest."""
    found = sorted(files, key=lambda item: item[1], reverse=True)
    total = sum(size for _, size in found)
    if total <= max_bytes:
        return ()
    return (ModelProblem("target is too large", found[0][0], f"at most {max_bytes} bytes", f"{total} bytes"),)


def _safetensors(source: ModelFile, _: Inspector) -> tuple[ModelProblem, ...]:
    check_safetensors(source)
    return ()


def _gguf(source: ModelFile, _: Inspector) -> tuple[ModelProblem, ...]:
    check_gguf(source)
    return ()


def _onnx(source: ModelFile, check: Inspector) -> tuple[ModelProblem, ...]:
    check_onnx(source, OnnxModel(posixpath.dirname(source.name), check.files))
    return ()


_INSPECTIONS: Mapping[Kind, Callable[[ModelFile, Inspector], tuple[ModelProblem, ...]]] = {
    "pickle": lambda source, check: check_pickles(source, AllowedImports(check.allow, check.frameworks)),
    "keras": lambda source, check: check_keras(source, check.allow),
    "savedmodel": lambda source, check: check_savedmodel(source, check.allow),
    "transformers": lambda source, _: check_transformers(source),
    "safetensors": _safetensors,
    "gguf": _gguf,
    "onnx": _onnx,
    "types": lambda source, check: check_type(source, check.allow),
}

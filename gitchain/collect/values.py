"""Parameter and metric values from a YAML, JSON or TOML file of the repository, as JSON for a statement.

A file outside of the repository, or behind a link that points outside, is refused: a cloned dvc.yaml may name any
file of the machine. Values that look like secrets are hidden, as in commands.
"""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from gitchain.collect.paths import check_path_name
from gitchain.collect.scrub import HIDDEN, is_secret, scrub_text
from gitchain.collect.strict_yaml import load_yaml
from gitchain.errors import GitchainError, LimitError, ProjectError
from gitchain.evidence.canonical import MAX_SAFE_INTEGER, Json, strict_json
from gitchain.platform.files import read_regular

MAX_VALUE_BYTES = 1 << 20
"""Largest file of parameters or metrics; hand-written ones have a few KB."""

MAX_VALUES = 2_000
"""Most values of one file."""

MAX_DEPTH = 32
MAX_BITS = 4096
"""Longest number that is written in decimals; TOML has longer ones, in hexadecimals, and Python refuses to convert them."""

_INDEX = re.compile(r"[0-9]{1,9}", re.ASCII)


def is_outside(root: Path, name: str) -> bool:
    """Return True if the file is outside of the repository, in its Git directory, or behind a link to such a place."""
    if name.startswith("/") or "://" in name:
        return True
    top = os.path.realpath(root)
    inside = os.path.relpath(os.path.realpath(os.path.join(top, name)), top).split("/")
    return inside[0] in {"..", ".git"}


def read_value_file(root: Path, name: str) -> bytes:
    """Return the content of a file of parameters or metrics. Raises ProjectError if it is outside or unreadable."""
    if is_outside(root, name):
        raise ProjectError(
            "the file is outside the repository",
            where=ascii(name[:200]),
            help="its values are not recorded; copy the file into the repository",
        )
    check_path_name(name)
    try:
        return read_regular(os.path.realpath(root / name), MAX_VALUE_BYTES)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise ProjectError(
            "file cannot be read", where=ascii(name[:200]), got=reason, help="check the path"
        ) from error


def parse_values(data: bytes, name: str) -> dict[str, Json]:
    """Return the values in the content of a .yaml, .json or .toml file; ProjectError or LimitError."""
    try:
        if name.endswith(".json"):
            value: object = strict_json(data, name, max_bytes=MAX_VALUE_BYTES)
        elif name.endswith(".toml"):
            value = tomllib.loads(data.decode("utf-8"))
        else:
            value = load_yaml(data, name)
    except (ProjectError, LimitError):
        raise
    except GitchainError as error:
        raise ProjectError(error.what, where=name, got=error.got) from error
    except (ValueError, RecursionError) as error:  # ValueError: also a number of 5,000 digits
        raise ProjectError(
            "file is not TOML", where=name, got=str(error)[:200], help="correct the file, or name another one"
        ) from error
    if not isinstance(value, Mapping):
        raise ProjectError(
            "file holds no values by name",
            where=name,
            expected="a mapping",
            help="name a YAML, JSON or TOML file with a mapping at the top",
        )
    left = [MAX_VALUES]
    found = _plain(value, name, left, 0)
    return dict(found) if isinstance(found, Mapping) else {}


def select_values(values: Mapping[str, Json], keys: Sequence[str], name: str) -> dict[str, Json]:
    """Return the values at the keys, such as `train.lr`; all of them without keys. ProjectError for an unknown key."""
    if not keys:
        return dict(values)
    found: dict[str, Json] = {}
    for key in keys:
        value: Json = values
        for part in key.split("."):
            if isinstance(value, Mapping) and part in value:
                value = value[part]
            elif isinstance(value, list) and _INDEX.fullmatch(part) and int(part) < len(value):
                value = value[int(part)]
            else:
                raise ProjectError(
                    "file has no such value",
                    where=name,
                    got=ascii(key[:200]),
                    help="correct the key, or leave it out: --params FILE",
                )
        found[key] = HIDDEN if isinstance(value, str) and is_secret(key) else value
    return found


def read_params(root: Path, files: Iterable[tuple[str, Sequence[str]]]) -> dict[str, dict[str, Json]]:
    """Return the values of the named files, each with the keys that are wanted (all, where none is), by file."""
    found: dict[str, dict[str, Json]] = {}
    for name, keys in files:
        values = parse_values(read_value_file(root, name), name)
        found.setdefault(name, {}).update(select_values(values, keys, name))
    return found


def _plain(value: object, where: str, left: list[int], depth: int) -> Json:
    """Return the value as JSON, secrets hidden; numbers that JSON cannot hold as YAML spells them, dates as text."""
    left[0] -= 1
    if left[0] < 0 or depth > MAX_DEPTH:
        raise LimitError(
            "file has too many values", where=where, expected=f"at most {MAX_VALUES}, {MAX_DEPTH} deep"
        )
    if isinstance(value, Mapping):
        return {
            str(key): HIDDEN
            if isinstance(item, str) and is_secret(str(key))
            else _plain(item, where, left, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_plain(item, where, left, depth + 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if isinstance(value, int) and abs(value) > MAX_SAFE_INTEGER:
        return str(value) if value.bit_length() <= MAX_BITS else hex(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return scrub_text(str(value))

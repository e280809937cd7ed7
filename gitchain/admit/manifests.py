"""Kubernetes objects from files: YAML or JSON, several documents, `kind: List`.

YAML is parsed like kubectl does (https://yaml.org/spec/1.1/): anchors, aliases and `<<` as the first key are allowed, and
a document must be valid as JSON. Duplicate keys are refused, as in kubectl's strict validation, and so are all tags except
`!!str`. Aliases count in full, so that a small file cannot become large objects. Which kinds are reviewed is decided
elsewhere.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from gitchain.errors import LimitError, UsageError
from gitchain.evidence.canonical import Json
from gitchain.platform.yaml import Dialect, YamlValue, read_documents

MAX_FILE_BYTES = 64 << 20
MAX_VALUES = 500_000
"""Most values of one object: the limit of a review."""

MAX_FILE_VALUES = 2_000_000
"""Most values of one file with aliases expanded; regular files of 64 MiB have fewer."""

MAX_DEPTH = 60
MAX_OBJECTS = 100_000
_INTEGER = re.compile(r"[-+]?(?:0|0b[01]{1,64}|0x[0-9A-Fa-f]{1,16}|0[0-7]{1,22}|[1-9][0-9]{0,18})")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]{1,300}|[0-9]{1,300}(?:\.[0-9]{0,300})?)(?:[eE][-+]?[0-9]{1,5})?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
"""Numbers as kubectl parses them, of limited length: none in base 60, as `1:30` is in YAML 1.1."""

_BASES = {"0b": 2, "0x": 16}
_WORDS: dict[bool | None, str] = {
    None: "~ null",
    True: "yes true on",
    False: "no false off",
}
_CONSTANTS = {"": None} | {
    spelling: value
    for value, words in _WORDS.items()
    for word in words.split()
    for spelling in (word, word.capitalize(), word.upper())
}


@dataclass(frozen=True, slots=True)
class KubernetesManifest:
    """An object, with its file and the number of its document, starting at 1."""

    file: str
    document: int
    source: dict[str, Json]

    @property
    def where(self) -> str:
        """Return the place for messages."""
        return f"{self.file}, document {self.document}"


def _scalar(text: str) -> YamlValue:
    """Return what an unquoted scalar means to kubectl. Raises ValueError for a number that JSON does not have."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        digits = text.lstrip("+-")
        octal = 8 if digits.startswith("0") and len(digits) > 1 else 10
        value = int(digits, _BASES.get(digits[:2], octal))
        return -value if text.startswith("-") else value
    if not _FLOAT.fullmatch(text):
        return text
    number = math.inf if text[-1].isalpha() else float(text)
    if not math.isfinite(number):
        raise ValueError("a value that JSON does not have")
    return number


_KUBECTL = Dialect(
    _scalar,
    UsageError,
    depth=MAX_DEPTH,
    values=MAX_VALUES,
    characters=MAX_FILE_BYTES,
    tags=frozenset({"tag:yaml.org,2002:str"}),
    merges_first=True,  # kubectl lets `<<` replace keys before it
)


def read_manifests(data: bytes, file: str) -> Iterator[KubernetesManifest]:
    """Yield every object of a file, with the items of lists one by one.

    Raises UsageError for invalid YAML, an invalid object or list. Raises LimitError for too much content.
    """
    if len(data) > MAX_FILE_BYTES:
        raise LimitError("the file is too large", where=file, expected=f"at most {MAX_FILE_BYTES} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError("the file is not UTF-8", where=file) from error
    left = MAX_FILE_VALUES
    for number, (value, count) in enumerate(read_documents(text, _KUBECTL, file), 1):
        left -= count
        where = f"{file}, document {number}"
        if number > MAX_OBJECTS:
            raise LimitError("too many documents", where=file, expected=f"at most {MAX_OBJECTS}")
        if left < 0:
            raise LimitError(
                "the file has too many values", where=where, expected=f"at most {MAX_FILE_VALUES}"
            )
        for item in _items(value, where) if value is not None else ():
            yield KubernetesManifest(file, number, item)


def _items(value: Json, where: str) -> Iterator[dict[str, Json]]:
    if not isinstance(value, dict):
        raise UsageError("not a Kubernetes object", where=where, expected="a map with apiVersion and kind")
    for key in ("apiVersion", "kind"):
        if not isinstance(value.get(key), str) or not value[key]:
            raise UsageError("not a Kubernetes object", where=where, expected=f"a string in {key}")
    if not str(value["kind"]).endswith("List") or "items" not in value:
        yield value
        return
    items = value["items"]
    if not isinstance(items, list):
        raise UsageError("not a list of objects", where=f"{where}, items")
    for index, item in enumerate(items):
        yield from _items(item, f"{where}, items[{index}]")

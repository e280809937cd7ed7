"""References to models in text: which content a text names, if it names any.

A reference is content-addressed where whoever resolves it is bound to the digest by the protocol:

    oci://registry.example.com/models/credit@sha256:<64 hex digits>

A digest that stands in any other reference is a claim: an object store would take it for part of a name. What is not
exactly a reference with a digest names no content. Does NOT resolve anything: no request goes out for what an object says.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Basis = Literal["content", "claimed", "none"]
"""What binds a reference to its digest: the protocol, somebody's word that the node must check, or nothing."""

OCI_SCHEMES = frozenset({"oci", "oci+native", "oci+fetch"})
NODE_SCHEME = "gitchain+"
"""Prefix of the schemes that gitchain's own storage container takes, which checks the bytes."""

MODEL_SCHEMES = OCI_SCHEMES | {
    "s3", "gs", "gcs", "hf", "pvc", "hdfs", "webhdfs", "abfs", "abfss", "wasb", "wasbs", "az", "azure", "oss", "cos",
    "ms", "modelscope", "mlflow", "mlflow-artifacts", "models", "runs", "dvc", "gitchain",
}  # fmt: skip
"""Schemes that name a model wherever they stand: in arguments, variables, anywhere in a specification."""

HARMLESS = frozenset(
    {"http", "https", "tcp", "udp", "grpc", "file", "unix", "ws", "wss", "redis", "postgres"}
)
"""Schemes that may follow text in another script without being taken for a disguise."""

MAX_SCHEME = 64
MAX_REFERENCE = 4096
"""Characters that are looked at before and behind `://`: what is longer is no reference with a digest."""

_OCI = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,511}@sha256:([0-9a-f]{64})")
_CLAIMED = re.compile(r"[!-?A-~]{1,2048}@sha256:([0-9a-f]{64})")  # printable, without a second @
_BEFORE = re.compile(r"[^\s\"'`=,;()<>\[\]{}|]*$")
_AFTER = re.compile(r"[^\s\"'`]*")
_SCHEME = re.compile(r"[A-Za-z0-9+.-]*$")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Reference:
    """One reference: its text, where it stands, what that place is called, and the content that it names."""

    text: str
    where: str
    owner: str = ""
    """The name of the container, volume or component around it, which an annotation may speak of."""

    sha256: str | None = None
    basis: Basis = "none"
    disguised: bool = False
    unseen: bool = False


def find(text: str, where: str, owner: str) -> Iterator[Reference]:
    """Yield the references to models in any text of a specification."""
    if "://" not in text:
        if not text.isascii() and "://" in unicodedata.normalize("NFKC", text):
            yield Reference(text, where, owner, disguised=True)
        return
    for mark in re.finditer("://", text):
        token = _matched(_BEFORE.search(text[max(0, mark.start() - MAX_SCHEME) : mark.start()]))
        rest = _matched(_AFTER.match(text, mark.end(), mark.end() + MAX_REFERENCE))
        name = _matched(_SCHEME.search(token)).lower()
        if not token.isascii() and name not in HARMLESS:
            yield Reference(text, where, owner, disguised=True)
        elif name in MODEL_SCHEMES or name.startswith(NODE_SCHEME):
            yield uri(f"{name}://{rest}", where, owner)


def uri(text: str, where: str, owner: str) -> Reference:
    """Return the reference in a field that holds nothing but one."""
    if not text.isascii() or not text.isprintable():
        return Reference(text, where, owner, disguised=True)
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() in OCI_SCHEMES:
        return image(rest, where, owner, text=text)
    found = _CLAIMED.fullmatch(text)
    return Reference(text, where, owner, found[1], "claimed") if found else Reference(text, where, owner)


def image(name: str, where: str, owner: str, *, text: str = "") -> Reference:
    """Return the reference that an image volume, or the image of a container, holds: `NAME@sha256:DIGEST`."""
    if not name.isascii() or not name.isprintable():
        return Reference(text or name, where, owner, disguised=True)
    found = _OCI.fullmatch(name)
    shown = text or name
    return Reference(shown, where, owner, found[1], "content") if found else Reference(shown, where, owner)


def _matched(found: re.Match[str] | None) -> str:
    return found[0] if found else ""


def digest(text: str) -> str | None:
    """Return the hex digits of `sha256:…`, None for anything else."""
    found = _DIGEST.fullmatch(text)
    return found[1] if found else None

"""Parse references to models in text, and their digests.

A reference is content-addressed if its protocol binds the resolver to the digest:

oci://registry.example.com/models/credit@sha256:<64 hex digits>

A digest in any other reference is only a claim: an object store would treat it as part of a name. A text that is not
exactly a reference with a digest identifies no content. Nothing is resolved: no request is sent for an object's
texts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gitchain.admit.addresses import only_paths
from gitchain.evidence.digest import Sha256

Basis = Literal["content", "claimed", "none"]
"""How a reference is bound to its digest: by the protocol, by a claim that the node must check, or not at all."""

OCI_SCHEMES = frozenset({"oci", "oci+native", "oci+fetch"})
NODE_SCHEME = "gitchain+"
"""Prefix of schemes for gitchain's own storage container, which checks the bytes."""

MODEL_SCHEMES = OCI_SCHEMES | {
    "s3", "gs", "gcs", "hf", "pvc", "hdfs", "webhdfs", "abfs", "abfss", "wasb", "wasbs", "az", "azure", "oss", "cos",
    "ms", "modelscope", "mlflow", "mlflow-artifacts", "models", "runs", "dvc", "gitchain",
}  # fmt: skip
"""Schemes of models in any place: arguments, variables, anywhere in a specification."""

HARMLESS = frozenset(
    {"http", "https", "tcp", "udp", "grpc", "file", "unix", "ws", "wss", "redis", "postgres"}
)
"""Schemes that may follow text in another script without counting as disguised."""

LOCAL = frozenset({"file", "unix"})
"""Schemes of the container's own file system."""

MAX_SCHEME = 64
MAX_REFERENCE = 4096
"""Characters examined before and after `://`. A longer text is no reference with a digest."""

_OCI = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,511}@sha256:([0-9a-f]{64})")
_CLAIMED = re.compile(r"[!-?A-~]{1,2048}@sha256:([0-9a-f]{64})")  # printable, without a second @
_BEFORE = re.compile(r"[^\s\"'`=,;()<>\[\]{}|]*$")
_AFTER = re.compile(r"(?:[^\s\"'`]+|[\"'`]+(?=[^\s\"'`,:;)}\]>|&]))*")
"""Quotes in front of more text are a part of it: for a shell `a''b` is one word."""

_SCHEME = re.compile(r"[A-Za-z0-9+.-]*$")
_FILLED = re.compile(r"\$\([A-Za-z_][A-Za-z0-9_]*\)|\{\{\.[A-Za-z.]+\}\}")
"""A variable that Kubernetes puts in, and a field that KServe does. Their values are examined where they are set."""

_LOCAL_PATH = re.compile(r"/[\w./@+:~%-]*", re.ASCII)
_CLOSING = ";,)}]>"
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A reference: its text, its place, the name of that place, and its digest."""

    text: str
    where: str
    owner: str = ""
    """The name of the container, volume or component around it, which an annotation may refer to."""

    sha256: Sha256 | None = None
    basis: Basis = "none"
    disguised: bool = False
    unseen: bool = False
    candidate: Literal["", "text", "volume"] = ""
    """Set for texts that may name or contain a model without being a reference (`candidates`)."""


def find(text: str, where: str, owner: str, *, strict: bool = False) -> Iterator[ModelReference]:
    """Yield the references to models in any text of a specification; `strict` includes every scheme."""
    if "://" not in text:
        if not text.isascii() and "://" in unicodedata.normalize("NFKC", text):
            yield ModelReference(text, where, owner, disguised=True)
        return
    for mark in re.finditer("://", text):
        token = _matched(_BEFORE.search(text[max(0, mark.start() - MAX_SCHEME) : mark.start()]))
        rest = _matched(_AFTER.match(text, mark.end(), mark.end() + MAX_REFERENCE))
        name = _matched(_SCHEME.search(token)).lower()
        if not token.isascii() and name not in HARMLESS:
            yield ModelReference(text, where, owner, disguised=True)
        elif _leads_to_model(name, rest, strict=strict):
            yield uri(f"{name}://{rest}", where, owner)


def _leads_to_model(scheme: str, rest: str, *, strict: bool) -> bool:
    if scheme in MODEL_SCHEMES or scheme.startswith(NODE_SCHEME):
        return True
    return strict and not (
        scheme in LOCAL and len(rest) < MAX_REFERENCE and is_local_path(rest.rstrip(_CLOSING))
    )


def is_local_path(rest: str) -> bool:
    """Return True if what follows `file://` or `unix://` is a path and nothing else."""
    path = filled(rest)
    return _LOCAL_PATH.fullmatch(path) is not None and only_paths(path)


def filled(text: str) -> str:
    """Return the text with a letter for each variable that Kubernetes or KServe puts in."""
    return _FILLED.sub("x", text)


def uri(text: str, where: str, owner: str) -> ModelReference:
    """Return the reference in a field that holds a single one."""
    if not text.isascii() or not text.isprintable():
        return ModelReference(text, where, owner, disguised=True)
    scheme, separator, rest = text.partition("://")
    if separator and scheme.lower() in OCI_SCHEMES:
        return image(rest, where, owner, text=text)
    found = _CLAIMED.fullmatch(text)
    return (
        ModelReference(text, where, owner, Sha256(found[1]), "claimed")
        if found
        else ModelReference(text, where, owner)
    )


def image(name: str, where: str, owner: str, *, text: str = "") -> ModelReference:
    """Return the reference in an image volume, or in a container's image: `NAME@sha256:DIGEST`."""
    if not name.isascii() or not name.isprintable():
        return ModelReference(text or name, where, owner, disguised=True)
    found = _OCI.fullmatch(name)
    shown = text or name
    return (
        ModelReference(shown, where, owner, Sha256(found[1]), "content")
        if found
        else ModelReference(shown, where, owner)
    )


def _matched(match: re.Match[str] | None) -> str:
    return match[0] if match else ""


def digest(text: str) -> Sha256 | None:
    """Return the hex digits of `sha256:…`, or None for other texts."""
    found = _DIGEST.fullmatch(text)
    return Sha256(found[1]) if found else None

"""Problems: why an object is not admitted, one code for each kind. docs/admission.md lists them.

A verdict's own findings (`GC-E…`) are passed on under their own codes; these here are about what was asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """Every code. A code is never used for anything else."""

    MALFORMED = "GC-A0101"
    UNKNOWN_KIND = "GC-A0102"
    UNKNOWN_OPERATION = "GC-A0103"
    NO_RULE = "GC-A0104"
    NO_DIGEST = "GC-A0201"
    LOOKALIKE = "GC-A0202"
    ANNOTATION = "GC-A0203"
    MISMATCH = "GC-A0204"
    NO_MODEL = "GC-A0205"
    TOO_MANY = "GC-A0206"
    UNSEEN = "GC-A0207"
    UNAVAILABLE = "GC-A0301"
    TIMEOUT = "GC-A0302"
    NODE = "GC-A0401"


MEANINGS: dict[Code, str] = {
    Code.MALFORMED: "the request is not one that this version of the API can send",
    Code.UNKNOWN_KIND: "the kind of object is none that gitchain knows how to read",
    Code.UNKNOWN_OPERATION: "the operation or subresource starts something that cannot be looked at",
    Code.NO_RULE: "no rule of the operator is for this namespace",
    Code.NO_DIGEST: "a model is named without the digest of its content",
    Code.LOOKALIKE: "a reference holds characters that only look like those of a model's reference",
    Code.ANNOTATION: "a gitchain.dev/model annotation cannot be read",
    Code.MISMATCH: "an annotation and the reference that it is about name different digests",
    Code.NO_MODEL: "the object names no model where the rule or its kind demands one",
    Code.TOO_MANY: "the object names more models or references than are looked at",
    Code.UNSEEN: "a model's reference is set from somewhere that the request does not show",
    Code.UNAVAILABLE: "there is no evidence that is fresh enough to decide on",
    Code.TIMEOUT: "no decision was reached in time",
    Code.NODE: "the node cannot verify the pod's models as the pod is",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason: its code, what is wrong, where in the object, and what to do about it."""

    code: str
    message: str
    where: str = ""
    help: str = ""

    def __str__(self) -> str:
        """Return the reason as messages show it, on one line of printable characters."""
        parts = [f"{self.code} {self.message}"]
        if self.where:
            parts.append(f"in {self.where}")
        line = ", ".join(parts)
        return printable(f"{line}: {self.help}" if self.help else line)


def printable(text: str, limit: int = 600) -> str:
    """Return the text with everything else than printable ASCII escaped, cut at `limit`."""
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    shown = "".join(
        char if " " <= char <= "~" else char.encode("unicode_escape").decode("ascii") for char in text[:limit]
    )
    return shown[:limit] + ("..." if len(shown) > limit or len(text) > limit else "")


def summary(problems: Iterable[Problem], limit: int = 3000) -> str:
    """Return the reasons as one message: as many as fit, and how many more there are."""
    told: list[str] = []
    left = list(problems)
    while left and sum(map(len, told)) + len(str(left[0])) <= limit:
        told.append(str(left.pop(0)))
    return "; ".join(told) + (f"; and {len(left)} more" if left else "")

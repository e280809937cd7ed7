"""Reasons for denials, with a code for each kind. docs/admission.md lists them.

Findings of a verdict (`GC-E…`) keep their own codes; the codes here are about the request.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class DenialCode(StrEnum):
    """Every code. A code is never reused."""

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
    UNCOVERED = "GC-A0208"
    UNAVAILABLE = "GC-A0301"
    TIMEOUT = "GC-A0302"
    EXPIRED = "GC-A0303"
    NODE = "GC-A0401"


MEANINGS: dict[DenialCode, str] = {
    DenialCode.MALFORMED: "the request is not one that this version of the API can send",
    DenialCode.UNKNOWN_KIND: "the kind of object is not supported",
    DenialCode.UNKNOWN_OPERATION: "the operation or subresource starts something that cannot be looked at",
    DenialCode.NO_RULE: "no rule of the operator is for this namespace",
    DenialCode.NO_DIGEST: "a model is named without the digest of its content",
    DenialCode.LOOKALIKE: "a reference holds characters that only look like those of a model's reference",
    DenialCode.ANNOTATION: "a gitchain.dev/model annotation cannot be read",
    DenialCode.MISMATCH: "an annotation and the reference that it is about name different digests",
    DenialCode.NO_MODEL: "the object names no model where the rule or its kind demands one",
    DenialCode.TOO_MANY: "the object names more models or references than are looked at",
    DenialCode.UNSEEN: "a model's reference is set from somewhere that the request does not show",
    DenialCode.UNCOVERED: "a text or a volume can name or hold a model, and no digest covers it",
    DenialCode.UNAVAILABLE: "there is no evidence that is fresh enough to decide on",
    DenialCode.TIMEOUT: "no decision was reached in time",
    DenialCode.EXPIRED: "the layout has expired",
    DenialCode.NODE: "the node cannot verify the pod's models as the pod is",
}


UNDECIDED = frozenset({DenialCode.UNAVAILABLE, DenialCode.TIMEOUT})
"""Codes that are no statement about a model: a later request may get any verdict."""


@dataclass(frozen=True, slots=True)
class DenialReason:
    """A reason: its code, the problem, its place in the object, and how to fix it."""

    code: str
    message: str
    where: str = ""
    help: str = ""

    def __str__(self) -> str:
        """Return the reason as one line of printable characters for messages."""
        parts = [f"{self.code} {self.message}"]
        if self.where:
            parts.append(f"in {self.where}")
        line = ", ".join(parts)
        return printable(f"{line}: {self.help}" if self.help else line)


def printable(text: str, limit: int = 600) -> str:
    """Return the text with everything except printable ASCII escaped, truncated at `limit`."""
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    shown = "".join(
        char if " " <= char <= "~" else char.encode("unicode_escape").decode("ascii") for char in text[:limit]
    )
    return shown[:limit] + ("..." if len(shown) > limit or len(text) > limit else "")


def summary(problems: Iterable[DenialReason], limit: int = 3000) -> str:
    """Return the reasons as one message: as many as fit, and the number of further ones."""
    shown: list[str] = []
    left = list(problems)
    while left and sum(map(len, shown)) + len(str(left[0])) <= limit:
        shown.append(str(left.pop(0)))
    return "; ".join(shown) + (f"; and {len(left)} more" if left else "")

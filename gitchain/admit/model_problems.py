"""Why a reference to a model is denied, and the digests that annotations add to references."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gitchain.admit import references
from gitchain.admit.candidates import text_digest
from gitchain.admit.denial_reasons import DenialCode, DenialReason
from gitchain.admit.kinds import is_serving, is_template
from gitchain.admit.references import ModelReference
from gitchain.admit.review import GroupVersionKind
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import Sha256

ANNOTATION = "gitchain.dev/model"


MAX_SHOWN = 200
"""Longest text shown in a message, in characters; a longer one is shown by its digest."""


_MODEL_FIELDS = frozenset(
    {"storageUri", "storageURI", "modelUri", "sourceModelUri", "uri", "image", "reference"}
)
_WITH_NUMBER = re.compile(r"--[A-Za-z0-9_.-]+=[0-9]+(?:\.[0-9]+)?")
_PIN = "name it by its content: oci://REGISTRY/NAME@sha256:DIGEST"


@dataclass(frozen=True, slots=True)
class AnnotatedDigest:
    """The digest of one annotation. `about` is the name that it is bound to."""

    sha256: Sha256
    about: str
    where: str


def annotated_digests(metadata: Json, where: str) -> Iterator[AnnotatedDigest | DenialReason]:
    """Yield the digests of gitchain's annotations, or a problem for an invalid one."""
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    for key, value in annotations.items() if isinstance(annotations, dict) else ():
        if not is_own(key):
            continue
        place = f"{where}.annotations[{key}]"
        texts = value.replace(",", " ").split() if isinstance(value, str) else []
        digests = [references.digest(text) for text in texts]
        if not digests or None in digests or len(digests) > MAX_MODELS:
            yield DenialReason(
                DenialCode.ANNOTATION, "not a list of digests", place, "write sha256:<64 hex digits>, …"
            )
        about = key[len(ANNOTATION) + 1 :]
        yield from (AnnotatedDigest(digest, about, place) for digest in digests if digest is not None)


def completed(
    references: Sequence[ModelReference], annotated: Sequence[AnnotatedDigest]
) -> Iterator[ModelReference]:
    """Yield each reference, with the annotation's digest if it has no digest itself."""
    free = {note.sha256 for note in annotated if not note.about}
    bare: dict[str, set[str]] = {}
    for one in references:
        if one.basis == "none":
            bare.setdefault(one.owner, set()).add(one.text)
    lone = len(set().union(*bare.values())) == 1 if bare else False
    for one in references:
        if one.basis != "none" or one.disguised or one.unseen:
            yield one
            continue
        bound = {note.sha256 for note in annotated if note.about and note.about == one.owner}
        given = (bound if len(bare[one.owner]) == 1 else set()) or (free if lone else set())
        yield replace(one, sha256=next(iter(given)), basis="claimed") if len(given) == 1 else one


def contradictions(
    references: Sequence[ModelReference], annotated: Sequence[AnnotatedDigest]
) -> list[DenialReason]:
    """Return a problem for each annotation whose digest differs from its reference."""
    named: dict[str, set[str]] = {}
    for one in references:
        if one.sha256 is not None and one.owner:
            named.setdefault(one.owner, set()).add(one.sha256)
    return [
        DenialReason(
            DenialCode.MISMATCH,
            f"{note.about} names sha256:{min(named[note.about])[:12]}..., which differs from the annotation",
            note.where,
            "leave the annotation out: the reference has the digest",
        )
        for note in annotated
        if note.about in named and note.sha256 not in named[note.about]
    ]


def problem_of(one: ModelReference, looking: ModelSearchSettings) -> DenialReason | None:
    """Return why a reference is denied, or None."""
    shown = one.text[:MAX_SHOWN]
    if one.disguised or (one.candidate and not one.text.isascii()):
        return DenialReason(
            DenialCode.LOOKALIKE, f"{shown!a} is not plain ASCII", one.where, "write it in ASCII characters"
        )
    if one.unseen:
        help_ = f"write the value itself, or let the rule ignore {shown!a}" if ":" in shown else _PIN
        return DenialReason(DenialCode.UNSEEN, f"what {shown!a} holds is not shown", one.where, help_)
    if one.candidate:
        guarded = one.candidate == "volume" and looking.guarded is not None
        covered = one.basis == "claimed" and (looking.claims or guarded)
        return None if covered else _uncovered(one)
    if one.basis == "none":
        return DenialReason(
            DenialCode.NO_DIGEST, f"model {shown!a} has no digest", one.where, _PIN + _ignoring(one)
        )
    return None if one.basis == "content" or looking.claims else _unbound(one)


def _unbound(one: ModelReference) -> DenialReason:
    message = f"nothing binds {one.text[:MAX_SHOWN]!a} to the digest that is claimed for it"
    help_ = f"{_PIN}{_ignoring(one)}; or let the rule take claims and guard the node"
    return DenialReason(DenialCode.NO_DIGEST, message, one.where, help_)


def _ignoring(one: ModelReference) -> str:
    """Return how to ignore an address in free text; fields that hold a model cannot be ignored."""
    if "://" not in one.text or one.where.rpartition(".")[2] in _MODEL_FIELDS or len(one.text) > MAX_SHOWN:
        return ""
    return f"; or, if it is no model, let the rule ignore {one.text!a}"


def _uncovered(one: ModelReference) -> DenialReason:
    """Return the problem of a text or a volume that may be a model."""
    what = "hold" if one.candidate == "volume" else "name"
    number = f"; or write {one.text!a} as one word" if _WITH_NUMBER.fullmatch(one.text) else ""
    plain = len(one.text) <= MAX_SHOWN and len(one.text.split()) == 1
    shown = f"{one.text!a}" if plain else text_digest(one.text)
    return DenialReason(
        DenialCode.UNCOVERED,
        f"{one.text[:MAX_SHOWN]!a} can {what} a model, and no digest covers it",
        one.where,
        f"{_PIN}{number}; or let the rule ignore {shown}",
    )


def no_model() -> DenialReason:
    """Return the reason for an object that names no model."""
    return DenialReason(
        DenialCode.NO_MODEL,
        "no model is named",
        "",
        f"{_PIN}, or annotate {ANNOTATION}: sha256:DIGEST in the template",
    )


def too_many(what: str) -> DenialReason:
    """Return the reason for an object beyond a limit."""
    return DenialReason(DenialCode.TOO_MANY, what, "", "split the object")


MAX_MODELS = 64
"""Most different models of one object: each needs a decision."""


@dataclass(frozen=True, slots=True)
class ModelSearchSettings:
    """The rule's settings for the search: claims that count, ignored texts, images that hold models."""

    claims: bool = False
    ignore: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    strict: bool = True
    guarded: tuple[str, ...] | None = None
    """Patterns for volumes without models, if the node verifies the others; None if it verifies none."""

    def demands_model(self, kind: GroupVersionKind) -> bool:
        """Return True if an object of this kind must reference a model."""
        return (self.strict and not is_template(kind)) or is_serving(kind)


def is_own(key: str) -> bool:
    """Return True for the annotations with which an author names digests."""
    return key == ANNOTATION or key.startswith(f"{ANNOTATION}.")

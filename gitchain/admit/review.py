"""Parse and serialize AdmissionReview v1.

{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "…", "kind": {…}, …}}

Format: https://github.com/kubernetes/api/blob/master/admission/v1/types.go . Parsing is strict and bounded. It has
two stages, so that a request with a readable id always gets a denial with that id: an HTTP error would be an allow
under `failurePolicy: Ignore`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from gitchain.admit.denial_reasons import DenialReason, printable, summary
from gitchain.errors import MalformedError
from gitchain.evidence.canonical import Json, strict_json
from gitchain.evidence.fields import (
    Object,
    as_object,
    encode_base64,
    find_object,
    find_string,
    get_object,
    get_string,
)

API_VERSION = "admission.k8s.io/v1"
KIND = "AdmissionReview"
MAX_BODY_BYTES = 8 << 20
"""Largest request: the API server accepts objects of 3 MiB, and sends the old object beside the new one."""

MAX_REVIEW_VALUES = 500_000
MAX_UID = 128
"""Longest id: the API server sends a UUID."""

OPERATIONS = frozenset({"CREATE", "UPDATE", "DELETE", "CONNECT"})
MAX_WARNINGS = 16  # the API server shows 4096 characters in total
MAX_WARNING_CHARACTERS = 240


@dataclass(frozen=True, slots=True)
class GroupVersionKind:
    """A group, version and kind."""

    group: str
    version: str
    kind: str

    def __str__(self) -> str:
        """Return the kind as `kubectl` shows it."""
        return f"{self.group or 'core'}/{self.version} {self.kind}"


@dataclass(frozen=True, slots=True)
class GroupVersionResource:
    """A group, version and resource: the path of objects in the API."""

    group: str
    version: str
    resource: str

    def __str__(self) -> str:
        """Return the resource without group and version."""
        return self.resource


@dataclass(frozen=True, slots=True)
class Review:
    """A request of the API server. The objects are untrusted."""

    uid: str
    kind: GroupVersionKind
    resource: GroupVersionResource
    subresource: str
    operation: str
    namespace: str
    name: str
    user: str
    dry_run: bool
    object: Object | None = field(repr=False)
    old: Object | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReviewResponse:
    """The response to the API server. A denial has a reason."""

    allowed: bool
    problems: tuple[DenialReason, ...] = ()
    warnings: tuple[str, ...] = ()
    audit: Mapping[str, str] = field(default_factory=dict)
    patch: tuple[Mapping[str, Json], ...] = ()
    """A JSON Patch (RFC 6902), only in responses of the mutating webhook."""

    def __post_init__(self) -> None:
        if not self.allowed and not self.problems:
            raise ValueError("a denial without a reason")
        if self.patch and not self.allowed:
            raise ValueError("a denial with a patch")

    def to_json(self, uid: str) -> dict[str, Json]:
        """Return the AdmissionReview with the response to the request with this id."""
        response: dict[str, Json] = {"uid": uid, "allowed": self.allowed}
        if not self.allowed:
            message = f"gitchain: {summary(self.problems)}"
            response["status"] = {"code": 403, "reason": "Forbidden", "message": message}
        if self.patch:
            patch = json.dumps(self.patch, ensure_ascii=True, default=dict).encode()
            response |= {"patchType": "JSONPatch", "patch": encode_base64(patch)}
        if self.warnings:
            warnings = [printable(text, MAX_WARNING_CHARACTERS) for text in self.warnings[:MAX_WARNINGS]]
            response["warnings"] = warnings
        if self.audit:
            response["auditAnnotations"] = {key: printable(value, 2000) for key, value in self.audit.items()}
        return {"apiVersion": API_VERSION, "kind": KIND, "response": response}


def read_envelope(body: bytes) -> tuple[str, Object]:
    """Return the id and the request of an AdmissionReview v1. Raises MalformedError or LimitError."""
    value = strict_json(body, "review", max_bytes=MAX_BODY_BYTES, max_values=MAX_REVIEW_VALUES)
    review = as_object(value, "review")
    for key, expected in (("apiVersion", API_VERSION), ("kind", KIND)):
        if review.get(key) != expected:
            raise MalformedError(
                "not an AdmissionReview", where=key, expected=expected, got=ascii(review.get(key))[:100]
            )
    request = get_object(review, "request", "review")
    uid = get_string(request, "uid", "request")
    if not 1 <= len(uid) <= MAX_UID or not uid.isascii() or not uid.isprintable():
        raise MalformedError("the request has no usable id", where="request.uid", got=ascii(uid[:100]))
    return uid, request


def read_request(uid: str, request: Object) -> Review:
    """Return the parsed request. Raises MalformedError if it is contradictory or lacks a required field."""
    kind = _kind(get_object(request, "kind", "request"), "request.kind")
    operation = get_string(request, "operation", "request")
    if operation not in OPERATIONS:
        raise MalformedError("unknown operation", where="request.operation", got=ascii(operation[:100]))
    dry_run = request.get("dryRun", False)
    if not isinstance(dry_run, bool | None):
        raise MalformedError("field has the wrong type", where="request.dryRun", expected="true or false")
    resource = get_object(request, "resource", "request")
    user = request.get("userInfo")
    review = Review(
        uid,
        kind,
        GroupVersionResource(
            _text(resource, "group"),
            _text(resource, "version"),
            get_string(resource, "resource", "request.resource"),
        ),
        _text(request, "subResource"),
        operation,
        _text(request, "namespace"),
        _text(request, "name"),
        _text(as_object(user, "request.userInfo"), "username") if user is not None else "",
        bool(dry_run),
        _object(request, "object", kind),
        _object(request, "oldObject", kind),
    )
    _check(review)
    return review


def _kind(source: Object, where: str) -> GroupVersionKind:
    return GroupVersionKind(
        *(get_string(source, key, where) if key in source else "" for key in ("group", "version", "kind"))
    )


def _text(source: Object, key: str) -> str:
    value = source.get(key)
    return "" if value is None else get_string(source, key, "request")


def _object(request: Object, key: str, kind: GroupVersionKind) -> Object | None:
    """Return an object of the request. Raises MalformedError if its kind differs from the request's."""
    if request.get(key) is None:
        return None
    found = get_object(request, key, "request")
    expected = (f"{kind.group}/{kind.version}" if kind.group else kind.version, kind.kind)
    for name, value in zip(("apiVersion", "kind"), expected, strict=True):
        if found.get(name) != value:
            raise MalformedError(
                "the object's kind differs from the request's",
                where=f"request.{key}.{name}",
                expected=value,
                got=ascii(found.get(name))[:100],
            )
    return found


def _check(review: Review) -> None:
    if review.operation in {"CREATE", "UPDATE"} and review.object is None:
        raise MalformedError("there is nothing to look at", where="request.object", expected="an object")
    if review.object is None:
        return
    where = "request.object.metadata"
    inside = find_string(find_object(review.object, "metadata", "request.object") or {}, "namespace", where)
    if inside and inside != review.namespace:
        raise MalformedError(
            "the object's namespace differs from the request's",
            where="request.object.metadata.namespace",
            expected=review.namespace or "none",
            got=ascii(inside)[:100],
        )

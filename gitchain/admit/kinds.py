"""Supported kinds of objects, and which subresources and operations can start something.

Every string of an object is checked, so new fields of known kinds are covered. New kinds are refused.
"""

from __future__ import annotations

from gitchain.admit.review import GroupVersionKind, Review
from gitchain.evidence.fields import Object

_CORE = {("", "v1", kind) for kind in ("Pod", "PodTemplate", "ReplicationController")}
_APPS = {("apps", "v1", kind) for kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet")}
_BATCH = {("batch", "v1", kind) for kind in ("Job", "CronJob")}
KSERVE = "serving.kserve.io"
_KSERVE = {
    (KSERVE, "v1beta1", "InferenceService"),
    *((KSERVE, "v1alpha1", kind) for kind in ("ServingRuntime", "ClusterServingRuntime", "TrainedModel")),
    *(
        (KSERVE, version, kind)
        for version in ("v1alpha1", "v1alpha2")
        for kind in ("LLMInferenceService", "LLMInferenceServiceConfig")
    ),
}
KNOWN = frozenset(GroupVersionKind(*one) for one in _CORE | _APPS | _BATCH | _KSERVE)
SERVING = frozenset({"InferenceService", "LLMInferenceService", "TrainedModel"})
"""Kinds of KServe that always serve a model: one without a reference is not understood."""

TEMPLATES = frozenset({"ServingRuntime", "ClusterServingRuntime", "LLMInferenceServiceConfig"})
"""Kinds of KServe that start nothing by themselves: objects created from them are reviewed like pods."""

WHOLE = frozenset({"", "status", "ephemeralcontainers", "resize"})
"""Subresources whose requests contain the whole object."""


def is_serving(kind: GroupVersionKind) -> bool:
    """Return True if objects of this kind always serve a model."""
    return kind.group == KSERVE and kind.kind in SERVING


def is_template(kind: GroupVersionKind) -> bool:
    """Return True if objects of this kind are only templates for others."""
    return kind.group == KSERVE and kind.kind in TEMPLATES


def starts_nothing(review: Review) -> str | None:
    """Return why this request cannot start anything new, or None if it might.

    Deletion and eviction only remove. A scale that does not exceed the previous number, which the API server itself
    reports, starts no pod. An update without changes of specification, labels and annotations is bookkeeping:
    finalizers, owners, status.
    """
    if review.operation == "DELETE":
        return "deleted"
    if review.subresource == "eviction" and review.operation == "CREATE":
        return "evicted"
    if review.operation != "UPDATE" or review.object is None or review.old is None:
        return None
    if review.subresource == "scale":
        return None if _grows(review) else "not scaled up"
    if (
        review.subresource in {"", "status"}
        and review.kind in KNOWN
        and _effective_parts(review.object) == _effective_parts(review.old)
    ):
        return "unchanged"
    return None


def _effective_parts(source: Object) -> tuple[object, ...]:
    """Return the parts of an object that affect what runs: all but its status and other metadata."""
    metadata = source.get("metadata")
    about = metadata if isinstance(metadata, dict) else {}
    rest = {key: value for key, value in source.items() if key not in {"metadata", "status"}}
    return rest, about.get("annotations"), about.get("labels")


def _grows(review: Review) -> bool:
    new, old = (_replicas(one) for one in (review.object, review.old))
    return new is None or (new > 0 and (old is None or new > old))


def _replicas(scale: object) -> int | None:
    spec = scale.get("spec") if isinstance(scale, dict) else None
    count = (
        spec.get("replicas", 0) if isinstance(spec, dict) else None
    )  # zero is omitted in the serialized form
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None

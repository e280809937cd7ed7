"""Which kinds of objects gitchain knows how to read, and what a subresource or an operation can start.

Every string of these is looked at, so a new field of a known kind is covered; a new kind is refused.
"""

from __future__ import annotations

from gitchain.admit.review import Kind, Review
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
KNOWN = frozenset(Kind(*one) for one in _CORE | _APPS | _BATCH | _KSERVE)
SERVING = frozenset({"InferenceService", "LLMInferenceService", "TrainedModel"})
"""Kinds of KServe that serve a model by their nature: one that names none is not understood."""

WHOLE = frozenset({"", "status", "ephemeralcontainers", "resize"})
"""Subresources whose requests carry the whole object."""


def is_serving(kind: Kind) -> bool:
    """Tell whether objects of this kind serve a model whatever else they say."""
    return kind.group == KSERVE and kind.kind in SERVING


def starts_nothing(review: Review) -> str | None:
    """Return why nothing new can start by this request; None if something might.

    Deleting and evicting take away. A scale to no more than was ordered before starts no pod: the API server itself
    says how many those were. An update that leaves specification, labels and annotations as they are is bookkeeping:
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
        and _says(review.object) == _says(review.old)
    ):
        return "unchanged"
    return None


def _says(found: Object) -> tuple[object, ...]:
    """Return what of an object decides about what runs: all but its status and the other metadata."""
    metadata = found.get("metadata")
    about = metadata if isinstance(metadata, dict) else {}
    rest = {key: value for key, value in found.items() if key not in {"metadata", "status"}}
    return rest, about.get("annotations"), about.get("labels")


def _grows(review: Review) -> bool:
    new, old = (_replicas(one) for one in (review.object, review.old))
    return new is None or (new > 0 and (old is None or new > old))


def _replicas(found: object) -> int | None:
    spec = found.get("spec") if isinstance(found, dict) else None
    count = spec.get("replicas", 0) if isinstance(spec, dict) else None  # zero is left out on the wire
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None

"""Responses for objects in files: what the webhooks would answer if the objects were created now.

Each object becomes an AdmissionReview as sent by the API server, and is processed by the same code as over HTTP:
first by `/mutate` if the rule guards pods, then by `/validate`. Evidence is read once.

Other work of an API server is not done: defaults, pruning of unknown fields, other webhooks. Only objects of kinds in
the chart's webhook configuration are reviewed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from gitchain.admit.admission import POD, Admission, AdmissionResult
from gitchain.admit.kinds import KNOWN
from gitchain.admit.manifests import KubernetesManifest
from gitchain.admit.review import API_VERSION, KIND, GroupVersionKind
from gitchain.admit.settings import AdmissionSettings
from gitchain.admit.source_errors import as_unavailable
from gitchain.admit.verdict_caches import VerdictCaches
from gitchain.errors import LayoutError, UsageError
from gitchain.evidence.canonical import Json
from gitchain.evidence.fields import Object

CLUSTER_WIDE = frozenset({"ClusterServingRuntime"})
DEFAULT_NAMESPACE = "default"
UID = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class ReviewedObject:
    """An object, and the webhook's response; None if the webhook would not be called."""

    manifest: KubernetesManifest
    kind: GroupVersionKind
    namespace: str
    name: str
    result: AdmissionResult | None = None

    @property
    def is_denied(self) -> bool:
        """Return True if the object would be denied."""
        return self.result is not None and not self.result.answer.allowed


def admit(
    settings: AdmissionSettings,
    manifests: Sequence[KubernetesManifest],
    namespace: str | None = None,
    *,
    offline: bool = False,
) -> list[ReviewedObject]:
    """Return the response for each object, in order.

    Raises UsageError for an invalid object or one of another namespace, and the reading error (`source_errors`) if the
    evidence of a required layout cannot be read: then nothing is decided.
    """
    placed = [_placed(one, namespace) for one in manifests]
    caches = VerdictCaches(lambda: datetime.now(UTC), offline=offline, is_remembering=False)
    try:
        admission = Admission(settings, caches.make(settings))
        return asyncio.run(_answers(admission, placed))
    finally:
        caches.close()


async def _answers(admission: Admission, placed: Sequence[ReviewedObject]) -> list[ReviewedObject]:
    reviewed = [one for one in placed if one.kind in KNOWN]
    rules = (admission.settings.rule_for(one.namespace) for one in reviewed)
    for layout in dict.fromkeys(rule.layout for rule in rules if rule is not None):
        await _read(admission, layout)
    return [replace(one, result=await _judge(admission, one)) if one.kind in KNOWN else one for one in placed]


async def _read(admission: Admission, layout: str) -> None:
    evaluator = admission.caches[layout].evaluator
    await admission.caches[layout].refresh()
    if evaluator.error is not None:
        raise as_unavailable(evaluator.error, admission.settings.sources[layout]) from evaluator.error
    if (problem := evaluator.unfit(datetime.now(UTC))) is not None:
        raise LayoutError(problem.message, where=problem.where)


async def _judge(admission: Admission, one: ReviewedObject) -> AdmissionResult:
    """Return the response, after the mutating webhook's patch if the namespace's rule guards pods."""
    source: Object = one.manifest.source
    rule = admission.settings.rule_for(one.namespace)
    if one.kind == POD and rule is not None and rule.guarding is not None:
        changed = await admission.mutate(_review(one, source))
        if not changed.answer.allowed:
            return changed
        source = patched(source, changed.answer.patch)
    return await admission.decide(_review(one, source))


def patched(pod: Object, patch: Iterable[Object]) -> Object:
    """Return a pod after the mutating webhook's patch, which sets fields of its `spec` only."""
    spec = pod.get("spec")
    changed: dict[str, Json] = dict(spec) if isinstance(spec, dict) else {}
    for operation in patch:
        prefix, _, field = str(operation["path"]).rpartition("/")
        if operation["op"] != "add" or prefix != "/spec":
            raise ValueError("a patch that is more than fields of spec")
        changed[field] = operation["value"]
    return {**pod, "spec": changed}


def _review(one: ReviewedObject, source: Object) -> bytes:
    """Return the AdmissionReview for the creation of an object."""
    kind = {"group": one.kind.group, "version": one.kind.version, "kind": one.kind.kind}
    about = {"group": one.kind.group, "version": one.kind.version, "resource": f"{one.kind.kind.lower()}s"}
    request = {
        "uid": UID,
        "kind": kind,
        "resource": about,
        "operation": "CREATE",
        "namespace": one.namespace,
        "name": one.name,
        "userInfo": {"username": ""},
        "dryRun": True,
        "object": source,
    }
    review = {"apiVersion": API_VERSION, "kind": KIND, "request": request}
    return json.dumps(review, default=dict).encode()


def _placed(manifest: KubernetesManifest, namespace: str | None) -> ReviewedObject:
    """Return an object with its kind, namespace and name, in the namespace that `kubectl -n` would use."""
    group, _, version = str(manifest.source["apiVersion"]).rpartition("/")
    kind = GroupVersionKind(group, version, str(manifest.source["kind"]))
    metadata = manifest.source.get("metadata")
    about: dict[str, Json] = dict(metadata) if isinstance(metadata, dict) else {}
    name = about.get("name") or about.get("generateName")
    own = about.get("namespace")
    if own is not None and not isinstance(own, str):
        raise UsageError("the namespace is no string", where=manifest.where, got=ascii(own)[:100])
    if kind.kind in CLUSTER_WIDE:
        return ReviewedObject(manifest, kind, "", _text(name))
    if own and namespace and own != namespace:
        raise UsageError(
            "the object is in another namespace than --namespace",
            where=manifest.where,
            expected=namespace,
            got=own,
        )
    place = own or namespace or DEFAULT_NAMESPACE
    changed = {**manifest.source, "metadata": {**about, "namespace": place}}
    return ReviewedObject(replace(manifest, source=changed), kind, place, _text(name))


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""

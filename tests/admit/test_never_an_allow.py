"""For no input does the answer become an allow without a PASSED decision, or one of the other reasons that are written down.

The oracle reads the bytes with Python's own JSON parser and knows nothing of gitchain's rule but its page: what it finds
named in the object has to be among what was decided.
"""

from __future__ import annotations

import asyncio
import copy
import json
import random
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gitchain.admit.admission import Admission, AdmissionResult
from gitchain.admit.scale import Workloads
from gitchain.errors import GitchainError
from tests.support.admission import digest, kserve, oci, pod, pod_spec, review, templated
from tests.support.fuzzing import sized
from tests.support.kubernetes_api import answering

TEXTS = (oci("good"), oci("nosuch"), oci("revoked"), "oci://x/y:latest", "s3://bucket/model", "--port=80")
SCALED = {f"w{number}": text for number, text in enumerate(TEXTS)}
"""Deployments of the cluster: what each of them names."""


def scale(text: str) -> dict[str, Any]:
    name = next(name for name, named in SCALED.items() if named == text)
    sizes = [
        {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": name}, "spec": {"replicas": n}}
        for n in (3, 1)
    ]
    at = {"group": "apps", "version": "v1", "resource": "deployments"}
    return review(sizes[0], old=sizes[1], operation="UPDATE", subResource="scale", resource=at, name=name)


BASES: tuple[Callable[[str], dict[str, Any]], ...] = (
    lambda text: review(pod(text)),
    lambda text: review(pod(initContainers=[{"name": "x", "env": [{"name": "STORAGE_URI", "value": text}]}])),
    lambda text: review(pod(volumes=[{"name": "m", "image": {"reference": text.removeprefix("oci://")}}])),
    lambda text: review(templated("apps/v1", "Deployment", pod(text))),
    lambda text: review(templated("batch/v1", "CronJob", pod(text))),
    lambda text: review(templated("v1", "PodTemplate", pod(text))),
    lambda text: review(kserve("InferenceService", {"predictor": {"model": {"storageUri": text}}})),
    lambda text: review(
        kserve("LLMInferenceService", {"model": {"uri": text}, "template": pod_spec()}, "v1alpha1")
    ),
    lambda text: review(pod(text), operation="UPDATE", old=pod(oci("good"))),
    lambda text: review(pod(text), operation="UPDATE", old=pod(text)),
    lambda text: review(pod(text), namespace="lenient"),
    lambda text: review(pod("s3://b/m", annotations={"gitchain.dev/model": text[-71:]}), namespace="claims"),
    scale,
)
PASSED = {digest("good"), digest("second")}
NAMED = re.compile(r"(?:oci|oci\+native|oci\+fetch)://[^\s\"'`\\]*?@sha256:([0-9a-f]{64})(?![0-9a-zA-Z])")
ANY_MODEL = re.compile(r"(?:oci(?:\+native|\+fetch)?|s3|gs|hf|pvc)://", re.IGNORECASE)


def check(admission: Admission, body: bytes) -> AdmissionResult | None:
    """Judge the bytes and hold an allow to its reason; None where there was no answer but an error."""
    try:
        result = asyncio.run(admission.decide(body))
    except GitchainError:
        return None
    if result.answer.allowed:
        justify(json.loads(body)["request"], result)
    told = result.answer.to_json(result.uid)["response"]
    assert isinstance(told, dict)
    assert told["uid"] == json.loads(body)["request"]["uid"]
    assert told["allowed"] == result.answer.allowed
    json.dumps(told, default=list).encode("ascii")
    return result


def outside(value: Any) -> Any:
    """Return what stands outside of metadata, which is an object wherever it is any."""
    if isinstance(value, list):
        return [outside(one) for one in value]
    if not isinstance(value, dict):
        return value
    about = {"metadata", "annotations"}
    return {key: outside(one) for key, one in value.items() if key not in about or not isinstance(one, dict)}


def justify(request: dict[str, Any], result: AdmissionResult) -> None:
    source = request.get("object") or {}
    said = {key: value for key, value in source.items() if key not in {"metadata", "status"}}
    spec = json.dumps(outside(said), ensure_ascii=False)
    if result.reason == "verified":
        decided = {one.sha256 for one in result.verdicts}
        assert decided
        for one in result.verdicts:
            assert one.decision is not None
            assert one.decision.passed
            assert one.decision.target.sha256 == one.sha256
        assert decided <= PASSED
        if request.get("subResource") == "scale":
            spec = SCALED[request["name"]]
            assert request["resource"]["resource"] == "deployments"
            assert (request["resource"]["group"], request["namespace"]) == ("apps", "prod")
            assert digest("good") in spec
        assert set(NAMED.findall(spec)) <= decided
    elif result.reason == "no model":
        assert request["namespace"] == "lenient"
        assert ANY_MODEL.search(spec) is None
    elif result.reason == "nothing new":
        new: Any = request.get("object")
        old: Any = request.get("oldObject")
        scaled = request.get("subResource") == "scale"
        assert (
            request["operation"] == "DELETE"
            or request.get("subResource") == "eviction"
            or (scaled and new["spec"].get("replicas", 0) <= _ordered(old))
            or (new.get("spec"), new.get("template")) == (old.get("spec"), old.get("template"))
        )
    else:
        assert (result.reason, request["namespace"]) in {("warned", "warn"), ("audited", "audit")}


def _ordered(old: dict[str, Any]) -> int:
    """Return how many replicas there were to be before; none where that cannot be read."""
    spec = old.get("spec")
    count = spec.get("replicas", 0) if isinstance(spec, dict) else 0
    return max(count, 0) if isinstance(count, int) else 0


@pytest.fixture(scope="module")
def shared(models: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return one admission for all cases: hypothesis runs many in one test."""
    from tests.support.admission import admission, settled

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITCHAIN_HOME", str(tmp_path_factory.mktemp("home") / "gitchain"))
        times = replace(
            models.settings.times, fresh=86_400
        )  # the full size takes longer than evidence counts
        with (
            admission(replace(models.settings, times=times)) as made,
            answering(tmp_path_factory.mktemp("api")) as api,
            ThreadPoolExecutor(1) as executor,
        ):
            for name, text in SCALED.items():
                found = templated("apps/v1", "Deployment", pod(text))
                api.objects[f"/apis/apps/v1/namespaces/prod/deployments/{name}"] = found
            workloads = Workloads(api.cluster, executor, models.settings.times.answer)
            yield Admission(made.settings, settled(made).caches, workloads)


def test_the_oracle_sees_allows(shared: Admission) -> None:
    sees_allows(shared)


def sees_allows(shared: Admission) -> None:
    """The cases are no vacuous ones: each base is admitted for a good model, and none for a bad one."""
    for base in BASES:
        found = check(shared, json.dumps(base(oci("good"))).encode())
        assert found is not None
        assert found.answer.allowed
        bad = check(shared, json.dumps(base(oci("revoked"))).encode())
        assert bad is not None
        assert bad.answer.allowed == (bad.reason == "nothing new")


@given(st.binary(max_size=300))
@example(b"")
@example(b"null")
@example(b"[" * 100_000)
@example(b'{"a":' * 60_000)
@example(b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"\\ud800"}}')
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=sized(75, 20_000))
def test_bytes_are_never_an_allow(shared: Admission, body: bytes) -> None:
    """What is no review is refused."""
    assert check(shared, body) is None


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.text(max_size=8)
    | st.sampled_from([*TEXTS, "name", "prod", "lenient", "Pod", "STORAGE_URI", "UPDATE", "DELETE", "scale"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["spec", "metadata", "name", "image", "reference", "annotations", "gitchain.dev/model", "a"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path to every value inside."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, child in inner for found in places(child, (*path, key)))]


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    made = copy.deepcopy(value)
    inside = made
    for key in path[:-1]:
        inside = inside[key]
    inside[path[-1]] = new
    return made


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=sized(100, 20_000))
def test_reviews_with_anything_in_any_place(shared: Admission, data: st.DataObject) -> None:
    """A real review in which up to three values were replaced by any JSON."""
    value = data.draw(st.sampled_from(BASES))(data.draw(st.sampled_from(TEXTS)))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(places(value)[1:]))
        value = changed(value, path, data.draw(JSON))
        if not isinstance(value, dict):
            return
    check(shared, json.dumps(value).encode())


def test_after_all_these_the_oracle_still_sees_allows(shared: Admission) -> None:
    sees_allows(shared)


def test_mangled_reviews(shared: Admission) -> None:
    """Real reviews with bytes flipped, cut out, doubled, and taken from another review."""
    chance = random.Random(20261126)
    bodies = [json.dumps(base(text)).encode() for base in BASES for text in TEXTS]
    answered = admitted = 0
    for _ in range(sized(1_500, 200_000)):
        body = bytearray(chance.choice(bodies))
        for _ in range(chance.randint(1, 3)):
            at, size = chance.randrange(len(body)), chance.randint(1, 40)
            match chance.randrange(4):
                case 0:
                    body[at] ^= 1 << chance.randrange(8)
                case 1:
                    del body[at : at + size]
                case 2:
                    body[at:at] = body[at : at + size]
                case _:
                    other = chance.choice(bodies)
                    begin = chance.randrange(len(other))
                    body[at : at + size] = other[begin : begin + size]
            if not body:
                break
        found = check(shared, bytes(body))
        answered += found is not None
        admitted += found is not None and found.reason == "verified"
    assert answered > 100  # some stay reviews
    assert admitted > 10  # and some of these good ones
    sees_allows(shared)


def test_a_digest_moved_by_one_bit_is_never_admitted(shared: Admission) -> None:
    """Every single bit of the digest in a good review, flipped."""
    body = json.dumps(review(pod(oci("good")))).encode()
    start = body.index(digest("good").encode())
    for at in range(start, start + 64):
        for bit in range(8):
            flipped = bytearray(body)
            flipped[at] ^= 1 << bit
            found = check(shared, bytes(flipped))
            assert found is None or not found.answer.allowed


def test_duplicate_keys_are_no_review(shared: Admission) -> None:
    """What two parsers read differently is refused, in whatever place the second key stands."""
    body = json.dumps(review(pod(oci("good"))))
    for key, second in (
        ("spec", pod_spec(oci("nosuch"))),
        ("args", [oci("nosuch")]),
        ("namespace", "audit"),
        ("uid", "x"),
    ):
        doubled = body.replace(f'"{key}":', f'"{key}": {json.dumps(second)}, "{key}":', 1)
        assert check(shared, doubled.encode()) is None

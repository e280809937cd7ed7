"""The mutating endpoint: a pod is changed as its namespace's rule says, and one that escaped that is denied."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gitchain.admit.admission import Admission, AdmissionResult
from gitchain.admit.config import read_settings
from gitchain.admit.mutate import PREFIX, VERIFIED, GuardSettings
from gitchain.admit.settings import AdmissionSettings
from gitchain.errors import UsageError
from tests.support.admission import (
    AdmissionFiles,
    admission,
    certificate,
    codes,
    digest,
    judged,
    pod,
    review,
    serving,
    settled,
)

IMAGE = "registry.example.com/gitchain@sha256:" + "0" * 64
GUARDING = GuardSettings(IMAGE, ("--layout", "/etc/gitchain/layout.sigstore.json"))


@pytest.fixture
def settings(models: AdmissionFiles) -> AdmissionSettings:
    """Every rule guards: the digest that an annotation gives a volume counts."""
    rules = [
        replace(rule, guarding=GUARDING, looking=replace(rule.looking, guarded=()))
        for rule in models.settings.rules
    ]
    return replace(models.settings, rules=tuple(rules))


def with_volume(model: str = "good", **more: Any) -> dict[str, Any]:
    mount = {"name": "models", "mountPath": "/mnt/models"}
    found = pod(annotations={"gitchain.dev/model": f"sha256:{digest(model)}"}, **more)
    found["spec"]["containers"][0]["volumeMounts"] = [mount]
    found["spec"]["volumes"] = [{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}]
    return found


def mutated(one: Admission, asked: Mapping[str, Any]) -> AdmissionResult:
    return asyncio.run(one.mutate(json.dumps(asked).encode()))


def patched(found: dict[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """Apply the patch of an AdmissionReview's answer as the API server does."""
    response = answer["response"]
    assert response["allowed"] is True
    assert response["patchType"] == "JSONPatch"
    after = copy.deepcopy(found)
    for one in json.loads(base64.b64decode(response["patch"])):
        after["spec"][one["path"].removeprefix("/spec/")] = one["value"]
    return after


def test_a_pod_is_guarded_and_then_admitted(settings: AdmissionSettings) -> None:
    """Without the patch it is denied; with it, it passes; asked again, there is nothing to change."""
    with admission(settings) as one:
        settled(one)
        found = with_volume()
        denied = judged(one, review(found))
        assert not denied.answer.allowed
        first = mutated(one, review(found))
        after = patched(found, first.answer.to_json(first.uid))
        assert after["spec"]["initContainers"][0]["name"].startswith(PREFIX)
        assert after["spec"]["initContainers"][0]["image"] == IMAGE
        assert {mount["name"] for mount in after["spec"]["containers"][0]["volumeMounts"]} == {VERIFIED}
        assert judged(one, review(after)).answer.allowed
        again = mutated(one, review(after))
        assert (again.answer.allowed, again.answer.patch) == (True, ())
        assert "patch" not in again.answer.to_json(again.uid)["response"]  # type: ignore[operator]


def test_what_another_webhook_undid_is_denied(settings: AdmissionSettings) -> None:
    """Validation sees the pod as it will run: without the guard, or with one that is not ours, it does not."""
    with admission(settings) as one:
        settled(one)
        found = with_volume()
        after = patched(found, mutated(one, review(found)).answer.to_json("x"))
        for key in ("image", "args", "command"):
            other = copy.deepcopy(after)
            other["spec"]["initContainers"][0][key] = "other" if key == "image" else ["true"]
            assert not judged(one, review(other)).answer.allowed
        after["spec"]["initContainers"].insert(0, {"name": "first", "image": "busybox"})
        assert not judged(one, review(after)).answer.allowed


LABELLED: dict[str, Any] = {"labels": {"role": "primary"}}
OTHER = f"sha256:{digest('second')}"


@pytest.mark.parametrize("guarded", [True, False], ids=["by another image", "not at all"])
def test_a_pod_from_before_gets_labels_and_nothing_that_runs(
    settings: AdmissionSettings, guarded: bool
) -> None:
    """No update can put a guard into it: what leaves the containers as they are goes on, for a model that passes."""
    old = with_volume()
    if guarded:
        other = replace(settings.rules[0], guarding=replace(GUARDING, image=IMAGE.replace("0", "1")))
        with admission(replace(settings, rules=(other,))) as before:
            old = patched(old, mutated(before, review(old)).answer.to_json("x"))
    with admission(settings) as one:
        settled(one)

        def update(change: Mapping[str, Any], **more: Any) -> bool:
            new = copy.deepcopy(old)
            for key, value in change.items():
                part = new["metadata"] if key in {"labels", "annotations"} else new["spec"]
                part[key] = {**part[key], **value} if key == "annotations" else value
            return judged(one, review(new, operation="UPDATE", old=old, **more)).answer.allowed

        (container,) = old["spec"]["containers"]
        resized = {**container, "resources": {"limits": {"cpu": "2"}}}
        assert update(LABELLED)
        assert update({"annotations": {"team": "a"}})
        assert update({"tolerations": [{"operator": "Exists"}]})
        assert update({"containers": [resized]}, subResource="resize")
        debug = {"name": "debug", "image": "x", "volumeMounts": [{"name": "models", "mountPath": "/m"}]}
        for change in (
            {"containers": [{**container, "image": "other"}]},
            {"containers": [{**container, "args": ["other"]}]},
            {"ephemeralContainers": [debug]},
            {"initContainers": [{"name": "first", "image": "x"}]},
            {"volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "others"}}]},
            {"annotations": {"gitchain.dev/model": OTHER}},
            {"annotations": {"gitchain.dev/model.models": OTHER}},
        ):
            assert not update(change), change
        assert not update({**LABELLED, "containers": [{**container, "image": "other"}]})
        again = {**old, "metadata": {**old["metadata"], **LABELLED}}
        assert not judged(one, review(again, old=old)).answer.allowed  # a creation has nothing from before
        old = with_volume("revoked")
        assert not update(LABELLED)


def test_a_guarded_pod_keeps_its_guard(settings: AdmissionSettings) -> None:
    """An update that takes the guard's image, or its digest, is one that changes what runs."""
    with admission(settings) as one:
        settled(one)
        old = patched(with_volume(), mutated(one, review(with_volume())).answer.to_json("x"))
        for change in ("image", "args"):
            new = copy.deepcopy(old)
            new["spec"]["initContainers"][0][change] = "other" if change == "image" else ["true"]
            assert not judged(one, review(new, operation="UPDATE", old=old)).answer.allowed
        new = copy.deepcopy(old)
        new["metadata"]["labels"] = LABELLED["labels"]
        assert judged(one, review(new, operation="UPDATE", old=old)).answer.allowed


def test_a_model_that_does_not_pass_is_denied_guarded_or_not(settings: AdmissionSettings) -> None:
    with admission(settings) as one:
        settled(one)
        found = with_volume("unknown")
        after = patched(found, mutated(one, review(found)).answer.to_json("x"))
        assert not judged(one, review(after)).answer.allowed


def test_a_pod_that_cannot_be_guarded_is_denied_at_once(settings: AdmissionSettings) -> None:
    """No digest for a volume, a reserved name: the answer says so and changes nothing; in warn mode it only tells."""
    found = with_volume()
    found["metadata"]["annotations"] = {}
    reserved = with_volume(initContainers=[{"name": f"{PREFIX}x", "image": "busybox"}])
    with admission(settings) as one:
        for bad in (found, reserved):
            result = mutated(one, review(bad))
            assert not result.answer.allowed
            assert codes(result)
            assert result.answer.patch == ()
    soft = replace(settings, rules=tuple(replace(rule, mode="warn") for rule in settings.rules))
    with admission(soft) as one:
        result = mutated(one, review(found))
        assert (result.answer.allowed, result.answer.patch) == (True, ())
        assert result.answer.warnings
        result = mutated(one, review(with_volume()))
        assert (result.answer.allowed, result.answer.patch) == (
            True,
            (),
        )  # the guard would stop the pod


def test_nothing_else_is_changed(settings: AdmissionSettings, models: AdmissionFiles) -> None:
    """Updates, subresources and other kinds are left to validation; without `guard` so is everything."""
    with admission(settings) as one:
        for asked in (
            review(with_volume(), operation="UPDATE", old=with_volume()),
            review(with_volume(), subResource="ephemeralcontainers"),
            review({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "w"}, "spec": {}}),
        ):
            result = mutated(one, asked)
            assert (result.answer.allowed, result.answer.patch) == (True, ())
    with admission(models.settings) as one:
        assert mutated(one, review(with_volume())).answer.patch == ()


def test_what_cannot_be_read_is_denied(settings: AdmissionSettings) -> None:
    with admission(settings) as one:
        asked = review(with_volume())
        asked["request"]["operation"] = "BLESS"
        assert not mutated(one, asked).answer.allowed
        asked = review(with_volume(), namespace="nobody-s")
        none = replace(one.settings, rules=())
        one.settings = none
        assert not mutated(one, asked).answer.allowed


def test_over_http(settings: AdmissionSettings, tmp_path: Path) -> None:
    """The endpoint answers as the API server wants it, and counts."""
    certificate(tmp_path)
    with serving(settings, tmp_path) as (_, client):
        status, answer = client.post("/mutate", review(with_volume()))
        assert status == 200
        assert patched(with_volume(), answer)["spec"]["initContainers"]
        status, text = client.call("GET", "/metrics")
        assert status == 200
        assert "mutate" in str(text)


@pytest.mark.parametrize(
    ("guard", "fine"),
    [
        (f"{{image: '{IMAGE}', arguments: [--layout, x], ignore: ['hostPath:/dev/shm'], user: 1000}}", True),
        (f"{{image: '{IMAGE}'}}", True),
        ("{image: 'registry.example.com/gitchain:latest'}", False),
        (f"{{image: '{IMAGE}', user: 0}}", False),
        (f"{{image: '{IMAGE}', extra: 1}}", False),
        ("{}", False),
    ],
)
def test_the_settings_say_how(tmp_path: Path, guard: str, fine: bool) -> None:
    """The image by its digest, never root; the schema says the same."""
    text = (
        "schema: https://gitchain.dev/serve/v1\n"
        "layouts: {a: {layout: l, signers: [{issuer: 'https://i.example', subject: s}], trust: local, repository: r}}\n"
        f"rules: [{{namespaces: ['*'], layout: a, guard: {guard}}}]\n"
    )
    (tmp_path / "serve.yaml").write_text(text)
    import yaml

    schema = json.loads((Path(__file__).parents[2] / "schemas/serve.schema.json").read_text())
    assert Draft202012Validator(schema).is_valid(yaml.safe_load(text)) is fine
    if fine:
        found = read_settings(tmp_path / "serve.yaml").rules[0].guarding
        assert found is not None
        assert found.image == IMAGE
    else:
        with pytest.raises(UsageError):
            read_settings(tmp_path / "serve.yaml")

"""The verifying container comes first, whatever the pod looks like, and nobody but the operator has a say in it."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitchain.admit.mutate import PREFIX, VERIFIED, GuardSettings, guard_pod, unguarded

D, E = "ab" * 32, "cd" * 32
SETTINGS = GuardSettings(
    "registry.example.com/gitchain@sha256:" + "0" * 64,
    ("--layout", "/etc/gitchain/layout.sigstore.json", "--signer", "owner@example.com"),
    ignore=("persistentVolumeClaim:cache-*", "hostPath:/dev/shm"),
)


def claim(name: str = "models", of: str = "") -> dict[str, Any]:
    return {"name": name, "persistentVolumeClaim": {"claimName": of or name}}


def mount(name: str = "models", at: str = "/mnt/models", **more: Any) -> dict[str, Any]:
    return {"name": name, "mountPath": at, **more}


def container(name: str = "server", *mounts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "serve", "volumeMounts": list(mounts), **more}


def pod(*containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "containers": list(containers) or [container("server", mount())],
        "volumes": [claim()],
    }
    return {"metadata": {"annotations": {"gitchain.dev/model": f"sha256:{D}"}}, "spec": spec | more}


def applied(found: dict[str, Any], settings: GuardSettings = SETTINGS) -> dict[str, Any]:
    """Return the pod after its patch; there must be no problem."""
    guarded = guard_pod(found, settings)
    assert guarded.problems == ()
    after = copy.deepcopy(found)
    for one in guarded.patch:
        assert one["op"] == "add"
        after["spec"][str(one["path"]).removeprefix("/spec/")] = copy.deepcopy(one["value"])
    return after


def defaulted(found: dict[str, Any]) -> dict[str, Any]:
    """Return the pod as the API server completes it before the next webhook sees it."""
    after = copy.deepcopy(found)
    for key in ("initContainers", "containers"):
        for one in after["spec"].get(key, []):
            one |= {
                "terminationMessagePath": "/dev/termination-log",
                "imagePullPolicy": "IfNotPresent",
                "resources": {},
            }
            one["volumeMounts"].append(
                {
                    "name": "kube-api-access",
                    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                    "readOnly": True,
                }
            )
    after["spec"]["volumes"].append({"name": "kube-api-access", "projected": {"sources": []}})
    return after


def said(found: dict[str, Any]) -> str:
    guarded = guard_pod(found, SETTINGS)
    assert guarded.patch == ()
    return " ".join(map(str, guarded.problems))


def test_the_verifying_container_is_first_and_the_others_see_the_copy() -> None:
    """Image, arguments and order are the operator's; the copy is named by its digest and mounted read-only."""
    after = applied(pod(initContainers=[container("fetch", mount(readOnly=False))]))["spec"]
    first, second = after["initContainers"]
    assert first["name"].startswith(PREFIX)
    assert first["image"] == SETTINGS.image
    assert first["args"] == [
        "fetch",
        f"file:///source@sha256:{D}",
        f"/verified/models/sha256-{D}",
        *SETTINGS.arguments,
    ]
    assert first["volumeMounts"][0] == {"name": "models", "mountPath": "/source", "readOnly": True}
    assert first["securityContext"]["readOnlyRootFilesystem"] is True
    for one in (second, *after["containers"]):
        assert one["volumeMounts"] == [
            {"name": VERIFIED, "mountPath": "/mnt/models", "readOnly": True, "subPath": f"models/sha256-{D}"}
        ]
    assert {"name": VERIFIED, "emptyDir": {}} in after["volumes"]


def test_a_guarded_pod_is_left_as_it_is() -> None:
    """Invoked again, and at validation with what the API server added: no patch, no problem."""
    once = applied(pod(initContainers=[container("fetch", mount())]))
    assert guard_pod(once, SETTINGS).patch == ()
    assert guard_pod(defaulted(once), SETTINGS) == guard_pod(once, SETTINGS)
    assert unguarded(defaulted(once), SETTINGS) == ()


def test_what_another_webhook_undoes_is_put_right_or_refused() -> None:
    """A container put before ours, a mount of the volume itself, ours taken away: changed again, and denied at validation."""
    once = applied(pod())
    before = copy.deepcopy(once)
    before["spec"]["initContainers"].insert(0, container("sidecar", mount("models", "/x")))
    direct = copy.deepcopy(once)
    direct["spec"]["containers"].append(container("late", mount()))
    gone = copy.deepcopy(once)
    gone["spec"]["initContainers"] = []
    gone["spec"]["containers"] = [container("server", mount())]
    for changed in (before, direct, gone):
        assert unguarded(changed, SETTINGS)
        healed = applied(changed)
        assert healed["spec"]["initContainers"][0]["name"].startswith(PREFIX)
        assert unguarded(healed, SETTINGS) == ()


def test_volumes_without_bytes_of_their_own_and_ignored_ones_are_left() -> None:
    """Nothing to verify: configuration, empty directories, images that admission checks, what the operator passes over."""
    harmless = [
        {"name": "a", "configMap": {"name": "x"}},
        {"name": "b", "emptyDir": {}},
        {"name": "c", "image": {"reference": "x"}},
        claim("d", "cache-1"),
        {"name": "e", "hostPath": {"path": "/dev/shm"}},
        {"name": "f"},
        claim("never mounted"),
    ]
    mounts = [mount(name, f"/{name}") for name in "abcdef"]
    assert guard_pod(pod(container("server", *mounts), volumes=harmless), SETTINGS).patch == ()


@pytest.mark.parametrize(
    "volume",
    [
        {"hostPath": {"path": "/models"}},
        {"nfs": {"server": "a", "path": "/x"}},
        {"csi": {"driver": "x"}},
        {"ephemeral": {"volumeClaimTemplate": {}}},
        {"persistentVolumeClaim": {"claimName": "notcache-1"}},
        {"somethingNew": {}},
        {"emptyDir": {}, "hostPath": {"path": "/models"}},
    ],
)
def test_every_other_volume_is_a_model(volume: dict[str, Any]) -> None:
    """A kind that is not known to be harmless is verified: the author cannot hide a model in a new one."""
    assert guard_pod(pod(volumes=[{"name": "models", **volume}]), SETTINGS).patch != ()


def test_ignoring_a_driver_leaves_no_volume_that_its_author_chooses() -> None:
    """`csi:x` is a volume of the driver without attributes; those with some are named with them, or by a pattern."""
    chosen = {"csi": {"driver": "x", "volumeAttributes": {"image": "evil/llama"}}}
    text = "csi:x?volumeAttributes.image=evil/llama"
    for ignore, volume, is_left in (
        ("csi:x", {"csi": {"driver": "x", "readOnly": True}}, True),
        ("csi:x", chosen, False),
        (text, chosen, True),
        ("csi:x*", chosen, True),
    ):
        settings = replace(SETTINGS, ignore=(ignore,))
        assert (guard_pod(pod(volumes=[{"name": "models", **volume}]), settings).patch == ()) == is_left


def test_several_volumes_each_with_its_digest() -> None:
    found = pod(
        container("server", mount("one", "/1"), mount("two", "/2", subPath="v3")),
        volumes=[claim("one"), claim("two")],
    )
    found["metadata"]["annotations"] = {
        "gitchain.dev/model.one": f"sha256:{D}",
        "gitchain.dev/model.two": f"sha256:{E}",
    }
    after = applied(found)["spec"]
    assert [one["args"][1][-64:] for one in after["initContainers"]] == [D, E]
    assert after["initContainers"][1]["volumeMounts"][0]["subPath"] == "v3"
    assert [one["subPath"] for one in after["containers"][0]["volumeMounts"]] == [
        f"one/sha256-{D}",
        f"two/sha256-{E}",
    ]
    assert unguarded(applied(found), SETTINGS) == ()


@pytest.mark.parametrize(
    "note", [None, "", "sha256:0", f"sha256:{D}, sha256:{E}", "latest", f"sha256:{D.upper()}", 5]
)
def test_without_one_digest_nothing_can_be_verified(note: Any) -> None:
    found = pod()
    found["metadata"]["annotations"] = {"gitchain.dev/model": note}
    assert "GC-A0201" in said(found)


def test_the_author_cannot_name_two_volumes_with_one_annotation() -> None:
    found = pod(
        container("server", mount("one", "/1"), mount("two", "/2")), volumes=[claim("one"), claim("two")]
    )
    assert said(found).count("GC-A0201") == 2


def lookalike(change: dict[str, Any]) -> dict[str, Any]:
    ours = applied(pod())["spec"]["initContainers"][0]
    return {**ours, **change}


@pytest.mark.parametrize(
    "change",
    [
        {"image": "evil"},
        {"command": ["true"]},
        {"args": ["fetch"]},
        {"env": []},
        {"volumeMounts": []},
        {"securityContext": {}},
        {"restartPolicy": "Always"},
        {"lifecycle": {}},
        {"name": PREFIX},
        {"name": f"{PREFIX}x"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_container_of_the_same_name_cannot_take_its_place(change: dict[str, Any]) -> None:
    """Whatever differs from what we would put there is refused: in any list, in front or behind."""
    for key in ("initContainers", "containers", "ephemeralContainers"):
        found = pod()
        found["spec"][key] = [*found["spec"].get(key, []), lookalike(change)]
        assert "name that is reserved" in said(found), key


def test_our_container_among_the_others_is_refused() -> None:
    found = pod()
    found["spec"]["containers"].append(lookalike({}))
    assert "name that is reserved" in said(found)


@pytest.mark.parametrize(
    "bad",
    [
        mount(VERIFIED, "/x"),
        mount(VERIFIED, "/x", readOnly=True),
        mount(VERIFIED, "/x", readOnly=True, subPath="other"),
        mount(VERIFIED, "/x", subPath=f"models/sha256-{D}"),
        mount(VERIFIED, "/x", readOnly="true", subPath=f"models/sha256-{D}"),
    ],
)
@pytest.mark.parametrize("key", ["initContainers", "containers", "ephemeralContainers"])
def test_what_was_verified_cannot_be_written(bad: dict[str, Any], key: str) -> None:
    """No container gets the copies in another way than we mount them, before or after."""
    found = applied(pod())
    found["spec"][key] = [*found["spec"].get(key, []), container("evil", bad)]
    assert "mounted in another way" in said(found)


@pytest.mark.parametrize("volume", [claim(VERIFIED), {"name": VERIFIED, "emptyDir": {"medium": "Memory"}}])
def test_the_verified_volume_is_ours(volume: dict[str, Any]) -> None:
    assert said(pod(volumes=[claim(), volume])) != ""


def test_what_cannot_be_verified_is_refused() -> None:
    """A path from a variable, a raw device, two parts of one volume."""
    assert "set from elsewhere" in said(pod(container("server", mount(subPathExpr="$(X)"))))
    device = container("server", mount(), volumeDevices=[{"name": "models", "devicePath": "/dev/x"}])
    assert "raw device" in said(pod(device))
    parts = container("server", mount(subPath="a"), mount("models", "/y", subPath="b"))
    assert "several parts" in said(pod(parts))


@pytest.mark.parametrize(
    "notes",
    [
        {"gitchain.dev/guard": "false"},
        {"gitchain.dev/image": "evil"},
        {"gitchain.dev/args": "--trust local"},
        {"sidecar.istio.io/inject": "false"},
    ],
)
def test_annotations_change_nothing_but_the_digest(notes: dict[str, str]) -> None:
    found = pod()
    found["metadata"]["annotations"] |= notes
    assert guard_pod(found, SETTINGS) == guard_pod(pod(), SETTINGS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["models", VERIFIED, "/mnt/models"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["name", "spec", "volumes", "containers", "initContainers", "volumeMounts", "persistentVolumeClaim", "x"]),
        inner,
        max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


@given(JSON, JSON)
def test_whatever_is_sent_is_answered(spec: Any, metadata: Any) -> None:
    """No JSON makes it fail: a patch, problems, or nothing to do."""
    found = guard_pod({"spec": spec, "metadata": metadata}, SETTINGS)
    assert not (found.patch and found.problems)


@given(
    st.lists(
        st.tuples(st.sampled_from(["initContainers", "containers"]), st.booleans()), min_size=1, max_size=12
    )
)
def test_no_container_of_any_pod_sees_the_volume(shape: list[tuple[str, bool]]) -> None:
    """However many containers there are: ours is first, and no other one mounts the volume itself."""
    found = pod(container("first", mount()))
    for number, (key, mounts) in enumerate(shape):
        one = container(f"c{number}", *([mount(at=f"/m{number}")] if mounts else []))
        found["spec"].setdefault(key, []).append(one)
    after = applied(found)["spec"]
    assert after["initContainers"][0]["name"].startswith(PREFIX)
    others = [*after["initContainers"][1:], *after["containers"]]
    assert len(others) == len(shape) + 1
    assert not [one for other in others for one in other["volumeMounts"] if one["name"] == "models"]

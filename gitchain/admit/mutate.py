"""Patch pods so that their containers see a model only after the node verified its bytes.

For each volume whose content is not visible at admission (a claim, a host path, a network share), an init container
is inserted first. It copies the volume into `gitchain-verified` if the copy has the digest in the pod's annotation
and the layout passes it: `gitchain fetch file:///source@sha256:… /verified/VOLUME/sha256-…`. Every other container
gets that directory, read-only, instead of the volume: later writes to the volume have no effect.

The pod's author controls only the digest. Image, arguments and order are the operator's. Containers and mounts that
imitate ours are refused. A guarded pod is unchanged. Pure: no network access.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gitchain.admit.denial_reasons import DenialCode, DenialReason
from gitchain.admit.patterns import matches
from gitchain.admit.references import digest
from gitchain.admit.volumes import volume_text
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import Sha256, sha256_hex

ANNOTATION = "gitchain.dev/model"
PREFIX = "gitchain-guard-"
VERIFIED = "gitchain-verified"
NOBODY = 65532  # the conventional user of images without a shell
HARMLESS = frozenset({"configMap", "secret", "downwardAPI", "projected", "emptyDir", "image"})
"""Volumes without bytes of their own, or with content known at admission by digest (images)."""

_LISTS = ("initContainers", "containers", "ephemeralContainers")
_ADDED = frozenset({"resources", "terminationMessagePath", "terminationMessagePolicy", "imagePullPolicy"})
"""Fields that the API server and its limits add to a container."""

_TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - where Kubernetes mounts the account's token
_HELP = "see docs/guard.md"
Object = Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """The operator's settings: the verifying image with digest, its policy flags, and volumes without models.

    `ignore` are patterns for volumes as `KIND:NAME`, such as `persistentVolumeClaim:cache-*` or `hostPath:/dev/shm`.
    """

    image: str
    arguments: tuple[str, ...]
    ignore: tuple[str, ...] = ()
    user: int = NOBODY


@dataclass(frozen=True, slots=True)
class GuardPatch:
    """The JSON Patch (RFC 6902) that guards a pod, empty if it is guarded already; or the problems, without a patch."""

    patch: tuple[Object, ...] = ()
    problems: tuple[DenialReason, ...] = ()


@dataclass(frozen=True, slots=True)
class _ModelVolume:
    """A volume, its mounted part, and the required digest."""

    volume: str
    sub_path: str
    sha256: Sha256

    @property
    def place(self) -> str:
        """Return the path of the verified copy in the verified volume."""
        return f"{self.volume}/sha256-{self.sha256}"


def guard_pod(pod: Object, settings: GuardSettings) -> GuardPatch:
    """Return the patch of a pod that verifies its models before anything else runs."""
    work = _Pod(pod, settings)
    models = list(work.models())
    ours = [_container(one, settings) for one in models]
    work.check_reserved(models, ours)
    if work.problems:
        return GuardPatch(problems=tuple(work.problems))
    return GuardPatch(tuple(work.patch(models, ours)))


def unguarded(pod: Object, settings: GuardSettings, old: Object | None = None) -> tuple[DenialReason, ...]:
    """Return why a pod may not run: another webhook undid the patch, or the pod cannot be guarded.

    No update can add an init container. For a pod that existed before, or was guarded in another way (`old`), only
    changes of what runs are refused.
    """
    if old is not None and _runs(pod) == _runs(old):
        return ()
    found = guard_pod(pod, settings)
    if found.patch:
        return (_problem("the pod mounts models that are not verified", "spec"),)
    return found.problems


class _Pod:
    def __init__(self, pod: Object, settings: GuardSettings) -> None:
        self.problems: list[DenialReason] = []
        self._settings = settings
        self._spec = _object(pod.get("spec"))
        self._notes = _object(_object(pod.get("metadata")).get("annotations"))
        self._volumes = [_object(one) for one in _list(self._spec.get("volumes"))]
        self._foreign = [str(one.get("name")) for one in self._volumes if self._is_foreign(one)]

    def _is_foreign(self, volume: Object) -> bool:
        kinds = [key for key in volume if key != "name"]
        if all(kind in HARMLESS for kind in kinds):
            return False
        return not any(matches(volume_text(kind, volume[kind]), self._settings.ignore) for kind in kinds)

    def containers(self) -> Iterator[tuple[str, int, Object]]:
        """Yield every container with its list and its index."""
        for key in _LISTS:
            for index, one in enumerate(_list(self._spec.get(key))):
                yield key, index, _object(one)

    def models(self) -> Iterator[_ModelVolume]:
        """Yield the models of the pod in the order of its volumes. Problems are collected."""
        used: dict[str, set[str]] = {}
        for key, index, container in self.containers():
            where = f"spec.{key}[{index}]"
            for mount in map(_object, _list(container.get("volumeMounts"))):
                if (name := mount.get("name")) in self._foreign:
                    if "subPathExpr" in mount:
                        self.problems.append(_problem("a model's path is set from elsewhere", where))
                    used.setdefault(str(name), set()).add(str(mount.get("subPath") or ""))
            for device in map(_object, _list(container.get("volumeDevices"))):
                if device.get("name") in self._foreign:
                    self.problems.append(_problem("a model on a raw device cannot be verified", where))
        for volume in self._foreign:
            paths = used.get(volume, set())
            if len(paths) > 1:
                self.problems.append(_problem(f"volume {volume} is mounted in several parts", "spec.volumes"))
            elif paths and (sha256 := self._digest(volume, len({*used}))):
                yield _ModelVolume(volume, paths.pop(), sha256)

    def _digest(self, volume: str, volumes: int) -> Sha256 | None:
        """Return the digest for a volume: of its own annotation, or of the only annotation for the only volume."""
        own = self._notes.get(f"{ANNOTATION}.{volume}")
        text = own if own is not None or volumes > 1 else self._notes.get(ANNOTATION)
        found = digest(text.strip()) if isinstance(text, str) else None
        if found is None:
            self.problems.append(
                DenialReason(
                    DenialCode.NO_DIGEST,
                    f"no annotation has the digest of the model on volume {volume}",
                    "metadata.annotations",
                    f"annotate {ANNOTATION}.{volume}: sha256:DIGEST",
                )
            )
        return found

    def check_reserved(self, models: Sequence[_ModelVolume], ours: Sequence[Object]) -> None:
        """Collect a problem for each container, volume and mount that uses a reserved name."""
        places = {one.place for one in models}
        for key, index, container in self.containers():
            where = f"spec.{key}[{index}]"
            if str(container.get("name", "")).startswith(PREFIX):
                if key != "initContainers" or not any(_is_ours(container, one) for one in ours):
                    self.problems.append(_problem("a container has a name that is reserved", where))
                continue
            for mount in map(_object, _list(container.get("volumeMounts"))):
                plain = mount.get("readOnly") is True and mount.get("subPath") in places
                if mount.get("name") == VERIFIED and not plain:
                    self.problems.append(_problem("the verified volume is mounted in another way", where))
        for volume in self._volumes:
            if volume.get("name") == VERIFIED and volume != _VOLUME:
                self.problems.append(_problem("a volume has a name that is reserved", "spec.volumes"))

    def patch(self, models: Sequence[_ModelVolume], ours: Sequence[Object]) -> Iterator[Object]:
        """Yield one operation for each list of the specification that changes."""
        by_volume = {one.volume: one for one in models}
        for key in _LISTS:
            before = _list(self._spec.get(key))
            after: list[Json] = [_mounted(_object(one), by_volume) for one in before]
            if key == "initContainers":
                rest = [one for one in after if not _is_reserved(one)]
                after = [*(_present(before, one) for one in ours), *rest]
            if after != list(before):
                yield {"op": "add", "path": f"/spec/{key}", "value": after}
        if ours and _VOLUME not in self._volumes:
            yield {"op": "add", "path": "/spec/volumes", "value": [*self._volumes, _VOLUME]}


_VOLUME: dict[str, Json] = {"name": VERIFIED, "emptyDir": {}}


def _container(model: _ModelVolume, settings: GuardSettings) -> dict[str, Json]:
    """Return the init container that verifies one model."""
    source: dict[str, Json] = {"name": model.volume, "mountPath": "/source", "readOnly": True}
    if model.sub_path:
        source["subPath"] = model.sub_path
    return {
        "name": f"{PREFIX}{sha256_hex(model.volume.encode())[:12]}",
        "image": settings.image,
        "command": ["gitchain"],
        "args": [
            "fetch",
            f"file:///source@sha256:{model.sha256}",
            f"/verified/{model.place}",
            *settings.arguments,
        ],
        "env": [{"name": "GITCHAIN_HOME", "value": "/verified/.gitchain"}],
        "volumeMounts": [source, {"name": VERIFIED, "mountPath": "/verified"}],
        "securityContext": {
            "runAsUser": settings.user,
            "runAsNonRoot": True,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def _present(containers: Sequence[Json], ours: Object) -> Object:
    """Return the existing container if there is one, else the new one."""
    found = (_object(one) for one in containers)
    return next((one for one in found if _is_ours(one, ours)), ours)


def _is_ours(container: Object, ours: Object) -> bool:
    """Return True if a container is ours, apart from fields that the API server adds."""
    if container.keys() - ours.keys() - _ADDED:
        return False
    mounts, own = _list(container.get("volumeMounts")), _list(ours["volumeMounts"])
    added = [_object(one) for one in mounts[len(own) :]]
    token = all(one.get("mountPath") == _TOKEN and one.get("readOnly") is True for one in added)
    rest = all(container.get(key) == value for key, value in ours.items() if key != "volumeMounts")
    return rest and list(mounts[: len(own)]) == list(own) and token


def _mounted(container: Object, models: Mapping[str, _ModelVolume]) -> dict[str, Json]:
    """Return a container with the verified copies instead of the volumes; ours keeps the volumes."""
    mounts = _list(container.get("volumeMounts"))
    if _is_reserved(container) or not mounts:
        return dict(container)
    after = [_mount(_object(one), models) for one in mounts]
    return {**container, "volumeMounts": [*after]}


def _mount(mount: Object, models: Mapping[str, _ModelVolume]) -> dict[str, Json]:
    model = models.get(str(mount.get("name")))
    if model is None:
        return dict(mount)
    return {
        "name": VERIFIED,
        "mountPath": mount.get("mountPath"),
        "readOnly": True,
        "subPath": model.place,
    }


def _runs(pod: Object) -> tuple[Json, ...]:
    """Return the parts of a pod that affect which bytes its containers see; resources are excluded."""
    spec, notes = _object(pod.get("spec")), _object(_object(pod.get("metadata")).get("annotations"))
    containers = [
        [
            {key: value for key, value in _object(one).items() if key != "resources"}
            for one in _list(spec.get(name))
        ]
        for name in _LISTS
    ]
    models = {key: value for key, value in notes.items() if key.startswith(ANNOTATION)}
    return [*containers], spec.get("volumes"), models


def _is_reserved(container: Json) -> bool:
    return str(_object(container).get("name", "")).startswith(PREFIX)


def _object(value: Json) -> Object:
    return value if isinstance(value, Mapping) else {}


def _list(value: Json) -> Sequence[Json]:
    return value if isinstance(value, list | tuple) else ()


def _problem(what: str, where: str) -> DenialReason:
    return DenialReason(DenialCode.NODE, what, where, _HELP)

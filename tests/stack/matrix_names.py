"""What a developer tries with names: of namespaces, of models, of digests, and in annotations."""

from __future__ import annotations

import socket

from tests.stack.ground import CLAIMING, ENFORCED
from tests.stack.install import Installed
from tests.stack.kube import MERGE, Reply
from tests.stack.tries import BAD, GOOD, case, create, created, name, nothing, patch, pod, spec
from tests.support.admission import REGISTRY, digest

# Namespaces


@case("namespace", "its name label set to kube-system", "denied GC-E0201")
def _(on: Installed) -> Reply:
    change = {"metadata": {"labels": {"kubernetes.io/metadata.name": "kube-system"}}}
    on.admin.call("PATCH", f"/api/v1/namespaces/{ENFORCED}", change, kind=MERGE)
    return create(on, pod(spec(BAD)))


@case("namespace", "labels that other webhooks leave out", "denied GC-E0201")
def _(on: Installed) -> Reply:
    labels = {"control-plane": "", "admission.gatekeeper.sh/ignore": "yes", "gitchain.dev/ignore": "true"}
    on.admin.call("PATCH", f"/api/v1/namespaces/{ENFORCED}", {"metadata": {"labels": labels}}, kind=MERGE)
    return create(on, pod(spec(BAD), labels=labels))


@case("namespace", "a new one with kube-system for its name label", "denied GC-A0104")
def _(on: Installed) -> Reply:
    fresh, label = name(), {"kubernetes.io/metadata.name": "kube-system"}
    on.admin.call(
        "POST", "/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": fresh, "labels": label}}
    )
    return create(on, pod(spec(BAD)), namespace=fresh)


@case("namespace", "the object says another one than the request", "impossible")
def _(on: Installed) -> Reply:
    return create(on, pod(spec(BAD), namespace="kube-system"))


# Names of models

DISGUISES = (
    ("Cyrillic letter in the scheme", f"оci://{BAD}"),
    ("full-width scheme", f"ｏｃｉ://{BAD}"),
    ("full-width colon", f"oci：//{BAD}"),
    ("zero-width space in the scheme", f"o\u200bci://{BAD}"),
    ("Cyrillic digit-like letter in the digest", f"oci://{REGISTRY}/m@sha256:а{digest('nobody')[1:]}"),
    ("right-to-left override in the digest", f"oci://{REGISTRY}/m@sha256:\u202e{digest('nobody')}"),
)
for _name, _reference in DISGUISES:
    case("look-alike", _name, "denied GC-A0202")(lambda on, one=_reference: create(on, pod(spec(GOOD, one))))  # type: ignore[misc]


@case("look-alike", "an image volume's reference, with a look-alike letter", "denied GC-A0202")
def _(on: Installed) -> Reply:
    return create(on, pod(spec(BAD.replace("m", "м", 1))))


DIGESTS = (
    ("tag in an argument", f"oci://{REGISTRY}/good:v1", "GC-A0201"),
    (
        "tag and the digest of another model",
        f"oci://{REGISTRY}/good:v1@sha256:{digest('nobody')}",
        "GC-E0201",
    ),
    ("digest of another algorithm", f"oci://{REGISTRY}/good@sha512:{digest('good') * 2}", "GC-A0201"),
    ("digest in capitals", f"oci://{REGISTRY}/good@sha256:{digest('good').upper()}", "GC-A0201"),
    ("digest with something behind it", f"oci://{GOOD}/../../nobody", "GC-A0201"),
    ("digest in a name that is none: a bucket", f"s3://models/good@sha256:{digest('good')}", "GC-A0201"),
)
for _name, _reference, _code in DIGESTS:
    case("digest", _name, f"denied {_code}")(lambda on, one=_reference: create(on, pod(spec("", one))))  # type: ignore[misc]


@case(
    "digest", "the registry has another manifest the second time: it is not asked at all", "denied GC-A0201"
)
def _(on: Installed) -> Reply:
    with socket.create_server(("127.0.0.1", 0)) as registry:
        registry.setblocking(False)
        reply = create(on, pod(spec(f"127.0.0.1:{registry.getsockname()[1]}/good:latest")))
        try:
            registry.accept()
        except BlockingIOError:
            return reply
    return nothing("the registry was asked")


# What the author of a pod writes beside it

GIVEN = f"sha256:{digest('good')}"
NOTES = (
    ("a signed digest for a bucket", {"gitchain.dev/model": GIVEN}, "s3://models/any", ENFORCED, "GC-A0201"),
    ("a signed digest beside an unknown model", {"gitchain.dev/model": GIVEN}, f"oci://{BAD}", ENFORCED, "GC-E0201"),
    ("a signed digest for a container with another", {"gitchain.dev/model.server": GIVEN}, f"oci://{BAD}", CLAIMING,
     "GC-A0204"),
    ("two digests, one of them unknown", {"gitchain.dev/model": f"{GIVEN},sha256:{digest('nobody')}"},
     f"oci://{GOOD}", CLAIMING, "GC-E0201"),
    ("no digest at all", {"gitchain.dev/model": "verified"}, f"oci://{GOOD}", ENFORCED, "GC-A0203"),
    ("a made-up verdict and mode", {"gitchain.dev/verdict": "PASSED", "gitchain.dev/mode": "audit"}, f"oci://{BAD}",
     ENFORCED, "GC-E0201"),
)  # fmt: skip
for _name, _notes, _reference, _namespace, _code in NOTES:
    case("annotation", _name, f"denied {_code}")(
        lambda on, notes=_notes, one=_reference, where=_namespace: create(  # type: ignore[misc]
            on, pod(spec("", one), annotations=notes), namespace=where
        )
    )


@case("annotation", "put on a pod that was admitted, with an unknown digest", "denied GC-E0201")
def _(on: Installed) -> Reply:
    change = {"metadata": {"annotations": {"gitchain.dev/model": f"sha256:{digest('nobody')}"}}}
    return patch(on, created(on, pod(spec(GOOD))), change, MERGE)

"""Models with real six-step chains in a real store, a server over them, and the reviews that a cluster sends."""

from __future__ import annotations

import asyncio
import copy
import json
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gitchain.admit.admission import Admission, AdmissionResult
from gitchain.admit.config import read_settings
from gitchain.admit.evidence import EvidenceReader, SourceReader
from gitchain.admit.layout_evaluator import LayoutEvaluator
from gitchain.admit.settings import AdmissionSettings
from gitchain.admit.verdict_cache import VerdictCache
from gitchain.evidence import predicates
from gitchain.evidence.digest import DigestSet, Sha256, sha256_hex
from gitchain.evidence.predicates import PROVENANCE, REVOCATION, StepFacts
from gitchain.evidence.revocation import revocation
from gitchain.evidence.statement import ResourceDescriptor, Statement

CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
WHO = "ada@example.com"
STEPS = ("data", "prepare", "train", "evaluate", "approve", "release")
REGISTRY = "registry.example.com/models"
LAYOUT = """\
schema: https://gitchain.dev/layout/v1
name: credit
version: 3
expires: "2099-01-01T00:00:00Z"
functionaries:
  ada: {{identities: [{{issuer: "{issuer}", subject: ada@example.com}}]}}
revokers: [ada]
steps:
  - name: data
    functionaries: [ada]
    expectedProducts: [[CREATE, data/raw.csv], [DISALLOW, "*"]]
  - name: prepare
    functionaries: [ada]
    expectedMaterials: [[MATCH, data/raw.csv, WITH, PRODUCTS, FROM, data], [DISALLOW, "*"]]
    expectedProducts: [[CREATE, data/clean.csv], [DISALLOW, "*"]]
  - name: train
    functionaries: [ada]
    expectedMaterials: [[MATCH, data/clean.csv, WITH, PRODUCTS, FROM, prepare], [DISALLOW, "*"]]
    expectedProducts: [[CREATE, "models/*"], [DISALLOW, "*"]]
  - name: evaluate
    functionaries: [ada]
    expectedMaterials: [[MATCH, "models/*", WITH, PRODUCTS, FROM, train], [DISALLOW, "*"]]
    expectedProducts: [[CREATE, "metrics/*"], [DISALLOW, "*"]]
  - name: approve
    functionaries: [ada]
    maxAge: PT12H
    expectedMaterials:
      - [MATCH, "models/*", WITH, PRODUCTS, FROM, train]
      - [MATCH, "metrics/*", WITH, PRODUCTS, FROM, evaluate]
      - [DISALLOW, "*"]
    expectedProducts: [[CREATE, "approvals/*"], [DISALLOW, "*"]]
  - name: release
    functionaries: [ada]
    expectedMaterials:
      - [MATCH, "models/*", WITH, PRODUCTS, FROM, train]
      - [MATCH, "approvals/*", WITH, PRODUCTS, FROM, approve]
      - [DISALLOW, "*"]
    expectedProducts: [[CREATE, "releases/*"], [DISALLOW, "*"]]
serve: [{{step: train, products: ["models/*"]}}]
"""
SETTINGS = """\
schema: https://gitchain.dev/serve/v1
layouts:
  credit:
    layout: {layout}
    signers: [{{issuer: "{issuer}", subject: ada@example.com}}]
    trust: trust.json
    repository: {repository}
rules:
  - {{namespaces: [prod, "prod-*"], layout: credit}}
  - {{namespaces: [lenient], layout: credit, strict: false, ignore: ["s3://logs/*"]}}
  - {{namespaces: [claims], layout: credit, claims: true}}
  - {{namespaces: [warn], layout: credit, mode: warn}}
  - {{namespaces: [audit], layout: credit, mode: audit}}
"""


@dataclass(frozen=True)
class AdmissionFiles:
    """A directory with a repository of evidence, the layout's file, the trust, and settings."""

    top: Path

    @property
    def repository(self) -> Path:
        return self.top / "repo"

    @property
    def settings(self) -> AdmissionSettings:
        return read_settings(self.top / "serve.yaml")


def digest(model: str) -> Sha256:
    return sha256_hex(f"model {model}".encode())


def oci(model: str) -> str:
    return f"oci://{REGISTRY}/{model}@sha256:{digest(model)}"


def write_admission_files(top: Path, models: Sequence[str] = ("good", "second", "revoked")) -> AdmissionFiles:
    """Sign a whole chain for each model, one without its approval, and revoke one of them."""
    from gitchain.cli.main import run
    from gitchain.trust.load_profile import load_profile
    from gitchain.trust.profiles import SigningIdentity
    from gitchain.workspace.project import open_project

    repo = top / "repo"
    subprocess.run(["git", "init", "-q", str(repo)], check=True)
    with chdir(repo):
        assert run(["-q", "init", "--local", "--name", "credit", "--no-hooks"]) == 0
        instance = load_profile("local").instance
        assert instance is not None
        (repo / ".gitchain/layout.yaml").write_text(LAYOUT.format(issuer=instance.issuer))
        assert run(["-q", "layout", "sign", "--no-lint", "--as", WHO]) == 0
    statements = [*upstream()]
    for model in models:
        statements += chain(model)
    statements += [one for one in chain("unapproved") if '"approve"' not in one.payload.decode()]
    with load_profile("local").signer(SigningIdentity(WHO)) as signer:
        bundles = signer.sign(statements)
        bundles += signer.sign([taken_back("revoked")] if "revoked" in models else [])
    open_project(repo).store.add(bundles)
    profile = load_profile("local")
    (top / "trust.json").write_text(profile.text)
    text = SETTINGS.format(
        issuer=instance.issuer, layout="repo/.gitchain/layout.sigstore.json", repository="repo"
    )
    (top / "serve.yaml").write_text(text)
    return AdmissionFiles(top)


def upstream() -> list[Statement]:
    return [
        statement("data", {}, {"data/raw.csv": "raw"}),
        statement("prepare", {"data/raw.csv": "raw"}, {"data/clean.csv": "clean"}),
    ]


def chain(model: str) -> list[Statement]:
    made = {f"models/{model}": f"model {model}"}
    metrics = {f"metrics/{model}": f"metrics {model}"}
    approval = {f"approvals/{model}": f"approval {model}"}
    return [
        statement("train", {"data/clean.csv": "clean"}, made),
        statement("evaluate", made, metrics),
        statement("approve", made | metrics, approval),
        statement("release", made | approval, {f"releases/{model}": f"release {model}"}),
    ]


def statement(step: str, materials: Mapping[str, str], products: Mapping[str, str]) -> Statement:
    made, used = ([descriptor(*item) for item in side.items()] for side in (products, materials))
    facts = StepFacts(step, sha256_hex(json.dumps([step, products]).encode())[:32], "observed", "credit")
    return Statement.build(made, PROVENANCE, predicates.provenance(step=facts, materials=used))


def taken_back(model: str) -> Statement:
    predicate = revocation(reason="compromised", when="2026-01-01T00:00:00Z")
    return Statement.build([descriptor(f"models/{model}", f"model {model}")], REVOCATION, predicate)


def descriptor(name: str, content: str) -> ResourceDescriptor:
    return ResourceDescriptor(name, DigestSet({"sha256": sha256_hex(content.encode())}))


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


@contextmanager
def admission(
    settings: AdmissionSettings,
    clock: Callable[[], datetime] | None = None,
    readers: Mapping[str, EvidenceReader] | None = None,
) -> Iterator[Admission]:
    """Yield the admission over these settings, without a server; evidence is read when `refresh` is called."""
    clock = clock or (lambda: datetime.now(UTC))
    with ThreadPoolExecutor(1) as decider, ThreadPoolExecutor(1) as reader:
        caches = {
            name: VerdictCache(
                LayoutEvaluator(name, (readers or {}).get(name) or SourceReader(source), settings.times),
                settings.times,
                limit=settings.decisions,
                clock=clock,
                decider=decider,
                reader=reader,
            )
            for name, source in settings.sources.items()
        }
        yield Admission(settings, caches)


def settled(one: Admission) -> Admission:
    """Read the evidence of every layout."""

    async def refresh() -> None:
        for cache in one.caches.values():
            await cache.refresh()

    asyncio.run(refresh())
    return one


def judged(one: Admission, review: Mapping[str, Any] | bytes) -> AdmissionResult:
    body = review if isinstance(review, bytes) else json.dumps(review).encode()
    return asyncio.run(one.decide(body))


def codes(result: AdmissionResult) -> set[str]:
    return {str(one.code) for one in result.answer.problems}


def pod_spec(*arguments: str, **more: Any) -> dict[str, Any]:
    container = {"name": "server", "image": "registry.example.com/server:1", "args": list(arguments)}
    return {"containers": [container], **more}


def pod(*arguments: str, annotations: Mapping[str, str] | None = None, **more: Any) -> dict[str, Any]:
    metadata = {"name": "serving", "annotations": dict(annotations or {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec(*arguments, **more)}


def templated(api: str, kind: str, template: Mapping[str, Any]) -> dict[str, Any]:
    """Return a workload around a pod's template."""
    inner = {"metadata": {"annotations": template["metadata"]["annotations"]}, "spec": template["spec"]}
    spec: dict[str, Any] = {"replicas": 1, "template": inner}
    if kind == "CronJob":
        spec = {"schedule": "0 * * * *", "jobTemplate": {"spec": {"template": inner}}}
    if kind == "PodTemplate":
        return {"apiVersion": api, "kind": kind, "metadata": {"name": "w"}, "template": inner}
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "w"}, "spec": spec}


def kserve(kind: str, spec: Mapping[str, Any], version: str = "v1beta1") -> dict[str, Any]:
    api = f"serving.kserve.io/{version}"
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "m"}, "spec": dict(spec)}


def review(
    source: Mapping[str, Any] | None,
    *,
    operation: str = "CREATE",
    namespace: str = "prod",
    old: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return the AdmissionReview that an API server sends for an object."""
    shown = source or old or {"apiVersion": "v1", "kind": "Pod"}
    group, _, version = str(shown["apiVersion"]).rpartition("/")
    kind = {"group": group, "version": version, "kind": shown["kind"]}
    resource = {"group": group, "version": version, "resource": f"{str(shown['kind']).lower()}s"}
    source, old = copy.deepcopy(source), copy.deepcopy(old)
    for one in (source, old):
        if isinstance(one, dict) and isinstance(one.get("metadata"), dict) and namespace:
            one["metadata"]["namespace"] = namespace
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": kind,
        "resource": resource,
        "requestKind": kind,
        "requestResource": resource,
        "name": "serving",
        "namespace": namespace,
        "operation": operation,
        "userInfo": {"username": "dev@example.com", "groups": ["system:authenticated"]},
        "object": source,
        "oldObject": old,
        "dryRun": False,
        "options": {"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"},
        **more,
    }
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}


def certificate(directory: Path, name: str = "localhost", *, days: float = 30) -> tuple[Path, Path]:
    """Write a self-signed certificate and its key, each in one step, and return where they are."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = built.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    places = directory / "tls.crt", directory / "tls.key"
    for place, data in zip(places, (pem, private), strict=True):
        fresh = place.with_suffix(".new")
        fresh.write_bytes(data)
        fresh.replace(place)
    return places


@dataclass(frozen=True)
class Authority:
    """A CA of clients, as a test makes one."""

    directory: Path
    called: str = "a CA of clients"

    def __post_init__(self) -> None:
        self.directory.mkdir(exist_ok=True)
        certificate(self.directory, self.called)

    @property
    def pem(self) -> Path:
        return self.directory / "tls.crt"

    def client(self, name: str, *, purpose: x509.ObjectIdentifier = CLIENT_AUTH, days: float = 1) -> Path:
        """Issue a certificate with a common name, and return it and its key."""
        issuer = x509.load_pem_x509_certificate(self.pem.read_bytes())
        signer = serialization.load_pem_private_key((self.directory / "tls.key").read_bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        built = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .sign(signer, hashes.SHA256())
        )
        place = self.directory / f"{built.serial_number}.pem"
        form = serialization.PrivateFormat.PKCS8
        private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        place.write_bytes(private + built.public_bytes(serialization.Encoding.PEM))
        return place


@dataclass
class Client:
    """A keep-alive connection that trusts whatever certificate it meets: what is served is the point."""

    port: int
    own: Path | None = None
    """A certificate and its key to show."""

    def __post_init__(self) -> None:
        self.context = ssl.create_default_context()
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        if self.own is not None:
            self.context.load_cert_chain(self.own)
        self.connection = HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=20)

    @property
    def sha256(self) -> str:
        """The digest of the certificate that it shows."""
        assert self.own is not None
        found = x509.load_pem_x509_certificate(self.own.read_bytes())
        return found.fingerprint(hashes.SHA256()).hex()

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
        told = {"Content-Type": "application/json"} | {
            key.replace("_", "-"): value for key, value in headers.items()
        }
        self.connection.request(method, path, body, told)
        answer = self.connection.getresponse()
        data = answer.read()
        kind = answer.getheader("content-type", "")
        return answer.status, json.loads(data) if kind == "application/json" else data.decode()

    def post(self, path: str, value: object, **headers: str) -> tuple[int, Any]:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.call("POST", path, body, **headers)

    def close(self) -> None:
        self.connection.close()


@contextmanager
def serving(
    settings: AdmissionSettings,
    directory: Path,
    clients: Authority | None = None,
    names: tuple[str, ...] = (),
    **more: Any,
) -> Iterator[tuple[Any, Client]]:
    """Run the whole server on loopback in a thread of its own; yield it and a client, the API server to `clients`."""
    from gitchain.admit.server import Service, bind
    from gitchain.admit.tls import Certificate, TlsFiles

    places = certificate(directory)
    socket = bind("127.0.0.1", 0)
    port = socket.getsockname()[1]
    loop = asyncio.new_event_loop()
    made: list[Any] = []
    started = threading.Event()

    async def main() -> None:
        service = Service(
            settings, Certificate(TlsFiles(*places, clients.pem if clients else None, names)), **more
        )
        made.append(service)
        loop.call_soon(started.set)
        await service.run([socket])

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
    thread.start()
    assert started.wait(30)
    client = Client(port, clients.client((*names, "kube-apiserver")[0]) if clients else None)
    try:
        for _ in range(600):
            if client.call("GET", "/readyz")[0] == 200 or more.get("readers"):
                break
            time.sleep(0.05)
        yield made[0], client
    finally:
        client.close()
        loop.call_soon_threadsafe(lambda: made[0].stop(quick=True))
        thread.join(30)
        loop.close()
        assert not thread.is_alive()

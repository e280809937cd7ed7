"""A real Kubernetes API server over a real etcd, on loopback and free ports, without nodes: `with Cluster.start():`.

Nothing runs in it. Pods stay pending, controllers are absent: what a controller would create, a test creates. All of
admission is there. Both processes end with the program that started them, and so do their data.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.stack.authority import Authority
from tests.stack.build import CATALOGUE, Builder, State, complain, seconds_allowed
from tests.stack.processes import Failed, Pid, end, free_ports, run_all
from tests.stack.servers import Server

ADMIN, DEVELOPER = "admin", "dev@example.com"
TOOLS = ("etcd", "kubectl", "kube-apiserver")
API_SERVER = "kube-apiserver"
"""The common name of the certificate that the API server shows to webhooks."""

MERGE = "application/merge-patch+json"
CALL_SECONDS = 60.0
SETTLE_SECONDS = 30.0
IDLE_SECONDS = 20.0  # the API server closes connections that nobody uses


class Missing(Exception):  # noqa: N818 - no error: a machine without Go is no failure
    """The cluster cannot be had here."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the API server answered."""

    status: int
    document: Any
    warnings: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """What the client is told of a refusal."""
        return (
            str(self.document.get("message", "")) if isinstance(self.document, dict) else str(self.document)
        )


@dataclass
class Client:
    """A user's connection to the API server, kept open."""

    port: int
    context: ssl.SSLContext
    token: str
    link: http.client.HTTPSConnection | None = field(default=None, init=False)
    used: float = field(default=0.0, init=False)

    def call(
        self, method: str, path: str, body: Any = None, *, kind: str = "application/json", user: str = ""
    ) -> Reply:
        """Return the answer; `user` is whom to impersonate."""
        headers = {
            "Authorization": f"Bearer {self.token}",
            "Content-Type": kind,
            "Accept": "application/json",
        }
        if user:
            headers["Impersonate-User"] = user
        data = json.dumps(body).encode() if body is not None else None
        if time.monotonic() - self.used > IDLE_SECONDS:
            self.close()
        if self.link is None:
            self.link = http.client.HTTPSConnection(
                "127.0.0.1", self.port, context=self.context, timeout=CALL_SECONDS
            )
        try:
            self.link.request(method, path, data, headers)
            answer = self.link.getresponse()
            found, warnings = answer.read(), answer.msg.get_all("Warning") or []
            self.used = time.monotonic()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        try:
            document = json.loads(found)
        except ValueError:
            document = found.decode("utf-8", "replace")
        return Reply(answer.status, document, tuple(warnings))

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self.link is not None:
            self.link.close()
            self.link = None


@dataclass(frozen=True)
class Cluster:
    """A running API server, its administrator and a developer without rights of their own."""

    folder: Path
    port: int
    authority: Authority
    clients: Authority
    """Who signed the certificate that the API server shows to webhooks."""
    tokens: Mapping[str, str]
    binary: Mapping[str, Path]
    pids: tuple[Pid, ...]

    @classmethod
    @contextlib.contextmanager
    def start(cls, binary: Mapping[str, Path]) -> Iterator[Cluster]:
        """Start one and end it again. Failed if a server does not start; then its log is in the error."""
        folder = Path(tempfile.mkdtemp(prefix="gitchain-kube-"))
        try:
            cluster = start(folder, binary)
            try:
                yield cluster
            finally:
                end(cluster.pids)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def client(self, user: str = ADMIN, *, token: str = "") -> Client:
        """Return a connection of a user, or of whoever has this token."""
        context = ssl.create_default_context(cadata=self.authority.pem.decode())
        return Client(self.port, context, token or self.tokens[user])

    def kubectl(
        self, *arguments: str, user: str = ADMIN, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as a user; its exit code is the caller's to look at."""
        command = (
            *(str(self.binary["kubectl"]), f"--server=https://127.0.0.1:{self.port}"),
            *(f"--certificate-authority={self.folder / 'ca.crt'}", f"--token={self.tokens[user]}"),
            *(f"--cache-dir={self.folder / 'kubectl'}", *arguments),
        )
        environ = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        environ["KUBECONFIG"] = os.devnull
        return subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=CALL_SECONDS,
            env=environ,
        )

    def log(self, name: str, lines: int = 30) -> str:
        """Return the end of a server's log."""
        text = (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])


def until(ask: Callable[[], str], expected: str) -> str:
    """Ask until the answer is as expected, or for too long; return the last answer."""
    wait, found = threading.Event(), ""
    for _ in range(int(SETTLE_SECONDS / 0.2)):
        if (found := ask()) == expected:
            break
        wait.wait(0.2)
    return found


def binaries(
    seconds: float | None = None, names: tuple[str, ...] = TOOLS, environ: Mapping[str, str] = os.environ
) -> dict[str, Path]:
    """Return the tools' binaries, built where they are not; Missing if one cannot be had here or not in time."""
    builder = Builder(seconds_allowed() if seconds is None else seconds, environ=environ)
    known = {tool.name: tool for tool in CATALOGUE}
    found: dict[str, Path] = {}
    for name in names:
        outcome = builder.build(known[name])
        if outcome.path is None:
            if seconds != 0:
                complain(outcome)
            error = Failed if outcome.state is State.BROKEN else Missing
            raise error(f"{name}: {outcome.state.value}")
        found[name] = outcome.path
    return found


def start(folder: Path, binary: Mapping[str, Path]) -> Cluster:
    """Start etcd, then the API server, and wait until it says that it is ready."""
    authority, clients = Authority.make("gitchain test cluster"), Authority.make("gitchain test API servers")
    show_certificate(folder, clients)
    (folder / "ca.crt").write_bytes(authority.pem)
    for name in ("apiserver", "accounts"):
        authority.issue(folder / f"{name}.crt", folder / f"{name}.key")
    tokens = {ADMIN: os.urandom(16).hex(), DEVELOPER: os.urandom(16).hex()}
    lines = [f"{tokens[ADMIN]},{ADMIN},0,system:masters", f"{tokens[DEVELOPER]},{DEVELOPER},1,developers"]
    (folder / "tokens.csv").touch(mode=0o600)
    (folder / "tokens.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    ports = free_ports(("etcd", "peer", "api"))
    order = (etcd(folder, binary["etcd"], ports), api_server(folder, binary["kube-apiserver"], ports))
    pids = run_all(folder, order, owned=True)
    return Cluster(folder, ports["api"], authority, clients, tokens, binary, pids)


def show_certificate(folder: Path, clients: Authority) -> None:
    """Write the configuration by which the API server shows a client certificate to every webhook."""
    clients.issue(folder / "webhooks.crt", folder / "webhooks.key", client=API_SERVER)
    user = {"client-certificate": str(folder / "webhooks.crt"), "client-key": str(folder / "webhooks.key")}
    config = {"apiVersion": "v1", "kind": "Config", "users": [{"name": "*", "user": user}]}
    (folder / "webhooks.kubeconfig").write_text(json.dumps(config), encoding="utf-8")
    told = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "WebhookAdmissionConfiguration",
        "kubeConfigFile": str(folder / "webhooks.kubeconfig"),
    }
    plugins = [
        {"name": f"{word}AdmissionWebhook", "configuration": told} for word in ("Validating", "Mutating")
    ]
    admission = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration"}
    (folder / "admission.yaml").write_text(json.dumps({**admission, "plugins": plugins}), encoding="utf-8")


def etcd(folder: Path, binary: Path, ports: Mapping[str, int]) -> Server:
    """Return etcd, which does not wait for the disk: its data end with the test."""
    url = f"http://127.0.0.1:{ports['etcd']}"
    command = (
        *(str(binary), f"--data-dir={folder / 'etcd'}", "--unsafe-no-fsync", "--logger=zap"),
        *(f"--listen-client-urls={url}", f"--advertise-client-urls={url}"),
        *(f"--listen-peer-urls=http://127.0.0.1:{ports['peer']}", "--log-level=warn"),
    )
    return Server("etcd", command, str(ports["etcd"]), "/health")


def api_server(folder: Path, binary: Path, ports: Mapping[str, int]) -> Server:
    """Return the API server: RBAC, the admission plugins of a default installation but ServiceAccount, no nodes."""
    command = (
        *(str(binary), f"--etcd-servers=http://127.0.0.1:{ports['etcd']}", f"--secure-port={ports['api']}"),
        *("--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"),
        *(f"--cert-dir={folder}", "--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=RBAC"),
        "--disable-admission-plugins=ServiceAccount",  # accounts are made by a controller
        *(f"--token-auth-file={folder / 'tokens.csv'}", "--service-account-issuer=https://kube.test/"),
        f"--service-account-key-file={folder / 'accounts.crt'}",
        f"--service-account-signing-key-file={folder / 'accounts.key'}",
        *(
            f"--tls-cert-file={folder / 'apiserver.crt'}",
            f"--tls-private-key-file={folder / 'apiserver.key'}",
        ),
        *(f"--client-ca-file={folder / 'ca.crt'}", "--allow-privileged=true"),
        f"--admission-control-config-file={folder / 'admission.yaml'}",
    )
    return Server("kube-apiserver", command, str(ports["api"]), "/readyz", secure=True)

"""A process that starts as the chart's pod does: from a source behind a login, and from one that gives nothing yet.

What the chart's environment and mounts say is taken as it is, but for where the files lie.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gitchain.store.docker_credentials import stored_credentials
from tests.stack import chart, pods
from tests.stack.kube import until
from tests.stack.pods import Pod
from tests.support.admission import LAYOUT, WHO, AdmissionFiles, certificate, write_admission_files
from tests.support.prepared_repository import GIT_IDENTITY

LOGIN = "reader:a-token"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> AdmissionFiles:
    top = tmp_path_factory.mktemp("sources")
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {**GIT_IDENTITY, "HOME": str(top), "GITCHAIN_HOME": str(top / "home")}.items():
            patch.setenv(key, value)
        return write_admission_files(top, models=("good",))


class _Behind(SimpleHTTPRequestHandler):
    """Gives files to whoever has the login."""

    def do_GET(self) -> None:
        expected = f"Basic {base64.b64encode(LOGIN.encode()).decode()}"
        if self.headers.get("Authorization") != expected:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="git"')
            self.end_headers()
            return
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002


@contextmanager
def private(repository: Path, folder: Path) -> Iterator[tuple[int, Path]]:
    """Serve a repository over https behind a login; yield the port and the CA."""
    bare = folder / "www/model.git"
    ref = "+refs/gitchain/*:refs/gitchain/*"
    subprocess.run(["git", "init", "-q", "--bare", bare], check=True)
    subprocess.run(["git", "-C", bare, "fetch", "-q", repository, ref], check=True)
    subprocess.run(["git", "-C", bare, "update-server-info"], check=True)
    (folder / "authority").mkdir()
    ca, key = certificate(folder / "authority")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(ca, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Behind, directory=str(folder / "www")))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_address[1], ca
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def running(
    manifests: list[dict[str, Any]], folder: Path, files: Mapping[str, bytes], moved: Mapping[str, str]
) -> Iterator[Pod]:
    """Start the pod of the rendered chart with the files of its policy and a certificate."""
    spec = chart.of_kind(manifests, "Deployment")["spec"]["template"]["spec"]
    (settings,) = (one["data"]["serve.yaml"] for one in manifests if "serve.yaml" in one.get("data", {}))
    held = {f"/etc/gitchain/{name}": data for name, data in files.items()}
    held["/etc/gitchain/serve.yaml"] = settings.encode()
    (folder / "etc/gitchain-tls").mkdir(parents=True)
    certificate(folder / "etc/gitchain-tls")
    with pods.running(spec, held, folder, moved) as pod:
        yield pod


def given(world: AdmissionFiles, **layout: Any) -> dict[str, Any]:
    """Return values with the world's signers and other evidence."""
    credit = dict(chart.SETTINGS["layouts"]["credit"])
    source = world.settings.sources["credit"]
    credit["signers"] = [{"issuer": source.signers[0].issuer, "subject": WHO}]
    credit |= layout
    if "evidence" in layout:
        del credit["repository"]
    times = {"refresh": 1, "drain": 0}
    return chart.values({**chart.SETTINGS, "layouts": {"credit": credit}, "times": times})


def policy(world: AdmissionFiles) -> dict[str, bytes]:
    return {
        "credit.sigstore.json": (world.repository / ".gitchain/layout.sigstore.json").read_bytes(),
        "trust.json": (world.top / "trust.json").read_bytes(),
    }


def test_evidence_behind_a_login_and_of_ones_own_authority(
    helm: Path, world: AdmissionFiles, tmp_path: Path
) -> None:
    """The Secret and the ConfigMap are all that it needs; without the login it is unready, goes on, and says why."""
    with private(world.repository, tmp_path) as (port, ca):
        values = given(world, evidence=[f"git+https://localhost:{port}/model.git"])
        values["evidence"] = {"gitCredentials": "login", "caConfigMap": "ca"}
        sources = tmp_path / "pod/etc/gitchain-sources"
        (sources / "git").mkdir(parents=True)
        (sources / "ca").mkdir()
        shutil.copy(ca, sources / "ca/ca.crt")
        login = sources / "git/credentials"
        login.write_text(f"https://someone:wrong@localhost:{port}\n")
        with running(chart.rendered(helm, values), tmp_path / "pod", policy(world), {}) as pod:
            assert until(lambda: str(pod.probe("/readyz")[0]), "503") == "503"
            assert until(lambda: str("source" in pod.probe("/readyz")[1]), "True") == "True", (
                pod.log.read_text()
            )

            def ready() -> (
                str
            ):  # git takes a login that was refused out of a file that it can write, unlike a Secret's
                login.write_text(f"https://{LOGIN}@localhost:{port}\n")
                return str(pod.probe("/readyz")[0])

            assert until(ready, "200") == "200", pod.log.read_text()[-3000:]
            assert "a-token" not in pod.log.read_text()


def test_a_registrys_login_is_found(helm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Secret's one key lies where a client of registries looks for it."""
    values = chart.values()
    values["evidence"]["registryCredentials"] = "pull"
    spec = chart.of_kind(chart.rendered(helm, values), "Deployment")["spec"]["template"]["spec"]
    (volume,) = (
        one["secret"] for one in spec["volumes"] if one.get("secret", {}).get("secretName") == "pull"
    )
    ((key, name),) = ((one["key"], one["path"]) for one in volume["items"])
    assert key == ".dockerconfigjson"
    (mount,) = (
        one["mountPath"] for one in spec["containers"][0]["volumeMounts"] if one["name"] == "registry"
    )
    (place,) = (one["value"] for one in spec["containers"][0]["env"] if one["name"] == "DOCKER_CONFIG")
    assert place == mount
    auth = base64.b64encode(LOGIN.encode()).decode()
    (tmp_path / name).write_text(json.dumps({"auths": {"registry.example.com": {"auth": auth}}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert stored_credentials("registry.example.com") == auth


def expired(world: AdmissionFiles, folder: Path) -> dict[str, bytes]:
    """Return the policy with a layout that expired a moment ago: a layout that has expired cannot be signed."""
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=10)
    source = world.settings.sources["credit"]
    text = (
        LAYOUT.format(issuer=source.signers[0].issuer)
        .replace("2099-01-01T00:00:00Z", f"{end:%FT%TZ}")
        .replace("version: 3", "version: 4")
    )
    shutil.copytree(world.repository, folder / "old")
    (folder / "old/.gitchain/layout.yaml").write_text(text)
    command = [
        sys.executable,
        "-m",
        "gitchain",
        "-C",
        str(folder / "old"),
        "layout",
        "sign",
        "--no-lint",
        "--as",
        WHO,
    ]
    environ = os.environ | GIT_IDENTITY | {"HOME": str(world.top), "GITCHAIN_HOME": str(world.top / "home")}
    done = subprocess.run(command, check=False, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert until(lambda: str(datetime.now(UTC) > end), "True") == "True"
    signed = (folder / "old/.gitchain/layout.sigstore.json").read_bytes()
    return policy(world) | {"credit.sigstore.json": signed}


@pytest.mark.parametrize(
    ("case", "reason", "told"),
    [
        ("no layout", "layout", "cannot read the layout"),
        ("no trust", "trust", "cannot read the trust"),
        ("a layout that is none", "layout", ""),
        ("an expired layout", "expired", "layout has expired"),
        ("no repository", "source", ""),
        ("a host that does not answer", "source", ""),
    ],
)
def test_what_is_missing_ends_no_pod(
    helm: Path, world: AdmissionFiles, tmp_path: Path, case: str, reason: str, told: str
) -> None:
    """/readyz and one line of the log name the reason, and the process stays; it is unready only without any source."""
    files = policy(world)
    layout: dict[str, Any] = {"repository": "/evidence"}
    if case == "no layout":
        del files["credit.sigstore.json"]
    elif case == "no trust":
        del files["trust.json"]
    elif case == "a layout that is none":
        files["credit.sigstore.json"] = b"{}"
    elif case == "an expired layout":
        files = expired(world, tmp_path)
    elif case == "a host that does not answer":
        layout = {"evidence": ["git+https://localhost:1/model.git"]}
    where = tmp_path / "nowhere" if case == "no repository" else world.repository
    manifests = chart.rendered(helm, given(world, **layout))
    with running(manifests, tmp_path / "pod", files, {"/evidence": str(where)}) as pod:
        found = until(lambda: str(f'"reason":"{reason}"' in pod.probe("/readyz")[1]), "True")
        assert found == "True", (pod.probe("/readyz"), pod.log.read_text()[-3000:])
        assert told in pod.probe("/readyz")[1]
        assert (pod.probe("/healthz")[0], pod.probe("/readyz")[0]) == (
            200,
            503 if reason == "source" else 200,
        )
        assert pod.process.poll() is None
        assert until(lambda: str(reason in pod.log.read_text()), "True") == "True"

"""Registries on loopback: the real one where it is installed, and one of our own that lies when it is told to."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gitchain.evidence.digest import Sha256, sha256_hex

PROGRAM = shutil.which("docker-registry") or shutil.which("registry")
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@contextmanager
def real_registry(directory: Path) -> Iterator[str]:
    """Run the reference registry (Debian: docker-registry) on a free port, and yield its host."""
    if PROGRAM is None:
        pytest.skip("NOT RUN against a real registry: install docker-registry")
    config = directory / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n"
        f"storage: {{filesystem: {{rootdirectory: {directory / 'registry'}}}}}\nhttp: {{addr: '127.0.0.1:0'}}\n"
    )
    process = subprocess.Popen(
        [PROGRAM, "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        found = next(
            filter(None, (re.search(r"listening on (127\.0\.0\.1:\d+)", line) for line in process.stderr))
        )
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield found[1]
    finally:
        process.kill()
        process.wait()


def digest(data: bytes) -> Sha256:
    return sha256_hex(data)


class SmallRegistry(ThreadingHTTPServer):
    """As much of a 1.1 registry as is asked here. `lie` may answer in its place; `seen` is what it was asked."""

    daemon_threads = True

    def __init__(self, *, referrers: bool = True) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.referrers = referrers
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.types: dict[str, str] = {}
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.lie: Callable[[Handler, str], bool] = lambda _handler, _path: False

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def put(self, data: bytes, *names: str, kind: str = MANIFEST) -> str:
        for name in (*names, f"sha256:{digest(data)}"):
            self.manifests[name] = data
            self.types[name] = kind
        return digest(data)

    def referring(self, subject: str) -> bytes:
        items = []
        for name, data in self.manifests.items():
            value = json.loads(data)
            if name.startswith("sha256:") and value.get("subject", {}).get("digest") == f"sha256:{subject}":
                items.append(
                    {
                        "mediaType": MANIFEST,
                        "digest": name,
                        "size": len(data),
                        "artifactType": value["artifactType"],
                    }
                )
        return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": items}).encode()


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: SmallRegistry

    def log_message(self, *_args: Any) -> None:
        """Say nothing."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, text in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def handle_any(self) -> None:
        path = self.path
        self.server.seen.append((self.command, path, {k.lower(): v for k, v in self.headers.items()}))
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.server.lie(self, path):
            self._honest(path, body)

    do_GET = do_HEAD = do_PUT = do_POST = handle_any  # noqa: N815

    def _honest(self, path: str, body: bytes) -> None:
        server, last = self.server, path.rsplit("/", 1)[-1]
        if self.command == "POST":
            self.answer(202, Location=path + "one")
        elif "/blobs/uploads/" in path:
            server.blobs[digest(body)] = body
            self.answer(201)
        elif self.command == "PUT":
            server.put(body, last, kind=self.headers["Content-Type"])
            self.answer(201)
        elif "/blobs/" in path:
            found = server.blobs.get(last.removeprefix("sha256:"))
            self.answer(404) if found is None else self.answer(200, found)
        elif "/referrers/" in path and server.referrers:
            self.answer(200, server.referring(last.removeprefix("sha256:")), Content_Type=INDEX)
        elif "/manifests/" in path and last in server.manifests:
            self.answer(200, server.manifests[last], Content_Type=server.types[last])
        else:
            self.answer(404)


@contextmanager
def small_registry(*, referrers: bool = True) -> Iterator[SmallRegistry]:
    """Run a registry of our own."""
    server = SmallRegistry(referrers=referrers)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()

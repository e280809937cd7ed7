"""An API server of the tests' own, on loopback over TLS: lists in pages, single objects, and every failure of both."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from gitchain.admit.cluster import Cluster
from tests.support.admission import certificate


class Api(ThreadingHTTPServer):
    """Answers whoever has the token: `lists` in pages of two, `objects`, and before both whatever `answers` holds.

    Reports are made and replaced as the API does it; every object that came is in `sent`.
    A path of `hangs` gets its headers and one byte after the other, as long as somebody listens.
    """

    daemon_threads = True

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lists: dict[str, list[dict[str, Any]]] = {}
        self.objects: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.hangs: set[str] = set()
        self.ended = threading.Event()
        self.asked: list[str] = []
        self.sent: list[tuple[str, str, dict[str, Any]]] = []
        self.meanwhile: list[dict[str, Any]] = []
        """Reports that somebody else writes just before ours is replaced, one at each time."""

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate_file, key = certificate(directory)
        context.load_cert_chain(certificate_file, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        (directory / "token").write_text("the-token\n")
        self.cluster = Cluster(
            f"https://localhost:{self.server_address[1]}", directory / "token", certificate_file
        )


class Handler(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.server.asked.append(self.path)
        items = self.server.lists.get(parts.path)
        status, body = 404, b"{}"
        if self.headers["Authorization"] != "Bearer the-token":
            status = 401
        elif parts.path in self.server.hangs:
            return self._trickle()
        elif parts.path in self.server.answers:
            status, body = self.server.answers[parts.path]
        elif parts.path in self.server.objects:
            status, body = 200, json.dumps(self.server.objects[parts.path]).encode()
        elif items is not None:
            start = int(parse_qs(parts.query).get("continue", ["0"])[0])
            more = str(start + 2) if start + 2 < len(items) else ""
            status = 200
            body = json.dumps({"metadata": {"continue": more}, "items": items[start : start + 2]}).encode()
        self.send_response(status)
        self.send_header("Location", f"{self.server.cluster.server}/stolen")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return None

    def do_POST(self) -> None:
        self._write("POST")

    def do_PUT(self) -> None:
        self._write("PUT")

    def _write(self, method: str) -> None:
        """Take an object: 409 for a version that is not the last one, and for one that is there already."""
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.sent.append((method, self.path, given))
        objects, name = self.server.objects, given["metadata"].get("name", "")
        place = f"{self.path}/{name}" if method == "POST" else self.path
        if method == "PUT" and self.server.meanwhile:
            objects[place] = self.server.meanwhile.pop(0)
        there = objects.get(place, {}).get("metadata", {}).get("resourceVersion")
        if self.headers["Authorization"] != "Bearer the-token":
            status = 401
        elif self.path in self.server.answers:
            status = self.server.answers[self.path][0]
        elif there != given["metadata"].get("resourceVersion"):
            status = 409
        else:
            status = 201 if method == "POST" else 200
            given["metadata"]["resourceVersion"] = str(len(self.server.sent))
            objects[place] = given
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def _trickle(self) -> None:
        self.send_response(200)
        self.end_headers()
        while not self.server.ended.wait(0.05):
            try:
                self.wfile.write(b" ")
            except OSError:
                return

    def log_message(self, format: str, *args: object) -> None: ...  # noqa: A002


@contextmanager
def answering(directory: Path) -> Iterator[Api]:
    """Run one, with its token and certificate in a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    with Api(directory) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield made
        finally:
            made.ended.set()
            made.shutdown()
            thread.join()

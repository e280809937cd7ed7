"""What stands before the tests' servers: `python -m tests.stack.front PLAN.json`, one process for all doors.

A door is a loopback port. The issuer's answers its documents. A log's passes writes on to the server, which serves
no reads of its own, and answers reads from the files the server writes (https://c2sp.org/tlog-tiles). A timestamp
authority's passes all on to a Unix socket: it may live in a network namespace, see servers.py.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import socket
import sys
import threading
from contextlib import AbstractContextManager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))  # it is started by its path, in any directory

from tests.stack.oidc import Issuer

MAX_BODY = 4 << 20  # what the log takes
TIMEOUT = 60.0  # a log answers once a checkpoint covers the entry
READ = re.compile(r"(?:/api/v2)?/(checkpoint|tile/(?:entries/|[0-9]{1,2}/)[x0-9/]+(?:\.p/[0-9]{1,3})?)")
PASSED_ON = ("content-type", "accept", "authorization", "user-agent", "x-log-index", "retry-after")


class Handler(BaseHTTPRequestHandler):
    """Answers one door by its entry in the plan."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = TIMEOUT

    def __init__(self, door: dict[str, Any], *arguments: Any) -> None:
        self._door = door
        super().__init__(*arguments)

    def do_GET(self) -> None:
        """Answer a document or a file; pass everything else on."""
        path = self.path.partition("?")[0]
        if path in self._door.get("documents", {}):
            self._answer(200, json.dumps(self._door["documents"][path]).encode(), "application/json")
        elif "storage" in self._door and (found := READ.fullmatch(path)):
            self._file(Path(self._door["storage"]) / found[1])
        else:
            self._pass_on()

    def do_POST(self) -> None:
        """Pass a write on."""
        self._pass_on()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Print one line an answer, for the door's log file."""
        print(self._door["name"], format % args, flush=True)

    def _file(self, file: Path) -> None:
        try:
            self._answer(200, file.read_bytes(), "application/octet-stream")
        except OSError:
            self._answer(404, b"not found\n", "text/plain")

    def _pass_on(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        if "to" not in self._door or length > MAX_BODY:
            self.close_connection = True
            self._answer(413 if length > MAX_BODY else 404, b"no\n", "text/plain")
            return
        body = self.rfile.read(length)
        headers = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
        with connection(self._door["to"]) as link:
            try:
                link.request(self.command, self.path, body, headers)
                reply = link.getresponse()
                found = {name: value for name, value in reply.getheaders() if name.lower() in PASSED_ON}
                self._answer(reply.status, reply.read(), "", **found)
            except OSError as error:
                self._answer(502, f"{error}\n".encode(), "text/plain")

    def _answer(self, status: int, body: bytes, kind: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content-Type": kind} if kind else headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Unix(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT)
        self.sock.connect(self._path)


def connection(to: str) -> AbstractContextManager[http.client.HTTPConnection]:
    """Return a connection to a port of this machine, or to a Unix socket."""
    if to.startswith("/"):
        return contextlib.closing(_Unix(to))
    return contextlib.closing(http.client.HTTPConnection("127.0.0.1", int(to), timeout=TIMEOUT))


def main(plan: list[dict[str, Any]]) -> None:
    """Open every door of the plan and stay until told to stop."""
    for door in plan:
        if "issuer" in door:
            door["documents"] = Issuer.load(door["issuer"], Path(door["key"])).documents()
        server = ThreadingHTTPServer(("127.0.0.1", door["port"]), partial(Handler, door))
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))

"""HTTP server of the witness: a single POST endpoint, bounded in size and time. Run it behind a TLS proxy."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from gitchain.errors import GitchainError
from gitchain.monitor.witness import MAX_BODY_BYTES, Witness, WitnessReply
from gitchain.platform.http_body import BodyRefusedError, read_body

SECONDS = 20
PATH = "/add-checkpoint"


class _WitnessHandler(BaseHTTPRequestHandler):
    """Answers requests to one witness."""

    witness: Witness
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "gitchain", ""
    timeout = SECONDS
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        self._answer(self._reply())

    def do_GET(self) -> None:
        self._answer(WitnessReply(405 if self.path == PATH else 404))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
        """Do nothing: requests are not logged."""

    def _reply(self) -> WitnessReply:
        if self.path != PATH:
            self.close_connection = True
            return WitnessReply(404)
        try:
            body = read_body(self.headers, self.rfile, MAX_BODY_BYTES)
        except BodyRefusedError as refused:
            self.close_connection = True
            return WitnessReply(refused.status, f"{refused.reason}\n".encode())
        try:
            return self.witness.add_checkpoint(body)
        except GitchainError:
            return WitnessReply(500, b"the witness cannot keep what it cosigns\n")

    def _answer(self, reply: WitnessReply) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.kind)
        self.send_header("Content-Length", str(len(reply.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(reply.body)


def witness_server(witness: Witness, host: str, port: int) -> ThreadingHTTPServer:
    """Return a listening server for the witness. Raises OSError if the address cannot be bound."""
    handler = type("WitnessHandler", (_WitnessHandler,), {"witness": witness})
    server = ThreadingHTTPServer((host, port), handler)
    server.daemon_threads = True
    return server

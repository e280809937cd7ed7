"""An instance's server that misbehaves on order: what a path answers, for its next requests."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from gitchain.instance import Instance, tsa, tsq
from gitchain.instance.routes import HttpReply
from gitchain.instance.server import LocalServer, _InstanceHandler

CA, LOG, TSA = "/api/v2/signingCert", "/api/v2/log/entries", "/api/v1/timestamp"
Fault = Callable[["FaultyHandler", Callable[[], HttpReply | None], bytes], None]
MOST = 64 << 20  # an endless answer ends here: whoever reads as far has no cap


class FaultyHandler(_InstanceHandler):
    """Asks the server's orders before it answers."""

    server: FaultServer

    def _answer(self, answer: Callable[..., HttpReply | None], body: bytes) -> None:
        self.server.calls.append(self.path)
        orders = self.server.orders.get(self.path, [])
        fault = orders.pop(0) if len(orders) > 1 else orders[0] if orders else None
        if fault is None:
            super()._answer(answer, body)
            return
        self.close_connection = True
        fault(self, lambda: answer(self.server.instance, self._request(body)), body)


class FaultServer(LocalServer):
    """`orders` holds, by path, one fault a request; the last one stays, and None answers as it should."""

    def __init__(self, instance: Instance, port: int = 0) -> None:
        super().__init__(instance, port=port)
        self.RequestHandlerClass = FaultyHandler
        self.orders: dict[str, list[Fault | None]] = {}
        self.calls: list[str] = []
        self.sent = 0
        self.first: HttpReply | None = None
        self.first_checkpoint = instance.log.checkpoint()


def status(code: int, body: bytes = b"{}", **headers: str) -> Fault:
    def fault(handler: FaultyHandler, _real: object, _body: bytes) -> None:
        handler._send(
            HttpReply(
                body, status=HTTPStatus(code), headers={k.replace("_", "-"): v for k, v in headers.items()}
            )
        )

    return fault


def redirect(handler: FaultyHandler, _real: object, _body: bytes) -> None:
    status(302, b"", Location="http://127.0.0.2:9/elsewhere")(handler, lambda: None, b"")


def endless(handler: FaultyHandler, _real: object, _body: bytes) -> None:
    handler.send_response(201)
    handler.send_header("Connection", "close")
    handler.end_headers()
    sent = 0
    while sent < MOST:
        try:
            sent += handler.connection.send(b"x" * 65536)
        except OSError:
            break
    handler.server.sent = sent


def drip(handler: FaultyHandler, _real: object, _body: bytes) -> None:
    handler.send_response(201)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    for _ in range(200):
        try:
            handler.connection.send(b"{")
        except OSError:
            break
        time.sleep(0.05)


def reset(handler: FaultyHandler, _real: object, _body: bytes) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()
    handler.wfile = handler.rfile = open("/dev/null", "r+b", buffering=0)  # type: ignore[assignment] # noqa: PTH123, SIM115


def lost(handler: FaultyHandler, real: Callable[[], HttpReply | None], body: bytes) -> None:
    """The entry is logged and the answer never comes; from then on it is there already."""
    reply = real()
    assert reply is not None
    index = json.loads(reply.body)["logIndex"]
    known = sha256(body).digest()
    message = f"an equivalent entry already exists in the transparency log with index {index}"

    def again(later: FaultyHandler, real_again: Callable[[], HttpReply | None], sent: bytes) -> None:
        if sha256(sent).digest() == known:
            status(409, json.dumps({"code": 6, "message": message}).encode())(later, lambda: None, b"")
        else:
            later._send(real_again() or HttpReply(b""))

    handler.server.orders[handler.path] = [again]
    reset(handler, real, body)


def other_entry(handler: FaultyHandler, real: Callable[[], HttpReply | None], _body: bytes) -> None:
    """The answer is about the entry that was logged first."""
    reply = real()
    handler.server.first = handler.server.first or reply
    handler._send(handler.server.first or HttpReply(b""))


def changed(change: Callable[[Any, FaultServer], None]) -> Fault:
    def fault(handler: FaultyHandler, real: Callable[[], HttpReply | None], _body: bytes) -> None:
        reply = real()
        assert reply is not None
        entry = json.loads(reply.body)
        change(entry, handler.server)
        handler._send(HttpReply(json.dumps(entry).encode(), status=reply.status))

    return fault


def stale(entry: Any, server: FaultServer) -> None:
    """The checkpoint is one from before the entry."""
    entry["inclusionProof"]["checkpoint"]["envelope"] = server.first_checkpoint


def a_day_off(handler: FaultyHandler, _real: object, body: bytes) -> None:
    keys = handler.server.instance.keys
    request = tsq.parse_request(body)
    stamped = tsa.EmbeddedTimestampAuthority(keys.tsa, keys.tsa_certificate).stamp(
        request, datetime.now(UTC) + timedelta(days=1)
    )
    handler._send(HttpReply(stamped, "application/timestamp-reply"))

"""Read the body of an HTTP request that a server received, bounded before and while it is read."""

from __future__ import annotations

from email.message import Message
from http import HTTPStatus
from typing import Protocol

_MAX_DIGITS = 18  # every such number fits 64 bits, and int() takes no time for it


class BodyRefusedError(Exception):
    """A request whose body is not read: the status to answer with and the reason. Close the connection after it."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, fewer only at the end."""


def parse_length(text: str) -> int | None:
    """Return the number of a Content-Length field, None unless it is 1 to 18 ASCII digits."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


def body_length(headers: Message, limit: int) -> int:
    """Return the length of a request's body, which one Content-Length of at most `limit` gives; else BodyRefusedError."""
    values = headers.get_all("Content-Length", [])
    if "Transfer-Encoding" in headers or not values:
        raise BodyRefusedError(HTTPStatus.LENGTH_REQUIRED, "the request needs a Content-Length")
    if len(values) > 1:
        raise BodyRefusedError(HTTPStatus.BAD_REQUEST, "the request has several lengths")
    length = parse_length(values[0])
    if length is None:
        raise BodyRefusedError(HTTPStatus.LENGTH_REQUIRED, "the Content-Length is not a number")
    if length > limit:
        raise BodyRefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the request is larger than {limit} bytes"
        )
    return length


def read_body(headers: Message, reader: _Reader, limit: int) -> bytes:
    """Return the whole body of a request; BodyRefusedError as `body_length`, and for a body that ends early."""
    length = body_length(headers, limit)
    body = reader.read(length)
    if len(body) != length:
        raise BodyRefusedError(HTTPStatus.BAD_REQUEST, "the body is shorter than its Content-Length")
    return body

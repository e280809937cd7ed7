"""GET and POST with bounds: a log is not trusted with this machine's time or memory.

https, or http on loopback; no redirect is followed, nothing is decompressed, size and time are limited, the time of
the whole answer too. Does NOT judge what it gets.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import urllib3

from gitchain.errors import LimitError, TransportError, UsageError

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
SECONDS = 30.0
"""Longest time that one answer may take, from the first byte asked to the last one read."""

CONNECT_SECONDS = 10.0
PART = 1 << 16
OK, NOT_FOUND = 200, 404


def check_url(url: str) -> str:
    """Return the URL without a slash at its end; UsageError unless it is https, or http on loopback."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as error:
        raise UsageError("not a URL", got=ascii(url[:200])) from error
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)):
        raise UsageError(
            "the service has no https", expected="https://…, or http:// on loopback", got=ascii(url[:200])
        )
    return url.rstrip("/")


@dataclass(slots=True)
class Fetcher:
    """Asks one service. TransportError where it cannot be reached or answers otherwise than 200."""

    base: str
    seconds: float = SECONDS
    _pool: urllib3.PoolManager = field(
        default_factory=lambda: urllib3.PoolManager(maxsize=2, retries=False), repr=False
    )

    def get(self, path: str, limit: int) -> bytes:
        """Return the body of at most `limit` bytes; LimitError for a longer one."""
        return self._ask("GET", path, None, limit)

    def post(self, path: str, body: bytes, limit: int) -> bytes:
        """Send JSON and return the body of at most `limit` bytes; LimitError for a longer one."""
        return self._ask("POST", path, body, limit)

    def _ask(self, method: str, path: str, body: bytes | None, limit: int) -> bytes:
        url = f"{self.base}/{path}" if path else self.base
        end = time.monotonic() + self.seconds
        timeout = urllib3.Timeout(connect=CONNECT_SECONDS, read=self.seconds)
        headers = {"Accept-Encoding": "identity", "User-Agent": "gitchain"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            response = self._pool.request(
                method,
                url,
                body=body,
                headers=headers,
                timeout=timeout,
                redirect=False,
                preload_content=False,
            )
            try:
                return self._read(response, url, limit, end)
            finally:
                response.close()
        except urllib3.exceptions.HTTPError as error:
            raise TransportError("the log cannot be reached", where=url, got=str(error)[:300]) from error

    def _read(self, response: urllib3.BaseHTTPResponse, url: str, limit: int, end: float) -> bytes:
        if response.status != OK:
            raise TransportError(
                "the log gave no answer", where=url, expected="HTTP 200", got=str(response.status)
            )
        data = bytearray()
        while part := response.read(PART, decode_content=False):
            data += part
            if len(data) > limit:
                raise LimitError(
                    "the log's answer is too large", where=url, expected=f"at most {limit} bytes"
                )
            if time.monotonic() > end:
                raise TransportError(
                    "the log is too slow", where=url, expected=f"an answer in {self.seconds:g} s"
                )
        return bytes(data)

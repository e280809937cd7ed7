"""Bounded GET and POST requests to a log, with the limits of `platform.http`: a log is untrusted.

No redirects, no decompression; only status 200 is accepted. Content is not verified here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitchain.errors import TransportError
from gitchain.platform.http import ReadDeadline, ask, checked_url, tls_context

if TYPE_CHECKING:
    import ssl

SECONDS = 30.0
"""Longest duration of one request, in seconds, from sending it to the last byte."""

OK = 200


def check_url(url: str) -> str:
    """Return the URL without a trailing slash. Raises UsageError unless it is https, or http on loopback."""
    checked_url(url)
    return url.rstrip("/")


@dataclass(frozen=True, slots=True)
class Fetcher:
    """HTTP client of one service. Raises TransportError if it is unreachable or the status is not 200."""

    base: str
    seconds: float = SECONDS
    _context: ssl.SSLContext = field(default_factory=tls_context, repr=False, compare=False)

    def get(self, path: str, limit: int) -> bytes:
        """Return the body, at most `limit` bytes. Raises LimitError for a longer one."""
        return self._ask("GET", path, None, limit)

    def post(self, path: str, body: bytes, limit: int) -> bytes:
        """Send JSON and return the body, at most `limit` bytes. Raises LimitError for a longer one."""
        return self._ask("POST", path, body, limit)

    def _ask(self, method: str, path: str, body: bytes | None, limit: int) -> bytes:
        url = f"{self.base}/{path}" if path else self.base
        headers = {"Accept-Encoding": "identity"} | (
            {} if body is None else {"Content-Type": "application/json"}
        )
        answer = ask(
            method, url, headers, ReadDeadline(self.seconds), limit=limit, body=body, trusted=self._context
        )
        if answer.status != OK:
            raise TransportError(
                "the log gave no answer", where=url, expected="HTTP 200", got=str(answer.status)
            )
        return answer.body

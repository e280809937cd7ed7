"""GET and POST of one service, bounded as `store.http` bounds them: a log is not trusted with this machine's time or memory.

No redirect is followed, nothing is decompressed, and 200 is the one answer. Does NOT judge what it gets.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

from gitchain.errors import TransportError
from gitchain.store.http import Deadline, ask, checked_url

SECONDS = 30.0
"""Longest time that one answer may take, from the first byte asked to the last one read."""

OK = 200


def check_url(url: str) -> str:
    """Return the URL without a slash at its end; UsageError unless it is https, or http on loopback."""
    checked_url(url)
    return url.rstrip("/")


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Asks one service. TransportError where it cannot be reached or answers otherwise than 200."""

    base: str
    seconds: float = SECONDS
    _context: ssl.SSLContext = field(default_factory=ssl.create_default_context, repr=False, compare=False)

    def get(self, path: str, limit: int) -> bytes:
        """Return the body of at most `limit` bytes; LimitError for a longer one."""
        return self._ask("GET", path, None, limit)

    def post(self, path: str, body: bytes, limit: int) -> bytes:
        """Send JSON and return the body of at most `limit` bytes; LimitError for a longer one."""
        return self._ask("POST", path, body, limit)

    def _ask(self, method: str, path: str, body: bytes | None, limit: int) -> bytes:
        url = f"{self.base}/{path}" if path else self.base
        headers = {"Accept-Encoding": "identity"} | (
            {} if body is None else {"Content-Type": "application/json"}
        )
        answer = ask(
            method, url, headers, Deadline(self.seconds), limit=limit, body=body, trusted=self._context
        )
        if answer.status != OK:
            raise TransportError(
                "the log gave no answer", where=url, expected="HTTP 200", got=str(answer.status)
            )
        return answer.body

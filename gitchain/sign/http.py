"""HTTP client for signing services with limits on time, size, and number of attempts.

An attempt ends with the whole response, the time limit, or a response that is too large, as `gitchain.platform.http`
bounds it. Connection failures and HTTP 429, 500, 502, 503 and 504 are retried, with jitter and within one time budget; a
`Retry-After` is respected if the budget allows it. After a service used up its budget, calls to it fail at once for a
while. Redirects are not followed: tokens and entries are sent only to URLs of the trust configuration.

Responses are interpreted by the callers, which also select the URL.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gitchain.errors import GitchainError, LimitError, TransportError
from gitchain.platform.http import HttpResponse, ReadDeadline, UntrustedServerError, ask, tls_context

if TYPE_CHECKING:
    import ssl

AGAIN = frozenset({429, 500, 502, 503, 504})
MAX_ANSWER_BYTES = 4 << 20  # the largest real answer, an entry of Rekor v1 with its proof, has some 20 kB
TRY_AGAIN = "try again; gitchain doctor shows which service fails"


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits of a service in seconds, and the number of attempts."""

    call: float = 60.0
    """Seconds of one attempt. The public log responds after 2 to 10 s, once a checkpoint covers the entry."""
    budget: float = 75.0
    """Seconds of all attempts of one call, with the waits between them."""
    attempts: int = 5
    first_wait: float = 0.5
    longest_wait: float = 8.0
    rest: float = 60.0
    """Seconds without calls to a service that used up its budget."""


USUAL = Limits()


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """A request; `service` is the service's name in errors."""

    service: str
    url: str
    method: str = "GET"
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    max_bytes: int = MAX_ANSWER_BYTES


class _RetryableError(Exception):
    """Raised for a failed attempt that may be repeated; `wait` is the delay that the service requested."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


class Http:
    """Sends requests to services, and remembers which of them failed."""

    def __init__(self, limits: Limits = USUAL) -> None:
        self.limits = limits
        self._context: ssl.SSLContext | None = None
        self._resting: dict[tuple[str, str], tuple[float, str]] = {}

    def send(self, request: SigningRequest) -> HttpResponse:
        """Return the service's response: never a redirect, nor a status that is retried.

        Raises TransportError without one within the limits.
        """
        whom = (request.service, _origin(request.url))
        self._check_rest(whom)
        end = time.monotonic() + self.limits.budget
        reason, wait = "", self.limits.first_wait
        for attempt in range(self.limits.attempts):
            try:
                answer = self._attempt(request, end)
            except _RetryableError as failure:
                reason = failure.reason
                pause = max(failure.wait, random.uniform(wait / 2, wait))  # noqa: S311 - jitter
            else:
                self._resting.pop(whom, None)
                return answer
            if attempt + 1 == self.limits.attempts or time.monotonic() + pause >= end:
                break
            time.sleep(pause)
            wait = min(wait * 2, self.limits.longest_wait)
        self._resting[whom] = (time.monotonic() + self.limits.rest, reason)
        raise TransportError(f"{request.service} cannot be reached", got=reason, help=TRY_AGAIN)

    def _check_rest(self, whom: tuple[str, str]) -> None:
        until, reason = self._resting.get(whom, (0.0, ""))
        left = until - time.monotonic()
        if left > 0:
            raise TransportError(
                f"{whom[0]} failed a moment ago and is not called again yet",
                where=whom[1],
                got=f"{reason}; next attempt in {left:.0f} s",
                help=TRY_AGAIN,
            )

    def _attempt(self, request: SigningRequest, end: float) -> HttpResponse:
        """Return the response of one attempt. Raises _RetryableError if a retry may succeed."""
        seconds = max(0.1, min(self.limits.call, end - time.monotonic()))
        self._context = self._context or tls_context()
        try:
            answer = ask(
                request.method,
                request.url,
                {"Accept-Encoding": "identity", **request.headers},
                ReadDeadline(seconds),
                limit=request.max_bytes,
                body=request.body,
                trusted=self._context,
            )
        except LimitError as error:
            raise TransportError(
                f"{request.service} gave an answer that is too large", expected=error.expected, help=TRY_AGAIN
            ) from error
        except UntrustedServerError as error:
            raise TransportError(
                f"{request.service} has no certificate that this machine trusts", got=error.got
            ) from error
        except TransportError as error:
            raise _RetryableError(error.got or f"no answer within {seconds:.3g} s") from error
        if 300 <= answer.status < 400:
            raise TransportError(
                f"{request.service} sends to another address",
                expected="an answer: no redirect is followed",
                got=ascii(answer.headers.get("location", ""))[1:-1][:200],
                help="correct the address in the trust configuration",
            )
        if answer.status in AGAIN:
            raise _RetryableError(reason_of(answer), _retry_after(answer))
        return answer


def reason_of(answer: HttpResponse) -> str:
    """Return a refused request's status and message on one line."""
    import json

    try:
        message = str(json.loads(answer.body[:65536])["message"])
    except (ValueError, KeyError, TypeError, RecursionError):
        message = ""
    return f"HTTP {answer.status}" + (f": {ascii(message)[1:-1][:300]}" if message else "")


def unusable(service: str, error: Exception | str) -> GitchainError:
    """Return the error for an invalid response."""
    reason = error if isinstance(error, str) else _short(error)
    return TransportError(f"{service} gave an answer that cannot be used", got=reason, help=TRY_AGAIN)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _retry_after(answer: HttpResponse) -> float:
    """Return the seconds in Retry-After. Dates are ignored, and the default wait is used."""
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0.0


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:300]

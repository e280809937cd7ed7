"""HTTP client for signing services with limits on time, size, and number of attempts.

An attempt ends with the whole response, the time limit, or a response that is too large. Connection failures and HTTP
429, 500, 502, 503 and 504 are retried, with jitter and within one time budget; a `Retry-After` is respected if the
budget allows it. After a service used up its budget, calls to it fail at once for a while. Redirects are not
followed: tokens and entries are sent only to URLs of the trust configuration.

Responses are interpreted by the callers, which also select the URL.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gitchain.errors import GitchainError, TransportError
from gitchain.sign.deadline import CallDeadline

if TYPE_CHECKING:
    import requests

AGAIN = frozenset({429, 500, 502, 503, 504})
MAX_ANSWER_BYTES = 4 << 20  # the largest real answer, an entry of Rekor v1 with its proof, has some 20 kB
USER_AGENT = "gitchain"
TRY_AGAIN = "try again; gitchain doctor shows which service fails"
_CHUNK = 64 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Timeout of a service in seconds, and the number of attempts."""

    connect: float = 10.0
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


@dataclass(frozen=True, slots=True)
class SigningResponse:
    """A response with any status that is not retried; never a redirect."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class _RetryableError(Exception):
    """Raised for a failed attempt that may be repeated; `wait` is the delay that the service requested."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait = wait


class Http:
    """HTTP client for one process, which keeps connections. Close it when done."""

    def __init__(
        self,
        limits: Limits = USUAL,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits = limits
        self._sleep = sleep
        self._clock = clock
        self._deadline = CallDeadline()
        self._session: requests.Session | None = None
        self._resting: dict[tuple[str, str], tuple[float, str]] = {}

    def send(self, request: SigningRequest) -> SigningResponse:
        """Return the service's response. Raises TransportError without one within the limits."""
        whom = (request.service, _origin(request.url))
        self._check_rest(whom)
        end = self._clock() + self.limits.budget
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
            if attempt + 1 == self.limits.attempts or self._clock() + pause >= end:
                break
            self._sleep(pause)
            wait = min(wait * 2, self.limits.longest_wait)
        self._resting[whom] = (self._clock() + self.limits.rest, reason)
        raise TransportError(f"{request.service} cannot be reached", got=reason, help=TRY_AGAIN)

    def close(self) -> None:
        """Close the connections and end the worker."""
        self._deadline.close()
        if self._session is not None:
            self._session.close()
            self._session = None

    def _check_rest(self, whom: tuple[str, str]) -> None:
        until, reason = self._resting.get(whom, (0.0, ""))
        left = until - self._clock()
        if left > 0:
            raise TransportError(
                f"{whom[0]} failed a moment ago and is not called again yet",
                where=whom[1],
                got=f"{reason}; next attempt in {left:.0f} s",
                help=TRY_AGAIN,
            )

    def _attempt(self, request: SigningRequest, end: float) -> SigningResponse:
        """Return the response of one attempt. Raises _Again if a retry may succeed."""
        import requests

        seconds = max(0.1, min(self.limits.call, end - self._clock()))
        session = self._connections()
        try:
            answer = self._deadline.run(
                lambda: self._exchange(session, request, seconds), seconds, request.service
            )
        except requests.exceptions.SSLError as error:
            raise TransportError(
                f"{request.service} has no certificate that this machine trusts", got=_short(error)
            ) from error
        except requests.RequestException as error:
            raise _RetryableError(_short(error)) from error
        except TransportError as error:
            if self._deadline.timed_out:  # the hanging thread keeps the old connections
                self._session = None
                raise _RetryableError(f"no answer within {seconds:.3g} s") from error
            raise
        if answer.status in AGAIN:
            raise _RetryableError(reason_of(answer), _retry_after(answer))
        return answer

    def _exchange(
        self, session: requests.Session, request: SigningRequest, seconds: float
    ) -> SigningResponse:
        end = self._clock() + seconds
        response = session.request(
            request.method,
            request.url,
            data=request.body,
            headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **request.headers},
            timeout=(min(self.limits.connect, seconds), seconds),
            allow_redirects=False,
            stream=True,
        )
        with response:
            if response.is_redirect or 300 <= response.status_code < 400:
                raise TransportError(
                    f"{request.service} sends to another address",
                    expected="an answer: no redirect is followed",
                    got=ascii(response.headers.get("Location", ""))[1:-1][:200],
                    help="correct the address in the trust configuration",
                )
            return SigningResponse(
                response.status_code, dict(response.headers), self._read(response, request, end)
            )

    def _read(self, response: requests.Response, request: SigningRequest, end: float) -> bytes:
        import requests
        from urllib3.exceptions import HTTPError

        parts: list[bytes] = []
        size = 0
        try:
            while chunk := response.raw.read1(_CHUNK, decode_content=False):
                size += len(chunk)
                if size > request.max_bytes:
                    raise TransportError(
                        f"{request.service} gave an answer that is too large",
                        expected=f"at most {request.max_bytes} bytes",
                        help=TRY_AGAIN,
                    )
                if self._clock() > end:
                    raise requests.Timeout("the answer did not end in time")
                parts.append(chunk)
        except HTTPError as error:
            raise requests.ConnectionError(_short(error)) from error
        return b"".join(parts)

    def _connections(self) -> requests.Session:
        if self._session is None:
            import requests

            self._session = requests.Session()
        return self._session


def reason_of(answer: SigningResponse) -> str:
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


def _retry_after(answer: SigningResponse) -> float:
    """Return the seconds in Retry-After. Dates are ignored, and the default wait is used."""
    text = next((value for key, value in answer.headers.items() if key.lower() == "retry-after"), "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0.0


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:300]

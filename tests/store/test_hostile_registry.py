"""A registry whose links lead nowhere, and whose headers take long to read: one error, at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from gitchain.errors import AuthenticationError, TransportError
from gitchain.platform.http import ReadDeadline
from gitchain.store import oci
from gitchain.store.oci import Descriptor
from gitchain.store.registry import Registry
from tests.support.oci_registry import Handler, SmallRegistry, digest, small_registry

BLOB = Descriptor(oci.BUNDLE, digest(b"a blob"), 6)


@pytest.fixture
def server() -> Iterator[SmallRegistry]:
    with small_registry() as found:
        yield found


def registry(server: SmallRegistry) -> Registry:
    return Registry(server.host, "team/model", ReadDeadline(10))


def redirected(found: Registry) -> None:
    found.blob(BLOB, 100)


def paged(found: Registry) -> None:
    list(found.referrers("0" * 64))


def uploaded(found: Registry) -> None:
    found.put_blob(b"other")


@pytest.mark.parametrize("ask", [redirected, paged, uploaded])
@pytest.mark.parametrize(
    "link", ["https://[::1/", "//[", "/v2/\u00e9", "http://h:x/", "http://a b/", "file:///x"]
)
def test_registry_that_leads_to_no_url_is_one_error(
    server: SmallRegistry, ask: Callable[[Registry], None], link: str
) -> None:
    """A redirect, a next page and the place of an upload: none is a traceback, none is the user's mistake."""

    def lie(handler: Handler, path: str) -> bool:
        status = 200 if "/referrers/" in path else 307 if handler.command == "GET" else 202
        handler.answer(status, oci.render_index([]), Location=link, Link=f'<{link}>; rel="next"')
        return True

    server.lie = lie
    with pytest.raises(TransportError, match=r"elsewhere|redirect or link is not allowed"):
        ask(registry(server))


def test_redirect_may_say_more_than_the_blob_holds(server: SmallRegistry) -> None:
    """Its body is no part of the blob, and a limit of six bytes is not for it."""
    server.blobs[BLOB.digest] = b"a blob"

    def lie(handler: Handler, path: str) -> bool:
        if not path.endswith("?x"):
            handler.answer(307, b"<a href=...>Temporary Redirect</a>", Location=f"{path}?x")
        else:
            handler.answer(200, b"a blob")
        return True

    server.lie = lie
    assert registry(server).blob(BLOB, 100) == b"a blob"


def test_registry_with_a_long_challenge_is_answered_at_once(server: SmallRegistry) -> None:
    """One header line of 60 kB took a minute to read, which no deadline bounds."""
    challenge = f"Bearer {'a' * 60_000}"
    server.lie = lambda handler, _path: handler.answer(401, WWW_Authenticate=challenge) is None
    started = time.monotonic()
    with pytest.raises(AuthenticationError):
        registry(server).manifest("tag")
    assert time.monotonic() - started < 5

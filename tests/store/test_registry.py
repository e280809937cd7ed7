"""A registry that lies, redirects, dawdles or never ends: one clear error, and no password where it does not belong."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gitchain.errors import (
    AuthenticationError,
    GitchainError,
    LimitError,
    MalformedError,
    NoEvidenceError,
    TransportError,
    UsageError,
    VerificationError,
)
from gitchain.evidence.digest import Sha256
from gitchain.platform.http import ReadDeadline, checked_url, followed
from gitchain.sources.oci import Referrers
from gitchain.store import oci
from gitchain.store.docker_credentials import may_receive, stored_credentials
from gitchain.store.oci import Descriptor, ImageReference
from gitchain.store.registry import MAX_PAGES, Registry
from tests.support.oci_registry import MANIFEST, Handler, SmallRegistry, digest, small_registry

EMPTY = b'{"schemaVersion":2,"layers":[]}'
BLOB = b"a blob"


@pytest.fixture
def server() -> Iterator[SmallRegistry]:
    with small_registry() as found:
        yield found


@pytest.fixture
def other() -> Iterator[SmallRegistry]:
    with small_registry() as found:
        yield found


def registry(server: SmallRegistry, seconds: float = 10) -> Registry:
    return Registry(server.host, "team/model", ReadDeadline(seconds))


def blob(data: bytes = BLOB, size: int | None = None) -> Descriptor:
    return Descriptor(oci.BUNDLE, digest(data), len(data) if size is None else size)


def filed(directory: Path, monkeypatch: pytest.MonkeyPatch, *hosts: str) -> str:
    """File a password under these hosts, as `docker login` does, and return what would be sent."""
    auth = base64.b64encode(b"ada:secret").decode()
    (directory / "config.json").write_text(json.dumps({"auths": {host: {"auth": auth} for host in hosts}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(directory))
    return f"Basic {auth}"


@pytest.mark.parametrize(
    ("given", "size", "sent"),
    [
        (digest(BLOB), 6, b"another"),
        (digest(BLOB), 5, BLOB),
        (digest(BLOB), 7, BLOB),
        (Sha256("0" * 64), 6, BLOB),
    ],
)
def test_a_blob_is_what_it_was_asked_by(server: SmallRegistry, given: Sha256, size: int, sent: bytes) -> None:
    """Digest and size are compared: a byte more or less, or other bytes, are refused."""
    server.blobs[given] = sent
    with pytest.raises((VerificationError, LimitError)):
        registry(server).blob(Descriptor(oci.BUNDLE, given, size), 100)


def test_a_blob_that_is_too_large_is_not_asked_for(server: SmallRegistry) -> None:
    with pytest.raises(LimitError, match="too large"):
        registry(server).blob(blob(size=101), 100)
    assert server.seen == []


def test_a_manifest_by_digest_is_compared(server: SmallRegistry) -> None:
    """toctou_registry: what a registry puts in the place of a pinned manifest is refused."""
    pinned = server.put(EMPTY)
    server.manifests[f"sha256:{pinned}"] = EMPTY + b" "
    with pytest.raises(VerificationError, match="other bytes"):
        registry(server).manifest(f"sha256:{pinned}")


def test_a_tag_that_flips_changes_the_version_and_never_what_is_pinned(server: SmallRegistry) -> None:
    """toctou_registry: each reading resolves the tag once and holds on to that digest."""
    one, two = server.put(EMPTY, "tag"), digest(EMPTY + b" ")
    source = Referrers.of(f"oci://{server.host}/team/model:tag")

    def flip(handler: Handler, path: str) -> bool:
        if path.endswith("/tag"):
            server.put(EMPTY + b" ", "tag")
            handler.answer(200, EMPTY, Content_Type=MANIFEST)
            return True
        return False

    server.lie = flip
    source.read()
    assert source.name.endswith(f"@sha256:{one}")
    assert [path for _, path, _ in server.seen if "/referrers/" in path] == [
        f"/v2/team/model/referrers/sha256:{one}"
    ]
    server.lie = lambda _handler, _path: False
    before = source.version()
    assert source.name.endswith(f"@sha256:{two}")
    server.put(EMPTY, "tag")
    assert source.version() != before


def test_what_refers_to_something_else_does_not_count(server: SmallRegistry) -> None:
    """A registry that lists another artifact's bundles is told, and they are not taken."""
    subject, elsewhere = server.put(EMPTY), Sha256("1" * 64)
    server.blobs[digest(BLOB)] = BLOB
    raw = oci.render_manifest(oci.BUNDLE, [blob()], Descriptor(MANIFEST, elsewhere, 1))
    listed = oci.render_index([oci.described(raw, MANIFEST, oci.BUNDLE)])
    server.put(raw)

    def lie(handler: Handler, path: str) -> bool:
        if "/referrers/" in path:
            handler.answer(200, listed)
        return "/referrers/" in path

    server.lie = lie
    found = Referrers.of(f"oci://{server.host}/team/model@sha256:{subject}").read()
    assert (found.bundles, len(found.problems)) == ({}, 1)


def test_a_manifest_is_never_redirected(server: SmallRegistry, other: SmallRegistry) -> None:
    other.put(EMPTY, "tag")
    server.lie = lambda handler, _path: (
        handler.answer(307, Location=f"http://{other.host}/v2/x/manifests/tag") is None
    )
    with pytest.raises(TransportError, match="does not answer"):
        registry(server).manifest("tag")
    assert other.seen == []


def test_a_redirected_blob_takes_no_credentials_along(
    server: SmallRegistry, other: SmallRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """auth_header_per_host: the storage behind a registry hears no password and no token."""
    secret = filed(tmp_path, monkeypatch, server.host)
    other.blobs[digest(BLOB)] = BLOB

    def lie(handler: Handler, path: str) -> bool:
        if handler.headers["Authorization"] != secret:
            handler.answer(401, WWW_Authenticate='Basic realm="x"')
        else:
            handler.answer(307, Location=f"http://{other.host}{path}")
        return True

    server.lie = lie
    assert registry(server).blob(blob(), 100) == BLOB
    assert [headers.get("authorization") for _, _, headers in other.seen] == [None]


def test_redirects_end(server: SmallRegistry) -> None:
    server.lie = lambda handler, path: handler.answer(307, Location=path) is None
    with pytest.raises(TransportError, match="does not answer"):
        registry(server).blob(blob(), 100)
    assert len(server.seen) == 4


@pytest.mark.parametrize(
    "place",
    [
        "http://example.com/x",
        "https://10.0.0.1/x",
        "https://[::1]/x",
        "http://169.254.169.254/",
        "file:///etc/passwd",
        "",
    ],
)
def test_a_registry_of_others_cannot_send_us_to_addresses(place: str) -> None:
    """no_url_from_evidence: only to https, by name: not into the network behind us."""
    with pytest.raises(TransportError, match="redirect or link is not allowed"):
        followed(place, "https://registry.example.com")


def token_from(realm: str, token: str) -> Callable[[Handler, str], bool]:
    """Return a lie that asks for a token of this realm until it gets it."""

    def challenge(handler: Handler, _path: str) -> bool:
        if handler.headers["Authorization"] == f"Bearer {token}":
            return False
        handler.answer(401, WWW_Authenticate=f'Bearer realm="{realm}",service="s"')
        return True

    return challenge


@pytest.mark.parametrize("verb", ["pull", "push"])
def test_registry_gets_no_token_for_credentials_of_another_registry(
    server: SmallRegistry, other: SmallRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """token_relay: the realm is a registry where the user is logged in; it is asked without the password."""
    secret = filed(tmp_path, monkeypatch, other.host)
    server.put(EMPTY, "tag")
    server.lie = token_from(f"http://{other.host}/token", "abc")
    other.lie = lambda handler, _path: handler.answer(200, b'{"token":"abc"}') is None
    if verb == "pull":
        assert registry(server).manifest("tag")[1] == EMPTY
    else:
        registry(server).put_manifest(EMPTY, "other")
    assert [headers.get("authorization") for _, _, headers in other.seen] == [None]
    assert "scope=repository%3Ateam%2Fmodel%3Apull" in other.seen[0][1]
    assert all(secret != headers.get("authorization") for _, _, headers in server.seen)


def test_registry_sends_its_own_credentials_to_its_own_token_service(
    server: SmallRegistry, other: SmallRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its credentials never go to a token service at another address, which then may refuse."""
    secret = filed(tmp_path, monkeypatch, server.host)
    server.put(EMPTY, "tag")
    challenge = token_from(f"http://{server.host}/token", "abc")

    def lie(handler: Handler, path: str) -> bool:
        if path.startswith("/token"):
            return handler.answer(200, b'{"token":"abc"}') is None
        return challenge(handler, path)

    server.lie = lie
    assert registry(server).manifest("tag")[1] == EMPTY
    assert [headers.get("authorization") for _, _, headers in server.seen] == [None, secret, "Bearer abc"]
    server.lie = token_from(f"http://{other.host}/token", "abc")
    other.lie = lambda handler, _path: handler.answer(401, b"{}") is None
    with pytest.raises(AuthenticationError, match="gives no token") as caught:
        registry(server).manifest("tag")
    assert caught.value.help == f"docker login {server.host}"
    assert [headers.get("authorization") for _, _, headers in other.seen] == [None]


@pytest.mark.parametrize(
    ("realm", "host", "allowed"),
    [
        ("registry.example.com", "registry.example.com", True),
        ("registry.example.com", "registry.example.com:5050", True),
        ("registry.example.com:8443", "registry.example.com", True),
        ("auth.registry.example.com", "registry.example.com", True),
        ("gitlab.com", "registry.gitlab.com", True),
        ("auth.example.com", "registry.example.com", True),
        ("auth.docker.io", "registry-1.docker.io", True),
        ("auth.docker.io", "index.docker.io", True),
        ("auth.docker.io", "docker.io", True),
        ("auth.docker.io.evil.example", "docker.io", False),
        ("auth.docker.io", "evil.example", False),
        ("example.com", "evil.com", False),
        ("evil-example.com", "example.com", False),
        ("example.com", "evil-example.com", False),
        ("a.b.example.com", "c.d.example.com", False),
        ("127.0.0.1:2", "127.0.0.1:1", False),
        ("127.0.0.1:1", "127.0.0.1:1", True),
        ("10.0.0.2", "11.0.0.2", False),
        ("[::1]:2", "[::1]:1", False),
        ("[::1]:1", "[::1]:1", True),
        ("localhost:2", "localhost:1", False),
        ("", "registry.example.com", False),
    ],
)
def test_may_receive_is_strict(realm: str, host: str, allowed: bool) -> None:
    assert may_receive(realm, host) is allowed


@pytest.mark.parametrize("host", ["docker.io", "index.docker.io", "registry-1.docker.io"])
def test_stored_credentials_of_docker_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """`docker login` without a host stores them under the URL of its first version."""
    secret = filed(tmp_path, monkeypatch, "https://index.docker.io/v1/")
    assert f"Basic {stored_credentials(host)}" == secret
    assert stored_credentials("docker.io.example") is None


@pytest.mark.parametrize(
    ("challenge", "token"),
    [
        ("", b""),
        ("Digest x", b""),
        ('Basic realm="x"', b""),
        ("Bearer service=x", b""),
        ("Bearer", b"{}"),
        ("Bearer", b'{"token":5}'),
        ("Bearer", b'{"token":"a\\nb"}'),
        ("Bearer", b"no json"),
        ("Bearer", b"[]"),
    ],
)
def test_who_gives_no_token_is_one_error(
    server: SmallRegistry, other: SmallRegistry, challenge: str, token: bytes
) -> None:
    realm = f'Bearer realm="http://{other.host}/token"' if challenge == "Bearer" else challenge
    server.lie = lambda handler, _path: handler.answer(401, WWW_Authenticate=realm) is None
    other.lie = lambda handler, _path: handler.answer(200, token) is None
    with pytest.raises((AuthenticationError, MalformedError)):
        registry(server).manifest("tag")
    assert len(server.seen) == 1


def trickle(handler: Handler, _path: str) -> bool:
    """Send a header byte by byte, without end."""
    try:
        while True:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: y\r\n" if not handler.server.blobs else b"x")
            handler.wfile.flush()
            handler.server.blobs["x"] = b""
            handler.server.waiting.wait(0.05)  # type: ignore[attr-defined]
    except OSError:
        return True


def endless(handler: Handler, _path: str) -> bool:
    """Send a body without end."""
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b"x" * 65536)
    except OSError:
        handler.close_connection = True
        return True


def test_a_server_that_trickles_ends_with_the_deadline(server: SmallRegistry) -> None:
    """A byte now and then does not keep the line open: the time counts over the whole request."""
    import threading

    server.waiting = threading.Event()  # type: ignore[attr-defined]
    server.lie = trickle
    with pytest.raises(TransportError, match="in time"):
        registry(server, 0.5).manifest("tag")


def test_an_endless_body_ends_at_its_limit(server: SmallRegistry) -> None:
    server.lie = endless
    with pytest.raises(LimitError):
        registry(server).manifest("tag")
    with pytest.raises(LimitError):
        registry(server).blob(blob(), 100)


def test_a_body_that_was_cut_is_no_answer(server: SmallRegistry) -> None:
    def cut(handler: Handler, _path: str) -> bool:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"half")
        handler.close_connection = True
        return True

    server.lie = cut
    with pytest.raises(TransportError):
        registry(server).manifest("tag")


@pytest.mark.parametrize(
    "link", ["https://example.com/v2/team/model/referrers/x", "/v2/other/referrers/x", "/etc"]
)
def test_the_next_page_is_in_the_same_repository(server: SmallRegistry, link: str) -> None:
    page = oci.render_index([])
    server.lie = lambda handler, _path: handler.answer(200, page, Link=f'<{link}>; rel="next"') is None
    with pytest.raises(TransportError, match="elsewhere"):
        list(registry(server).referrers("0" * 64))


def test_pages_end(server: SmallRegistry) -> None:
    page = oci.render_index([])
    server.lie = lambda handler, path: handler.answer(200, page, Link=f'<{path}>; rel="next"') is None
    with pytest.raises(LimitError, match="pages"):
        list(registry(server).referrers("0" * 64))
    assert len(server.seen) == MAX_PAGES


@pytest.mark.parametrize("status", [400, 403, 429, 500, 503])
def test_a_registry_that_fails_is_no_empty_registry(server: SmallRegistry, status: int) -> None:
    """Only 404 means that there is nothing: everything else fails, and no evidence is taken for none."""
    subject = server.put(EMPTY)
    server.lie = lambda handler, path: "/referrers/" in path and handler.answer(status) is None
    with pytest.raises(GitchainError) as caught:
        Referrers.of(f"oci://{server.host}/team/model@sha256:{subject}").read()
    assert caught.value.exit_code in {6, 7}


def test_a_bundle_that_is_listed_and_gone_is_an_error(server: SmallRegistry) -> None:
    subject = server.put(EMPTY)
    server.put(oci.render_manifest(oci.BUNDLE, [blob()], oci.described(EMPTY, MANIFEST)))
    with pytest.raises(NoEvidenceError):
        Referrers.of(f"oci://{server.host}/team/model@sha256:{subject}").read()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        b'{"schemaVersion":1,"layers":[]}',
        b'{"schemaVersion":2}',
        b'{"schemaVersion":2,"layers":{}}',
        b'{"schemaVersion":2,"mediaType":"x","layers":[]}',
        b'{"schemaVersion":2,"layers":[{"mediaType":"x","size":1,"digest":"sha512:00"}]}',
        b'{"schemaVersion":2,"layers":[{"mediaType":"x","size":-1,"digest":"sha256:' + b"0" * 64 + b'"}]}',
        b'{"schemaVersion":2,"layers":[{"mediaType":"x","size":1,"digest":"' + b"0" * 64 + b'"}]}',
        b'{"schemaVersion":2,"layers":[],"subject":5}',
        b'{"schemaVersion":2,"layers":[],"config":5}',
    ],
)
def test_a_manifest_that_is_none_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        oci.parse_manifest(raw, "x")


@pytest.mark.parametrize(
    "raw", [b'{"schemaVersion":2,"mediaType":"x"}', b'{"schemaVersion":2,"manifests":5}']
)
def test_an_index_that_is_none_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedError):
        oci.parse_index(raw, "x")


@pytest.mark.parametrize(
    "text",
    [
        "oci://h/n:t",
        "oci://h:5000/a/b-c/d@sha256:" + "0" * 64,
        "oci://[::1]:5000/a:v1.0_x",
        "oci://127.0.0.1/a__b:t",
    ],
)
def test_references_read_as_they_are_written(text: str) -> None:
    assert str(ImageReference.parse(text)) == text


def test_a_digest_outdoes_a_tag() -> None:
    pinned = "@sha256:" + "0" * 64
    assert str(ImageReference.parse(f"oci://h/n:t{pinned}")) == f"oci://h/n{pinned}"


@pytest.mark.parametrize(
    "text",
    ["oci://", "oci://h", "oci://h/", "oci://h/A:t", "oci://h/a//b:t", "oci://h/a:t\n", "oci://u@h/a:t", "oci://h/../a:t",
     "oci://h/a@sha256:0", "oci://h/a@sha256:" + "A" * 64, "oci://h/a?x:t", "http://h/a:t", "oci://h/" + "a" * 1100],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        ImageReference.parse(text)


@pytest.mark.parametrize(
    "url",
    ["http://example.com/", "ftp://127.0.0.1/", "https://", "https://a:b@example.com/", "https://example.com:99999/",
     "https://example.com/\r\nX: y", "https://example.com/ä", "https://example.com/" + "a" * 5000, "http://localhost.example.com/"],
)  # fmt: skip
def test_what_may_not_be_asked_is_refused(url: str) -> None:
    """https by name, or this machine; no credentials in the URL."""
    with pytest.raises(UsageError):
        checked_url(url)

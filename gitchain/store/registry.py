"""Client of an OCI registry, which reads and writes the evidence that refers to an artifact.

Spec: https://github.com/opencontainers/distribution-spec 1.1, with the referrers tag schema for registries without
the referrers API. Every body is compared with the requested digest and size.

The registry may be malicious. Only the credentials stored for the registry itself are used (in `auths` of Docker's
config.json; helpers are not run): for the registry, and for its token service if `docker_credentials.may_receive`
allows that host. A token is sent only to the registry that it was requested for. Redirects of manifests are refused;
a blob may be redirected to https, without credentials, but not to an address.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from gitchain.errors import (
    AuthenticationError,
    GitchainError,
    LimitError,
    NoEvidenceError,
    TransportError,
    VerificationError,
)
from gitchain.evidence.canonical import strict_json
from gitchain.evidence.digest import sha256_hex
from gitchain.platform.http import HttpResponse, ReadDeadline, ask, followed, is_loopback, led
from gitchain.store import oci
from gitchain.store.docker_credentials import may_receive, stored_credentials
from gitchain.store.oci import Descriptor, ImageReference

MAX_PAGES = 100  # most referrers
MAX_REDIRECTS = 3
MAX_TOKEN_BYTES = 64 << 10
SECONDS = 120.0
"""Deadline in seconds for all requests of one operation."""

_LINK = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')
_CHALLENGE = re.compile(r'\b(\w{1,32})="([^"]*)"', re.ASCII)
_MANIFESTS = f"{oci.MANIFEST}, {oci.INDEX}, {oci.DOCKER_MANIFEST}, {oci.DOCKER_INDEX}"


@dataclass
class Registry:
    """A repository of a registry, with one deadline."""

    host: str
    name: str
    deadline: ReadDeadline
    _token: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, reference: ImageReference, seconds: float = SECONDS) -> Registry:
        """Return the repository of a reference."""
        return cls(reference.host, reference.name, ReadDeadline(seconds))

    @property
    def base(self) -> str:
        """Return the URL of the registry: https, except on loopback."""
        name = self.host.rsplit(":", 1)[0] if not self.host.endswith("]") else self.host
        return f"{'http' if is_loopback(name.strip('[]')) else 'https'}://{self.host}"

    def manifest(self, reference: str, *, size: int | None = None) -> tuple[str, bytes]:
        """Return media type and bytes of a manifest by tag or `sha256:…`.

        Raises NoEvidenceError if it does not exist. Raises VerificationError for bytes that do not match the digest;
        TransportError.
        """
        where = f"{self.host}/{self.name} {reference}"
        answer = self._get(f"/manifests/{reference}", _MANIFESTS, oci.MAX_MANIFEST_BYTES)
        if answer.status == 404:
            raise NoEvidenceError(
                "the registry has no such manifest", where=where, help="check the name, the tag or the digest"
            )
        self._check(answer, where)
        if reference.startswith("sha256:"):
            compare(answer.body, reference.removeprefix("sha256:"), size, where)
        return answer.headers.get("content-type", "").split(";")[0].strip(), answer.body

    def resolve(self, reference: ImageReference) -> ImageReference:
        """Return the reference with the digest of its tag. Raises NoEvidenceError for an unknown tag."""
        if reference.digest:
            return reference
        _, body = self.manifest(str(reference.tag))
        return reference.at(sha256_hex(body))

    def blob(self, descriptor: Descriptor, limit: int) -> bytes:
        """Return the content of a descriptor. Raises LimitError, before the request, if it is too large."""
        where = f"{self.host}/{self.name} sha256:{descriptor.digest}"
        if descriptor.size > limit:
            raise LimitError(
                "a blob is too large", where=where, expected=f"≤ {limit}", got=str(descriptor.size)
            )
        answer = self._followed(f"/blobs/sha256:{descriptor.digest}", max(descriptor.size, 1))
        self._check(answer, where)
        compare(answer.body, descriptor.digest, descriptor.size, where)
        return answer.body

    def download(self, descriptor: Descriptor, to: Path) -> None:
        """Write the content of a descriptor to a new file, verified while reading. Partial files are kept.

        Raises VerificationError for other bytes; TransportError. Raises StoreError if the disk is full.
        """
        where = f"{self.host}/{self.name} sha256:{descriptor.digest}"
        hasher, size = hashlib.sha256(), 0
        try:
            with to.open("xb") as file:

                def take(chunk: bytes) -> None:
                    nonlocal size
                    hasher.update(chunk)
                    size += file.write(chunk)

                answer = self._followed(f"/blobs/sha256:{descriptor.digest}", max(descriptor.size, 1), take)
        except FileExistsError as error:
            raise VerificationError("two layers have one name", where=str(to.name)) from error
        self._check(answer, where)
        if (hasher.hexdigest(), size) != (descriptor.digest, descriptor.size):
            raise VerificationError(
                "the registry returned other bytes than requested",
                where=where,
                expected=f"sha256:{descriptor.digest}, {descriptor.size} bytes",
                got=f"sha256:{hasher.hexdigest()}, {size} bytes",
            )

    def referrers(self, digest: str) -> Iterator[Descriptor]:
        """Yield the referrers of a digest, from the referrers API or from the referrers tag."""
        path = f"/referrers/sha256:{digest}"
        for _ in range(MAX_PAGES):
            answer = self._get(path, oci.INDEX, oci.MAX_MANIFEST_BYTES)
            if answer.status == 404:
                yield from self.tagged(digest)
                return
            where = f"{self.host}/{self.name} referrers of sha256:{digest}"
            self._check(answer, where)
            yield from oci.parse_index(answer.body, where)
            following = _LINK.match(answer.headers.get("link", ""))
            if following is None:
                return
            path = self._same(following[1])
        raise LimitError("too many pages of referrers", where=self.host, expected=f"at most {MAX_PAGES}")

    def tagged(self, digest: str) -> tuple[Descriptor, ...]:
        """Return the referrers listed under the referrers tag of a digest; empty without the tag."""
        try:
            _, body = self.manifest(f"sha256-{digest}")
        except NoEvidenceError:
            return ()
        return oci.parse_index(body, f"{self.host}/{self.name}:sha256-{digest}")

    def put_blob(self, data: bytes) -> None:
        """Upload a blob unless it exists. Raises TransportError."""
        digest = sha256_hex(data)
        if self._request("HEAD", self._url(f"/blobs/sha256:{digest}"), {}).status == 200:
            return
        started = self._request("POST", self._url("/blobs/uploads/"), {"Content-Length": "0"}, body=b"")
        place = started.headers.get("location", "")
        if started.status != 202 or not place:
            self._refused(started, "takes no blob")
        url = led(self._url("/"), place)
        if urlsplit(url)[:2] != urlsplit(self.base)[:2]:
            raise TransportError(
                "the registry redirects the upload to another server", where=self.host, got=ascii(url[:200])
            )
        url += ("&" if "?" in url else "?") + urlencode({"digest": f"sha256:{digest}"})
        done = self._request("PUT", url, {"Content-Type": "application/octet-stream"}, body=data)
        if done.status != 201:
            self._refused(done, "did not keep a blob")

    def put_manifest(self, data: bytes, reference: str, media_type: str = oci.MANIFEST) -> HttpResponse:
        """Upload a manifest under a tag or digest. Raises TransportError."""
        done = self._request(
            "PUT", self._url(f"/manifests/{reference}"), {"Content-Type": media_type}, body=data
        )
        if done.status != 201:
            self._refused(done, "did not keep a manifest")
        return done

    def _url(self, path: str) -> str:
        return f"{self.base}/v2/{self.name}{path}"

    def _same(self, link: str) -> str:
        """Return the path of the next page, which must be in this repository."""
        url, start = led(self._url("/referrers/"), link), f"{self.base}/v2/{self.name}/"
        if not url.startswith(start + "referrers/"):
            raise TransportError("the next page is elsewhere", where=self.host, got=ascii(link[:200]))
        return "/" + url.removeprefix(start)

    def _get(self, path: str, accept: str, limit: int) -> HttpResponse:
        return self._request("GET", self._url(path), {"Accept": accept}, limit=limit)

    def _followed(self, path: str, limit: int, sink: Callable[[bytes], object] | None = None) -> HttpResponse:
        """Return the response after redirects, which are followed without credentials."""
        url = self._url(path)
        answer = self._request("GET", url, {}, limit=limit, sink=sink)
        for _ in range(MAX_REDIRECTS):
            if answer.status not in {301, 302, 303, 307, 308}:
                break
            url = followed(led(url, answer.headers.get("location", "")), self.base)
            answer = ask("GET", url, {}, self.deadline, limit=limit, sink=sink)
        return answer

    def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        limit: int = MAX_TOKEN_BYTES,
        body: bytes | None = None,
        sink: Callable[[bytes], object] | None = None,
    ) -> HttpResponse:
        """Send a request to the registry; repeat it with a token if the registry requires one."""
        answer = ask(
            method, url, {**headers, **self._token}, self.deadline, limit=limit, body=body, sink=sink
        )
        if answer.status == 401:
            self._token = self._authorised(answer.headers.get("www-authenticate", ""), method)
            answer = ask(
                method, url, {**headers, **self._token}, self.deadline, limit=limit, body=body, sink=sink
            )
        return answer

    def _authorised(self, challenge: str, method: str) -> dict[str, str]:
        kind = challenge.split(" ", 1)[0].lower()
        if kind == "basic" and (password := stored_credentials(self.host)):
            return {"Authorization": f"Basic {password}"}
        challenge_fields = dict(_CHALLENGE.findall(challenge))
        if kind != "bearer" or "realm" not in challenge_fields:
            raise AuthenticationError(
                "the registry requires authentication",
                where=self.host,
                got=ascii(challenge[:200]),
                help=f"docker login {self.host}",
            )
        return {"Authorization": f"Bearer {self._bearer(challenge_fields, method)}"}

    def _bearer(self, challenge_fields: Mapping[str, str], method: str) -> str:
        actions = "pull" if method in {"GET", "HEAD"} else "pull,push"
        realm = challenge_fields["realm"]
        query = {"scope": f"repository:{self.name}:{actions}"}
        if "service" in challenge_fields:
            query["service"] = challenge_fields["service"]
        url = realm + ("&" if "?" in realm else "?") + urlencode(query)
        host = urlsplit(followed(url, self.base)).netloc
        password = stored_credentials(self.host) if may_receive(host, self.host) else None
        headers = {"Authorization": f"Basic {password}"} if password else {}
        answer = ask("GET", url, headers, self.deadline, limit=MAX_TOKEN_BYTES)
        if answer.status != 200:
            raise AuthenticationError(
                "the registry gives no token",
                where=host,
                got=f"HTTP {answer.status}",
                help=f"docker login {self.host}",
            )
        value = strict_json(answer.body, "token", max_bytes=MAX_TOKEN_BYTES)
        token = (value.get("token") or value.get("access_token")) if isinstance(value, dict) else None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise AuthenticationError("the registry gives no token that can be used", where=host)
        return token

    def _check(self, answer: HttpResponse, where: str) -> None:
        if answer.status == 404:
            raise NoEvidenceError(
                "the registry does not have this", where=where, help="check the name, the tag or the digest"
            )
        if answer.status != 200:
            self._refused(answer, "does not answer", where)

    def _refused(self, answer: HttpResponse, what: str, where: str = "") -> None:
        kind: type[GitchainError] = AuthenticationError if answer.status in {401, 403} else TransportError
        raise kind(
            f"the registry {what}",
            where=where or f"{self.host}/{self.name}",
            got=f"HTTP {answer.status}",
            help=f"docker login {self.host}" if kind is AuthenticationError else "try again",
        )


def compare(data: bytes, digest: str, size: int | None, where: str) -> None:
    """Raise VerificationError unless the bytes have the requested digest and size."""
    if sha256_hex(data) != digest or (size is not None and len(data) != size):
        raise VerificationError(
            "the registry returned other bytes than requested",
            where=where,
            expected=f"sha256:{digest}" + ("" if size is None else f", {size} bytes"),
            got=f"sha256:{sha256_hex(data)}, {len(data)} bytes",
        )

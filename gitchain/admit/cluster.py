"""Client of the cluster's API, with the rights of the pod's service account.

https://kubernetes.io/docs/reference/using-api/api-concepts/ : lists come in pages. Only `send` writes, and only
`reporting` calls it. Redirects are not followed and no proxy is used. The token is sent only to the server in the
settings or the pod's environment.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode

from gitchain.errors import MalformedError, StoreError, TransportError
from gitchain.evidence.canonical import Json, strict_json
from gitchain.evidence.fields import Object, as_array, as_object, find_object, find_string
from gitchain.platform.files import open_regular
from gitchain.platform.http import HttpResponse, ReadDeadline, ask

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PAGE = 250
MAX_PAGES = 4000
"""Most pages of a list, for about a million objects."""

MAX_PAGE_BYTES = 128 << 20
MAX_TOKEN_BYTES = 64 << 10
MAX_OBJECT_BYTES = 8 << 20
"""Largest object: the limit of a review, which carries one."""

SECONDS = 30.0
"""Longest time for a page, in seconds."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The API server's address, and the paths of token and CA, which are read at each call."""

    server: str
    token: Path
    ca: Path

    @classmethod
    def around(cls) -> Cluster | None:
        """Return the cluster that this pod runs in, or None outside of one, or without a token."""
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
        if not host or not port or not (ACCOUNT / "token").is_file():
            return None
        shown = f"[{host}]" if ":" in host else host
        return cls(f"https://{shown}:{port}", ACCOUNT / "token", ACCOUNT / "ca.crt")

    def list(self, path: str, *, labels: str = "") -> Iterator[Object]:
        """Yield every object of a list; none for an unknown kind. Raises TransportError, MalformedError or LimitError."""
        more: str | None = ""
        chosen = {"labelSelector": labels} if labels else {}
        for _ in range(MAX_PAGES):
            query = urlencode({"limit": PAGE, "continue": more or "", **chosen})
            page = self._get(f"{path}?{query}", SECONDS, MAX_PAGE_BYTES)
            if page is None:
                return
            for item in as_array(page.get("items") or [], "items", limit=PAGE):
                yield as_object(item, "items")
            metadata = find_object(page, "metadata", "list") or {}
            more = find_string(metadata, "continue", "metadata")
            if not more:
                return
        raise TransportError("a list of the cluster has no end", where=self.server + path)

    def get(self, path: str, seconds: float) -> Object | None:
        """Return one object, within `seconds`, or None if it does not exist. Raises the errors of `list`."""
        return self._get(path, seconds, MAX_OBJECT_BYTES)

    def send(self, method: str, path: str, body: Mapping[str, Json], seconds: float) -> int:
        """Create or replace an object, and return the HTTP status, which the caller interprets. Raises TransportError."""
        data = json.dumps(body, ensure_ascii=True).encode("ascii")
        return self._ask(method, path, seconds, MAX_OBJECT_BYTES, data).status

    def _ask(
        self, method: str, path: str, seconds: float, limit: int, body: bytes | None = None
    ) -> HttpResponse:
        headers = {"Authorization": f"Bearer {self._secret()}", "Accept": "application/json"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        return ask(
            method,
            self.server + path,
            headers,
            ReadDeadline(seconds),
            limit=limit,
            body=body,
            trusted=self.ca,
        )

    def _get(self, path: str, seconds: float, limit: int) -> Object | None:
        where = self.server + path
        answer = self._ask("GET", path, seconds, limit)
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        if answer.status != HTTPStatus.OK:
            raise TransportError(
                "the cluster's API refused",
                where=where,
                got=f"HTTP {answer.status}",
                help="the chart's ClusterRoles have the rights that are needed",
            )
        return as_object(strict_json(answer.body, "answer", max_bytes=limit), "answer")

    def _secret(self) -> str:
        try:
            with open_regular(self.token) as file:
                text = file.read(MAX_TOKEN_BYTES).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError("cannot read the token", where=str(self.token)) from error
        if not text or not text.isprintable():
            raise MalformedError("not a token", where=str(self.token))
        return text

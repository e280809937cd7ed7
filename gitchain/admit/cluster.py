"""The few things that are read from a cluster's own API, with the rights of the pod's service account.

https://kubernetes.io/docs/reference/using-api/api-concepts/ : lists come in pages. Nothing is written, no redirect is
followed, no proxy is used, and the token goes to the one server that the settings or the pod's environment name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode

from gitchain.errors import MalformedError, StoreError, TransportError
from gitchain.evidence.canonical import strict_json
from gitchain.evidence.fields import Object, as_array, as_object, find_object, find_string
from gitchain.platform.files import open_regular
from gitchain.store.http import Deadline, ask

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PAGE = 250
MAX_PAGES = 4000
"""A million objects; a list without an end is none."""

MAX_PAGE_BYTES = 128 << 20
MAX_TOKEN_BYTES = 64 << 10
MAX_OBJECT_BYTES = 8 << 20
"""Largest object: as much as a review that carries one may have."""

SECONDS = 30.0
"""Longest time for a page."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Where the API server is, the file of the token, and the file of the CA. Both files are read at each call."""

    server: str
    token: Path
    ca: Path

    @classmethod
    def around(cls) -> Cluster | None:
        """Return the cluster that this pod runs in; None outside of one, or without a token."""
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
        if not host or not port or not (ACCOUNT / "token").is_file():
            return None
        shown = f"[{host}]" if ":" in host else host
        return cls(f"https://{shown}:{port}", ACCOUNT / "token", ACCOUNT / "ca.crt")

    def list(self, path: str) -> Iterator[Object]:
        """Yield every object of a list; none of a kind that is unknown there. TransportError, MalformedError, LimitError."""
        more: str | None = ""
        for _ in range(MAX_PAGES):
            query = urlencode({"limit": PAGE, "continue": more or ""})
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
        """Return one object, within that many seconds; None if there is none. Raises as `list` does."""
        return self._get(path, seconds, MAX_OBJECT_BYTES)

    def _get(self, path: str, seconds: float, limit: int) -> Object | None:
        headers = {"Authorization": f"Bearer {self._secret()}", "Accept": "application/json"}
        where = self.server + path
        answer = ask("GET", where, headers, Deadline(seconds), limit=limit, trusted=self.ca)
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

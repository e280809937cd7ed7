"""The few things that are read from a cluster's own API, with the rights of the pod's service account.

https://kubernetes.io/docs/reference/using-api/api-concepts/ : lists come in pages. Nothing is written, no redirect is
followed, no proxy is used, and the token goes to the one server that the settings or the pod's environment name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.errors import MalformedError, StoreError, TransportError
from gitchain.evidence.canonical import strict_json
from gitchain.evidence.fields import Object, as_array, as_object, find_object, find_string

if TYPE_CHECKING:
    import requests

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PAGE = 250
MAX_PAGES = 4000
"""A million objects; a list without an end is none."""

MAX_PAGE_BYTES = 128 << 20
MAX_TOKEN_BYTES = 64 << 10
SECONDS = (5.0, 30.0)


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
        """Yield every object of a list; none where the cluster has no such kind. TransportError, MalformedError."""
        import requests

        with requests.Session() as session:
            session.trust_env = False
            more: str | None = ""
            for _ in range(MAX_PAGES):
                page = self._get(session, path, {"limit": str(PAGE), "continue": more or ""})
                if page is None:
                    return
                for item in as_array(page.get("items") or [], "items", limit=PAGE):
                    yield as_object(item, "items")
                metadata = find_object(page, "metadata", "list") or {}
                more = find_string(metadata, "continue", "metadata")
                if not more:
                    return
        raise TransportError("a list of the cluster has no end", where=self.server + path)

    def _get(self, session: requests.Session, path: str, query: dict[str, str]) -> Object | None:
        import requests

        headers = {"Authorization": f"Bearer {self._secret()}", "Accept": "application/json"}
        where = self.server + path
        try:
            with session.get(
                where,
                params=query,
                headers=headers,
                verify=str(self.ca),
                timeout=SECONDS,
                allow_redirects=False,
                stream=True,
            ) as answer:
                if answer.status_code == requests.codes.not_found:
                    return None
                data = bytearray()
                for part in answer.iter_content(1 << 16):
                    data += part
                    if len(data) > MAX_PAGE_BYTES:
                        raise TransportError("a list of the cluster is too large", where=where)
        except (requests.RequestException, OSError) as error:
            raise TransportError(
                "the cluster's API cannot be asked", where=where, got=type(error).__name__
            ) from error
        if answer.status_code != requests.codes.ok:
            raise TransportError(
                "the cluster's API refused",
                where=where,
                got=f"HTTP {answer.status_code}",
                help="the chart's ClusterRole has the rights that an audit needs",
            )
        return as_object(strict_json(bytes(data), "list", max_bytes=MAX_PAGE_BYTES), "list")

    def _secret(self) -> str:
        try:
            with self.token.open("rb") as file:
                text = file.read(MAX_TOKEN_BYTES).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError("cannot read the token", where=str(self.token)) from error
        if not text or not text.isprintable():
            raise MalformedError("not a token", where=str(self.token))
        return text

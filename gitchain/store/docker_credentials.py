"""Credentials stored by `docker login`, for exactly one registry. Credential helpers are not run."""

from __future__ import annotations

import base64
import binascii
import json
import os
from pathlib import Path
from urllib.parse import urlsplit

from gitchain.platform.files import open_regular

MAX_CONFIG_BYTES = 1 << 20
DOCKER_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
DOCKER_HUB_KEY = "https://index.docker.io/v1/"
"""Key of Docker Hub's credentials, stored by `docker login` without a host."""

DOCKER_HUB_TOKENS = "auth.docker.io"


def may_receive(realm: str, registry: str) -> bool:
    """Return True if the token service `realm` may receive the credentials of `registry`, both HOST[:PORT].

    Allowed if the host names are equal, with any port; if one is a subdomain of the other; if both are directly below
    the same domain of at least two labels; or for Docker Hub. IP addresses must be equal, including the port.
    """
    if realm == registry or (registry in DOCKER_HUB and realm == DOCKER_HUB_TOKENS):
        return True
    one, other = urlsplit(f"//{realm}").hostname or "", urlsplit(f"//{registry}").hostname or ""
    if not (_is_domain(one) and _is_domain(other)):
        return False
    parent = one.partition(".")[2]
    siblings = parent.count(".") >= 1 and parent == other.partition(".")[2]
    return one == other or siblings or one.endswith(f".{other}") or other.endswith(f".{one}")


def _is_domain(host: str) -> bool:
    """Return True if a host is a name of at least two labels, not an address."""
    return "." in host and ":" not in host and not host.rpartition(".")[2].isdigit()


def stored_credentials(host: str) -> str | None:
    """Return user and password (base64) stored by Docker for exactly this registry, or None."""
    found = _stored(host)
    return _stored(DOCKER_HUB_KEY) if found is None and host in DOCKER_HUB else found


def _stored(key: str) -> str | None:
    place = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "config.json"
    try:
        with open_regular(place) as file:
            value = json.loads(file.read(MAX_CONFIG_BYTES))
        auth = value["auths"][key]["auth"]
        base64.b64decode(auth, validate=True)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, RuntimeError, binascii.Error):
        return None
    return str(auth) or None

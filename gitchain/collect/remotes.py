"""A Git remote's address as a URI that may be published: no password, no token, no path on this machine.

https://ada:secret@example.com/a.git?x=y  →  https://example.com/a.git
git@example.com:team/a.git                →  ssh://git@example.com/team/a.git
"""

from __future__ import annotations

import re
from urllib.parse import quote, urlsplit, urlunsplit

_SCP = re.compile(
    r"(?:([A-Za-z0-9._-]+)@)?([A-Za-z0-9._-]{2,}|\[[0-9a-fA-F:]+\]):(?!//)(.+)", re.ASCII | re.DOTALL
)
_SCHEMES = frozenset({"https", "http", "ssh", "git", "git+ssh", "ssh+git", "ftp", "ftps"})
_SSH = frozenset({"ssh", "git+ssh", "ssh+git"})


def public_url(url: str) -> str | None:
    """Return the address without credentials, or None if it is empty or a path on this machine."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        return None
    if parts.scheme.lower() in _SCHEMES and parts.hostname:
        user = f"{quote(parts.username)}@" if parts.scheme.lower() in _SSH and parts.username else ""
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        netloc = f"{user}{host}" + (f":{port}" if port else "")
        return urlunsplit((parts.scheme.lower(), netloc, quote(parts.path, safe="/%~+,;=:@!$&'()*"), "", ""))
    found = _SCP.fullmatch(url.strip())
    if found is None or "/" in (found[1] or "") or url.startswith((".", "/")):
        return None
    user = f"{found[1]}@" if found[1] else ""
    return f"ssh://{user}{found[2]}/{quote(found[3].lstrip('/'), safe='/%~+,;=:@!$&()*')}"

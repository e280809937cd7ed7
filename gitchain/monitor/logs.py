"""Which logs there are to follow, and where each is read: the trusted root names them, the signing config their URLs.

The embedded instance is read from its directory. Another place to read a log at is the caller's to name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from cryptography import x509

from gitchain.errors import TransportError, UsageError
from gitchain.evidence.canonical import Json
from gitchain.evidence.tile import parse_path
from gitchain.instance import Instance
from gitchain.monitor.alerts import MEANINGS, Alert, Code
from gitchain.monitor.fetch import Fetcher, check_url
from gitchain.monitor.views import Fetch, RekorV1, Tiled, View
from gitchain.pipeline.profiles import Profile
from gitchain.verify.trust import LogKey, Trust

SOON = timedelta(days=30)
V1, V2 = 1, 2


def view_of(profile: Profile, log: LogKey, urls: Mapping[str, str]) -> View:
    """Return how to read a log; UsageError if nothing says where. Both kinds of Rekor are tried where none is said."""
    if profile.instance is not None and log.host not in urls:
        return Tiled(_of(profile.instance))
    url, version = _place(profile.text, log, urls)
    fetcher = Fetcher(check_url(url))
    tiled = Tiled(lambda path, limit: fetcher.get(f"api/v2/{path}", limit))
    first = RekorV1(fetcher.get, fetcher.post)
    if version is not None:
        return tiled if version == V2 else first
    try:
        tiled.checkpoint()
    except TransportError:
        return first
    return tiled


def _of(instance: Instance) -> Fetch:
    """Return a reader of the embedded instance's own log, as its server would answer."""

    def fetch(path: str, limit: int) -> bytes:
        del limit  # what is on this disk was written within the limits
        if path == "checkpoint":
            return instance.log.checkpoint().encode()
        found = instance.log.tile(parse_path(path))
        if found is None:
            raise TransportError("the log has no such tile", where=path)
        return found

    return fetch


def checkpoint_at(url: str) -> str:
    """Return the checkpoint that a URL shows, for example a witness' or a mirror's copy."""
    return Fetcher(check_url(url)).get("", 1 << 20).decode("utf-8", "replace")


def _place(text: str, log: LogKey, urls: Mapping[str, str]) -> tuple[str, int | None]:
    services = [one for one in _services(text) if isinstance(one, dict) and isinstance(one.get("url"), str)]
    if log.host in urls:
        return urls[log.host], None
    for one in services:
        url = str(one["url"]).rstrip("/")
        if url.partition("://")[2] == log.host:
            return url, int(str(one.get("majorApiVersion")))
    return f"https://{log.host}", None


def _services(text: str) -> list[Json]:
    config = json.loads(text).get("signingConfig") or {}  # read strictly before: this is no evidence
    found = config.get("rekorTlogUrls") or []
    return found if isinstance(found, list) else []


def ending(trust: Trust, now: datetime) -> list[Alert]:
    """Return a warning for each certificate or key of the trusted root that ends soon and has no successor named."""
    found = []
    kinds = (
        ("certificate authority", trust.authorities),
        ("timestamp authority", trust.timestamp_authorities),
    )
    for kind, authorities in kinds:
        for one in authorities:
            ends = [x509.load_der_x509_certificate(raw).not_valid_after_utc for raw in one.certificates]
            end = min([*ends, *filter(None, [one.window.end])])
            if now <= end < now + SOON:
                found.append(_ends(trust.name, kind, end))
    found += [
        _ends(log.host, "log key", log.window.end)
        for log in (*trust.logs, *trust.ct_logs)
        if log.window.end is not None and now <= log.window.end < now + SOON
    ]
    return found


def _ends(name: str, kind: str, end: datetime) -> Alert:
    return Alert(Code.EXPIRING, "warning", name, MEANINGS[Code.EXPIRING], kind, end.isoformat())


def chosen(trust: Trust, hosts: tuple[str, ...]) -> tuple[LogKey, ...]:
    """Return the logs to follow: all of the trusted root, or those named; UsageError for one that it does not have."""
    known = {log.host: log for log in trust.logs}
    for host in hosts:
        if host not in known:
            raise UsageError(
                "the trusted root has no such log", expected=", ".join(known), got=ascii(host[:200])
            )
    return tuple(log for log in trust.logs if not hosts or log.host in hosts)

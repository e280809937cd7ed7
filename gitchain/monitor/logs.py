"""Selection of the logs to monitor: the trusted root lists them, the signing configuration has their URLs.

The embedded instance is read from its directory. The user may give other URLs.
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
from gitchain.monitor.alerts import MEANINGS, Alert, AlertCode
from gitchain.monitor.fetch import Fetcher, check_url
from gitchain.monitor.log_clients import Fetch, MonitoredLog, RekorV1, TiledLog
from gitchain.trust.profiles import Profile
from gitchain.verify.trust import LogKey, Trust

SOON = timedelta(days=30)
V1, V2 = 1, 2


def view_of(profile: Profile, log: LogKey, urls: Mapping[str, str]) -> MonitoredLog:
    """Return a client for a log; both versions of Rekor are tried if the version is unknown.

    Raises UsageError without a URL.
    """
    if profile.instance is not None and log.host not in urls:
        return TiledLog(_of(profile.instance))
    url, version = _place(profile.text, log, urls)
    fetcher = Fetcher(check_url(url))
    tiled = TiledLog(lambda path, limit: fetcher.get(f"api/v2/{path}", limit))
    first = RekorV1(fetcher.get, fetcher.post)
    if version is not None:
        return tiled if version == V2 else first
    try:
        tiled.checkpoint()
    except TransportError:
        return first
    return tiled


def _of(instance: Instance) -> Fetch:
    """Return a reader of the embedded instance's log, in the form that its server uses."""

    def fetch(path: str, limit: int) -> bytes:
        del limit  # files on this disk were written within the limits
        if path == "checkpoint":
            return instance.log.checkpoint().encode()
        found = instance.log.tile(parse_path(path))
        if found is None:
            raise TransportError("the log has no such tile", where=path)
        return found

    return fetch


def checkpoint_at(url: str) -> str:
    """Return the checkpoint at a URL, for example a witness's or a mirror's copy."""
    return Fetcher(check_url(url)).get("", 1 << 20).decode("utf-8", "replace")


def _place(text: str, log: LogKey, urls: Mapping[str, str]) -> tuple[str, int | None]:
    services = [
        service
        for service in _services(text)
        if isinstance(service, dict) and isinstance(service.get("url"), str)
    ]
    if log.host in urls:
        return urls[log.host], None
    for service in services:
        url = str(service["url"]).rstrip("/")
        if url.partition("://")[2] == log.host:
            return url, int(str(service.get("majorApiVersion")))
    return f"https://{log.host}", None


def _services(text: str) -> list[Json]:
    config = json.loads(text).get("signingConfig") or {}  # parsed strictly before: this is not evidence
    found = config.get("rekorTlogUrls") or []
    return found if isinstance(found, list) else []


def ending(trust: Trust, now: datetime) -> list[Alert]:
    """Return a warning for each certificate or key of the trusted root that expires soon without a successor."""
    found = []
    kinds = (
        ("certificate authority", trust.authorities),
        ("timestamp authority", trust.timestamp_authorities),
    )
    for kind, authorities in kinds:
        for authority in authorities:
            ends = [x509.load_der_x509_certificate(raw).not_valid_after_utc for raw in authority.certificates]
            end = min([*ends, *filter(None, [authority.window.end])])
            if now <= end < now + SOON:
                found.append(_ends(trust.name, kind, end))
    found += [
        _ends(log.host, "log key", log.window.end)
        for log in (*trust.logs, *trust.ct_logs)
        if log.window.end is not None and now <= log.window.end < now + SOON
    ]
    return found


def _ends(name: str, kind: str, end: datetime) -> Alert:
    return Alert(
        AlertCode.EXPIRING,
        "warning",
        name,
        MEANINGS[AlertCode.EXPIRING],
        kind,
        end.isoformat(),
        about=f"{kind} {end.isoformat()}",
    )


def selected_logs(trust: Trust, hosts: tuple[str, ...]) -> tuple[LogKey, ...]:
    """Return the logs to monitor: all of the trusted root, or those with these names.

    Raises UsageError for an unknown name.
    """
    known = {log.host: log for log in trust.logs}
    for host in hosts:
        if host not in known:
            raise UsageError(
                "the trusted root has no such log", expected=", ".join(known), got=ascii(host[:200])
            )
    return tuple(log for log in trust.logs if not hosts or log.host in hosts)

"""One process from its settings to its end: bind, serve, close."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gitchain.admit.cluster import Cluster
from gitchain.admit.config import Settings
from gitchain.admit.server import Service, bind
from gitchain.admit.tls import Certificate, Files
from gitchain.errors import UsageError


def serve(
    settings: Settings,
    files: Files,
    address: tuple[str, int],
    probes: tuple[str, int] | None,
    *,
    told: Callable[[str], None],
) -> None:
    """Serve until a signal; TransportError if an address cannot be had, TrustError if the certificate is unusable.

    `told` hears where the server listens, once it does.
    """
    certificate = Certificate(files)
    cluster = Cluster.around()
    if settings.times.audit and cluster is None:
        raise UsageError(
            "an audit needs a cluster around it",
            where="times.audit",
            got="no service account",
            help="run it in a pod whose account may list what runs, or leave times.audit out",
        )
    socket = bind(*address)
    others = [bind(*probes)] if probes else []
    for name, one in (("serving", socket), *(("probes ", one) for one in others)):
        host, port = one.getsockname()[:2]
        told(f"{name}   {host}:{port}")

    async def run() -> None:
        await Service(settings, certificate, cluster=cluster).run([socket], others)

    asyncio.run(run())

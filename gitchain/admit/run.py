"""One process from its settings to its end: bind, serve, close."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable

from gitchain.admit.cluster import Cluster
from gitchain.admit.config import Deployments, Settings
from gitchain.admit.logs import log
from gitchain.admit.server import Service, bind
from gitchain.admit.tls import Certificate, Files
from gitchain.errors import UsageError
from gitchain.pipeline.deployments import DeploymentLog
from gitchain.pipeline.profiles import load_profile
from gitchain.pipeline.project import open_project
from gitchain.pipeline.record import Identity


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
        deployments = deployment_log(settings.deployments) if settings.deployments else None
        service = Service(settings, certificate, cluster=cluster, deployments=deployments)
        await service.run([socket], others)

    gc.freeze()  # what was loaded stays: nobody looks at it again each time that a review leaves garbage
    asyncio.run(run())


def deployment_log(settings: Deployments) -> DeploymentLog:
    """Open the deployment log that the settings name; what an earlier process left there is signed at once."""
    project = open_project(settings.repository, configured=False, changes=False)
    profile = load_profile(settings.trust)
    who = Identity(name=settings.identity, key=settings.key)
    return DeploymentLog(
        project, profile, who, told=lambda text: log(logging.WARNING, "deployments", why=text)
    )

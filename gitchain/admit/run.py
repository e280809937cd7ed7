"""Run the admission server: bind, serve, close."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable
from functools import partial

from gitchain.admit.cluster import Cluster
from gitchain.admit.evidence import repository_at
from gitchain.admit.logs import log
from gitchain.admit.server import Service, bind
from gitchain.admit.settings import AdmissionSettings, Deployments
from gitchain.admit.tls import Certificate, TlsFiles
from gitchain.admit.traces import OFF, Traces
from gitchain.errors import TransportError, UsageError
from gitchain.produce.deployments import DeploymentLog, PendingProfile
from gitchain.produce.sign_and_store import SigningIdentity
from gitchain.trust.load_profile import load_profile
from gitchain.trust.profiles import Profile


def serve(
    settings: AdmissionSettings,
    files: TlsFiles,
    address: tuple[str, int],
    probes: tuple[str, int] | None,
    *,
    told: Callable[[str], None],
    traces: Traces = OFF,
) -> None:
    """Serve until a signal. Raises TransportError if an address cannot be had, TrustError if the certificate is unusable.

    `told` hears where the server listens, once it does.
    """
    if settings.deployments is not None and files.client_ca is None:
        raise UsageError(
            "deployments are signed only for an API server that is authenticated",
            where="deployments",
            got="no CA of clients",
            help="give --client-ca, and the API server a certificate of it (docs/admission.md), or leave deployments out",
        )
    certificate = Certificate(files)
    cluster = Cluster.around()
    if cluster is None and (settings.times.audit or settings.reporting):
        what, where = ("an audit", "times.audit") if settings.times.audit else ("reporting", "reporting")
        raise UsageError(
            f"{what} needs a cluster around it",
            where=where,
            got="no service account",
            help=f"run it in a pod whose account has the chart's rights, or leave {where} out",
        )
    socket = bind(*address)
    others = [bind(*probes)] if probes else []
    deployments = deployment_log(settings.deployments) if settings.deployments else None
    for name, one in (("serving", socket), *(("probes ", one) for one in others)):
        host, port = one.getsockname()[:2]
        told(f"{name}   {host}:{port}")

    async def run() -> None:
        service = Service(settings, certificate, cluster=cluster, deployments=deployments, traces=traces)
        await service.run([socket], others)

    gc.freeze()  # excludes loaded objects from garbage collections, which reviews trigger
    try:
        asyncio.run(run())
    finally:
        traces.close()


def deployment_log(settings: Deployments) -> DeploymentLog:
    """Open the deployment log that the settings name, and sign the statements that an earlier process left there.

    Statements wait in its outbox while the TUF repository of the trust cannot be reached.
    """
    project = repository_at(settings.repository)
    profile = _profile(settings.trust)
    identity = SigningIdentity(name=settings.identity, key=settings.key)
    return DeploymentLog(
        project, profile, identity, on_error=lambda text: log(logging.WARNING, "deployments", why=text)
    )


def _profile(trust: str) -> Profile | PendingProfile:
    try:
        return load_profile(trust)
    except TransportError as error:
        log(logging.WARNING, "deployments wait to be signed: the trust cannot be fetched", why=str(error))
        return PendingProfile(trust, partial(load_profile, trust))

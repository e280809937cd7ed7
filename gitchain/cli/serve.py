"""`gitchain serve`: the admission webhook, and the same verdicts for Gatekeeper and others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import Options
from gitchain.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from gitchain.admit.traces import Traces

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(name="serve")
@click.option("--settings", type=_FILE, required=True, help="Layouts, rules and limits (docs/admission.md).")
@click.option(
    "--certificate",
    type=_FILE,
    required=True,
    help="PEM certificate with its chain; read again when it changes.",
)
@click.option("--key", type=_FILE, required=True, help="PEM key of the certificate, without a passphrase.")
@click.option(
    "--client-ca", type=_FILE, help="Read reviews only from clients with a certificate of this CA (PEM)."
)
@click.option(
    "--client-name",
    multiple=True,
    metavar="NAME",
    help="Common name of such a certificate; repeatable. Without: any of the CA.",
)
@click.option(
    "--listen",
    default="127.0.0.1:8443",
    show_default=True,
    metavar="HOST:PORT",
    help="Address of the HTTPS server.",
)
@click.option(
    "--probes", metavar="HOST:PORT", help="Serve health, readiness and metrics without TLS here as well."
)
@click.option(
    "--traces",
    is_flag=True,
    help="Send OpenTelemetry traces of reviews to OTEL_EXPORTER_OTLP_ENDPOINT (http/protobuf).",
)
@global_options
@click.pass_obj
def command(
    options: Options,
    settings: Path,
    certificate: Path,
    key: Path,
    client_ca: Path | None,
    client_name: tuple[str, ...],
    listen: str,
    probes: str | None,
    traces: bool,
) -> ExitCode:
    """Serve the Kubernetes admission webhook: it admits objects only if their models are verified.

    Exits 0 after SIGTERM, once open requests are answered.

    \b
    Examples:
      gitchain serve --settings serve.yaml --certificate tls.crt --key tls.key
    """
    try:
        import prometheus_client
        import starlette
        import uvicorn
    except ImportError as error:
        raise UsageError(
            "a package of this verb is not installed",
            got=str(error.name),
            help='pip install "gitchain[serve]"',
        ) from error
    del prometheus_client, starlette, uvicorn
    from gitchain.admit.config import read_settings
    from gitchain.admit.logs import set_up
    from gitchain.admit.run import serve
    from gitchain.admit.tls import TlsFiles
    from gitchain.admit.traces import OFF

    set_up(verbose=options.verbose)
    if client_name and client_ca is None:
        raise UsageError("no CA of clients for their names", where="--client-name", help="give --client-ca")
    if "" in client_name:
        raise UsageError(
            "the name of a client is empty", where="--client-name", help="--client-name kube-apiserver"
        )
    files = TlsFiles(certificate, key, client_ca, client_name)
    where, plain = address(listen, "--listen"), address(probes, "--probes") if probes else None
    found = read_settings(settings)
    serve(found, files, where, plain, told=options.talk, traces=_traces() if traces else OFF)
    return ExitCode.OK


def _traces() -> Traces:
    """Return traces that are on. Raises UsageError if the extra is not installed, or a variable is wrong."""
    from gitchain.admit.traces import wrong_variables

    try:
        import opentelemetry.exporter.otlp.proto.http
        import opentelemetry.sdk.trace
    except ImportError as error:
        raise UsageError(
            "a package for traces is not installed",
            where="--traces",
            got=str(error.name),
            help='pip install "gitchain[serve,otel]", or leave --traces out',
        ) from error
    except ValueError as error:  # the library reads some variables while it is imported
        raise wrong_variables(error) from error
    del opentelemetry
    from gitchain.admit.otel import open_traces

    return open_traces()


def address(text: str, option: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT` or `[HOST]:PORT`. Raises UsageError for anything else."""
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port[:6]) > 65535:
        raise UsageError(
            "not an address to listen on",
            where=option,
            expected="HOST:PORT",
            got=text,
            help="for example 127.0.0.1:8443",
        )
    return host.removeprefix("[").removesuffix("]"), int(port)

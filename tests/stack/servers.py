"""The command line of each server of the tests' stack, and how to see that it is ready.

Versions are those of tools/*/go.mod. Everything listens on loopback, with one exception that has no flag: the
certificate authority's metrics. The timestamp authority's metrics have a fixed port, on all interfaces, and it ends
where that is taken: it gets a network namespace of its own where the machine can make one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from tests.stack.keys import PASSWORD

TOOLS = ("rekor-server", "fulcio", "tesseract", "timestamp-server")  # what a stack needs
NAMESPACE = ("unshare", "--map-root-user", "--net", "--")
CHECKPOINT_INTERVAL = "200ms"  # of the logs: the least is 100 ms
BATCH_AGE = "50ms"
CT_ORIGIN = "ct.test"
WITNESS = "witness.test/1"


@dataclass(frozen=True, slots=True)
class Server:
    """One process; it is ready when the path answers 200 at `to`, a port or a Unix socket's path, by TLS if `secure`.

    Without a path any answer will do.
    """

    name: str
    command: tuple[str, ...]
    to: str
    ready: str
    environ: dict[str, str] = field(default_factory=dict)
    secure: bool = False


@dataclass(frozen=True, slots=True)
class Log:
    """A transparency log: its name is the origin of its checkpoints, its port that of the door before it."""

    name: str
    origin: str
    port: int


def certificates(
    folder: Path, binary: Path, ports: dict[str, int], issuers: dict[str, dict[str, str]]
) -> Server:
    """Return the certificate authority, which asks the CT log and takes tokens of these issuers."""
    config = folder / "fulcio.json"  # its JSON names are not its YAML names
    config.write_text(json.dumps({"OIDCIssuers": issuers}, indent=1), encoding="utf-8")
    port = ports["fulcio"]
    command = (
        *(str(binary), "serve", "--ca=fileca", "--fileca-watch=false", f"--fileca-key-passwd={PASSWORD}"),
        *(f"--fileca-cert={folder / 'fulcio.pem'}", f"--fileca-key={folder / 'fulcio.key'}"),
        *(
            "--host=127.0.0.1",
            f"--port={port}",
            "--grpc-host=127.0.0.1",
            f"--grpc-port={ports['fulcio-grpc']}",
        ),
        f"--metrics-port={ports['fulcio-metrics']}",
        f"--legacy-unix-domain-socket={folder / 'fulcio.sock'}",
        *(f"--ct-log-url=http://127.0.0.1:{ports['ct']}", f"--ct-log-origin={CT_ORIGIN}"),
        *(f"--ct-log-public-key-path={folder / 'ct.pub'}", f"--config-path={config}"),
    )
    return Server("fulcio", command, str(port), "/healthz")


def certificate_log(folder: Path, binary: Path, ports: dict[str, int]) -> Server:
    """Return the CT log, which takes the certificate authority's certificates alone."""
    command = (
        *(str(binary), f"--http_endpoint=127.0.0.1:{ports['ct']}", f"--origin={CT_ORIGIN}"),
        *(f"--storage_dir={folder / 'ct'}", f"--private_key={folder / 'ct.key'}"),
        *(f"--roots_pem_file={folder / 'fulcio.pem'}", "--ext_key_usages=CodeSigning"),
        *(f"--checkpoint_interval={CHECKPOINT_INTERVAL}", f"--batch_max_age={BATCH_AGE}"),
    )
    quiet = {"OTEL_METRICS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "none", "GOMEMLIMIT": "1GiB"}
    return Server("ct", command, str(ports["ct"]), "/ct/v1/get-roots", quiet)


def timestamps(folder: Path, binary: Path, port: int | None) -> Server:
    """Return the timestamp authority: on a Unix socket in a namespace of its own, or on a port if one is given."""
    command = (
        *(str(binary), "serve", "--disable-ntp-monitoring", "--timestamp-signer=file"),
        f"--file-signer-key-path={folder / 'tsa.key'}",
        f"--certificate-chain-path={folder / 'tsa-chain.pem'}",
    )
    if port is not None:
        listen = ("--host=127.0.0.1", f"--port={port}")
        return Server("tsa", command + listen, str(port), "/ping")
    socket = str(folder / "tsa.sock")
    listen = ("--scheme=unix", f"--socket-path={socket}")
    return Server("tsa", NAMESPACE + command + listen, socket, "/ping")


def witness(folder: Path, port: int) -> Server:
    """Return our witness of the logs of the stack's trusted root; its key and memory are in `folder`/witness."""
    command: tuple[str, ...] = (
        sys.executable,
        "-m",
        "gitchain",
        "--trust",
        str(folder / "trust.json"),
        "monitor",
    )
    command += ("--witness", WITNESS, "--listen", f"127.0.0.1:{port}")
    return Server("witness", command, str(port), "", {"GITCHAIN_HOME": str(folder / "witness")})


def log(folder: Path, binary: Path, ports: dict[str, int], of: Log, *flags: str) -> Server:
    """Return a Rekor v2 log."""
    port = ports[of.name]
    command = (
        *(str(binary), "serve", "--http-address=127.0.0.1", f"--http-port={port}"),
        *("--grpc-address=127.0.0.1", f"--grpc-port={ports[of.name + '-grpc']}"),
        *(f"--http-metrics-port={ports[of.name + '-metrics']}", f"--hostname={of.origin}"),
        *(f"--storage-dir={folder / of.name}", f"--signer-filepath={folder / (of.name + '.key')}"),
        *(f"--checkpoint-interval={CHECKPOINT_INTERVAL}", f"--batch-max-age={BATCH_AGE}"),
        *("--persistent-antispam=true", "--log-level=warn", *flags),
    )
    return Server(of.name, command, str(port), "/healthz")


def can_have_namespace() -> bool:
    """Say whether this machine makes network namespaces for us."""
    try:
        return (
            subprocess.run([*NAMESPACE, "true"], capture_output=True, check=False, timeout=10).returncode == 0
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


def clean_environ() -> dict[str, str]:
    """Return the environment without what would change a server's or a client's behaviour."""
    prefixes = ("SIGSTORE_", "COSIGN_", "GITSIGN_", "TUF_", "OTEL_", "FULCIO_", "REKOR_", "TIMESTAMP_")
    proxies = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(prefixes) and key.lower() not in proxies
    }

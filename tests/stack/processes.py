"""Processes of the tests' stack: started in order, each when the ones before are ready, and ended by their ids.

A process is known by its id and its start time together, so that a number used again is never taken for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.stack.front import connection
from tests.stack.servers import Server, clean_environ

READY_SECONDS = 60.0  # for one server to answer, on a busy machine
STOP_SECONDS = 10.0  # for all to end by themselves
LAST_LINES = 20  # of the log of a server that did not start
PR_SET_PDEATHSIG = 1  # Linux, prctl(2)

Pid = tuple[int, str]


class Failed(Exception):  # noqa: N818 - not a tool's error, but what this program says
    """A server did not start, or its pinned sources do not build."""


def run_all(folder: Path, order: Sequence[Server], *, owned: bool) -> tuple[Pid, ...]:
    """Start the servers; `owned` ones end with this program. Failed, with none left running, if one does not start."""
    started: list[Pid] = []
    try:
        for server in order:
            process = _start(folder, server, owned=owned)
            started.append((process.pid, started_at(process.pid)))
            _wait(folder, server, process)
    except BaseException:
        end(started)
        raise
    return tuple(started)


def end(pids: Sequence[Pid]) -> None:
    """End these processes, the last one first; those that are gone, or are others by now, are left alone."""
    for pid, born in reversed(pids):
        _send(pid, born, signal.SIGTERM)
    until = time.monotonic() + STOP_SECONDS
    while time.monotonic() < until and any(is_alive(*pid) for pid in pids):
        time.sleep(0.05)
    for pid, born in pids:
        _send(pid, born, signal.SIGKILL)


def is_alive(pid: int, born: str) -> bool:
    """Say whether the process that started then still runs."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # a child of ours that ended is not alive
    return bool(born) and started_at(pid) == born


def started_at(pid: int) -> str:
    """Return when a process started, in the kernel's words; nothing if there is none."""
    try:
        if Path("/proc/self/stat").exists():
            return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
        found = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        return found.stdout.strip()
    except OSError:
        return ""


def free_ports(names: Sequence[str]) -> dict[str, int]:
    """Return a free loopback port for each name, no two the same."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in names]
        for item in sockets:
            item.bind(("127.0.0.1", 0))
        return {name: item.getsockname()[1] for name, item in zip(names, sockets, strict=True)}


def _start(folder: Path, server: Server, *, owned: bool) -> subprocess.Popen[bytes]:
    with (folder / f"{server.name}.log").open("wb") as log:
        return subprocess.Popen(
            server.command,
            env=clean_environ() | server.environ,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent() if owned and sys.platform == "linux" else None,  # noqa: PLW1509
        )


def _end_with_parent() -> Callable[[], None]:
    """Return what a child does so that it ends when this program is killed."""
    prctl = ctypes.CDLL(None).prctl  # found before the fork
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) and None


def _wait(folder: Path, server: Server, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers its readiness URL. Failed, with the end of its log, if it ends or takes too long."""
    until = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < until:
        if _answers(server):
            return
        time.sleep(0.05)
    said = (folder / f"{server.name}.log").read_text(encoding="utf-8", errors="replace")
    raise Failed("\n".join([f"{server.name} did not start", *said.splitlines()[-LAST_LINES:]]))


def _answers(server: Server) -> bool:
    link = _over_tls(server.to) if server.secure else connection(server.to)
    with link as opened, contextlib.suppress(OSError):
        opened.request("GET", server.ready or "/")
        return opened.getresponse().status == 200 or not server.ready
    return False


def _over_tls(port: str) -> contextlib.closing[http.client.HTTPSConnection]:
    """Return a connection that asks for no certificate: whether a server is ready is all that it is for."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return contextlib.closing(
        http.client.HTTPSConnection("127.0.0.1", int(port), context=context, timeout=READY_SECONDS)
    )


def _send(pid: int, born: str, what: signal.Signals) -> None:
    if is_alive(pid, born):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, what)

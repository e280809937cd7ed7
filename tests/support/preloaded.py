"""`gitchain`, `gitchain-git-sign` and `dvc` as processes that import nothing: forks of a server that has.

Such a program has arguments, environment, directory, standard streams and exit code of its own, and ends by a signal
when its caller does. It shares the start of the interpreter with all others: a test of that start (imports, `sys.path`,
variables of Python, limits of resources, process groups) runs the installed program.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import colorama

PROGRAM = """\
#!{python} -IS
import _signal, _socket, os, sys
server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
server.connect({address!r})
words = [b"{name}", os.getcwdb(), b"%d" % len(sys.argv), *map(os.fsencode, sys.argv)]
words += [name + b"=" + value for name, value in os.environb.items()]
request = b"\\0".join(words)
streams = b"".join(stream.to_bytes(4, sys.byteorder) for stream in (0, 1, 2))
server.sendmsg([len(request).to_bytes(4, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
server.sendall(request)
for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
    if _signal.getsignal(number) != _signal.SIG_IGN:
        _signal.signal(number, lambda number, _: server.send(bytes([number])))
code = os.waitstatus_to_exitcode(int.from_bytes(server.recv(4), "big"))
if code < 0:
    _signal.signal(-code, _signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""
"""A program: it sends what it was called with and its streams, passes signals on, and ends as its process ends."""

ENTRIES = {
    "gitchain": "gitchain.__main__",
    "gitchain-git-sign": "gitchain.cli.git_sign",
    "dvc": "dvc.cli",
}
IMPORTED = (
    "gitchain",
    "dulwich.index",
    "dvc.cli",
    "dvc.commands",
    "dvc.compare",
    "dvc.repo",
    "dvc.rwlock",
    "dvc.stage",
    "dvc_data.hashfile",
    "fsspec.implementations.memory",
    "networkx",
    "tomlkit",
    "yaml",
)
"""Packages and modules; of these two, each module is imported: what DVC imports while it works takes most of its time."""
PACKAGES = {"gitchain", "dvc"}


@cache
def programs() -> Path:
    """Return a directory `bin` with the programs, for PATH; the first call starts the server of this process."""
    folder = Path(tempfile.mkdtemp(prefix="preloaded-"))
    place = folder / "bin"
    place.mkdir()
    for name in ENTRIES:
        text = PROGRAM.format(python=sys.executable, address=str(folder / "server"), name=name)
        (place / name).write_text(text, encoding="utf-8")
        (place / name).chmod(0o755)
    server = subprocess.Popen(
        [sys.executable, __file__, str(folder)], cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    SERVERS.append(server)
    return place


SERVERS: list[subprocess.Popen[bytes]] = []
"""Kept: a server ends when its standard input is closed."""


def serve(folder: Path) -> tuple[socket.socket, bytes, list[int]]:
    """Return the connection, the request and the streams of a program, in a process for it; exit when stdin ends."""
    import_all()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nothing waits for these processes
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "server"))
    listener.listen(128)
    listener.setblocking(False)
    os.write(1, b"ready\n")
    stdin = sys.stdin.fileno()
    while stdin not in select.select([stdin, listener], [], [])[0]:
        try:
            connection = listener.accept()[0]
        except BlockingIOError:  # the program that wanted this connection is gone
            continue
        if os.fork() == 0:
            listener.close()
            size, streams, _, _ = socket.recv_fds(connection, 4, 3)
            request = b""
            while missing := int.from_bytes(size, "big") - len(request):
                if not (received := connection.recv(missing)):
                    os._exit(1)  # the program is gone
                request += received
            return connection, request, streams
        connection.close()
    shutil.rmtree(folder)
    raise SystemExit


def import_all() -> None:
    """Import what the programs may need, and leave it out of garbage collection, which would copy its memory."""
    sys.path.pop(0)
    for name in IMPORTED:
        package = importlib.import_module(name)
        if name.split(".")[0] in PACKAGES:
            for found in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{name}."):
                if not found.name.endswith("__main__"):
                    importlib.import_module(found.name)
    importlib.import_module("gitchain.__main__")
    colorama.deinit()  # DVC puts the standard streams of a process into wrappers when it is imported
    gc.collect()
    gc.freeze()


def watch(connection: socket.socket, child: int) -> None:
    """Pass signals on, and send the status of the child at its end; kill it if its program was killed."""
    ended = os.pidfd_open(child)
    while ended not in select.select([ended, connection.fileno()], [], [])[0]:
        number = connection.recv(1)
        os.kill(child, number[0] if number else signal.SIGKILL)
        if not number:
            return
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(OSError):
        connection.sendall(status.to_bytes(4, "big"))


def become(request: bytes, streams: list[int]) -> str:
    """Give this process what its program was called with; return the name of the program."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    name, directory, count, *words = request.split(b"\0")
    arguments, variables = words[: int(count)], words[int(count) :]
    os.chdir(directory)
    os.environ.clear()
    os.environb.update(dict(variable.split(b"=", 1) for variable in variables))
    time.tzset()
    sys.argv[:] = map(os.fsdecode, arguments)
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    import pygit2

    home, levels = os.environ.get("HOME", ""), pygit2.enums.ConfigLevel
    pygit2.settings.search_path[levels.GLOBAL] = home
    pygit2.settings.search_path[levels.XDG] = f"{home}/.config/git"
    return name.decode()


def run(name: str) -> None:
    """Run a program to its end, without the end of the interpreter, which would copy its memory."""
    if name == "dvc":
        colorama.reinit()
    try:
        code = importlib.import_module(ENTRIES[name]).main()
    except SystemExit as end:
        code = end.code
    if code is not None and not isinstance(code, int):
        raise SystemExit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def main(folder: Path) -> None:
    """Be the server, then in each of its children the process of one program, and one that watches it."""
    connection, request, streams = serve(folder)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if child := os.fork():
        for stream in streams:
            os.close(stream)
        watch(connection, child)
        os._exit(0)
    connection.close()
    run(become(request, streams))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

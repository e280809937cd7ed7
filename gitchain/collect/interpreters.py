"""Detect the Python interpreters that ran under a command, and their installed packages.

Two methods complement each other. The command's processes are read in /proc: at its start, and then every few
milliseconds. And PYTHONPATH starts with a directory whose `sitecustomize` records the interpreter that imports it
(see `startup_hook`), which detects short-lived ones. No interpreter is run: packages are read from the names in the
site-packages directories.

Not detected: an interpreter that ends within INTERVAL and is started with -I, -E, -S or its own PYTHONPATH; one on
another machine or started by a daemon. In another mount namespace (a container) the interpreter is detected without
its packages, because its paths differ from ours.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from gitchain.collect.interpreter_facts import (
    MAX_INTERPRETERS,
    SeenInterpreter,
    import_variables,
    names_in,
    read_start,
)

INTERVAL = 0.005
"""Seconds between two scans for the first EAGER seconds; Python itself takes 10 ms to start."""

EAGER = 10.0
PATIENT = 0.02
"""Seconds between two scans after that."""

SCAN = 0.05
"""Seconds after which all processes are listed again even if the kernel reports no new one."""

SHARE = 20
"""Scans take at most 1/SHARE of the time."""


_NAME = re.compile(r"(?:python|pypy)\d*(?:\.\d+)*[a-z]{0,2}", re.ASCII)


class InterpreterWatch:
    """Detects interpreters under a command: start it with `variables` in a `with` block, then `follow` its process."""

    def __init__(self) -> None:
        self._family: dict[int, str] = {}
        self._known: set[int] = set()
        self._found: dict[SeenInterpreter, None] = {}
        self._namespace = _link("/proc/self/ns/mnt")
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._hook = ""

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError):
            self._hook = tempfile.mkdtemp(prefix="gitchain-python-")
            shutil.copyfile(Path(__file__).with_name("startup_hook.py"), Path(self._hook, "sitecustomize.py"))
        return self

    def __exit__(self, *_: object) -> None:
        if self._thread is not None:
            self._ended.set()
            self._thread.join()
        if self._hook:
            self._read_hook()
            shutil.rmtree(self._hook, ignore_errors=True)

    def variables(self, env: Mapping[str, str]) -> dict[str, str]:
        """Return the command's environment with the start-up hook added."""
        if not self._hook:
            return dict(env)
        before = env.get("PYTHONPATH", "")
        return {**env, "PYTHONPATH": f"{self._hook}{os.pathsep}{before}" if before else self._hook}

    def follow(self, pid: int) -> None:
        """Scan the process now, and its descendants until the block ends."""
        if not os.path.exists("/proc/self/exe"):
            return
        self._family[pid] = ""
        self._look()  # the command has been started: even one that ends at once is seen
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _read_hook(self) -> None:
        for name in sorted(names_in(Path(self._hook))):
            if name.endswith(".seen") and len(self._found) < MAX_INTERPRETERS:
                namespace, no_user, executable, called, *paths = [
                    os.fsdecode(field) for field in read_start(os.path.join(self._hook, name)).split(b"\0")
                ] + [""] * 4
                if _NAME.fullmatch(os.path.basename(executable)):
                    elsewhere = namespace != self._namespace
                    self._found.setdefault(
                        SeenInterpreter(executable, executable, elsewhere=True)
                        if elsewhere
                        else SeenInterpreter(
                            executable, called, tuple(filter(None, paths)), user_site=not no_user
                        )
                    )

    @property
    def found(self) -> tuple[SeenInterpreter, ...] | None:
        """Return the detected interpreters, after the block's end; None if nothing could be watched."""
        return tuple(self._found) if self._thread is not None or self._hook else None

    def _run(self) -> None:
        begun, scanned, last, cost = time.monotonic(), 0.0, "", 0.0
        while True:
            now = time.monotonic()
            usual = INTERVAL if now - begun < EAGER else PATIENT
            if self._ended.wait(max(usual, cost * SHARE)):
                return
            start = time.thread_time()
            newest = _last_process()
            if newest != last or now - scanned > SCAN:
                self._scan()
                last, scanned = newest, now
            self._look()
            cost = time.thread_time() - start

    def _scan(self) -> None:
        """Add the processes whose parent is in the process tree."""
        with contextlib.suppress(OSError):
            now = {int(name) for name in os.listdir("/proc") if name.isdecimal()}
            self._known &= now
            new = sorted(now - self._known)
            parents = {pid: parent for pid in new if (parent := _parent(pid)) is not None}
            self._known |= set(new)
            more = True
            while more:  # a child may have a lower number than its parent
                found = [
                    pid
                    for pid, parent in parents.items()
                    if parent in self._family and pid not in self._family
                ]
                self._family |= dict.fromkeys(found, "")
                more = bool(found)

    def _look(self) -> None:
        for pid, before in list(self._family.items()):
            executable = _link(f"/proc/{pid}/exe")
            if not executable:
                if pid in self._known:  # the command itself counts as a parent until the first scan
                    self._family.pop(pid)
            elif executable != before and (called := read_start(f"/proc/{pid}/cmdline").partition(b"\0")[0]):
                self._family[pid] = (
                    executable  # without arguments it is about to start: the next look sees them
                )
                seen = self._read(pid, executable, os.fsdecode(called))
                if seen is not None and len(self._found) < MAX_INTERPRETERS:
                    self._found.setdefault(seen)

    def _read(self, pid: int, executable: str, called: str) -> SeenInterpreter | None:
        executable = executable.removesuffix(" (deleted)")
        if not _NAME.fullmatch(os.path.basename(executable)):
            return None
        if _link(f"/proc/{pid}/ns/mnt") != self._namespace:
            return SeenInterpreter(executable, executable, elsewhere=True)
        here = _link(f"/proc/{pid}/cwd")
        variables = import_variables(read_start(f"/proc/{pid}/environ"))
        paths = tuple(
            os.path.join(here, path)
            for path in variables.get("PYTHONPATH", "").split(":")
            if path and path != self._hook
        )
        return SeenInterpreter(
            executable,
            _started_as(called, executable, here, variables.get("PATH", os.defpath)),
            paths[:MAX_INTERPRETERS],
            user_site=not variables.get("PYTHONNOUSERSITE"),
        )


def _last_process() -> str:
    """Return the id of the newest process or thread, to detect in microseconds that there is no new one."""
    return read_start("/proc/loadavg").rpartition(b" ")[2].decode("ascii", "replace")


def _parent(pid: int) -> int | None:
    fields = read_start(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return int(fields[1]) if len(fields) > 1 else None


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _started_as(called: str, executable: str, here: str, path: str) -> str:
    """Return the absolute path that started the interpreter, which may be a link of a virtual environment."""
    folders = [here] if "/" in called else [os.path.join(here, folder) for folder in path.split(":")]
    for folder in folders:
        candidate = os.path.normpath(os.path.join(folder, called))
        if os.path.realpath(candidate) == executable:
            return candidate
    return executable

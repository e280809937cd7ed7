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
import hashlib
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Self

from gitchain.evidence.canonical import Json, canonical_json

INTERVAL = 0.005
"""Seconds between two scans for the first EAGER seconds; Python itself takes 10 ms to start."""

EAGER = 10.0
PATIENT = 0.02
"""Seconds between two scans after that."""

SCAN = 0.05
"""Seconds after which all processes are listed again even if the kernel reports no new one."""

SHARE = 20
"""Scans take at most 1/SHARE of the time."""

MAX_INTERPRETERS = 16
"""Most recorded interpreters."""

MAX_PACKAGES = 2_000
"""Most listed packages of all interpreters; each digest covers all packages of its interpreter."""

_MAX_READ = 1 << 20  # an environment block or pyvenv.cfg is far smaller
_NAME = re.compile(r"(?:python|pypy)\d*(?:\.\d+)*[a-z]{0,2}", re.ASCII)
_MINOR = re.compile(r"(?:python|pypy)(\d+\.\d+)", re.ASCII)
_PATCH = re.compile(r'^#\s*define\s+PY(?:PY)?_VERSION\s+"([0-9A-Za-z.+]{1,30})"', re.ASCII | re.MULTILINE)
_VERSION = re.compile(r"\d+(?:\.\d+){1,2}(?:(?:a|b|rc)\d+)?", re.ASCII)
_INSTALLED = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9._-]*?)-([0-9][A-Za-z0-9.!+_]*)(?:-py[0-9.]+)?\.(?:dist|egg)-info", re.ASCII
)
_CONDA = re.compile(r"([A-Za-z0-9_.][A-Za-z0-9._-]*)-([^-]{1,100})-([^-]{1,100})\.json", re.ASCII)


@dataclass(frozen=True, slots=True)
class SeenInterpreter:
    """A detected Python interpreter: its file, the path that started it, and further import directories.

    `elsewhere`: it ran in another mount namespace, whose paths differ.
    """

    executable: str
    called: str
    paths: tuple[str, ...] = ()
    user_site: bool = True
    elsewhere: bool = False


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
        for name in sorted(_names(Path(self._hook))):
            if name.endswith(".seen") and len(self._found) < MAX_INTERPRETERS:
                namespace, no_user, executable, called, *paths = [
                    os.fsdecode(field) for field in _read(os.path.join(self._hook, name)).split(b"\0")
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
            elif executable != before and (called := _read(f"/proc/{pid}/cmdline").partition(b"\0")[0]):
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
        variables = _variables(_read(f"/proc/{pid}/environ"))
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
    return _read("/proc/loadavg").rpartition(b" ")[2].decode("ascii", "replace")


def _parent(pid: int) -> int | None:
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return int(fields[1]) if len(fields) > 1 else None


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_MAX_READ)
    except OSError:
        return b""


def _variables(block: bytes) -> dict[str, str]:
    """Return the variables that define where Python imports from; no other is read."""
    wanted = {b"PATH", b"PYTHONPATH", b"PYTHONNOUSERSITE"}
    pairs = (item.partition(b"=") for item in block.split(b"\0"))
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs if name in wanted}


def _started_as(called: str, executable: str, here: str, path: str) -> str:
    """Return the absolute path that started the interpreter, which may be a link of a virtual environment."""
    folders = [here] if "/" in called else [os.path.join(here, folder) for folder in path.split(":")]
    for folder in folders:
        candidate = os.path.normpath(os.path.join(folder, called))
        if os.path.realpath(candidate) == executable:
            return candidate
    return executable


def describe_interpreters(seen: Iterable[SeenInterpreter]) -> list[Json]:
    """Return the interpreters as JSON for a statement: version, file, packages; no local path."""
    left = MAX_PACKAGES
    found: dict[bytes, Json] = {}
    for one in sorted(set(seen), key=lambda one: (one.executable, one.called, one.paths)):
        facts, packages = _facts(one)
        for name, listed in packages.items():
            digest = hashlib.sha256(canonical_json(listed)).hexdigest()
            facts[name] = {"sha256": digest, "list": listed[:left]}
            left -= len(listed[:left])
        found.setdefault(canonical_json({**facts, "packages": None, "conda": None}) + _digests(facts), facts)
    return [found[key] for key in sorted(found)]


def _digests(facts: dict[str, Json]) -> bytes:
    """Return the digests of the lists: interpreters with equal packages are equal, independent of the listed part."""
    lists = (facts.get(name) for name in ("packages", "conda"))
    return canonical_json([one.get("sha256") if isinstance(one, dict) else None for one in lists])


def _facts(one: SeenInterpreter) -> tuple[dict[str, Json], dict[str, list[str]]]:
    name = os.path.basename(one.executable)
    facts: dict[str, Json] = {
        "implementation": "PyPy" if name.startswith("pypy") else "CPython",
        "name": name,
    }
    if one.elsewhere:
        return facts | {"container": True}, {}
    settings = _settings(one)
    base = Path(settings["home"]).parent if "home" in settings else Path(one.executable).parent.parent
    minor = _minor(name, settings, base)
    version = _patch_level(base, minor) or settings.get("version", settings.get("version_info", ""))
    known = _VERSION.match(version)
    if known or minor:
        facts["version"] = known[0] if known else minor
    if digest := _digest(one.executable):
        facts["sha256"] = digest
    folders = [Path(path) for path in one.paths]
    if settings:
        facts["virtual"] = True
        folders += _sites(Path(settings["prefix"]), minor)
    if not settings or settings.get("include-system-site-packages", "").lower() == "true":
        folders += _sites(base, minor)
        if one.user_site:
            folders += _sites(Path(os.path.expanduser("~/.local")), minor)
    packages = {"packages": sorted({item for folder in folders for item in _installed(folder)})}
    prefix = Path(settings["prefix"]) if settings else base
    if conda := sorted(_conda(prefix / "conda-meta")):
        packages["conda"] = conda
    return facts, packages


def _settings(one: SeenInterpreter) -> dict[str, str]:
    """Return the settings of the interpreter's virtual environment and its `prefix`; empty outside of one."""
    folder = Path(one.called).parent
    for prefix in (folder, folder.parent):
        text = _read(str(prefix / "pyvenv.cfg")).decode("utf-8", "replace")
        if text:
            pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
            return {key.strip().lower(): value.strip() for key, _, value in pairs} | {"prefix": str(prefix)}
    return {}


def _minor(name: str, settings: dict[str, str], base: Path) -> str:
    """Return the version of the language as X.Y, or an empty text if unknown."""
    if found := _MINOR.match(name):
        return found[1]
    if found := re.match(r"\d+\.\d+", settings.get("version", settings.get("version_info", ""))):
        return found[0]
    there = {found[1] for folder in _names(base / "lib") if (found := _MINOR.fullmatch(folder))}
    return there.pop() if len(there) == 1 else ""


def _patch_level(base: Path, minor: str) -> str:
    """Return the full version from the headers or from conda's record; empty if neither is installed."""
    for name in (f"python{minor}", f"pypy{minor}"):
        if found := _PATCH.search(
            _read(str(base / "include" / name / "patchlevel.h")).decode("ascii", "replace")
        ):
            return found[1]
    records = (found for name in _names(base / "conda-meta") if (found := _CONDA.fullmatch(name)))
    return next((found[2] for found in records if found[1] == "python"), "")


def _sites(prefix: Path, minor: str) -> list[Path]:
    """Return the directories below a prefix that hold installed packages, Debian's included."""
    tails = [
        f"{lib}/{name}{minor}/site-packages"
        for lib in ("lib", "lib64", "local/lib")
        for name in ("python", "pypy")
    ]
    tails += [f"local/lib/python{minor}/dist-packages", "lib/python3/dist-packages", "site-packages"]
    return [prefix / tail for tail in tails]


@cache
def _installed(folder: Path) -> tuple[str, ...]:
    """Return `name==version` of a directory's installed packages, from their file names: no file is opened."""
    found = (match for name in _names(folder) if (match := _INSTALLED.fullmatch(name)))
    return tuple(f"{re.sub(r'[-_.]+', '-', match[1]).lower()}=={match[2]}" for match in found)


def _conda(folder: Path) -> Iterator[str]:
    """Yield conda's own packages, not only of Python: `name==version=build`."""
    for name in _names(folder):
        if found := _CONDA.fullmatch(name):
            yield f"{found[1]}=={found[2]}={found[3]}"


def _names(folder: Path) -> Sequence[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return ()


@cache
def _digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""

"""Facts about a Python interpreter that ran: version, packages, settings, digest of its executable."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gitchain.evidence.canonical import Json, canonical_json

MAX_INTERPRETERS = 16
"""Most recorded interpreters."""


MAX_PACKAGES = 2_000
"""Most listed packages of all interpreters; each digest covers all packages of its interpreter."""


MAX_READ = 1 << 20  # an environment block or pyvenv.cfg is far smaller


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


def import_variables(block: bytes) -> dict[str, str]:
    """Return the variables that define where Python imports from; no other is read."""
    wanted = {b"PATH", b"PYTHONPATH", b"PYTHONNOUSERSITE"}
    pairs = (item.partition(b"=") for item in block.split(b"\0"))
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs if name in wanted}


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
        text = read_start(str(prefix / "pyvenv.cfg")).decode("utf-8", "replace")
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
    there = {found[1] for folder in names_in(base / "lib") if (found := _MINOR.fullmatch(folder))}
    return there.pop() if len(there) == 1 else ""


def _patch_level(base: Path, minor: str) -> str:
    """Return the full version from the headers or from conda's record; empty if neither is installed."""
    for name in (f"python{minor}", f"pypy{minor}"):
        if found := _PATCH.search(
            read_start(str(base / "include" / name / "patchlevel.h")).decode("ascii", "replace")
        ):
            return found[1]
    records = (found for name in names_in(base / "conda-meta") if (found := _CONDA.fullmatch(name)))
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
    found = (match for name in names_in(folder) if (match := _INSTALLED.fullmatch(name)))
    return tuple(f"{re.sub(r'[-_.]+', '-', match[1]).lower()}=={match[2]}" for match in found)


def _conda(folder: Path) -> Iterator[str]:
    """Yield conda's own packages, not only of Python: `name==version=build`."""
    for name in names_in(folder):
        if found := _CONDA.fullmatch(name):
            yield f"{found[1]}=={found[2]}={found[3]}"


def names_in(folder: Path) -> Sequence[str]:
    """Return the names in a directory; none if it cannot be read."""
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


def read_start(path: str) -> bytes:
    """Return the first MAX_READ bytes of a file; nothing if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(MAX_READ)
    except OSError:
        return b""

"""DVC's cache on disk: its directory, the paths of objects, and the links into it that may be followed.

Objects are at `<cache>/files/md5/<2 hex>/<30 hex>[.dir]`, of DVC 2 at `<cache>/<2 hex>/<30 hex>[.dir]`. The directory
is `.dvc/cache` unless `.dvc/config` or `.dvc/config.local` sets `[cache] dir`.

Nothing is fetched (see `dvc_api`), and DVC's user-wide configuration is not read.
"""

from __future__ import annotations

import configparser
import os
import re

from gitchain.collect.paths import refused_link
from gitchain.errors import VerificationError
from gitchain.platform.files import open_regular

MAX_CONFIG_BYTES = 1024 * 1024
"""Largest .dvc/config: real ones hold a few lines per remote."""

_OBJECT = re.compile(r"(?:.*/)?([0-9a-f]{2})/([0-9a-f]{30})", re.ASCII | re.DOTALL)


def dvc_root(start: str, top: str) -> str | None:
    """Return the nearest directory from `start` up to `top` that holds a DVC project, or None."""
    here = os.path.realpath(start)
    top = os.path.realpath(top)
    while True:
        if os.path.isdir(os.path.join(here, ".dvc")):
            return here
        if here == top or os.path.dirname(here) == here:
            return None
        here = os.path.dirname(here)


def cache_dir(project: str) -> str:
    """Return the cache directory of the DVC project, with links resolved; it need not exist."""
    folder = os.path.join(project, ".dvc")
    found = os.path.join(folder, "cache")
    for name in ("config", "config.local"):
        value = _configured(os.path.join(folder, name))
        if value:
            found = os.path.join(folder, os.path.expanduser(value))
    return os.path.realpath(found)


def _configured(path: str) -> str | None:
    parser = configparser.RawConfigParser(strict=False, interpolation=None)
    try:
        with open_regular(path) as file:
            text = file.read(MAX_CONFIG_BYTES).decode("utf-8")
        # DVC indents its options; configparser would read that as a continued line.
        parser.read_string("\n".join(line.strip() for line in text.splitlines()))
    except (OSError, UnicodeError, configparser.Error):
        return None
    value = parser.get("cache", "dir", fallback=None)
    return value.strip("\"'") if value else None


def object_paths(cache: str, md5: str) -> tuple[str, str]:
    """Return the paths of the object with this md5 (with or without `.dir`): of DVC 3, then of DVC 2."""
    tail = os.path.join(md5[:2], md5[2:])
    return os.path.join(cache, "files", "md5", tail), os.path.join(cache, tail)


def tampered(shown: str, named: str, got: str) -> VerificationError:
    """Return the error for a cache object whose bytes are not those that its name promises."""
    return VerificationError(
        "DVC cache object does not match the md5 of its path",
        where=ascii(shown[:200]),
        expected=f"md5 {named}",
        got=f"md5 {got}",
        help="delete the object, then dvc pull",
    )


class CacheLinks:
    """Tells which symlinks below a root are DVC's own, into its own cache."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._caches: dict[str, str] = {}

    def target(self, link: str, shown: str) -> str:
        """Return the cache object that the link points to. Raises ProjectError for any other link."""
        project = dvc_root(os.path.dirname(link), self._root)
        resolved = os.path.realpath(link)
        if project is not None:
            cache = self._caches.setdefault(project, cache_dir(project))
            inside = resolved.startswith(cache + os.sep)
            if inside and _OBJECT.fullmatch(resolved) and os.path.isfile(resolved):
                return resolved
        raise refused_link(shown, os.readlink(link))

    def check(self, target: str, md5: str, shown: str) -> None:
        """Raise VerificationError unless the object's bytes have the md5 that names it."""
        found = _OBJECT.fullmatch(target)
        named = found[1] + found[2] if found is not None else ""
        if named != md5:
            raise tampered(shown, named, md5)

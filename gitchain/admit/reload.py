"""Reload settings without restarts: a changed file is used as a whole, or not at all.

Once a second the bytes of the settings are compared with those in use. New settings are used after they are parsed
without an error, and all new and changed layouts were accepted and their evidence read. Until then the old settings
decide: a broken file weakens nothing. The change is a single assignment; a review in progress ends under the settings
that it began with.

Layout files, trusted roots and evidence need no new settings: `layout_evaluator` reads them again. If both change
together, as in a Kubernetes volume, the old settings may see the new layout first: `is_superseded` shows that this is
no tampering.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from gitchain.admit.admission import Admission
from gitchain.admit.app import Server
from gitchain.admit.config import parse_settings, read_bytes
from gitchain.admit.logs import log
from gitchain.admit.settings import AdmissionSettings
from gitchain.admit.verdict_cache import VerdictCache
from gitchain.admit.verdict_caches import VerdictCaches
from gitchain.errors import GitchainError, LayoutError, UsageError
from gitchain.evidence.digest import sha256_hex

SECONDS = 1.0
"""Seconds between two checks of the file."""

FIXED = ("connections", "deployments", "reporting")
"""Fields that are read at the start of a process only."""


class Reload:
    """Keeps a server's settings equal to the file. Everything except `is_superseded` runs on the event loop."""

    def __init__(
        self,
        server: Server,
        caches: VerdictCaches,
        *,
        start: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]],
        admission: Callable[[AdmissionSettings, Mapping[str, VerdictCache]], Admission],
        clock: Callable[[], datetime],
    ) -> None:
        self._server = server
        self._caches = caches
        self._start = start
        self._admission = admission
        self._clock = clock
        self._keeping: dict[str, asyncio.Task[None]] = {}
        self._refused = ""
        self._tried: datetime | None = None
        self._is_final = False

    @property
    def _settings(self) -> AdmissionSettings:
        return self._server.admission.settings

    async def keep(self) -> None:
        """Keep the evidence of every layout fresh and the settings equal to the file, until cancelled."""
        self._use(self._server.admission)
        while True:
            await self.look()
            await asyncio.sleep(SECONDS)

    def is_superseded(self) -> bool:
        """Return True if the file holds other settings that were not refused. Reads the file; thread-safe."""
        path = self._settings.path
        try:
            digest = sha256_hex(read_bytes(path)) if path else self._settings.digest
        except UsageError:
            return False
        return digest not in {self._settings.digest, self._refused}

    async def look(self) -> None:
        """Check the file once, and use its content if it changed and is valid."""
        if self._settings.path is None:
            return
        digest = ""
        try:
            data = await asyncio.to_thread(read_bytes, self._settings.path)
            digest = sha256_hex(data)
            if digest == self._settings.digest:
                self._back()
            elif digest != self._refused or self._is_time():
                await self._take(data, self._settings.path)
        except GitchainError as error:
            self._refuse(digest, error)

    async def _take(self, data: bytes, path: Path) -> None:
        old = self._server.admission
        self._tried, self._is_final = self._clock(), True
        settings = parse_settings(data, path)
        _check_fixed(old.settings, settings)
        self._is_final = False
        caches = self._caches.make(settings, old.settings, old.caches)
        fresh = [one for name, one in caches.items() if old.caches.get(name) is not one]
        for cache in fresh:
            cache.evaluator.is_superseded = self.is_superseded
        await asyncio.gather(*(cache.refresh() for cache in fresh))
        for cache in fresh:
            _check_decides(cache, self._clock())
        self._use(self._admission(settings, caches))
        self._refused, self._server.unused = "", ""
        self._server.metrics.reloaded("used", self._clock())
        log(
            logging.INFO,
            "new settings are in use",
            settings=f"sha256:{settings.digest}",
            layouts=sorted(caches),
            read=sorted(one.evaluator.name for one in fresh),
            rules=len(settings.rules),
        )

    def _use(self, admission: Admission) -> None:
        """Replace the settings, and read the evidence of their layouts from now on."""
        old, self._server.admission = self._server.admission, admission
        for name, cache in old.caches.items():
            if admission.caches.get(name) is not cache:
                self._keeping.pop(name).cancel()
        for name, cache in admission.caches.items():
            if name not in self._keeping:
                cache.evaluator.is_superseded = self.is_superseded
                self._keeping[name] = self._start(cache.keep())

    def _refuse(self, digest: str, error: GitchainError) -> None:
        why = f"{error}: {error.help}" if error.help else str(error)
        if (digest, why) != (self._refused, self._server.unused):
            log(logging.ERROR, "new settings are not used, the old ones stay in use", why=why)
            self._server.metrics.reloaded("refused", self._clock())
        self._refused, self._server.unused = digest, why

    def _back(self) -> None:
        if self._server.unused:
            self._refused, self._server.unused = "", ""
            self._server.metrics.reloaded("back", self._clock())
            log(logging.INFO, "the file holds the settings in use again")

    def _is_time(self) -> bool:
        """Return True if refused settings must be tried again: a missing layout or evidence may exist now."""
        if self._is_final or self._tried is None:
            return False
        return abs((self._clock() - self._tried).total_seconds()) >= self._settings.times.refresh


def _check_fixed(old: AdmissionSettings, new: AdmissionSettings) -> None:
    for name in FIXED:
        if getattr(old, name) != getattr(new, name):
            raise UsageError(
                f"{name} cannot change in a server that runs",
                where=f"{new.path}: {name}",
                help="restart gitchain serve",
            )


def _check_decides(cache: VerdictCache, now: datetime) -> None:
    """Raise the error of the reading, or LayoutError, if the layout cannot decide."""
    if cache.evaluator.error is not None:
        error = cache.evaluator.error
        raise type(error)(
            error.what,
            where=f"layout {cache.evaluator.name}: {error.where}"
            if error.where
            else f"layout {cache.evaluator.name}",
            expected=error.expected,
            got=error.got,
            help=error.help,
        )
    if (problem := cache.evaluator.unfit(now)) is not None:
        raise LayoutError(problem.message, where=problem.where, help=problem.help)

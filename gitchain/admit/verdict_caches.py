"""Verdict caches of the settings, one per layout: one thread decides for all, and a few threads read evidence.

New settings keep the verdict caches of unchanged layouts, with their evidence and verdicts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from gitchain.admit.evidence import EvidenceReader, SourceReader
from gitchain.admit.layout_evaluator import LayoutEvaluator
from gitchain.admit.settings import AdmissionSettings
from gitchain.admit.traces import OFF, Traces
from gitchain.admit.verdict_cache import VerdictCache

READERS = 32
"""Most layouts whose evidence is read at a time."""


class VerdictCaches:
    """Creates verdict caches and owns their threads. `readers` replaces the readers of layouts by name, in tests."""

    def __init__(
        self,
        clock: Callable[[], datetime],
        readers: Mapping[str, EvidenceReader] | None = None,
        *,
        offline: bool = False,
        is_remembering: bool = True,
        traces: Traces = OFF,
    ) -> None:
        self._clock = clock
        self._readers = readers or {}
        self._offline = offline
        self._is_remembering = is_remembering
        self._traces = traces
        self._decide = ThreadPoolExecutor(1, "decide")
        self._read = ThreadPoolExecutor(READERS, "read")

    def make(
        self,
        settings: AdmissionSettings,
        old: AdmissionSettings | None = None,
        caches: Mapping[str, VerdictCache] | None = None,
    ) -> dict[str, VerdictCache]:
        """Return a verdict cache for each layout: the existing one if its source and the durations are unchanged."""
        kept = caches or {}
        same = old is not None and (old.times, old.decisions) == (settings.times, settings.decisions)
        return {
            name: kept[name]
            if same and old and old.sources.get(name) == source
            else self._cache(settings, name)
            for name, source in settings.sources.items()
        }

    def _cache(self, settings: AdmissionSettings, name: str) -> VerdictCache:
        reader = self._readers.get(name) or SourceReader(
            settings.sources[name], offline=self._offline, is_remembering=self._is_remembering
        )
        return VerdictCache(
            LayoutEvaluator(name, reader, settings.times, self._traces),
            settings.times,
            limit=settings.decisions,
            clock=self._clock,
            decider=self._decide,
            reader=self._read,
        )

    def close(self) -> None:
        """Start to end the threads. Waiting work is cancelled."""
        self._decide.shutdown(wait=False, cancel_futures=True)
        self._read.shutdown(wait=False, cancel_futures=True)

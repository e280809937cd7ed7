"""Divide the files of a tree among processes: many small files cost more to open than to hash."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from gitchain.collect.file_digests import BUFFER
from gitchain.platform.forked import can_fork

PER_PROCESS = 2_000
"""Fewest small files of one process."""

MAX_FILES = 1_000_000
"""Most small files that are divided: the results of the other processes are held twice for a moment, 150 bytes each."""

MAX_PROCESSES = 8
"""Most processes for one tree, this one included."""

TOGETHER = 64
"""Neighbouring files that one process reads."""


@dataclass(slots=True)
class Share:
    """The files of one process: every `of`-th group of TOGETHER small files, and the rest in process 0."""

    process: int = 0
    of: int = 1
    _seen: int = 0

    def take(self, names: list[tuple[str, int]], links: Collection[str]) -> Iterator[str]:
        """Yield the names of this share, from the files of one directory with their sizes, and its links."""
        for name, size in names:
            owner = 0
            if size < BUFFER and name not in links:
                owner = self._seen // TOGETHER % self.of
                self._seen += 1
            if owner == self.process:
                yield name


def processes(small_files: int) -> int:
    """Return the number of processes for that many small files: one per processor, or 1 if this one cannot be copied."""
    if small_files > MAX_FILES or not can_fork():
        return 1
    return min(MAX_PROCESSES, len(os.sched_getaffinity(0)), max(1, small_files // PER_PROCESS))

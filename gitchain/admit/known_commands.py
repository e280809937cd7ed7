"""Remember what the commands of containers refer to: the pods of one workload all have the same.

The search depends on nothing but what the key holds, so an entry is never out of date. Long commands and those with many
references are searched again each time, so that the memory stays within some megabytes whatever authors write.
"""

from __future__ import annotations

import hashlib
import marshal
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from threading import Lock

from gitchain.admit.denial_reasons import DenialReason
from gitchain.admit.model_problems import AnnotatedDigest
from gitchain.admit.references import ModelReference
from gitchain.evidence.canonical import Json

MAX_ENTRIES = 512
MAX_COMMAND = 32 << 10
"""Longest command with arguments and environment that is remembered, in bytes."""

MAX_FOUND = 16
MAX_FOUND_TEXT = 8 << 10
"""Most references, and most characters in all of their texts and places, that are remembered for a command."""


@dataclass(frozen=True, slots=True)
class FoundReferences:
    """What a search found: references, texts that may be one, digests of annotations, problems, and its words."""

    found: tuple[ModelReference, ...] = ()
    candidates: tuple[ModelReference, ...] = ()
    told: tuple[AnnotatedDigest, ...] = ()
    problems: tuple[DenialReason, ...] = ()
    words: int = 0

    @property
    def is_small(self) -> bool:
        """Return True if this is short enough to be remembered."""
        references = (*self.found, *self.candidates)
        if self.told or self.problems or len(references) > MAX_FOUND:
            return False
        return sum(len(one.text) + len(one.where) for one in references) <= MAX_FOUND_TEXT


class KnownCommands:
    """The references of the commands that were searched last. Threads may share it."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, FoundReferences] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        """Return the number of commands that are remembered."""
        return len(self._entries)

    def get(self, key: Hashable) -> FoundReferences | None:
        """Return what was found under this key, or None."""
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
            return found

    def put(self, key: Hashable, found: FoundReferences) -> None:
        """Remember what was found under this key, if both are short, and forget the one that was unused longest."""
        if key is None or not found.is_small:
            return
        with self._lock:
            self._entries[key] = found
            if len(self._entries) > MAX_ENTRIES:
                self._entries.popitem(last=False)


def command_key(fields: Json, where: str, owner: str, settings: Hashable) -> Hashable:
    """Return the key of a command at its place under some settings, or None if it is too long to be remembered.

    Equal keys mean equal commands: version 2 of marshal writes equal JSON values alike, different ones differently, and is
    three times as fast as JSON.
    """
    data = marshal.dumps([fields, where, owner], 2)
    return None if len(data) > MAX_COMMAND else (hashlib.sha256(data).digest(), settings)

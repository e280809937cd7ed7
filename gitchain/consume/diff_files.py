"""Compare the materials and products of two chains by name and digest, directories file by file.

All of it is claimed by the signers of the steps. A directory is opened only through stored manifests, whose nodes match
its digest; without them it is one change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from typing import TypeAlias

from gitchain.consume.diff_facts import GIT_SUBJECTS, is_own_code
from gitchain.consume.diff_sides import SideStep
from gitchain.consume.diff_values import ABSENT, Change, Facts, Group, Value, collected, combined, compare
from gitchain.evidence.canonical import Json
from gitchain.evidence.statement import ResourceDescriptor
from gitchain.layout.artifact import Artifact, Manifests
from gitchain.sources.bundle_facts import claim_in
from gitchain.verify.manifest_diff import differences

MAX_LISTED = 10_000
"""Most files of directories that are listed as changed, over all directories."""

Named: TypeAlias = tuple[str | None, str]
"""An artifact by name and content."""

_VERSIONS = ("version", "versionId", "etag")
"""Annotations that fix the content of a material outside of the repository (docs/formats/predicates.md)."""


class FileComparison:
    """Compares the files of two sides. `manifests` opens directories."""

    def __init__(self, manifests: Manifests) -> None:
        self._manifests = manifests
        self._known: dict[str, Artifact] = {}
        self._left = MAX_LISTED
        self._complete = True

    def group(
        self,
        a: Iterable[SideStep],
        b: Iterable[SideStep],
        targets: tuple[Collection[Named], Collection[Named]],
    ) -> Group:
        """Return the changed files; without the `targets` of both sides, which another group has.

        A target under another name, or without a name, is the file with its content.
        """
        before, after = self._facts(a), self._facts(b)
        found = compare(before, after)
        own = [_stated(targets[0], before), _stated(targets[1], after)]
        changes = tuple(
            listed
            for change in found.changes
            for listed in self._opened(change)
            if not all(
                value is ABSENT or (listed.name, value) in side
                for value, side in zip((listed.a, listed.b), own, strict=True)
            )
        )
        return Group(changes, found.compared, complete=self._complete)

    def _facts(self, steps: Iterable[SideStep]) -> dict[tuple[str, str], Facts]:
        found: dict[tuple[str, str], Facts] = {}
        for step in steps:
            claims = [claim_in(one) for one in step.statements]
            for role, many in (
                ("materials", [claim.materials for claim in claims]),
                ("products", [claim.products for claim in claims]),
            ):
                facts = [collected(self._named(items)) for items in many]
                if any(facts):
                    found[step.name, f"{role} {step.part}"] = combined(facts)
        return found

    def _named(self, items: Iterable[ResourceDescriptor]) -> Iterator[tuple[str, Json]]:
        for item in items:
            name = item.rule_name or ""
            if is_own_code(item) or name.startswith(GIT_SUBJECTS):
                continue
            artifact = self._manifests.artifact(item)
            content = str(artifact) if item.digest else _version(item)
            if artifact.directory:
                self._known[content] = artifact
            yield name, content

    def _opened(self, change: Change) -> Iterator[Change]:
        """Yield the change, or the changed files of a directory that both sides have; nothing if they are equal."""
        old, new = self._directory(change.a), self._directory(change.b)
        if old is None or new is None:
            yield change
            return
        if old == new:  # the same files under two versions of manifests
            return
        listed = differences(old, new, self._manifests, self._manifests)
        files = list(islice(listed, self._left))
        self._left -= len(files)
        self._complete = self._complete and next(listed, None) is None
        for path, before, after in files:
            yield replace(
                change,
                name=f"{change.name}/{path}",
                a=ABSENT if before is None else str(before),
                b=ABSENT if after is None else str(after),
            )
        if not files:
            yield change

    def _directory(self, value: Value) -> Artifact | None:
        return self._known.get(value) if isinstance(value, str) else None


def _stated(targets: Collection[Named], facts: Mapping[tuple[str, str], Facts]) -> set[Named]:
    """Return the targets with the names under which the statements have them: their own, or else every other one."""
    stated = {
        (name, value) for one in facts.values() for name, value in one.items() if isinstance(value, str)
    }
    found = set(targets)
    elsewhere = {content for name, content in targets if (name, content) not in stated}
    return found | {(name, value) for name, value in stated if value in elsewhere}


def _version(item: ResourceDescriptor) -> str:
    """Return what fixes the content of a material without a digest, or that nothing does."""
    found = ((name, item.annotations.get(name)) for name in _VERSIONS)
    return next((f"{name} {value}" for name, value in found if isinstance(value, str)), "without a digest")

"""Stores of generated statements, and what has to be found in them: computed from all statements, without an index."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Any, Literal

from gitchain.errors import GitchainError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.canonical import canonical_json
from gitchain.evidence.claim import StepClaim
from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.manifest import FileEntry, build_manifest, to_version_2
from gitchain.evidence.statement import ResourceDescriptor
from gitchain.evidence.vocabulary import CHECKPOINT, LINK, MANIFEST_MEDIA_TYPES, REVOCATION, ManifestVersion
from gitchain.layout.artifact import Artifact, Manifests
from gitchain.sources.bundle_facts import claim_or_problem
from gitchain.verify.negative_evidence import contents_of
from tests.support.store_samples import b64, digest_of

STEPS = ("prepare", "train", "evaluate")
SAID = "https://example.com/said/v1"
FILES = tuple(f"file-{number}" for number in range(7))
DIRECTORIES = (
    ("file-0", "file-1"),
    ("in/file-2", "in/deep/file-3"),
    ("in/file-2", "file-4"),
    ("file-5", "in/file-0"),
)


def bundle(payload: bytes, note: str) -> bytes:
    """Return a bundle in the right form, which nobody signed."""
    entry: dict[str, Any] = {
        "logIndex": "0",
        "logId": {"keyId": b64(b"k" * 32)},
        "canonicalizedBody": b64(b"{}"),
    }
    entry["kindVersion"] = {"kind": "dsse", "version": "0.0.2"}
    envelope: dict[str, Any] = {"payloadType": "application/vnd.in-toto+json", "payload": b64(payload)}
    envelope["signatures"] = [{"sig": b64(note.encode())}]
    found = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "dsseEnvelope": envelope,
        "verificationMaterial": {"certificate": {"rawBytes": b64(b"c")}, "tlogEntries": [entry]},
    }
    return json.dumps(found).encode()


def is_signed(raw: bytes) -> bool:
    """Decide which of the bundles verify: most of them."""
    return sha256_hex(raw)[0] not in "012"


@dataclass
class Generated:
    """Bundles and manifest nodes, by name."""

    random: Random
    version_1: bool
    bundles: dict[str, bytes] = field(default_factory=dict)
    nodes: dict[str, bytes] = field(default_factory=dict)

    def grow(self) -> tuple[list[bytes], dict[str, bytes]]:
        """Return some new bundles, and some of the nodes that they need, maybe not all."""
        new: list[bytes] = []
        nodes: dict[str, bytes] = {}
        for _ in range(self.random.randint(1, 5)):
            raw, needed = self._statement()
            new.append(raw)
            nodes |= {name: node for name, node in needed.items() if self.random.random() < 0.9}
        self.bundles |= {sha256_hex(raw): raw for raw in new}
        self.nodes |= nodes
        return new, nodes

    def _statement(self) -> tuple[bytes, dict[str, bytes]]:
        nodes: dict[str, bytes] = {}
        kind = self.random.choice((LINK, LINK, LINK, SAID, SAID, REVOCATION, CHECKPOINT))
        subject = self._artifacts(nodes, named=True)
        predicate: dict[str, Any] = {}
        if kind == LINK:
            predicate = {"name": self.random.choice(STEPS), "materials": self._artifacts(nodes)}
            if self.random.random() < 0.1:
                predicate["name"] = 1  # nobody can read that
        elif self.random.random() < 0.7:
            step = {"name": self.random.choice(STEPS), "run": "r", "evidence": "declared"}
            predicate = {"gitchain_step": step}
        statement: dict[str, Any] = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": subject,
            "predicateType": kind,
            "predicate": predicate,
        }
        return bundle(canonical_json(statement), str(self.random.random())), nodes

    def _artifacts(self, nodes: dict[str, bytes], *, named: bool = False) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for _ in range(self.random.randint(int(named), 2)):
            if self.random.random() < 0.6:
                name = self.random.choice(FILES)
                found[name] = {"name": name, "digest": {"sha256": digest_of(name)}}
            else:
                paths = self.random.choice(DIRECTORIES)
                version: Literal[1, 2] = 1 if self.version_1 and self.random.random() < 0.3 else 2
                files = [
                    FileEntry(path, False, len(path), digest_of(path.rpartition("/")[2])) for path in paths
                ]
                made = build_manifest(files, version)
                nodes |= made.nodes
                name = f"{paths[0]}-{version}"
                found[name] = {
                    "name": name,
                    "digest": {"sha256": made.digest},
                    "mediaType": MANIFEST_MEDIA_TYPES[version],
                }
        return list(found.values())


Items = tuple[ResourceDescriptor, ...]


@dataclass(frozen=True, eq=False)
class Known:
    """One bundle, read from its bytes."""

    raw: bytes

    @property
    def name(self) -> str:
        return sha256_hex(self.raw)

    @cached_property
    def claim(self) -> StepClaim:
        return claim_or_problem(Bundle.parse(self.raw).statement())[0]

    @cached_property
    def is_unreadable(self) -> bool:
        return bool(claim_or_problem(Bundle.parse(self.raw).statement())[1])

    @property
    def subject(self) -> Items:
        return Bundle.parse(self.raw).statement().subject

    @property
    def topics(self) -> Items:
        return self.claim.materials if self.claim.kind == "informational" else ()


@dataclass
class Model:
    """What a store holds, each question answered by looking at all of it."""

    known: list[Known]
    nodes: dict[str, bytes]

    def around(self, digests: Iterable[str], steps: frozenset[str] | None) -> set[bytes]:
        named = set(digests)
        forward = self._walk(
            named, {}, lambda one: one.claim.materials, lambda one: one.claim.products, steps
        )
        used = {digest for one in forward.values() for digest in self.named(one, one.claim.materials)}
        back = self._walk(
            named | used, forward, lambda one: one.claim.products, lambda one: one.claim.materials, steps
        )
        made = {digest for one in back.values() for digest in self.opened(one, one.claim.products)}
        beside = {one.raw: one for one in self._about(made) if steps is None or one.claim.step in steps}
        return {raw for raw in back | beside if is_signed(raw)}

    def against(self, items: Items, steps: frozenset[str] | None) -> set[bytes]:
        found: Iterable[Known] = self.known
        if not any(item.manifest_version is not None and self._inside(item) is None for item in items):
            found = self._about({digest for item in items for digest in self._with_files(item)})
        return {
            one.raw
            for one in found
            if (steps is None or one.claim.step in steps or one.is_unreadable) and is_signed(one.raw)
        }

    def made_of(self, digest: str) -> set[bytes]:
        found, waiting, seen = set[bytes](), {digest}, set[str]()
        while waiting:
            seen |= waiting
            now = [
                one
                for one in self.known
                if one.claim.products
                and is_signed(one.raw)
                and waiting & self.opened(one, one.claim.materials)
            ]
            found |= {one.raw for one in now}
            waiting = {x for one in now for item in one.claim.products for x in self._with_files(item)} - seen
        return found

    def about(self, digest: str) -> set[bytes]:
        return {one.raw for one in self.known if digest in self.named(one, one.subject)}

    def _walk(
        self,
        start: set[str],
        known: dict[bytes, Known],
        to: Callable[[Known], Items],
        onward: Callable[[Known], Items],
        steps: frozenset[str] | None,
    ) -> dict[bytes, Known]:
        found, waiting, seen = dict(known), set(start), set[str]()
        while waiting:
            seen |= waiting
            now = [
                one
                for one in self.known
                if (steps is None or one.claim.step in steps)
                and one.raw not in found
                and waiting & self.opened(one, to(one))
            ]
            found |= {one.raw: one for one in now}
            waiting = {digest for one in now for digest in self.named(one, onward(one))} - seen
        return found

    def _about(self, digests: set[str]) -> Iterator[Known]:
        for one in self.known:
            if digests & (self.opened(one, one.claim.products) | self.opened(one, one.topics)):
                yield one

    def opened(self, one: Known, items: Items) -> set[str]:
        if self._may_open(one, items):
            return {digest for item in items for digest in self._with_files(item)}
        return {value for item in items for _, value in item.digest.accepted}

    def named(self, one: Known, items: Items) -> set[str]:
        if self._may_open(one, items):
            return {digest for item in items for digest in self._names(item)}
        return {value for item in items for _, value in item.digest.accepted}

    def _may_open(self, one: Known, items: Items) -> bool:
        return not any(item.manifest_version is not None for item in items) or is_signed(one.raw)

    def _with_files(self, item: ResourceDescriptor) -> set[str]:
        return {
            *self._names(item),
            *((self._inside(item) or ()) if item.manifest_version is not None else ()),
        }

    def _names(self, item: ResourceDescriptor) -> set[str]:
        found = {value for _, value in item.digest.accepted}
        if item.manifest_version == 1:
            try:
                found.add(to_version_2(item.digest["sha256"], self.nodes.get))
            except GitchainError:
                return found
        return found

    def _inside(self, item: ResourceDescriptor) -> set[str] | None:
        version: ManifestVersion = item.manifest_version or 2
        top = Artifact(DigestSet({"sha256": item.digest["sha256"]}), True, version)
        found, closed = contents_of(top, Manifests(self.nodes.get))
        return None if closed else {value for _, value in found}

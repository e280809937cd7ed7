"""Where evidence comes from: a source is only a place to look, what it says counts by signature alone.

Bundles are read and parsed first, and verified only when they could matter: those connected to the target by digests,
or those that name a step of the layout. What does not verify is reported and does not count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from gitchain.errors import GitchainError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.predicates import Claim, claim_of
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.pipeline.project import Project
from gitchain.store.trees import Problem
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.trust import Trust
from gitchain.verify.verified import VerifiedStatement


@dataclass(frozen=True, slots=True)
class Unverified:
    """A parsed bundle of which nothing is believed yet."""

    raw: bytes
    statement: Statement
    claim: Claim


@dataclass(frozen=True, slots=True)
class Refused:
    """A bundle that could not be used, and why."""

    step: str | None
    attestation_id: str
    reason: str


@dataclass
class Evidence:
    """Everything a repository holds, verified on demand and once."""

    candidates: tuple[Unverified, ...]
    trust: Trust
    manifest: Callable[[str], bytes | None]
    refused: list[Refused] = field(default_factory=list)
    _verified: dict[str, VerifiedStatement | None] = field(default_factory=dict)

    def verified(self, candidates: Iterable[Unverified]) -> tuple[VerifiedStatement, ...]:
        """Verify the candidates; those that fail go to `refused`."""
        found = (self._verify(candidate) for candidate in candidates)
        return tuple(statement for statement in found if statement is not None)

    def around(self, sha256: str, steps: set[str] | None) -> tuple[VerifiedStatement, ...]:
        """Return the verified statements on the target's chain.

        Forward from the target along what consumed it, then back from all of these to the raw data; only the named
        steps, or all when `steps` is None.
        """
        by_product, by_material = self._edges
        forward: dict[int, Unverified] = {}
        _walk([sha256], by_material, forward, lambda one: _digests(one.claim.products), steps)
        back: dict[int, Unverified] = dict(forward)
        start = [sha256, *(digest for one in forward.values() for digest in _digests(one.claim.materials))]
        _walk(start, by_product, back, lambda one: _digests(one.claim.materials), steps)
        sides = [digest for one in back.values() for digest in _digests(one.claim.products)]
        informing = {
            id(one): one
            for digest in sides
            for one in by_material[digest]
            if one.claim.kind == "informational" and (steps is None or one.claim.step in steps)
        }
        return self.verified((back | informing).values())

    def of_steps(self, steps: set[str]) -> tuple[VerifiedStatement, ...]:
        """Return every verified statement that claims one of these steps."""
        return self.verified(one for one in self.candidates if one.claim.step in steps)

    def about(self, sha256: str) -> tuple[Unverified, ...]:
        """Return the candidates that have this digest as subject."""
        return tuple(
            one
            for one in self.candidates
            if any(item.digest.get("sha256") == sha256 for item in one.statement.subject)
        )

    @cached_property
    def _edges(self) -> tuple[dict[str, list[Unverified]], dict[str, list[Unverified]]]:
        by_product: dict[str, list[Unverified]] = defaultdict(list)
        by_material: dict[str, list[Unverified]] = defaultdict(list)
        for one in self.candidates:
            for index, items in ((by_product, one.claim.products), (by_material, one.claim.materials)):
                for digest in self._with_files(items):
                    index[digest].append(one)
        return by_product, by_material

    def _with_files(self, items: Sequence[ResourceDescriptor]) -> Iterable[str]:
        """Digests of artifacts, and of the files inside directory artifacts: a step may consume one file of a directory."""
        from gitchain.evidence.manifest import expand

        for item in items:
            digest = item.digest.get("sha256")
            if digest is None:
                continue
            yield digest
            if item.is_directory:
                try:
                    yield from (entry.sha256 for entry in expand(digest, self.manifest))
                except GitchainError:
                    continue  # no manifest: the directory stays closed, and rules that reach inside fail

    def _verify(self, candidate: Unverified) -> VerifiedStatement | None:
        key = sha256_hex(candidate.raw)  # not the attestation id: two people may sign the same statement
        if key not in self._verified:
            try:
                self._verified[key] = verify_bundle(candidate.raw, self.trust)
            except GitchainError as error:
                self._verified[key] = None
                self.refused.append(
                    Refused(candidate.claim.step, candidate.statement.attestation_id, str(error))
                )
        return self._verified[key]


def _digests(items: Sequence[ResourceDescriptor]) -> tuple[str, ...]:
    return tuple(digest for item in items if (digest := item.digest.get("sha256")))


def _walk(
    start: Iterable[str],
    index: dict[str, list[Unverified]],
    found: dict[int, Unverified],
    onward: Callable[[Unverified], tuple[str, ...]],
    steps: set[str] | None,
) -> None:
    waiting, seen = list(start), set()
    while waiting:
        digest = waiting.pop()
        if digest in seen:
            continue
        seen.add(digest)
        for one in index.get(digest, ()):
            if (steps is None or one.claim.step in steps) and id(one) not in found:
                found[id(one)] = one
                waiting.extend(onward(one))


def gather(project: Project | None, trust: Trust, extra: Iterable[bytes] = ()) -> Evidence:
    """Read every bundle of the repository's store, and `extra` ones; what does not parse is refused."""
    refused: list[Refused] = []

    def report(problem: Problem) -> None:
        refused.append(Refused(None, "", f"{problem.message}, in {problem.path}"))

    raws = [*(project.store.all(report) if project else ()), *extra]
    candidates = []
    for raw in raws:
        try:
            statement = Bundle.parse(raw).statement()
            candidates.append(Unverified(raw, statement, claim_of(statement)))
        except GitchainError as error:
            refused.append(Refused(None, "", str(error)))
    manifest = project.store.manifest if project else (lambda _digest: None)
    return Evidence(tuple(candidates), trust, manifest, refused)

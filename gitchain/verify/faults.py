"""What forbids evidence that would count: a denied statement about the same product, or a revoked artifact.

Negative evidence: each can only take groups away. A denied statement is one that an authorised signer made for the step
and that the step's constraints refuse; whoever else says something better about the same product does not mend it.
A revoked artifact counts wherever evidence names it, also inside of directories whose manifests are at hand.

Does NOT say what is denied or revoked: `gitchain.verify.sort` and `gitchain.verify.revocations` do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gitchain.layout.artifact import Artifact, Link, Manifests
from gitchain.layout.model import Step
from gitchain.verify.attested import Rejected
from gitchain.verify.claims import Reasons
from gitchain.verify.findings import Code, Finding
from gitchain.verify.judge import Judge
from gitchain.verify.revocations import Revoked


@dataclass(slots=True)
class Faults:
    """The denied statements of each step, and the artifacts that the judge's revocations name."""

    judge: Judge
    manifests: Manifests
    denied: Mapping[str, Sequence[Rejected]] = field(default_factory=dict)
    _inside: dict[tuple[int, str], Revoked | None] = field(default_factory=dict)
    _upgraded: dict[str, Revoked] | None = None

    def of(self, step: Step, link: Link) -> Reasons | None:
        """Return why evidence for the step with these materials and products does not count, or None."""
        found = (*self._denied(step, link), *self._revoked(step, link))
        return (lambda: found) if found else None

    def _denied(self, step: Step, link: Link) -> Iterator[Finding]:
        denied = self.denied.get(step.name, ())
        mine = _about(link) if denied else frozenset()
        for one in denied:
            if one.attested is not None and not mine.isdisjoint(_about(one.attested.link)):
                by = one.statement
                yield Finding(
                    Code.DENIED,
                    f"what attestation {by.attestation_id[:12]} by {by.identity} says of the same artifact is "
                    f"forbidden by the constraints of step {step.name}",
                    step=step.name,
                    expected=one.expected,
                    got=one.got,
                    help="if that attestation is mistaken, a revoker has to revoke it",
                )

    def _revoked(self, step: Step, link: Link) -> Iterator[Finding]:
        if not any(one.artifacts for one in self.judge.revocations):
            return
        for name, artifact in (*link.materials.items(), *link.products.items()):
            revoked = self._find(artifact)
            if revoked is not None:
                yield Finding(
                    Code.REVOKED_ARTIFACT,
                    f"step {step.name} has {name}, which is or holds what was {revoked}",
                    step=step.name,
                    artifact=name,
                    got=str(artifact),
                    help="run the steps again without it",
                )

    def _find(self, artifact: Artifact) -> Revoked | None:
        """Return who revoked the artifact, or something below it as far as manifests are at hand."""
        digest = artifact.digest.get("sha256", "")
        if not artifact.directory:
            return self._named(digest)
        key = artifact.kind, digest
        if key not in self._inside:
            found = (
                self._directory(one) if one.directory else self._named(one.digest.get("sha256", ""))
                for one in self._below(artifact)
            )
            self._inside[key] = next((revoked for revoked in found if revoked is not None), None)
        return self._inside[key]

    def _directory(self, directory: Artifact) -> Revoked | None:
        """Return who revoked exactly this directory, by its digest under either version of the manifest."""
        digest, newest = directory.digest.get("sha256", ""), directory.newest or ""
        return self._named(digest) or self._named(newest) or self._upgrades().get(newest)

    def _upgrades(self) -> Mapping[str, Revoked]:
        """Return the revoked directories of version 1 whose nodes are at hand, by their version 2 digest."""
        if self._upgraded is None:
            named = {sha256: by for one in self.judge.revocations for sha256, by in one.artifacts.items()}
            pairs = ((self.manifests.upgrade(sha256), by) for sha256, by in named.items())
            self._upgraded = {newest: by for newest, by in pairs if newest is not None}
        return self._upgraded

    def _below(self, directory: Artifact) -> Iterator[Artifact]:
        """Yield the directory and each artifact below it once; manifests can repeat and even hold themselves."""
        seen, waiting = set[str](), [directory]
        while waiting:
            one = waiting.pop()
            digest = one.digest.get("sha256", "")
            if digest not in seen:
                seen.add(digest)
                yield one
                waiting += self.manifests.entries(one).values() if one.directory else ()

    def _named(self, digest: str) -> Revoked | None:
        found = (one.artifact(digest) for one in self.judge.revocations)
        return next((revoked for revoked in found if revoked is not None), None)


def _about(link: Link) -> frozenset[tuple[str, str]]:
    """Return the digests that the evidence is about: of its products, or of its subjects where it makes nothing."""
    about = link.products or link.materials
    return frozenset(pair for artifact in about.values() for pair in artifact.digests)

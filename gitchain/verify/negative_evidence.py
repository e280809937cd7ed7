"""Negative evidence: revocations and rejections, and the evidence that does not count because of them.

    rejections = standing(rejected, accepted)           rejections without a newer statement of their signer
    negative = NegativeEvidence(authorizer, manifests, rejections)
    faults = negative.faults(step, link)                why this evidence does not count, or None

docs/negative-evidence.md defines the rule: negative evidence counts under weaker conditions than positive evidence, about
any artifact of the chain; the newest statement of a signer about an artifact wins; unreadable statements count against
the target. A directory without its manifest is unreadable.

Does NOT read revocations (`gitchain.verify.revocations`), and does NOT look at facts about data sets
(`gitchain.verify.datasets`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from gitchain.evidence.digest import Sha256
from gitchain.layout.artifact import Artifact, Link, Manifests
from gitchain.layout.model import Step
from gitchain.verify.authorization import Authorizer
from gitchain.verify.chain import Reasons
from gitchain.verify.findings import Finding, FindingCode
from gitchain.verify.verified import StepStatement, VerifiedStatement

if TYPE_CHECKING:
    from gitchain.verify.revocations import Revoked

Digest: TypeAlias = tuple[str, str]
"""Algorithm and value of an accepted digest."""

HELP_CLOSED = "fetch the manifests: gitchain sync"


@dataclass(frozen=True, slots=True, eq=False)
class Rejection:
    """A rejection of artifacts by an authorised signer: the step, and why it is a rejection."""

    step: str
    signer: str
    statement: VerifiedStatement
    about: frozenset[Digest]
    why: str
    expected: str = ""
    got: str = ""


Rejections: TypeAlias = Mapping[Digest, Sequence[Rejection]]
"""The rejections of each artifact."""


def digests_about(link: Link) -> frozenset[Digest]:
    """Return the digests that a statement is about: its products, or its subjects if it has none."""
    about = link.products or link.materials
    return frozenset(pair for artifact in about.values() for pair in artifact.digests)


def standing(rejections: Iterable[Rejection], accepted: Iterable[StepStatement]) -> Rejections:
    """Return the rejections by digest, without those that their signer withdrew.

    A signer withdraws the rejection of an artifact with a later statement about it, for the same step, that counts.
    At equal times the rejection counts.
    """
    newest: dict[tuple[str, str, Digest], datetime] = {}
    for one in accepted:
        for digest in digests_about(one.link):
            key, time = (one.step.name, one.principal, digest), one.statement.time
            newest[key] = max(time, newest.get(key, time))
    found: dict[Digest, list[Rejection]] = {}
    for rejection in rejections:
        for digest in rejection.about:
            later = newest.get((rejection.step, rejection.signer, digest))
            if later is None or later <= rejection.statement.time:
                found.setdefault(digest, []).append(rejection)
    return found


@dataclass(frozen=True, slots=True)
class _NegativeFindings:
    """Negative evidence about an artifact and its contents; `closed` if not all of it is readable."""

    revoked: Revoked | None
    rejections: tuple[Rejection, ...]
    closed: bool


@dataclass(slots=True)
class NegativeEvidence:
    """Revocations, and rejections under a layout and its enclosing layouts."""

    authorizer: Authorizer
    manifests: Manifests
    rejections: Sequence[Rejections] = ()
    _known: dict[tuple[int, tuple[Digest, ...]], _NegativeFindings] = field(default_factory=dict)
    _upgraded: dict[Digest, Revoked] | None = None

    def faults(self, step: Step, link: Link) -> Reasons | None:
        """Return why evidence for the step with these materials and products does not count, or None."""
        if not self._any:
            return None
        found = tuple(self._faults(step, link))
        return (lambda: found) if found else None

    @property
    def _any(self) -> bool:
        return any(self.rejections) or any(one.artifacts for one in self.authorizer.revocations)

    def _faults(self, step: Step, link: Link) -> Iterator[Finding]:
        told: set[int] = set()
        for name, artifact in (*link.materials.items(), *link.products.items()):
            found = self._look(artifact)
            if found.revoked is not None:
                yield _revoked(step, name, artifact, found.revoked)
            for rejection in found.rejections:
                if id(rejection) not in told:
                    told.add(id(rejection))
                    yield _rejected(step, name, rejection)
            if found.closed:
                yield _closed(step, name, artifact)

    def _look(self, artifact: Artifact) -> _NegativeFindings:
        key = artifact.kind, artifact.digest.accepted
        if key not in self._known:
            digests, closed = contents_of(artifact, self.manifests)
            revoked = (self._revoked(digest) for digest in digests)
            rejections = {
                id(one): one
                for digest in digests
                for known in self.rejections
                for one in known.get(digest, ())
            }
            self._known[key] = _NegativeFindings(
                next((one for one in revoked if one is not None), None), tuple(rejections.values()), closed
            )
        return self._known[key]

    def _revoked(self, digest: Digest) -> Revoked | None:
        found = (one.artifact(digest) for one in self.authorizer.revocations)
        return next((one for one in found if one is not None), None) or self._upgrades().get(digest)

    def _upgrades(self) -> Mapping[Digest, Revoked]:
        """Return the revoked directories of manifest version 1 with available nodes, by their version 2 digest."""
        if self._upgraded is None:
            named = {pair: by for one in self.authorizer.revocations for pair, by in one.artifacts.items()}
            pairs = (
                (self.manifests.upgrade(Sha256(value)), by)
                for (name, value), by in named.items()
                if name == "sha256"
            )
            self._upgraded = {("sha256", newest): by for newest, by in pairs if newest is not None}
        return self._upgraded


def contents_of(artifact: Artifact, manifests: Manifests) -> tuple[Sequence[Digest], bool]:
    """Return the digests of an artifact and of its contents, and whether a manifest is missing.

    Each node is read once: manifests repeat, and can even contain themselves.
    """
    found: dict[Digest, None] = {}
    seen: set[tuple[int, tuple[Digest, ...]]] = set()
    closed, waiting = False, [artifact]
    while waiting:
        one = waiting.pop()
        found |= dict.fromkeys(one.digests)
        if one.directory and (key := (one.kind, one.digest.accepted)) not in seen:
            seen.add(key)
            closed = closed or manifests.is_closed(one)
            waiting += manifests.entries(one).values()
    return tuple(found), closed


def _revoked(step: Step, name: str, artifact: Artifact, revoked: Revoked) -> Finding:
    return Finding(
        FindingCode.REVOKED_ARTIFACT,
        f"step {step.name} has {name}, which is or contains an artifact that was {revoked}",
        step=step.name,
        artifact=name,
        got=str(artifact),
        help="replace the artifact, then run the steps that used it again",
    )


def _rejected(step: Step, name: str, rejection: Rejection) -> Finding:
    by = rejection.statement
    return Finding(
        FindingCode.DENIED,
        f"{by.identity} rejected {name}, or something in it, for step {rejection.step} "
        f"(attestation {by.attestation_id[:12]}): {rejection.why}",
        step=step.name,
        artifact=name,
        expected=rejection.expected,
        got=rejection.got,
        help="a newer attestation by the same signer replaces it; a revoker can revoke it",
    )


def _closed(step: Step, name: str, artifact: Artifact) -> Finding:
    return Finding(
        FindingCode.CLOSED,
        f"step {step.name} has the directory {name}, whose manifest is not available: "
        "it may contain a revoked or rejected artifact",
        step=step.name,
        artifact=name,
        expected="the manifest of every directory in it",
        got=str(artifact),
        help=HELP_CLOSED,
    )

"""Gather the verified evidence about the models of one target: steps of their chains, and statements beside these.

Statements beside the chain (releases, deployments, data sets, revocations) count only from functionaries of the layout,
if they are not revoked and not ahead of the clock; revocations only from its revokers. Others are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from gitchain.consume.diff_sides import Side, SideStep, side_of
from gitchain.consume.targets import GivenTarget
from gitchain.consume.verifier import Verifier
from gitchain.evidence.claim import StepClaim
from gitchain.evidence.digest import Sha256
from gitchain.evidence.predicates import REVOCATION
from gitchain.evidence.statement import ResourceDescriptor
from gitchain.layout.artifact import Manifests
from gitchain.layout.model import Layout
from gitchain.report.text import document_text
from gitchain.sources.bundle_facts import claim_in
from gitchain.verify.authorization import Signers
from gitchain.verify.negative_evidence import contents_of
from gitchain.verify.revocations import Revocations, Revoked
from gitchain.verify.verified import VerifiedStatement, is_early

MAX_ABOUT = 1000
"""Most statements beside the chain that are listed, the newest: of functionaries, and as many of others."""


@dataclass(frozen=True, slots=True, eq=False)
class ChainStep:
    """One step of a chain: what the decision reports of it, and its statements where they are bundles."""

    reported: SideStep
    signed: tuple[VerifiedStatement, ...]

    @property
    def name(self) -> str:
        """Return the name of the step; of a supplier's step after that of the step which it satisfies."""
        return self.reported.name

    @property
    def claims(self) -> Sequence[StepClaim]:
        """Return what its statements claim about materials and products."""
        return [claim_in(one) for one in self.reported.statements]


class ModelEvidence:
    """The verified evidence about the models of one target, under the layout of a verifier."""

    def __init__(self, verifier: Verifier, given: GivenTarget) -> None:
        """Verify the target. Raises the errors of `side_of`: NoEvidenceError if no attestation is about it."""
        self.verifier = verifier
        self.layout: Layout = verifier.accepted.signed.layout
        self.side: Side = side_of(verifier, given, explain=True)
        self.signers = Signers(self.layout)
        self.manifests = Manifests(verifier.evidence.manifest)
        self.revocations = Revocations.of(self.layout, verifier.evidence.of_type(REVOCATION), verifier.now)
        self.steps: Sequence[ChainStep] = [
            ChainStep(step, tuple(self._signed(step))) for step in self.side.steps.values()
        ]

    @cached_property
    def models(self) -> dict[Sha256, str]:
        """Return the names of the target's artifacts by SHA-256: the name in the repository, else an attested one."""
        attested = {
            sha256: item.rule_name or ""
            for step in self.steps
            for claim in step.claims
            for item in claim.products
            if (sha256 := item.digest.sha256)
        }
        return {
            one.target.sha256: document_text(
                one.target.name or attested.get(one.target.sha256) or one.target.given
            )
            for one in self.side.verification.decisions
        }

    @cached_property
    def origins(self) -> dict[str, ResourceDescriptor]:
        """Return by SHA-256 the artifacts that a step made of no other artifact: where data enter the chain."""
        return {
            sha256: item
            for step in self.steps
            for claim in step.claims
            if not any(one.digest.accepted for one in claim.materials if "gitCommit" not in one.digest)
            for item in claim.products
            if (sha256 := item.digest.sha256) and sha256 not in self.models
        }

    def about_models(self, *types: str) -> Sequence[VerifiedStatement]:
        """Return the Statements v1 of these types about the target's models, of any signer, in the order of the log."""
        evidence = self.verifier.evidence
        found = {
            one.attestation_id: one
            for sha256 in self.models
            for one in evidence.verified(evidence.about(sha256))
            if one.statement.predicate_type in types and not one.statement.is_old
        }
        by_functionary: dict[bool, list[VerifiedStatement]] = {True: [], False: []}
        for one in self._in_order(found.values()):
            by_functionary[self.functionary(one) is not None].append(one)
        # bounded apart: no number of statements of strangers hides one of a functionary
        return self._in_order(one for many in by_functionary.values() for one in many[-MAX_ABOUT:])

    def of_type(self, kind: str) -> Sequence[VerifiedStatement]:
        """Return the counted statements of a type, in the order of the log."""
        found = self._in_order(self.verifier.evidence.of_type(kind))
        return [one for one in found if self.functionary(one)][-MAX_ABOUT:]

    def functionary(self, one: VerifiedStatement, names: Sequence[str] = ()) -> str | None:
        """Return which of these functionaries of the layout signed the statement, by default of all; None if none did."""
        return self.signers.functionary(one, names or [each.name for each in self.layout.functionaries])

    def revoked(self, one: VerifiedStatement) -> Revoked | None:
        """Return the revocation of an attestation or of its signer, or None."""
        return self.revocations.statement(one) or self.revocations.signer(one.identity, one.time)

    def revoked_artifact(self, item: ResourceDescriptor) -> Revoked | None:
        """Return the revocation of an artifact, or of a file in a directory, or None."""
        if not self.revocations.artifacts:
            return None
        digests = contents_of(self.manifests.artifact(item), self.manifests)[0]
        return next((found for one in digests if (found := self.revocations.artifact(one))), None)

    def _in_order(self, statements: Iterable[VerifiedStatement]) -> Sequence[VerifiedStatement]:
        counted = [one for one in statements if not is_early(one, self.verifier.now)]
        return sorted(counted, key=lambda one: (one.time, one.log.index, one.attestation_id))

    def _signed(self, step: SideStep) -> Iterator[VerifiedStatement]:
        """Yield the bundles of the step's attestations; signed commits and tags have no bundle."""
        evidence = self.verifier.evidence
        for one in step.attestations:
            found = evidence.verified(evidence.bundles.with_id(one.id))
            yield from [each for each in found if each.identity == one.signer][:1]

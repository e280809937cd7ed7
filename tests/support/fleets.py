"""Sources of a fleet: directories of bundles, each signed and logged for real by one embedded instance."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gitchain.evidence.claim import StepFacts
from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.dsse import AttestationId, attestation_id
from gitchain.evidence.predicates import (
    Kind,
    RevokedSigner,
    dataset,
    deployment,
    provenance,
    retirement,
    revocation,
)
from gitchain.evidence.revocation import attestation_descriptor
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import DATASET, DEPLOYMENT, PROVENANCE, RETIREMENT, REVOCATION
from gitchain.fleet.bundle_rows import Verifier
from gitchain.fleet.database import Database
from gitchain.fleet.indexer import FleetIndexer, SourceReport
from gitchain.instance import Instance
from tests.support.forged_bundles import ADA, Forge
from tests.support.sigstore_oracle import trust_of

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
WHEN = "2026-11-30T12:00:00Z"


def content(name: str) -> str:
    """Return the digest of the artifact that tests call so."""
    return sha256_hex(name.encode())


def descriptor(name: str) -> ResourceDescriptor:
    return ResourceDescriptor(name, DigestSet({"sha256": content(name)}))


@dataclass
class BundleDirectory:
    """A source: a directory that statements are signed into."""

    path: Path
    instance: Instance

    def sign(
        self, subjects: Sequence[ResourceDescriptor], kind: str, predicate: Mapping[str, Any], who: str = ADA
    ) -> AttestationId:
        """Sign a statement, and return its id."""
        return self.add(Statement.build(subjects, kind, predicate).payload, who)

    def add(self, payload: bytes, who: str = ADA, *, broken: bool = False) -> AttestationId:
        """Sign these bytes; `broken` changes the signature afterwards."""
        bundle = Forge(self.instance, who).bundle(payload)
        if broken:
            signature = bundle["dsseEnvelope"]["signatures"][0]
            signature["sig"] = (
                signature["sig"][:20] + ("A" if signature["sig"][20] != "A" else "B") + signature["sig"][21:]
            )
        self.write(json.dumps(bundle).encode())
        return attestation_id(payload)

    def write(self, raw: bytes) -> None:
        self.path.mkdir(exist_ok=True)
        (self.path / f"{sha256_hex(raw)}.sigstore.json").write_bytes(raw)

    def make(
        self,
        step: str,
        materials: Sequence[str],
        products: Sequence[str],
        *,
        kind: Kind = "training",
        who: str = ADA,
        broken: bool = False,
    ) -> AttestationId:
        """Sign a step that makes products of materials."""
        predicate = provenance(
            step=StepFacts(step, "run-1", "observed", "credit"),
            kind=kind,
            materials=[descriptor(name) for name in materials],
        )
        statement = Statement.build([descriptor(name) for name in products], PROVENANCE, predicate)
        return self.add(statement.payload, who, broken=broken)

    def licence(self, name: str, licence: str, *, broken: bool = False) -> AttestationId:
        predicate = dataset(
            source="https://example.com/d", licence="MIT", consent="unknown", personal_data="none"
        )
        statement = Statement.build([descriptor(name)], DATASET, {**predicate, "licence": licence})
        return self.add(statement.payload, broken=broken)

    def deploy(
        self, name: str, environment: str = "production", *, who: str = ADA, broken: bool = False
    ) -> AttestationId:
        predicate = deployment(model=name, environment=environment, by="x", when=WHEN, cluster="eu-1")
        return self.add(
            Statement.build([descriptor(name)], DEPLOYMENT, predicate).payload, who, broken=broken
        )

    def retire(
        self, name: str, environment: str = "production", *, who: str = ADA, broken: bool = False
    ) -> AttestationId:
        when = "2026-11-30T18:00:00Z"
        predicate = retirement(model=name, environment=environment, by="x", when=when, cluster="eu-1")
        return self.add(
            Statement.build([descriptor(name)], RETIREMENT, predicate).payload, who, broken=broken
        )

    def revoke(
        self,
        *,
        attestation: AttestationId | None = None,
        signer: RevokedSigner | None = None,
        artifact: str = "",
        when: str = WHEN,
        broken: bool = False,
    ) -> AttestationId:
        """Sign a revocation of one of these."""
        subject = (
            attestation_descriptor(attestation)
            if attestation
            else signer.descriptor
            if signer
            else descriptor(artifact)
        )
        predicate = revocation(
            reason="compromised",
            when=when,
            attestations=[attestation] if attestation else [],
            signers=[signer] if signer else [],
        )
        return self.add(Statement.build([subject], REVOCATION, predicate).payload, broken=broken)


def verifier_of(instance: Instance) -> Verifier:
    return Verifier.of(
        "test", sha256_hex(instance.trust_config().encode()), trust_of(instance.trust_config()), ()
    )


def index(
    database: Database, instance: Instance, *sources: Path | str, now: datetime = NOW
) -> list[SourceReport]:
    """Index sources, verified with the instance's trusted root."""
    indexer = FleetIndexer(database, verifier_of(instance), now)
    return [indexer.index(str(source)) for source in sources]

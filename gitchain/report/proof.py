"""What proves each attestation of a chain: certificate or key, log entry, timestamps, and where its bundle is stored.

Everything was verified before; this only reads the parts that a person compares.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from typing import Any

from gitchain.errors import GitchainError
from gitchain.evidence.bundle import Bundle, CertificateSigner
from gitchain.evidence.vocabulary import time_text
from gitchain.report.evidence import ChainStep, ModelEvidence
from gitchain.report.text import document_text
from gitchain.store.git_ref import DEFAULT_REF
from gitchain.store.tree_paths import ATTESTATIONS, content_path
from gitchain.verify.certificate import load_certificate
from gitchain.verify.report import Attestation
from gitchain.verify.verified import VerifiedStatement

MAX_ATTESTATIONS = 300
MAX_CLAIMS = 20


def attestations(evidence: ModelEvidence) -> Iterator[dict[str, Any]]:
    """Yield the attestations of all steps, each once for each of its signers, as in `report --json`."""
    for step in evidence.steps:
        signed = {(str(one.attestation_id), one.identity): one for one in step.signed}
        for one in step.reported.attestations:
            yield _attestation(evidence, step, one, signed.get((one.id, one.signer)))


def _attestation(
    evidence: ModelEvidence, step: ChainStep, one: Attestation, signed: VerifiedStatement | None
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": one.id,
        "step": document_text(step.name),
        "evidence": step.reported.evidence,
        "signer": {key: document_text(str(value)) for key, value in one.signer.to_json().items()},
        "time": one.to_json()["time"],
        "log": {"origin": document_text(one.origin), "index": one.index},
        "predicateType": document_text(signed.statement.predicate_type) if signed else None,
        "functionary": evidence.functionary(signed) if signed else None,
        "revoked": signed is not None and evidence.revoked(signed) is not None,
    }
    return found | ({"bundle": _bundle(signed)} if signed else {})


def _bundle(signed: VerifiedStatement) -> dict[str, Any]:
    """Return what the bundle holds to verify the statement, and its path in the store; less for a signed commit."""
    digest = sha256(signed.raw).hexdigest()
    found: dict[str, Any] = {
        "digest": {"sha256": digest},
        "stored": f"{DEFAULT_REF}:{'/'.join(content_path(ATTESTATIONS, digest))}",
        "claims": {
            document_text(key): document_text(value)
            for key, value in sorted(signed.claims.items())[:MAX_CLAIMS]
        },
    }
    with suppress(GitchainError):
        bundle = Bundle.parse(signed.raw)
        proof = bundle.entry.proof
        found["timestamps"] = len(bundle.timestamps)
        found["treeSize"] = proof.tree_size if proof else None
        found["certificate"] = (
            _certificate(bundle.signer.leaf) if isinstance(bundle.signer, CertificateSigner) else None
        )
    return found


def _certificate(raw: bytes) -> dict[str, Any]:
    certificate = load_certificate(raw)
    return {
        "issuer": document_text(certificate.issuer.rfc4514_string()),
        "serial": f"{certificate.serial_number:x}",
        "digest": {"sha256": sha256(raw).hexdigest()},
        "notBefore": time_text(certificate.not_valid_before_utc),
        "notAfter": time_text(certificate.not_valid_after_utc),
    }

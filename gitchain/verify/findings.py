"""Findings of a decision, with one code for each kind. docs/findings.md lists them.

A finding is data, not an exception: a decision has all of them. E codes are errors, W codes warnings.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from gitchain.evidence.canonical import Json


class FindingCode(StrEnum):
    """All codes. A code is never used for a second meaning."""

    NO_EVIDENCE = "GC-E0201"
    OTHER_CONTENT = "GC-E0202"
    NOT_SERVED = "GC-E0203"
    OTHER_NAME = "GC-E0204"
    UNACCEPTED = "GC-E0205"
    STEP_MISSING = "GC-E0301"
    PREDICATE_TYPE = "GC-E0302"
    UNAUTHORISED = "GC-E0303"
    TOO_WEAK = "GC-E0304"
    STALE = "GC-E0305"
    FUTURE = "GC-E0306"
    THRESHOLD = "GC-E0307"
    DISAGREE = "GC-E0308"
    OTHER_LAYOUT = "GC-E0309"
    MALFORMED_CLAIM = "GC-E0310"
    NOT_ALLOWED = "GC-E0311"
    MISMATCH = "GC-E0312"
    REQUIRED = "GC-E0313"
    MANIFEST = "GC-E0314"
    NOTHING_MATCHED = "GC-E0315"
    UNLINKED = "GC-E0316"
    OTHER_RUN = "GC-E0317"
    CONTRADICTION = "GC-E0318"
    NO_COMBINATION = "GC-E0319"
    DENIED = "GC-E0320"
    VERIFIER = "GC-E0321"
    NOT_PASSED = "GC-E0322"
    SUBLAYOUT = "GC-E0323"
    SUBLAYOUT_CHAIN = "GC-E0324"
    SUBLAYOUT_NESTING = "GC-E0325"
    SUMMARY_FIELD = "GC-E0326"
    SUMMARY_RESOURCE = "GC-E0327"
    SUMMARY_TIME = "GC-E0328"
    NOT_SELECTED = "GC-E0329"
    CONSTRAINT = "GC-E0330"
    CHAIN_CONSTRAINT = "GC-E0331"
    CONSTRAINT_ERROR = "GC-E0332"
    NO_FACTS = "GC-E0333"
    FACTS_REFUSED = "GC-E0334"
    SAME_RUN = "GC-E0335"
    OLD_STATEMENT = "GC-E0336"
    REVOKED_ATTESTATION = "GC-E0340"
    REVOKED_SIGNER = "GC-E0341"
    REVOKED_ARTIFACT = "GC-E0342"
    MALFORMED_REVOCATION = "GC-E0343"
    CLOSED = "GC-E0344"
    UNCOSIGNED = "GC-E0345"
    NOT_FRESH = "GC-E0346"
    INSPECTION = "GC-E0350"
    INSPECTED_NOTHING = "GC-E0351"
    NO_BYTES = "GC-E0352"
    SWAPPED = "GC-E0353"
    GIT_SIGNATURE = "GC-E0360"
    GIT_UNSIGNED = "GC-E0361"
    GIT_UNCHECKED = "GC-E0362"
    SAME_MD5 = "GC-W0401"


MEANINGS: dict[FindingCode, str] = {
    FindingCode.NO_EVIDENCE: "no attestation found for the target",
    FindingCode.OTHER_CONTENT: "the target's name is attested with other content",
    FindingCode.NOT_SERVED: "the target was made by a step whose products the layout does not serve",
    FindingCode.OTHER_NAME: "the target's content is attested under another name",
    FindingCode.UNACCEPTED: "the target is attested, but its attestations do not count",
    FindingCode.STEP_MISSING: "a step of the layout has no attestation",
    FindingCode.PREDICATE_TYPE: "an attestation of the step has another predicate type than the layout requires",
    FindingCode.UNAUTHORISED: "the signer is not a functionary of the step",
    FindingCode.TOO_WEAK: "the evidence is declared or has no strength, and the layout requires observed",
    FindingCode.STALE: "the attestation is older than the step's maxAge",
    FindingCode.FUTURE: "the attestation's proven time is in the future",
    FindingCode.THRESHOLD: "fewer distinct functionaries than the threshold signed for the step",
    FindingCode.DISAGREE: "enough functionaries signed, but not for the same materials and products",
    FindingCode.OTHER_LAYOUT: "the attestation was made for another layout",
    FindingCode.MALFORMED_CLAIM: "the attestation's step facts or artifact names are malformed",
    FindingCode.NOT_ALLOWED: "no rule of the step allows this artifact",
    FindingCode.MISMATCH: "an artifact differs from what the step that made it attested",
    FindingCode.REQUIRED: "an artifact that the layout requires is missing",
    FindingCode.MANIFEST: "a rule is about files of a directory whose manifest is missing",
    FindingCode.NOTHING_MATCHED: "no MATCH rule of the step finds any of its materials",
    FindingCode.UNLINKED: "no artifact links the step's evidence to the rest of the chain",
    FindingCode.OTHER_RUN: "the artifact is attested, but belongs to another run",
    FindingCode.CONTRADICTION: "an attestation contradicts its own directory manifest",
    FindingCode.NO_COMBINATION: "each step has evidence, but no combination of it passes",
    FindingCode.DENIED: "an authorised signer rejected an artifact of the chain",
    FindingCode.VERIFIER: "the verification summary is by another verifier than the layout names",
    FindingCode.NOT_PASSED: "the result of the verification summary is not PASSED",
    FindingCode.SUBLAYOUT: "the step has no signed sublayout, or an unusable one",
    FindingCode.SUBLAYOUT_CHAIN: "there is no complete chain under the step's sublayout",
    FindingCode.SUBLAYOUT_NESTING: "a sublayout contains itself, or sublayouts are nested too deep",
    FindingCode.SUMMARY_FIELD: "a field of the verification summary is missing or malformed",
    FindingCode.SUMMARY_RESOURCE: "the verification summary's resourceUri does not identify its subjects",
    FindingCode.SUMMARY_TIME: "the verification summary's timeVerified is missing, in the future, or older than maxAge",
    FindingCode.NOT_SELECTED: "the step does not select the attestation",
    FindingCode.CONSTRAINT: "an attestation does not satisfy a constraint of its step",
    FindingCode.CHAIN_CONSTRAINT: "the chain does not satisfy a constraint of the layout",
    FindingCode.CONSTRAINT_ERROR: "a constraint cannot be evaluated for this evidence, so it is not satisfied",
    FindingCode.NO_FACTS: "a data set of the chain has no facts by an authorised signer",
    FindingCode.FACTS_REFUSED: "the facts about a data set of the chain do not satisfy a data set constraint",
    FindingCode.SAME_RUN: "steps that the layout requires in one run are of different runs",
    FindingCode.OLD_STATEMENT: "only a step with select takes an in-toto Statement v0.1",
    FindingCode.REVOKED_ATTESTATION: "the attestation is revoked",
    FindingCode.REVOKED_SIGNER: "the attestation's signer is revoked from before its proven time on",
    FindingCode.REVOKED_ARTIFACT: "an artifact of the chain is revoked",
    FindingCode.MALFORMED_REVOCATION: "a revoker signed a revocation that cannot be read",
    FindingCode.CLOSED: "a directory's manifest is missing, and negative evidence may be about a file in it",
    FindingCode.UNCOSIGNED: "too few witnesses cosigned the log entry of the attestation by now",
    FindingCode.NOT_FRESH: "the newest signed checkpoint of the store is older than the layout allows, or there is none",
    FindingCode.INSPECTION: "an inspection found something wrong with the target's bytes",
    FindingCode.INSPECTED_NOTHING: "an inspection of the layout applies to no file of the target",
    FindingCode.NO_BYTES: "the layout requires an inspection, and the target's bytes are not on this machine",
    FindingCode.SWAPPED: "the target's bytes changed after they were hashed",
    FindingCode.GIT_SIGNATURE: "the signature of the commit or tag does not verify",
    FindingCode.GIT_UNSIGNED: "the commit or tag has no signature by a functionary for sources",
    FindingCode.GIT_UNCHECKED: "the signature of the commit or tag cannot be checked on this machine",
    FindingCode.SAME_MD5: "two contents share one MD5 digest",
}


ADVICE: dict[FindingCode, str] = {
    FindingCode.NO_EVIDENCE: "gitchain sync fetches attestations; gitchain run or gitchain attest makes them",
    FindingCode.OTHER_CONTENT: "restore the attested file (git checkout, dvc checkout), or run the step again",
    FindingCode.NOT_SERVED: "verify a product that the layout serves, or add this one to serve, raise the layout's "
    "version, then: "
    "gitchain layout sign",
    FindingCode.OTHER_NAME: "verify the file under its attested name, or copy it back to that name",
    FindingCode.UNACCEPTED: "read the findings of the step: they explain why its attestations do not count",
    FindingCode.STEP_MISSING: "gitchain run or gitchain attest the step, then gitchain sync",
    FindingCode.PREDICATE_TYPE: "attest the step with the predicate type that the layout names: gitchain attest STEP "
    "--type URI",
    FindingCode.UNAUTHORISED: "if this signer may do the step, add the identity to the layout, raise its version, then: "
    "gitchain layout sign",
    FindingCode.TOO_WEAK: "run the step again under gitchain run",
    FindingCode.STALE: "run the step again",
    FindingCode.FUTURE: "check the clock of this machine: gitchain doctor",
    FindingCode.THRESHOLD: "another functionary of the step attests the same files: gitchain attest STEP -m MATERIAL -p "
    "PRODUCT, "
    "then gitchain sync",
    FindingCode.DISAGREE: "compare the attestations (gitchain log TARGET, gitchain show ID), then attest the same files",
    FindingCode.OTHER_LAYOUT: "set layout in .gitchain/config.toml to this layout's name, and attest the step again",
    FindingCode.MALFORMED_CLAIM: "attest the step again with gitchain, or correct the tool that made the attestation",
    FindingCode.NOT_ALLOWED: "run the step without this file, or add a rule to the layout, raise its version, then: "
    "gitchain layout sign",
    FindingCode.MISMATCH: "restore the attested file, or run the later steps again: gitchain run -- dvc repro",
    FindingCode.REQUIRED: "run the step again with this file",
    FindingCode.MANIFEST: "fetch the manifests: gitchain sync",
    FindingCode.NOTHING_MATCHED: "run the step again on the artifacts that its MATCH rules name",
    FindingCode.UNLINKED: "add a MATCH rule that finds a product of another step among this step's materials",
    FindingCode.OTHER_RUN: "run the step again on the products of this chain's steps",
    FindingCode.CONTRADICTION: "check the machine that signed the attestation, then attest the directory again",
    FindingCode.NO_COMBINATION: "run the steps again in order: gitchain run -- dvc repro --force",
    FindingCode.DENIED: "a newer attestation by the same signer replaces the rejection; a revoker can revoke it",
    FindingCode.VERIFIER: "get the summary of the verifier that the layout names",
    FindingCode.NOT_PASSED: "get the findings from the verifier, correct what they name, and verify there again",
    FindingCode.SUBLAYOUT: "get the newest signed layout and its attestations from its owner, then: gitchain sync",
    FindingCode.SUBLAYOUT_CHAIN: "read the other findings: they name the step of that layout that has no evidence",
    FindingCode.SUBLAYOUT_NESTING: "the owners of the layouts must remove the sublayout that leads back or too deep",
    FindingCode.SUMMARY_FIELD: "get a summary with every field of SLSA's format from the verifier (docs/layout.md)",
    FindingCode.SUMMARY_RESOURCE: "get a summary of this artifact from the verifier, or set resource of the step in the "
    "layout",
    FindingCode.SUMMARY_TIME: "get a newer summary from the verifier; if its time is in the future, check both clocks",
    FindingCode.NOT_SELECTED: "compare the attestation (gitchain show ID) with select.where and select.as of the step",
    FindingCode.CONSTRAINT: "do the step again so that the expression holds",
    FindingCode.CHAIN_CONSTRAINT: "do the steps again so that the expression holds for every attestation",
    FindingCode.CONSTRAINT_ERROR: "test for a field before reading it, with has() (docs/constraints.md)",
    FindingCode.NO_FACTS: "a functionary of datasets states the facts: gitchain attest dataset --type URI --predicate "
    "FILE -m FILE",
    FindingCode.FACTS_REFUSED: "train without that data set; if the facts are wrong, revoke them and state the right ones",
    FindingCode.SAME_RUN: "run these steps together: gitchain run -- dvc repro",
    FindingCode.OLD_STATEMENT: "attest the step with gitchain run or gitchain attest",
    FindingCode.REVOKED_ATTESTATION: "attest again what still holds; gitchain log shows the revocation and its reason",
    FindingCode.REVOKED_SIGNER: "another functionary runs or attests the step",
    FindingCode.REVOKED_ARTIFACT: "do not use the model; replace the artifact, then run the steps that used it again",
    FindingCode.MALFORMED_REVOCATION: "use a newer gitchain, or revoke that attestation: gitchain revoke attestation ID",
    FindingCode.CLOSED: "fetch the manifests: gitchain sync",
    FindingCode.UNCOSIGNED: "wait for the witnesses, then attest again",
    FindingCode.NOT_FRESH: "gitchain sync   by a functionary signs a checkpoint; on other machines it fetches the newest",
    FindingCode.INSPECTION: "save the model in a form that passes (docs/inspections.md), or change the inspection in the "
    "layout, "
    "raise its version, then: gitchain layout sign",
    FindingCode.INSPECTED_NOTHING: "verify the target under its attested name, or correct the patterns of the inspection",
    FindingCode.NO_BYTES: "verify the file itself: gitchain verify PATH",
    FindingCode.SWAPPED: "verify again when nothing writes to the file",
    FindingCode.GIT_SIGNATURE: "do not use it; fetch it again from a remote that you trust",
    FindingCode.GIT_UNSIGNED: "sign it: git tag -s, or git commit --amend -S",
    FindingCode.GIT_UNCHECKED: "install GnuPG, and verify again",
    FindingCode.SAME_MD5: "use neither file until you know how both came to have this MD5",
}
"""What to do about a code, for a finding without its own help."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: the problem, its step and artifact, expected, got, and advice."""

    code: FindingCode
    message: str
    step: str = ""
    artifact: str = ""
    expected: str = ""
    got: str = ""
    help: str = ""

    @property
    def severity(self) -> str:
        """Return "error" or "warning"."""
        return "error" if self.code.startswith("GC-E") else "warning"

    @property
    def advice(self) -> str:
        """Return the advice: the finding's own help, or that of its code."""
        return self.help or ADVICE[self.code]

    def to_json(self) -> dict[str, Json]:
        """Return the finding as in `verify --json`; absent fields are null."""
        return {
            "code": self.code.value,
            "severity": self.severity,
            "step": self.step or None,
            "artifact": self.artifact or None,
            "expected": self.expected or None,
            "got": self.got or None,
            "message": self.message,
            "help": self.advice,
        }

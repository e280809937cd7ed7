"""The sentences and words of a report: what the verdict is about, what the trust proves, and the three marks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitchain.report.text import shown

MARKS = {
    "proven": "verified by signatures, the log and digests",
    "claimed": "stated by a signer, not verified",
    "missing": "no statement counts for it, or the layout does not require it",
}

CHECKS = {
    "signature": "signature of the layout",
    "expiry": "expiry of the layout",
    "edge": "artifacts that connect two steps",
    "demand": "constraints across steps",
    "rule": "artifact rules",
    "serve": "the layout serves the target",
    "chain": "complete chain",
    "fault": "statements against the model",
    "strength": "strength of the evidence",
    "functionary": "signer is a functionary",
    "threshold": "number of signers",
    "age": "age of the evidence",
    "inspection": "inspection of the model's bytes",
}
"""Names of checks for readers; the others have their own."""

PUBLIC = {"public", "public-v2"}
NAME = 80


def sentence(document: Mapping[str, Any]) -> str:
    """Return what the verdict states, and about what."""
    counts, layout = document["checkCounts"], document["layout"]
    made, passed = (sum(one[key] for one in counts) for key in ("made", "passed"))
    proven = sum(one["passed"] for one in counts if one["basis"] == "proven")
    policy = f"layout {shown(layout['name'], NAME)} version {layout['version']}"
    subject = _models(document)
    if document["verificationResult"] == "PASSED":
        steps, signers = document["stepsTotal"], document["peopleTotal"]
        chain = "one chain" if document["modelsTotal"] == 1 else "a chain for each"
        return (
            f"{subject} satisfies {policy}. Evidence of {steps} step{_s(steps)} by {signers} signer{_s(signers)} forms "
            f"{chain}. {passed} checks passed: {proven} are proven by signatures, the log and digests; "
            f"{passed - proven} compare what signers claim."
        )
    errors = sum(one["severity"] == "error" for one in document["findings"])
    rest = "What follows are statements of functionaries that digests connect to it; the layout rejects them together."
    if not document["attestations"]:
        rest = "No statement of a functionary is connected with it by digests: most of the page is empty."
    checks = f"{made - passed} of {made} checks failed."
    return f"{subject} does not satisfy {policy}: {errors} finding{_s(errors)} below. {checks} {rest}"


def trust_sentence(trust: Mapping[str, Any]) -> str:
    """Return what the signatures prove under the trust profile, by its name."""
    name = shown(trust["name"], NAME)
    if trust["local"]:
        return (
            f"Trust profile {name}: an embedded instance. It proves only that the holder of one machine's keys signed. "
            "Its log is not the public Sigstore log, and its identities were not checked by an identity provider."
        )
    if trust["name"] in PUBLIC:
        return (
            f"Trust profile {name}: the public-good Sigstore instance issued each certificate for a token of that identity, "
            "and its public log has each entry."
        )
    return f"Trust profile {name}: a private Sigstore instance. Its operator vouches for identities and log."


def _models(document: Mapping[str, Any]) -> str:
    first, total = document["models"][0], document["modelsTotal"]
    name = shown(first["name"] or document["target"], NAME)
    more = f" and {total - 1} more artifact{_s(total - 1)}" if total > 1 else ""
    kind = "directory " if first["directory"] else ""
    return f"{name} ({kind}sha256:{first['digest']['sha256'][:12]}){more}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"

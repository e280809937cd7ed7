"""What changed since the previous version of the model: the groups of `gitchain diff`, from its statements to this one's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gitchain.consume.diff import changes_between
from gitchain.consume.diff_sides import side_of
from gitchain.consume.targets import GivenTarget
from gitchain.errors import NoEvidenceError
from gitchain.report.evidence import ModelEvidence
from gitchain.report.values import NOT_INSPECTED

SINCE = ("name", "digest", "made", "tags", "verificationResult")

MAX_CHANGES = 50
"""Most changes of one group; `gitchain diff` has more."""


def changes(evidence: ModelEvidence, versions: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the changes since the version before the target's only model that has a complete chain; None without one.

    The previous version is verified by its attested digest.
    """
    listed = versions["listed"]
    places = [place for place, one in enumerate(listed) if one["current"]]
    if len(evidence.models) != 1 or len(places) != 1 or not evidence.side.passed:
        return None
    current = listed[places[0]]
    earlier = (
        one
        for one in reversed(listed[: places[0]])
        if one["name"] == current["name"] and one["verificationResult"] in {"PASSED", NOT_INSPECTED}
    )
    if (previous := next(earlier, None)) is None:
        return None
    try:
        before = side_of(evidence.verifier, GivenTarget.parse(f"sha256:{previous['digest']['sha256']}"))
    except NoEvidenceError:
        return None
    groups = {
        name: group.to_json()
        for name, group in changes_between(evidence.verifier, before, evidence.side).items()
    }
    for group in groups.values():
        group["complete"] = group["complete"] and len(group["changes"]) <= MAX_CHANGES
        group["changes"] = group["changes"][:MAX_CHANGES]
    return {"since": {key: previous[key] for key in SINCE}, "groups": groups}

"""Models that a layout serves, found by their attestations: verdict, tags, stages and deployments of each version.

The verdict is about the attested digest: no file is read. Tags, stages and deployments are what their signers claim:
tags and stages of functionaries of the layout, deployments of any signer. Stages are tags as GTO names them:
`MODEL#STAGE` or `MODEL#STAGE#N` assigns one, `MODEL#STAGE!#N` takes it away (https://github.com/iterative/gto).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote

from gitchain.consume.inspections import inspected
from gitchain.consume.placements import placement_json
from gitchain.consume.verifier import Verifier
from gitchain.errors import NoEvidenceError
from gitchain.evidence.canonical import Json
from gitchain.evidence.digest import Sha256
from gitchain.evidence.vocabulary import DEPLOYMENT, RELEASE, RETIREMENT
from gitchain.layout.model import Layout
from gitchain.sources.bundles import claim_in
from gitchain.verify.decide import Decision, Target
from gitchain.verify.target import is_served
from gitchain.verify.verified import VerifiedStatement, is_early

MAX_MODELS = 1000
STAGE_TAG = re.compile(r"(?P<stage>[^#!]+#[^#!]+)(?P<ended>!)?(#(?P<number>\d{1,9}))?", re.ASCII)
PLACE = ("environment", "cluster", "namespace", "workload", "uid")


@dataclass(frozen=True, slots=True)
class Placement:
    """A deployment without a retirement: its place, its signer, if that is a functionary of the layout, and the time."""

    place: Mapping[str, str]
    signer: str
    is_by_functionary: bool
    time: datetime

    def to_json(self) -> dict[str, Json]:
        """Return it as in `models --json`."""
        signer: dict[str, Json] = {"signer": self.signer, "functionary": self.is_by_functionary}
        return {**self.place, **signer, "time": self.time.isoformat()}


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version of a model: a served product with the newest statement that made it."""

    name: str
    made: VerifiedStatement
    decision: Decision
    tags: tuple[str, ...]
    stages: tuple[str, ...]
    placements: tuple[Placement, ...]

    def to_json(self) -> dict[str, Json]:
        """Return it as in `models --json`."""
        return {
            "name": self.name,
            "digest": {"sha256": self.decision.target.sha256},
            "step": claim_in(self.made.statement).step,
            "made": self.made.time.isoformat(),
            "signer": self.made.identity.subject,
            "verificationResult": self.decision.result,
            "findings": tuple(dict.fromkeys(str(one.code) for one in self.decision.findings)),
            "tags": self.tags,
            "stages": self.stages,
            "deployments": tuple(one.to_json() for one in self.placements),
        }


@dataclass(frozen=True, slots=True)
class ModelVersions:
    """The newest versions first, the number of older ones, and of versions that no functionary of the step signed."""

    newest: tuple[ModelVersion, ...]
    older: int
    strange: int


def model_versions(verifier: Verifier, names: Sequence[str], last: int) -> ModelVersions:
    """Return the `last` newest versions of the served models with these names, of all served models without names.

    A version is listed if a functionary of its step signed it. Raises NoEvidenceError if there is none.
    """
    layout = verifier.accepted.signed.layout
    made, strange = dict[tuple[str, Sha256], VerifiedStatement](), set[tuple[str, Sha256]]()
    for statement in _of(verifier, verifier.evidence.of_steps({entry.step for entry in layout.serve})):
        is_signed = _is_signed_by_functionary(layout, statement)
        for key in _served(layout, statement):
            if names and key[0] not in names:
                continue
            if is_signed:
                made[key] = statement
            else:
                strange.add(key)
    if not made:
        raise NoEvidenceError(
            "no attested model is served by the layout",
            where=f"layout {layout.name}",
            expected=", ".join(names) or ", ".join(name for entry in layout.serve for name in entry.products),
            got=f"{len(strange)} that no functionary of their step signed" if strange else "",
            help="gitchain log   shows what is attested",
        )
    ordered = sorted(made.items(), key=lambda item: (item[1].time, item[1].log.index, item[0]), reverse=True)
    every = tuple(one.name for one in layout.functionaries)
    released = _of(verifier, verifier.evidence.of_type(RELEASE))
    releases = Releases.of(one for one in released if _is_by(layout, every, one))
    newest = tuple(_version(verifier, name, sha256, one, releases) for (name, sha256), one in ordered[:last])
    return ModelVersions(newest, len(ordered) - len(newest), len(strange - made.keys()))


def _version(
    verifier: Verifier, name: str, sha256: Sha256, made: VerifiedStatement, releases: Releases
) -> ModelVersion:
    decision = inspected(verifier.decide(Target(sha256, name, directory=None)), None, None)
    about = _of(verifier, verifier.evidence.verified(verifier.evidence.about(sha256)))
    tags, stages = releases.tags.get(sha256, ()), releases.stages.get(sha256, ())
    placements = tuple(_placements(verifier.accepted.signed.layout, about))
    return ModelVersion(name, made, decision, tuple(tags), tuple(stages), placements)


def _of(verifier: Verifier, statements: Iterable[VerifiedStatement]) -> list[VerifiedStatement]:
    """Return the statements in the order of their proven times, without those from the future."""
    return sorted(
        (one for one in statements if not is_early(one, verifier.now)),
        key=lambda one: (one.time, one.log.index),
    )


def _served(layout: Layout, statement: VerifiedStatement) -> Iterator[tuple[str, Sha256]]:
    claim = claim_in(statement.statement)
    for item in claim.products:
        name, sha256 = item.rule_name, item.digest.sha256
        if claim.step and name and sha256 and is_served(layout, claim.step, name):
            yield name, sha256


def _is_signed_by_functionary(layout: Layout, statement: VerifiedStatement) -> bool:
    """Return True if a functionary of the step signed; a supplier's step has the functionaries of another layout."""
    step = layout.step(str(claim_in(statement.statement).step))
    if step.sublayout or step.verifier:
        return True
    return _is_by(layout, step.functionaries, statement)


def _is_by(layout: Layout, functionaries: Iterable[str], statement: VerifiedStatement) -> bool:
    members = (member for name in functionaries for member in layout.functionary(name).identities)
    return any(member.matches(statement.identity, statement.claims) for member in members)


@dataclass(frozen=True, slots=True)
class Releases:
    """Tags and stages by the digest of an artifact that their commits pin."""

    tags: Mapping[Sha256, Sequence[str]]
    stages: Mapping[Sha256, Sequence[str]]

    @classmethod
    def of(cls, statements: Iterable[VerifiedStatement]) -> Releases:
        """Return those of release statements, the oldest first.

        A stage is where the tag with the highest number assigned it, among equal numbers the newest.
        """
        tags = dict[Sha256, dict[str, None]]()
        holders = dict[str, tuple[int, set[Sha256]]]()
        for statement in statements:
            tag = _tag(statement)
            digests = {one.digest["sha256"] for one in statement.statement.subject if one.digest.sha256}
            if (match := STAGE_TAG.fullmatch(tag)) is not None:
                number = int(match["number"] or 0)
                if number >= holders.get(match["stage"], (0, digests))[0]:
                    holders[match["stage"]] = number, set() if match["ended"] else digests
            elif tag:
                for digest in digests:
                    tags.setdefault(digest, {})[tag] = None
        stages = dict[Sha256, list[str]]()
        for stage, (_, digests) in sorted(holders.items()):
            for digest in digests:
                stages.setdefault(digest, []).append(stage)
        return cls({digest: tuple(found) for digest, found in tags.items()}, stages)


def _tag(statement: VerifiedStatement) -> str:
    """Return the tag of a release: the version in its package URL."""
    purl = statement.statement.predicate.get("purl")
    return unquote(purl.rpartition("@")[2]) if isinstance(purl, str) and "@" in purl else ""


def _placements(layout: Layout, statements: Iterable[VerifiedStatement]) -> Iterator[Placement]:
    """Yield the deployments without a later retirement by the same signer."""
    every = tuple(one.name for one in layout.functionaries)
    found = dict[tuple[object, ...], Placement]()
    for statement in statements:
        kind = statement.statement.predicate_type
        if kind not in {DEPLOYMENT, RETIREMENT}:
            continue
        (fields,) = (placement_json(statement.statement) or {}).values()
        place = {part: fields[part] for part in PLACE if part in fields}
        key = (statement.identity, *place.items())
        if kind == DEPLOYMENT:
            is_by_functionary = _is_by(layout, every, statement)
            found[key] = Placement(place, statement.identity.subject, is_by_functionary, statement.time)
        else:
            found.pop(key, None)
    yield from found.values()

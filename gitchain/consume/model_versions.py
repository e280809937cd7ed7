"""Models that a layout serves, found by their attestations: verdict, tags, stages and deployments of each version.

The verdict is about the attested digest: no file is read. Tags, stages and deployments are what functionaries of the
layout claim in statements that are not revoked; those of other signers are counted. Stages are tags as GTO names them:
`MODEL#STAGE` or `MODEL#STAGE#N` assigns one, `MODEL#STAGE!#N` takes it away (https://github.com/iterative/gto).
"""

from __future__ import annotations

import posixpath
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
from gitchain.evidence.predicates import REVOCATION
from gitchain.evidence.vocabulary import DEPLOYMENT, RELEASE, RETIREMENT
from gitchain.layout.model import Layout
from gitchain.sources.bundle_facts import claim_in
from gitchain.verify.authorization import Signers
from gitchain.verify.decide import Decision, Target
from gitchain.verify.revocations import Revocations
from gitchain.verify.target import is_served
from gitchain.verify.verified import VerifiedStatement, is_early

MAX_SUPPLIED = 200  # versions of a step with a sublayout that are verified to find those that pass
MAX_PLACEMENTS = 100
MAX_TAGS = 100
MAX_FIELD = 200  # characters of a place or tag; more are cut
STAGE_TAG = re.compile(r"(?P<stage>[^#!]+#[^#!]+)(?P<ended>!)?(#(?P<number>\d{1,9}))?", re.ASCII)
PLACE = ("environment", "cluster", "namespace", "workload", "uid")


@dataclass(frozen=True, slots=True)
class Placement:
    """A deployment without a retirement: its place, its signer and the time."""

    place: Mapping[str, str]
    signer: str
    time: datetime

    def to_json(self) -> dict[str, Json]:
        """Return it as in `models --json`."""
        return {**self.place, "signer": self.signer, "time": self.time.isoformat()}


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version of a model: a served product with the newest statement that made it.

    `placements` are by functionaries, `others` is the number of deployments that other signers claim.
    """

    name: str
    made: VerifiedStatement
    decision: Decision
    tags: tuple[str, ...]
    stages: tuple[str, ...]
    placements: tuple[Placement, ...]
    others: int

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
            "tags": self.tags[:MAX_TAGS],
            "stages": self.stages[:MAX_TAGS],
            "deployments": tuple(one.to_json() for one in self.placements[:MAX_PLACEMENTS]),
            "deploymentCount": len(self.placements),
            "deploymentsByOthers": self.others,
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
    return _Lister(verifier).versions({posixpath.normpath(name) for name in names}, last)


Key = tuple[str, Sha256]
"""Name and digest of a model."""


class _Lister:
    """Lists the models of one layout; everything is read once."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier
        self._layout = verifier.accepted.signed.layout
        self._signers = Signers(self._layout)
        self._every = tuple(one.name for one in self._layout.functionaries)
        negative = verifier.evidence.of_type(REVOCATION)
        self._revocations = Revocations.of(self._layout, negative, verifier.now)

    def versions(self, names: set[str], last: int) -> ModelVersions:
        """Return the versions, as `model_versions`."""
        steps = {entry.step for entry in self._layout.serve}
        made, strange, served = dict[Key, VerifiedStatement](), set[Key](), set[str]()
        supplied = dict[Key, VerifiedStatement]()
        for statement in self._in_order(self._verifier.evidence.of_steps(steps)):
            step = claim_in(statement.statement).step or ""
            by_functionary = self._is_by(statement, self._layout.step(step).functionaries)
            for key in _served(self._layout, statement):
                served.add(key[0])
                if names and key[0] not in names:
                    continue
                if self._layout.step(step).sublayout is not None:
                    supplied[key] = statement
                elif by_functionary:
                    made[key] = statement
                else:
                    strange.add(key)
        for key, statement in list(supplied.items())[-MAX_SUPPLIED:]:
            if self._decision(key).passed:
                made[key] = statement
        strange |= supplied.keys()
        if not made:
            raise self._nothing(names, served, len(strange))
        ordered = sorted(
            made.items(), key=lambda item: (item[1].time, item[1].log.index, item[0]), reverse=True
        )
        released = self._in_order(self._verifier.evidence.of_type(RELEASE))
        releases = Releases.of(
            one for one in released if not one.statement.is_old and self._is_by(one, self._every)
        )
        newest = tuple(self._version(key, statement, releases) for key, statement in ordered[:last])
        return ModelVersions(newest, len(ordered) - len(newest), len(strange - made.keys()))

    def _nothing(self, names: set[str], served: set[str], strange: int) -> NoEvidenceError:
        patterns = [name for entry in self._layout.serve for name in entry.products]
        got = (
            f"{strange} that no functionary of their step signed"
            if strange
            else ", ".join(sorted(served)[:10])
        )
        return NoEvidenceError(
            "no version of a model that the layout serves is attested",
            where=f"layout {self._layout.name}",
            expected=", ".join(sorted(names) or patterns),
            got=got,
            help="gitchain log   shows what is attested",
        )

    def _in_order(self, statements: Iterable[VerifiedStatement]) -> list[VerifiedStatement]:
        """Return the statements in the order of the log, without those from the future and revoked ones."""
        return sorted(
            (
                one
                for one in statements
                if not is_early(one, self._verifier.now) and not self._is_revoked(one)
            ),
            key=lambda one: (one.time, one.log.index),
        )

    def _is_revoked(self, one: VerifiedStatement) -> bool:
        by_id, by_signer = self._revocations.attestation(one.attestation_id), self._revocations.signer
        return by_id is not None or by_signer(one.identity, one.time) is not None

    def _is_by(self, statement: VerifiedStatement, functionaries: Sequence[str]) -> bool:
        return self._signers.functionary(statement, functionaries) is not None

    def _decision(self, key: Key) -> Decision:
        name, sha256 = key
        return inspected(self._verifier.decide(Target(sha256, name, directory=None)), None, None)

    def _version(self, key: Key, made: VerifiedStatement, releases: Releases) -> ModelVersion:
        name, sha256 = key
        evidence = self._verifier.evidence
        about = self._in_order(evidence.verified(evidence.about(sha256)))
        own = [one for one in about if self._is_by(one, self._every)]
        others = sum(1 for _ in open_placements(one for one in about if not self._is_by(one, self._every)))
        tags, stages = releases.tags.get(sha256, ()), releases.stages.get(sha256, ())
        placements = tuple(open_placements(own))
        return ModelVersion(name, made, self._decision(key), tuple(tags), tuple(stages), placements, others)


def _served(layout: Layout, statement: VerifiedStatement) -> Iterator[Key]:
    """Yield the served products of a statement of the right type for its step and for this layout."""
    claim = claim_in(statement.statement)
    step = layout.step(claim.step or "")
    is_own = claim.layout in {None, layout.name} and statement.statement.predicate_type == step.predicate_type
    if statement.statement.is_old:
        return  # evidence for no step that makes the model
    if step.sublayout is None and not is_own:
        return
    for item in claim.products:
        name, sha256 = item.rule_name, item.digest.sha256
        if name and sha256 and is_served(layout, step.name, name):
            yield name, sha256


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
    """Return the tag of a release: the version in its package URL (https://github.com/package-url/purl-spec)."""
    purl = statement.statement.predicate.get("purl")
    if not isinstance(purl, str) or "@" not in purl:
        return ""
    return _cut(unquote(re.split("[?#]", purl.rpartition("@")[2])[0]))


def open_placements(statements: Iterable[VerifiedStatement]) -> Iterator[Placement]:
    """Yield the deployments without a later retirement by the same signer, the newest first."""
    found = dict[tuple[object, ...], Placement]()
    for statement in statements:
        kind = statement.statement.predicate_type
        if kind not in {DEPLOYMENT, RETIREMENT}:
            continue
        (fields,) = (placement_json(statement.statement) or {}).values()
        place = {part: fields[part] for part in PLACE if part in fields}
        key = (statement.identity, *place.items())
        found.pop(key, None)
        if kind == DEPLOYMENT:
            shown = {part: _cut(value) for part, value in place.items()}
            found[key] = Placement(shown, statement.identity.subject, statement.time)
    yield from reversed(found.values())


def _cut(text: str) -> str:
    return text if len(text) <= MAX_FIELD else f"{text[:MAX_FIELD]}…"

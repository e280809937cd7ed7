"""Apply artifact rules to the evidence of one step as in-toto does; MATCH is the in-toto package's own function.

The queue is in-toto's (specification 4.3.3.1): it starts with every artifact of the list, each rule consumes
some, DISALLOW refuses remaining matches, REQUIRE refuses if its name is not in the queue. Artifacts that are left at
the end are allowed. In addition to in-toto, all refusals are collected instead of the first, refusals state what a MATCH
rule expected, and names inside directories are resolved (`gitchain.layout.artifact`).

Refusals are returned, not raised. Does NOT use signers.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from gitchain.layout.artifact import Artifact, Artifacts, Link, Manifests, lookup
from gitchain.layout.rule import ArtifactList, ArtifactRule, Keyword, MatchTarget, literal_prefix

Reason: TypeAlias = Literal["disallowed", "required", "closed", "conflict"]
"""closed: a rule reaches into a directory whose manifest is missing; conflict: manifest and list disagree."""

Sources: TypeAlias = Mapping[str, Sequence[Link]]
"""The evidence of the steps that MATCH may name. With several links for one step, MATCH consumes what any of
them has: then a DISALLOW refuses only artifacts that fail for every choice among the links."""

_COMPARING = frozenset({Keyword.CREATE, Keyword.DELETE, Keyword.MODIFY})


@dataclass(frozen=True, slots=True)
class NearMiss:
    """A MATCH rule that covers a refused artifact, and the artifact at its destination."""

    step: str
    side: ArtifactList
    name: str
    expected: Artifact | None


@dataclass(frozen=True, slots=True)
class RefusedArtifact:
    """One artifact that one rule refused; `near` has what each MATCH rule for it expected."""

    side: ArtifactList
    rule: ArtifactRule
    artifact: str
    got: Artifact | None
    reason: Reason
    near: tuple[NearMiss, ...] = ()


@dataclass(frozen=True, slots=True)
class MatchedArtifact:
    """One artifact that a MATCH rule consumed: an edge between two steps, equal by digest."""

    side: ArtifactList
    artifact: str
    step: str


@dataclass(frozen=True, slots=True)
class AppliedRule:
    """The artifacts that one rule consumed and refused."""

    side: ArtifactList
    rule: ArtifactRule
    consumed: tuple[str, ...]
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RulesResult:
    """Result of the rules of one list: passed if `refusals` is empty. `applied` is for explanations."""

    refusals: tuple[RefusedArtifact, ...] = ()
    matches: tuple[MatchedArtifact, ...] = ()
    applied: tuple[AppliedRule, ...] = ()


def apply_rules(
    rules: Sequence[ArtifactRule],
    side: ArtifactList,
    link: Link,
    sources: Sources,
    manifests: Manifests,
    *,
    explain: bool = True,
) -> RulesResult:
    """Apply the rules to one list of a step's evidence, given the evidence of the steps that they name.

    A step without evidence is an empty MATCH destination. Without `explain`, refusals have no `near` and `applied`
    is empty. Spec: in-toto 4.3.3.1.
    """
    link, closed = _opened(rules, link, side, manifests)
    artifacts = _side(link, side)
    queue, refusals, matches = set(artifacts), list(closed), list[MatchedArtifact]()
    applied: list[AppliedRule] = []
    for rule in rules:
        refused = _refused(rule, queue)
        for name, reason in refused:
            near = tuple(_near(rules, name, sources, manifests)) if explain and reason == "disallowed" else ()
            refusals.append(RefusedArtifact(side, rule, name, artifacts.get(name), reason, near))
        if rule.match:
            consumed = _matched(rule, rule.match, queue, artifacts, sources, manifests)
            matches += [MatchedArtifact(side, name, rule.match.step) for name in sorted(consumed)]
        else:
            consumed = _consumed(rule, queue, link)
        queue -= consumed
        if explain:
            unopened = [one.artifact for one in closed if one.rule is rule]
            names = (*unopened, *(name for name, _ in refused))
            applied.append(AppliedRule(side, rule, tuple(sorted(consumed)), names))
    return RulesResult(tuple(refusals), tuple(matches), tuple(applied))


def _refused(rule: ArtifactRule, queue: set[str]) -> Sequence[tuple[str, Reason]]:
    """Return the artifacts that DISALLOW or REQUIRE refuses."""
    if rule.keyword is Keyword.DISALLOW:
        return [(name, "disallowed") for name in sorted(queue) if fnmatch.fnmatchcase(name, rule.pattern)]
    if rule.keyword is Keyword.REQUIRE and rule.pattern not in queue:
        return [(rule.pattern, "required")]
    return ()


def _side(link: Link, side: ArtifactList) -> Artifacts:
    return link.materials if side is ArtifactList.MATERIALS else link.products


def _consumed(rule: ArtifactRule, queue: set[str], link: Link) -> set[str]:
    """Return the artifacts that CREATE, DELETE, MODIFY or ALLOW consumes; DISALLOW and REQUIRE consume nothing."""
    covered = set(fnmatch.filter(queue, rule.pattern))
    materials, products = link.materials, link.products
    if rule.keyword is Keyword.CREATE:
        return covered & (products.keys() - materials.keys())
    if rule.keyword is Keyword.DELETE:
        return covered & (materials.keys() - products.keys())
    if rule.keyword is Keyword.MODIFY:
        both = covered & materials.keys() & products.keys()
        return {name for name in both if materials[name] != products[name]}
    return covered if rule.keyword is Keyword.ALLOW else set()


def _matched(
    rule: ArtifactRule,
    target: MatchTarget,
    queue: set[str],
    artifacts: Artifacts,
    sources: Sources,
    manifests: Manifests,
) -> set[str]:
    """Return the artifacts that a MATCH rule consumes. in-toto's rule function is imported only for MATCH rules."""
    from in_toto.verifylib import verify_match_rule

    found: set[str] = set()
    data = {
        "pattern": rule.pattern,
        "source_prefix": target.source_prefix,
        "dest_prefix": target.prefix,
        "dest_type": target.side.value,
        "dest_name": target.step,
    }
    for link in sources.get(target.step, ()):
        seen = _DirectoryArtifacts(_side(link, target.side), manifests)
        found |= verify_match_rule(data, queue, artifacts, {target.step: _Destination(seen, seen)})
    return found


class _DirectoryArtifacts:
    """A list of artifacts that resolves names inside of directories through their manifests."""

    __slots__ = ("_artifacts", "_manifests")

    def __init__(self, artifacts: Artifacts, manifests: Manifests) -> None:
        self._artifacts, self._manifests = artifacts, manifests

    def __getitem__(self, name: str) -> Artifact:
        found = lookup(self._artifacts, name, self._manifests)
        if found is None:
            raise KeyError(name)
        return found


@dataclass(frozen=True, slots=True)
class _Destination:
    materials: _DirectoryArtifacts
    products: _DirectoryArtifacts


def _opened(
    rules: Sequence[ArtifactRule], link: Link, side: ArtifactList, manifests: Manifests
) -> tuple[Link, Sequence[RefusedArtifact]]:
    """Return the step's evidence, with directories replaced by their files if these rules name files inside.

    CREATE, DELETE and MODIFY compare both lists, so both are opened then.
    """
    inside = {rule.full_pattern: rule for rule in rules if "/" in rule.full_pattern}
    both = any(rule.keyword in _COMPARING for rule in rules)
    lists = {each: _side(link, each) for each in ArtifactList}
    refusals: list[RefusedArtifact] = []
    for each, artifacts in lists.items():
        if inside and (both or each is side) and any(item.directory for item in artifacts.values()):
            lists[each], found = _open_list(inside, each, artifacts, manifests)
            refusals += found
    return Link(lists[ArtifactList.MATERIALS], lists[ArtifactList.PRODUCTS]), refusals


def _open_list(
    inside: Mapping[str, ArtifactRule], side: ArtifactList, artifacts: Artifacts, manifests: Manifests
) -> tuple[Artifacts, Sequence[RefusedArtifact]]:
    opened: dict[str, Artifact] = {}
    refusals: list[RefusedArtifact] = []
    for name, artifact in artifacts.items():
        reaching = artifact.directory and next(
            (rule for full, rule in inside.items() if _reaches(rule, full, name)), None
        )
        whole: Artifacts = {name: artifact}
        if reaching:
            files = manifests.files(artifact)
            if files is None:
                refusals.append(RefusedArtifact(side, reaching, name, artifact, "closed"))
            else:
                whole = {f"{name}/{path}": file for path, file in files.items()}
        for path, found in whole.items():
            known = opened.setdefault(path, found)
            if known is not found and known != found:
                refusals.append(RefusedArtifact(side, next(iter(inside.values())), path, found, "conflict"))
    return opened, refusals


def _reaches(rule: ArtifactRule, full: str, directory: str) -> bool:
    literal = full if rule.keyword is Keyword.REQUIRE else literal_prefix(full)
    return literal.startswith(f"{directory}/")


def _near(
    rules: Sequence[ArtifactRule], name: str, sources: Sources, manifests: Manifests
) -> Iterator[NearMiss]:
    """Yield the artifact that each MATCH rule for a refused artifact found at its destination."""
    for rule in rules:
        dest = match_name(rule, name)
        if rule.match is None or dest is None:
            continue
        links = sources.get(rule.match.step, ())
        found = (lookup(_side(link, rule.match.side), dest, manifests) for link in links)
        expected = next((artifact for artifact in found if artifact is not None), None)
        yield NearMiss(rule.match.step, rule.match.side, dest, expected)


def match_name(rule: ArtifactRule, name: str) -> str | None:
    """Return the name under which a MATCH rule looks for this artifact, or None if it does not cover it."""
    target = rule.match
    if target is None:
        return None
    if target.source_prefix:
        if not name.startswith(f"{target.source_prefix}/"):
            return None
        name = name[len(target.source_prefix) + 1 :]
    if not fnmatch.fnmatchcase(name, rule.pattern):
        return None
    return f"{target.prefix}/{name}" if target.prefix else name

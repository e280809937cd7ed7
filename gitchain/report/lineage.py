"""The lineage of a target's models as a bounded graph: steps, and the artifacts that they used and made.

Edges are what signers claim; artifacts are one node for each digest. Commits and tags are left out. A directory leads to
the files in it that other steps used, if its manifest is stored.

Above MAX_NODES, artifacts with the same neighbours become one node with their number. If that is not enough, only the
nodes that are the nearest to the models are kept. Cycles stay as they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from gitchain.consume.diff_facts import GIT_SUBJECTS
from gitchain.evidence.digest import DigestSet
from gitchain.evidence.statement import ResourceDescriptor
from gitchain.report.evidence import ChainStep, ModelEvidence
from gitchain.report.text import document_text
from gitchain.verify.negative_evidence import contents_of

MAX_NODES = 200
MAX_EDGES = 1000
MAX_OPENED = 50
"""Most directories whose manifests are read for the graph."""

NodeKind: TypeAlias = Literal["step", "input", "artifact", "model"]
Key: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A step or an artifact; `members` counts the artifacts that it represents."""

    kind: NodeKind
    name: str
    detail: str = ""
    revoked: bool = False
    members: int = 1

    def to_json(self) -> dict[str, Any]:
        """Return the node as in `report --json`."""
        return {
            "kind": self.kind,
            "name": document_text(self.name),
            "detail": document_text(self.detail),
            "revoked": self.revoked,
            "members": self.members,
        }


@dataclass(slots=True)
class Lineage:
    """A graph. `to_json` bounds it."""

    nodes: dict[Key, Node] = field(default_factory=dict)
    edges: dict[tuple[Key, Key], None] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the graph as in `report --json`, folded and cut to MAX_NODES and MAX_EDGES."""
        found = self if len(self.nodes) <= MAX_NODES else self._folded()
        kept = found.nearest() if len(found.nodes) > MAX_NODES else list(found.nodes)
        place = {key: number for number, key in enumerate(kept)}
        edges = sorted((place[a], place[b]) for a, b in found.edges if a in place and b in place)
        return {
            "nodes": [found.nodes[key].to_json() for key in kept],
            "nodesTotal": len(self.nodes),
            "edges": [list(edge) for edge in edges[:MAX_EDGES]],
            "edgesTotal": len(self.edges),
            "folded": len(found.nodes) < len(self.nodes),
            "complete": len(kept) == len(found.nodes) and len(edges) <= MAX_EDGES,
        }

    def _folded(self) -> Lineage:
        """Return the graph with one node for all artifacts that have the same neighbours."""
        neighbours = self._neighbours()
        groups: defaultdict[object, list[Key]] = defaultdict(list)
        for key, node in self.nodes.items():
            is_alone = node.kind in {"step", "model"} or node.revoked
            groups[key if is_alone else (node.kind, *map(frozenset, neighbours[key]))].append(key)
        into = {key: group[0] for group in groups.values() for key in group}
        nodes = {group[0]: self._together(group) for group in groups.values()}
        return Lineage(nodes, dict.fromkeys((into[a], into[b]) for a, b in self.edges))

    def _together(self, group: Sequence[Key]) -> Node:
        first = self.nodes[group[0]]
        return first if len(group) == 1 else replace(first, detail="", members=len(group))

    def _neighbours(self) -> Mapping[Key, tuple[set[Key], set[Key]]]:
        found: dict[Key, tuple[set[Key], set[Key]]] = {key: (set(), set()) for key in self.nodes}
        for start, end in self.edges:
            found[start][1].add(end)
            found[end][0].add(start)
        return found

    def nearest(self) -> list[Key]:
        """Return the nodes that are the nearest to the models, in the order of the graph."""
        neighbours, order = self._neighbours(), {key: number for number, key in enumerate(self.nodes)}
        models = [key for key, node in self.nodes.items() if node.kind == "model"] or list(self.nodes)[:1]
        seen, layer = dict.fromkeys(models[:MAX_NODES]), models
        while layer and len(seen) < MAX_NODES:
            near = {one for key in layer for side in neighbours[key] for one in side} - seen.keys()
            layer = sorted(near, key=lambda key: (self.nodes[key].kind != "step", order[key]))
            seen |= dict.fromkeys(layer[: MAX_NODES - len(seen)])
        return sorted(seen, key=order.__getitem__)


def lineage_of(evidence: ModelEvidence) -> Lineage:
    """Return the lineage of the target's models."""
    graph = Lineage()
    made = {key for step in evidence.steps for one in step.claims for key in _keys(one.products)}
    for step in evidence.steps:
        for claim in step.claims:
            key = _step_key(step, claim.materials, claim.products)
            revoked = any(evidence.revoked(one) for one in step.signed)
            graph.nodes[key] = Node("step", step.name, step.reported.evidence or "", revoked)
            for items, to_step in ((claim.materials, True), (claim.products, False)):
                for item in filter(_is_artifact, items):
                    artifact = _key(item)
                    if artifact not in graph.nodes:
                        graph.nodes[artifact] = _artifact(evidence, item, is_made=artifact in made)
                    graph.edges[(artifact, key) if to_step else (key, artifact)] = None
    graph.edges |= dict.fromkeys(_contained(evidence, graph, made))
    return graph


def _is_artifact(item: ResourceDescriptor) -> bool:
    """Return whether an item is no commit or tag: the report lists these as code."""
    return "gitCommit" not in item.digest and not (item.name or "").startswith(GIT_SUBJECTS)


def _step_key(
    step: ChainStep, materials: Iterable[ResourceDescriptor], products: Iterable[ResourceDescriptor]
) -> Key:
    """Return one key for all attestations of a step with the same artifacts."""
    return "step", step.name, repr(sorted(_keys(materials))), repr(sorted(_keys(products)))


def _keys(items: Iterable[ResourceDescriptor]) -> set[Key]:
    return {_key(item) for item in items}


def _key(item: ResourceDescriptor) -> Key:
    digest = _digest(item.digest)
    return ("artifact", *digest) if digest else ("artifact", "", item.rule_name or "")


def _digest(digests: DigestSet) -> tuple[str, str] | None:
    if "sha256" in digests:
        return "sha256", digests["sha256"]
    return next(iter(sorted(digests.items())), None)


def _artifact(evidence: ModelEvidence, item: ResourceDescriptor, *, is_made: bool) -> Node:
    digest = _digest(item.digest) or ("", "")
    kind: NodeKind = "artifact" if is_made else "input"
    if digest[0] == "sha256" and digest[1] in evidence.models:
        kind = "model"
    name = item.rule_name or digest[1]
    return Node(kind, name, ":".join(filter(None, digest)), evidence.revoked_artifact(item) is not None)


def _contained(evidence: ModelEvidence, graph: Lineage, made: set[Key]) -> Iterator[tuple[Key, Key]]:
    """Yield edges from directories that steps made to inputs that are files in them."""
    inputs = {key for key, node in graph.nodes.items() if node.kind == "input"}
    items = (item for step in evidence.steps for claim in step.claims for item in claim.products)
    directories = {_key(item): item for item in items if item.is_directory}
    for key, item in list(directories.items())[:MAX_OPENED] if inputs else ():
        digests = contents_of(evidence.manifests.artifact(item), evidence.manifests)[0]
        for algorithm, value in digests:
            inside = ("artifact", algorithm, value)
            if inside in inputs - {key} and key in made:
                graph.nodes[inside] = replace(graph.nodes[inside], kind="artifact")
                yield key, inside

"""Read the evidence of a store, of other sources and of single bundles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.vocabulary import CHECKPOINT, DATASET, LAYOUT
from gitchain.layout.model import Layout
from gitchain.sources.bundle_index import BundleIndex
from gitchain.sources.bundles import IndexedBundles, Load, RefusedBundles
from gitchain.sources.evidence import Evidence
from gitchain.sources.store_index import index_of
from gitchain.store.objects import Oid
from gitchain.store.tree_paths import ATTESTATIONS
from gitchain.verify.trust import Trust
from gitchain.verify.verified import VerifiedStatement
from gitchain.workspace.project import Project

if TYPE_CHECKING:
    from gitchain.sources.interface import Snapshot


def gather(
    project: Project | None,
    trust: Trust,
    extra: Iterable[bytes] = (),
    keys: Sequence[bytes] = (),
    snapshots: Sequence[Snapshot] = (),
    before: Evidence | None = None,
) -> Evidence:
    """Index all bundles of the repository's store, of the snapshots, and of `extra`.

    Bundles that cannot be parsed are refused. What an earlier reading `before` indexed is not parsed again.
    `keys` are the keys in the policy; a key is never taken from a bundle.
    Raises NoEvidenceError if a partial clone lacks a bundle, LimitError as `Follower.follow` and `Indexer.add`.
    """
    tip = project.store.tip() if project else None
    held = {name: raw for snapshot in snapshots for name, raw in snapshot.bundles.items()}
    held |= {sha256_hex(raw): raw for raw in extra}
    indexes: list[tuple[BundleIndex, Load]] = []
    refused = RefusedBundles()
    unreadable: frozenset[str] = frozenset()
    if project is not None:
        index = index_of(project.store, project.seen_key, tip)
        store = project.store
        indexes.append((index, lambda facts: store.bundle(Oid(facts.place), facts.name)))
        problems = index.problems()
        refused.add_all(f"{message}, in {path}" for path, message in problems)
        unreadable = frozenset(path for path, _ in problems if path.split("/")[0] == ATTESTATIONS)
    for snapshot in snapshots:
        refused.add_all(snapshot.problems)
        indexes += [snapshot.stored] if snapshot.stored is not None else []
    in_memory = None
    if held or any(snapshot.nodes for snapshot in snapshots):
        in_memory = _in_memory(held, snapshots, before.in_memory if before else None)
        indexes.append((in_memory, lambda facts: held[facts.name]))
    for index, load in indexes:
        refused.add_bundles(index, load)
    lookups: list[Callable[[str], bytes | None]] = [project.store.manifest] if project else []
    lookups += [snapshot.manifest for snapshot in snapshots]
    if len(lookups) == 1:
        manifest = lookups[0]
    else:
        from gitchain.sources.interface import together

        manifest = together(lookups)
    bundles = IndexedBundles(indexes)
    return Evidence(bundles, trust, manifest, refused.reasons(), keys, tip, unreadable, bundles, in_memory)


def _in_memory(
    held: Mapping[str, bytes], snapshots: Iterable[Snapshot], before: BundleIndex | None
) -> BundleIndex:
    """Return the index of these bundles; the facts that `before` has about them are copied."""
    from gitchain.sources.follow_store import add_bundles

    index = BundleIndex()
    if before is not None and before.names() <= held.keys():
        before.copy_to(index)
    with index.filling():
        index.forget_nodes()
        add_bundles(index, held.items())
        for snapshot in snapshots:
            index.add_nodes(snapshot.nodes)
    return index


def unconnected(evidence: Evidence, layout: Layout) -> tuple[VerifiedStatement, ...]:
    """Return the statements that may count for a step although nothing connects them to the target, up to a number.

    Found by their step, or by their type for a step that selects. With a sublayout or a verifier any statement may count.
    """
    if any(step.sublayout or step.verifier for step in layout.steps):
        return evidence.of_steps(None)
    types = {step.predicate_type for step in layout.steps if step.select}
    return evidence.of_steps({step.name for step in layout.steps}, *types)


def always(
    evidence: Evidence, layout: Layout, negative: Sequence[VerifiedStatement]
) -> Sequence[VerifiedStatement]:
    """Return the statements that count for every chain: revocations, facts about data sets, suppliers' layouts."""
    types = [DATASET] if layout.datasets else []
    suppliers = any(step.sublayout for step in layout.steps)
    types += [LAYOUT] if suppliers else []
    types += [CHECKPOINT] if suppliers or layout.freshness is not None else []
    return (*negative, *evidence.of_type(*types))

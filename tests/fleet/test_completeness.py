"""What the index lacks is stated, and strangers cannot make it lack what others signed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitchain.evidence.digest import DigestSet, Sha256, sha256_hex
from gitchain.evidence.manifest import FileEntry, Manifest, build_manifest
from gitchain.evidence.predicates import StepFacts, provenance
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPE, PROVENANCE
from gitchain.fleet import directories
from gitchain.fleet.answers import Page
from gitchain.fleet.database import Database
from gitchain.fleet.questions import deployed
from gitchain.instance import Instance
from gitchain.sources.interface import Snapshot
from gitchain.sources.open_source import Directory
from gitchain.store.git_ref import AttestationStore
from gitchain.store.tree_paths import ATTESTATIONS, VERSION_BYTES, VERSION_NAME, content_path
from tests.support.fleets import BundleDirectory, content, index


def manifest_of(*names: str) -> Manifest:
    return build_manifest([FileEntry(name, False, 1, Sha256(content(name))) for name in names])


def store_manifest(source: BundleDirectory, manifest: Manifest) -> None:
    for node in manifest.nodes.values():
        (source.path / f"{sha256_hex(node)}.manifest.json").write_bytes(node)


def use_directory(source: BundleDirectory, manifest: Manifest, product: str, *, broken: bool = False) -> None:
    """Sign a step that makes a product of a directory."""
    folder = ResourceDescriptor(
        "data", DigestSet({"sha256": manifest.digest}), media_type=MANIFEST_MEDIA_TYPE
    )
    facts = StepFacts("train", "run-1", "observed", "credit")
    made = ResourceDescriptor(product, DigestSet({"sha256": content(product)}))
    predicate = provenance(step=facts, kind="training", materials=[folder])
    source.add(Statement.build([made], PROVENANCE, predicate).payload, broken=broken)


def store_junk(store: AttestationStore, text: str) -> None:
    """Put 250 files that are no bundles into a store, as another program can."""
    every = [f"{text} {number}".encode() for number in range(250)]
    leaves = {
        content_path(ATTESTATIONS, sha256_hex(data)): store.backend.write("blob", data) for data in every
    }
    leaves[(VERSION_NAME,)] = store.backend.write("blob", VERSION_BYTES)
    store.advance(lambda tip: store._with(tip, leaves, "add junk"))


def models(database: Database, data: str) -> list[str]:
    question = f"sha256:{content(data)}"
    return [str(row.fields["model"]) for row in deployed(database, question, Page()).rows]


def test_index_reads_a_manifest_that_is_stored_later(
    database: Database, instance: Instance, source: BundleDirectory
) -> None:
    """Until then each answer states that a directory is closed."""
    manifest = manifest_of("a.csv", "b/c.csv")
    source.make("clean", ["a.csv"], ["clean.csv"])
    use_directory(source, manifest, "model")
    source.deploy("model")
    index(database, instance, source.path)
    answer = deployed(database, f"sha256:{content('a.csv')}", Page())
    assert answer.rows == []
    assert "1 indexed directories have no complete manifest: what they hold is not followed" in answer.notes
    store_manifest(source, manifest)
    index(database, instance, source.path)
    assert models(database, "a.csv") == models(database, "b/c.csv") == ["model"]
    assert not deployed(database, f"sha256:{content('a.csv')}", Page()).notes


def test_index_continues_with_directories_after_its_limit(
    database: Database, instance: Instance, source: BundleDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those in verified statements are read first, and the source has more to read until all are."""
    monkeypatch.setattr(directories, "MAX_INSIDE", 3)
    for number in range(6):
        junk = manifest_of(*(f"{number}-{name}" for name in "abc"))
        store_manifest(source, junk)
        use_directory(source, junk, f"junk-{number}", broken=True)
    manifest = manifest_of("a.csv", "b.csv")
    store_manifest(source, manifest)
    use_directory(source, manifest, "model")
    source.deploy("model")
    large = manifest_of("1", "2", "3", "4")
    store_manifest(source, large)
    use_directory(source, large, "junk", broken=True)
    (first,) = index(database, instance, source.path)
    assert first.is_cut
    assert models(database, "a.csv") == ["model"]
    assert "gitchain index continues" in deployed(database, "model", Page()).stale[0][2]
    for _ in range(6):
        (last,) = index(database, instance, source.path)
    assert (last.unchanged, last.is_cut) == (True, False)
    answer = deployed(database, "model", Page())
    assert answer.stale == []
    assert answer.notes == ["1 indexed directories have no complete manifest: what they hold is not followed"]


def test_directories_of_strangers_hide_none_in_verified_statements(
    database: Database, instance: Instance, source: BundleDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anyone can write manifests that hold a known file; one that a verified statement names later counts too."""
    monkeypatch.setattr("gitchain.fleet.lineage.MAX_REACHED", 5)
    made = [manifest_of("a.csv", f"{number}.csv") for number in range(8)]
    for number, manifest in enumerate(made):
        store_manifest(source, manifest)
        use_directory(source, manifest, f"junk-{number}", broken=True)
    index(database, instance, source.path)
    use_directory(source, made[3], "model")
    source.deploy("model")
    index(database, instance, source.path)
    assert models(database, "a.csv") == ["model"]


def test_index_of_a_git_source_has_each_refused_bundle(
    database: Database, instance: Instance, git_repo: Path, isolated: Path
) -> None:
    """Refused ones have rows and are counted, whatever their number; those that were read before are not gone."""
    del isolated
    store = AttestationStore.open(git_repo)
    store_junk(store, "no bundle")
    (report,) = index(database, instance, f"git+file://{git_repo}")
    assert (report.error, report.added, report.refused, report.held) == (None, 250, 250, 250)
    store_junk(store, "nothing")
    (report,) = index(database, instance, f"git+file://{git_repo}")
    assert (report.added, report.held, report.gone) == (250, 500, 0)
    assert database.rows("i", "SELECT COUNT(*) FROM fleet_bundle") == [(500,)]


def test_answers_state_what_cannot_be_read(
    database: Database, instance: Instance, source: BundleDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries of a source, and bundles that cannot be parsed, may hold what the answer lacks."""
    source.make("train", ["raw.csv"], ["model"])
    source.write(b"no bundle")
    read = Directory.read

    def partly(self: Directory) -> Snapshot:
        found = read(self)
        return Snapshot(found.bundles, found.manifest, found.version, tuple(f"x{n}" for n in range(30)))

    monkeypatch.setattr(Directory, "read", partly)
    for _ in range(2):  # the second finds nothing new
        (report,) = index(database, instance, source.path)
        assert (len(report.problems), report.unread) == (20, 30)
        answer = deployed(database, "raw.csv", Page())
        assert answer.stale == [(str(source.path), "", "30 entries cannot be read: x0")]
        assert answer.notes == ["1 indexed bundles cannot be parsed: what they state is not followed"]

"""Indexing follows each source, keeps what was indexed, and states what it cannot verify."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gitchain.errors import TransportError, UsageError
from gitchain.evidence.claim import StepFacts
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.manifest import FileEntry, build_manifest
from gitchain.evidence.predicates import provenance
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import PROVENANCE
from gitchain.fleet import indexer
from gitchain.fleet.answers import Page
from gitchain.fleet.bundle_rows import Verifier, rows_of
from gitchain.fleet.database import Database
from gitchain.fleet.indexer import FleetIndexer, source_name
from gitchain.fleet.questions import deployed
from gitchain.fleet.removal import remove_source
from gitchain.instance import Instance
from tests.support.fleets import NOW, BundleDirectory, descriptor, index, verifier_of
from tests.support.foreign_statements import old


def test_index_reads_only_what_is_new(
    database: Database, instance: Instance, source: BundleDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []

    def counted(name: str, raw: bytes, verifier: Verifier | None) -> object:
        read.append(name)
        return rows_of(name, raw, verifier)

    monkeypatch.setattr(indexer, "rows_of", counted)
    source.make("train", ["a"], ["b"])
    (first,) = index(database, instance, source.path)
    assert (first.added, first.verified, first.held, len(read)) == (1, 1, 1, 1)
    (again,) = index(database, instance, source.path)
    assert (again.unchanged, again.added, len(read)) == (True, 0, 1)
    source.make("train", ["a"], ["c"])
    (second,) = index(database, instance, source.path)
    assert (second.added, second.held, len(read)) == (1, 2, 2)


def test_index_names_what_it_does_not_verify(
    database: Database, instance: Instance, source: BundleDirectory
) -> None:
    """A row without a valid signature has no proven time; bytes that are no bundle have a row with the reason."""
    source.make("train", ["a"], ["b"], broken=True)
    source.write(b"no bundle")
    source.write(b'{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json"}')
    (report,) = index(database, instance, source.path)
    assert (report.added, report.verified, report.refused) == (3, 0, 3)
    assert all(reason for _, reason in report.reasons)
    rows = database.rows("iit", "SELECT verified, logged, problem FROM fleet_bundle")
    assert all(verified == 0 and logged == -1 and problem for verified, logged, problem in rows)


def test_index_verifies_again_under_another_trust(
    database: Database, instance: Instance, source: BundleDirectory, tmp_path: Path
) -> None:
    """What did not verify is tried again under another trusted root; what did is kept with the trust it verified under."""
    source.make("train", ["a"], ["b"])
    other = Instance.create(tmp_path / "other")
    (foreign,) = index(database, other, source.path)
    assert (foreign.verified, foreign.refused) == (0, 1)
    (own,) = index(database, instance, source.path)
    assert (own.verified, own.added) == (1, 0)
    index(database, other, source.path)
    assert database.rows("it", "SELECT verified, trust FROM fleet_bundle") == [
        (1, verifier_of(instance).name)
    ]
    assert database.rows("i", "SELECT COUNT(*) FROM fleet_artifact") == [(2,)]


def test_index_keeps_what_is_gone(database: Database, instance: Instance, source: BundleDirectory) -> None:
    """The row stays with the time, and the source is named last."""
    source.make("train", ["a"], ["b"])
    source.deploy("b")
    index(database, instance, source.path)
    files = {path: path.read_bytes() for path in source.path.iterdir()}
    for path in files:
        path.unlink()
    (report,) = index(database, instance, source.path)
    assert report.gone == 2
    assert set(database.rows("t", "SELECT gone FROM fleet_held")) == {("2026-12-01T12:00:00Z",)}
    assert deployed(database, "a", Page()).rows
    for path, data in files.items():
        path.write_bytes(data)
    index(database, instance, source.path)
    assert set(database.rows("t", "SELECT gone FROM fleet_held")) == {("",)}


def test_index_keeps_the_first_time_of_a_failure(
    database: Database, instance: Instance, source: BundleDirectory, tmp_path: Path
) -> None:
    source.make("train", ["a"], ["b"])
    index(database, instance, source.path)
    source.path.rename(tmp_path / "away")
    (first,) = index(database, instance, source.path)
    (second,) = index(database, instance, source.path, now=NOW.replace(hour=13))
    assert first.stale == second.stale == "2026-12-01T12:00:00Z"
    (tmp_path / "away").rename(source.path)
    (back,) = index(database, instance, source.path)
    assert back.error is None
    assert database.rows("tt", "SELECT stale, problem FROM fleet_source") == [("", "")]


def test_index_of_a_source_that_breaks_keeps_what_was_read(
    database: Database, instance: Instance, source: BundleDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch is committed; the source is stale until the rest is read."""
    for number in range(4):
        source.make("train", ["a"], [f"b{number}"])
    loads = indexer._loads

    def broken(snapshot: object) -> object:
        for number, (name, load) in enumerate(sorted(loads(snapshot))):  # type: ignore[arg-type]
            yield name, load if number < 3 else _lost

    monkeypatch.setattr(indexer, "TOGETHER", 1)
    monkeypatch.setattr(indexer, "_loads", broken)
    (report,) = index(database, instance, source.path)
    assert (report.added, type(report.error)) == (3, TransportError)
    monkeypatch.setattr(indexer, "_loads", loads)
    (report,) = index(database, instance, source.path)
    assert (report.added, report.error) == (1, None)


def _lost() -> bytes:
    raise TransportError("the source is gone")


def test_index_of_several_sources_has_one_row_for_a_bundle(
    database: Database, instance: Instance, source: BundleDirectory, tmp_path: Path
) -> None:
    source.make("train", ["a"], ["b"])
    source.deploy("b")
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in source.path.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert [one.added for one in index(database, instance, source.path, copy)] == [2, 0]
    (row,) = deployed(database, "a", Page()).rows
    assert set(row.sources) == {str(source.path), str(copy)}


def test_index_opens_directories_with_stored_manifests(
    database: Database, instance: Instance, source: BundleDirectory
) -> None:
    """A model that was made of one file of a directory descends from it, and from the directory's maker."""
    from gitchain.evidence.digest import DigestSet
    from gitchain.evidence.predicates import StepFacts, provenance
    from gitchain.evidence.statement import ResourceDescriptor, Statement
    from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPE, PROVENANCE

    files = [FileEntry(name, False, 1, sha256_hex(name.encode())) for name in ("x/a", "x/b")]
    manifest = build_manifest(files)
    for node in manifest.nodes.values():
        (source.path / f"{sha256_hex(node)}.manifest.json").write_bytes(node)
    folder = ResourceDescriptor(
        "data", DigestSet({"sha256": manifest.digest}), media_type=MANIFEST_MEDIA_TYPE
    )
    facts = StepFacts("fetch", "run-1", "observed", "credit")
    raw = ResourceDescriptor("raw", DigestSet({"sha256": sha256_hex(b"raw")}))
    source.add(Statement.build([folder], PROVENANCE, provenance(step=facts, materials=[raw])).payload)
    source.make("train", ["x/a"], ["model"])
    source.deploy("model")
    index(database, instance, source.path)
    assert [row.fields["model"] for row in deployed(database, "raw", Page()).rows] == ["model"]


def test_indexer_without_a_verifier_marks_every_row(database: Database, source: BundleDirectory) -> None:
    source.make("train", ["a"], ["b"])
    report = FleetIndexer(database, None, NOW).index(str(source.path))
    assert (report.verified, report.refused) == (0, 1)
    ((signer, verified),) = database.rows("ti", "SELECT signer, verified FROM fleet_bundle")
    assert (signer, verified) == ("ada@example.com", 0)


def test_source_name_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    (tmp_path / "evidence").mkdir()
    monkeypatch.chdir(tmp_path)
    assert source_name("repo") == f"git+file://{tmp_path}/repo"
    assert source_name("evidence") == str(tmp_path / "evidence")
    assert source_name("oci://registry.example.com/a:b") == "oci://registry.example.com/a:b"


def test_index_records_no_step_of_an_old_statement(
    database: Database, instance: Instance, source: BundleDirectory
) -> None:
    """A Statement v0.1 is evidence for no step that it names; what it made of what is recorded."""
    predicate = provenance(
        step=StepFacts("train", "run-1", "observed", "credit"), kind="training", materials=[descriptor("a")]
    )
    source.add(old(Statement.build([descriptor("b")], PROVENANCE, predicate).payload))
    index(database, instance, source.path)
    assert database.rows("itt", "SELECT verified, step, stage FROM fleet_bundle") == [(1, "", "")]
    source.deploy("b")
    index(database, instance, source.path)
    assert deployed(database, "a", Page()).rows


def test_removal_keeps_what_another_source_holds(
    database: Database, instance: Instance, source: BundleDirectory, tmp_path: Path
) -> None:
    """Rows go with the last source that holds their bundle."""
    source.make("train", ["a"], ["b"])
    shutil.copytree(source.path, tmp_path / "copy")
    source.make("train", ["a"], ["c"])
    index(database, instance, source.path)
    index(database, instance, tmp_path / "copy")

    def counts() -> list[int]:
        tables = ("source", "held", "bundle", "artifact")
        return [int(database.rows("i", f"SELECT COUNT(*) FROM fleet_{one}")[0][0]) for one in tables]

    assert counts()[:3] == [2, 3, 2]
    assert remove_source(database, str(source.path)) == (str(source.path), 1)
    assert counts()[:3] == [1, 1, 1]
    assert counts()[3] > 0
    with pytest.raises(UsageError, match="does not have this source"):
        remove_source(database, str(source.path))
    assert remove_source(database, str(tmp_path / "copy"))[1] == 1
    assert counts() == [0, 0, 0, 0]

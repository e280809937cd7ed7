"""Evidence that is read again: what was indexed before is not read again, and nothing else differs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gitchain.admit.evidence import SourceReader
from gitchain.errors import LimitError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.digest import sha256_hex
from gitchain.sources import bundle_facts, follow_store
from gitchain.sources.bundle_facts import Role
from gitchain.sources.bundle_index import BundleIndex
from gitchain.sources.evidence import Evidence
from gitchain.sources.follow_store import Indexer
from gitchain.sources.gather import gather
from gitchain.workspace.user_directory import user_directory
from tests.support.admission import AdmissionFiles, chain, taken_back
from tests.support.manual_admission import Stand, add, stand


@pytest.fixture
def copied(models: AdmissionFiles, tmp_path: Path, isolated: Path) -> Iterator[Stand]:
    shutil.copytree(models.top, tmp_path / "copy", symlinks=True)
    shutil.copytree(models.top / "home", isolated)
    yield from stand(AdmissionFiles(tmp_path / "copy").settings)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The bundles that were parsed for the index."""
    found: list[bytes] = []
    real = Bundle.parse

    class Counted:
        @staticmethod
        def parse(raw: bytes) -> Bundle:
            found.append(raw)
            return real(raw)

    monkeypatch.setattr(bundle_facts, "Bundle", Counted)
    return found


def read(one: Stand) -> Evidence:
    reader = one.reader.reader
    return reader.open(datetime.now(UTC)).evidence


ROLES = (Role.SUBJECT, Role.MATERIAL, Role.PRODUCT)


def test_open_parses_only_new_bundles(copied: Stand, parsed: list[bytes]) -> None:
    """With the index and the decisions of a reading from nothing."""
    first = [*read(copied).candidates]
    assert len(parsed) >= len(first)
    add(copied, *chain("third"), taken_back("good"))
    parsed.clear()
    again = [*read(copied).candidates]
    assert len(again) == len(first) + 5
    assert set(parsed) == {one.raw for one in again} - {one.raw for one in first}
    shutil.rmtree(user_directory() / "index")
    fresh = [*SourceReader(copied.reader.reader.source).open(datetime.now(UTC)).evidence.candidates]
    for one, other in zip(again, fresh, strict=True):
        assert one.facts == other.facts
        assert one.raw == other.raw
        assert [one.artifacts(role) for role in ROLES] == [other.artifacts(role) for role in ROLES]


def test_gather_keeps_what_was_indexed_of_other_sources(copied: Stand, parsed: list[bytes]) -> None:
    """What a registry or directory holds is indexed in memory, and copied from reading to reading."""
    evidence = read(copied)
    raws = [one.raw for one in evidence.candidates]
    first = gather(None, evidence.trust, raws[1:])
    parsed.clear()
    for now, new in ((raws, raws[:1]), (raws[2:], raws[2:])):  # something is gone: all is indexed anew
        again = gather(None, evidence.trust, now, before=first)
        assert sorted(one.raw for one in again.candidates) == sorted(now)
        assert set(parsed) == set(new)
        parsed.clear()


def test_indexer_bounds_mentions(copied: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one reading indexes is bounded, in a file as in memory."""
    raw = next(iter(read(copied).candidates)).raw
    index = BundleIndex()
    monkeypatch.setattr(follow_store, "MAX_MENTIONS", 1)
    with pytest.raises(LimitError, match="more artifacts"), index.filling():
        Indexer(index).add("0" * 64, "", raw)


def test_indexer_writes_each_bundle_once(copied: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many wait, and whether it is an attestation or not."""
    raws = [*(one.raw for one in read(copied).candidates), b"junk"]
    for together in (1, 1000):
        monkeypatch.setattr(follow_store, "WRITTEN_TOGETHER", together)
        index = BundleIndex()
        with index.filling():
            indexer = Indexer(index)
            for raw in (*raws, *raws):
                indexer.add(sha256_hex(raw), "", raw)
            indexer.write()
            indexer.write()
        assert index.names() == {sha256_hex(raw) for raw in raws}
        assert [one.name for one in index.refused()[0]] == [sha256_hex(b"junk")]

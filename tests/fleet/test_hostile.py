"""Rows and names that strangers chose reach no command to type, and hide nothing that is verified."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from gitchain.errors import UsageError
from gitchain.fleet.answers import Page
from gitchain.fleet.database import Database
from gitchain.fleet.questions import Interval, deployed, signed
from gitchain.instance import Instance
from tests.support.fleets import BundleDirectory, index, verifier_of
from tests.support.forged_bundles import ADA


def test_prove_takes_no_text_of_another_program(
    database: Database, instance: Instance, source: BundleDirectory
) -> None:
    """A shared database may have a shell command where an id belongs; commands are for typing."""
    source.make("train", ["raw.csv"], ["model.pkl"])
    source.deploy("model.pkl")
    index(database, instance, source.path)
    digest = "$(touch x)".ljust(64, ";")
    database.run("UPDATE fleet_bundle SET attestation = 'x; touch y'")
    database.run(
        "UPDATE fleet_placement SET digest = ?",
        [digest],
    )
    database.run("UPDATE fleet_artifact SET digest = ? WHERE role = 2", [digest])
    (row,) = deployed(database, "raw.csv", Page()).rows
    assert row.prove() == ()


@pytest.mark.parametrize("name", ["git+https://ada:s3cret@host/x", "oci://ada:s3:cret@host/a:b"])
def test_index_stores_no_password_of_a_source(database: Database, instance: Instance, name: str) -> None:
    (report,) = index(database, instance, name)
    assert isinstance(report.error, UsageError)
    assert "s3" not in f"{report} {report.error}"
    assert database.rows("t", "SELECT name FROM fleet_source") == []


def test_index_has_one_name_for_a_place(
    database: Database, instance: Instance, source: BundleDirectory, tmp_path: Path
) -> None:
    source.make("train", ["raw.csv"], ["model.pkl"])
    (tmp_path / "link").symlink_to(source.path)
    for path in (source.path, source.path / ".." / source.path.name, tmp_path / "link"):
        index(database, instance, path)
    assert database.rows("t", "SELECT name FROM fleet_source") == [(str(source.path),)]


def test_revocations_that_are_not_verified_hide_none_that_is(
    database: Database, instance: Instance, source: BundleDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are listed apart, and a note states that there are more."""
    monkeypatch.setattr("gitchain.fleet.answers.MAX_ROWS", 4)
    trained = source.make("train", ["raw.csv"], ["model.pkl"])
    source.deploy("model.pkl")
    for number in range(8):
        source.revoke(attestation=trained, when=f"2026-11-{number + 10}T12:00:00Z", broken=True)
    index(database, instance, source.path)
    real = source.revoke(attestation=trained)
    index(database, instance, source.path)
    answer = deployed(database, "raw.csv", Page())
    (row,) = answer.rows
    assert row.revoked == (real,)
    assert len(row.unverified_revocations) == 4
    assert "more than 4 not verified revocations name these rows: the rest is not listed" in answer.notes


def test_rows_name_the_trust_that_they_were_verified_with(
    database: Database, instance: Instance, source: BundleDirectory
) -> None:
    """Anyone who indexes into a shared database chooses it; an embedded instance signs in any name."""
    source.make("train", ["raw.csv"], ["model.pkl"])
    source.deploy("model.pkl")
    source.deploy("model.pkl", "staging", broken=True)
    index(database, instance, source.path)
    rows = deployed(database, "raw.csv", Page()).rows
    assert {(row.verified, row.to_json()["trust"]) for row in rows} == {
        (True, verifier_of(instance).name),
        (False, None),
    }


def test_total_is_right_after_the_last_row(
    database: Database, instance: Instance, source: BundleDirectory
) -> None:
    source.make("train", ["raw.csv"], ["model.pkl"])
    index(database, instance, source.path)
    interval = Interval(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    answer = signed(database, ADA, None, interval, Page(limit=10, skip=50))
    assert (answer.rows, answer.total, answer.is_cut) == ([], 1, False)


def test_interval_holds_a_second_that_it_has_in_part() -> None:
    """A log's times have no fractions: an interval that ends in a second must not leave this second out."""
    half = datetime(1970, 1, 1, 0, 0, 7, 500_000, tzinfo=UTC)
    assert Interval(half, half.replace(second=9)).seconds == (7, 10)
    assert Interval(half.replace(microsecond=0), half.replace(second=9, microsecond=0)).seconds == (7, 9)

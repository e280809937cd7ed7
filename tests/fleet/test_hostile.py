"""Rows and names that strangers chose reach no command to type, and hide nothing that is verified."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitchain.errors import UsageError
from gitchain.fleet.answers import Page
from gitchain.fleet.database import Database
from gitchain.fleet.questions import deployed
from gitchain.instance import Instance
from tests.support.fleets import BundleDirectory, index


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

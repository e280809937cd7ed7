"""Remove a source from the index, so that a wrong name or a retired repository does not stay in every answer."""

from __future__ import annotations

from pathlib import Path

from gitchain.errors import UsageError
from gitchain.fleet.database import Database
from gitchain.fleet.tables import plain

_PARTS = ("fleet_artifact", "fleet_placement", "fleet_revocation")
_ALONE = (
    "(SELECT one.bundle FROM fleet_held one WHERE one.source = ? AND NOT EXISTS "
    "(SELECT 1 FROM fleet_held other WHERE other.bundle = one.bundle AND other.source <> one.source))"
)


def remove_source(database: Database, name: str) -> tuple[str, int]:
    """Return the name of the source that was removed, and the number of bundles that no other source holds.

    Their rows are removed too. Raises UsageError for a source that the database does not have.
    """
    path = Path(name).resolve()
    names = [plain(one) for one in (name, f"git+file://{path}", str(path))]  # a directory may be gone by now
    with database.writing():
        found = database.rows("it", "SELECT id, name FROM fleet_source WHERE name IN (?, ?, ?)", names)
        if len(found) != 1:
            raise UsageError(
                "the index does not have this source",
                got=ascii(name[:200]),
                expected="a name as `gitchain index` prints it",
                help="gitchain index",
            )
        ((number, known),) = found
        ((count,),) = database.rows("i", f"SELECT COUNT(*) FROM {_ALONE} alone", [number])  # noqa: S608
        for table in _PARTS:
            database.run(f"DELETE FROM {table} WHERE bundle IN {_ALONE}", [number])  # noqa: S608
        database.run(f"DELETE FROM fleet_bundle WHERE id IN {_ALONE}", [number])  # noqa: S608
        database.run("DELETE FROM fleet_held WHERE source = ?", [number])
        database.run("DELETE FROM fleet_source WHERE id = ?", [number])
    return str(known), int(count)

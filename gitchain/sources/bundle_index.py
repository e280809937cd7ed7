"""Index of bundles in SQLite, with the claims of each: finds the bundles about an artifact without reading all.

The index finds and never vouches: every bundle that it names is read and verified. Its content is a function of the
bundles' bytes, so deleting it costs only time.

    bundle      one row for each bundle; with the reason, if it is refused
    mention     the artifacts of a bundle, by role and by the first 16 bytes of a digest; names, by their hash
    directory   the directories that bundles mention; those in `opened` are in `entry` with all their content
    entry       what the nodes of opened directories hold
    node        the names of the stored manifest nodes
    problem     entries of the store that it would not write
    meta        the format, and what was indexed

Digests are compared by a prefix: `gitchain.sources.evidence` compares the whole digest.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import gitchain
from gitchain.errors import StoreError
from gitchain.sources.bundle_facts import ArtifactMention, BundleFacts, Role, key_of, key_of_name

FORMAT = f"4 {gitchain.__version__}"
"""Of the tables, and the version whose parser filled them."""

BUSY_SECONDS = 5.0  # to wait for another process
CACHE_KIB = 32 << 10
MAX_REFUSED = 200  # refusal reasons that are returned one by one

_SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE bundle(id INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, place TEXT NOT NULL, attestation TEXT NOT NULL,
  type TEXT, step TEXT, kind TEXT, unreadable INTEGER NOT NULL, reason TEXT NOT NULL);
CREATE INDEX bundle_attestation ON bundle(attestation) WHERE type IS NOT NULL;
CREATE INDEX bundle_type ON bundle(type) WHERE type IS NOT NULL;
CREATE INDEX bundle_step ON bundle(step) WHERE step IS NOT NULL;
CREATE INDEX bundle_reason ON bundle(id) WHERE reason != '';
CREATE VIEW attestation AS SELECT * FROM bundle WHERE type IS NOT NULL;
CREATE TABLE mention(role INTEGER, key BLOB, bundle INTEGER, PRIMARY KEY(role, key, bundle)) WITHOUT ROWID;
CREATE TABLE directory(bundle INTEGER, role INTEGER, digest BLOB, version INTEGER,
  PRIMARY KEY(digest, role, bundle)) WITHOUT ROWID;
CREATE TABLE opened(digest BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE entry(key BLOB, node BLOB, PRIMARY KEY(key, node)) WITHOUT ROWID;
CREATE TABLE node(name BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE problem(folder TEXT, path TEXT, message TEXT);
CREATE INDEX problem_folder ON problem(folder);
"""
_MENTIONING = """SELECT * FROM attestation WHERE id IN (
  SELECT mention.bundle FROM wanted JOIN mention ON mention.role IN (?, ?) AND mention.key = wanted.key)
  ORDER BY name"""
Row = tuple[Any, ...]


class BundleIndex:
    """One index. Its methods may be called from any thread. Reading raises StoreError if the file is damaged."""

    def __init__(self, path: str = "") -> None:
        """Open the index at a path; without one, an empty index that ends with this process."""
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        for setting in ("temp_store = MEMORY", f"cache_size = -{CACHE_KIB}", "trusted_schema = OFF"):
            self._connection.execute(f"PRAGMA {setting}")
        self._connection.execute("CREATE TEMP TABLE wanted(key BLOB PRIMARY KEY) WITHOUT ROWID")

    def let_others_read(self) -> None:
        """Keep additions in memory until the commit, because SQLite locks out readers once it writes to the file."""
        self._connection.execute("PRAGMA cache_spill = OFF")

    @contextmanager
    def filling(self) -> Iterator[None]:
        """Commit the additions made inside, unless an error leaves the block. Raises StoreError if the disk refuses."""
        try:
            self._begin()
            yield
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(
                "the evidence cannot be indexed",
                got=str(error),
                help="export TMPDIR=/a/directory/with/space",
            ) from error

    def _begin(self) -> None:
        """Start a transaction, and make the tables of an empty file."""
        self._connection.execute("BEGIN IMMEDIATE")
        if not self._all("SELECT 1 FROM sqlite_schema LIMIT 1"):
            for statement in filter(str.strip, _SCHEMA.split(";")):
                self._connection.execute(statement)
            self.set_value("format", FORMAT)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def value(self, key: str) -> str | None:
        """Return a value of `meta`."""
        found = self._all("SELECT value FROM meta WHERE key = ?", key)
        return found[0][0] if found else None

    def set_value(self, key: str, value: str) -> None:
        """Set a value of `meta`."""
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (key, value))

    def add_all(self, bundles: Iterable[tuple[BundleFacts, Iterable[ArtifactMention]]]) -> None:
        """Add bundles that are not indexed yet."""
        ((last,),) = self._all("SELECT IFNULL(MAX(id), 0) FROM bundle")
        rows, keys, directories = [], list[Row](), list[Row]()
        for bundle, (facts, mentions) in enumerate(bundles, last + 1):
            rows.append(_row(bundle, facts))
            for one in mentions:
                role, made = int(one.role), key_of_name if one.role is Role.NAME else key_of
                keys += [(role, made(digest), bundle) for digest in one.digests]
                if one.version is not None:
                    directories.append((bundle, role, bytes.fromhex(one.sha256), one.version))
        keys.sort()  # so that neighbours in the table are written together
        self._connection.executemany("INSERT INTO bundle VALUES(?,?,?,?,?,?,?,?,?)", rows)
        self._connection.executemany("INSERT OR IGNORE INTO mention VALUES(?,?,?)", keys)
        self._connection.executemany("INSERT OR IGNORE INTO directory VALUES(?,?,?,?)", directories)

    def forget_nodes(self) -> None:
        """Remove the names of all manifest nodes."""
        self._connection.execute("DELETE FROM node")

    def add_nodes(self, names: Iterable[str]) -> None:
        """Add the names of stored manifest nodes."""
        rows = ((bytes.fromhex(name),) for name in names)
        self._connection.executemany("INSERT OR IGNORE INTO node VALUES(?)", rows)

    def open_directory(self, digest: str, entries: Iterable[str]) -> None:
        """Add the digests that a directory holds, after those of all directories in it."""
        node = key_of(digest)
        rows = ((key_of(entry), node) for entry in entries)
        self._connection.executemany("INSERT OR IGNORE INTO entry VALUES(?,?)", rows)
        self._connection.execute("INSERT OR IGNORE INTO opened VALUES(?)", (bytes.fromhex(digest),))

    def closed_directories(self) -> list[tuple[str, int]]:
        """Return digest and manifest version of the directories that were not opened."""
        sql = "SELECT DISTINCT digest, version FROM directory WHERE digest NOT IN (SELECT digest FROM opened)"
        return [(digest.hex(), version) for digest, version in self._all(sql)]

    def replace_problems(self, folder: str, problems: Iterable[tuple[str, str]]) -> None:
        """Replace the problems of the entries of one folder of the store."""
        self._connection.execute("DELETE FROM problem WHERE folder = ?", (folder,))
        for path, message in problems:
            self.add_problem(folder, path, message)

    def add_problem(self, folder: str, path: str, message: str) -> None:
        """Add the problem of an entry of one folder of the store."""
        row = (folder, _plain(path), _plain(message))
        self._connection.execute("INSERT INTO problem VALUES(?,?,?)", row)

    def problems(self, folder: str | None = None) -> list[tuple[str, str]]:
        """Return path and message of all problems, or of those in one folder, in the order of the store."""
        sql = "SELECT path, message FROM problem {} ORDER BY path"
        if folder is None:
            return self._all(sql.format(""))
        return self._all(sql.format("WHERE folder = ?"), folder)

    def problem_folders(self) -> set[str]:
        """Return the folders of the store with problems."""
        return {folder for (folder,) in self._all("SELECT DISTINCT folder FROM problem")}

    def has_bundle(self, name: str) -> bool:
        """Return True if a bundle with this name, in hex, is indexed, refused or not."""
        return bool(self._all("SELECT 1 FROM bundle WHERE name = ?", bytes.fromhex(name)))

    def has_node(self, name: str) -> bool:
        """Return True if a manifest node with this name is stored."""
        return bool(self._all("SELECT 1 FROM node WHERE name = ?", bytes.fromhex(name)))

    def is_opened(self, digest: str) -> bool:
        """Return True if everything in this directory is indexed."""
        return bool(self._all("SELECT 1 FROM opened WHERE digest = ?", bytes.fromhex(digest)))

    def refused(self) -> tuple[list[BundleFacts], int]:
        """Return the first refused bundles, and the number of the others."""
        found = self._all("SELECT * FROM bundle WHERE reason != '' ORDER BY name LIMIT ?", MAX_REFUSED)
        ((count,),) = self._all("SELECT COUNT(*) FROM bundle WHERE reason != ''")
        return [_facts(row) for row in found], count - len(found)

    def everything(self) -> Iterator[BundleFacts]:
        """Yield all attestations, sorted by name."""
        yield from map(_facts, self._all("SELECT * FROM attestation ORDER BY name"))

    def every_bundle(self) -> Iterator[BundleFacts]:
        """Yield all bundles, also those that are no attestation, sorted by name."""
        yield from map(_facts, self._all("SELECT * FROM bundle ORDER BY name"))

    def of_type(self, kind: str) -> list[BundleFacts]:
        """Return the attestations of a predicate type, sorted by name."""
        return self._found("SELECT * FROM attestation WHERE type = ? ORDER BY name", kind)

    def of_step(self, step: str) -> list[BundleFacts]:
        """Return the attestations that claim a step, sorted by name."""
        return self._found("SELECT * FROM attestation WHERE step = ? ORDER BY name", step)

    def with_id(self, prefix: str) -> list[BundleFacts]:
        """Return the attestations whose id starts with these hex digits."""
        sql = "SELECT * FROM attestation WHERE attestation >= ? AND attestation < ? ORDER BY name"
        return self._found(sql, prefix, prefix + "g")

    def has_version(self, version: int) -> bool:
        """Return True if a bundle mentions a directory of this manifest version."""
        return bool(self._all("SELECT 1 FROM directory WHERE version = ? LIMIT 1", version))

    def above(self, keys: Iterable[bytes]) -> set[bytes]:
        """Return these keys, and those of all directories that hold one of them, at any depth."""
        sql = """WITH RECURSIVE up(key) AS (
          SELECT key FROM wanted UNION SELECT entry.node FROM up JOIN entry ON entry.key = up.key)
          SELECT key FROM up"""
        return {key for (key,) in self._wanted(keys, sql)}

    def mentioning(self, role: Role, keys: Iterable[bytes]) -> list[BundleFacts]:
        """Return the attestations with one of these keys in this role, sorted by name. A topic is a material as well."""
        also = Role.TOPIC if role is Role.MATERIAL else role
        return [_facts(row) for row in self._wanted(keys, _MENTIONING, int(role), int(also))]

    def with_directories(self, digests: Iterable[str]) -> list[BundleFacts]:
        """Return the attestations that mention one of these directories, sorted by name."""
        sql = """SELECT * FROM attestation WHERE id IN (
          SELECT directory.bundle FROM wanted JOIN directory ON directory.digest = wanted.key) ORDER BY name"""
        return [_facts(row) for row in self._wanted(map(bytes.fromhex, digests), sql)]

    def names(self) -> set[str]:
        """Return the names of all indexed bundles."""
        return {name.hex() for (name,) in self._all("SELECT name FROM bundle")}

    def copy_to(self, other: BundleIndex) -> None:
        """Replace the content of another index by that of this one."""
        with self._lock:
            self._connection.backup(other._connection)

    def _found(self, sql: str, *values: object) -> list[BundleFacts]:
        return [_facts(row) for row in self._all(sql, *values)]

    def _wanted(self, keys: Iterable[bytes], sql: str, *values: object) -> list[Row]:
        with self._lock:
            try:
                self._connection.execute("SAVEPOINT wanted")
                self._connection.execute("DELETE FROM wanted")
                self._connection.executemany(
                    "INSERT OR IGNORE INTO wanted VALUES(?)", ((key,) for key in keys)
                )
                found = self._connection.execute(sql, values).fetchall()
                self._connection.execute("RELEASE wanted")
            except sqlite3.Error as error:
                if self._connection.in_transaction:  # no lock stays behind
                    self._connection.execute("ROLLBACK")
                raise _damaged(error) from error
            return found

    def _all(self, sql: str, *values: object) -> list[Row]:
        with self._lock:
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise _damaged(error) from error


def _facts(row: Row) -> BundleFacts:
    _id, name, place, attestation_id, kind_of, step, kind, unreadable, reason = row
    return BundleFacts(name.hex(), place, attestation_id, kind_of, step, kind, bool(unreadable), reason)


def _row(bundle: int, facts: BundleFacts) -> Row:
    return (
        bundle,
        bytes.fromhex(facts.name),
        facts.place,
        facts.attestation_id,
        facts.predicate_type,
        facts.step,
        facts.kind,
        facts.unreadable,
        _plain(facts.reason),
    )


def _damaged(error: sqlite3.Error) -> StoreError:
    return StoreError("the index of the evidence cannot be read", got=str(error), help="run it again")


def _plain(text: str) -> str:
    """Return a text that SQLite can hold: names in a repository may be any bytes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")

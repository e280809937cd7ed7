"""Tables of the fleet's index, the same in SQLite and PostgreSQL (docs/fleets.md).

    fleet_meta        the version of the tables
    fleet_source      the sources, when each was read completely, and since when it cannot be read
    fleet_bundle      one row for each bundle, with the result of its verification when it was indexed
    fleet_held        which source holds which bundle, and since when it does not any more
    fleet_artifact    the artifacts of a bundle, by role
    fleet_directory   the directories that statements name, and whether what they hold is indexed
    fleet_inside      what the directories hold, by digest
    fleet_placement   deployments and retirements of models
    fleet_revocation  attestations, signers and artifacts that revocations name
    fleet_licence     the licences of data sets

`signer_key`, `name_key` and the keys of licences are digests of the text, because PostgreSQL indexes no long text.
"""

from __future__ import annotations

from enum import IntEnum

from gitchain.evidence.digest import sha256_hex

VERSION = "2"
KEY_DIGITS = 32
MAX_CHARS = 4000
"""Longest text in a column; more is cut."""


class Role(IntEnum):
    """The role of an artifact in a statement."""

    MATERIAL = 1
    PRODUCT = 2
    TOPIC = 3
    """What a statement without products is about."""
    SUBJECT = 4
    """A subject that is neither of these, such as the digest over all files of a model signature."""


TABLES = """
CREATE TABLE fleet_meta(key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE fleet_source(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, version TEXT NOT NULL,
  trust TEXT NOT NULL, indexed TEXT NOT NULL, stale TEXT NOT NULL, problem TEXT NOT NULL);
CREATE TABLE fleet_bundle(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, attestation TEXT NOT NULL,
  type TEXT NOT NULL, step TEXT NOT NULL, stage TEXT NOT NULL, verified INTEGER NOT NULL, trust TEXT NOT NULL,
  problem TEXT NOT NULL, signer TEXT NOT NULL, issuer TEXT NOT NULL, signer_key TEXT NOT NULL,
  logged BIGINT NOT NULL, log TEXT NOT NULL, entry BIGINT NOT NULL, licence TEXT NOT NULL,
  negative TEXT NOT NULL, indexed TEXT NOT NULL);
CREATE INDEX fleet_bundle_attestation ON fleet_bundle(attestation);
CREATE INDEX fleet_bundle_signer ON fleet_bundle(signer_key, logged, id);
CREATE INDEX fleet_bundle_unread ON fleet_bundle(id) WHERE type = '' OR negative = 'unreadable claim';
CREATE INDEX fleet_bundle_licence ON fleet_bundle(licence, id) WHERE licence <> '';
CREATE TABLE fleet_held(source INTEGER NOT NULL, bundle INTEGER NOT NULL, gone TEXT NOT NULL,
  PRIMARY KEY(source, bundle));
CREATE INDEX fleet_held_bundle ON fleet_held(bundle);
CREATE TABLE fleet_artifact(bundle INTEGER NOT NULL, role INTEGER NOT NULL, digest TEXT NOT NULL,
  name TEXT NOT NULL, name_key TEXT NOT NULL);
CREATE INDEX fleet_artifact_digest ON fleet_artifact(digest, role, bundle);
CREATE INDEX fleet_artifact_bundle ON fleet_artifact(bundle, role);
CREATE INDEX fleet_artifact_name ON fleet_artifact(name_key, digest);
CREATE TABLE fleet_directory(digest TEXT NOT NULL, version INTEGER NOT NULL, verified INTEGER NOT NULL,
  state INTEGER NOT NULL, PRIMARY KEY(digest, version));
CREATE INDEX fleet_directory_state ON fleet_directory(state) WHERE state <> 1;
CREATE TABLE fleet_inside(digest TEXT NOT NULL, directory TEXT NOT NULL, verified INTEGER NOT NULL,
  PRIMARY KEY(digest, directory));
CREATE INDEX fleet_inside_directory ON fleet_inside(directory, digest);
CREATE TABLE fleet_placement(bundle INTEGER NOT NULL, retired INTEGER NOT NULL, digest TEXT NOT NULL,
  model TEXT NOT NULL, place TEXT NOT NULL, time TEXT NOT NULL);
CREATE INDEX fleet_placement_digest ON fleet_placement(digest);
CREATE TABLE fleet_revocation(bundle INTEGER NOT NULL, kind TEXT NOT NULL, value TEXT NOT NULL,
  since TEXT NOT NULL, reason TEXT NOT NULL);
CREATE INDEX fleet_revocation_value ON fleet_revocation(value);
CREATE TABLE fleet_licence(key TEXT PRIMARY KEY, expression TEXT NOT NULL)
"""

STATEMENTS = tuple(filter(None, (statement.strip() for statement in TABLES.split(";"))))


def key_of_text(text: str) -> str:
    """Return the key of a text in an indexed column."""
    return sha256_hex(text.encode("utf-8", "surrogatepass"))[:KEY_DIGITS]


def plain(text: str) -> str:
    """Return the text as both databases can store it: without NUL and lone surrogates, cut at MAX_CHARS."""
    whole = text[:MAX_CHARS].encode("utf-8", "backslashreplace").decode()
    return whole.replace("\0", "\\x00")

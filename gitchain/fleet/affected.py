"""What a revocation affects: descendants and deployments of revoked attestations, signers and artifacts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from gitchain.errors import NoEvidenceError, UsageError
from gitchain.evidence.vocabulary import REVOCATION, time_text
from gitchain.fleet.answers import Answer, Page
from gitchain.fleet.bundle_rows import NOT_PROVEN
from gitchain.fleet.database import Database
from gitchain.fleet.lineage import MAX_REACHED, Descendant
from gitchain.fleet.placements import placements
from gitchain.fleet.questions import lineage_of, made_rows, with_name
from gitchain.fleet.tables import Role, key_of_text, plain


@dataclass(frozen=True)
class Revoked:
    """What a revocation revokes, or would: an attestation id, a signer from a time on, or an artifact."""

    attestation: str = ""
    signer: str = ""
    issuer: str = ""
    since: datetime | None = None
    artifact: str = ""

    def to_json(self) -> dict[str, str | None]:
        """Return it as in the question of an answer."""
        return {
            "attestation": self.attestation or None,
            "signer": self.signer or None,
            "issuer": self.issuer or None,
            "since": time_text(self.since) if self.since else None,
            "artifact": self.artifact or None,
        }


def affected(database: Database, revoked: Revoked, page: Page) -> Answer:
    """Return the deployments and the artifacts that descend from what a revocation revokes.

    An attestation without products affects the artifacts that it is about. For the id of a revocation, follows what it
    revokes. Raises NoEvidenceError if the index has nothing of it.
    """
    answer = Answer({"kind": "affected", **revoked.to_json()})
    start = (
        with_name(database, revoked.artifact)
        if revoked.artifact
        else _artifacts_of(database, _attestations(database, revoked), answer)
    )
    lineage = lineage_of(database, start, answer)
    rows = [row.joined({"kind": "deployment"}) for row in placements(database, lineage, answer)]
    rows += [row.joined({"kind": "artifact"}) for row in made_rows(database, lineage, lineage.made())]
    return page.fill(answer, rows, database)


_Attestations = list[tuple[int, str]]
"""Number and predicate type of each."""


def _attestations(database: Database, revoked: Revoked) -> _Attestations:
    if revoked.attestation:
        found = _with_id(database, revoked.attestation)
    else:
        since = int(revoked.since.timestamp()) if revoked.since else 0
        sql = """SELECT id, type FROM fleet_bundle WHERE signer_key = ? AND signer = ?
          AND (? = '' OR issuer = ?) AND (logged >= ? OR logged = ?) ORDER BY verified DESC LIMIT ?"""
        by = [key_of_text(revoked.signer), plain(revoked.signer), revoked.issuer, plain(revoked.issuer)]
        found = database.rows("it", sql, [*by, since, NOT_PROVEN, MAX_REACHED + 1])
    if not found:
        raise NoEvidenceError(
            "the index has no such attestation",
            where=database.shown,
            got=ascii((revoked.attestation or revoked.signer)[:200]),
            help="gitchain index SOURCE   adds what a source holds",
        )
    return found


def _with_id(database: Database, prefix: str) -> _Attestations:
    if re.fullmatch("[0-9a-f]{6,64}", prefix) is None:
        raise UsageError(
            "not an attestation id", got=ascii(prefix[:100]), expected="6 to 64 hexadecimal digits"
        )
    sql = "SELECT id, type, attestation FROM fleet_bundle WHERE attestation >= ? AND attestation < ? LIMIT ?"
    found = database.rows("itt", sql, [prefix, prefix + "g", MAX_REACHED + 1])
    if len({attestation for _, _, attestation in found}) > 1:
        raise UsageError(
            "several attestations have an id that starts so", got=prefix, help="give more digits"
        )
    return [(bundle, kind) for bundle, kind, _ in found]


def _artifacts_of(database: Database, attestations: _Attestations, answer: Answer) -> list[Descendant]:
    """Return the artifacts that these attestations made or are about, and those of what revocations among them revoke."""
    start = _artifacts(database, (bundle for bundle, _ in attestations[:MAX_REACHED]))
    start += _revoked_by(database, [bundle for bundle, kind in attestations if kind == REVOCATION])
    if len(attestations) > MAX_REACHED or len(start) > MAX_REACHED:
        answer.notes.append(
            f"more than {MAX_REACHED} attestations or artifacts are revoked: the rest is not followed"
        )
    return start


def _artifacts(database: Database, bundles: Iterable[int]) -> list[Descendant]:
    sql = f"""SELECT verified, digest, attestation, fleet_bundle.id, fleet_artifact.name, stage, step
      FROM fleet_artifact JOIN fleet_bundle ON fleet_bundle.id = fleet_artifact.bundle
      WHERE role IN ({int(Role.PRODUCT)}, {int(Role.TOPIC)}) AND fleet_artifact.bundle IN ({{}})"""  # noqa: S608
    rows = sorted(database.verified_first("ittittt", sql, bundles, MAX_REACHED), key=lambda row: -row[0])
    return [Descendant(digest, verified == 1, None, *made) for verified, digest, *made in rows]


def _revoked_by(database: Database, bundles: list[int]) -> list[Descendant]:
    """Return the artifacts of what these revocations name."""
    sql = "SELECT kind, value FROM fleet_revocation WHERE bundle IN ({})"
    rows = database.among("tt", sql, bundles, MAX_REACHED)
    start = [Descendant(value, verified=True) for kind, value in rows if kind in {"artifact", "unreadable"}]
    for kind, column in (("attestation", "attestation"), ("signer", "signer_key")):
        sql = f"SELECT id FROM fleet_bundle WHERE {column} IN ({{}})"  # noqa: S608 - one of two names
        values = [value for found, value in rows if found == kind]
        start += _artifacts(database, [one for (one,) in database.among("i", sql, values, MAX_REACHED)])
    return start

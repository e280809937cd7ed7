"""Questions to a fleet's index: deployments, signatures, licences (docs/fleets.md). No answer is a verification."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gitchain.errors import NoEvidenceError
from gitchain.evidence.vocabulary import time_text
from gitchain.fleet.answers import (
    BUNDLE,
    BUNDLE_TYPES,
    MAX_ROWS,
    Answer,
    AnswerRow,
    Page,
    complete,
    stale_sources,
)
from gitchain.fleet.bundle_rows import NOT_PROVEN
from gitchain.fleet.database import Database
from gitchain.fleet.directories import count_unopened
from gitchain.fleet.lineage import MAX_REACHED, Descendant, Lineage, descendants
from gitchain.fleet.placements import placements
from gitchain.fleet.tables import Role, key_of_text, plain

DIGEST = re.compile(r"(?:sha256|sha384|sha512|sha3_256|sha3_384|sha3_512):(?P<hex>[0-9a-f]{64,128})")
MODEL_STAGES = frozenset({"training", "step", ""})
"""Lifecycle kinds of statements that may make models: training, the unspecific one, and those of other tools."""

_LICENCES = """SELECT key, expression FROM fleet_licence ORDER BY EXISTS(SELECT 1 FROM fleet_bundle
  WHERE licence = fleet_licence.key AND licence <> '' AND verified = 1) DESC LIMIT ?"""
"""Those in verified statements first: statements of strangers must not hide them."""


def deployed(database: Database, data: str, page: Page) -> Answer:
    """Return the deployments of artifacts that descend from a data set, given by digest or by name."""
    answer = Answer({"kind": "deployed", "data": data})
    lineage = lineage_of(database, with_name(database, data), answer)
    return page.fill(answer, placements(database, lineage, answer), database)


@dataclass(frozen=True)
class Interval:
    """The times from `start` until before `end`."""

    start: datetime
    end: datetime

    @property
    def seconds(self) -> tuple[int, int]:
        """Return both as seconds since 1970; a second that the interval holds in part is in it."""
        return math.floor(self.start.timestamp()), math.ceil(self.end.timestamp())

    def to_json(self) -> dict[str, str]:
        """Return it as in the question of an answer."""
        return {"from": time_text(self.start), "to": time_text(self.end)}


def signed(database: Database, identity: str, issuer: str | None, interval: Interval, page: Page) -> Answer:
    """Return the attestations that an identity signed in an interval, by proven time.

    Those that are not verified have no proven time: a note has their number.
    """
    question = {"kind": "signed", "identity": identity, "issuer": issuer, **interval.to_json()}
    answer = Answer(question, skipped=page.skip, stale=stale_sources(database))
    by = [key_of_text(identity), plain(identity), issuer or "", plain(issuer or "")]
    where = "signer_key = ? AND signer = ? AND (? = '' OR issuer = ?)"
    rows = database.rows(
        "tt" + BUNDLE_TYPES,
        f"SELECT type, step, {BUNDLE} FROM fleet_bundle WHERE {where} AND verified = 1 "  # noqa: S608 - constants
        "AND logged >= ? AND logged < ? ORDER BY logged, id LIMIT ? OFFSET ?",
        [*by, *interval.seconds, page.limit, page.skip],
    )
    ((answer.total,),) = database.rows(
        "i",
        f"SELECT COUNT(*) FROM fleet_bundle WHERE {where} AND verified = 1 AND logged >= ? AND logged < ?",  # noqa: S608
        [*by, *interval.seconds],
    )
    found = [AnswerRow.of(bundle, {"type": kind, "step": step or None}) for kind, step, *bundle in rows]
    answer.rows = complete(database, found, answer.notes)
    sql = f"SELECT id FROM fleet_bundle WHERE {where} AND logged = ? LIMIT ?"  # noqa: S608 - constants
    unproven = len(database.rows("i", sql, [*by, NOT_PROVEN, MAX_ROWS + 1]))
    if unproven:
        count = f"{unproven}" if unproven <= MAX_ROWS else f"more than {MAX_ROWS}"
        answer.notes.append(
            f"not listed: {count} not verified attestations name this identity, without a proven time"
        )
    return answer


def licensed(database: Database, expression: str, page: Page) -> Answer:
    """Return the models made of data under a licence, and those made of data whose licence is unknown."""
    from gitchain.fleet.licences import licences_in, wanted_licences

    wanted = wanted_licences(expression)
    answer = Answer({"kind": "licensed", "licence": expression})
    known = database.rows("tt", _LICENCES, [MAX_ROWS + 1])
    if len(known) > MAX_ROWS:
        answer.notes.append(f"more than {MAX_ROWS} different licences: the rest is not in this answer")
    groups: dict[str, dict[str, str]] = {"licence": {}, "unknown": {}}
    for key, text in known[:MAX_ROWS]:
        licences = licences_in(text)
        if licences is None or wanted <= licences:
            groups["unknown" if licences is None else "licence"][key] = text
    rows = [row for match, texts in groups.items() for row in _made_under(database, match, texts, answer)]
    answer.notes.append(
        "data without a data set attestation has no licence in the index and is not in this answer"
    )
    return page.fill(answer, rows, database)


def _made_under(
    database: Database, match: str, texts: Mapping[str, str], answer: Answer
) -> Iterable[AnswerRow]:
    """Yield the models that descend from data sets with these licences, by key."""
    sql = f"""SELECT digest, verified, licence FROM fleet_bundle
      JOIN fleet_artifact ON fleet_artifact.bundle = fleet_bundle.id
      WHERE role = {int(Role.TOPIC)} AND licence <> '' AND licence IN ({{}})"""  # noqa: S608 - constants
    data = sorted(database.verified_first("tit", sql, list(texts), MAX_REACHED), key=lambda row: row[1])
    start = {digest: Descendant(digest, verified == 1) for digest, verified, _ in data}
    licence = {digest: texts[key] for digest, _, key in data}
    lineage = lineage_of(database, start.values(), answer)
    running = _deployed_among(database, lineage)
    chosen = [one for one in lineage.made() if one.stage in MODEL_STAGES or one.digest in running]
    for row in made_rows(database, lineage, chosen):
        text = licence.get(lineage.root(row.digest))
        yield row.joined({"match": match, "licence": text, "deployed": row.digest in running})


def _deployed_among(database: Database, lineage: Lineage) -> set[str]:
    """Return the digests that a deployment names."""
    sql = "SELECT digest FROM fleet_placement WHERE digest IN ({})"
    return {digest for (digest,) in database.among("t", sql, list(lineage.found), MAX_ROWS)}


def lineage_of(database: Database, start: Iterable[Descendant], answer: Answer) -> Lineage:
    """Return what descends from these artifacts, with a note in the answer if that is not all."""
    lineage = descendants(database, start)
    notes = [f"more than {MAX_REACHED} artifacts descend from it: the rest is not in this answer"]
    answer.notes += [
        note for note in [*(notes if lineage.is_cut else ()), *_gaps(database)] if note not in answer.notes
    ]
    return lineage


def _gaps(database: Database) -> Iterator[str]:
    """Yield notes on indexed statements that no lineage can follow."""
    sql = "SELECT COUNT(*) FROM fleet_bundle WHERE type = '' OR negative = 'unreadable claim'"
    ((unread,),) = database.rows("i", sql)
    if unread:
        yield f"{unread} indexed bundles cannot be parsed: what they state is not followed"
    unopened = count_unopened(database)
    if unopened:
        yield f"{unopened} indexed directories have no complete manifest: what they hold is not followed"


def with_name(database: Database, text: str) -> list[Descendant]:
    """Return the artifacts with this digest or this name. Raises NoEvidenceError if the index has none."""
    match = DIGEST.fullmatch(text)
    if match is not None:
        digest = match["hex"]
        for table in ("fleet_artifact", "fleet_inside"):
            sql = f"SELECT digest FROM {table} WHERE digest = ? LIMIT 1"  # noqa: S608 - one of two names
            if database.rows("t", sql, [digest]):
                return [Descendant(digest, verified=True)]
    else:
        sql = """SELECT DISTINCT digest, verified FROM fleet_artifact
          JOIN fleet_bundle ON fleet_bundle.id = fleet_artifact.bundle WHERE name_key = ?
          ORDER BY verified DESC LIMIT ?"""
        rows = sorted(database.rows("ti", sql, [key_of_text(text), MAX_REACHED + 1]), key=lambda row: row[1])
        if rows:
            return list({digest: Descendant(digest, verified == 1) for digest, verified in rows}.values())
    raise NoEvidenceError(
        "no indexed attestation names this artifact",
        where=database.shown,
        got=ascii(text[:200]),
        help="gitchain index SOURCE   adds what a source holds",
    )


def made_rows(database: Database, lineage: Lineage, chosen: Iterable[Descendant]) -> list[AnswerRow]:
    """Return a row for each of these descendants, with the statement that made it."""
    several = list(chosen)
    sql = f"SELECT {BUNDLE} FROM fleet_bundle WHERE id IN ({{}})"  # noqa: S608 - constants
    bundles = dict.fromkeys(one.bundle for one in several)
    made: dict[int, tuple[Any, ...]] = {
        row[0]: row for row in database.among(BUNDLE_TYPES, sql, bundles, MAX_REACHED)
    }
    return [
        AnswerRow.of(
            made[one.bundle],
            {"name": one.name or None, "digest": one.digest, "step": one.step or None},
            one.digest,
        ).reached(lineage.path(one.digest), verified=one.verified)
        for one in several
        if one.bundle in made
    ]

"""Deployments of artifacts: where, from when and until when, as their signers state it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gitchain.fleet.answers import BUNDLE, BUNDLE_TYPES, MAX_ROWS, Answer, AnswerRow
from gitchain.fleet.bundle_rows import PLACE
from gitchain.fleet.database import Database, damaged
from gitchain.fleet.lineage import Lineage

_SQL = f"""SELECT retired, digest, model, place, time, entry, {BUNDLE} FROM fleet_placement
  JOIN fleet_bundle ON fleet_bundle.id = fleet_placement.bundle WHERE digest IN ({{}})"""  # noqa: S608 - constants


def placements(database: Database, lineage: Lineage, answer: Answer) -> list[AnswerRow]:
    """Return the deployments of the artifacts of a lineage, those that are not retired first.

    A retirement ends the deployments by the same signer at the same place before it. One that is not verified ends
    no verified deployment.
    """
    rows = database.verified_first("ittt" + "ti" + BUNDLE_TYPES, _SQL, list(lineage.found), MAX_ROWS)
    if len(rows) > MAX_ROWS:
        answer.notes.append(
            f"more than {MAX_ROWS} deployments and retirements: the rest is not in this answer"
        )
    standing, ended = dict[tuple[object, ...], AnswerRow](), list[AnswerRow]()
    for retired, digest, model, place, time, entry, *bundle in sorted(rows[:MAX_ROWS], key=_order):
        del entry
        fields = {"model": model, "digest": digest, "place": place_of(database, place), "since": time}
        reached = lineage.found[digest]
        row = AnswerRow.of(bundle, {**fields, "until": None}, digest)
        key = (digest, place, row.signer, row.issuer, row.verified)
        if not retired:
            standing.setdefault(key, row.reached(lineage.path(digest), verified=reached.verified))
        elif key in standing:
            ended.append(standing.pop(key).joined({"until": time or "unknown"}))
    return [*standing.values(), *reversed(ended)]


def _order(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the key that sorts by proven time and log entry; by the stated time without these."""
    return row[11], row[5], row[4], row[6]


def place_of(database: Database, text: str) -> Mapping[str, str]:
    """Return the parts of a place. Raises StoreError for a column that gitchain did not write."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(
        key in PLACE and isinstance(value, str) for key, value in found.items()
    ):
        raise damaged(database.shown, "a place that is no list of names")
    return {part: found[part] for part in PLACE if part in found}

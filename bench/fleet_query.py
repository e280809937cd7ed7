"""The four questions of `gitchain query` against a look-up by primary key, and indexing against verifying alone.

    python bench/fleet_query.py [--bundles 100000] [--rounds 30] [--signed 300]

The rows are generated: groups of five bundles (data set, cleaning, training, evaluation, deployment), a tenth of them of
one signer. The look-up and the questions are taken in turns, in SQLite and, where it is installed, in PostgreSQL. A
question's answer has a few rows. The bundles that are indexed are signed by an embedded instance.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from gitchain.evidence.digest import sha256_hex
from gitchain.fleet.affected import Revoked, affected
from gitchain.fleet.answers import Page
from gitchain.fleet.database import Database, open_database
from gitchain.fleet.licences import licences_in
from gitchain.fleet.questions import Interval, deployed, licensed, signed
from gitchain.fleet.tables import key_of_text
from gitchain.instance import Instance
from gitchain.verify.bundle import verify_bundle
from tests.support.fleets import BundleDirectory, index, verifier_of
from tests.support.postgres_server import postgres_server, programs

GOAL = 100.0
INDEX_GOAL = 2.0
GROUP = 5
LICENCES = ("MIT", "CC-BY-4.0", "Apache-2.0", "CC0-1.0")
RARE = "CC-BY-NC-4.0"
START = 1_767_225_600  # 2026-01-01
TABLES = ("fleet_bundle", "fleet_held", "fleet_artifact", "fleet_placement", "fleet_licence")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--bundles", type=int, default=100_000)
    options.add_argument("--rounds", type=int, default=30)
    options.add_argument("--signed", type=int, default=300)
    given = options.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gitchain-bench-")))
        databases = {"SQLite": str(folder / "fleet.sqlite")}
        if programs() is None:
            print("PostgreSQL is not installed: its rows are left out", file=sys.stderr)
        else:
            databases["PostgreSQL"] = stack.enter_context(postgres_server()).new_database()
        for name, where in databases.items():
            for row in questions(name, where, given.bundles, given.rounds):
                print(json.dumps(row), flush=True)
        print(json.dumps(indexing(folder, given.signed)))


def digest(kind: str, group: int) -> str:
    return sha256_hex(f"{kind} {group}".encode())


def rows(bundles: int) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Yield table and row of everything."""
    for licence in (*LICENCES, RARE):
        yield "fleet_licence", (key_of_text(licence), licence)
    for group in range(bundles // GROUP):
        who = f"person-{group % 1000}@example.com"
        licence = RARE if group == 0 else LICENCES[group % len(LICENCES)]
        made = (
            ("data", "", [(3, "data")]),
            ("clean", "preparation", [(1, "data"), (2, "clean")]),
            ("train", "training", [(1, "clean"), (2, "model")]),
            ("evaluate", "", [(3, "model")]),
            ("deploy", "", [(3, "model")]),
        )
        for step, (name, stage, artifacts) in enumerate(made):
            number = group * GROUP + step + 1
            raw = digest(name, group)
            key = key_of_text(licence) if name == "data" else ""
            yield (
                "fleet_bundle",
                (
                    *(number, raw, raw, "https://example.com/p/v1", name, stage, 1, "bench", ""),
                    *(who, "https://issuer.example.com", key_of_text(who), START + number * 300 % 31_000_000),
                    *("log.example.com", number, key, "", "2026-12-01T12:00:00Z"),
                ),
            )
            yield "fleet_held", (1, number, "")
            for role, what in artifacts:
                yield "fleet_artifact", (number, role, digest(what, group), f"{what}.bin", key_of_text(what))
            if name == "deploy":
                place = json.dumps({"environment": "production", "cluster": f"c{group % 50}"})
                yield (
                    "fleet_placement",
                    (number, 0, digest("model", group), "model.bin", place, "2026-06-01T00:00:00Z"),
                )


def fill(database: Database, where: str, bundles: int) -> None:
    database.run("INSERT INTO fleet_source VALUES(1, 'bench', '1', 'bench', '2026-12-01T12:00:00Z', '', '')")
    waiting: dict[str, list[tuple[object, ...]]] = {table: [] for table in TABLES}
    with database.writing():
        for table, row in rows(bundles):
            waiting[table].append(row)
            if len(waiting[table]) == 20_000:
                write(database, where, table, waiting[table])
        for table, rest in waiting.items():
            write(database, where, table, rest)
    if where.startswith("postgresql:"):  # a server does that by itself, some minutes later
        for table in TABLES:
            database.run(f"ANALYZE {table}")


def write(database: Database, where: str, table: str, several: list[tuple[object, ...]]) -> None:
    if several and where.startswith("postgresql:"):
        connection: Any = database._connection  # noqa: SLF001 - COPY is many times as fast
        with connection._connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:  # noqa: SLF001
            for row in several:
                copy.write_row(row)
    elif several:
        database.many(f"INSERT INTO {table} VALUES({', '.join('?' * len(several[0]))})", several)
    several.clear()


def questions(name: str, where: str, bundles: int, rounds: int) -> Iterator[dict[str, object]]:
    started = time.perf_counter()
    with open_database(where, write=True) as database:
        fill(database, where, bundles)
    setup = time.perf_counter() - started
    licences_in("MIT")  # the list of licences is read once for each process
    groups = bundles // GROUP
    with open_database(where, write=False) as database:
        asked: dict[str, Callable[[int], object]] = {
            "look-up": lambda one: database.rows(
                "t", "SELECT name FROM fleet_bundle WHERE id = ?", [one + 1]
            ),
            "deployed": lambda one: deployed(database, f"sha256:{digest('data', one)}", Page()).rows,
            "signed": lambda one: (
                signed(database, f"person-{one % 1000}@example.com", None, interval(one), Page()).rows
            ),
            "licensed": lambda _: licensed(database, RARE, Page()).rows,
            "affected": lambda one: (
                affected(database, Revoked(attestation=digest("clean", one)), Page()).rows
            ),
        }
        times: dict[str, list[float]] = {question: [] for question in asked}
        for number in range(rounds + 5):
            one = number * 7919 % groups
            for question, ask in asked.items():
                begun = time.perf_counter()
                answer = ask(one)
                times[question].append(time.perf_counter() - begun)
                if not answer:
                    sys.exit(f"{question} has no rows")
    medians = {question: statistics.median(values[5:]) * 1000 for question, values in times.items()}
    for question in list(asked)[1:]:
        yield {
            "name": f"query {question}, {bundles} bundles, {name} / look-up",
            "ours": medians[question],
            "peer": medians["look-up"],
            "unit": "ms",
            "ratio": medians[question] / medians["look-up"],
            "goal": GOAL,
            "setup_seconds": round(setup, 1),
        }


def interval(group: int) -> Interval:
    """Return ten minutes in which the group's signer signed."""
    seconds = START + (group * GROUP + 1) * 300 % 31_000_000
    return Interval(datetime.fromtimestamp(seconds, UTC), datetime.fromtimestamp(seconds + 600, UTC))


def indexing(folder: Path, count: int) -> dict[str, object]:
    """Measure indexing with verification against verification alone; following one new bundle is in the note."""
    instance = Instance.create(folder / "local")
    source = BundleDirectory(folder / "evidence", instance)
    for number in range(count):
        source.make("train", [f"data-{number}"], [f"model-{number}"])
    raw = [path.read_bytes() for path in source.path.iterdir()]
    verifier = verifier_of(instance)
    begun = time.perf_counter()
    for one in raw:
        verify_bundle(one, verifier.trust)
    peer = time.perf_counter() - begun
    with open_database(str(folder / "index.sqlite"), write=True) as database:
        begun = time.perf_counter()
        (report,) = index(database, instance, source.path)
        ours = time.perf_counter() - begun
        source.make("train", ["data-0"], ["new"])
        begun = time.perf_counter()
        index(database, instance, source.path)
        follow = time.perf_counter() - begun
    if report.verified != count:
        sys.exit("not every bundle verified")
    return {
        "name": f"index {count} signed bundles / verify them",
        "ours": ours * 1000 / count,
        "peer": peer * 1000 / count,
        "unit": "ms",
        "ratio": ours / peer,
        "goal": INDEX_GOAL,
        "note": f"{count / ours:.0f} a second; one more: {follow * 1000:.0f} ms",
    }


if __name__ == "__main__":
    main()

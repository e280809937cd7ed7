"""The four questions, over bundles that are signed for real, in SQLite and in PostgreSQL."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gitchain.errors import NoEvidenceError, UsageError
from gitchain.evidence.predicates import RevokedSigner
from gitchain.evidence.vocabulary import TEST_RESULT
from gitchain.fleet.affected import Revoked, affected
from gitchain.fleet.answers import Answer, Page
from gitchain.fleet.database import Database
from gitchain.fleet.lineage import Descendant, descendants
from gitchain.fleet.questions import Interval, deployed, licensed, signed
from gitchain.instance import Instance
from tests.support.fleets import BundleDirectory, content, descriptor, index

ADA = "ada@example.com"
MALLORY = "mallory@example.com"


def names(answer: Answer) -> list[str]:
    return [str(row.fields.get("name") or row.fields.get("model")) for row in answer.rows]


@pytest.fixture
def chain(source: BundleDirectory) -> BundleDirectory:
    """Return data that is cleaned, trained on and deployed, beside another model."""
    source.make("clean", ["raw.csv"], ["clean.csv"], kind="preparation")
    source.make("train", ["clean.csv"], ["model.pkl"])
    source.make("train", ["other.csv"], ["other.pkl"])
    source.deploy("model.pkl")
    source.deploy("other.pkl")
    return source


def test_deployed_finds_descendants_by_name_and_by_digest(
    database: Database, instance: Instance, chain: BundleDirectory
) -> None:
    index(database, instance, chain.path)
    for data in ("raw.csv", f"sha256:{content('raw.csv')}"):
        answer = deployed(database, data, Page())
        (row,) = answer.rows
        assert (row.fields["model"], row.verified, row.fields["until"]) == ("model.pkl", True, None)
        assert row.fields["place"] == {"environment": "production", "cluster": "eu-1"}
        assert len(row.path) == 2
        assert row.sources == (str(chain.path),)
        assert row.prove()[0] == f"gitchain show {row.attestation} --evidence {chain.path}"
    with pytest.raises(NoEvidenceError, match="no indexed attestation"):
        deployed(database, "nothing.csv", Page())


def test_deployed_marks_what_needs_a_statement_that_is_not_verified(
    database: Database, instance: Instance, source: BundleDirectory
) -> None:
    """A forged link makes a descendant, and never one that is marked as verified; a verified way wins."""
    source.make("train", ["raw.csv"], ["model.pkl"], broken=True)
    source.make("tune", ["model.pkl"], ["tuned.pkl"])
    source.deploy("tuned.pkl")
    index(database, instance, source.path)
    (row,) = deployed(database, "raw.csv", Page()).rows
    assert not row.verified
    source.make("clean", ["raw.csv"], ["clean.csv"])
    source.make("train", ["clean.csv"], ["model.pkl"])
    index(database, instance, source.path)
    (row,) = deployed(database, "raw.csv", Page()).rows
    assert row.verified
    assert len(row.path) == 3


def test_deployed_ends_with_a_retirement_of_the_same_signer(
    database: Database, instance: Instance, chain: BundleDirectory
) -> None:
    """One that is not verified, of another signer or of another place ends nothing."""
    chain.retire("model.pkl", broken=True)
    chain.retire("model.pkl", who=MALLORY)
    chain.retire("model.pkl", "staging")
    index(database, instance, chain.path)
    assert [row.fields["until"] for row in deployed(database, "raw.csv", Page()).rows] == [None]
    chain.retire("model.pkl")
    index(database, instance, chain.path)
    assert [row.fields["until"] for row in deployed(database, "raw.csv", Page()).rows] == [
        "2026-11-30T18:00:00Z"
    ]


def test_deployed_ends_in_a_cycle_of_materials(
    database: Database, instance: Instance, source: BundleDirectory
) -> None:
    for number in range(4):
        source.make("turn", [f"state-{number}"], [f"state-{(number + 1) % 4}"])
    source.deploy("state-2")
    index(database, instance, source.path)
    (row,) = deployed(database, "state-0", Page()).rows
    assert len(row.path) == 2


def test_deployed_bounds_what_it_follows(
    database: Database, instance: Instance, source: BundleDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer states that it is not complete."""
    monkeypatch.setattr("gitchain.fleet.lineage.MAX_REACHED", 3)
    source.make("split", ["raw.csv"], [f"part-{number}" for number in range(5)])
    index(database, instance, source.path)
    answer = deployed(database, "raw.csv", Page())
    assert any("descend from it: the rest is not in this answer" in note for note in answer.notes)


def test_signed_lists_an_interval_and_counts_what_is_not_proven(
    database: Database, instance: Instance, source: BundleDirectory
) -> None:
    ids = [source.make(f"step-{number}", ["a"], [f"b{number}"]) for number in range(3)]
    source.make("other", ["a"], ["c"], who=MALLORY)
    source.make("broken", ["a"], ["d"], broken=True)
    index(database, instance, source.path)
    now = datetime.now(UTC)
    interval = Interval(now - timedelta(hours=1), now + timedelta(hours=1))
    answer = signed(database, ADA, None, interval, Page())
    assert {row.attestation for row in answer.rows} == set(ids)
    assert answer.total == 3
    assert all(row.verified and row.signer == ADA and row.issuer for row in answer.rows)
    assert answer.notes == [
        "not listed: 1 not verified attestations name this identity, without a proven time"
    ]
    assert not signed(database, ADA, "https://other.example.com", interval, Page()).rows
    assert not signed(
        database, ADA, None, Interval(now - timedelta(days=2), now - timedelta(days=1)), Page()
    ).rows
    pages = [signed(database, ADA, None, interval, Page(2, skip)) for skip in (0, 2)]
    assert [row.attestation for page in pages for row in page.rows] == [
        row.attestation for row in answer.rows
    ]
    assert [page.is_cut for page in pages] == [True, False]


@pytest.mark.parametrize("licence", ["CC-BY-NC-4.0", "cc-by-nc-4.0", "MIT AND CC-BY-NC-4.0"])
def test_licensed_compares_expressions(
    database: Database, instance: Instance, chain: BundleDirectory, licence: str
) -> None:
    chain.licence("raw.csv", licence)
    chain.licence("other.csv", "MIT")
    index(database, instance, chain.path)
    answer = licensed(database, "CC-BY-NC-4.0", Page())
    assert names(answer) == ["model.pkl"]
    assert (answer.rows[0].fields["match"], answer.rows[0].fields["deployed"]) == ("licence", True)


@pytest.mark.parametrize(
    "licence", ["Our-Own", "MIT AND LicenseRef-ours", "NOASSERTION", "(MIT", "", "x" * 5000, "NUL\0"]
)
def test_licensed_lists_unknown_licences_as_unknown(
    database: Database, instance: Instance, chain: BundleDirectory, licence: str
) -> None:
    """Such data may be under any licence."""
    chain.licence("raw.csv", licence)
    index(database, instance, chain.path)
    answer = licensed(database, "GPL-3.0-only", Page())
    assert [row.fields["match"] for row in answer.rows] == ["unknown"]
    assert names(answer) == ["model.pkl"]


@pytest.mark.parametrize("licence", ["Our-Own", "", "MIT; DROP TABLE fleet_bundle", "(MIT"])
def test_licensed_refuses_what_is_no_expression(database: Database, licence: str) -> None:
    with pytest.raises(UsageError, match="not an SPDX"):
        licensed(database, licence, Page())


def test_affected_follows_attestations_signers_artifacts_and_revocations(
    database: Database, instance: Instance, source: BundleDirectory
) -> None:
    cleaned = source.make("clean", ["raw.csv"], ["clean.csv"], who=MALLORY)
    source.make("train", ["clean.csv"], ["model.pkl"])
    source.deploy("model.pkl")
    tested = source.sign([descriptor("clean.csv")], TEST_RESULT, {"result": "PASSED", "configuration": []})
    for_id = source.revoke(attestation=cleaned)
    index(database, instance, source.path)
    issuer = _issuer(database)
    for_signer = source.revoke(signer=RevokedSigner(issuer, MALLORY))
    for_artifact = source.revoke(artifact="raw.csv")
    index(database, instance, source.path)
    wanted = {"model.pkl"}
    questions = [
        *(
            Revoked(attestation=one)
            for one in (cleaned, cleaned[:8], tested, for_id, for_signer, for_artifact)
        ),
        Revoked(signer=MALLORY),
        Revoked(signer=MALLORY, issuer=issuer),
        Revoked(artifact="raw.csv"),
    ]
    for question in questions:
        answer = affected(database, question, Page())
        assert wanted <= set(names(answer)), question
        assert answer.rows[0].fields["kind"] == "deployment", question
    answer = affected(database, Revoked(artifact="raw.csv"), Page())
    assert {one for row in answer.rows for one in row.revoked} == {for_id, for_signer}
    for nothing in (
        Revoked(attestation="0" * 64),
        Revoked(signer="nobody"),
        Revoked(signer=MALLORY, issuer="x"),
    ):
        with pytest.raises(NoEvidenceError):
            affected(database, nothing, Page())
    with pytest.raises(UsageError):
        affected(database, Revoked(attestation="' OR 1=1 --"), Page())


def _issuer(database: Database) -> str:
    ((issuer,),) = database.rows("t", "SELECT DISTINCT issuer FROM fleet_bundle")
    return str(issuer)


def test_affected_of_a_signer_counts_from_a_time_on(
    database: Database, instance: Instance, chain: BundleDirectory
) -> None:
    index(database, instance, chain.path)
    later = datetime.now(UTC) + timedelta(hours=1)
    with pytest.raises(NoEvidenceError):
        affected(database, Revoked(signer=ADA, since=later), Page())
    assert affected(database, Revoked(signer=ADA, since=later - timedelta(hours=2)), Page()).rows


HOSTILE = [
    "'; DROP TABLE fleet_bundle; --",
    '" OR 1=1',
    "a\x1b[31mb",
    "\u202etxt",
    "x" * 3000,
    "%s %(x)s {} ?",
    "\\",
]


def test_questions_take_hostile_names(
    database: Database, instance: Instance, source: BundleDirectory
) -> None:
    """Names are values: in statements of the database, and in commands to type."""
    for number, name in enumerate(HOSTILE):
        try:
            descriptor(name)
        except Exception:  # noqa: BLE001 - no statement can name it
            continue
        source.make(f"step-{number}", [name], [f"{name} model"])
        source.deploy(f"{name} model", who=f"u{number}@example.com") if len(name) < 900 else None
    (report,) = index(database, instance, source.path)
    assert report.error is None
    assert report.refused == 0
    for name in HOSTILE:
        with contextlib.suppress(NoEvidenceError):
            deployed(database, name, Page())
        for question in (Revoked(artifact=name), Revoked(signer=name)):
            with contextlib.suppress(NoEvidenceError):
                affected(database, question, Page())
        interval = Interval(datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
        assert not signed(database, name, name, interval, Page()).rows
    assert deployed(database, HOSTILE[0], Page()).rows


def test_lineage_follows_directories_that_hold_an_artifact(database: Database) -> None:
    """What a directory of a material holds descends from nothing: its other files are not reached."""
    database.many(
        "INSERT INTO fleet_inside VALUES(?, ?, 0)", [("a", "in"), ("b", "in"), ("x", "out"), ("y", "x")]
    )
    row = ("", "", "", 1, "", "", "", "", "", 1, "", 1, "", "", "")
    database.run(f"INSERT INTO fleet_bundle VALUES(1, 'n', 'id', {', '.join('?' * 15)})", row)
    database.many("INSERT INTO fleet_artifact VALUES(1, ?, ?, '', '')", [(1, "in"), (2, "out")])
    found = descendants(database, [Descendant("a", verified=True)]).found
    assert set(found) == {"a", "in", "out", "x", "y"}
    assert found["y"].verified


def test_questions_state_stale_sources(
    database: Database, instance: Instance, chain: BundleDirectory, tmp_path: Path
) -> None:
    index(database, instance, chain.path)
    chain.path.rename(tmp_path / "away")
    (report,) = index(database, instance, chain.path)
    assert report.error is not None
    answer = deployed(database, "raw.csv", Page())
    assert answer.rows
    assert [(name, since) for name, since, _ in answer.stale] == [(str(chain.path), "2026-12-01T12:00:00Z")]


def test_statements_that_do_not_verify_hide_none_that_does(
    database: Database, instance: Instance, source: BundleDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limits count verified statements first, whatever number of others names the same artifact, name or signer."""
    for module in ("lineage", "questions", "affected"):
        monkeypatch.setattr(f"gitchain.fleet.{module}.MAX_REACHED", 4)
    for module in ("questions", "placements", "answers"):
        monkeypatch.setattr(f"gitchain.fleet.{module}.MAX_ROWS", 4)
    for number in range(8):
        source.make(f"junk-{number}", ["raw.csv"], [f"junk-{number}"], broken=True)
        source.deploy("model.pkl", f"junk-{number}", broken=True)
        source.licence(f"junk-{number}", f"MIT OR BSD-{number}-Clause", broken=True)
    index(database, instance, source.path)
    source.make("train", ["raw.csv"], ["model.pkl"])
    source.deploy("model.pkl")
    source.licence("raw.csv", "CC-BY-NC-4.0")
    index(database, instance, source.path)
    answers = (
        deployed(database, "raw.csv", Page()),
        affected(database, Revoked(artifact="raw.csv"), Page()),
        affected(database, Revoked(signer=ADA), Page()),
        licensed(database, "CC-BY-NC-4.0", Page()),
    )
    for answer in answers:
        assert "model.pkl" in {
            row.fields.get("name") or row.fields.get("model") for row in answer.rows if row.verified
        }
        assert any(note.startswith("more than 4 ") for note in answer.notes), answer.question

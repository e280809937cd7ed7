"""`gitchain index` and `gitchain query`: the commands of docs/fleets.md, their documents, and what they print."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode
from gitchain.evidence.vocabulary import DATASET, DEPLOYMENT
from tests.cli.test_documents import validator
from tests.support.oci_registry import small_registry
from tests.support.postgres_server import PostgresServer, postgres_server

Gitchain = Callable[..., Any]
Git = Callable[..., str]
PAGE = Path(__file__).parents[2] / "docs" / "fleets.md"


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def deployed(gitchain: Gitchain, tiny: Path) -> Path:
    """Return a repository whose model is deployed and whose data has a licence."""
    terms = {
        "source": "https://example.com/d",
        "licence": "CC-BY-4.0",
        "consent": "unknown",
        "personalData": "none",
    }
    place = {
        "model": "model.txt",
        "environment": "production",
        "deployedBy": "ada",
        "deployedOn": "2026-11-30T12:00:00Z",
    }
    (tiny / "terms.json").write_text(json.dumps(terms))
    (tiny / "place.json").write_text(json.dumps(place))
    for command in (
        ("train", "-m", "in.txt", "-p", "model.txt"),
        ("data", "--type", DATASET, "--predicate", "terms.json", "-m", "in.txt"),
        ("deploy", "--type", DEPLOYMENT, "--predicate", "place.json", "-m", "model.txt"),
    ):
        done = gitchain("attest", *command, "--as", "ada@example.com", cwd=tiny)
        assert done.code == ExitCode.OK, done.text
    return tiny


def documents(gitchain: Gitchain, repo: Path, *command: str) -> dict[str, Any]:
    done = gitchain(*command, "--json", cwd=repo)
    assert done.code == ExitCode.OK, done.text
    document: dict[str, Any] = done.json
    validator(command[0]).validate(document)
    return document


def page_commands() -> list[list[str]]:
    lines = re.findall(r"^\$ gitchain (.+)$", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    return [line.split() for line in lines]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_fleets_page_commands_run(
    gitchain: Gitchain, deployed: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """Each command of the page ends with 0, in both databases; the page's server is the test's."""
    url = ""
    if kind == "postgresql":
        server: PostgresServer = request.getfixturevalue("server")
        url = server.new_database()
    commands = [one for one in page_commands() if ("--database" in one) == bool(url)]
    assert len(commands) >= 2
    for command in commands:
        named = {"data.csv": "in.txt"}
        typed = [url if part.startswith("postgresql://") else named.get(part, part) for part in command]
        done = gitchain(*typed, cwd=deployed)
        assert done.code == ExitCode.OK, (command, done.text)
        assert "s3cret" not in done.text


QUESTIONS = {
    "deployed": ("deployed", "in.txt"),
    "signed": ("signed", "ada@example.com", "--from", "2026-01-01"),
    "licensed": ("licensed", "CC-BY-4.0"),
    "affected": ("affected", "--artifact", "in.txt"),
    "affected by a signer": ("affected", "--signer", "ada@example.com"),
}


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_query_rows_have_commands_that_prove_them(
    gitchain: Gitchain, deployed: Path, question: tuple[str, ...]
) -> None:
    """Each answer states that it is a hint; the commands of each row verify it."""
    documents(gitchain, deployed, "index", ".")
    answer = documents(gitchain, deployed, "query", *question)
    assert "hints" in answer["hint"]
    for row in answer["rows"]:
        assert row["verifiedWhenIndexed"]
        for line in row["prove"]:
            words = line.split()
            assert words[0] == "gitchain"
            if words[1] == "verify" and "model.txt" not in {row.get("name"), row.get("model")}:
                continue  # the layout serves models alone
            assert gitchain(*words[1:], cwd=deployed).code == ExitCode.OK, line
    done = gitchain("query", *question, cwd=deployed)
    assert "hints, not results of verification" in done.err
    assert "prove     gitchain" in done.err
    assert "when indexed" in done.out


def test_query_without_rows_is_nothing(gitchain: Gitchain, deployed: Path) -> None:
    assert gitchain("query", "deployed", "in.txt", cwd=deployed).code == ExitCode.UNAVAILABLE
    documents(gitchain, deployed, "index", ".")
    for command, code in (
        (("signed", "eve@example.com", "--from", "2026-01-01"), ExitCode.NOTHING),
        (("licensed", "MIT"), ExitCode.NOTHING),
        (("deployed", "nothing.csv"), ExitCode.NOTHING),
        (("affected", "0" * 64), ExitCode.NOTHING),
        (("affected",), ExitCode.USAGE),
        (("affected", "0" * 64, "--signer", "x"), ExitCode.USAGE),
        (("affected", "0" * 64, "--since", "2026-01-01"), ExitCode.USAGE),
        (("licensed", "no such licence"), ExitCode.USAGE),
        (("signed", "x", "--from", "2026-01-02", "--to", "2026-01-01"), ExitCode.USAGE),
        (("deployed", ""), ExitCode.USAGE),
        (("signed", "x", "--from", "0001-01-01T00:00+14:00"), ExitCode.USAGE),
    ):
        done = gitchain("query", *command, cwd=deployed)
        assert done.code == code, (command, done.text)


def test_query_states_limits_and_pages(gitchain: Gitchain, deployed: Path) -> None:
    documents(gitchain, deployed, "index", ".")
    question = ("query", "signed", "ada@example.com", "--from", "2026-01-01")
    done = gitchain(*question, "--limit", "1", cwd=deployed)
    assert "--skip 1" in done.err, done.text
    whole = documents(gitchain, deployed, *question)["rows"]
    paged = [
        documents(gitchain, deployed, *question, "--limit", "1", "--skip", str(one))["rows"]
        for one in range(len(whole))
    ]
    assert [row for (row,) in paged] == whole


def test_index_of_a_failed_source_does_not_stop_the_others(
    gitchain: Gitchain, deployed: Path, tmp_path: Path
) -> None:
    """The exit code is that of the first that failed; the others are indexed."""
    missing = f"git+file://{tmp_path}/missing"
    (tmp_path / "list").write_text(f"# fleet\n{missing}\n\n{deployed}\n")
    done = gitchain("index", "--sources", str(tmp_path / "list"), "--json", cwd=deployed)
    assert done.code == ExitCode.UNAVAILABLE
    validator("index").validate(done.json)
    assert [one["result"] for one in done.json["sources"]] == ["failed", "indexed"]
    assert done.json["sources"][0]["staleSince"]
    answer = documents(gitchain, deployed, "query", "deployed", "in.txt")
    assert [one["source"] for one in answer["staleSources"]] == [missing]
    done = gitchain("index", cwd=deployed)
    assert done.code == ExitCode.UNAVAILABLE
    assert "unchanged" in done.out
    assert "FAILED" in done.out


def test_index_removes_a_source_that_was_a_mistake(
    gitchain: Gitchain, deployed: Path, tmp_path: Path
) -> None:
    """A wrong name is not in every answer for ever, and the rows of the other sources stay."""
    gitchain("index", "typo", str(deployed), cwd=deployed)
    assert gitchain("index", cwd=deployed).code != ExitCode.OK
    done = gitchain("index", "--remove", "typo", "--json", cwd=deployed)
    assert done.code == ExitCode.OK, done.text
    validator("index").validate(done.json)
    ((removed),) = done.json["sources"]
    assert (removed["source"], removed["result"], removed["gone"]) == (str(deployed / "typo"), "removed", 0)
    assert gitchain("index", cwd=deployed).code == ExitCode.OK
    answer = documents(gitchain, deployed, "query", "deployed", "in.txt")
    assert answer["rows"]
    assert not answer["staleSources"]
    again = gitchain("index", "--remove", "typo", cwd=deployed)
    assert (again.code, "does not have this source" in again.text) == (ExitCode.USAGE, True)
    assert gitchain("index", "--remove", cwd=deployed).code == ExitCode.USAGE


def test_index_keeps_the_rows_of_a_rewound_source(gitchain: Gitchain, deployed: Path, git: Git) -> None:
    """A rewound history is reported, and replaces nothing."""
    documents(gitchain, deployed, "index", ".")
    git(deployed, "update-ref", "-d", "refs/gitchain/attestations")
    done = gitchain("index", ".", cwd=deployed)
    assert done.code == ExitCode.TRUST
    assert "lost attestations" in done.out
    assert "stale since" in done.out
    answer = documents(gitchain, deployed, "query", "deployed", "in.txt")
    assert answer["rows"]
    assert answer["staleSources"][0]["since"]


def test_index_marks_what_it_does_not_verify(gitchain: Gitchain, deployed: Path) -> None:
    """Rows without verification are verified by the next index that does it."""
    document = documents(gitchain, deployed, "index", ".", "--no-verify")
    assert document["trust"] is None
    (row,) = documents(gitchain, deployed, "query", "deployed", "in.txt")["rows"]
    assert (row["verifiedWhenIndexed"], row["logged"]) == (False, None)
    assert "not verified" in gitchain("query", "deployed", "in.txt", cwd=deployed).out
    documents(gitchain, deployed, "index")
    (row,) = documents(gitchain, deployed, "query", "deployed", "in.txt")["rows"]
    assert row["verifiedWhenIndexed"]


def test_show_reads_another_source_outside_of_a_repository(
    gitchain: Gitchain, deployed: Path, tmp_path: Path
) -> None:
    documents(gitchain, deployed, "index", ".")
    (row,) = documents(gitchain, deployed, "query", "deployed", "in.txt")["rows"]
    outside = tmp_path / "outside"
    outside.mkdir()
    command = ("show", row["attestation"], "--evidence", f"git+file://{deployed}")
    assert gitchain(*command, "--trust", "local", cwd=outside).code == ExitCode.OK
    assert gitchain(*command, cwd=outside).code == ExitCode.USAGE


def test_index_follows_a_registry_a_directory_and_a_repository(
    gitchain: Gitchain, deployed: Path, tmp_path: Path
) -> None:
    """One bundle in three sources has one row with all three; what is new in one of them is found there."""
    folder = tmp_path / "evidence"
    with small_registry() as registry:
        place = f"oci://{registry.host}/team/evidence:models"
        for to in (str(folder), place):
            assert gitchain("bundle", "push", to, cwd=deployed).code == ExitCode.OK
        first = documents(gitchain, deployed, "index", ".", str(folder), place)["sources"]
        assert [one["new"] > 0 for one in first] == [True, False, False]
        assert len({one["held"] for one in first}) == 1
        (row,) = documents(gitchain, deployed, "query", "deployed", "in.txt")["rows"]
        assert set(row["sources"]) == {f"git+file://{deployed}", str(folder), place}
        (deployed / "model.txt").write_text("another")
        assert (
            gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=deployed).code == ExitCode.OK
        )
        assert gitchain("bundle", "push", place, cwd=deployed).code == ExitCode.OK
        second = documents(gitchain, deployed, "index", place)["sources"]
        assert [(one["source"], one["new"]) for one in second] == [(place, 1)]
    done = gitchain("index", "--json", cwd=deployed)
    assert [one["result"] for one in done.json["sources"]] == ["indexed", "unchanged", "failed"]
    assert done.code == ExitCode.UNAVAILABLE

"""The commands of the pages that ask many repositories, typed for two of them: in SQLite and in PostgreSQL."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gitchain.evidence.vocabulary import DATASET, DEPLOYMENT
from tests.support.page_commands import lines, repository, type_lines
from tests.support.postgres_server import postgres_server
from tests.support.shell import Shell

FLEET = """
gitchain index .
gitchain index . git+https://git.example.com/team/model.git
gitchain index git+https://git.example.com/team/model.git
gitchain index
gitchain query deployed data.csv
gitchain query signed ada@example.com --from 2026-01-01
gitchain query signed ada@example.com --from 2026-11-01 --to 2026-12-01
gitchain query licensed CC-BY-4.0
gitchain query licensed CC-BY-NC-4.0
gitchain query affected --artifact data.csv
gitchain query affected --signer ada@example.com --since 2026-01-01
gitchain query affected --signer ada@example.com --since 2026-11-01
gitchain query affected 4c5478ab616a
gitchain show 4c5478ab616a --evidence git+https://git.example.com/team/model.git --trust public
"""
DATABASE_SERVER = """
gitchain index . --database postgresql://gitchain@db.example.com/gitchain
gitchain index --sources fleet.txt --database postgresql://db.example.com/gitchain
gitchain query deployed data.csv --database postgresql://gitchain@db.example.com/gitchain
"""


def terms(licence: str) -> str:
    return json.dumps(
        {
            "source": "https://example.com/d",
            "licence": licence,
            "consent": "unknown",
            "personalData": "none",
        }
    )


@pytest.fixture
def deployed(tmp_path: Path) -> Shell:
    """Return a repository with a deployed model of two data sets, whose attestations are at its remote."""
    place = {
        "model": "model.pkl",
        "environment": "production",
        "deployedBy": "ada",
        "deployedOn": "2026-11-30T12:00:00Z",
    }
    shell = repository(
        tmp_path,
        {
            "data.csv": "1,2\n",
            "more.csv": "3,4\n",
            "model.pkl": "a model\n",
            "terms.json": terms("CC-BY-4.0"),
            "more.json": terms("CC-BY-NC-4.0"),
            "place.json": json.dumps(place),
            "fleet.txt": "# the repositories of the team\n.\n",
        },
    )
    for command in (
        "gitchain init --local",
        "gitchain attest train -m data.csv -m more.csv -p model.pkl",
        f"gitchain attest data --type {DATASET} --predicate terms.json -m data.csv",
        f"gitchain attest data --type {DATASET} --predicate more.json -m more.csv",
        f"gitchain attest deploy --type {DEPLOYMENT} --predicate place.json -m model.pkl",
        "git add -A && git commit -qm model && git push -q origin main",
        "gitchain sync",
    ):
        type_lines(shell, [command])
    return shell


def test_commands_of_the_pages_about_many_repositories(deployed: Shell, tmp_path: Path) -> None:
    """Each ends with 0; the repository's remote and its trust are those of the session."""
    own = {
        "git+https://git.example.com/team/model.git": f"git+file://{tmp_path / 'origin.git'}",
        "--trust public": "--trust local",
    }
    type_lines(deployed, lines(FLEET), own)


def test_commands_of_the_pages_with_a_database_server(deployed: Shell) -> None:
    """The server is the test's."""
    with postgres_server() as server:
        url = f"'{server.new_database()}'"
        pages = ("postgresql://gitchain@db.example.com/gitchain", "postgresql://db.example.com/gitchain")
        type_lines(deployed, lines(DATABASE_SERVER), dict.fromkeys(pages, url))

"""docs/audit.md: every command of the page, typed in an empty directory with nothing but an archive."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.evidence.predicates import DEPLOYMENT
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import DATASET, RETIREMENT
from tests.support.model_versions import Version, Workshop, descriptor, workshop_in

Gitchain = Callable[..., Any]
PAGE = Path(__file__).parents[2] / "docs" / "audit.md"
TERMS = {
    "source": "https://example.com/d",
    "licence": "CC0-1.0",
    "consent": "obtained",
    "personalData": "none",
}
PLACE = {"model": "model.bin", "environment": "production", "cluster": "eu-1", "namespace": "scoring"}
DEPLOYED = PLACE | {"deployedBy": "ada@example.com", "deployedOn": "2026-11-30T12:00:00Z"}
RETIRED = PLACE | {"retiredBy": "ada@example.com", "retiredOn": "2026-11-30T13:00:00Z"}


def commands() -> list[str]:
    """Return the lines of the page that a reader types."""
    blocks = re.findall(r"^```text\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


@pytest.fixture
def workshop(gitchain: Gitchain, tiny: Path) -> Workshop:
    """Return a repository with two versions of a model, facts about its data, a deployment and a retirement."""
    found = workshop_in(tiny, lambda: gitchain("layout", "sign", "--no-lint", cwd=tiny))
    found.add(Version("model.bin", "old", parameters={"p.yaml": {"lr": 1}}, trainer="bob@example.com"))
    found.add(Version("model.bin", "new", parameters={"p.yaml": {"lr": 2}}, trainer="bob@example.com"))
    for kind, item, predicate in (
        (DATASET, descriptor("data/raw.csv", "raw"), TERMS),
        (DEPLOYMENT, descriptor("model.bin", "new"), DEPLOYED),
        (RETIREMENT, descriptor("model.bin", "new"), RETIRED),
    ):
        found.sign("ada@example.com", [Statement.build([item], kind, predicate)])
    return found


def test_the_page_answers_its_questions(gitchain: Gitchain, workshop: Workshop, tmp_path: Path) -> None:
    """Without the repository, without a network, with a home directory that is empty."""
    made = gitchain("archive", "model.bin", "--json", "-o", str(tmp_path / "model.tar"), cwd=workshop.repo)
    assert made.code == 0, made.text
    fresh, home = tmp_path / "fresh", tmp_path / "reader"
    fresh.mkdir()
    home.mkdir()
    shutil.move(tmp_path / "model.tar", fresh)
    shutil.rmtree(workshop.repo)
    signer = made.json["signer"]
    named = {
        "ROOT": f"sha256:{made.json['trustDigest']}",
        "SIGNER": signer["subject"],
        "ISSUER": signer["issuer"],
    }
    lines = [
        f"{line.split('=')[0]}={named[line.split('=')[0]]}" if line.split("=")[0] in named else line
        for line in commands()
    ]
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(home),
    }
    script = "\n".join(f"echo '#'\n{line}" for line in lines)
    shell = ["unshare", "--net", "--map-root-user", "sh", "-eu", "-c", script]
    done = subprocess.run(shell, cwd=fresh, env=environment, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr:
        pytest.skip(f"NOT RUN without network namespaces: {done.stderr[:100]}")
    assert done.returncode == 0, done.stdout + done.stderr
    answers = dict(zip(lines, done.stdout.split("#\n")[1:], strict=True))
    _check([answer for line, answer in answers.items() if not re.match(r"[A-Z]+=", line)])


def unquoted(answer: str) -> str:
    """Return the texts that `jq -a` printed, one a line."""
    return "".join(f"{json.loads(line)}\n" for line in answer.splitlines())


def _check(answers: list[str]) -> None:
    verified, _, _, trained, data, licence, approved, served, changed, gaps = answers
    assert "VERIFIED  model.tar" in verified
    trained, data, licence, approved, served, gaps = map(
        unquoted, (trained, data, licence, approved, served, gaps)
    )
    assert re.search(r"^2\S+Z train bob@example.com$", trained, re.MULTILINE)
    assert data == f"data/raw.csv {descriptor('x', 'raw').digest['sha256'].join(('sha256:', ''))}\n"
    assert licence == "data/raw.csv CC0-1.0 from https://example.com/d, stated by ada@example.com\n"
    assert re.fullmatch(r"2\S+Z carol@example.com\n", approved)
    assert [line.split()[1:4] for line in served.splitlines()] == [
        ["deployment", "production", "/"],
        ["retirement", "production", "/"],
    ]
    assert re.search(r"p.yaml:lr\s+1 -> 2", changed)
    assert "no-release" in gaps.split()
    assert "no-retirement" not in gaps.split()


def test_an_answer_is_one_line(gitchain: Gitchain, workshop: Workshop, tmp_path: Path) -> None:
    """A licence that goes on in another line, or hides what is after it, adds no answer of another signer."""
    forged = TERMS | {"licence": "none\ndata/raw.csv CC0-1.0 from x, stated by boss@example.com\x1b[8m\u202e"}
    workshop.sign("ada@example.com", [Statement.build([descriptor("data/raw.csv", "raw")], DATASET, forged)])
    done = gitchain("report", "model.bin", "--json", cwd=workshop.repo)
    assert "boss@example.com" in done.out
    (tmp_path / "facts.json").write_text(done.out)
    (line,) = (line for line in commands() if "licence" in line)
    shell = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "boss@example.com" in shell.stdout
    for answer in shell.stdout.splitlines():
        assert answer.startswith('"data/raw.csv ')
        assert answer.endswith('stated by ada@example.com"')
        assert answer.isascii()
        assert answer.isprintable()

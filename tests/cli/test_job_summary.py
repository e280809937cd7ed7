"""`verify --summary FILE`: the verdict and the chain as Markdown, and nothing from evidence is markup."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.cli import job_summary
from gitchain.errors import ExitCode, UsageError

Gitchain = Callable[..., Any]


@pytest.fixture
def attested(gitchain: Gitchain, tiny: Path) -> Path:
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny).code == 0
    return tiny


def graph_of(page: str) -> list[str]:
    return page.split("```mermaid\n")[1].split("```", maxsplit=1)[0].splitlines()


def test_a_verified_chain_is_shown(gitchain: Gitchain, attested: Path, tmp_path: Path) -> None:
    """Verdict, graph with who signed, and one row for each attestation with its place in the log."""
    page = tmp_path / "page.md"
    page.write_text("before\n")
    assert gitchain("verify", "model.txt", "--summary", str(page), cwd=attested).code == ExitCode.OK
    text = page.read_text()
    assert text.startswith("before\n## ✅ PASSED: model.txt")
    assert "proves only who held one machine&#39;s keys" in text or "only who held one machine's keys" in text
    graph = graph_of(text)
    assert graph[0] == "graph LR"
    assert any("train<br/>ada" in line for line in graph)
    assert any(re.fullmatch(r' +s0 --> target\(\["model.txt"\]\)', line) for line in graph)
    rows = [line for line in text.splitlines() if line.startswith("| train | ada@example.com |")]
    assert len(rows) == 1
    assert rows[0].split("|")[5].strip().endswith(" 1") or rows[0].split("|")[5].strip()[-1].isdigit()


def test_a_failure_names_what_and_help(gitchain: Gitchain, attested: Path, tmp_path: Path) -> None:
    """A changed model fails, the page says so in red, with the finding's code."""
    (attested / "model.txt").write_text("other")
    page = tmp_path / "page.md"
    done = gitchain("verify", "model.txt", "--summary", str(page), cwd=attested)
    assert done.code != ExitCode.OK
    text = page.read_text()
    assert "## ⛔ FAILED: model.txt" in text
    assert re.search(r"^- \*\*error GC-E\d{4}\*\*", text, re.MULTILINE)
    assert "style target fill:#fcc" in text
    assert "✅" not in text


def test_no_verdict_is_told_too(gitchain: Gitchain, attested: Path, tmp_path: Path) -> None:
    """Where nothing could be decided, the page holds the error and what to type."""
    page = tmp_path / "page.md"
    done = gitchain("verify", "nothing-there", "--summary", str(page), cwd=attested)
    assert done.code == ExitCode.USAGE
    assert "## ⛔ No verdict: nothing-there" in page.read_text()
    assert "- help: " in page.read_text()


def test_several_targets_share_a_page(gitchain: Gitchain, attested: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    done = gitchain("verify", "model.txt", "missing", "--summary", str(page), cwd=attested)
    assert done.code != ExitCode.OK
    text = page.read_text()
    assert "## ✅ PASSED: model.txt" in text
    assert "## ⛔ No verdict: missing" in text


def test_a_page_that_cannot_be_written_is_no_pass(gitchain: Gitchain, attested: Path, tmp_path: Path) -> None:
    done = gitchain("verify", "model.txt", "--summary", str(tmp_path / "no" / "page.md"), cwd=attested)
    assert done.code == ExitCode.UNAVAILABLE
    assert "cannot write the summary" in done.err


@pytest.mark.parametrize(
    "text",
    [
        '<img src=x onerror="alert(1)">',
        "[here](javascript:alert(1))",
        "a|b\n## PASSED",
        '"]; click s0 "javascript:alert(1)"',
        "```\n",
        "\u202eevil\x1b[2J",
        "**bold** _it_ `code` ~~no~~ &lt;",
    ],
)
def test_hostile_text_is_no_markup(text: str) -> None:
    """Whatever is in a name, no character of it can open a tag, a link, a cell, a fence or a node."""
    page = job_summary.failures([(text, UsageError(text, help=text))])
    body = page.replace("## ⛔ No verdict: ", "").replace("- help: ", "")
    assert not set(re.sub(r"&#\d+;", "", body)) & set("<>[]()|`*_~\"'&#\x1b\u202e\\{}!")
    assert len(page.splitlines()) < 8


def test_much_is_cut_and_counted() -> None:
    """A thousand targets make a page of twenty and a count."""
    page = job_summary.failures([(f"target {number}", UsageError("x")) for number in range(1000)])
    assert page.count("No verdict") == job_summary.MAX_VERDICTS
    assert "980 more" in page
    assert len(job_summary.failures([("t" * 100_000, UsageError("x"))])) < 1000

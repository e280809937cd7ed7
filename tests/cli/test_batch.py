"""Many targets in one call: one line each, one document, and a code that only says 0 if all of them passed."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gitchain.errors import ExitCode
from tests.cli.test_documents import validator

Gitchain = Callable[..., Any]
ATTEST = ["attest", "train", "-m", "in.txt", "-p", "model.txt"]


@pytest.fixture
def attested(gitchain: Gitchain, tiny: Path) -> Path:
    assert gitchain(*ATTEST, cwd=tiny).code == 0
    (tiny / "other.txt").write_text("other")
    return tiny


def test_several_targets_are_one_line_each(gitchain: Gitchain, attested: Path) -> None:
    """One result line for each target in the order of the arguments; the lowest code that is not 0 is the answer."""
    done = gitchain("verify", "model.txt", "other.txt", "nosuch.txt", "model.txt", cwd=attested)
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == ["PASSED", "FAILED", "ERROR", "PASSED"]
    assert "GC-E0201" in lines[1]
    assert "no such file or revision" in lines[2]
    assert done.code == ExitCode.USAGE
    assert "2 of 4 target(s) passed" in done.err


def test_all_that_passed_is_0(gitchain: Gitchain, attested: Path) -> None:
    """0 means that every target passed."""
    assert gitchain("verify", "model.txt", "./model.txt", cwd=attested).code == ExitCode.OK


@pytest.mark.parametrize("explain", [(), ("--explain",)], ids=["plain", "explain"])
def test_the_document_has_every_result(gitchain: Gitchain, attested: Path, explain: tuple[str, ...]) -> None:
    """Verdicts and errors stand in one document, each under its target, and it validates."""
    done = gitchain("verify", "--json", *explain, "model.txt", "nosuch.txt", "other.txt", cwd=attested)
    validator("cli").validate(done.json)
    assert done.json["verificationResult"] == "FAILED"
    results = done.json["results"]
    assert [one["target"] for one in results] == ["model.txt", "nosuch.txt", "other.txt"]
    assert [one.get("verificationResult") for one in results] == ["PASSED", None, "FAILED"]
    assert ("checks" in results[0]) == bool(explain)


def test_a_batch_is_a_file_of_targets(gitchain: Gitchain, attested: Path) -> None:
    """One target a line, empty lines left out, Windows line ends too; arguments come first."""
    (attested / "list").write_bytes(b"model.txt\r\n\nother.txt")
    done = gitchain("verify", "--batch", "list", "model.txt", cwd=attested)
    assert [line.split()[:2] for line in done.out.splitlines()] == [
        ["PASSED", "model.txt"],
        ["PASSED", "model.txt"],
        ["FAILED", "other.txt"],
    ]


def test_a_batch_comes_from_a_pipe(
    gitchain: Gitchain, attested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-` is the standard input; one line is a batch too, with one result line."""
    monkeypatch.setattr(
        sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"model.txt\n"), encoding="utf-8", errors="strict")
    )
    done = gitchain("verify", "--batch", "-", "--json", cwd=attested)
    assert [one["target"] for one in done.json["results"]] == ["model.txt"]
    assert done.code == ExitCode.OK


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", ExitCode.NOTHING),
        (b"\n\n", ExitCode.NOTHING),
        (b"\xff\n", ExitCode.USAGE),
        (b"a" * 9000, ExitCode.LIMIT),
    ],
    ids=["empty", "blank", "bytes", "long"],
)
def test_a_batch_that_names_nothing_never_passes(
    gitchain: Gitchain, attested: Path, data: bytes, code: ExitCode
) -> None:
    """No target is no pass; broken lists are errors."""
    (attested / "list").write_bytes(data)
    assert gitchain("verify", "--batch", "list", cwd=attested).code == code


def test_one_layout_decides_about_all(gitchain: Gitchain, attested: Path) -> None:
    """What is wrong with the layout is said once, before any target."""
    (attested / ".gitchain/layout.sigstore.json").unlink()
    done = gitchain("verify", "--json", "model.txt", "other.txt", cwd=attested)
    assert done.code == ExitCode.LAYOUT
    assert json.loads(done.out)["schema"].startswith("https://gitchain.dev/error/")

"""`gitchain diff` with sides that fail and with hostile evidence: correct, small and harmless output."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode
from gitchain.evidence.canonical import Json
from tests.cli.test_diff import NEW, OLD, changes, sha256
from tests.cli.test_diff import workshop as workshop  # noqa: PLC0414 - a fixture
from tests.cli.test_documents import validator
from tests.support.model_versions import Version, Workshop

Gitchain = Callable[..., Any]
MARKUP = "<script>alert(1)</script>|`x`\n# [a](https://example.com) @team **b**"
BIDI = "\u202etxet\u2066"
ANSI = "\x1b[2J\x1b]0;title\x07"


def diff(gitchain: Gitchain, workshop: Workshop, a: str, b: str, *options: str) -> Any:
    """Return a finished `diff --json` whose document validates."""
    done = gitchain("diff", "--json", a, b, *options, cwd=workshop.repo)
    validator("diff").validate(done.json)
    return done


def test_diff_of_a_failed_side_says_so_first(gitchain: Gitchain, workshop: Workshop) -> None:
    """A side that fails has its verdict and findings at the top, and the exit code of verify; claims are compared."""
    workshop.add(OLD)
    stranger = replace(NEW, parameters={"params.yaml": {"lr": 1}})
    workshop.sign("ada@example.com", [workshop.prepare(stranger), workshop.train(stranger)])
    (workshop.repo / "new.bin").write_text("new")
    for order, exits in ((("old.bin", "new.bin"), ("a", "b")), (("new.bin", "old.bin"), ("b", "a"))):
        done = diff(gitchain, workshop, *order)
        assert done.code == gitchain("verify", "new.bin", cwd=workshop.repo).code == ExitCode.FAILED
        assert [done.json[side]["verificationResult"] for side in exits] == ["PASSED", "FAILED"]
        assert {one["name"] for one in done.json[exits[1]]["steps"]} == {"prepare", "train"}
        assert [one[0] for one in changes(done.json, "parameters")] == ["params.yaml:lr"]
    shown = gitchain("diff", "old.bin", "new.bin", cwd=workshop.repo).out.splitlines()
    assert [line.split()[0] for line in shown[:2]] == ["PASSED", "FAILED"]
    assert "no chain satisfies the layout" in "".join(shown[2:6])
    page = gitchain("diff", "old.bin", "new.bin", "--markdown", cwd=workshop.repo).out
    assert "**FAILED** ⛔" in page
    assert "No chain satisfies the layout" in page


def test_diff_takes_no_statement_of_a_stranger(gitchain: Gitchain, workshop: Workshop) -> None:
    """Of a side that fails, only statements of the step's functionaries are compared, however new others are."""
    workshop.add(OLD)
    honest = replace(NEW, parameters={"params.yaml": {"lr": 1}})
    workshop.sign("ada@example.com", [workshop.prepare(honest), workshop.train(honest)])
    workshop.sign(
        "mallory@example.com", [workshop.train(replace(NEW, parameters={"params.yaml": {"lr": 99}}))]
    )
    (workshop.repo / "new.bin").write_text("new")
    done = diff(gitchain, workshop, "old.bin", "new.bin")
    assert done.code == ExitCode.FAILED
    assert changes(done.json, "parameters") == [("params.yaml:lr", "added", None, 1)]
    assert "mallory" not in json.dumps(done.json["groups"])


def test_diff_of_a_changed_file_compares_nothing_else(gitchain: Gitchain, workshop: Workshop) -> None:
    """If no statement is about a file that failed, only the files differ: nothing is called added or removed."""
    workshop.add(OLD, NEW)
    (workshop.repo / "new.bin").write_text("tampered")
    done = diff(gitchain, workshop, "old.bin", "new.bin")
    assert done.code == ExitCode.FAILED
    assert done.json["b"]["steps"] == []
    assert {name for name, group in done.json["groups"].items() if group["changes"]} == {"model"}
    shown = gitchain("diff", "old.bin", "new.bin", cwd=workshop.repo).out
    assert "only models and layout are compared" in shown
    assert [line.split()[0] for line in shown.splitlines() if " proven " in line] == ["model", "layout"]
    page = gitchain("diff", "old.bin", "new.bin", "--markdown", cwd=workshop.repo).out
    assert ("Not compared: data, parameters," in page, "Not stated" in page) == (True, False)


def test_diff_shows_both_digests_of_a_finding(gitchain: Gitchain, workshop: Workshop) -> None:
    """The finding of a changed file shows the attested and the actual digest, as text and as Markdown."""
    workshop.add(OLD, NEW)
    (workshop.repo / "new.bin").write_text("tampered")
    for option in ((), ("--markdown",)):
        shown = gitchain("diff", "old.bin", "new.bin", *option, cwd=workshop.repo).out
        finding = "".join(re.split(r"GC-E0202|help:|No statement", shown)[1].split())
        for content in ("new", "tampered"):
            assert sha256(content)[7:19] in finding


@pytest.mark.parametrize("order", [1, -1], ids=["second", "first"])
def test_diff_without_evidence_is_one_error(gitchain: Gitchain, workshop: Workshop, order: int) -> None:
    """A target without evidence is the error of verify, with its exit code, on whichever side."""
    workshop.add(OLD)
    done = gitchain("diff", "--json", *["old.bin", sha256("unknown")][::order], cwd=workshop.repo)
    assert done.code == ExitCode.NOTHING
    validator("error").validate(done.json)
    assert done.json["error"]["where"] == sha256("unknown")
    assert done.err.count("error:") == 1


def test_diff_without_a_common_layout_is_no_evidence(gitchain: Gitchain, workshop: Workshop) -> None:
    """A version whose evidence names another layout has no evidence under the accepted one."""
    workshop.add(OLD, replace(NEW, layout="other"))
    done = gitchain("diff", "old.bin", "new.bin", cwd=workshop.repo)
    assert done.code == gitchain("verify", "new.bin", cwd=workshop.repo).code != ExitCode.OK
    assert "other" in done.text


def test_diff_refuses_what_verify_refuses(gitchain: Gitchain, workshop: Workshop) -> None:
    """Unknown targets and a layout that is not signed are verify's errors."""
    workshop.add(OLD)
    for arguments, code in (
        (("old.bin", "nosuch.bin"), ExitCode.USAGE),
        (("nosuch.bin", "old.bin"), ExitCode.USAGE),
        (("old.bin",), ExitCode.USAGE),
        (("old.bin", "old.bin", "--minimum-version", "9"), ExitCode.LAYOUT),
    ):
        done = gitchain("diff", *arguments, cwd=workshop.repo)
        assert (done.code, done.err.count("error:")) == (code, 1), done.text


def test_diff_shows_a_revoked_ancestor(gitchain: Gitchain, workshop: Workshop) -> None:
    """A model of revoked data fails, and the finding is at the top."""
    workshop.add(OLD, replace(NEW, data={"data/raw.csv": "bad"}))
    (workshop.repo / "bad.csv").write_text("bad")
    assert gitchain("revoke", "artifact", "bad.csv", "--reason", "withdrawn", cwd=workshop.repo).code == 0
    done = diff(gitchain, workshop, "old.bin", "new.bin")
    assert done.code == ExitCode.FAILED
    assert "revoked" in done.json["b"]["findings"][0]["message"]
    assert changes(done.json, "data") == [("data/raw.csv", "changed", sha256("raw"), sha256("bad"))]


def test_diff_of_two_lineages(gitchain: Gitchain, workshop: Workshop) -> None:
    """A model that two runs made with the same bytes has the facts of one chain, not a mixture."""
    again = replace(
        NEW,
        data={"data/other.csv": "other"},
        parameters={"params.yaml": {"lr": 2}},
        trainer="bob@example.com",
    )
    workshop.add(OLD, replace(NEW, parameters={"params.yaml": {"lr": 1}}), again)
    done = diff(gitchain, workshop, "old.bin", "new.bin")
    assert done.code == ExitCode.OK
    ((*_, rate),) = changes(done.json, "parameters")
    signers = [one["b"][0]["subject"] for one in done.json["groups"]["signers"]["changes"]]
    other = [
        ("data/other.csv", "added", None, sha256("other")),
        ("data/raw.csv", "removed", sha256("raw"), None),
    ]
    found = (rate, signers, sorted(changes(done.json, "data")))
    assert found in ((1, [], []), (2, ["bob@example.com"], other))


def hostile() -> Version:
    """Return a version whose free texts hold markup, escapes and bidirectional overrides."""
    values: dict[str, Json] = {MARKUP: BIDI, ANSI: MARKUP, "nested": {BIDI: [ANSI, None, {}]}}
    return replace(
        NEW,
        parameters={f"{MARKUP}{ANSI}.yaml": values},
        metrics={"m.json": values},
        command=(MARKUP, ANSI, BIDI),
        environment={MARKUP: ANSI, "interpreters": [{"name": BIDI, "version": ANSI}], "gpus": [MARKUP]},
    )


def test_diff_escapes_hostile_text(gitchain: Gitchain, workshop: Workshop) -> None:
    """No text from evidence reaches the terminal as control, nor Markdown as markup, link or mention."""
    workshop.add(OLD, hostile())
    diff(gitchain, workshop, "old.bin", "new.bin")
    shown = gitchain("diff", "old.bin", "new.bin", cwd=workshop.repo)
    assert shown.code == ExitCode.OK
    assert all(char.isprintable() or char == "\n" for char in shown.text)
    page = gitchain("diff", "old.bin", "new.bin", "--markdown", cwd=workshop.repo).out
    assert "script" in page
    plain = re.sub(r"<code>[A-Za-z0-9 &#;-]*</code>", "", page)
    for char in "<`[@\\\u202e\x1b":
        assert char not in plain
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {7}
    assert not [line for line in page.splitlines() if line.startswith("# ")]


def test_diff_is_small_with_large_evidence(gitchain: Gitchain, workshop: Workshop) -> None:
    """10,000 parameters and names of megabytes are compared in full and shown in short."""
    name = "n" * 5_000_000
    many: dict[str, Json] = {f"p{number}": number for number in range(10_000)}
    old = replace(OLD, parameters={"params.yaml": many | {name: "v" * 1_000_000}})
    new = replace(NEW, parameters={"params.yaml": many | {name: "v" * 999_999 + "w", "p7": 8}})
    workshop.add(old, new)
    done = diff(gitchain, workshop, "old.bin", "new.bin")
    assert done.code == ExitCode.OK
    group = done.json["groups"]["parameters"]
    assert (group["compared"], group["total"]) == (10_001, 2)
    long, short = sorted(group["changes"], key=lambda one: len(one["name"]), reverse=True)
    assert (short["name"], short["a"], short["b"]) == ("params.yaml:p7", 7, 8)
    assert long["a"] != long["b"]
    assert len(done.out) < 30_000
    assert len(gitchain("diff", "old.bin", "new.bin", cwd=workshop.repo).out) < 5_000
    assert len(gitchain("diff", "old.bin", "new.bin", "--markdown", cwd=workshop.repo).out) < 10_000


def test_diff_page_fits_into_a_comment(gitchain: Gitchain, workshop: Workshop) -> None:
    """Markdown of texts that are all escaped stays below what forges accept in a comment, and ends with a note."""
    files: dict[str, Json] = {f"{'<' * 200}{number}": "<" * 200 for number in range(50)}
    workshop.add(OLD, replace(NEW, parameters=files, metrics=files, environment=files))
    page = gitchain("diff", "old.bin", "new.bin", "--markdown", cwd=workshop.repo).out
    assert len(page) < 61_000
    assert page.endswith("More differences: `gitchain diff --json`.\n")


def test_diff_quotes_what_separates_values(gitchain: Gitchain, workshop: Workshop) -> None:
    """A value that holds the arrow, or starts like a text in quotes, is in quotes, so that a line has one meaning."""
    arrow = "x -> y"
    parameters: dict[str, Json] = {"a": arrow, "b": '"1"', "c": "1  +5", "d": f"{arrow} {'z' * 90}"}
    old = replace(OLD, parameters={"p.yaml": parameters})
    workshop.add(old, replace(NEW, parameters={"p.yaml": dict.fromkeys(parameters, "1")}))
    lines = gitchain("diff", "old.bin", "new.bin", cwd=workshop.repo).out.splitlines()
    shown = [line[22:] for line in lines[lines.index("") + 1 :]]
    assert [line for line in shown if line.startswith("p.yaml")] == [
        'p.yaml:a  "x -> y" -> "1"',
        'p.yaml:b  "\\"1\\"" -> "1"',
        'p.yaml:c  "1  +5" -> "1"',
        "p.yaml:d",
    ]
    below = shown[shown.index("p.yaml:d") + 1 :][:2]
    assert below[0].startswith('  "x -> y zzz')
    assert below[1] == '  -> "1"'


def test_diff_reads_odd_predicates(gitchain: Gitchain, workshop: Workshop) -> None:
    """Fields of another shape than the format defines are left out: any JSON can be signed."""
    odd = replace(NEW, environment={"interpreters": "none", "packages": 7, "ci": ["x"], "gpus": {}})
    workshop.add(OLD, replace(odd, metrics={"m.json": [1, [2, {"a": 3}]], "n.json": 5}, command=()))
    done = diff(gitchain, workshop, "old.bin", "new.bin")
    assert done.code == ExitCode.OK
    assert changes(done.json, "metrics") == [
        ("m.json:[0]", "added", None, 1),
        ("m.json:[1][0]", "added", None, 2),
        ("m.json:[1][1].a", "added", None, 3),
        ("n.json", "added", None, 5),
    ]
    assert changes(done.json, "command") == [("", "removed", "python train.py", None)]


def test_diff_outside_of_a_repository(gitchain: Gitchain, workshop: Workshop, tmp_path: Path) -> None:
    """With a layout, its signer and a directory of evidence no repository is needed, as for verify."""
    workshop.add(OLD, NEW)
    assert gitchain("bundle", "push", "evidence", cwd=workshop.repo).code == 0
    away = tmp_path / "away"
    away.mkdir()
    for name in ("evidence", "old.bin", "new.bin"):
        shutil.move(workshop.repo / name, away / name)
    layout = workshop.repo / ".gitchain/layout.sigstore.json"
    options = ("--layout", str(layout), "--evidence", "evidence")
    done = gitchain("diff", "--json", "old.bin", "new.bin", *options, cwd=away)
    assert done.code == ExitCode.OK, done.text
    assert [one["name"] for one in done.json["a"]["resources"]] == ["old.bin"]
    assert changes(done.json, "model") == [("old.bin", "changed", sha256("old"), sha256("new"))]
    assert changes(done.json, "data") == []

"""`verify --junit` and `--sarif`: what CI systems show of passed, failed and undecided targets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from sarif_pydantic import Sarif

from gitchain.cli.ci_reports import MAX_RESULTS, junit, sarif
from gitchain.errors import ExitCode, NoEvidenceError
from gitchain.verify.findings import FindingCode

Gitchain = Callable[..., Any]
ATTEST = ("attest", "train", "-m", "in.txt", "-p", "model.txt")


@pytest.fixture
def attested(gitchain: Gitchain, tiny: Path) -> Path:
    """Return a repository with an attested model, and two files beside it."""
    assert gitchain(*ATTEST, cwd=tiny).code == 0
    (tiny / "other.txt").write_text("other")
    return tiny


def cases(path: Path) -> dict[str, ET.Element]:
    """Return the test cases of a JUnit file by name, after comparing the counts with them."""
    top = ET.parse(path).getroot()
    (suite,) = top
    found = {case.attrib["name"]: case for case in suite}
    for node in (top, suite):
        assert node.attrib["tests"] == str(len(found))
        assert node.attrib["failures"] == str(
            sum(case.find("failure") is not None for case in found.values())
        )
        assert node.attrib["errors"] == str(sum(case.find("error") is not None for case in found.values()))
    return found


def results(path: Path) -> list[dict[str, Any]]:
    """Return the results of a SARIF file that its model accepts."""
    document = json.loads(path.read_text())
    Sarif.model_validate(document)
    (run,) = document["runs"]
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == {
        one["ruleId"] for one in run["results"]
    }
    found: list[dict[str, Any]] = run["results"]
    return found


def test_ci_reports_of_a_passed_target(gitchain: Gitchain, attested: Path) -> None:
    """A test case without a failure, and no result."""
    command = ("verify", "model.txt", "--junit", "junit.xml", "--sarif", "out.sarif")
    assert gitchain(*command, cwd=attested).code == ExitCode.OK
    assert list(cases(attested / "junit.xml")["model.txt"]) == []
    assert results(attested / "out.sarif") == []


def test_ci_reports_of_several_targets(gitchain: Gitchain, attested: Path) -> None:
    """One passes, one fails with its findings, about one there is no verdict."""
    (attested / "model.txt").write_text("changed")
    command = ("verify", "in.txt", "model.txt", "nosuch", "--junit", "junit.xml", "--sarif", "out.sarif")
    done = gitchain(*command, cwd=attested)
    assert done.code != ExitCode.OK
    found = cases(attested / "junit.xml")
    failure, error = found["model.txt"].find("failure"), found["nosuch"].find("error")
    assert failure is not None
    assert error is not None
    assert failure.attrib["type"] == FindingCode.OTHER_CONTENT
    assert "GC-E0202" in str(failure.text)
    assert error.attrib == {"type": "UsageError", "message": "no such file or revision"}
    shown = {(one["ruleId"], one["properties"]["target"]) for one in results(attested / "out.sarif")}
    assert {("GC-E0202", "model.txt"), ("UsageError", "nosuch")} <= shown


def test_ci_reports_of_a_single_target_without_a_verdict(gitchain: Gitchain, attested: Path) -> None:
    """The files are written although the command ends with an error."""
    command = ("verify", "nosuch", "--junit", "junit.xml", "--sarif", "out.sarif", "--summary", "page.md")
    assert gitchain(*command, cwd=attested).code == ExitCode.USAGE
    assert cases(attested / "junit.xml")["nosuch"].find("error") is not None
    (result,) = results(attested / "out.sarif")
    assert result["level"] == "error"
    assert "No verdict" in (attested / "page.md").read_text()


@pytest.mark.parametrize("option", ["--junit", "--sarif"])
def test_ci_reports_that_cannot_be_written(gitchain: Gitchain, attested: Path, option: str) -> None:
    """One error, and no success."""
    done = gitchain("verify", "model.txt", option, "nosuch/file", cwd=attested)
    assert done.code not in {ExitCode.OK, 70}
    assert done.code == ExitCode.UNAVAILABLE
    assert "cannot write the report" in done.err
    assert done.out.startswith("PASSED")
    (attested / "model.txt").write_text("changed")
    assert gitchain("verify", "model.txt", option, "nosuch/file", cwd=attested).out.startswith("FAILED")
    done = gitchain("verify", "nosuch", option, "nosuch/file", cwd=attested)
    assert done.code == ExitCode.USAGE
    assert "no such file or revision" in done.err


def test_sarif_of_a_digest_is_shown_at_the_layout(gitchain: Gitchain, attested: Path) -> None:
    """A result needs a file and a line."""
    gitchain("verify", f"sha256:{'a' * 64}", "--sarif", "out.sarif", cwd=attested)
    (result,) = results(attested / "out.sarif")
    (location,) = result["locations"]
    assert location["physicalLocation"]["artifactLocation"] == {"uri": ".gitchain/layout.yaml"}
    assert location["physicalLocation"]["region"] == {"startLine": 1}
    assert result["message"]["text"].startswith("no attestation")


HOSTILE = "</failure>\x1b[2J\u202e\x00\ud800&amp;]]>\n::error::"


def decision(severity: str = "error", message: str = HOSTILE) -> dict[str, Any]:
    """Return the parts of a document of `verify --json` that the reports use."""
    finding = {
        "code": "GC-E0311",
        "severity": severity,
        "step": HOSTILE,
        "artifact": HOSTILE,
        "message": message,
    }
    finding |= {"expected": HOSTILE, "got": "", "help": HOSTILE}
    resource = {"name": HOSTILE, "digest": {"sha256": "a" * 64}}
    result = "FAILED" if severity == "error" else "PASSED"
    return {"verificationResult": result, "resource": resource, "findings": [finding]}


def test_ci_reports_escape_evidence(tmp_path: Path) -> None:
    """Markup, control characters and lone surrogates stay text in both formats."""
    error = NoEvidenceError(HOSTILE, where=HOSTILE)
    decided = [(HOSTILE, decision()), ("b", decision("warning"))]
    (tmp_path / "junit.xml").write_bytes(junit(decided, [(HOSTILE, error)]))
    (suite,) = ET.parse(tmp_path / "junit.xml").getroot()
    assert [case.tag for case in suite] == ["testcase"] * 3
    assert [[node.tag for node in case] for case in suite] == [["failure"], ["system-out"], ["error"]]
    assert "\x1b" not in (tmp_path / "junit.xml").read_text()
    (tmp_path / "out.sarif").write_text(json.dumps(sarif(decided, [(HOSTILE, error)])))
    assert [one["level"] for one in results(tmp_path / "out.sarif")] == ["error", "error", "warning"]


def test_sarif_keeps_the_errors_of_many_results() -> None:
    """Warnings are left out first."""
    decided = [("a", decision("warning")) for _ in range(MAX_RESULTS)]
    found = sarif([*decided, ("b", decision())], [])["runs"][0]["results"]
    assert len(found) == MAX_RESULTS
    assert found[0]["level"] == "error"


def test_sarif_tells_two_models_of_one_target_apart() -> None:
    """A tag may serve several models: each keeps its own result."""
    decided = [("v1.0", decision()) for _ in range(2)]
    decided[1][1]["resource"] = {"name": "other.bin", "digest": {"sha256": "b" * 64}}
    first, second = sarif(decided, [])["runs"][0]["results"]
    assert first["partialFingerprints"] != second["partialFingerprints"]

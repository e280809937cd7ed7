"""The public suites, through our command line: the verdicts are theirs, but for the deviations that are listed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gitchain.errors import ExitCode
from tests.conformance.conform import code_of, conforms, main
from tests.support.vector_suites import SUITES, VECTORS, Case, Suite

CASES = [(suite, case) for suite in SUITES for case in suite.cases()]
DOCUMENT = Path(__file__).parents[2] / "docs" / "conformance.md"
absent = pytest.mark.skipif(
    not CASES, reason=f"NO VECTORS in {VECTORS}: set GITCHAIN_VECTORS to run the suites"
)


@absent
@pytest.mark.parametrize(
    ("suite", "case"), CASES, ids=[f"{suite.directory}/{case.name}" for suite, case in CASES]
)
def test_the_verdict_is_the_suites(suite: Suite, case: Case) -> None:
    """Each vector ends as the suite says; a deviation must deviate, or it is none any more."""
    del suite
    assert conforms(case) == (not case.deviation)


@absent
@pytest.mark.parametrize("name", ["happy-path-v0.3", "signature-mismatch_fail", "rekor2-dsse-happy-path"])
def test_a_process_says_the_same(name: str) -> None:
    """The exit code of a real process is that of the call in this one."""
    case = next(case for _, case in CASES if case.name == name)
    done = subprocess.run([sys.executable, "-m", "gitchain", *case.args], capture_output=True, check=False)
    assert done.returncode == code_of(case)
    assert (done.returncode == 0) == case.verifies


@absent
def test_every_case_that_must_fail_fails_as_failed() -> None:
    """A bundle that does not verify is a failure (1), a key or root that is none is usage (2) or trust (4)."""
    codes = {code_of(case) for _, case in CASES if not case.verifies}
    assert codes <= {ExitCode.FAILED, ExitCode.USAGE, ExitCode.TRUST}


def test_every_deviation_is_documented() -> None:
    """docs/conformance.md names each suite, and each case in which we differ."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert all(suite.directory in text for suite in SUITES)
    assert all(case.name in text for _, case in CASES if case.deviation)


def test_without_vectors_the_runner_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Absent vectors are one loud line for each suite and exit code 3: never to be read as passed."""
    monkeypatch.setattr("tests.support.vector_suites.VECTORS", tmp_path)
    assert main() == ExitCode.NOTHING
    out, err = capsys.readouterr()
    assert out.count("SKIPPED") == len(SUITES)
    assert "GITCHAIN_VECTORS" in err

"""`verify --vsa`: a signed summary of the verdict, whichever it is; none where there is no verdict or no signature."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode, TransportError
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.vocabulary import VSA
from gitchain.trust.profiles import Profile
from tests.cli.test_documents import validator

Gitchain = Callable[..., Any]
VERIFIER = "https://vendor.example.com/verifier"
OPTIONS = ["--vsa", "out.sigstore.json", "--verifier", VERIFIER]


@pytest.fixture
def attested(gitchain: Gitchain, tiny: Path) -> Path:
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny).code == 0
    (tiny / "other.txt").write_text("other")
    return tiny


def predicate(path: Path) -> Any:
    statement = Bundle.parse(path.read_bytes()).statement()
    assert statement.predicate_type == VSA
    return statement.predicate


@pytest.mark.parametrize(
    ("target", "result", "code"),
    [("model.txt", "PASSED", ExitCode.OK), ("other.txt", "FAILED", ExitCode.NOTHING)],
)
def test_the_verdict_is_signed_and_written(
    gitchain: Gitchain, attested: Path, target: str, result: str, code: ExitCode
) -> None:
    """A summary says what was found; the code is the verdict's, not the summary's."""
    done = gitchain("verify", "--json", target, *OPTIONS, "--as", "verifier@example.com", cwd=attested)
    assert done.code == code
    validator("verify").validate(done.json)
    said = predicate(attested / "out.sigstore.json")
    assert (said["verificationResult"], said["verifier"]["id"]) == (result, VERIFIER)
    assert done.json["summary"]["path"] == "out.sigstore.json"
    shown = gitchain("show", "--json", done.json["summary"]["id"], cwd=attested).json
    assert shown["verified"] is True


def test_no_verdict_is_no_summary(gitchain: Gitchain, attested: Path) -> None:
    """What could not be verified is not summarised, and the user is told so."""
    done = gitchain("verify", "nosuch.txt", *OPTIONS, cwd=attested)
    assert done.code == ExitCode.USAGE
    assert "no summary was written to out.sigstore.json: there is no verdict" in done.err
    assert not (attested / "out.sigstore.json").exists()


def test_what_cannot_be_signed_now_is_queued(
    gitchain: Gitchain, attested: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PASSED without a written summary is not 0; FAILED stays FAILED."""

    def unreachable(*_: object, **__: object) -> None:
        raise TransportError("the authority does not answer")

    monkeypatch.setattr(Profile, "signer", unreachable)
    for target, code in (("model.txt", ExitCode.QUEUED), ("other.txt", ExitCode.NOTHING)):
        done = gitchain("verify", "--json", target, *OPTIONS, cwd=attested)
        assert (done.code, done.json["summary"]) == (code, None)
        assert "no summary was written" in done.err
    assert not (attested / "out.sigstore.json").exists()


def test_what_cannot_be_written_is_no_pass(gitchain: Gitchain, attested: Path) -> None:
    """The verdict is printed, the error is told, and the code is not 0."""
    done = gitchain("verify", "model.txt", "--vsa", "no/dir/out", "--verifier", VERIFIER, cwd=attested)
    assert "PASSED" in done.out
    assert "no summary was written to no/dir/out; the verdict stands" in done.err
    assert done.code not in {ExitCode.OK, ExitCode.FAILED, ExitCode.BUG}


@pytest.mark.parametrize(
    "arguments",
    [
        ["model.txt", "--vsa", "out"],
        ["model.txt", "--verifier", VERIFIER],
        ["model.txt", "--as", "ada@example.com"],
        ["model.txt", "other.txt", *OPTIONS],
        ["model.txt", "--vsa", "out", "--verifier", " "],
        ["model.txt", "--vsa", "out", "--verifier", "not a uri"],
    ],
    ids=["no verifier", "no summary", "nobody to sign", "two targets", "blank", "no URI"],
)
def test_half_of_a_request_is_refused(gitchain: Gitchain, attested: Path, arguments: list[str]) -> None:
    """One artifact, one verifier named by a URI, one file."""
    assert gitchain("verify", *arguments, cwd=attested).code == ExitCode.USAGE
    assert not (attested / "out").exists()

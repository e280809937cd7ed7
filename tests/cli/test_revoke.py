"""gitchain revoke: signed, logged, shown, and noticed when it is taken away again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gitchain.errors import ExitCode
from gitchain.evidence.bundle import Bundle
from gitchain.evidence.revocation import Revocation, read_revocation
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import REVOCATION
from gitchain.store.git_ref import AttestationStore
from tests.support.prepared_repository import refused

Gitchain = Callable[..., Any]
Git = Callable[..., str]
REF = "refs/gitchain/attestations"
SCHEMA = Path(__file__).parents[2] / "schemas/revocation.schema.json"
WHY = ("--reason", "compromised", "--message", "lost a key")


@pytest.fixture
def revoking(gitchain: Gitchain, tiny: Path) -> Path:
    """Return the tiny repository, whose layout lets ada revoke, with its model attested."""
    layout = tiny / ".gitchain/layout.yaml"
    layout.write_text(layout.read_text().replace("version: 1\n", "version: 2\nrevokers: [ada]\n", 1))
    assert gitchain("layout", "sign", cwd=tiny).code == 0
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny).code == 0
    return tiny


def revocations(repo: Path) -> list[Statement]:
    found = (Bundle.parse(raw).statement() for raw in AttestationStore.open(repo).all())
    return [one for one in found if one.predicate_type == REVOCATION]


def revoke(gitchain: Gitchain, repo: Path, *args: str) -> Revocation:
    """Revoke, and return what the stored statement says; it satisfies its schema."""
    before = {one.attestation_id for one in revocations(repo)}
    done = gitchain("revoke", *args, *WHY, cwd=repo)
    assert done.code == ExitCode.OK, done.text
    (made,) = (one for one in revocations(repo) if one.attestation_id not in before)
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(json.loads(made.payload)["predicate"])
    found = read_revocation(made)
    assert (found.reason, found.message) == ("compromised", "lost a key")
    return found


def attestation(gitchain: Gitchain, repo: Path) -> str:
    events = gitchain("log", "--json", cwd=repo).json["events"]
    return str(next(one["id"] for one in events if one["step"] == "train"))


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_an_attestation_is_revoked_by_the_start_of_its_id(gitchain: Gitchain, revoking: Path) -> None:
    """Six digits are enough; a whole id need not be in this store."""
    name = attestation(gitchain, revoking)
    assert revoke(gitchain, revoking, "attestation", name[:6].upper(), name).attestations == (name,)
    assert revoke(gitchain, revoking, "attestation", "0" * 64).attestations == ("0" * 64,)


def test_a_signer_is_revoked_from_a_time_on(gitchain: Gitchain, revoking: Path) -> None:
    """A time, now, or everything that it ever signed."""
    signer = ("signer", "bob@example.com", "--issuer", "https://i.example.com")
    (always,) = revoke(gitchain, revoking, *signer).signers
    assert (always.issuer, always.subject, always.since) == (signer[3], signer[1], "1970-01-01T00:00:00Z")
    (later,) = revoke(gitchain, revoking, *signer, "--from", "2026-01-31T12:00:00Z").signers
    assert later.since == "2026-01-31T12:00:00Z"
    found = revoke(gitchain, revoking, *signer, "--from", "now")
    assert found.signers[0].since == found.revoked_on


def test_an_artifact_is_revoked_by_path_or_digest(gitchain: Gitchain, revoking: Path) -> None:
    """By its content: files, directories by their manifest, and what is not at hand."""
    found = revoke(
        gitchain, revoking, "artifact", "in.txt", "sha256:" + "1" * 64, "in.txt", "sha512:" + "2" * 128
    )
    assert sorted(found.artifacts) == sorted(
        [("sha256", sha256(revoking / "in.txt")), ("sha256", "1" * 64), ("sha512", "2" * 128)]
    )


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("attestation", "abc"), ExitCode.USAGE),
        (("attestation", "not-hex-at-all"), ExitCode.USAGE),
        (("attestation", "0" * 65), ExitCode.USAGE),
        (("attestation", "000000000"), ExitCode.NOTHING),
        (("attestation",), ExitCode.USAGE),
        (("artifact", "nosuch.txt"), ExitCode.USAGE),
        (("artifact", "sha256:123"), ExitCode.USAGE),
        (("artifact", "sha512:" + "1" * 64), ExitCode.USAGE),
        (("artifact", "sha256:" + "A" * 64), ExitCode.USAGE),
        (("signer", "bob"), ExitCode.USAGE),
        (("signer", "bob", "--issuer", "i.example.com"), ExitCode.USAGE),
        (("signer", "", "--issuer", "https://i.example.com"), ExitCode.USAGE),
        (("signer", "bob\n", "--issuer", "https://i.example.com"), ExitCode.USAGE),
        (("signer", "bob", "--issuer", "https://i.example.com", "--from", "yesterday"), ExitCode.USAGE),
    ],
    ids=str,
)
def test_what_cannot_be_revoked(gitchain: Gitchain, revoking: Path, args: tuple[str, ...], code: int) -> None:
    """One clear error, and nothing is signed."""
    refused(gitchain("revoke", *args, *WHY, cwd=revoking), code)
    assert revocations(revoking) == []


def test_a_reason_is_needed(gitchain: Gitchain, revoking: Path) -> None:
    """One of the four that the format has."""
    for args in ((), ("--reason", "because")):
        assert gitchain("revoke", "artifact", "in.txt", *args, cwd=revoking).code == ExitCode.USAGE


def test_an_ambiguous_id_is_refused(
    gitchain: Gitchain, revoking: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two attestations must not be revoked where one was meant."""
    from gitchain.produce import revoke as module

    monkeypatch.setattr(module, "_all_ids", lambda _project: {"a" * 64, "a" * 63 + "b"})
    refused(gitchain("revoke", "attestation", "aaaaaa", *WHY, cwd=revoking), ExitCode.USAGE, "several")


def test_who_is_no_revoker_is_told(gitchain: Gitchain, revoking: Path) -> None:
    """It is signed, and does not count: better said now than found out later."""
    done = gitchain("revoke", "artifact", "in.txt", *WHY, "--as", "eve@example.com", cwd=revoking)
    assert done.code == ExitCode.OK
    assert "does not count" in done.err
    assert "revokers: ada" in done.err
    assert "under revokers in .gitchain/layout.yaml, raise version, then: gitchain layout sign" in done.err
    heard = gitchain("revoke", "artifact", "in.txt", *WHY, cwd=revoking)
    assert "does not count" not in heard.err
    assert (
        gitchain("log", "--json", cwd=revoking).json["revoked"][0]["revoked"]["by"]["subject"]
        == "ada@example.com"
    )


def test_a_signer_that_nobody_is_is_told(gitchain: Gitchain, revoking: Path) -> None:
    """A misspelt signer revokes nobody: said at once, for somebody whom the layout knows it is not."""
    issuer = gitchain("verify", "model.txt", "--json", cwd=revoking).json["layout"]["signer"]["issuer"]
    for subject, known in (("ada@example.com", True), ("adda@example.com", False)):
        done = gitchain(
            "revoke", "signer", subject, "--issuer", issuer, *WHY, "--as", "ada@example.com", cwd=revoking
        )
        assert done.code == ExitCode.OK
        assert (f"is {subject} ({issuer}): is it spelt right" in done.err) != known


def test_the_log_names_what_was_made_of_revoked_data(gitchain: Gitchain, revoking: Path) -> None:
    """Every model whose verified statements claim the data as an ancestor, whatever the name."""
    assert gitchain("attest", "tune", "-m", "model.txt", "-p", "model2.txt", cwd=revoking).code != 0
    (revoking / "model2.txt").write_text("tuned")
    assert gitchain("attest", "tune", "-m", "model.txt", "-p", "model2.txt", cwd=revoking).code == 0
    revoke(gitchain, revoking, "artifact", "in.txt")
    found = gitchain("log", "--json", cwd=revoking).json
    (tainted,) = found["revoked"]
    assert tainted["sha256"] == sha256(revoking / "in.txt")
    made = {one["name"]: (one["sha256"], one["step"], one["served"]) for one in tainted["made"]}
    assert made == {
        "model.txt": (sha256(revoking / "model.txt"), "train", True),
        "model2.txt": (sha256(revoking / "model2.txt"), "tune", False),
    }
    told = gitchain("log", cwd=revoking)
    assert "claimed   model.txt" in told.out
    assert "was made of it, by step train" in told.out


def test_the_log_marks_a_revoked_attestation_and_signer(gitchain: Gitchain, revoking: Path) -> None:
    """On the event itself, with who, when and why."""
    name = attestation(gitchain, revoking)
    revoke(gitchain, revoking, "attestation", name)
    events = gitchain("log", "--json", cwd=revoking).json["events"]
    (marked,) = (one for one in events if "revoked" in one)
    assert (marked["id"], marked["revoked"][0]["what"], marked["revoked"][0]["message"]) == (
        name,
        "attestation",
        "lost a key",
    )
    told = gitchain("log", cwd=revoking).out
    assert "REVOKED" in told
    assert f"revoked   attestation of {name[:12]}: revoked by ada@example.com" in told


def test_the_log_without_a_layout_marks_nothing(gitchain: Gitchain, revoking: Path) -> None:
    """Whose revocations count is the layout's to say."""
    revoke(gitchain, revoking, "artifact", "in.txt")
    (revoking / ".gitchain/layout.sigstore.json").unlink()
    done = gitchain("log", "--json", cwd=revoking)
    assert done.json["revoked"] == []
    assert "revocations are not shown" in done.err


def test_the_document_is_that_of_attest(gitchain: Gitchain, revoking: Path) -> None:
    """A revocation is a statement like every other: signed, or kept in the outbox until it can be."""
    done = gitchain("revoke", "artifact", "in.txt", *WHY, "--json", cwd=revoking)
    assert [one["predicateType"] for one in done.json["attested"]] == [REVOCATION]


def test_a_revocation_that_is_deleted_is_noticed(gitchain: Gitchain, revoking: Path, git: Git) -> None:
    """Whoever takes it out of the store gets no verdict at all, and the loss is named."""
    old = git(revoking, "rev-parse", REF)
    revoke(gitchain, revoking, "artifact", "in.txt")
    git(revoking, "update-ref", REF, old)
    done = gitchain("verify", "model.txt", cwd=revoking)
    refused(done, ExitCode.TRUST, "lost attestations that it had", "1 missing", "(revocation)")
    assert "lost attestations that it had" in gitchain("log", cwd=revoking).err
    doctor = {check["name"]: check for check in gitchain("doctor", "--json", cwd=revoking).json["checks"]}
    assert doctor["history"]["state"] == "problem"
    assert "1 missing" in doctor["history"]["detail"]
    git(revoking, "update-ref", REF, "refs/gitchain-seen/attestations")
    doctor = {check["name"]: check for check in gitchain("doctor", "--json", cwd=revoking).json["checks"]}
    assert (doctor["history"]["state"], "holds all of 4" in doctor["history"]["detail"]) == ("ok", True)


def test_forgetting_is_loud(gitchain: Gitchain, revoking: Path, git: Git) -> None:
    """It has to be said twice, says what is forgotten, and then the store that is there counts."""
    old = git(revoking, "rev-parse", REF)
    revoke(gitchain, revoking, "artifact", "in.txt")
    git(revoking, "update-ref", REF, old)
    refused(gitchain("trust", "forget-history", cwd=revoking), ExitCode.USAGE, "--yes", "4 attestations")
    assert gitchain("verify", "model.txt", cwd=revoking).code == ExitCode.TRUST
    done = gitchain("trust", "forget-history", "--yes", cwd=revoking)
    assert (done.code, "4 attestations" in done.out, "will not be missed" in done.err) == (0, True, True)
    assert gitchain("verify", "model.txt", cwd=revoking).code == ExitCode.OK
    gitchain("trust", "forget-history", "--yes", cwd=revoking)
    again = gitchain("trust", "forget-history", cwd=revoking)
    assert (again.code, "nothing was remembered" in again.out) == (0, True)


def codes(done: Any) -> set[str]:
    return {finding["code"] for finding in done.json["findings"] if finding["severity"] == "error"}


def test_a_model_of_revoked_data_fails(gitchain: Gitchain, revoking: Path) -> None:
    """revoked_data_fails_the_model: the data set is taken back, and with it whatever was trained on it."""
    assert gitchain("verify", "model.txt", cwd=revoking).code == ExitCode.OK
    revoke(gitchain, revoking, "artifact", "in.txt")
    done = gitchain("verify", "--json", "model.txt", cwd=revoking)
    assert done.code == ExitCode.FAILED
    assert "GC-E0342" in codes(done)
    (found,) = (one for one in done.json["findings"] if one["code"] == "GC-E0342")
    assert "ada@example.com" in json.dumps(found)
    assert WHY[1] in json.dumps(found)
    assert found["help"] == "replace the artifact, then run the steps that used it again"


def test_a_revoked_attestation_and_signer_do_not_count(gitchain: Gitchain, revoking: Path) -> None:
    """revoked_after_before (A20): by id, and by signer from a time on; before that time it counts."""
    issuer = gitchain("local", "status", "--json", cwd=revoking).json["issuer"]
    later = ("signer", "ada@example.com", "--issuer", issuer, "--from", "2099-01-01T00:00:00Z")
    revoke(gitchain, revoking, *later)
    assert gitchain("verify", "model.txt", cwd=revoking).code == ExitCode.OK
    revoke(gitchain, revoking, "attestation", attestation(gitchain, revoking))
    done = gitchain("verify", "--json", "model.txt", cwd=revoking)
    assert (done.code, "GC-E0340" in codes(done)) == (ExitCode.FAILED, True)
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=revoking).code == 0
    assert gitchain("verify", "model.txt", cwd=revoking).code == ExitCode.OK
    revoke(gitchain, revoking, "signer", "ada@example.com", "--issuer", issuer)
    done = gitchain("verify", "--json", "model.txt", cwd=revoking)
    assert (done.code, "GC-E0341" in codes(done)) == (ExitCode.FAILED, True)


def test_a_strangers_revocation_changes_nothing(gitchain: Gitchain, revoking: Path) -> None:
    """Only listed revokers are heard."""
    done = gitchain("revoke", "artifact", "in.txt", *WHY, "--as", "eve@example.com", cwd=revoking)
    assert done.code == ExitCode.OK
    assert gitchain("verify", "model.txt", cwd=revoking).code == ExitCode.OK

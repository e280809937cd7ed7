"""`gitchain archive`: what is in the file, and what a verdict of it rests on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gitchain.errors import ExitCode
from gitchain.evidence.vocabulary import CHECKPOINT, LAYOUT, REVOCATION
from tests.cli.test_documents import load, validator
from tests.support.archives import LATER, bundles_of, parts_of, payload, rewrite
from tests.support.prepared_repository import PreparedRepository, refused

Gitchain = Callable[..., Any]


@dataclass(frozen=True)
class Made:
    """An archive, what `archive` printed about it, and the options with which a reader names root and signer."""

    path: Path
    document: dict[str, Any]

    @property
    def named(self) -> tuple[str, ...]:
        signer = self.document["signer"]
        who = ("--signer", signer["subject"], "--issuer", signer["issuer"])
        return ("--trust", f"sha256:{self.document['trustDigest']}", *who)


@pytest.fixture
def made(gitchain: Gitchain, tiny: Path, tmp_path: Path) -> Made:
    """Return the archive of a model of `tiny`, whose evidence a checkpoint covers."""
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny).code == 0
    return archived(gitchain, tiny, tmp_path / "model.tar")


def archived(gitchain: Gitchain, repo: Path, path: Path, target: str = "model.txt", code: int = 0) -> Made:
    done = gitchain("archive", target, "--json", "-o", str(path), cwd=repo)
    assert done.code == code, done.text
    validator("cli").validate(done.json)
    return Made(path, done.json)


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Become a user without pins in an empty directory, and return it."""
    monkeypatch.setenv("GITCHAIN_HOME", str(tmp_path / "stranger"))
    empty = tmp_path / "empty"
    empty.mkdir()
    return empty


def test_archive_holds_the_store_byte_for_byte(made: Made, gitchain: Gitchain, tiny: Path) -> None:
    """Every attestation, the layout, the trusted root, the schemas, the verdict and the page, as the manifest lists them."""
    parts = parts_of(made.path)
    evidence = tiny / "evidence"
    assert gitchain("bundle", "push", str(evidence), cwd=tiny).code == 0
    held = {f"evidence/{path.name}": path.read_bytes() for path in evidence.iterdir()}
    assert {name: data for name, data in parts.items() if name.startswith("evidence/")} == held
    assert parts["layout.sigstore.json"] == (tiny / ".gitchain/layout.sigstore.json").read_bytes()
    exported = gitchain("trust", "export", cwd=tiny).out
    assert json.loads(parts["trust/trusted-root.json"]) == json.loads(exported)
    schemas = {f"schemas/{path.name}" for path in (Path(__file__).parents[2] / "schemas").iterdir()}
    assert schemas == {name for name in parts if name.startswith("schemas/")}
    manifest = json.loads(parts["archive.json"])
    Draft202012Validator(load("archive")).validate(manifest)
    assert ["archive.json", *(one["name"] for one in manifest["members"])] == list(parts)
    validator("cli").validate(json.loads(parts["verdict.json"]))
    assert parts["README.txt"].isascii()


def test_archive_is_a_function_of_its_contents(
    made: Made, gitchain: Gitchain, tiny: Path, tmp_path: Path
) -> None:
    """Owner, time and order of files play no part: only the time of the verdict differs."""

    def frozen(path: Path) -> dict[str, bytes]:
        parts = parts_of(rewrite(path, lambda parts: [parts.pop("verdict.json"), parts.pop("README.txt")]))
        manifest = json.loads(parts.pop("archive.json"))
        return parts | {"rest": json.dumps(manifest | {"created": ""}).encode()}

    again = archived(gitchain, tiny, tmp_path / "again.tar")
    listing = subprocess.run(["tar", "-tvf", str(again.path)], capture_output=True, text=True, check=True)
    assert {line.split()[0] for line in listing.stdout.splitlines()} == {"-rw-r--r--"}
    assert frozen(made.path) == frozen(again.path)


def test_archive_verify_is_consistent_without_a_root(made: Made, gitchain: Gitchain, stranger: Path) -> None:
    """An archive that vouches for itself is no success, in text and JSON."""
    done = gitchain("archive", "verify", str(made.path), cwd=stranger)
    assert (done.code, "CONSISTENT" in done.out, "VERIFIED" in done.out, "PASSED" in done.out) == (
        4,
        True,
        False,
        False,
    )
    assert "Anyone could have made this archive" in done.err
    document = gitchain("archive", "verify", "--json", str(made.path), cwd=stranger).json
    validator("cli").validate(document)
    assert (document["result"], document["basis"]["trust"]) == ("CONSISTENT", "archive")
    explained = gitchain("archive", "verify", "--explain", str(made.path), cwd=stranger)
    assert (explained.code, "Every check" in explained.out) == (4, True)


@pytest.mark.parametrize("left_out", ["trust", "signer"])
def test_archive_verify_needs_root_and_signer(
    made: Made, gitchain: Gitchain, stranger: Path, left_out: str
) -> None:
    """One of them alone proves nothing: anyone can make a root, and anyone can sign a layout."""
    named = made.named[2:] if left_out == "trust" else made.named[:2]
    document = gitchain("archive", "verify", "--json", str(made.path), *named, cwd=stranger)
    assert (document.code, document.json["result"]) == (ExitCode.TRUST, "CONSISTENT")


def test_archive_verify_with_root_and_signer(
    made: Made, gitchain: Gitchain, tiny: Path, stranger: Path
) -> None:
    """The digest of the root, or a file with it; and the model itself, hashed."""
    done = gitchain("archive", "verify", "--json", str(made.path), *made.named, cwd=stranger)
    assert (done.code, done.json["result"]) == (0, "VERIFIED")
    assert done.json["basis"] == {
        "trust": "reader",
        "signer": "reader",
        "layout": "archive",
        "time": "archive",
    }
    root = stranger / "root.json"
    root.write_bytes(parts_of(made.path)["trust/trusted-root.json"])
    model = shutil.copy(tiny / "model.txt", stranger / "renamed.bin")
    named = ("--trust", str(root), *made.named[2:])
    done = gitchain("archive", "verify", str(made.path), str(model), *named, cwd=stranger)
    assert (done.code, "VERIFIED" in done.out, "hashed now" in done.out) == (0, True, True)


def test_archive_verify_with_a_pin(made: Made, gitchain: Gitchain, tmp_path: Path) -> None:
    """The user who pinned the layout needs to name nothing."""
    done = gitchain("archive", "verify", "--json", str(made.path), cwd=tmp_path)
    assert (done.code, done.json["basis"]["trust"], done.json["basis"]["signer"]) == (0, "pin", "pin")


def test_archive_verify_refuses_another_root_and_signer(
    made: Made, gitchain: Gitchain, stranger: Path
) -> None:
    """A digest that the archive's root does not have is not looked for elsewhere; another signer may not sign."""
    other = ("--trust", f"sha256:{'0' * 64}", *made.named[2:])
    refused(gitchain("archive", "verify", str(made.path), *other, cwd=stranger), ExitCode.TRUST)
    other = (*made.named[:2], "--signer", "eve@example.com", *made.named[4:])
    done = gitchain("archive", "verify", str(made.path), *other, cwd=stranger)
    refused(done, ExitCode.LAYOUT, "may not sign it")


def test_archive_verify_refuses_another_model(
    made: Made, gitchain: Gitchain, tiny: Path, stranger: Path
) -> None:
    """The bytes at PATH must be the archived model, also if they are attested."""
    done = gitchain("archive", "verify", str(made.path), str(tiny / "in.txt"), *made.named, cwd=stranger)
    refused(done, ExitCode.FAILED, "this is not the archived model")
    refused(
        gitchain("archive", "verify", str(made.path), "missing", *made.named, cwd=stranger), ExitCode.USAGE
    )


def test_archive_verify_in_an_empty_world_ten_years_later(made: Made, stranger: Path) -> None:
    """No network, no repository, no home directory, and all certificates expired: the log's time decides."""
    environment = {"PATH": os.environ["PATH"], "HOME": ""}
    call = [sys.executable, "-c", LATER, "archive", "verify", "--json", str(made.path), *made.named]
    command = ["unshare", "--net", "--map-root-user", *call]
    done = subprocess.run(command, cwd=stranger, env=environment, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr:
        pytest.skip(f"NOT RUN without network namespaces: {done.stderr[:100]}")
    assert done.returncode == 0, done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert document["result"] == "VERIFIED"
    assert document["results"][0]["timeVerified"] == made.document["created"]
    assert list(stranger.iterdir()) == []


def test_archive_verify_at_another_time(
    made: Made, gitchain: Gitchain, process: Gitchain, stranger: Path
) -> None:
    """An archive is as of its own time, which cannot be ahead of the clock; --at names another one."""
    expiry = "2099-01-01T00:00:00Z"  # of the layout
    ahead = gitchain("archive", "verify", str(made.path), *made.named, "--at", expiry, cwd=stranger)
    refused(ahead, ExitCode.FAILED, "the archive was made in the future")
    now = gitchain("archive", "verify", "--json", str(made.path), *made.named, "--at", "now", cwd=stranger)
    assert (now.code, now.json["basis"]["time"]) == (0, "reader")
    early = gitchain("archive", "verify", str(made.path), *made.named, "--at", "2020-01-01", cwd=stranger)
    refused(early, ExitCode.LAYOUT, "signed in the future")
    rewrite(made.path, lambda _: None, created=expiry)
    forged = gitchain("archive", "verify", str(made.path), *made.named, cwd=stranger)
    refused(forged, ExitCode.FAILED, "the archive was made in the future")


def test_archive_of_a_backdated_verdict_gains_nothing(made: Made, gitchain: Gitchain, stranger: Path) -> None:
    """Before its evidence an archive has none: the layout itself is then signed in the future."""
    before = datetime.now(UTC) - timedelta(days=1)
    rewrite(made.path, lambda _: None, created=before.strftime("%Y-%m-%dT%H:%M:%SZ"))
    done = gitchain("archive", "verify", str(made.path), *made.named, cwd=stranger)
    refused(done, ExitCode.LAYOUT, "signed in the future")


def test_archive_of_a_revoked_model_fails(gitchain: Gitchain, tiny: Path, tmp_path: Path) -> None:
    """The archive of a model that fails is written, with the reason, and the codes are those of the verdict."""
    layout = tiny / ".gitchain/layout.yaml"
    layout.write_text(layout.read_text().replace("version: 1", "version: 2") + "revokers: [ada]\n")
    assert gitchain("layout", "sign", cwd=tiny).code == 0
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny).code == 0
    assert gitchain("revoke", "artifact", "in.txt", "--reason", "withdrawn", cwd=tiny).code == 0
    made = archived(gitchain, tiny, tmp_path / "model.tar", code=ExitCode.FAILED)
    done = gitchain("archive", "verify", "--json", str(made.path), cwd=tmp_path)
    assert (done.code, done.json["result"]) == (ExitCode.FAILED, "FAILED")
    assert json.loads(parts_of(made.path)["verdict.json"])["verificationResult"] == "FAILED"
    (revocation,) = bundles_of(made.path, REVOCATION)
    rewrite(made.path, lambda parts: parts.pop(revocation))
    done = gitchain("archive", "verify", str(made.path), cwd=tmp_path)
    refused(done, ExitCode.FAILED, "another verdict than the archive recorded")


@pytest.fixture
def synced(gitchain: Gitchain, world: PreparedRepository, tmp_path: Path) -> Made:
    """Return the archive of a revoked model, whose evidence a checkpoint covers, with a forged recorded verdict."""
    layout = world.repo / ".gitchain/layout.yaml"
    text = layout.read_text().replace("version: 1", "version: 2")
    person = text.split("functionaries:\n")[1].split(":")[0].strip()
    layout.write_text(text + f"revokers: [{person}]\n")
    assert gitchain("layout", "sign", cwd=world.repo).code == 0
    assert gitchain("attest", cwd=world.repo).code == 0
    assert gitchain("revoke", "artifact", "data/raw.csv", "--reason", "withdrawn", cwd=world.repo).code == 0
    world.git("init", "-q", "--bare", str(tmp_path / "remote.git"))
    world.git("remote", "add", "origin", str(tmp_path / "remote.git"))
    assert gitchain("sync", cwd=world.repo).code == 0
    made = archived(gitchain, world.repo, tmp_path / "model.tar", "model.bin", ExitCode.FAILED)

    def forge(parts: dict[str, bytes]) -> None:
        verdict = json.loads(parts["verdict.json"]) | {"verificationResult": "PASSED"}
        parts["verdict.json"] = json.dumps(verdict).encode()

    rewrite(made.path, forge)
    return made


def test_archive_verify_notices_a_removed_revocation(
    gitchain: Gitchain, synced: Made, tmp_path: Path
) -> None:
    """A checkpoint covers the revocation, so the archive without it gives no verdict."""
    (revocation,) = bundles_of(synced.path, REVOCATION)
    assert synced.document["evidence"]["covered"] == synced.document["evidence"]["total"]
    rewrite(synced.path, lambda parts: parts.pop(revocation))
    done = gitchain("archive", "verify", str(synced.path), cwd=tmp_path)
    refused(done, ExitCode.TRUST, "lacks evidence that a checkpoint covers", revocation[9:21])


def test_archive_verify_without_any_checkpoint(gitchain: Gitchain, synced: Made, tmp_path: Path) -> None:
    """Without the checkpoints too, only a reader who knows one notices, and everyone sees that nothing is covered."""
    (revocation,) = bundles_of(synced.path, REVOCATION)
    checkpoints = bundles_of(synced.path, CHECKPOINT)
    assert checkpoints
    named = tmp_path / "known.sigstore.json"
    named.write_bytes(parts_of(synced.path)[checkpoints[-1]])
    rewrite(synced.path, lambda parts: [parts.pop(name) for name in (revocation, *checkpoints)])
    done = gitchain("archive", "verify", "--json", str(synced.path), cwd=tmp_path)
    assert (done.code, done.json["evidence"]["covered"]) == (0, 0)
    done = gitchain("archive", "verify", str(synced.path), "--checkpoint", str(named), cwd=tmp_path)
    refused(done, ExitCode.TRUST, "lacks evidence that a checkpoint covers")


def test_archive_verify_refuses_a_swapped_layout(made: Made, gitchain: Gitchain, stranger: Path) -> None:
    """Another validly signed bundle in the layout's place is no layout, and evidence of another model proves nothing."""
    parts = parts_of(made.path)
    statements = {name: payload(data) for name, data in parts.items() if name.startswith("evidence/")}
    step = next(name for name, one in statements.items() if one["predicateType"] != LAYOUT)
    rewrite(made.path, lambda parts: parts.update({"layout.sigstore.json": parts[step]}))
    refused(gitchain("archive", "verify", str(made.path), *made.named, cwd=stranger), ExitCode.LAYOUT)


def test_archive_verify_refuses_a_manifest_with_another_root(
    made: Made, gitchain: Gitchain, stranger: Path
) -> None:
    """A reader compares the digest of the root with what the archive prints: both have to be of the same root."""
    rewrite(made.path, lambda parts: None, trust={"digest": {"sha256": "a" * 64}})
    done = gitchain("archive", "verify", str(made.path), cwd=stranger)
    refused(done, ExitCode.FAILED)
    assert "not the one in its manifest" in done.text


def test_archive_verify_with_evidence_of_another_model(
    made: Made, gitchain: Gitchain, tiny: Path, tmp_path: Path
) -> None:
    """A valid bundle about other bytes in place of the model's proves nothing about it."""
    (tiny / "model.txt").write_text("another")
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny).code == 0
    parts = parts_of(made.path)
    gitchain("bundle", "push", str(tmp_path / "all"), cwd=tiny)
    fresh = {f"evidence/{path.name}": path.read_bytes() for path in (tmp_path / "all").iterdir()}
    (other,) = fresh.keys() - parts.keys()
    (own,) = (name for name in parts if name in fresh and payload(fresh[name])["predicateType"] != LAYOUT)

    def swap(parts: dict[str, bytes]) -> None:
        del parts[own]
        parts[other] = fresh[other]

    rewrite(made.path, swap)
    done = gitchain("archive", "verify", "--json", str(made.path), *made.named, cwd=tmp_path)
    assert (done.code, done.json["result"]) == (ExitCode.FAILED, "FAILED")


def test_archive_needs_evidence(gitchain: Gitchain, tiny: Path, tmp_path: Path) -> None:
    """A target about which nothing is attested has no archive, and no file is left."""
    done = gitchain("archive", "model.txt", "-o", str(tmp_path / "x.tar"), cwd=tiny)
    refused(done, ExitCode.NOTHING, "nothing is attested about the target")
    refused(gitchain("archive", "model.txt", cwd=tiny), ExitCode.USAGE, "--output")
    assert not list(tmp_path.glob("*x.tar*"))


def test_archive_that_cannot_be_written(made: Made, gitchain: Gitchain, tiny: Path, tmp_path: Path) -> None:
    """The place is a directory or is missing: one error, and nothing is left behind."""
    done = gitchain("archive", "model.txt", "-o", str(tmp_path / "no" / "x.tar"), cwd=tiny)
    refused(done, ExitCode.UNAVAILABLE, "cannot write the archive")
    refused(gitchain("archive", "model.txt", "-o", str(tmp_path), cwd=tiny), ExitCode.USAGE)
    assert not list(tmp_path.glob(".tmp-*"))


def test_an_archive_is_a_source_of_evidence(
    made: Made, gitchain: Gitchain, tiny: Path, stranger: Path
) -> None:
    """Outside of any repository, for each verb with --evidence; the archive's own root and signer do not count."""
    model = shutil.copy(tiny / "model.txt", stranger)
    parts = parts_of(made.path)
    (stranger / "layout.json").write_bytes(parts["layout.sigstore.json"])
    (stranger / "root.json").write_bytes(parts["trust/trusted-root.json"])
    place = ("--layout", "layout.json", "--evidence", str(made.path))
    named = (*place, "--trust", "root.json", *made.named[2:])
    for verb in (
        ["verify", str(model)],
        ["diff", str(model), str(model)],
        ["models"],
        ["report", str(model), "-o", "-"],
    ):
        done = gitchain(*verb, *named, cwd=stranger)
        assert done.code == 0, done.text
        assert "Pass --checkpoint to detect removed attestations." in done.err
    (shown,) = made.document["results"][0]["steps"][0]["attestations"]
    done = gitchain("show", shown["id"], "--evidence", str(made.path), "--trust", "root.json", cwd=stranger)
    assert (done.code, "verified  signed by ada@example.com" in done.out) == (0, True), done.text
    refused(gitchain("verify", str(model), *place, cwd=stranger), ExitCode.TRUST, "no trusted signer")
    again = gitchain("archive", str(model), "-o", "again.tar", *named, cwd=stranger)
    assert again.code == 0, again.text
    assert {name for name in parts_of(stranger / "again.tar") if name.startswith("evidence/")} == {
        name for name in parts if name.startswith("evidence/")
    }


def test_an_archive_that_is_damaged_is_no_source(made: Made, gitchain: Gitchain, tiny: Path) -> None:
    made.path.write_bytes(made.path.read_bytes()[:-1])
    done = gitchain("verify", "model.txt", "--evidence", str(made.path), cwd=tiny)
    refused(done, ExitCode.FAILED, "the archive is truncated")

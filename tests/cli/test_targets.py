"""What can be verified: a path, a digest, a revision or a bundle file, and clear words for everything else."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from gitchain.errors import ExitCode

Gitchain = Callable[..., Any]
ATTEST = ["attest", "train", "-m", "in.txt", "-p", "model.txt"]
DIGEST = sha256(b"model").hexdigest()


@pytest.fixture
def attested(gitchain: Gitchain, tiny: Path) -> Path:
    assert gitchain(*ATTEST, cwd=tiny).code == 0
    return tiny


@pytest.fixture
def bundle(attested: Path, git: Callable[..., str], tmp_path: Path) -> Path:
    """Return the training evidence as a file outside the repository."""
    ref = "refs/gitchain/attestations"
    names = git(
        attested,
        "ls-tree",
        "-r",
        "--name-only",
        f"{ref}:by-subject/sha256/{DIGEST[:2]}/{DIGEST[2:4]}/{DIGEST[4:]}",
    )
    raw = git(
        attested,
        "cat-file",
        "blob",
        f"{ref}:by-subject/sha256/{DIGEST[:2]}/{DIGEST[2:4]}/{DIGEST[4:]}/{names.splitlines()[0]}",
    )
    path = tmp_path / "train.sigstore.json"
    path.write_text(raw, encoding="utf-8")
    return path


def test_a_path_and_its_digest_verify(gitchain: Gitchain, attested: Path) -> None:
    """The same model by name and by content."""
    for target in ("model.txt", f"sha256:{DIGEST}"):
        assert gitchain("verify", target, cwd=attested).code == ExitCode.OK


def test_a_copy_elsewhere_verifies_by_content(gitchain: Gitchain, attested: Path, tmp_path: Path) -> None:
    """A model that was carried to another directory is judged by its bytes."""
    (tmp_path / "served.bin").write_bytes(b"model")
    assert gitchain("verify", str(tmp_path / "served.bin"), cwd=attested).code == ExitCode.OK
    (tmp_path / "served.bin").write_bytes(b"mode1")
    assert gitchain("verify", str(tmp_path / "served.bin"), cwd=attested).code == ExitCode.NOTHING


def test_a_bundle_brings_its_own_evidence(
    gitchain: Gitchain, attested: Path, bundle: Path, git: Callable[..., str]
) -> None:
    """A bundle that the repository does not hold is a source like any other: it counts by its signature."""
    git(attested, "update-ref", "-d", "refs/gitchain/attestations")
    assert gitchain("verify", str(bundle), cwd=attested).code == ExitCode.TRUST  # what was there is missed
    assert gitchain("trust", "forget-history", "--yes", cwd=attested).code == ExitCode.OK
    assert gitchain("verify", "model.txt", cwd=attested).code == ExitCode.NOTHING
    assert gitchain("verify", str(bundle), cwd=attested).code == ExitCode.OK


def test_an_altered_bundle_does_not_count(
    gitchain: Gitchain, attested: Path, bundle: Path, git: Callable[..., str]
) -> None:
    """A source is only a place to look."""
    git(attested, "update-ref", "-d", "refs/gitchain/attestations")
    assert gitchain("verify", str(bundle), cwd=attested).code == ExitCode.TRUST  # what was there is missed
    assert gitchain("trust", "forget-history", "--yes", cwd=attested).code == ExitCode.OK
    text = bundle.read_text(encoding="utf-8")
    at = text.index('"sig":"') + 20
    bundle.write_text(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :], encoding="utf-8")
    done = gitchain("verify", str(bundle), cwd=attested)
    assert done.code == ExitCode.NOTHING
    assert "does not verify" in done.err


def test_what_is_not_there_is_said_plainly(gitchain: Gitchain, attested: Path) -> None:
    """Neither a file nor a revision: a usage error that lists what a target may be."""
    done = gitchain("verify", "nosuch.json", cwd=attested)
    assert done.code == ExitCode.USAGE
    assert "no such file or revision" in done.err
    assert "^{" not in done.err


@pytest.mark.parametrize("content", ["", "{}", "[]", "\x00", '{"mediaType":"x"}'])
def test_a_bundle_that_is_none(gitchain: Gitchain, attested: Path, tmp_path: Path, content: str) -> None:
    """One clear error, and never a pass."""
    path = tmp_path / "x.sigstore.json"
    path.write_text(content, encoding="utf-8")
    done = gitchain("verify", str(path), cwd=attested)
    assert done.code == ExitCode.FAILED
    assert "error" in done.err
    assert "bug" not in done.err

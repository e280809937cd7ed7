"""A chain without OIDC: the layout is signed with a key that the verifier pinned, its step with a key that it names."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Gitchain = Callable[..., Any]


def key_pair(top: Path, name: str) -> tuple[Path, Path]:
    private, public = top / f"{name}.pem", top / f"{name}.pub"
    make = ["openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", str(private)]
    subprocess.run(make, check=True)
    subprocess.run(
        ["openssl", "ec", "-in", str(private), "-pubout", "-out", str(public)],
        check=True,
        capture_output=True,
    )
    return private, public


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, tuple[Path, Path]]:
    """Return three pairs of keys."""
    return {name: key_pair(tmp_path, name) for name in ("owner", "trainer", "stranger")}


@pytest.fixture
def chain(gitchain: Gitchain, git_repo: Path, keys: dict[str, tuple[Path, Path]]) -> Path:
    """Return a repository whose layout and step are signed with keys alone."""
    assert gitchain("init", "--local", "--name", "demo", "--no-hooks", cwd=git_repo).code == 0
    pem = "".join(f"        {line}\n" for line in keys["trainer"][1].read_text().splitlines())
    (git_repo / ".gitchain/layout.yaml").write_text(
        "schema: https://gitchain.dev/layout/v1\nname: demo\nversion: 1\nexpires: '2099-01-01T00:00:00Z'\n"
        f"functionaries:\n  trainer:\n    identities:\n    - key: |\n{pem}"
        "steps:\n  - name: train\n    functionaries: [trainer]\n"
        "    expectedMaterials: [[ALLOW, 'git:*'], [DISALLOW, '*']]\n"
        "    expectedProducts: [[CREATE, model.bin], [DISALLOW, '*']]\n"
        "serve: [{step: train, products: [model.bin]}]\n"
    )
    done = gitchain("layout", "sign", "--key", str(keys["owner"][0]), cwd=git_repo)
    assert done.code == 0, done.text
    (git_repo / "model.bin").write_text("weights")
    done = gitchain("attest", "train", "-p", "model.bin", "--key", str(keys["trainer"][0]), cwd=git_repo)
    assert done.code == 0, done.text
    return git_repo


def pin(gitchain: Gitchain, repo: Path, public: Path) -> None:
    assert gitchain("trust", "pin", "--signer-key", str(public), cwd=repo).code == 0


def test_pinned_key_is_believed(gitchain: Gitchain, chain: Path, keys: dict[str, tuple[Path, Path]]) -> None:
    """With the owner's key pinned the model passes; the verdict says that a key signed."""
    pin(gitchain, chain, keys["owner"][1])
    done = gitchain("verify", "model.bin", "--explain", cwd=chain)
    assert done.code == 0, done.text
    assert "gitchain:key" in done.text
    (chain / "model.bin").write_text("other")
    assert gitchain("verify", "model.bin", cwd=chain).code == 1


def test_another_key_is_not(gitchain: Gitchain, chain: Path, keys: dict[str, tuple[Path, Path]]) -> None:
    """A layout under a key that nobody pinned is refused, and so is one under the identity that init pinned."""
    assert gitchain("verify", "model.bin", cwd=chain).code == 5
    pin(gitchain, chain, keys["stranger"][1])
    assert gitchain("verify", "model.bin", cwd=chain).code == 5


def test_step_of_a_stranger(gitchain: Gitchain, chain: Path, keys: dict[str, tuple[Path, Path]]) -> None:
    """A step that another key signed is no evidence."""
    pin(gitchain, chain, keys["owner"][1])
    (chain / "model.bin").write_text("other")
    done = gitchain("attest", "train", "-p", "model.bin", "--key", str(keys["stranger"][0]), cwd=chain)
    assert done.code == 0, done.text
    assert gitchain("verify", "model.bin", cwd=chain).code == 1


def test_kept_key_that_was_changed(
    gitchain: Gitchain, chain: Path, keys: dict[str, tuple[Path, Path]], isolated: Path
) -> None:
    """The key behind a pin is the one that its digest names: 4 for another."""
    pin(gitchain, chain, keys["owner"][1])
    (kept,) = (isolated / "trust/keys").iterdir()
    kept.write_bytes(b"x")
    done = gitchain("verify", "model.bin", cwd=chain)
    assert done.code == 4
    assert "kept key was changed" in done.err


def test_pin_needs_a_signer(gitchain: Gitchain, chain: Path, tmp_path: Path) -> None:
    """No signer, or a file that is no public key, is wrong usage."""
    assert gitchain("trust", "pin", cwd=chain).code == 2
    (tmp_path / "x").write_text("x")
    assert gitchain("trust", "pin", "--signer-key", str(tmp_path / "x"), cwd=chain).code == 2


def test_archive_of_a_chain_of_keys(
    gitchain: Gitchain,
    chain: Path,
    keys: dict[str, tuple[Path, Path]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The archive has the key of the layout's signer: a reader without pins names it by its digest."""
    pin(gitchain, chain, keys["owner"][1])
    made = gitchain("archive", "model.bin", "--json", "-o", str(tmp_path / "model.tar"), cwd=chain)
    assert made.code == 0, made.text
    monkeypatch.setenv("GITCHAIN_HOME", str(tmp_path / "stranger"))
    trust, signer = f"sha256:{made.json['trustDigest']}", made.json["signer"]
    named = ("--trust", trust, "--signer", signer["subject"], "--issuer", signer["issuer"])
    done = gitchain("archive", "verify", "model.tar", *named, cwd=tmp_path)
    assert (done.code, "VERIFIED" in done.out) == (0, True), done.text
    other = (*named[:3], f"sha256:{'0' * 64}", *named[4:])
    assert gitchain("archive", "verify", "model.tar", *other, cwd=tmp_path).code == 5

"""`gitchain bundle sign`: the signature is one that model_signing itself accepts, and refuses once a file is changed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Gitchain = Callable[..., Any]
ADA = "ada@example.com"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a model of several files whose order as text and as paths differs, with Git's own beside them."""
    top = tmp_path / "model"
    for name in (
        "config.json",
        "a/b.bin",
        "a-b.bin",
        "a/c/d.bin",
        "weights.safetensors",
        ".gitattributes",
        ".git/x",
    ):
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(name)
    return top


def model_signing(*args: str) -> subprocess.CompletedProcess[str]:
    """Run the model_signing command line itself."""
    command = [sys.executable, "-m", "model_signing", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def trust(gitchain: Gitchain, git_repo: Path, tmp_path: Path) -> Path:
    """Set a repository up and return the trust configuration of the embedded instance."""
    assert gitchain("init", "--local", "--name", "m", "--no-hooks", cwd=git_repo).code == 0
    path = tmp_path / "trust.json"
    path.write_text(gitchain("trust", "export", cwd=git_repo).out)
    return path


@pytest.fixture
def key(tmp_path: Path) -> tuple[Path, Path]:
    """Return a private key and its public half."""
    private, public = tmp_path / "key.pem", tmp_path / "key.pub"
    make = ["openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", str(private)]
    subprocess.run(make, check=True)
    subprocess.run(
        ["openssl", "ec", "-in", str(private), "-pubout", "-out", str(public)],
        check=True,
        capture_output=True,
    )
    return private, public


@pytest.mark.parametrize("inside", [True, False])
def test_keyless_signature_is_accepted_by_model_signing(
    gitchain: Gitchain, git_repo: Path, model: Path, trust: Path, tmp_path: Path, *, inside: bool
) -> None:
    """model_signing and gitchain both verify it, wherever it lies, and neither does after a change."""
    signature = (model if inside else tmp_path) / "model.sig"
    done = gitchain("bundle", "sign", str(model), "-o", str(signature), "--json", cwd=git_repo)
    assert done.code == 0, done.text
    assert (done.json["files"], done.json["signer"]["subject"]) == (5, ADA)
    issuer = done.json["signer"]["issuer"]
    theirs = (
        "verify", "sigstore", str(model), "--signature", str(signature), "--trust_config", str(trust),
        "--identity", ADA, "--identity_provider", issuer,
    )  # fmt: skip
    ours = (
        "bundle", "verify", str(model), "--bundle", str(signature), "--trusted-root", str(trust),
        "--certificate-identity", ADA, "--certificate-oidc-issuer", issuer,
    )  # fmt: skip
    found = model_signing(*theirs)
    assert found.returncode == 0, found.stdout + found.stderr
    assert gitchain(*ours).code == 0
    (model / "config.json").write_text("changed")
    assert model_signing(*theirs).returncode != 0
    assert gitchain(*ours).code == 1


def test_signature_of_a_key_is_accepted_by_model_signing(
    gitchain: Gitchain, git_repo: Path, model: Path, trust: Path, key: tuple[Path, Path], tmp_path: Path
) -> None:
    """A key's signature verifies in model_signing, and it is logged, which gitchain checks as well."""
    signature = tmp_path / "model.sig"
    done = gitchain(
        "bundle", "sign", str(model), "-o", str(signature), "--key", str(key[0]), "--json", cwd=git_repo
    )
    assert done.code == 0, done.text
    assert done.json["log"]["index"] == 1
    theirs = ("verify", "key", str(model), "--signature", str(signature), "--public_key", str(key[1]))
    found = model_signing(*theirs)
    assert found.returncode == 0, found.stdout + found.stderr
    ours = (
        "bundle",
        "verify",
        str(model),
        "--bundle",
        str(signature),
        "--key",
        str(key[1]),
        "--trusted-root",
        str(trust),
    )
    assert gitchain(*ours).code == 0
    (model / "extra.bin").write_text("x")
    assert model_signing(*theirs).returncode != 0
    assert gitchain(*ours).code == 1


def test_what_theirs_writes_and_ours_say_the_same(
    gitchain: Gitchain, git_repo: Path, model: Path, trust: Path, key: tuple[Path, Path], tmp_path: Path
) -> None:
    """The same model signed by both gives the same files in the same order, and the same root."""
    ours, theirs = tmp_path / "ours.sig", tmp_path / "theirs.sig"
    assert (
        gitchain("bundle", "sign", str(model), "-o", str(ours), "--key", str(key[0]), cwd=git_repo).code == 0
    )
    done = model_signing("sign", "key", str(model), "--signature", str(theirs), "--private_key", str(key[0]))
    assert done.returncode == 0, done.stdout + done.stderr
    from base64 import b64decode

    first, second = (
        json.loads(b64decode(json.loads(path.read_text())["dsseEnvelope"]["payload"]))
        for path in (ours, theirs)
    )
    assert first["predicate"]["resources"] == second["predicate"]["resources"]
    assert first["subject"] == second["subject"]
    hints = {
        json.loads(path.read_text())["verificationMaterial"]["publicKey"]["hint"] for path in (ours, theirs)
    }
    assert len(hints) == 1


def test_single_file(
    gitchain: Gitchain, git_repo: Path, trust: Path, key: tuple[Path, Path], tmp_path: Path
) -> None:
    """A model that is one file is signed as such."""
    one = tmp_path / "one.onnx"
    one.write_text("weights")
    signature = tmp_path / "one.sig"
    assert (
        gitchain("bundle", "sign", str(one), "-o", str(signature), "--key", str(key[0]), cwd=git_repo).code
        == 0
    )
    found = model_signing(
        "verify", "key", str(one), "--signature", str(signature), "--public_key", str(key[1])
    )
    assert found.returncode == 0, found.stdout + found.stderr
    ours = (
        "bundle",
        "verify",
        str(one),
        "--bundle",
        str(signature),
        "--key",
        str(key[1]),
        "--trusted-root",
        str(trust),
    )
    assert gitchain(*ours).code == 0


def test_links_and_empty_models_are_refused(
    gitchain: Gitchain, git_repo: Path, trust: Path, model: Path, tmp_path: Path
) -> None:
    """A link could be signed as something else than what is loaded; nothing at all is no model."""
    out = tmp_path / "x.sig"
    (model / "link").symlink_to("/etc/hostname")
    done = gitchain("bundle", "sign", str(model), "-o", str(out), cwd=git_repo)
    assert done.code != 0, done.text
    (tmp_path / "empty").mkdir()
    done = gitchain("bundle", "sign", str(tmp_path / "empty"), "-o", str(out), cwd=git_repo)
    assert done.code == 1, done.text
    assert not out.exists()


def test_output_that_cannot_be_written(gitchain: Gitchain, git_repo: Path, trust: Path, model: Path) -> None:
    """A directory that is not there is one clear error."""
    done = gitchain("bundle", "sign", str(model), "-o", "/nowhere/x.sig", cwd=git_repo)
    assert done.code in {2, 7}, done.text
    assert done.err.startswith("error: ")


def test_single_file_signed_under_its_own_name(
    gitchain: Gitchain, git_repo: Path, trust: Path, key: tuple[Path, Path], tmp_path: Path
) -> None:
    """The specification names the one resource by its basename: the file has to have that name."""
    top = tmp_path / "model"
    top.mkdir()
    one, signature = top / "one.onnx", tmp_path / "one.sig"
    one.write_text("weights")
    signed = gitchain("bundle", "sign", str(top), "-o", str(signature), "--key", str(key[0]), cwd=git_repo)
    assert signed.code == 0, signed.text

    def verify(target: Path) -> Any:
        args = ("--bundle", str(signature), "--key", str(key[1]), "--trusted-root", str(trust))
        return gitchain("bundle", "verify", str(target), *args)

    assert verify(one).code == 0
    assert verify(top).code == 0
    renamed = tmp_path / "two.onnx"
    renamed.write_text("weights")
    done = verify(renamed)
    assert (done.code, "one.onnx" in done.err, "two.onnx" in done.err) == (1, True, True), done.text
    one.write_text("other")
    assert "changed" in verify(one).err
    (top / "more.bin").write_text("more")
    one.write_text("weights")
    assert verify(one).code == 0
    assert verify(top).code == 1


def test_a_file_is_no_model_of_several_files(
    gitchain: Gitchain, git_repo: Path, trust: Path, model: Path, key: tuple[Path, Path], tmp_path: Path
) -> None:
    """One file of a directory is not the model that was signed."""
    signature = tmp_path / "x.sig"
    args = ("bundle", "sign", str(model), "-o", str(signature), "--key", str(key[0]))
    assert gitchain(*args, cwd=git_repo).code == 0
    who = ("--bundle", str(signature), "--key", str(key[1]), "--trusted-root", str(trust))
    done = gitchain("bundle", "verify", str(model / "config.json"), *who)
    assert (done.code, "not of this file" in done.err, "…" in done.err) == (1, True, False), done.text

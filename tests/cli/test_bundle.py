"""`gitchain bundle verify`: a bundle and a file, by an exact identity or a key, with no repository and no network."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gitchain.errors import ExitCode
from gitchain.instance import Instance
from tests.cli.test_documents import validator
from tests.support.bundle_kinds import craft
from tests.support.forged_bundles import ADA, Forge, raw

Gitchain = Callable[..., Any]
FILE = b"some model"
KEY = ec.derive_private_key(41, ec.SECP256R1())


@dataclass(frozen=True)
class Signed:
    """Files signed at one instance, and the arguments that verify them."""

    folder: Path
    issuer: str

    @property
    def who(self) -> tuple[str, ...]:
        return ("--certificate-identity", ADA, "--certificate-oidc-issuer", self.issuer)

    def args(self, bundle: str = "file", *signer: str) -> tuple[str, ...]:
        root = ("--trusted-root", str(self.folder / "root.json"))
        return ("bundle", "verify", "--bundle", str(self.folder / bundle), *(signer or self.who), *root)

    @property
    def key(self) -> tuple[str, str]:
        return "--key", str(self.folder / "key.pub")

    @property
    def file(self) -> str:
        return str(self.folder / "model.bin")


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    folder = tmp_path_factory.mktemp("signed")
    instance = Instance.create(folder / "local")
    forge = Forge(instance)
    (folder / "model.bin").write_bytes(FILE)
    (folder / "file").write_bytes(raw(craft(forge, file=FILE)))
    (folder / "keyed").write_bytes(raw(craft(forge, file=FILE, key=KEY)))
    (folder / "statement").write_bytes(raw(craft(forge)))
    (folder / "root.json").write_text(json.dumps(json.loads(instance.trust_config())["trustedRoot"]))
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "key.pub").write_bytes(pem)
    (folder / "two.pub").write_bytes(pem + pem)
    return Signed(folder, instance.issuer)


def test_a_file_verifies(gitchain: Gitchain, signed: Signed) -> None:
    """By path and by digest, for people and as a document."""
    done = gitchain(*signed.args(), signed.file)
    assert (done.code, done.out.splitlines()[0].split()[0]) == (ExitCode.OK, "VERIFIED")
    assert ADA in done.out
    digest = hashlib.sha256(FILE).hexdigest()
    done = gitchain(*signed.args(), f"sha256:{digest}", "--json")
    validator("cli").validate(done.json)
    assert done.json["signer"] == {"issuer": signed.issuer, "subject": ADA}
    assert done.json["claims"] == {"issuer": signed.issuer}
    assert done.json["trust"]["local"] is True


def test_a_key_signs_too(gitchain: Gitchain, signed: Signed) -> None:
    """With the key that signed; a certificate does not do for it, nor it for a certificate."""
    done = gitchain(*signed.args("keyed", *signed.key), signed.file, "--json")
    validator("cli").validate(done.json)
    assert done.json["signer"]["issuer"] == "gitchain:key"
    assert gitchain(*signed.args("keyed"), signed.file).code == ExitCode.FAILED
    assert gitchain(*signed.args("file", *signed.key), signed.file).code == ExitCode.FAILED


def test_a_statement_is_about_its_subjects(gitchain: Gitchain, signed: Signed) -> None:
    """A signed statement verifies a file that it names, and no other."""
    assert gitchain(*signed.args("statement"), "sha256:" + "0" * 64).code == ExitCode.OK
    assert gitchain(*signed.args("statement"), signed.file).code == ExitCode.FAILED


@pytest.mark.parametrize("part", ["identity", "issuer"])
def test_the_identity_is_exact(gitchain: Gitchain, signed: Signed, part: str) -> None:
    """Somebody else, a part of the name, another case, another issuer: not verified."""
    for subject, issuer in (
        [(one, signed.issuer) for one in ("eve@example.com", "ada@example.co", "Ada@example.com", ".*")]
        if part == "identity"
        else [(ADA, "https://issuer.example"), (ADA, signed.issuer + "/")]
    ):
        who = ("--certificate-identity", subject, "--certificate-oidc-issuer", issuer)
        done = gitchain(*signed.args("file", *who), signed.file)
        assert done.code == ExitCode.FAILED
        assert "unexpected signer" in done.err


def test_another_file_or_bundle_is_not_verified(gitchain: Gitchain, signed: Signed, tmp_path: Path) -> None:
    """Another file, another digest, a spoilt bundle, one that is none, one that is too large."""
    other = tmp_path / "other"
    other.write_bytes(b"other")
    assert gitchain(*signed.args(), str(other)).code == ExitCode.FAILED
    assert gitchain(*signed.args(), "sha384:" + "0" * 96).code == ExitCode.FAILED
    assert gitchain(*signed.args(str(other)), signed.file).code == ExitCode.FAILED
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(100 << 20)
    assert gitchain(*signed.args(str(large)), signed.file).code == ExitCode.LIMIT


USAGE = {
    "nobody": ((), "exactly one expected signer"),
    "no issuer": (("--certificate-identity", ADA), "exactly one expected signer"),
    "no identity": (("--certificate-oidc-issuer", "https://i.example"), "exactly one expected signer"),
    "both": (
        ("--certificate-identity", ADA, "--certificate-oidc-issuer", "https://i.example", "--key", "key.pub"),
        "exactly one expected signer",
    ),
    "an issuer that is none": (
        ("--certificate-identity", ADA, "--certificate-oidc-issuer", "issuer"),
        "issuer",
    ),
    "an empty identity": (
        ("--certificate-identity", "", "--certificate-oidc-issuer", "https://i.example"),
        "subject is empty",
    ),
    "no such key": (("--key", "nosuch"), "cannot read the key"),
    "two keys": (("--key", "two.pub"), "not a public key"),
    "no key": (("--key", "model.bin"), "not a public key"),
}


@pytest.mark.parametrize("name", USAGE)
def test_wrong_usage(gitchain: Gitchain, signed: Signed, name: str) -> None:
    """Who must have signed is said in one way, with files that can be read."""
    signer, reason = USAGE[name]
    root = ("--bundle", "file", "--trusted-root", "root.json")
    done = gitchain("bundle", "verify", *root, *signer, "model.bin", cwd=signed.folder)
    assert done.code == ExitCode.USAGE
    assert reason in done.err


@pytest.mark.parametrize("target", ["nosuch", "sha256:" + "0" * 62, "a\0b"], ids=["absent", "short", "nul"])
def test_a_file_that_cannot_be_read(gitchain: Gitchain, signed: Signed, target: str) -> None:
    """A file that is not there, a digest of the wrong length, no path at all: wrong usage."""
    assert gitchain(*signed.args(), target).code == ExitCode.USAGE


def test_a_folder_is_no_file(gitchain: Gitchain, signed: Signed) -> None:
    """A folder is taken for a model, and a bundle about a file says nothing of one."""
    assert gitchain(*signed.args(), ".").code == ExitCode.FAILED


def test_the_trust_is_named(gitchain: Gitchain, signed: Signed) -> None:
    """A root that is none is a trust error; other roots, the public ones by default, do not know this log."""
    assert gitchain(*signed.args(), "--trusted-root", signed.file, signed.file).code == ExitCode.TRUST
    plain = ("bundle", "verify", "--bundle", str(signed.folder / "file"), *signed.who, signed.file)
    for more in ((), ("--staging",)):
        done = gitchain(*plain, *more)
        assert (done.code, "log is not in the trusted root" in done.err) == (ExitCode.FAILED, True)
        assert "--trust local for this machine's own" in done.err
    assert gitchain(*plain, "--trust", str(signed.folder / "root.json")).code == ExitCode.OK


def test_nothing_is_read_from_where_it_runs(gitchain: Gitchain, signed: Signed, tmp_path: Path) -> None:
    """No repository is needed, and a hostile one changes nothing."""
    (tmp_path / ".gitchain").mkdir()
    (tmp_path / ".gitchain" / "config.toml").write_bytes(b"\xff hostile")
    assert gitchain(*signed.args(), signed.file, cwd=tmp_path).code == ExitCode.OK


@pytest.mark.parametrize("name", ["sha512", "sha3_256"])
def test_bundle_verify_compares_the_digest_that_the_subject_has(
    gitchain: Gitchain, signed: Signed, tmp_path: Path, name: str
) -> None:
    """For the file, and for its digest under that name; another file is not verified, and the message says with what."""
    digest = hashlib.new(name, FILE).hexdigest()
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "pkg:npm/x@1.0.0", "digest": {name: digest}}],
        "predicateType": "https://example.com/publish/v1",
    }
    forge = Forge(Instance.open(signed.folder / "local"))
    bundle = tmp_path / "bundle"
    bundle.write_bytes(raw(craft(forge, payload=json.dumps(statement).encode())))
    for target in (signed.file, f"{name}:{digest}"):
        assert gitchain(*signed.args(str(bundle)), target).code == ExitCode.OK
    other = tmp_path / "other"
    other.write_bytes(b"other")
    done = gitchain(*signed.args(str(bundle)), str(other))
    assert done.code == ExitCode.FAILED
    assert f"{name}:{hashlib.new(name, b'other').hexdigest()}" in done.err
    done = gitchain(*signed.args(str(bundle)), f"sha256:{'0' * 64}")
    assert (done.code, "no digest to compare with" in done.err, name in done.err) == (
        ExitCode.FAILED,
        True,
        True,
    )


def test_bundle_verify_says_nothing_but_its_own_on_stderr(signed: Signed, tmp_path: Path) -> None:
    """The public trusted root is read without a word of the library that carries it."""
    who = ("--certificate-identity", ADA, "--certificate-oidc-issuer", signed.issuer)
    for more in ((), ("--staging",)):
        command = [
            sys.executable,
            "-m",
            "gitchain",
            "bundle",
            "verify",
            "--bundle",
            str(signed.folder / "file"),
            *who,
            *more,
        ]
        done = subprocess.run(
            [*command, signed.file], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        assert done.returncode == ExitCode.FAILED
        assert done.stderr.startswith("error: log is not in the trusted root"), done.stderr

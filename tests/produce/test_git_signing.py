"""Git signs with `gitchain-git-sign`: real commits and tags, the embedded instance, one certificate for many."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from gitchain.cli.git_sign import MAX_INPUT_BYTES, GitSignRequest, parse
from gitchain.collect.git_objects import raw_object, resolve
from gitchain.errors import AuthenticationError, MalformedError, SignatureError, TrustError, UsageError
from gitchain.evidence.gitobject import GitObject, unarmored
from gitchain.evidence.tile import TileId, decode_entries
from gitchain.instance import Instance
from gitchain.produce.credentials import credential_path, keep_credential, kept_credential
from gitchain.produce.git_signing import (
    GitSettings,
    read_settings,
    settings_profile,
    sign_for_git,
    verify_for_git,
)
from gitchain.sign.entries import request_v1
from gitchain.sign.gitcms import Credential
from gitchain.verify.gitsigned import verify_object
from gitchain.verify.keys import Key
from gitchain.verify.rekor_entry import SignatureRecord, body_of
from gitchain.workspace.user_directory import LayoutPin, local_directory, user_directory, write_pin
from tests.support.fuzzing import sized
from tests.support.preloaded import programs

BIN = Path(sys.executable).parent
TREE = b"tree " + b"a" * 40 + b"\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nm\n"
KEY = "Ada <ada@example.com>"


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of an embedded instance, to copy: making one takes a while."""
    folder = tmp_path_factory.mktemp("ready") / "local"
    Instance.create(folder)
    return folder


@pytest.fixture
def instance(ready: Path, isolated: Path) -> Instance:
    """An embedded instance where this test's user has theirs."""
    user_directory()
    shutil.copytree(ready, local_directory())
    return Instance.open(local_directory())


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose commits and tags the program signs."""
    return new_repository(tmp_path / "repo", monkeypatch)


def new_repository(path: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Path:
    monkeypatch.setenv("PATH", f"{programs()}{os.pathsep}{BIN}{os.pathsep}{os.environ['PATH']}")
    path.mkdir()
    git(path, "init", "-q", *arguments)
    for name, value in (
        ("gpg.format", "x509"),
        ("gpg.x509.program", "gitchain-git-sign"),
        ("gitchain.trust", "local"),
    ):
        git(path, "config", name, value)
    return path


def run_git(path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["git", *arguments], cwd=path, capture_output=True, text=True, check=False, timeout=600
    )


def git(path: Path, *arguments: str) -> str:
    done = run_git(path, *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def entries(instance: Instance) -> Sequence[str]:
    """The certificate of each entry in the instance's log but the first, which is the log's own."""
    log = Instance.open(instance.directory).log
    width = log.size()
    data = log.tile(TileId(None, 0, width))
    assert data is not None
    bodies = [json.loads(one) for one in decode_entries(data, width)[1:]]
    return [
        body["spec"]["hashedRekordV002"]["signature"]["verifier"]["x509Certificate"]["rawBytes"]
        for body in bodies
    ]


def parsed(path: Path, revision: str) -> GitObject:
    kind, oid = resolve(path, revision)
    return GitObject.parse(kind, oid, raw_object(path, oid)[1])


def settings(**changes: object) -> GitSettings:
    return replace(GitSettings("local", "", None, cache=True), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_git_signs_and_verifies_with_the_program(
    form: str, instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit and a tag, in repositories of both hashes: git, openssl and gitchain agree; a changed one is refused."""
    path = new_repository(tmp_path / "repo", monkeypatch, f"--object-format={form}")
    git(path, "commit", "-q", "-S", "--allow-empty", "-m", "first")
    git(path, "tag", "-s", "v1", "-m", "release one")
    assert "signed by ada@example.com" in run_git(path, "verify-commit", "HEAD").stderr
    git(path, "verify-tag", "v1")
    assert "signed by ada@example.com" in git(path, "log", "--show-signature", "-1")
    found = git(path, "log", "-1", "--format=%G?|%GS|%GF|%GT").split("|")
    assert (found[0], found[1], found[3]) == ("G", f"ada@example.com ({instance.issuer})", "fully")
    trust = settings_profile(settings()).trust
    for revision in ("HEAD", "v1"):
        signed = parsed(path, revision)
        verified = verify_object(signed, trust)
        assert verified.identity.subject == "ada@example.com"
        assert signed.signature is not None
        (tmp_path / "s.der").write_bytes(unarmored(signed.signature))
        (tmp_path / "m").write_bytes(signed.payload)
        command = "openssl cms -verify -inform DER -in s.der -content m -binary -noverify -out out"
        done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert len(set(entries(instance))) == 1
    changed = raw_object(path, resolve(path, "HEAD")[1])[1].replace(b"first", b"worst")
    (path / "changed").write_bytes(changed)
    oid = git(path, "hash-object", "-t", "commit", "-w", "changed")
    done = run_git(path, "verify-commit", oid)
    assert done.returncode != 0
    assert "signature is over other content" in done.stderr


def test_a_rebase_of_many_commits_takes_one_certificate(instance: Instance, repository: Path) -> None:
    """Each commit is signed anew and logged once, all with the certificate that the first one got."""
    commits = sized(4, 30)
    git(repository, "-c", "commit.gpgsign=false", "commit", "-q", "--allow-empty", "-m", "root")
    for number in range(commits):
        (repository / "file").write_text(str(number))
        git(repository, "add", "file")
        git(repository, "-c", "commit.gpgsign=false", "commit", "-q", "-m", f"commit {number}")
    git(repository, "-c", "commit.gpgsign=true", "rebase", "-q", "--force-rebase", "--root")
    found = entries(instance)
    assert len(found) == commits + 1
    assert len(set(found)) == 1
    trust = settings_profile(settings()).trust
    assert all(
        verify_object(parsed(repository, f"HEAD~{back}"), trust).identity.subject == "ada@example.com"
        for back in range(commits + 1)
    )


def test_a_failure_says_what_to_type(repository: Path) -> None:
    """Without an instance nothing is signed, git stops, and the program says why."""
    done = run_git(repository, "commit", "-S", "--allow-empty", "-m", "x")
    assert done.returncode == 128
    assert "failed to sign the data" in done.stderr
    program = ["gitchain-git-sign", "--status-fd=2", "-bsau", KEY]
    said = subprocess.run(program, input=TREE, cwd=repository, capture_output=True, check=False)
    assert said.returncode == 4
    assert b"help: " in said.stderr
    assert b"SIG_CREATED" not in said.stderr
    assert said.stdout == b""


def test_trust_comes_from_git_or_from_a_pin_and_never_from_the_clone(
    tmp_path: Path, instance: Instance
) -> None:
    """`.gitchain/config.toml` travels with a repository, so it does not say where a token goes."""
    path = tmp_path / "repo"
    path.mkdir()
    git(path, "init", "-q")
    (path / ".gitchain").mkdir()
    (path / ".gitchain" / "config.toml").write_text(
        'schema = "https://gitchain.dev/config/v1"\n[sign]\ntrust = "x"\n'
    )
    with pytest.raises(TrustError, match="no Sigstore instance") as error:
        read_settings(path)
    assert "git config --global gitchain.trust" in error.value.help
    write_pin(LayoutPin("l", (("https://i", "s"),), "local", "0" * 64, repositories=(str(path / ".git"),)))
    found = read_settings(path)
    assert found == GitSettings("local", "0" * 64, None, cache=True)
    with pytest.raises(TrustError, match="not the one that was pinned"):
        settings_profile(found)
    git(path, "config", "gitchain.trust", "public")
    git(path, "config", "gitchain.identity", "eve@example.com")
    git(path, "config", "gitchain.cacheCertificate", "No")
    assert read_settings(path) == GitSettings("public", "", "eve@example.com", cache=False)


@pytest.mark.parametrize(
    ("key", "identity", "who"),
    [
        ("Ada <ada@example.com>", None, "ada@example.com"),
        ("bob@example.com", None, "bob@example.com"),
        ("https://ci.example.com/job", None, "https://ci.example.com/job"),
        ("Ada <ada@example.com>", "carol@example.com", "carol@example.com"),
    ],
)
def test_who_signs_is_the_setting_or_gits_key(
    key: str, identity: str | None, who: str, instance: Instance
) -> None:
    """The embedded instance takes the committer's e-mail, as it does everywhere."""
    made = sign_for_git(TREE, key, settings(identity=identity, cache=False), datetime.now(UTC))
    assert verify_for_git(TREE, made.armored, settings_profile(settings())).identity.subject == who
    assert made.subject.startswith(who)
    assert not (user_directory() / "gitchain-git-sign").exists()


def test_without_a_name_nobody_signs(instance: Instance) -> None:
    """A key's number is no identity."""
    with pytest.raises(AuthenticationError, match="no identity to sign as"):
        sign_for_git(TREE, "0xABCDEF", settings(), datetime.now(UTC))


def test_push_certificates_are_signed_and_not_read(instance: Instance) -> None:
    """`git push --signed` asks for a signature of something that is no commit."""
    made = sign_for_git(b"certificate version 0.1\n", KEY, settings(), datetime.now(UTC))
    assert made.armored.startswith(b"-----BEGIN SIGNED MESSAGE-----\n")
    with pytest.raises(MalformedError, match="not a commit or a tag"):
        verify_for_git(b"certificate version 0.1\n", made.armored, settings_profile(settings()))


def test_signatures_of_another_form_are_not_for_this_program(instance: Instance) -> None:
    """Git has another program for them."""
    armored = b"-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"
    with pytest.raises(SignatureError, match="not a CMS signature"):
        verify_for_git(TREE, armored, settings_profile(settings()))


def test_each_identity_has_a_certificate_of_its_own(instance: Instance) -> None:
    """The kept certificate of one is never used for another."""
    now = datetime.now(UTC)
    first = sign_for_git(TREE, "a@example.com", settings(), now)
    second = sign_for_git(TREE, "b@example.com", settings(), now)
    again = sign_for_git(TREE, "a@example.com", settings(), now)
    assert first.fingerprint == again.fingerprint != second.fingerprint
    assert {first.subject, second.subject} == {f"{one}@example.com ({instance.issuer})" for one in "ab"}


def test_a_kept_credential_is_private_and_short_lived(instance: Instance, tmp_path: Path) -> None:
    """Mode 0600 in 0700; used until half a minute before its end; removed when it is anything else."""
    now = datetime.now(UTC)
    sign_for_git(TREE, KEY, settings(), now)
    path = credential_path(settings_profile(settings()).trust.digest, "ada@example.com")
    assert path is not None
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    kept = kept_credential(path, now)
    assert kept is not None
    end = kept.certificate.not_valid_after_utc
    assert end - now < timedelta(minutes=11)
    assert kept_credential(path, end - timedelta(seconds=30)) is not None
    data = path.read_bytes()
    assert kept_credential(path, end - timedelta(seconds=29)) is None
    assert not path.exists()
    assert kept_credential(path, now) is None
    other = Credential(ec.generate_private_key(ec.SECP256R1()), kept.certificate)
    keep_credential(path, other)
    assert kept_credential(path, now) is None
    for broken in (b"", data[:-1], b"x" * 70_000 + data, data.replace(b"BEGIN PRIVATE", b"BEGIN PUBLIC")):
        path.write_bytes(broken)
        path.chmod(0o600)
        assert kept_credential(path, now) is None
        assert not path.exists()
    path.write_bytes(data)
    path.chmod(0o640)
    assert kept_credential(path, now) is None
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(data)
    elsewhere.chmod(0o600)
    path.symlink_to(elsewhere)
    assert kept_credential(path, now) is None
    assert elsewhere.exists()
    keep_credential(path, kept)
    assert kept_credential(path, now) is not None


def test_the_runtime_directory_is_preferred_and_must_be_private(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isolated: Path
) -> None:
    """A place that others may write to is not used; where there is none, nothing is kept."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    found = credential_path("digest", "who")
    assert found is not None
    assert found.parent.parent == tmp_path
    found.parent.chmod(0o770)
    second = credential_path("digest", "who")
    assert second is not None
    assert second.parent.parent == user_directory()
    second.parent.chmod(0o707)
    assert credential_path("digest", "who") is None
    assert kept_credential(None, datetime.now(UTC)) is None
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    assert credential_path("digest", "who") is None


def test_a_token_for_somebody_else_uses_no_kept_certificate(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Signing by a trust file with tokens: each subject gets its own, one token is asked for once."""
    from gitchain.instance.server import LocalServer

    with LocalServer(instance) as server:
        (tmp_path / "trust.json").write_text(instance.trust_config(server.url))
        where = settings(trust=str(tmp_path / "trust.json"))
        made: dict[int, Any] = {}
        for who in ("a@example.com", "b@example.com", "a@example.com"):
            monkeypatch.setenv("SIGSTORE_ID_TOKEN", instance.token(who))
            made[len(made)] = sign_for_git(TREE, KEY, where, datetime.now(UTC))
    assert made[0].subject.startswith("a@example.com")
    assert made[1].subject.startswith("b@example.com")
    assert made[0].fingerprint == made[2].fingerprint != made[1].fingerprint


def test_rekor_v1_is_asked_for_exactly_what_it_logs() -> None:
    """A `hashedrekord` of the digest of the signed attributes, with the certificate in PEM."""
    key = Key.of(ec.generate_private_key(ec.SECP256R1()).public_key())
    signed = SignatureRecord(b"signature", b"d" * 32, key, None, None)
    asked = request_v1(signed)
    assert (asked["kind"], asked["apiVersion"]) == ("hashedrekord", "0.0.1")
    assert json.loads(body_of(signed, v2=False)) == asked


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["--status-fd=2", "-bsau", KEY], GitSignRequest(KEY, "", 2)),
        (["--status-fd=1", "--verify", "file", "-"], GitSignRequest("", "file", 1)),
        (["--keyid-format=long", "--status-fd=1", "--verify", "file", "-"], GitSignRequest("", "file", 1)),
        (["--status-fd=7", "-bsa"], GitSignRequest("", "", -1)),
    ],
)
def test_the_arguments_are_gits(arguments: list[str], asked: GitSignRequest) -> None:
    """As gpgsm takes them."""
    assert parse(arguments) == asked


@pytest.mark.parametrize(
    "arguments", [[], ["--status-fd=2"], ["--verify"], ["--verify", "f"], ["--help"], ["-x"], ["f"]]
)
def test_other_arguments_are_refused(arguments: list[str]) -> None:
    """With what to type."""
    with pytest.raises(UsageError) as error:
        parse(arguments)
    assert "gpg.x509.program" in error.value.help


def test_the_program_answers_as_gpg_does(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Status lines for git, a sentence for people, the exit code for both; too much input is refused."""
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "gitchain.trust")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "local")
    program = [sys.executable, "-m", "gitchain.cli.git_sign"]

    def run(*arguments: str, data: bytes = TREE) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*program, *arguments], input=data, cwd=tmp_path, capture_output=True, check=False
        )

    made = run("--status-fd=2", "-bsau", KEY)
    assert made.returncode == 0
    lines = made.stderr.decode().splitlines()
    assert lines[0] == "[GNUPG:] BEGIN_SIGNING"
    assert lines[1].startswith("[GNUPG:] SIG_CREATED D 19 8 00 ")
    (tmp_path / "sig").write_bytes(made.stdout)
    good = run("--status-fd=1", "--verify", "sig", "-")
    assert good.returncode == 0
    words = [line.split()[1] for line in good.stdout.decode().splitlines()]
    assert words == ["NEWSIG", "GOODSIG", "VALIDSIG", "TRUST_FULLY"]
    bad = run("--status-fd=1", "--verify", "sig", "-", data=TREE.replace(b"m\n", b"n\n"))
    assert bad.returncode == 1
    assert [line.split()[1] for line in bad.stdout.decode().splitlines()] == ["NEWSIG", "BADSIG"]
    assert run("--verify", "absent", "-").returncode == 2
    assert run("--status-fd=2", "-bsau", KEY, data=b"x" * (MAX_INPUT_BYTES + 1)).returncode == 8
    assert run("--version").stdout.startswith(b"gitchain-git-sign ")

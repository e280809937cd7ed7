"""A layout whose developer signs with OpenPGP: by gpg and Git, and who that was by the layout's key alone."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitchain.errors import ExitCode
from tests.support.openpgp_signatures import Home, gpg_home, needs_gpg
from tests.support.signed_sources import Gitchain, People, codes, make, ssh_people, stored

pytestmark = needs_gpg


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    with gpg_home() as found:
        yield found


@pytest.fixture(scope="module", params=["ed25519", "rsa2048"])
def people(request: pytest.FixtureRequest, home: Home) -> People:
    """The developer signs with a subkey of their primary key."""
    kind = str(request.param)
    dev, stranger = home.new(f"dev-{kind}", kind, "cert"), home.new(f"stranger-{kind}", kind)
    home.gpg("--quick-add-key", dev, kind, "sign", "never")
    program = home.path / "gpg"
    program.write_text(
        f"#!/bin/sh\nexec {shutil.which('gpg')} --homedir {home.path} --batch --passphrase '' \"$@\"\n"
    )
    program.chmod(0o755)
    signs, strange = ([f"gpg.program={program}", f"user.signingkey={key}"] for key in (dev, stranger))
    return People(signs, strange, [{"openpgp": home.public(dev), "fingerprint": dev}])


@pytest.mark.parametrize("form", ["sha1", "sha256"])
def test_a_signed_commit_and_tag_are_evidence(
    tmp_path: Path, gitchain: Gitchain, form: str, people: People
) -> None:
    """The verdict says who signed by the primary key's fingerprint, and that they may; the files are bound."""
    signed = make(tmp_path, gitchain, form, people)
    signed.commit(key=signed.dev, bound=form == "sha1")
    signed.attest()
    steps = signed.verify("model.txt")["steps"]
    assert [(step["name"], step["functionaries"]) for step in steps] == [
        ("source", ["dev"]),
        ("train", ["ada"]),
    ]
    signed.git("tag", "-s", "v1", "-m", "one", key=signed.dev)
    for one in signed.verify("v1")["git"]:
        assert (one["signature"], one["state"], one["time"]) == ("openpgp", "verified", None)
        assert one["signer"] == {"issuer": "gitchain:openpgp", "subject": people.identities[0]["fingerprint"]}
        assert (one["functionaries"], one["steps"], one["allowed"]) == (["dev"], ["source"], True)
    told = gitchain("verify", "v1", cwd=signed.repo).out
    who = f"signed by {people.identities[0]['fingerprint']} (gitchain:openpgp), at a time that it does not prove"
    assert told.count(f"{who}: dev, may sign step source") == 2


def test_a_key_that_the_layout_does_not_hold_is_told(
    tmp_path: Path, gitchain: Gitchain, people: People
) -> None:
    """Nobody can check it: it is no forgery, and it satisfies nothing."""
    signed = make(tmp_path, gitchain, "sha256", people)
    signed.commit(key=signed.stranger)
    signed.attest()
    document = signed.verify("HEAD", ExitCode.FAILED)
    assert codes(document) == {"GC-E0301"}
    assert document["git"][0]["state"] == "unread"
    assert any("the layout does not hold" in one["reason"] for one in document["refused"])
    told = gitchain("verify", "HEAD", cwd=signed.repo).out
    assert "signed with an OpenPGP key that the layout does not hold" in told


def test_a_changed_or_moved_signature_is_refused(tmp_path: Path, gitchain: Gitchain, people: People) -> None:
    """One word of the message; or the signature of another commit of the same tree; or a header twice."""
    signed = make(tmp_path, gitchain, "sha1", people)
    signed.commit(key=signed.dev)
    signed.attest()
    raw = signed.git("cat-file", "commit", "HEAD") + "\n"
    signed.git("commit", "-q", "-S", "--allow-empty", "-m", "other", key=signed.dev)
    other = signed.git("cat-file", "commit", "HEAD") + "\n"

    def block(text: str) -> str:
        return text[text.index("gpgsig ") : text.index("-----END") + 27]

    for text in (raw.replace("work", "walk"), other.replace(block(other), block(raw))):
        assert text not in {raw, other}
        oid = stored(signed.repo, text)
        document = signed.verify(oid, ExitCode.FAILED)
        assert "GC-E0360" in codes(document)
        assert "signature does not verify" in gitchain("verify", oid, cwd=signed.repo).out
    twice = raw.replace("gpgsig ", f"{block(raw)}\ngpgsig ", 1)
    done = gitchain("verify", stored(signed.repo, twice), cwd=signed.repo)
    assert done.code == ExitCode.FAILED, done.text
    assert "header occurs twice" in done.text


def without_gpg(tmp_path: Path) -> str:
    """A PATH with what a verdict needs, but for gpg."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("git", "dvc"):
        found = shutil.which(name) or str(Path(sys.executable).parent / name)
        (folder / name).symlink_to(found)
    return str(folder)


def test_no_gpg_is_a_finding(
    tmp_path: Path, gitchain: Gitchain, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What says who signed is missing: the verdict fails, and says what to install."""
    signed = make(tmp_path, gitchain, "sha256", people)
    signed.commit(key=signed.dev)
    signed.attest()
    monkeypatch.setenv("PATH", without_gpg(tmp_path))
    for target in ("HEAD", "model.txt"):
        document = signed.verify(target, ExitCode.FAILED)
        assert codes(document) == {"GC-E0301", "GC-E0362"}
        (one,) = [one for one in document["findings"] if one["code"] == "GC-E0362"]
        assert "gpg is not installed" in one["message"]
        assert "apt-get install gnupg" in one["help"]
    assert signed.verify("HEAD", ExitCode.FAILED)["git"][0]["state"] == "unchecked"
    told = gitchain("verify", "HEAD", cwd=signed.repo).out
    assert "its signature cannot be checked: gpg is not installed" in told


def test_a_program_that_the_repository_names_is_not_run(
    tmp_path: Path, gitchain: Gitchain, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither `gpg.program` of its settings, nor a gpg that lies in it, though PATH leads there first."""
    signed = make(tmp_path, gitchain, "sha256", people)
    evil = signed.repo / "bin" / "gpg"
    evil.parent.mkdir()
    mark = tmp_path / "mark"
    evil.write_text(f"#!/bin/sh\necho ran >> {mark}\n")
    evil.chmod(0o755)
    signed.commit(key=signed.dev)
    signed.attest()
    for name in ("gpg.program", "gpg.openpgp.program", "gpg.x509.program", "gpg.ssh.program"):
        signed.git("config", name, str(evil))
    monkeypatch.setenv("PATH", f"{evil.parent}:bin:{os.environ['PATH']}")
    monkeypatch.chdir(signed.repo)
    (one,) = signed.verify("HEAD")["git"]
    assert one["allowed"]
    assert not mark.exists()


def test_a_tag_that_cannot_be_checked_fails_what_else_passes(
    tmp_path: Path, gitchain: Gitchain, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit is signed with SSH, the tags with OpenPGP: by a stranger, and by the developer where gpg is missing."""
    ssh = ssh_people(tmp_path)
    both = People(ssh.dev, people.stranger, [*ssh.identities, *people.identities])
    signed = make(tmp_path, gitchain, "sha1", both)
    signed.commit(key=ssh.dev)
    signed.attest()
    signed.git("tag", "-s", "strange", "-m", "by a stranger", key=people.stranger)
    signed.git("tag", "-s", "good", "-m", "by the developer", key=people.dev)
    signed.git("update-ref", "refs/tags/renamed", "refs/tags/good")
    document = signed.verify("strange", ExitCode.FAILED)
    assert codes(document) == {"GC-E0361"}
    assert "gpg --armor --export" in document["findings"][0]["help"]  # signing once more would not help
    assert [one["state"] for one in document["git"]] == ["unread", "verified"]
    assert [one["signature"] for one in signed.verify("good")["git"]] == ["openpgp", "ssh"]
    assert codes(signed.verify("renamed", ExitCode.FAILED)) == {"GC-E0360"}
    monkeypatch.setenv("PATH", without_gpg(tmp_path))
    document = signed.verify("good", ExitCode.FAILED)
    assert codes(document) == {"GC-E0362"}
    assert [one["state"] for one in document["git"]] == ["unchecked", "verified"]
    assert "apt-get install gnupg" in document["findings"][0]["help"]
    assert codes(signed.verify("renamed", ExitCode.FAILED)) == {"GC-E0360"}
    signed.verify("model.txt")

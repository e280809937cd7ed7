"""A layout asks for signed sources: who signed the commit and the tag, over which files, and whether they may."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitchain.errors import ExitCode
from tests.support.signed_sources import Gitchain, codes, make


@pytest.fixture(params=["sha1", "sha256"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_signed_commit_is_evidence_of_its_files(tmp_path: Path, gitchain: Gitchain, form: str) -> None:
    """By SHA-256 ids, or by the line in the signed message; the verdict says who signed and that they may."""
    signed = make(tmp_path, gitchain, form)
    signed.commit(key=signed.dev, bound=form == "sha1")
    signed.attest()
    document = signed.verify("model.txt")
    assert [(step["name"], step["functionaries"]) for step in document["steps"]] == [
        ("source", ["dev"]),
        ("train", ["ada"]),
    ]
    assert "git" not in document
    (one,) = signed.verify("HEAD")["git"]
    assert (one["kind"], one["signature"], one["state"]) == ("commit", "ssh", "verified")
    assert (one["functionaries"], one["steps"], one["allowed"]) == (["dev"], ["source"], True)
    assert one["time"] is None
    told = gitchain("verify", "HEAD", "--explain", cwd=signed.repo).out
    assert "(gitchain:ssh), at a time that it does not prove: dev, may sign step source" in told


def test_a_sha1_alone_binds_nothing(tmp_path: Path, gitchain: Gitchain) -> None:
    """A signature that names no manifest does not count, and says what to type."""
    signed = make(tmp_path, gitchain, "sha1")
    signed.commit(key=signed.dev, bound=False)
    signed.attest()
    document = signed.verify("model.txt", ExitCode.FAILED)
    assert "GC-E0301" in codes(document)
    assert any("SHA-1 alone" in one["reason"] and one["step"] == "source" for one in document["refused"])


def test_the_manifest_is_of_these_files(tmp_path: Path, gitchain: Gitchain) -> None:
    """A line that names other files than the tree has is refused."""
    signed = make(tmp_path, gitchain, "sha1")
    signed.git("add", "-A")
    line = signed.trailer()
    (signed.repo / "train.py").write_text("print('evil')\n")
    signed.git("add", "-A")
    signed.git("commit", "-q", "-S", "-m", "work", "--trailer", line, key=signed.dev)
    signed.attest()
    document = signed.verify("model.txt", ExitCode.FAILED)
    assert any("manifest of other files" in one["reason"] for one in document["refused"])


def test_without_a_log_an_ssh_signature_has_no_time(tmp_path: Path, gitchain: Gitchain) -> None:
    """Nothing logged is about the commit: it does not count yet."""
    signed = make(tmp_path, gitchain, "sha256")
    signed.commit(key=signed.dev)
    assert gitchain("attest", "train", "-m", "train.py", "-p", "model.txt", cwd=signed.repo).code == 0
    document = signed.verify("model.txt", ExitCode.FAILED)
    assert any("its time is not proven" in one["reason"] for one in document["refused"])


@pytest.mark.parametrize("who", ["stranger", "nobody"])
def test_somebody_else_does_not_count(tmp_path: Path, gitchain: Gitchain, who: str) -> None:
    """A key that the layout does not name, or no signature at all."""
    signed = make(tmp_path, gitchain, "sha256")
    signed.commit(key=signed.stranger if who == "stranger" else ())
    signed.attest()
    document = signed.verify("HEAD", ExitCode.FAILED)
    assert codes(document) & {"GC-E0301", "GC-E0303"}
    (one,) = document["git"]
    assert one["state"] == ("verified" if who == "stranger" else "unsigned")
    assert one["allowed"] is False
    told = gitchain("verify", "HEAD", cwd=signed.repo).out
    assert ("no functionary of the layout, may sign no step" if who == "stranger" else "not signed") in told


def test_an_unsigned_tag_on_a_signed_commit_does_not_pass(tmp_path: Path, gitchain: Gitchain) -> None:
    """Annotated and unsigned, or signed by a stranger: refused. Lightweight, or signed by the developer: fine."""
    signed = make(tmp_path, gitchain, "sha1")
    signed.commit(key=signed.dev)
    signed.attest()
    signed.git("tag", "light")
    signed.git("tag", "-a", "bare", "-m", "not signed")
    signed.git("tag", "-s", "other", "-m", "by a stranger", key=signed.stranger)
    signed.git("tag", "-s", "good", "-m", "by the developer", key=signed.dev)
    assert [one["kind"] for one in signed.verify("light")["git"]] == ["commit"]
    tag, commit = signed.verify("good")["git"]
    assert (tag["kind"], tag["name"], tag["allowed"], commit["allowed"]) == ("tag", "good", True, True)
    for name, state in (("bare", "unsigned"), ("other", "verified")):
        document = signed.verify(name, ExitCode.FAILED)
        assert codes(document) == {"GC-E0361"}
        tag, commit = document["git"]
        assert (tag["state"], tag["allowed"], commit["allowed"]) == (state, False, True)
        assert document["findings"][0]["help"] == "git tag -s"


def test_a_tag_under_another_name_is_refused(tmp_path: Path, gitchain: Gitchain) -> None:
    """Whoever may write refs cannot pass an old release for a new one."""
    signed = make(tmp_path, gitchain, "sha1")
    signed.commit(key=signed.dev)
    signed.attest()
    signed.git("tag", "-s", "v1", "-m", "one", key=signed.dev)
    signed.git("update-ref", "refs/tags/v2", "refs/tags/v1")
    signed.verify("v1")
    signed.git("update-ref", "refs/releases/v2", "refs/tags/v1")
    signed.git("symbolic-ref", "refs/tags/v3", "refs/tags/v1")
    for name in (
        "v2",
        "tags/v2",
        "refs/tags/v2",
        "tags/v2^{tag}",
        "v2^{object}",
        "releases/v2",
        "v3",
        "tags/v3",
    ):
        document = signed.verify(name, ExitCode.FAILED)
        assert codes(document) == {"GC-E0360"}, name
        assert "another name" in document["git"][0]["message"]
    for name in ("tags/v1", "refs/tags/v1", "v1^{tag}"):
        assert signed.verify(name)["git"][0]["name"] == "v1"


def test_a_changed_commit_is_refused(tmp_path: Path, gitchain: Gitchain) -> None:
    """One byte of a signed commit: the signature is still there, and does not verify."""
    signed = make(tmp_path, gitchain, "sha1")
    signed.commit(key=signed.dev)
    signed.attest()
    raw = signed.git("cat-file", "commit", "HEAD").replace("work", "walk") + "\n"
    (signed.repo / "raw").write_text(raw)
    oid = signed.git("hash-object", "-t", "commit", "-w", "raw")
    (signed.repo / "raw").unlink()
    document = signed.verify(oid, ExitCode.FAILED)
    assert "GC-E0360" in codes(document)
    assert "does not verify" in gitchain("verify", oid, cwd=signed.repo).out

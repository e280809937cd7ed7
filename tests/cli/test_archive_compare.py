"""`gitchain archive verify`: the archive's own time and verdict, compared with its evidence."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gitchain.errors import ExitCode
from gitchain.evidence import predicates
from gitchain.evidence.digest import DigestSet, sha256_hex
from gitchain.evidence.manifest import FileEntry, build_manifest
from gitchain.evidence.predicates import PROVENANCE, StepFacts
from gitchain.evidence.statement import ResourceDescriptor, Statement
from gitchain.evidence.vocabulary import MANIFEST_MEDIA_TYPES, REVOCATION
from gitchain.verify import verified
from tests.cli.test_archive import Gitchain, archived
from tests.support.archives import bundles_of, parts_of, rewrite
from tests.support.model_versions import Workshop
from tests.support.prepared_repository import refused


def sign(gitchain: Gitchain, repo: Path, *changes: tuple[str, str]) -> None:
    """Sign version 2 of the layout of `tiny`, with texts replaced."""
    layout = repo / ".gitchain/layout.yaml"
    text = layout.read_text()
    for old, new in (("version: 1", "version: 2"), *changes):
        assert old in text
        text = text.replace(old, new)
    layout.write_text(text)
    assert gitchain("layout", "sign", cwd=repo).code == 0
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=repo).code == 0


def test_archive_verify_of_one_model_of_a_commit(gitchain: Gitchain, tiny: Path, tmp_path: Path) -> None:
    """A commit with a model that passes and one that fails: each copy has the verdict of its own."""
    served = ("products: [model.txt]", "products: [model.txt, other.txt]")
    sign(gitchain, tiny, served, ("[CREATE, model.txt]", "[CREATE, '*.txt']"))
    (tiny / "other.txt").write_text("other")
    subprocess.run(["git", "add", "-f", "model.txt", "other.txt"], cwd=tiny, check=True)
    subprocess.run(["git", "commit", "-qm", "models"], cwd=tiny, check=True)
    made = archived(gitchain, tiny, tmp_path / "models.tar", "HEAD", ExitCode.NOTHING)
    verify = ("archive", "verify", "--json", str(made.path))
    done = gitchain(*verify, str(tiny / "model.txt"), *made.named, cwd=tmp_path)
    assert (done.code, done.json["result"]) == (0, "VERIFIED"), done.text
    for path in ((), (str(tiny / "other.txt"),)):
        done = gitchain(*verify, *path, *made.named, cwd=tmp_path)
        assert (done.code, done.json["result"]) == (ExitCode.NOTHING, "FAILED")


@pytest.mark.parametrize("results", [[], [{}], None, [{"resource": {"digest": []}}], {"a": 1}])
def test_archive_verify_of_a_model_without_a_recorded_verdict(
    gitchain: Gitchain, tiny: Path, tmp_path: Path, results: object
) -> None:
    """A record that does not name the model does not say that it passed."""
    sign(gitchain, tiny)
    made = archived(gitchain, tiny, tmp_path / "model.tar")

    def forge(parts: dict[str, bytes]) -> None:
        verdict = json.loads(parts["verdict.json"]) | {"results": results}
        parts["verdict.json"] = json.dumps(verdict).encode()

    rewrite(made.path, forge)
    done = gitchain("archive", "verify", str(made.path), str(tiny / "model.txt"), *made.named, cwd=tmp_path)
    refused(done, ExitCode.FAILED, "another verdict than the archive recorded")


def test_archive_that_is_older_than_its_revocation(
    gitchain: Gitchain, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No archive of that time can have it: the time is wrong, and with it every check of an age or expiry."""
    monkeypatch.setattr(verified, "MAX_CLOCK_SKEW", verified.MAX_CLOCK_SKEW * 0)
    sign(gitchain, tiny, ("serve:", "revokers: [ada]\nserve:"))
    before = datetime.now(UTC)
    time.sleep(1.1)
    assert gitchain("revoke", "artifact", "in.txt", "--reason", "withdrawn", cwd=tiny).code == 0
    made = archived(gitchain, tiny, tmp_path / "model.tar", code=ExitCode.FAILED)
    (revocation,) = bundles_of(made.path, REVOCATION)
    assert revocation in parts_of(made.path)
    rewrite(made.path, lambda _: None, created=before.strftime("%Y-%m-%dT%H:%M:%SZ"))
    done = gitchain("archive", "verify", str(made.path), *made.named, cwd=tmp_path)
    refused(done, ExitCode.FAILED, "evidence that is newer than its own time", "--at now")
    done = gitchain("archive", "verify", str(made.path), *made.named, "--at", "now", cwd=tmp_path)
    assert (done.code, "revoked" in done.out) == (ExitCode.FAILED, True)


def test_archive_replaces_no_other_file(gitchain: Gitchain, tiny: Path, tmp_path: Path) -> None:
    """The model, or what is no regular file, stays as it is; an older archive is replaced."""
    assert gitchain("attest", "train", "-m", "in.txt", "-p", "model.txt", cwd=tiny).code == 0
    done = gitchain("archive", "model.txt", "-o", "model.txt", cwd=tiny)
    refused(done, ExitCode.USAGE, "the file is no archive, and would be replaced by one")
    assert (tiny / "model.txt").read_text() == "model"
    os.mkfifo(tmp_path / "fifo")
    done = gitchain("archive", "model.txt", "-o", str(tmp_path / "fifo"), cwd=tiny)
    refused(done, ExitCode.USAGE, "cannot replace this by an archive")
    (tmp_path / "model.tar").touch()
    archived(gitchain, tiny, tmp_path / "model.tar")
    archived(gitchain, tiny, tmp_path / "model.tar")


def test_archive_of_a_model_to_inspect(gitchain: Gitchain, tiny: Path, tmp_path: Path) -> None:
    """Without the bytes no inspection passes; with them it does, also if the archive was made without them."""
    pickles = (
        "inspections: [{name: no-code, kind: pickle, artifacts: ['*.txt'], frameworks: [numpy]}]\nserve:"
    )
    model = pickle.dumps({"w": 1.0})
    (tiny / "model.txt").write_bytes(model)
    sign(gitchain, tiny, ("serve:", pickles))
    made = archived(gitchain, tiny, tmp_path / "model.tar")
    digest = f"sha256:{hashlib.sha256(model).hexdigest()}"
    bare = archived(gitchain, tiny, tmp_path / "bare.tar", digest, ExitCode.FAILED)
    for archive in (made, bare):
        done = gitchain("archive", "verify", str(archive.path), *made.named, cwd=tmp_path)
        assert (done.code, "GC-E0352" in done.out) == (ExitCode.FAILED, True), done.text
        path = str(tiny / "model.txt")
        done = gitchain("archive", "verify", "--json", str(archive.path), path, *made.named, cwd=tmp_path)
        assert (done.code, done.json["result"] if done.code == 0 else done.text) == (0, "VERIFIED")


def test_archive_of_a_directory_under_manifest_version_1(
    gitchain: Gitchain, tiny: Path, tmp_path: Path
) -> None:
    """Without its files nothing connects its two digests: the error names the one to archive."""
    served = ("CREATE, model.txt", "CREATE, '*'"), ("products: [model.txt]", "products: [m]")
    sign(gitchain, tiny, *served)
    (tiny / "m").mkdir()
    (tiny / "m/w.bin").write_text("w")
    manifest = build_manifest([FileEntry("w.bin", False, 1, sha256_hex(b"w"))], 1)
    product = ResourceDescriptor(
        "m", DigestSet({"sha256": manifest.digest}), media_type=MANIFEST_MEDIA_TYPES[1]
    )
    step = StepFacts("train", "0" * 64, "declared", "tiny")
    statement = Statement.build([product], PROVENANCE, predicates.provenance(step=step, materials=[]))
    Workshop(tiny).sign("ada@example.com", [statement], manifest.nodes)
    done = gitchain("archive", "m", "-o", str(tmp_path / "m.tar"), cwd=tiny)
    refused(done, ExitCode.FAILED, "would not lead to the same verdict", f"archive sha256:{manifest.digest}")
    made = archived(gitchain, tiny, tmp_path / "m.tar", f"sha256:{manifest.digest}")
    done = gitchain("archive", "verify", str(made.path), str(tiny / "m"), *made.named, cwd=tmp_path)
    assert (done.code, "VERIFIED" in done.out) == (0, True), done.text

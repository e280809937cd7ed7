"""Declared evidence: what DVC recorded, and only if the bytes are what it recorded."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from gitchain.collect.declared import declare_stage, locate, recorded_stages
from gitchain.collect.dvc_api import artifacts, fetch_artifact, load_stages
from gitchain.collect.dvc_digest_check import legacy_md5
from gitchain.collect.stages import StageRun
from gitchain.errors import LimitError, ProjectError, TransportError, VerificationError

Dvc = Callable[..., str]
# Wang and Yu's construction: two blocks of 128 bytes with one MD5, published in 2004.
COLLISION = (
    "d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f89"
    "55ad340609f4b30283e488832571415a085125e8f7cdc99fd91dbdf280373c5b"
    "d8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0"
    "e99f33420f577ee8ce54b67080a80d1ec69821bcb6a8839396f9652b6ff72a70"
)
FLIPPED = (19, 45, 59, 83, 109, 123)


def declare(root: Path, names: Collection[str] = (), *, fetch: bool = False) -> tuple[StageRun, ...]:
    """Return declared evidence for the named stages and *.dvc files, or for all."""
    chosen = [stage for name, stage in recorded_stages(root).items() if not names or name in names]
    return tuple(declare_stage(root, stage, state=None, fetch=fetch) for stage in chosen)


def test_every_recorded_stage_is_declared(pipeline: Path) -> None:
    """Stages of several files, foreach keys, .dvc files; names, params and commands as DVC recorded them."""
    stages = {stage.name: stage for stage in declare(pipeline)}
    assert set(stages) == {"prepare", "train@us", "train@eu", "sub/dvc.yaml:evaluate", "raw.csv.dvc"}
    us = stages["train@us"]
    assert us.evidence == "declared"
    assert us.commands == ("echo first us", "python train.py us")
    assert [one.name for one in us.materials] == ["data/prepared", "src/train.py"]
    assert [one.name for one in us.products] == ["src/model us.bin"]
    assert us.params == {"params.yaml": {"lr": 1e-05}}
    assert (us.started, us.exit_code, us.ran) == (None, None, ())
    assert stages["sub/dvc.yaml:evaluate"].materials[0].descriptor == us.products[0].descriptor


def test_an_edited_lock_names_stage_and_file(pipeline: Path) -> None:
    """One digit of one md5, written by hand."""
    lock = pipeline / "dvc.lock"
    recorded = declare(pipeline, ["train@us"])[0].products[0].md5
    forged = recorded[:-1] + ("0" if recorded[-1] != "0" else "1")
    lock.write_text(lock.read_text(encoding="utf-8").replace(recorded, forged), encoding="utf-8")
    with pytest.raises(VerificationError) as caught:
        declare(pipeline)
    assert caught.value.where == "stage train@us: src/model us.bin"
    assert forged in caught.value.expected
    assert recorded in caught.value.got


def test_a_changed_file_in_a_directory_is_named(pipeline: Path) -> None:
    """Not only the directory: the file in it, with both md5s."""
    path = pipeline / "data" / "prepared" / "deep" / "test.csv"
    path.chmod(0o644)
    path.write_text("other", encoding="utf-8")
    with pytest.raises(VerificationError) as caught:
        declare(pipeline, ["prepare"])
    assert caught.value.where == "stage prepare: data/prepared/deep/test.csv"
    assert hashlib.md5(b"other").hexdigest() in caught.value.got


def test_an_added_file_in_a_directory_is_named(pipeline: Path) -> None:
    """A file that DVC never recorded is a change too."""
    (pipeline / "data" / "prepared" / "extra").write_text("x", encoding="utf-8")
    with pytest.raises(VerificationError, match="differs from the one that DVC recorded") as caught:
        declare(pipeline, ["prepare"])
    assert "extra" in caught.value.where


def test_files_that_dvc_ignores_do_not_count_for_its_md5(pipeline: Path) -> None:
    """.dvcignore hides a file from DVC; it stays in our manifest all the same."""
    (pipeline / ".dvcignore").write_text("*.tmp\n", encoding="utf-8")
    (pipeline / "data" / "prepared" / "x.tmp").write_text("x", encoding="utf-8")
    (stage,) = declare(pipeline, ["prepare"])
    assert [part.path for part in stage.products[0].parts] == ["deep/test.csv", "train.csv", "x.tmp"]


def test_absent_work_tree_copies_come_from_the_cache(pipeline: Path) -> None:
    """The same artifacts as from the work tree."""
    before = {stage.name: stage for stage in declare(pipeline)}
    shutil.rmtree(pipeline / "data")
    (pipeline / "src" / "model us.bin").unlink()
    after = {stage.name: stage for stage in declare(pipeline)}
    assert after["prepare"].products == before["prepare"].products
    assert after["train@us"].products == before["train@us"].products


def test_a_tampered_cache_object_is_refused(pipeline: Path) -> None:
    """`dvc checkout` would take it without a word."""
    (stage,) = declare(pipeline, ["train@us"])
    md5 = stage.products[0].md5
    (pipeline / "src" / "model us.bin").unlink()
    blob = pipeline / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]
    blob.chmod(0o644)
    blob.write_bytes(b"tampered")
    blob.chmod(0o444)
    with pytest.raises(VerificationError, match="cache object") as caught:
        declare(pipeline, ["train@us"])
    assert "train@us" in caught.value.where
    assert md5 in caught.value.expected


def test_bytes_that_are_nowhere_are_a_clear_error(pipeline: Path) -> None:
    """Not here, not in the cache, no remote: what to type."""
    (pipeline / "src" / "model us.bin").unlink()
    shutil.rmtree(pipeline / ".dvc" / "cache")
    with pytest.raises(ProjectError, match="neither") as caught:
        declare(pipeline, ["train@us"])
    assert "model us.bin" in caught.value.where
    assert "dvc pull" in caught.value.help
    with pytest.raises(TransportError, match="remote"):
        declare(pipeline, ["train@us"], fetch=True)


def test_missing_objects_are_fetched_from_the_remote(pipeline: Path, dvc: Dvc, tmp_path: Path) -> None:
    """With `fetch`, DVC brings them; a path that it does not track is an error."""
    dvc(pipeline, "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    dvc(pipeline, "push", "-q")
    (pipeline / "src" / "model us.bin").unlink()
    shutil.rmtree(pipeline / ".dvc" / "cache")
    (stage,) = declare(pipeline, ["train@us"], fetch=True)
    assert stage.products[0].size > 0
    with pytest.raises(ProjectError, match="does not track"):
        fetch_artifact(pipeline, pipeline / "prepare.py")


def test_one_md5_with_two_contents_has_two_digests(pipeline: Path, dvc: Dvc) -> None:
    """The known collision: DVC cannot tell the files apart, our digests do."""
    one = bytearray.fromhex(COLLISION)
    other = bytearray(one)
    for index in FLIPPED:
        other[index] ^= 0x80
    assert one != other
    if hashlib.md5(one).digest() != hashlib.md5(other).digest():
        pytest.skip("not the published pair")
    (pipeline / "one.bin").write_bytes(one)
    dvc(pipeline, "add", "-q", "one.bin")
    (first,) = declare(pipeline, ["one.bin.dvc"])
    (pipeline / "one.bin").unlink()
    (pipeline / "one.bin").write_bytes(other)
    (second,) = declare(pipeline, ["one.bin.dvc"])
    assert first.products[0].md5 == second.products[0].md5
    assert first.products[0].descriptor.digest != second.products[0].descriptor.digest


def test_dvc_2s_text_hash_is_checked(pipeline: Path) -> None:
    """An entry without `hash:` means md5 after CRLF became LF."""
    text = b"a\r\nb\r\n"
    (pipeline / "old.txt").write_bytes(text)
    md5 = hashlib.md5(b"a\nb\n").hexdigest()
    (pipeline / "old.txt.dvc").write_text(
        f"outs:\n- md5: {md5}\n  size: 6\n  path: old.txt\n", encoding="utf-8"
    )
    assert legacy_md5(str(pipeline / "old.txt"), "old.txt") == md5
    (stage,) = declare(pipeline, ["old.txt.dvc"])
    assert stage.products[0].descriptor.digest["sha256"] == hashlib.sha256(text).hexdigest()
    (pipeline / "old.txt").write_bytes(b"other")
    with pytest.raises(VerificationError, match="differs from the one that DVC recorded"):
        declare(pipeline, ["old.txt.dvc"])


def test_merge_markers_and_broken_files_name_file_and_line(pipeline: Path) -> None:
    """As everywhere: which file, which line."""
    lock = pipeline / "sub" / "dvc.lock"
    lock.write_text("<<<<<<< HEAD\n" + lock.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(ProjectError, match="merge conflict") as caught:
        declare(pipeline)
    assert caught.value.where == "sub/dvc.lock line 1"


def test_an_out_outside_the_repository_is_refused(pipeline: Path) -> None:
    """`..` in a record leads nowhere."""
    entry = "outs:\n- md5: 5d41402abc4b2a76b9719d911017c592\n  hash: md5\n  path: ../../etc/passwd\n"
    (pipeline / "evil.dvc").write_text(entry, encoding="utf-8")
    with pytest.raises(ProjectError, match="outside"):
        declare(pipeline)


def test_a_huge_file_is_a_limit_error(pipeline: Path) -> None:
    """Read no more than a lock may have."""
    with (pipeline / "big.dvc").open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    with pytest.raises(LimitError, match="large"):
        declare(pipeline)


def test_imports_name_their_upstream_commit(pipeline: Path) -> None:
    """`dvc import` leaves the exact commit: a material by URI, without credentials."""
    (pipeline / "data.csv").write_bytes(b"hello")
    text = (Path(__file__).parent.parent / "fixtures" / "dvc" / "import.dvc").read_text(encoding="utf-8")
    (pipeline / "data.csv.dvc").write_text(text.replace("https://", "https://u:p@"), encoding="utf-8")
    (stage,) = declare(pipeline, ["data.csv.dvc"])
    (source,) = stage.sources
    assert source.uri == "git+https://example.com/data.git"
    assert source.digest["gitCommit"] == "a" * 40


def test_dvc_resolves_templates_foreach_and_models(pipeline: Path) -> None:
    """What only DVC can say: stages after templating, with repository-relative names."""
    stages = {stage.name: stage for stage in load_stages(pipeline)}
    assert set(stages) == {"prepare", "train@us", "train@eu", "sub/dvc.yaml:evaluate", "raw.csv.dvc"}
    assert stages["train@eu"].commands == ("echo first eu", "python train.py eu")
    assert (stages["train@eu"].wdir, stages["train@eu"].outs) == ("src", ("src/model eu.bin",))
    assert stages["train@eu"].params == ("params.yaml:lr",)
    assert stages["sub/dvc.yaml:evaluate"].reports == ("sub/metrics.json",)
    assert stages["raw.csv.dvc"].is_data
    assert dict(artifacts(pipeline)) == {"credit": "src/model us.bin"}


def test_no_dvc_project_is_a_clear_error(git_repo: Path) -> None:
    """And a broken dvc.yaml another."""
    with pytest.raises(ProjectError, match="not a DVC project"):
        load_stages(git_repo)
    (git_repo / "a.dvc").write_text(json.dumps({"outs": [{"path": "a"}]}), encoding="utf-8")
    with pytest.raises(ProjectError, match="no DVC project"):
        declare(git_repo)


@pytest.mark.parametrize(
    ("base", "path", "name"),
    [
        ("", "a", "a"),
        ("src", "../a", "a"),
        ("src", "../../a", None),
        ("", "/etc", None),
        ("", "s3://b/c", None),
        (".", ".", "."),
    ],
)
def test_recorded_paths_are_located(base: str, path: str, name: str | None) -> None:
    """Relative to the stage's working directory, never out of the repository."""
    assert locate(base, path) == name

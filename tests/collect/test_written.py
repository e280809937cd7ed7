"""A product is what the command wrote: old files under a product's name are none, files written anew are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gitchain.collect.artifacts import collect_artifact
from gitchain.collect.run import Observation, observe
from gitchain.collect.written import MAX_HELD, look_after, look_before, unwritten_parts
from gitchain.errors import ProjectError, RunError

LFS = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4d' * 32}\nsize 7516192768\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "old").write_text("made elsewhere", encoding="utf-8")
    (tmp_path / "out").mkdir()
    for name in ("a", "b"):
        (tmp_path / "out" / name).write_text(name, encoding="utf-8")
    return tmp_path


def sh(root: Path, script: str, *products: str, materials: tuple[str, ...] = ()) -> Observation:
    return observe(root, ["sh", "-c", script], materials, products)


@pytest.mark.parametrize(
    "script",
    ["true", "touch old", "touch -d 2001-01-01 old", "chmod 600 old", "cat old > /dev/null", "ln old link", "cp -p old copy; cp -p copy old"],
)  # fmt: skip
def test_unwritten_product_is_refused(root: Path, script: str) -> None:
    """Left alone, read, or given other times, modes or links: the command did not write it, and its name is in the error."""
    with pytest.raises(RunError, match="did not write its product old: unchanged"):
        sh(root, script, "old")


@pytest.mark.parametrize(
    "script",
    [
        "cp old copy; cat copy > old",  # the same bytes, into the same inode
        "cp old copy; mv copy old",
        "cp old copy; rm old; cp copy old",  # often the same inode number
        "cp -p old copy; rm old; cp -p copy old",
        "cp old copy; dd if=copy of=old conv=notrunc 2>/dev/null",
        "echo more >> old",
        "echo other > new; cp -p new old; touch -d 2001-01-01 old",
    ],
)
def test_written_product_with_the_same_bytes_is_a_product(root: Path, script: str) -> None:
    """A deterministic command that writes the same bytes again has made its product."""
    seen = sh(root, script, "old")
    assert [one.name for one in seen.products] == ["old"]
    assert (seen.problems, seen.unwritten) == ((), ())


def test_unwritten_products_are_named_beside_those_that_were_written(root: Path) -> None:
    """What else is true is kept: a product that is missing is a problem, one that is old is named."""
    seen = sh(root, "echo 1 > new", "new", "old", "missing")
    assert [one.name for one in seen.products] == ["new"]
    assert [name for name, _ in seen.unwritten] == ["old"]
    assert [problem.where for problem in seen.problems] == ["missing"]


def test_unwritten_product_that_was_deleted_is_missing(root: Path) -> None:
    """A product that was there before and is gone is not made."""
    with pytest.raises(RunError, match="did not make"):
        sh(root, "rm old", "old")


def test_unwritten_files_of_a_directory_are_left_out(root: Path) -> None:
    """A directory in which some files are old is no product; the files that the command wrote are."""
    seen = sh(root, "echo 1 > out/a; mkdir out/deep; echo 2 > out/deep/c", "out")
    assert [one.name for one in seen.products] == ["out/a", "out/deep/c"]
    ((name, error),) = seen.unwritten
    assert (name, error.got) == ("out", "out/b")
    assert "-m out" in error.help
    with pytest.raises(RunError, match="did not write its product out: unchanged"):
        sh(root, "true", "out")
    seen = sh(root, "rm -r out; mkdir out; echo 1 > out/a", "out")
    assert [one.name for one in seen.products] == ["out"]


def test_unwritten_files_of_a_directory_that_is_a_material_stay(root: Path) -> None:
    """A directory that is a material too has its old files in the statement: the whole is a product if it changed."""
    assert [one.name for one in sh(root, "echo 1 > out/a", "out", materials=("out",)).products] == ["out"]
    assert [one.name for one in sh(root, "rm out/a", "out", materials=("out",)).products] == ["out"]
    with pytest.raises(RunError, match="did not write"):
        sh(root, "true", "out", materials=("out",))
    with pytest.raises(RunError, match="did not write"):
        sh(root, "true", "old", materials=("old",))
    (root / "out/sub").mkdir()
    (root / "out/sub/x").write_text("x")
    seen = sh(root, "echo 1 > out/sub/y", "out/sub", "out", materials=("out",))
    assert [one.name for one in seen.products] == ["out/sub", "out"]


def test_unwritten_products_of_a_failing_command_are_no_error(root: Path) -> None:
    """The command's own code is the answer."""
    seen = sh(root, "exit 3", "old", "missing")
    assert (seen.exit_code, seen.products, seen.problems, seen.unwritten) == (3, (), (), ())


def test_look_before_holds_a_bounded_number_of_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Handles are not used up by a directory of many files, and are given back."""
    for index in range(MAX_HELD + 10):
        (root / "out" / str(index)).write_text(str(index))
    before = len(list(Path("/proc/self/fd").iterdir()))
    with look_before(root, ["out", "nothing"]) as found:
        assert sum(one.held for one in found.files.values()) == MAX_HELD
        assert len(found.files) == MAX_HELD + 12
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    monkeypatch.delattr(os, "O_PATH")
    with look_before(root, ["old"]) as found:
        assert not found.files["old"].held


@pytest.mark.parametrize("what", ["pipe", "pointer", "pipe in it"])
def test_unwritten_files_count_though_the_product_could_not_be_read_before(root: Path, what: str) -> None:
    """A command that removes what stands in the way has not written the files beside it."""
    if what == "pointer":
        (root / "out" / "c").write_text(LFS)
    else:
        (root / "out" / "deep").mkdir()
        os.mkfifo(root / "out" / ("c" if what == "pipe" else "deep/c"))
    with pytest.raises(RunError, match="did not write its product out"):
        sh(root, "rm -rf out/c out/deep", "out")


def test_unwritten_files_count_where_others_are_written_over_what_could_not_be_read(root: Path) -> None:
    """A file that replaces what could not be read is a product; the files beside it are not."""
    (root / "out" / "c").write_text(LFS)
    assert [one.name for one in sh(root, "echo 1 > out/c", "out").products] == ["out/c"]


def test_look_before_takes_what_it_cannot_read_without_its_bytes(root: Path) -> None:
    """A pipe or pointer in the product's place is no product yet; what stands there after the run is looked at then."""
    os.mkfifo(root / "pipe")
    (root / "model").write_text(LFS)
    with look_before(root, ["pipe", "model"]) as found:
        assert {path: one.sha256 for path, one in found.files.items()} == {"pipe": None, "model": None}
    assert [one.name for one in sh(root, "echo 1 > model", "model").products] == ["model"]


def test_look_after_skips_a_file_that_went_away(root: Path) -> None:
    """What is gone was not left as it was."""
    with look_before(root, ["old"]) as found:
        artifact = collect_artifact(root, "old")
        (root / "old").unlink()
        after = look_after(root, found.files)
        assert after == {}
        assert unwritten_parts(artifact, found.files, after, found.started) == ()


@pytest.mark.parametrize(
    ("text", "tool"),
    [
        (LFS, "git lfs pull"),
        (LFS.replace("\n", "\r\n"), "git lfs pull"),
        (LFS.replace("git-lfs.github.com/spec/v1", "hawser.github.com/spec/v1"), "git lfs pull"),
        (LFS.replace("oid", f"ext-0-x sha256:{'4d' * 32}\noid"), "git lfs pull"),
        ("/annex/objects/SHA256E-s1--4d.bin\n", "git annex get"),
    ],
)
def test_pointer_is_refused_wherever_it_stands(root: Path, text: str, tool: str) -> None:
    """As a material, a product, and inside a directory; what only looks a little like one is a file as any other."""
    (root / "out" / "model.bin").write_text(text)
    for name in ("out/model.bin", "out"):
        with pytest.raises(ProjectError, match="pointer") as caught:
            sh(root, "true", materials=(name,))
        assert "out/model.bin" in caught.value.where
        assert caught.value.help == tool
        with pytest.raises(ProjectError, match="pointer"):
            sh(root, "cp out/model.bin x; mv x out/model.bin", name)
    (root / "out" / "model.bin").write_text(text + "x" * 2000)
    assert sh(root, "true", materials=("out",)).exit_code == 0
    (root / "out" / "model.bin").write_text("about " + text)
    assert sh(root, "true", materials=("out",)).exit_code == 0

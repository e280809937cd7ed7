"""Names of stages as they are typed in a subdirectory; that DVC reads them so is tested with `dvc stage list`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gitchain.collect.stage_names import as_dvc_reads, named_stages

KNOWN = (
    "train",
    "pack@x",
    "pack@y",
    "raw.csv.dvc",
    "sub/dvc.yaml:train",
    "sub/dvc.yaml:fit@1",
    "sub/dvc.yaml:fit@2",
    "sub/data.csv.dvc",
    "sub/deep/dvc.yaml:train",
)


@pytest.mark.parametrize(
    ("here", "given", "wanted"),
    [
        (".", "train", ["train"]),
        (".", "dvc.yaml:train", ["train"]),
        (".", "./sub/dvc.yaml:train", ["sub/dvc.yaml:train"]),
        (".", "pack", ["pack@x", "pack@y"]),
        (".", "pack@y", ["pack@y"]),
        (".", "raw.csv", ["raw.csv.dvc"]),
        (".", "sub/data.csv", ["sub/data.csv.dvc"]),
        (".", "fit", []),
        ("sub", "train", ["sub/dvc.yaml:train"]),
        ("sub", "dvc.yaml:train", ["sub/dvc.yaml:train"]),
        ("sub", "../dvc.yaml:train", ["train"]),
        ("sub", "deep/dvc.yaml:train", ["sub/deep/dvc.yaml:train"]),
        ("sub", "sub/dvc.yaml:train", ["sub/dvc.yaml:train"]),  # as `log` and the layout name it
        ("sub", "fit", ["sub/dvc.yaml:fit@1", "sub/dvc.yaml:fit@2"]),
        ("sub", "pack", ["pack@x", "pack@y"]),
        ("sub", "data.csv", ["sub/data.csv.dvc"]),
        ("sub", "data.csv.dvc", ["sub/data.csv.dvc"]),
        ("sub", "../raw.csv.dvc", ["raw.csv.dvc"]),
        ("sub", "raw.csv.dvc", ["raw.csv.dvc"]),
        ("sub", "nothing", []),
    ],
)
def test_a_name_means_what_it_means_to_dvc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: str, given: str, wanted: list[str]
) -> None:
    """The stage of the dvc.yaml here comes first, then the name from the root, then all stages of a group."""
    place = tmp_path / here
    place.mkdir(exist_ok=True)
    monkeypatch.chdir(place)
    assert list(named_stages(given, KNOWN, tmp_path)) == wanted


@pytest.mark.parametrize("here", [".", "sub", "sub/deep", "other"])
def test_the_name_for_dvc_leads_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, here: str) -> None:
    place = tmp_path / here
    place.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(place)
    for stage in KNOWN:
        assert named_stages(as_dvc_reads(stage, tmp_path), KNOWN, tmp_path) == (stage,)


def test_dvc_finds_it_by_that_name(git_repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC itself is asked, in the subdirectory, about the stages there, above and beside it."""
    for part in (".", "a", "b"):
        place = git_repo / part
        place.mkdir(exist_ok=True)
        (place / "dvc.yaml").write_text("stages:\n  train: {cmd: x, outs: [m.bin]}\n")
    (git_repo / ".dvc").mkdir()
    (git_repo / ".dvc/config").write_text("[core]\n    analytics = false\n")
    monkeypatch.chdir(git_repo / "a")
    for stage in ("train", "a/dvc.yaml:train", "b/dvc.yaml:train"):
        words = ["-m", "dvc", "stage", "list", "--name-only", as_dvc_reads(stage, git_repo)]
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
        assert done.stdout.split() == [as_dvc_reads(stage, git_repo)]

"""`gitchain layout lint`: what it prints, and the exit code that a hook or a pipeline gates on."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gitchain.errors import ExitCode

Gitchain = Callable[..., Any]


def test_warnings_alone_are_no_failure(gitchain: Gitchain, tiny: Path) -> None:
    """A layout with warnings exits 0, and 5 where warnings are errors."""
    done = gitchain("layout", "lint", cwd=tiny)
    assert done.code == ExitCode.OK, done.text
    assert "GC-L17 warning revokers" in done.out
    assert "0 errors" in done.err
    assert gitchain("layout", "lint", "--strict", cwd=tiny).code == ExitCode.LAYOUT


def test_an_error_is_exit_code_5(gitchain: Gitchain, tiny: Path, tmp_path: Path) -> None:
    """A rule that undoes another is an error, wherever the file is; no repository is needed for it."""
    path = tiny / ".gitchain/layout.yaml"
    other = tmp_path / "other.yaml"
    other.write_text(path.read_text().replace("[ALLOW, 'git:*'], [DISALLOW, '*']", "[ALLOW, 'git:*']"))
    done = gitchain("layout", "lint", "--json", str(other), cwd=tmp_path)
    assert done.code == ExitCode.LAYOUT
    first = done.json["findings"][0]
    assert (first["code"], first["severity"]) == ("GC-L01", "error")
    assert first["where"] == "steps[0].expectedMaterials"


def test_a_layout_that_does_not_load_is_refused(gitchain: Gitchain, tiny: Path) -> None:
    """What cannot be read is no finding but the error itself, with its place."""
    path = tiny / ".gitchain/layout.yaml"
    path.write_text(path.read_text().replace("version: 1", "version: 0"))
    done = gitchain("layout", "lint", cwd=tiny)
    assert done.code == ExitCode.LAYOUT
    assert "version" in done.err
    path.unlink()
    assert gitchain("layout", "lint", cwd=tiny).code == ExitCode.LAYOUT


def test_a_layout_is_tried_on_cases(gitchain: Gitchain, tmp_path: Path) -> None:
    """The example's cases are as expected, in text and in JSON; one that is not is exit code 1, with what was found."""
    example = Path(__file__).parents[2] / "examples" / "layouts" / "credit-model"
    folder = tmp_path / "x"
    shutil.copytree(example, folder)
    for case in (folder / "cases").iterdir():
        if case.name not in {"good", "old-approval"}:
            shutil.rmtree(case)
    done = gitchain("layout", "test", str(folder))
    assert done.code == ExitCode.OK, done.text
    assert "ok      old-approval  GC-E0305 approve" in done.out
    assert "temporary instance" in done.err
    path = folder / "cases" / "good" / "case.yaml"
    path.write_text(path.read_text().replace("accuracy: 0.93", "accuracy: 0.83"))
    done = gitchain("layout", "test", cwd=folder)
    assert done.code == ExitCode.FAILED
    assert "DIFFERS good" in done.out
    assert "expected PASSED" in done.out
    document = gitchain("layout", "test", "--json", cwd=folder).json
    assert [(one["case"], one["asExpected"]) for one in document["cases"]] == [
        ("good", False),
        ("old-approval", False),
    ]

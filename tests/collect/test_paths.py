"""A path is resolved as the kernel resolves it, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitchain.collect.paths import climbed, real_path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here" / "sub").mkdir(parents=True)
    (tmp_path / "there" / "deep").mkdir(parents=True)
    (tmp_path / "here" / "link").symlink_to("../there/deep")
    (tmp_path / "here" / "last").symlink_to("sub")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "real", "textual"),
    [
        ("x", "here/x", "here/x"),
        ("./sub/../x", "here/x", "here/x"),
        ("link/x", "there/deep/x", "here/link/x"),
        ("link/../x", "there/x", "there/x"),
        ("link/../../here/x", "here/x", "here/x"),
        ("last", "here/last", "here/last"),
        ("link/..", "there", "there"),
        ("..", ".", "."),
        ("sub/../link/../../here/last/../x", "here/x", "here/x"),
        ("missing/../x", "here/x", "here/x"),
        ("missing/x", "here/missing/x", "here/missing/x"),
    ],
)
def test_real_path_and_climbed(place: Path, path: str, real: str, textual: str) -> None:
    """Also where the path is absolute; only links before `..` matter to `climbed`."""
    assert real_path(path) == place / real
    assert climbed(path) == place / textual
    assert real_path(place / "here" / path) == place / real
    assert climbed(place / "here" / path) == place / textual
    assert real_path("/") == climbed("/") == Path("/")

"""The reading of a file that grows ends: at most one buffer more is read than there was."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitchain.collect.file_digests import BUFFER
from gitchain.collect.files import hash_path
from gitchain.errors import ProjectError

MOST = 50


class Grower:
    """Appends to the file as fast as it is read, as a writer on another process would."""

    def __init__(self, path: Path) -> None:
        self.path, self.times = path, 0

    def total(self, files: int, size: int) -> None: ...

    def advance(self, files: int, size: int) -> None:
        if size and self.times < MOST:
            self.times += 1
            with self.path.open("ab") as file:
                file.write(b"x" * BUFFER)


def test_large_file_that_grows_is_not_read_without_end(tmp_path: Path) -> None:
    """It is refused, after one byte more than there was at the beginning."""
    path = tmp_path / "model.bin"
    path.write_bytes(b"x" * (2 * BUFFER))
    grower = Grower(path)
    with pytest.raises(ProjectError, match="changed while it was read"):
        hash_path(str(tmp_path), "model.bin", md5=False, progress=grower)
    assert grower.times <= 3

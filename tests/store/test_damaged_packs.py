"""A pack whose bytes were changed is an error, in every reading of an object: never a crash of the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

READ = """
import sys
from pathlib import Path
from gitchain.errors import GitchainError
from gitchain.store.libgit2 import Libgit2

backend = Libgit2(Path(sys.argv[1]), offline=True)
for oid in sys.argv[2:] * 20:
    backend.size(oid)
    try:
        backend.read(oid, "blob", 1 << 20)
    except GitchainError:
        continue
    raise SystemExit("a damaged object was read")
"""


def git(repo: Path, *words: str) -> str:
    return subprocess.run(("git", *words), cwd=repo, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("size", [40, 1000])
def test_difference_to_a_damaged_difference_is_an_error(tmp_path: Path, size: int) -> None:
    """The middle of a chain of deltas gets another type. pygit2's `Odb.read_header` writes out of bounds for it."""
    repo = tmp_path / "repo"
    repo.mkdir()
    git(repo, "init", "-q")
    lines = [os.urandom(200).hex() for _ in range(size)]
    for number in range(9):
        lines[number::9] = [os.urandom(200).hex() for _ in lines[number::9]]
        (repo / "file").write_text("\n".join(lines))
        git(repo, "add", ".")
        git(repo, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-qm", "x")
    git(repo, "gc", "-q", "--aggressive")
    (pack,) = (repo / ".git/objects/pack").glob("*.pack")
    listed = [line.split() for line in git(repo, "verify-pack", "-v", str(pack)).splitlines()]
    deltas = {words[0]: words for words in listed if len(words) == 7 and words[1] == "blob"}
    above = [words for words in deltas.values() if words[6] in deltas]
    data = bytearray(pack.read_bytes())
    data[int(deltas[above[0][6]][4])] |= 0x70  # a difference to an offset becomes one to an object id
    pack.chmod(0o644)
    pack.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", READ, str(repo), above[0][0]], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")

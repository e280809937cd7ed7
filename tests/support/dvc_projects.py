"""DVC projects of many shapes, and DVC itself in this process: the oracle of the tests that use them.

A shape is a few files. `tests/fixtures/dvc_shapes/*.txt` hold them:

    ## the name of the shape
    %% draft: 2          what the oracle cannot say, where there is such a thing
    @@ dvc.yaml          a file: the lines up to the next mark
"""

from __future__ import annotations

import importlib
import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from tests.support.prepared_repository import git

SHAPES = Path(__file__).parent.parent / "fixtures" / "dvc_shapes"
IMPORTED = (
    "dulwich.index",
    "dvc.cli.parser",
    "dvc.compare",
    "dvc.repo.graph",
    "dvc.repo.open_repo",
    "dvc.repo.reproduce",
    "dvc.rwlock",
    "dvc_data.hashfile.status",
    "fsspec.implementations.memory",
    "networkx",
    "tomlkit",
)
"""What `dvc repro` imports while it works: that would take most of its time in each fork."""
QUIET = b"[core]\n    analytics = false\n    check_update = false\n"


@dataclass(frozen=True)
class Shape:
    """One DVC project: its files by name, and what its header says beside them."""

    name: str
    files: Mapping[str, bytes]
    says: Mapping[str, str]

    def write(self, root: Path) -> None:
        """Write the files below `root`, and the one that lies beside it."""
        for name, data in {".dvc/config": QUIET, ".dvc/.gitignore": b"/tmp\n/cache\n", **self.files}.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        if "outside" in self.says:
            (root.parent / self.says["outside"]).write_bytes(b"1\n")

    def mutated(self, name: str, data: bytes) -> Shape:
        """Return the shape with other bytes in one file."""
        return replace(self, files={**self.files, name: data})


def shapes() -> dict[str, Shape]:
    """Return every shape by its name."""
    texts = [file.read_text(encoding="utf-8") for file in sorted(SHAPES.glob("*.txt"))]
    return {shape.name: shape for text in texts for shape in _read(text)}


def _read(text: str) -> Iterator[Shape]:
    for part in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        head, *files = re.split(r"^@@ ", part, flags=re.MULTILINE)
        name, *lines = head.strip().splitlines()
        pairs = [line.removeprefix("%% ").partition(":") for line in lines]
        says = {key: value.strip() for key, _, value in pairs}
        bodies = {path: body.rstrip("\n") for path, _, body in (file.partition("\n") for file in files)}
        yield Shape(name, {path: _bytes(body, says) for path, body in bodies.items()}, says)


def _bytes(body: str, says: Mapping[str, str]) -> bytes:
    text = f"{body}\n" if body else ""
    if "crlf" in says:
        text = text.replace("\n", "\r\n")
    return text.encode("latin-1" if "latin-1" in says else "utf-8-sig" if "bom" in says else "utf-8")


def new_project(root: Path, shape: Shape, template: Path | None = None) -> None:
    """Make a Git repository with a DVC project of this shape, committed; in a copy of `template` if there is one."""
    if template is not None:
        shutil.copytree(template, root, symlinks=True)
    else:
        root.mkdir()
        git(root, "init", "-q")
    shape.write(root)
    git(root, "add", "-A")
    git(root, "commit", "-q", "--allow-empty", "-m", "shape")


def forked_dvc(
    argv: Sequence[str], *, cwd: str | os.PathLike[str], env: Mapping[str, str], stdout: int = 1
) -> tuple[int, datetime, datetime]:
    """Run `dvc …` as `gitchain.collect.subprocess_tee.run_plain` does, in a fork: DVC is imported already, which saves most of its time."""
    for module in IMPORTED:
        importlib.import_module(module)
    import dvc.cli

    started = datetime.now(UTC)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        code = 70
        try:
            os.environ.clear()
            os.environ.update(env)
            os.chdir(cwd)
            os.dup2(stdout, 1)
            _log_to_this_process()
            code = int(dvc.cli.main(list(argv[1:])) or 0)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), started, datetime.now(UTC)


def _log_to_this_process() -> None:
    """Give DVC's log handlers open streams: they keep those of the test that imported DVC, which may be closed."""
    sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
    for name in ("dvc", "dvc_data", "dvc_objects"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.stream = (
                    sys.stdout if handler.level < logging.WARNING else sys.stderr
                )  # setStream flushes


def dvc_stages(root: Path) -> dict[str, tuple[str, ...]] | None:
    """Return what DVC itself reads: its stages by address, each with the names of its outs that are files below `root`.

    None if DVC cannot read the project.
    """
    from dvc.repo import Repo

    before = Path.cwd()
    os.chdir(root)
    try:
        with Repo(str(root)) as repo:
            return {
                stage.addressing: tuple(sorted(filter(None, (_below(out, root) for out in stage.outs))))
                for stage in repo.index.stages
            }
    except Exception:  # noqa: BLE001 - whatever it is, DVC cannot read the project
        return None
    finally:
        os.chdir(before)


def _below(out: object, root: Path) -> str | None:
    if getattr(out, "protocol", None) != "local":
        return None
    name = os.path.relpath(getattr(out, "fs_path", ""), root)
    return None if name.startswith("..") else name

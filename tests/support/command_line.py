"""The command line in this process: its exit code and what it said."""

from __future__ import annotations

import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Done:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def text(self) -> str:
        return self.out + self.err


def call(*args: str, cwd: Path) -> Done:
    """Run `gitchain ARGS` in directory `cwd`."""
    from gitchain.cli.main import run

    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(args)
    return Done(int(code), out.getvalue(), err.getvalue())

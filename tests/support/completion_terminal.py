"""A real interactive shell in a pseudo-terminal, in which the completion script of gitchain is loaded."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_SHOW = f"""{sys.executable} -c 'import json, sys; print("<<" + json.dumps(sys.argv[1:]) + ">>")'"""
COMPLETE = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        f'eval "$(gitchain completion bash)"; gitchain() {{ {_SHOW} "$@"; }}\n',
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        f'autoload -Uz compinit; compinit -D -u; eval "$(gitchain completion zsh)"; gitchain() {{ {_SHOW} "$@"; }}\n',
    ),
    "fish": (
        ["fish", "--no-config", "-i"],
        f"gitchain completion fish | source; function gitchain; {_SHOW} $argv; end\n",
    ),
}
"""How a shell starts without its user's settings, loads the script, and then prints what it would run."""
SECONDS = 60.0


class Terminal:
    """An interactive shell; `completed` types a line and Tab, and returns the arguments that the shell then passes."""

    def __init__(self, shell: str, directory: Path) -> None:
        argv, setup = COMPLETE[shell]
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.chdir(directory)
            os.environ.update(
                TERM="dumb", PS1="$ ", HOME=str(directory.parent), ZDOTDIR=str(directory.parent)
            )
            os.execvp(argv[0], argv)
        self._seen = ""
        self.type(setup)
        self.type("gitchain ready\n")
        self._wait('<<["ready"]>>')

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            os.kill(self._pid, signal.SIGKILL)
        os.close(self._fd)
        os.waitpid(self._pid, 0)

    def type(self, text: str) -> None:
        """Send keys."""
        os.write(self._fd, text.encode())

    def completed(self, line: str) -> list[str]:
        """Return the arguments of the line after Tab."""
        self._seen = ""
        self.type(f"{line}\t")
        self._quiet()
        self.type("\n")
        return self._arguments()

    def _arguments(self) -> list[str]:
        text = self._wait(">>").rpartition("<<")[2].partition(">>")[0]
        found = json.loads(text.replace("\r", "").replace("\n", ""))
        assert isinstance(found, list)
        return found

    def _quiet(self) -> None:
        """Wait until the shell has answered, and prints no more for a second."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end and self._read(1.5):
            pass

    def _wait(self, mark: str) -> str:
        end = time.monotonic() + SECONDS
        while mark not in self._seen:
            assert time.monotonic() < end, self._seen
            self._read(1.0)
        return self._seen

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._fd], [], [], seconds)
        if ready:
            self._seen += os.read(self._fd, 65536).decode("utf-8", "replace")
        return bool(ready)

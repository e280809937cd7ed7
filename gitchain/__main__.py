"""Entry point: `gitchain` and `python -m gitchain`. Answers `--version` before anything else is imported.

SIGTERM and SIGHUP end the process the orderly way, so that what was begun is cleaned up: exit code 128 + n.
"""

from __future__ import annotations

import contextlib
import os
import sys

TOLD_AGAIN = 5
"""Seconds until the end is said again: Python drops an exception that a signal raises inside a finaliser or a callback."""


def main() -> None:
    """Run the command line and exit with its code."""
    _fill_streams()
    if sys.argv[1:] == ["--version"]:
        from gitchain import __version__

        with contextlib.suppress(OSError):  # what cannot be written is for the command line to say
            sys.stdout.write(f"gitchain {__version__}\n")
            sys.stdout.flush()
            raise SystemExit(0)
    try:
        _end_orderly()
        from gitchain.cli.main import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while importing: run() says it itself
        code = 130
    raise SystemExit(130 if code and _interrupts else code)


_interrupts: list[int] = []
"""Ctrl-C that was heard: a library may turn the exception into one of its own, and the end into another code."""


def _fill_streams() -> None:
    """Put /dev/null where a standard stream is closed: else the next file that is opened takes its number."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: SIM115, PTH123 - open until the end


def _end_orderly() -> None:
    import signal

    code = 0

    def end(number: int, _frame: object) -> None:
        nonlocal code
        code = code or 128 + number
        signal.signal(signal.SIGALRM, end)
        signal.alarm(TOLD_AGAIN)
        raise SystemExit(code)

    def interrupt(number: int, _frame: object) -> None:
        _interrupts.append(number)
        signal.default_int_handler(number, None)

    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:  # inherited: each program would seem to end with 0
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # nohup and supervisors keep what they chose
            signal.signal(number, end)


if __name__ == "__main__":
    main()

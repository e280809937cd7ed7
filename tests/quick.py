"""Run the tests that a change most likely breaks, within a minute: `make quick`.

Changed are the files that differ from `main` (QUICK_BASE names another commit), committed or not. Tests run in this order:

1. changed test files;
2. test files that mirror a changed module: `gitchain/verify/trace.py` has `tests/verify/test_trace.py`;
3. test files that import a changed module of gitchain or of `tests.support`, or name a changed page, schema or script;
4. a smoke set: floors, pages, claims, command lines.

After QUICK_SECONDS (40) no further test starts, and those that run are interrupted: pytest-xdist gives its workers ten
seconds more, so that the whole takes at most 60. `make test` runs all tests.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SMOKE = (
    "tests/test_floors.py",
    "tests/test_docs.py",
    "tests/test_claims.py",
    "tests/cli/test_help_commands.py",
    "tests/journeys/test_readme.py",
    "tests/verify/test_decide.py",
)
MANY = 12
"""Importers of one module beyond this number say little about it: only those of its own directory run.

Of a module of `tests.support`, which has no tests of its own, the first ones run."""


class Budget:
    """A pytest plugin: no test starts after `seconds`."""

    def __init__(self, seconds: float) -> None:
        """Start the clock."""
        self.end = time.monotonic() + seconds
        self.session: pytest.Session | None = None
        self.ran: set[str] = set()
        self.is_over = False

    def interrupt(self, *_: object) -> None:
        """Interrupt the tests that run: the handler of SIGALRM."""
        self.is_over = True
        raise KeyboardInterrupt

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Remember the session to stop."""
        self.session = session

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count the test; stop the session once the time is over."""
        self.ran.add(report.nodeid)
        if time.monotonic() > self.end and self.session is not None:
            self.is_over = True
            self.session.shouldstop = "the time of make quick is over"


def git(*arguments: str) -> str:
    """Return git's stdout, or an empty text if it exits non-zero."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout


def changed_files(base: str) -> list[str]:
    """Return the paths that differ from the common ancestor with `base`, and untracked files, sorted."""
    ancestor = git("merge-base", "HEAD", base).strip() or "HEAD"
    listed = git("diff", "--name-only", ancestor) + git("ls-files", "--others", "--exclude-standard")
    return sorted(set(listed.splitlines()))


def mirrors(path: str, tests: Sequence[str]) -> Iterator[str]:
    """Yield the test files in the mirrored directory whose name starts with that of the changed module."""
    found = re.fullmatch(r"gitchain/(.+)/(\w+)\.py", path)
    if found:
        directory = f"tests/{found[1].split('/')[0]}/"
        name = re.compile(rf"test_{re.escape(found[2].strip('_'))}(?:_\w+)?\.py")
        yield from (test for test in tests if test.startswith(directory) and name.fullmatch(Path(test).name))


def importers(path: str, texts: dict[str, str]) -> list[str]:
    """Return the test files that import a changed module, or that name any other changed file."""
    found = re.fullmatch(r"(gitchain|tests)/(?:(.+)/)?(\w+)\.py", path)
    if not found:
        name = Path(path).name
        return [test for test, text in texts.items() if path in text or f'"{name}"' in text]
    package = ".".join([found[1], *(found[2].split("/") if found[2] else [])])
    line = rf"^(?:from|import) {re.escape(package)}\.{found[3]}\b|^from {re.escape(package)} import .*\b{found[3]}\b"
    using = [test for test, text in texts.items() if re.search(line, text, re.MULTILINE)]
    if len(using) <= MANY:
        return using
    near = [test for test in using if test.split("/")[1] == package.split(".")[-1]]
    return (near or using if found[1] == "tests" else near)[:MANY]


def relevant(changed: Iterable[str], texts: dict[str, str]) -> list[str]:
    """Return test files in the order to run them: changed, mirrored, importing, smoke; each once."""
    paths = list(changed)
    groups = (
        (path for path in paths if path in texts),
        (test for path in paths for test in mirrors(path, list(texts))),
        (test for path in paths for test in importers(path, texts)),
        (test for test in SMOKE if test in texts),
    )
    return list(dict.fromkeys(test for group in groups for test in group))


def main() -> int:
    """Run the relevant tests; return pytest's exit code, or 0 if the time was over and no test had failed."""
    texts = {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
    }
    tests = relevant(changed_files(os.environ.get("QUICK_BASE", "main")), texts)
    print(f"quick: {len(tests)} of {len(texts)} test files", flush=True)
    seconds = int(os.environ.get("QUICK_SECONDS", "40"))
    budget = Budget(seconds)
    signal.signal(signal.SIGALRM, budget.interrupt)
    signal.alarm(seconds + 2)
    arguments = ["-q", "-n", "2", "-m", "not slow", "--rootdir", str(ROOT), *tests]
    try:
        code = pytest.main(arguments, plugins=[budget])
    except KeyboardInterrupt:  # while pytest starts or ends
        code = pytest.ExitCode.INTERRUPTED
    if budget.is_over and code == pytest.ExitCode.INTERRUPTED:
        failed = budget.session is not None and budget.session.testsfailed
        print(f"quick: stopped after {len(budget.ran)} tests: run `make test` for the rest", flush=True)
        return 1 if failed else 0
    return int(code)


if __name__ == "__main__":
    sys.exit(main())

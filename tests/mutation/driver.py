"""Mutation testing of the rooms that decide: `make mutants`, or `make mutants ALL=1` for every mutant.

One run of the tests says which test executes which line. Then each mutant is tried with the tests that execute the
mutated lines, the fast ones first, until one fails, in up to two ways:

 1. In a fork of a process that has collected all tests, where the code of the mutated function is swapped. The tests
    that noticed a mutant so are run once more without any: what fails then too has noticed nothing.
 2. What is no function's code, or was not noticed: in a fork of this process, in which third-party packages are loaded
    and gitchain is not. There the mutated module takes the place of the real one from the start.

A mutant that no test notices survives. `equivalent.toml` lists those that no test can notice, each with its reason.

Exit code 1: score below 90 %, or `equivalent.toml` lists what is no mutant any more.
"""

from __future__ import annotations

import argparse
import ast
import gc
import hashlib
import importlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
import tomllib
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib.machinery import SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path

import coverage
import pytest

from tests.mutation.inplace import Functions
from tests.mutation.operators import labels, mutants

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".mutants"
ROOMS = ("evidence", "layout", "verify")
TESTS = ("evidence", "layout", "verify", "attacks", "matrix", "test_docs.py")
APART = ("attacks/test_hostile_stores.py", "attacks/test_limits.py", "attacks/test_pipes.py")
"""Tests of whole programs that measure memory and time of processes of their own, in which there is no mutant."""
OPTIONS = [
    "-q",
    "--no-header",
    "--tb=no",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:xdist",
    "--disable-warnings",
    "--hypothesis-profile=mutants",
]
LOOKING = (
    "tests/verify/test_limits.py",
    "tests/test_docs.py::test_the_",
    "tests/test_docs.py::test_every_predicate_type",
    "tests/layout/test_identities.py::test_claims",
    "tests/layout/test_lint.py::test_the_page_is_the_code_s",
    "tests/evidence/test_predicates.py::test_the_words_of_evidence",
)  # these look at constants and run nothing of theirs
GATE = 0.90
MOST_SECONDS = (
    20.0  # of tests for one mutant: beyond, the slowest tests of other modules that execute it are left out
)
MEMORY = 6 << 30  # a loop that never ends must not take the machine with it


@dataclass(frozen=True, slots=True)
class Candidate:
    """One mutant, with the words that name it: the place, the statement before, the statement after."""

    module: str
    number: int
    line: int
    lines: range
    at_import: bool
    function: str
    was: str
    now: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.module, self.function, self.was, self.now

    def __str__(self) -> str:
        return f"{self.module}:{self.line} in {self.function or 'the module'}\n    - {self.was}\n    + {self.now}"


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the unchanged tests did: seconds of each, the tests of each line, the packages they loaded."""

    seconds: dict[str, float]
    tests: dict[str, dict[str, list[str]]]
    excluded: dict[str, list[int]]
    packages: list[str]

    def chosen(self, candidate: Candidate) -> list[str]:
        """Return the tests for a mutant, fast ones first; for what runs at import, those of the module, then LOOKING."""
        by_line = self.tests.get(candidate.module, {})
        lines = (
            () if candidate.at_import else candidate.lines
        )  # a test that imports a module first is not its test
        direct = {test for line in lines for test in by_line.get(str(line), ())}
        own = f"/test_{Path(candidate.module).stem}"  # the tests that are named after the module are never left out
        if (
            "" in direct
        ):  # a test module calls it while it is collected, and its tests look at what came of it
            direct = direct - {""} | {test for test in self.seconds if own in test}
        found = direct or {test for tests in by_line.values() for test in tests} - {""} or set(self.seconds)
        chosen, total = [], 0.0
        if not direct:  # a generated method, such as a dataclass's hash, has no line of the module
            found = found | {test for test in self.seconds if own in test}
        for test in sorted(
            found, key=lambda test: (not direct and own not in test, self.seconds[test], test)
        ):
            total += self.seconds[test]
            if total <= MOST_SECONDS or own in test:
                chosen.append(test)
        if direct:
            return chosen
        looking = {test for test in self.seconds if test.startswith(LOOKING)}
        return [*chosen, *sorted(looking - set(chosen))]


class Recorder:
    """A pytest plugin: coverage per test, and the processor's time that each took: whatever else runs here is no matter."""

    def __init__(self) -> None:
        self.coverage = coverage.Coverage(data_file=None, source=[str(ROOT / "gitchain")], branch=False)
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.coverage.switch_context(nodeid)
        self.seconds[nodeid] = -sum(os.times()[:4])

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self.seconds[nodeid] += sum(os.times()[:4])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.add(report.nodeid)

    def baseline(self) -> dict[str, object]:
        data, tests, excluded = self.coverage.get_data(), {}, {}
        for path in sources():
            name = str(path.relative_to(ROOT))
            lines = data.contexts_by_lineno(str(path))
            tests[name] = {
                str(line): [test for test in found if test not in self.failed]
                for line, found in lines.items()
            }
            excluded[name] = self.coverage.analysis2(str(path))[2]
        roots = {name.partition(".")[0] for name in sys.modules} - {"gitchain", "conftest", "__main__"}
        packages = [
            name for name, module in sys.modules.items()
            if name.partition(".")[0] in roots and "site-packages" in (getattr(module, "__file__", None) or "")
        ]  # fmt: skip
        return {"seconds": self.seconds, "tests": tests, "excluded": excluded, "packages": packages}


class Chosen:
    """A pytest plugin: only these tests, in this order."""

    def __init__(self, tests: Iterable[str]) -> None:
        self.order = {test: index for index, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        kept = [item for item in items if item.nodeid in self.order]
        items[:] = sorted(kept, key=lambda item: self.order[item.nodeid])


class Loader(SourceFileLoader):
    """Loads the mutated module in place of its file, and nothing else."""

    def __init__(self, path: Path, tree: ast.Module) -> None:
        self.name = module_name(path)
        super().__init__(self.name, str(path))
        self.tree = tree

    def get_code(self, fullname: str) -> object:  # type: ignore[override]
        return compile(self.tree, self.path, "exec")

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        return spec_from_file_location(name, self.path, loader=self) if name == self.name else None


class Swapping:
    """A pytest plugin: instead of running the tests that were collected, try mutants on forks of this process."""

    def __init__(self, chosen: list[Candidate], baseline: Baseline, jobs: int) -> None:
        self.chosen, self.baseline, self.jobs = chosen, baseline, jobs
        self.noticed = WORK / "noticed.jsonl"
        self.outcomes: dict[Candidate, str] = {}

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.items = {item.nodeid: item for item in session.items}
        for path in sources():
            importlib.import_module(module_name(path))
        self.functions = Functions({module_name(path) for path in sources()})
        self.noticed.write_text("", encoding="utf-8")
        gc.collect()
        gc.freeze()
        self.outcomes = dict(run(self.chosen, self.baseline, self.jobs, self.child))
        pairs = [json.loads(line) for line in self.noticed.read_text("utf-8").splitlines()]
        wrong = self.fail_anyway(sorted({test for _, test in pairs}))
        for key in (key for key, test in pairs if test in wrong):
            self.outcomes = {one: what for one, what in self.outcomes.items() if str(one) != key}
        return True

    def child(self, candidate: Candidate, tests: list[str], worker: int) -> int:
        """Swap the function, run the tests until one fails, and note which."""
        path = ROOT / candidate.module
        if not self.functions.swap(module_name(path), ast.parse(path.read_bytes()), mutated(candidate)):
            return 0
        failed = self.run(tests, worker, first=True)
        with self.noticed.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps([str(candidate), test]) + "\n" for test in failed)
        return int(bool(failed))

    def fail_anyway(self, tests: list[str]) -> set[str]:
        """Return which of the tests fail in a fork without any mutant."""
        file = WORK / "anyway.json"
        file.unlink(missing_ok=True)

        def work() -> int:
            file.write_text(json.dumps(self.run(tests, 0, first=False)), encoding="utf-8")
            return 0

        os.waitpid(forked(work, 3600), 0)
        return set(json.loads(file.read_bytes())) if file.exists() else set(tests)

    def run(self, tests: list[str], worker: int, *, first: bool) -> list[str]:
        """Run tests in this process, once in its life; return those that failed, or the first one."""
        root, failures = WORK / f"tmp-{worker}", Failures()
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(root)
        items = [self.items[test] for test in tests if test in self.items]
        for item, following in zip(items, [*items[1:], None], strict=True):
            if item is items[0]:
                item.config.pluginmanager.register(failures)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if first and failures.found:
                break
        return failures.found


class Failures:
    """A pytest plugin: the tests that failed."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.found.append(report.nodeid)


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def sources() -> list[Path]:
    return sorted(path for room in ROOMS for path in (ROOT / "gitchain" / room).glob("*.py"))


@cache
def labelled() -> frozenset[tuple[str, int]]:
    return frozenset(one for path in sources() for one in labels(ast.parse(path.read_bytes())))


def arguments(worker: int) -> list[str]:
    return [*OPTIONS, f"--rootdir={ROOT}", f"--basetemp={WORK / f'tmp-{worker}'}"]


def paths() -> list[str]:
    """Return the arguments for pytest that select the tests which may notice a mutant."""
    places = [ROOT / "tests" / name for name in TESTS]
    apart = [f"--ignore={ROOT / 'tests' / name}" for name in APART]
    return [*(str(path) for path in places if path.exists()), *apart]


def record() -> Baseline:
    """Run the tests once, unchanged; a run over the same files is remembered."""
    digest = hashlib.sha256()
    for path in sorted([*(ROOT / "gitchain").rglob("*.py"), *(ROOT / "tests").rglob("*.py")]):
        digest.update(path.read_bytes())
    file = WORK / f"baseline-{digest.hexdigest()[:16]}.json"
    if not file.exists():
        if not (pid := os.fork()):
            os._exit(_record(file))
        if os.waitpid(pid, 0)[1]:
            sys.exit("the unchanged tests do not run: mutants would prove nothing")
    return Baseline(**json.loads(file.read_bytes()))


def _record(file: Path) -> int:
    recorder = Recorder()
    recorder.coverage.start()
    code = pytest.main([*arguments(0), "--tb=short", *paths()], plugins=[recorder])
    recorder.coverage.stop()
    for test in sorted(recorder.failed):
        print(f"fails without any mutant, so it proves nothing here: {test}")
    if code in {0, 1}:
        file.write_text(json.dumps(recorder.baseline()), encoding="utf-8")
        return 0
    return int(code)


def body_lines(tree: ast.Module) -> set[int]:
    """Return the lines of the bodies of functions: all others run while the module is imported."""
    found: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            found.update(range(node.body[0].lineno, (node.end_lineno or node.lineno) + 1))
        elif isinstance(node, ast.Lambda):
            found.update(range(node.body.lineno, (node.body.end_lineno or node.lineno) + 1))
    return found


def candidates(path: Path, excluded: Iterable[int]) -> list[Candidate]:
    module, skipped = str(path.relative_to(ROOT)), set(excluded)
    found: dict[tuple[str, ...], Candidate] = {}
    tree = ast.parse(path.read_bytes())
    inner = body_lines(tree)
    for number, mutant in enumerate(mutants(tree, labelled())):
        if not skipped.intersection(mutant.lines):
            was, now = mutant.texts()
            at_import = inner.isdisjoint(mutant.lines)
            one = Candidate(
                module, number, mutant.first_line, mutant.lines, at_import, mutant.function, was, now
            )
            found.setdefault((*one.key, str(one.line)), one)
    return list(found.values())


def sample(every: list[Candidate], count: int, seed: int) -> list[Candidate]:
    """Return `count` of them, from each module its share and at least three."""
    by_module: dict[str, list[Candidate]] = defaultdict(list)
    for one in every:
        by_module[one.module].append(one)
    chosen = []
    for module, ones in sorted(by_module.items()):
        share = max(3, round(count * len(ones) / len(every)))
        chosen += random.Random(f"{seed} {module}").sample(ones, min(share, len(ones)))
    return chosen


def mutated(candidate: Candidate) -> ast.Module:
    tree = ast.parse((ROOT / candidate.module).read_bytes())
    next(one for number, one in enumerate(mutants(tree, labelled())) if number == candidate.number).apply()
    return tree


def forked(work: Callable[[], int], seconds: float) -> int:
    """Do the work in a fork, cut off from the terminal and bounded; return its process id."""
    if pid := os.fork():
        return pid
    code = 0  # work that does not end has noticed nothing
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        limit = int(20 + 5 * seconds)
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        code = work()
    finally:
        os._exit(code)


def child(candidate: Candidate, tests: list[str], worker: int) -> int:
    """Run the tests against the mutant, in this process; return pytest's exit code."""
    path = ROOT / candidate.module
    sys.meta_path.insert(0, Loader(path, mutated(candidate)))  # type: ignore[arg-type]
    own = f"tests/{path.parent.name}/"
    near, far = ([test for test in tests if test.startswith(own) == here] for here in (True, False))
    for some in filter(None, (near, far)):  # most mutants end at the tests of their own room
        files = sorted({str(ROOT / test.partition("::")[0]) for test in some})
        code = pytest.main([*arguments(worker), "-x", *files], plugins=[Chosen(some)])
        if code not in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            return int(code)
    return 0


def swapped(chosen: list[Candidate], baseline: Baseline, jobs: int) -> dict[Candidate, str]:
    """Return the mutants that tests noticed in a process that had collected them, each with what became of it."""
    file = WORK / "swapped.json"
    if not (pid := os.fork()):
        plugin = Swapping(chosen, baseline, jobs)
        code = pytest.main([*OPTIONS, "--capture=sys", f"--rootdir={ROOT}", *paths()], plugins=[plugin])
        outcomes = [plugin.outcomes.get(one, "survived") for one in chosen]
        file.write_text(json.dumps(outcomes), encoding="utf-8")
        os._exit(int(code))
    if os.waitpid(pid, 0)[1]:
        sys.exit("the tests cannot be collected")
    found = zip(chosen, json.loads(file.read_bytes()), strict=True)
    return {one: what for one, what in found if what != "survived"}


def run(
    chosen: list[Candidate],
    baseline: Baseline,
    jobs: int,
    start: Callable[[Candidate, list[str], int], int],
) -> Iterator[tuple[Candidate, str]]:
    """Yield each mutant with what became of it where `start` tried it: killed, time-out or survived."""
    waiting, running = list(reversed(chosen)), dict[int, tuple[Candidate, int, float]]()
    while waiting or running:
        while waiting and len(running) < jobs:
            one, worker = waiting.pop(), min(set(range(jobs)) - {worker for _, worker, _ in running.values()})
            tests = baseline.chosen(one)
            if not tests:
                yield one, "survived"
                continue
            seconds = sum(baseline.seconds[test] for test in tests)
            pid = forked(partial(start, one, tests, worker), seconds)
            running[pid] = (one, worker, time.monotonic() + 10 * (20 + 5 * seconds))
        yield from _ended(running)


def _ended(running: dict[int, tuple[Candidate, int, float]]) -> Iterator[tuple[Candidate, str]]:
    time.sleep(0.02)
    for pid, (one, _, end) in list(running.items()):
        done, status = os.waitpid(pid, os.WNOHANG)
        if not done and time.monotonic() > end:
            os.killpg(pid, signal.SIGKILL)
            done, status = os.waitpid(pid, 0)
        if done:
            del running[pid]
            code = os.waitstatus_to_exitcode(status)
            yield one, "survived" if code == 0 else "time-out" if code < 0 else "killed"


def report(results: Iterable[tuple[Candidate, str]], equivalent: int) -> float:
    """Print the survivors and the score of each module; return the score of all."""
    table: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for one, what in results:
        table[one.module][("killed", "time-out", "survived").index(what)] += 1
        if what == "survived":
            print(f"survived {one}", flush=True)
    print(f"\n{'module':40} {'killed':>7} {'time-out':>9} {'survived':>9} {'score':>7}")
    table = dict(sorted(table.items()))
    total = [sum(row[column] for row in table.values()) for column in range(3)]
    for module, (killed, late, survived) in [*table.items(), ("all", total)]:
        score = (killed + late) / max(1, killed + late + survived)
        print(f"{module:40} {killed:7} {late:9} {survived:9} {score:7.1%}")
    print(f"{equivalent} more are listed as equivalent, with reasons, in tests/mutation/equivalent.toml")
    return score


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--all", action="store_true", help="every mutant instead of a sample")
    parser.add_argument("--count", type=int, default=350, help="size of the sample")
    parser.add_argument("--seed", type=int, default=0, help="another sample")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("modules", nargs="*", help="only modules whose path holds one of these")
    options = parser.parse_args()
    os.chdir(ROOT)
    WORK.mkdir(exist_ok=True)
    baseline = record()
    with warnings.catch_warnings(action="ignore"):
        for name in baseline.packages:
            importlib.import_module(name)
    every = [
        one for path in sources() for one in candidates(path, baseline.excluded[str(path.relative_to(ROOT))])
    ]
    listed = tomllib.loads((Path(__file__).parent / "equivalent.toml").read_text("utf-8")).get("mutant", [])
    keys = {(one["module"], one["function"], one["was"], one["now"]) for one in listed}
    stale = keys - {one.key for one in every}
    every = [
        one for one in every if not options.modules or any(part in one.module for part in options.modules)
    ]
    tried = [one for one in every if one.key not in keys]
    chosen = tried if options.all else sample(tried, options.count, options.seed)
    print(f"{len(every)} mutants, {len(chosen)} tried", flush=True)
    noticed = swapped(chosen, baseline, options.jobs)
    rest = [one for one in chosen if one not in noticed]
    results = (*noticed.items(), *run(rest, baseline, options.jobs, child))
    score = report(results, len(every) - len(tried))
    for key in sorted(stale):
        print("listed as equivalent, but no mutant any more:", *key, sep="\n    ")
    for worker in range(options.jobs):
        shutil.rmtree(WORK / f"tmp-{worker}", ignore_errors=True)
    return int(score < GATE or bool(stale))


if __name__ == "__main__":
    sys.exit(main())

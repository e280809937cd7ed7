"""Build the real servers and peers of the tests from pinned Go modules: `python tests/stack/build.py NAME...`.

Prints the path of each binary. What cannot be had here is one line on stderr and never a failed test run.

`tools/<module>/` holds a go.mod with `tool` lines and its go.sum, and Go source only where a library has no program. Binaries lie outside the
repository, in $GITCHAIN_STACK_CACHE or $XDG_CACHE_HOME/gitchain/stack, under a name that holds the digest of
go.mod, go.sum, recipe and Go version: a changed pin is another binary. Checksums of modules are always checked.

Exit codes: 0 all are there; 1 pinned sources that are there do not build, or are not what go.sum says;
2 no such tool; 3 some cannot be had here, or not in time.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

MODULES = Path(__file__).parent / "tools"
MINUTES = 25  # for all tools of one call together; GITCHAIN_STACK_MINUTES or --minutes
LAST_LINES = 15  # of what Go said, when a build fails
REFUSED = ("SECURITY ERROR", "checksum mismatch", "missing go.sum entry", "updates to go.mod needed")
KUBERNETES = "v1.36.2"


@dataclass(frozen=True, slots=True)
class Tool:
    """One binary: the main package, the module directory that pins it, and what the linker is to write into it."""

    name: str
    package: str
    module: str = ""
    stamps: tuple[str, ...] = ()

    @property
    def flags(self) -> str:
        """Return the linker's flags."""
        return " ".join(["-s -w", *(f"-X {stamp}" for stamp in self.stamps)])


_VERSION = "k8s.io/component-base/version"  # without it the API server says v0.0.0, which clients do not take
_STAMPS = (f"{_VERSION}.gitVersion={KUBERNETES}", f"{_VERSION}.gitMajor=1", f"{_VERSION}.gitMinor=36")
CATALOGUE = (
    Tool("actionlint", "github.com/rhysd/actionlint/cmd/actionlint"),
    Tool("rekor-server", "github.com/sigstore/rekor-tiles/v2/cmd/rekor-server/posix"),
    Tool("fulcio", "github.com/sigstore/fulcio"),
    Tool("tesseract", "github.com/transparency-dev/tesseract/cmd/tesseract/posix"),
    Tool("timestamp-server", "github.com/sigstore/timestamp-authority/v2/cmd/timestamp-server"),
    Tool("fsck", "github.com/transparency-dev/tessera/cmd/fsck"),
    Tool("log-follower", "gitchain.test/log-follower"),
    Tool("cosign", "github.com/sigstore/cosign/v3/cmd/cosign"),
    Tool("gitsign", "github.com/sigstore/gitsign"),
    Tool("etcd", "go.etcd.io/etcd/server/v3"),
    Tool("helm", "helm.sh/helm/v3/cmd/helm"),
    Tool("kube-score", "github.com/zegl/kube-score/cmd/kube-score"),
    Tool("kubectl", "k8s.io/kubernetes/cmd/kubectl", "kubernetes", _STAMPS),
    Tool("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", "kubernetes", _STAMPS),
    Tool("gatekeeper", "gitchain.test/gatekeeper"),
)


class State(Enum):
    """How it went with one tool."""

    BUILT = "built"
    CACHED = "cached"
    LATE = "out of time"
    ABSENT = "cannot be had"
    BROKEN = "does not build"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one tool; `path` is the binary's where there is one, `why` one line where there is none."""

    name: str
    state: State
    path: Path | None = None
    why: str = ""
    seconds: float = 0.0


class Go:
    """The go command, used with the pins as they are: read-only, no other toolchain, checksums checked."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        unwanted = {"GOFLAGS", "GONOSUMCHECK", "GONOSUMDB", "GOINSECURE", "GOPRIVATE"}
        self._environ = {key: value for key, value in environ.items() if key not in unwanted}
        self._environ |= {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
        self._environ |= {"GOFLAGS": "-mod=readonly -trimpath -buildvcs=false"}

    def run(self, folder: Path, *args: str, until: float, **extra: str) -> tuple[int, str]:
        """Run go at a low priority; return its exit code and what it said. TimeoutError when the time is over."""
        process = subprocess.Popen(
            ["nice", "-n", "5", "go", *args],
            cwd=folder,
            env=self._environ | extra,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said = process.communicate(timeout=max(0.0, until - time.monotonic()))[0]
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)  # the compilers too
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise TimeoutError from error
            raise
        return process.returncode, said.strip()

    def version(self) -> str:
        """Return what `go version` says, or nothing where there is no Go."""
        with contextlib.suppress(OSError):
            code, said = self.run(MODULES, "version", until=time.monotonic() + 60)
            return said if code == 0 else ""
        return ""


class Builder:
    """Builds tools of the catalogue, one after the other, until the time is over."""

    def __init__(
        self, seconds: float, *, modules: Path = MODULES, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._until = time.monotonic() + seconds
        self._modules = modules
        self._go = Go(environ)
        self._version = self._go.version()
        self._cache = cache_directory(environ)

    def build(self, tool: Tool) -> Outcome:
        """Return the tool's binary from the cache, or build it. Never raises for what a machine may lack."""
        if not self._version:
            return Outcome(
                tool.name, State.ABSENT, why="there is no Go here (apt-get install golang, go.dev/dl)"
            )
        target = self._cache / f"{tool.name}-{self._key(tool)}" / tool.name
        if target.exists():
            return Outcome(tool.name, State.CACHED, target)
        start = time.monotonic()
        try:
            with _turn(target.parent, self._until):
                if target.exists():  # another process was faster
                    return Outcome(tool.name, State.CACHED, target)
                return self._make(tool, target, start)
        except TimeoutError:
            return Outcome(
                tool.name, State.LATE, why="the time for builds is over; the next run goes on from here"
            )

    def _folder(self, tool: Tool) -> Path:
        return self._modules / (tool.module or tool.name)

    def _key(self, tool: Tool) -> str:
        folder = self._folder(tool)
        files = [folder / "go.mod", folder / "go.sum", *sorted(folder.glob("*.go"))]
        parts = [file.read_bytes() for file in files]
        parts += [tool.package.encode(), tool.flags.encode(), self._version.encode()]
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:20]

    def _make(self, tool: Tool, target: Path, start: float) -> Outcome:
        folder = self._folder(tool)
        code, said = self._go.run(folder, "list", "-deps", tool.package, until=self._until)
        if code != 0:  # sources are missing; that they are not what was pinned is another matter
            state = State.BROKEN if any(word in said for word in REFUSED) else State.ABSENT
            return Outcome(tool.name, state, why=_last(said))
        with tempfile.TemporaryDirectory(dir=self._cache, prefix=".building-") as scratch:
            made = Path(scratch) / tool.name
            command = ("build", "-ldflags", tool.flags, "-o", str(made), tool.package)
            code, said = self._go.run(folder, *command, until=self._until, GOPROXY="off")
            if code != 0:
                return Outcome(tool.name, State.BROKEN, why=_last(said))
            made.replace(target)
        return Outcome(tool.name, State.BUILT, target, seconds=time.monotonic() - start)


def cache_directory(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where binaries are kept, outside the repository."""
    if environ.get("GITCHAIN_STACK_CACHE"):
        return Path(environ["GITCHAIN_STACK_CACHE"])
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gitchain/stack"


@contextlib.contextmanager
def _turn(folder: Path, until: float) -> Iterator[None]:
    """Hold the tool's lock, so that two runs do not build it twice. TimeoutError when the time is over."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise TimeoutError from None
                time.sleep(0.2)
        yield


def _last(said: str) -> str:
    return "\n".join(said.splitlines()[-LAST_LINES:])


def seconds_allowed(environ: Mapping[str, str] = os.environ) -> float:
    """Return how long builds may take together."""
    return float(environ.get("GITCHAIN_STACK_MINUTES") or MINUTES) * 60


def complain(outcome: Outcome) -> None:
    """Print the one loud line about a tool that is not there, and all that Go said if its sources do not build."""
    lines = outcome.why.splitlines() or [""]
    if outcome.state is State.BROKEN:
        print(f"FAILED {outcome.name}: {outcome.state.value}\n{outcome.why}", file=sys.stderr)
    else:
        print(f"SKIPPED {outcome.name}: {outcome.state.value}: {lines[-1].strip()}", file=sys.stderr)


def main(arguments: list[str]) -> int:
    """Build what was named and print where it lies."""
    known = {tool.name: tool for tool in CATALOGUE}
    parser = argparse.ArgumentParser(description="Build tools of the tests from pinned Go modules.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(known))
    parser.add_argument("--all", action="store_true", help="every tool, the costliest last")
    parser.add_argument("--minutes", type=float, default=seconds_allowed() / 60, help="for all together")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"no tool {', '.join(unknown)}: there are {', '.join(known)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # not without the compilers
    builder = Builder(options.minutes * 60)
    outcomes = []
    for name in known if options.all else options.names:
        outcomes.append(outcome := builder.build(known[name]))
        if outcome.path is None:
            complain(outcome)
            continue
        if outcome.state is State.BUILT:
            print(f"built {name} in {outcome.seconds:.0f} s", file=sys.stderr)
        print(outcome.path, flush=True)
    states = {outcome.state for outcome in outcomes}
    return 1 if State.BROKEN in states else 3 if states & {State.LATE, State.ABSENT} else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

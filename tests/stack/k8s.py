"""Admission on a real API server: `python -m tests.stack.k8s`, or `make k8s`.

Starts etcd and kube-apiserver, installs gitchain by its own chart with two replicas on loopback, and prints what a
developer tries, what it has to come to, what it came to and what the client is told.

Exit codes: 0 everything came to what it has to, or there is no cluster to be had here, said in one line; 1 it did not.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from tests.stack import (
    departures,
    gatekeeper,
    ground,
    install,
    kube,
    matrix,
    matrix_before,
    matrix_decoys,
    matrix_forged,
    matrix_names,
    outage,
    rolling,
    told,
    tries,
)
from tests.stack.kube import Cluster
from tests.stack.processes import Failed
from tests.stack.tries import Case

IDENTITY = {f"GIT_{who}_{what}": text for who in ("AUTHOR", "COMMITTER") for what, text in
            (("NAME", "Ada"), ("EMAIL", "ada@example.com"))}  # fmt: skip
TOLD = 100  # characters of a message
REVIEWS = 10_000
CASES = tries.cases_of(matrix, matrix_names, matrix_decoys, matrix_forged, matrix_before)


def main() -> int:
    """Run everything and return the exit code."""
    try:
        binary = kube.binaries(names=(*kube.TOOLS, "helm"))
    except kube.Missing as error:
        print(f"SKIPPED make k8s: {error}", file=sys.stderr)
        return 0
    except Failed as error:
        print(error, file=sys.stderr)
        return 1
    try:  # before HOME is another: builds are kept below it
        binary |= kube.binaries(names=("gatekeeper",))
    except kube.Missing:
        print("its rows of the matrix are left out", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="gitchain-k8s-") as scratch:
        top = Path(scratch)
        own = {"HOME": str(top), "GITCHAIN_HOME": str(top / "home"), "GIT_CONFIG_GLOBAL": os.devnull}
        os.environ.update(IDENTITY | own | {"GIT_CONFIG_NOSYSTEM": "1"})
        for name in ("ground", "serve"):
            (top / name).mkdir()
        base = ground.make(top / "ground")
        with (
            Cluster.start(binary) as cluster,
            install.installed(cluster, base, binary["helm"], top / "serve", matrix_before.before) as on,
        ):
            return run(on, binary.get("gatekeeper"))


def run(on: install.Installed, engine: Path | None) -> int:
    """Try everything; return 1 if anything came to something else than it has to."""
    tried = [show(one, one.attempt(on)) for one in CASES]
    cases = outage.cases(on)
    with on.service.away():
        tried += [show(one, one.attempt(on)) for one in cases]
    missing = departures.stated(on)
    tried.append(not missing)
    print(
        f"{'WRONG' if missing else 'ok':<5} {'log':<10} a deployment and its end are in `gitchain log MODEL` {missing}"
    )
    missing = told.missing(on)
    tried.append(not missing)
    print(
        f"{'WRONG' if missing else 'ok':<5} {'told':<10} a denied pod leaves an Event and a report {missing}"
    )
    tried += by_gatekeeper(on, engine) if engine else []
    good = under_load(on)
    print(f"{sum(tried)} of {len(tried)} came to what they have to")
    return 0 if all(tried) and good else 1


def show(one: Case, reply: kube.Reply) -> bool:
    """Print one line of the matrix; tell whether it is as it has to be."""
    got = tries.come_to(reply)
    good = got == one.expected
    told = reply.message.partition("denied the request: gitchain: ")[2] or reply.message
    line = f"{'ok' if good else 'WRONG':<5} {one.group:<10} {one.name:<80} {one.expected:<16} {got:<16} "
    print(line + (told[:TOLD] if good else told), flush=True)
    return good


def by_gatekeeper(on: install.Installed, engine: Path) -> list[bool]:
    """Let Gatekeeper's engine ask gitchain about pods."""
    tried = []
    for name, references, code in gatekeeper.CASES:
        found = gatekeeper.violations(on, engine, references)
        expected = f"denied {code}" if code else "allowed"
        got = f"denied {code}" if found and all(code and code in one for one in found) else "denied"
        tried.append(expected == (got if found else "allowed"))
        line = f"{'ok' if tried[-1] else 'WRONG':<5} {'gatekeeper':<10} {name:<80} {expected:<16} "
        print(line + f"{got if found else 'allowed':<16} {' '.join(found)[:TOLD]}")
    return tried


def under_load(on: install.Installed) -> bool:
    """Change certificates and replicas under load; tell whether no call failed and no answer was wrong."""
    load = rolling.Load(on, int(os.environ.get("GITCHAIN_K8S_REVIEWS") or REVIEWS))
    load.start()
    rolling.operate(on, load, print)
    load.end()
    print(
        f"{load.done} reviews through the API server in {load.seconds:.0f} s, 3 certificates, 2 replicas replaced: "
        f"{len(load.failed)} calls failed, {len(load.wrong)} answers wrong"
    )
    for text in [*load.failed, *load.wrong][:20]:
        print(f"  {text}")
    return not load.failed and not load.wrong


if __name__ == "__main__":
    sys.exit(main())

"""The deployment log on a real cluster: who put a model where, and when it left, as `gitchain log` shows it."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.stack.install import Installed
from tests.stack.kube import DEVELOPER, until
from tests.stack.tries import GOOD, created, spec, workload
from tests.support.admission import digest


def stated(on: Installed) -> str:
    """Deploy a signed model as the developer and delete it again; return what is missing in the log, or nothing."""
    where = created(on, workload("Deployment", spec(GOOD)))
    on.developer.call("DELETE", where)
    name = where.rpartition("/")[2]
    said = f"production / test / prod / Deployment/{name}, by {DEVELOPER}"

    def missing() -> str:
        found = log(on)
        return ", ".join(text for text in (f"to {said}", f"left {said}") if text not in found)

    return until(missing, "")


def log(on: Installed) -> str:
    """Return what `gitchain log` says about the signed model."""
    command = [
        sys.executable,
        "-m",
        "gitchain",
        "log",
        f"sha256:{digest('good')}",
        "-C",
        str(on.ground.top / "repo"),
    ]
    environ = os.environ | {"GITCHAIN_HOME": str(on.ground.top.parent / "home")}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environ).stdout

"""The environment of a step, by an allow-list: interpreter, system, hardware, container, CI run and packages.

Never the variables themselves: only the few that CI systems document, and addresses without credentials.
A statement of what was there, not a proof: only the signer vouches for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from gitchain.collect.remotes import public_url
from gitchain.errors import GitchainError
from gitchain.evidence.canonical import Json, canonical_json
from gitchain.platform.processes import find_program, run

GPU_TIMEOUT = 2.0
"""Seconds to wait for nvidia-smi: it takes under one, and hangs when a driver is broken."""

MAX_PACKAGES = 2_000
"""Most packages that are listed; the digest is over all."""

_CONTAINERS = (
    ("/.dockerenv", "docker"),
    ("/run/.containerenv", "podman"),
    ("/.singularity.d", "singularity"),
)
_CI: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "GITHUB_ACTIONS": (
        "github",
        ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID", "GITHUB_RUN_ATTEMPT"),
    ),
    "GITLAB_CI": ("gitlab", ("CI_JOB_URL",)),
    "CIRCLECI": ("circleci", ("CIRCLE_BUILD_URL",)),
    "BUILDKITE": ("buildkite", ("BUILDKITE_BUILD_URL",)),
    "JENKINS_URL": ("jenkins", ("BUILD_URL",)),
    "TF_BUILD": ("azure-pipelines", ("BUILD_BUILDURI",)),
    "TRAVIS": ("travis", ("TRAVIS_BUILD_WEB_URL",)),
    "CI": ("unknown", ()),
}


def environment(variables: Mapping[str, str] | None = None) -> dict[str, Json]:
    """Return the environment as JSON; `variables` are the process's own unless given."""
    known = os.environ if variables is None else variables
    found: dict[str, Json] = {
        "python": {"implementation": platform.python_implementation(), "version": platform.python_version()},
        "os": {"system": platform.system(), "release": platform.release(), "machine": platform.machine()},
        "cpus": os.cpu_count() or 0,
        "packages": packages(),
    }
    gpus = _gpus()
    container = _container(known)
    ci = _ci(known)
    if gpus:
        found["gpus"] = list(gpus)
    if container:
        found["container"] = container
    if ci:
        found["ci"] = ci
    return found


@cache
def packages() -> Mapping[str, Json]:
    """Return the installed Python packages as sorted `name==version`, with the SHA-256 of that list.

    These are the packages of the interpreter that runs gitchain.
    """
    listed = sorted({name for folder in sys.path for name in _installed(folder)})
    digest = hashlib.sha256(canonical_json(listed)).hexdigest()
    return {"sha256": digest, "list": listed[:MAX_PACKAGES]}


def _installed(folder: str) -> Iterator[str]:
    """Read names and versions off the .dist-info directories' own names: no file is opened."""
    with contextlib.suppress(OSError), os.scandir(folder or ".") as entries:
        for entry in entries:
            if entry.name.endswith(".dist-info") and entry.name.isascii() and entry.name.isprintable():
                name, mark, version = entry.name.removesuffix(".dist-info").partition("-")
                if mark:
                    yield f"{name.lower().replace('_', '-')}=={version}"


@cache
def _gpus() -> tuple[str, ...]:
    tool = find_program("nvidia-smi", Path.cwd())
    if tool is None:
        return ()
    argv = [tool, "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = run(argv, cwd="/", env=os.environ, seconds=GPU_TIMEOUT)
    except (OSError, GitchainError):
        return ()
    if done.code != 0:
        return ()
    lines = done.stdout.decode("utf-8", "replace").splitlines()[:64]
    return tuple(line.strip()[:100] for line in lines if line.strip())


def _container(variables: Mapping[str, str]) -> str | None:
    if "KUBERNETES_SERVICE_HOST" in variables:
        return "kubernetes"
    return next((name for path, name in _CONTAINERS if os.path.exists(path)), None)


def _ci(variables: Mapping[str, str]) -> dict[str, Json] | None:
    for mark, (provider, names) in _CI.items():
        if not variables.get(mark):
            continue
        values = [variables.get(name, "") for name in names]
        if provider == "github":
            values = ["{}/{}/actions/runs/{}/attempts/{}".format(*values)] if all(values) else []
        url = public_url(values[0]) if values else None
        return {"provider": provider, "run": url} if url else {"provider": provider}
    return None

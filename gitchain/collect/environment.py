"""The environment of a step, by an allow-list: interpreters with their packages, system, hardware, container and CI run.

Never the variables themselves: only the few that CI systems document, and addresses without credentials.
A statement of what was there, not a proof: only the signer vouches for it.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from gitchain.collect.interpreter_facts import SeenInterpreter, describe_interpreters
from gitchain.collect.remotes import public_url
from gitchain.errors import GitchainError
from gitchain.evidence.canonical import Json
from gitchain.platform.processes import find_program, run

GPU_TIMEOUT = 2.0
"""Seconds to wait for nvidia-smi: it takes under one, and hangs when a driver is broken."""

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


def environment(
    interpreters: Sequence[SeenInterpreter] | None = None, variables: Mapping[str, str] | None = None
) -> dict[str, Json]:
    """Return the environment of a command as JSON.

    `interpreters` are those that ran under it, None if nothing was watched; `variables` are the process's own unless
    given.
    """
    known = os.environ if variables is None else variables
    found: dict[str, Json] = {
        "os": {"system": platform.system(), "release": platform.release(), "machine": platform.machine()},
        "cpus": os.cpu_count() or 0,
    }
    if interpreters is not None:
        found["interpreters"] = describe_interpreters(interpreters)
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

"""The documented steps for a deployment log that a key signs, word for word: its rows count where the key is named."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

from gitchain.admit.run import deployment_log
from gitchain.admit.settings import Deployments
from gitchain.errors import ExitCode
from gitchain.evidence.deployment import DeploymentVerdict
from gitchain.evidence.digest import Sha256
from gitchain.instance import Instance
from gitchain.produce.deployment_statements import DeploymentEvent
from gitchain.workspace.user_directory import local_directory
from tests.support.prepared_repository import git

Gitchain = Callable[..., Any]
PAGE = Path(__file__).parents[2] / "docs/deployments.md"
MODEL = Sha256("ab" * 32)


def documented(heading: str) -> list[list[str]]:
    """Return the commands of the first console block below a heading of the page."""
    text = PAGE.read_text().partition(f"## {heading}\n")[2]
    block = re.search(r"```console\n(.*?)```", text, re.DOTALL)
    assert block
    return [shlex.split(line.removeprefix("$ ")) for line in block[1].splitlines()]


@pytest.fixture
def at(gitchain: Gitchain, place: Path) -> Gitchain:
    """Return gitchain in that directory: -C is for one call."""
    return partial(gitchain, cwd=place)


@pytest.fixture
def place(gitchain: Gitchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with a trust, a bare repository for the log, and the documented pair of keys."""
    monkeypatch.chdir(tmp_path)
    Instance.create(local_directory())
    Path("trust.json").write_text(gitchain("trust", "export", "--trust", "local").out)
    git(tmp_path, "init", "-q", "--bare", "log.git")
    for command in documented("Signed with a key")[:2]:
        assert command[0] == "openssl"
        subprocess.run(command, check=True, capture_output=True)
    return tmp_path


def sign(
    key: str | None = "admission.pem",
    identity: str | None = None,
    workload: str = "Deployment/credit",
    kind: Literal["deployed", "checked"] = "deployed",
    **more: Any,
) -> None:
    """Write one statement as `gitchain serve` does."""
    log = deployment_log(
        Deployments(
            repository=Path("log.git").absolute(),
            trust="local",
            environment="production",
            cluster="eu-1",
            key=key,
            identity=identity,
        )
    )
    log.admitted(
        DeploymentEvent(
            kind,
            MODEL,
            by="ada",
            when=datetime.now(UTC),
            environment="production",
            workload=workload,
            **more,
        )
    )
    assert log.close(60)


def test_the_documented_command_shows_the_log(at: Gitchain, place: Path) -> None:
    sign()
    command = documented("Signed with a key")[2]
    done = at(*command[1:])
    assert done.code == 0, done.text
    assert "to production / Deployment/credit, by ada" in done.out
    assert "not counted" not in done.text
    one = at(*command[1:], "--json").json["events"][0]
    assert one["issuer"] == "gitchain:key"
    shown = at("-C", "log.git", "--trust", "../trust.json", "show", one["id"], "--key", "../admission.pub")
    assert (shown.code, "verified  signed by" in shown.out) == (0, True)


def test_log_shows_checks_of_what_runs(at: Gitchain, place: Path) -> None:
    """Result, codes, layout and place, as text and under `check` of the JSON document."""
    for result, codes in (("FAILED", ("GC-E0342", "GC-E0201")), ("PASSED", ())):
        sign(kind="checked", verdict=DeploymentVerdict(result, "credit", 3, "cd" * 32), codes=codes)  # type: ignore[arg-type]
    command = documented("Signed with a key")[2]
    done = at(*command[1:])
    assert "deployment-check" in done.out
    for text in (
        "not acceptable in production / Deployment/credit: GC-E0342 GC-E0201 under layout credit@3",
        "acceptable again in production / Deployment/credit under layout credit@3",
    ):
        assert text in done.out, done.text
    first, second = at(*command[1:], "--json").json["events"]
    assert {key: value for key, value in first["check"].items() if key != "checkedOn"} == {
        "environment": "production", "workload": "Deployment/credit", "result": "FAILED", "layout": "credit@3",
        "codes": "GC-E0342 GC-E0201",
    }  # fmt: skip
    assert second["check"]["result"] == "PASSED"


def test_without_the_key_the_reason_is_told(at: Gitchain, place: Path) -> None:
    """Nothing counts, and the error says why; `show` says that it is not verified."""
    sign()
    done = at("-C", "log.git", "--trust", "../trust.json", "log")
    assert (done.code, "1 that do not count" in done.err, "--key" in done.err) == (
        ExitCode.NOTHING,
        True,
        True,
    )
    sign(key=None, identity="admission@example.com")
    done = at("-C", "log.git", "--trust", "../trust.json", "log")
    assert (done.code, done.out.count("to production"), done.err.count("not counted")) == (0, 1, 1)
    assert "--key" in done.err
    assert "attestations)" not in done.err


def test_log_says_a_reason_once_for_all_that_have_it(at: Gitchain, place: Path) -> None:
    """Thousands of forged attestations of one step are one line, and --json has each."""
    for _ in range(3):
        sign()
    sign(key=None, identity="admission@example.com")
    done = at("-C", "log.git", "--trust", "../trust.json", "log")
    assert (done.code, done.err.count("not counted"), done.err.count("(3 attestations)")) == (0, 1, 1)


def test_another_key_does_not_count(at: Gitchain, place: Path) -> None:
    sign()
    for command in documented("Signed with a key")[:2]:
        subprocess.run(
            [one.replace("admission", "other") for one in command], check=True, capture_output=True
        )
    command = ["-C", "log.git", "--trust", "../trust.json", "log", "--key"]
    assert at(*command, "../other.pub").code == ExitCode.NOTHING
    assert at(*command, "../other.pub", "--key", "../admission.pub").code == 0
    for bad in ("../admission.pem", "../log.git", "nowhere.pub"):
        done = at(*command, bad)
        assert (done.code, done.err.count("error:")) in {(ExitCode.USAGE, 1), (ExitCode.FAILED, 1)}, done.text


def test_after_a_change_of_keys_both_are_named(at: Gitchain, place: Path) -> None:
    sign(workload="Deployment/first")
    for name in ("admission.pem", "admission.pub"):
        Path(name).rename(name.replace("admission", "old"))
    for command in documented("Signed with a key")[:2]:
        subprocess.run(command, check=True, capture_output=True)
    sign(workload="Deployment/second")
    done = at(
        "-C", "log.git", "--trust", "../trust.json", "log", "--key", "../old.pub", "--key", "../admission.pub"
    )
    assert ("Deployment/first" in done.out, "Deployment/second" in done.out) == (True, True)


def test_the_monitor_knows_what_the_key_signed(at: Gitchain, place: Path) -> None:
    """Its own rows are no alarm with the key named; what the key signed elsewhere is one."""
    sign()
    command = ["-C", "log.git", "monitor", "--trust", "local", "--json"]
    done = at(*command, "--key", "../admission.pub")
    assert (done.code, done.json["alerts"]) == (0, []), done.text
    git(place, "-C", "log.git", "update-ref", "-d", "refs/gitchain/attestations")
    sign(workload="Deployment/second")
    git(place, "-C", "log.git", "update-ref", "-d", "refs/gitchain/attestations")
    done = at(*command, "--key", "../admission.pub")
    assert [one["code"] for one in done.json["alerts"]] == ["GC-M04"]


def test_a_key_that_the_layout_names_counts_by_itself(
    gitchain: Gitchain, git_repo: Path, tmp_path: Path
) -> None:
    """`show` and `monitor` know the layout's keys, as `log` and `verify` do."""
    for command in documented("Signed with a key")[:2]:
        subprocess.run(command, check=True, capture_output=True, cwd=git_repo)
    assert gitchain("init", "--local", "--name", "demo", "--no-hooks", cwd=git_repo).code == 0
    pem = "".join(f"        {line}\n" for line in (git_repo / "admission.pub").read_text().splitlines())
    (git_repo / ".gitchain/layout.yaml").write_text(
        "schema: https://gitchain.dev/layout/v1\nname: demo\nversion: 1\nexpires: '2099-01-01T00:00:00Z'\n"
        f"functionaries:\n  trainer:\n    identities:\n    - key: |\n{pem}"
        "steps:\n  - name: train\n    functionaries: [trainer]\n"
        "    expectedMaterials: [[ALLOW, 'git:*'], [DISALLOW, '*']]\n    expectedProducts: [[CREATE, model.bin], [DISALLOW, '*']]\n"
        "serve: [{step: train, products: [model.bin]}]\n"
    )
    assert gitchain("layout", "sign", cwd=git_repo).code == 0
    (git_repo / "model.bin").write_text("weights")
    done = gitchain("attest", "train", "-p", "model.bin", "--key", "admission.pem", "--json", cwd=git_repo)
    assert done.code == 0, done.text
    assert gitchain("show", done.json["attested"][0]["id"], cwd=git_repo).code == 0
    done = gitchain("monitor", "--json", cwd=git_repo)
    assert (done.code, done.json["alerts"]) == (0, []), done.text

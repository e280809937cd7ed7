"""The CI components: their own shell steps, run for real on a clone of a remote, with the embedded instance."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from tests.support.preloaded import programs
from tests.support.prepared_repository import GIT_IDENTITY, git, repoint

ROOT = Path(__file__).parents[2]
CI = ROOT / "deploy/ci"
ACTION = yaml.safe_load((CI / "action.yml").read_text(encoding="utf-8"))
COMPONENT = [*yaml.safe_load_all((CI / "gitlab/gitchain.yml").read_text(encoding="utf-8"))]
BIN = Path(sys.executable).parent
LAYOUT = """\
schema: https://gitchain.dev/layout/v1
name: tiny
version: 1
expires: '2099-01-01T00:00:00Z'
functionaries: {ada: {identities: [{issuer: 'ISSUER', subject: ada@example.com}]}}
steps:
  - name: train
    functionaries: [ada]
    expectedMaterials: [[ALLOW, in.txt], [ALLOW, 'git:*'], [DISALLOW, '*']]
    expectedProducts: [[CREATE, model.txt], [DISALLOW, '*']]
serve: [{step: train, products: [model.txt]}]
"""


WORKFLOW = """\
name: model
on: {push: {tags: ['v*']}}
permissions: {contents: write, id-token: write}
jobs:
  release:
    runs-on: ubuntu-24.04
    steps:
      - uses: ./deploy/ci
        with: {do: DO, targets: model.bin}
"""


def gitchain(cwd: Path, *args: str) -> str:
    done = subprocess.run(
        [programs() / "gitchain", *args], cwd=cwd, check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.fixture(scope="session")
def cloned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the parent of `clone`, `remote.git` and `home`, made once; tests work on copies of them.

    `clone` is what CI checks out: a shallow clone of a remote whose project has one stage, not attested yet.
    """
    top = tmp_path_factory.mktemp("cloned")
    repo, clone = top / "repo", top / "clone"
    repo.mkdir()
    with as_user_of(top):
        git(repo, "init", "-q")
        gitchain(repo, "init", "--local", "--name", "tiny", "--no-hooks")
        issuer = re.search(r'"issuer": "(.+?)"', gitchain(repo, "local", "status", "--json"))
        assert issuer
        (repo / ".gitchain/layout.yaml").write_text(LAYOUT.replace("ISSUER", issuer[1]))
        gitchain(repo, "layout", "sign")
        (repo / "in.txt").write_text("in")
        (repo / "model.txt").write_text("model")
        git(repo, "add", "-A")
        git(repo, "commit", "-q", "-m", "model")
        git(top, "clone", "-q", "--bare", str(repo), str(top / "remote.git"))
        git(top, "clone", "-q", "--depth", "1", f"file://{top / 'remote.git'}", str(clone))
        gitchain(clone, "attest", "train", "-m", "in.txt", "-p", "model.txt", "--dry-run")
    return top


@pytest.fixture(scope="session")
def attested_template(cloned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the same after another job attested the step and pushed that."""
    top = tmp_path_factory.mktemp("attested")
    clone = copied(cloned, top)
    with as_user_of(top):
        gitchain(clone, "attest", "train", "-m", "in.txt", "-p", "model.txt")
        gitchain(clone, "sync", "origin")
    for ref in (
        "refs/gitchain/attestations",
        "refs/gitchain-remotes/origin/attestations",
        "refs/gitchain-seen/attestations",
    ):
        git(clone, "update-ref", "-d", ref)
    return top


@contextlib.contextmanager
def as_user_of(top: Path) -> Iterator[None]:
    """Set the environment of a user whose home directory is `top/home`."""
    home = top / "home"
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {
            **GIT_IDENTITY,
            "HOME": str(home),
            "GITCHAIN_HOME": str(home / "gitchain"),
        }.items():
            patch.setenv(key, value)
        yield


def copied(template: Path, top: Path) -> Path:
    """Copy the clone, its remote and its user's home directory into `top`; return the copy of the clone."""
    for name in ("clone", "remote.git", "home"):
        shutil.copytree(template / name, top / name, symlinks=True, dirs_exist_ok=True)
    git(top / "clone", "remote", "set-url", "origin", f"file://{top / 'remote.git'}")
    repoint(top / "home/gitchain", template / "clone", top / "clone")
    return top / "clone"


@pytest.fixture
def clone(cloned: Path, isolated: Path, tmp_path: Path) -> Path:
    """Return what CI checks out."""
    return copied(cloned, tmp_path)


@pytest.fixture
def attested(attested_template: Path, isolated: Path, tmp_path: Path) -> Path:
    """Return the clone after another job attested the step and pushed that."""
    return copied(attested_template, tmp_path)


def act(clone: Path, inputs: Mapping[str, str], *, skip: str = "Install gitchain") -> tuple[int, str]:
    """Do what a runner does with the composite action's steps; return the code of the one that failed, or 0."""
    given = {**{name: one.get("default", "") for name, one in ACTION["inputs"].items()}, **inputs}
    said = ""
    for step in ACTION["runs"]["steps"]:
        if step["name"] == skip or not runs(step.get("if"), given["do"]):
            continue
        env = {
            key: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: given[found[1]], value)
            for key, value in step.get("env", {}).items()
        }
        done = subprocess.run(
            ["sh", "-e", "-c", step["run"]],
            cwd=clone,
            env=os.environ
            | env
            | {
                "GITHUB_ACTION_PATH": str(CI),
                "GITHUB_STEP_SUMMARY": str(clone.parent / "summary.md"),
                "GITCHAIN_VENV": str(programs().parent),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        said += done.stdout + done.stderr
        if done.returncode:
            return done.returncode, said
    return 0, said


def runs(condition: str | None, do: str) -> bool:
    """Evaluate the conditions that the action uses: comparisons of the input `do`."""
    if condition is None:
        return True
    terms = re.findall(r"inputs\.do (==|!=) '(\w+)'", condition)
    assert " && ".join(f"inputs.do {sign} '{value}'" for sign, value in terms) == condition
    return all((do == value) == (sign == "==") for sign, value in terms)


def test_attest_pushes_what_verify_then_finds(clone: Path) -> None:
    """The attestation of a release reaches the remote: a step without options of its own."""
    (clone / "data.txt").write_text("data")
    git(clone, "add", "-A")
    code, said = act(clone, {"do": "attest", "identity": "ada@example.com"})
    assert code == 0, said
    assert "Traceback" not in said


def test_verify_passes_and_shows_the_chain(attested: Path) -> None:
    """A fresh checkout has no attestations: they are fetched, the verdict is the exit code, the page has the chain."""
    code, said = act(attested, {"do": "verify", "targets": "model.txt\n"})
    assert code == 0, said
    page = (attested.parent / "summary.md").read_text()
    assert "## ✅ PASSED: model.txt" in page
    assert "```mermaid" in page
    assert "This job is stateless" in page
    assert "No layout name is set" in page


def test_verify_names_the_layout(attested: Path) -> None:
    """Another layout than the named one is exit code 5, whatever the repository brings."""
    code, said = act(attested, {"do": "verify", "targets": "model.txt", "layout-name": "other"})
    assert code == 5, said
    code, said = act(attested, {"do": "verify", "targets": "model.txt", "layout-name": "tiny"})
    assert code == 0, said
    assert "No layout name is set" not in (attested.parent / "summary.md").read_text().rpartition("PASSED")[2]


def test_verify_needs_the_minimum_version_and_the_checkpoint(attested: Path) -> None:
    """Both reach the command, and then the job is not called stateless."""
    inputs = {"do": "verify", "targets": "model.txt", "layout-name": "tiny"}
    assert act(attested, {**inputs, "minimum-version": "2"})[0] == 5
    code, said = act(attested, {**inputs, "minimum-version": "1", "checkpoint": "0" * 64})
    assert code == 4, said
    assert "warning: This job is stateless" not in said


def test_verify_remembers_in_the_state_directory(
    attested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a state directory the second job knows what the first one saw: a store that lost it is exit code 4."""
    trust = tmp_path / "trust.json"
    trust.write_text(gitchain(attested, "trust", "export"))
    issuer = re.search(r'"issuer": "(.+?)"', gitchain(attested, "local", "status", "--json"))
    assert issuer
    inputs = {
        "do": "verify",
        "targets": "model.txt",
        "layout-name": "tiny",
        "trust": str(trust),
        "signer": "ada@example.com",
        "issuer": issuer[1],
        "state": str(tmp_path / "state"),
    }
    monkeypatch.delenv("GITCHAIN_HOME")
    code, said = act(attested, inputs)
    assert code == 0, said
    assert "The state of earlier jobs is empty" in said
    code, said = act(attested, inputs)
    assert (code, "warning" in said) == (0, False), said
    empty = subprocess.run(
        ["git", "hash-object", "-t", "tree", "-w", "/dev/null"],
        cwd=attested,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    commit = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com", "commit-tree", "-m", "x", empty]
    made = subprocess.run(commit, cwd=attested, check=True, capture_output=True, text=True).stdout.strip()
    ref = "refs/gitchain/attestations"
    subprocess.run(["git", "push", "-q", "-f", "origin", f"{made}:{ref}"], cwd=attested, check=True)
    subprocess.run(["git", "update-ref", "-d", ref], cwd=attested, check=True)
    code, said = act(attested, inputs)
    assert code in {1, 4}, said


@pytest.mark.parametrize("brought", ["tracked", "link", "summary"])
def test_verify_takes_no_state_that_the_repository_brings(
    attested: Path, tmp_path: Path, brought: str
) -> None:
    """GitLab caches below the checkout alone: who commits that directory would choose the trusted root and the pins."""
    place = attested / (".gitchain-state" if brought != "summary" else "summary.md")
    if brought == "tracked":
        place.mkdir()
        (place / "pins.json").write_text("{}")
    else:
        place.symlink_to(tmp_path / "elsewhere")
    git(attested, "add", "-f", place.name)
    done = subprocess.run(
        ["sh", str(CI / "gitchain-ci.sh"), "verify"],
        check=False,
        cwd=attested,
        env={
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "GITCHAIN_VENV": str(programs().parent),
            "GITCHAIN_TARGETS": "model.txt",
            "GITCHAIN_SUMMARY" if brought == "summary" else "GITCHAIN_STATE": str(place),
        },
        capture_output=True,
        text=True,
    )
    assert (done.returncode, "the repository holds" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "elsewhere").exists()


def test_verify_fails_with_gitchain_s_own_code(attested: Path) -> None:
    """A changed model is exit code 1 or 3 of the job, never 0 nor a code of the shell's."""
    (attested / "model.txt").write_text("other")
    code, said = act(attested, {"do": "verify", "targets": "model.txt"})
    assert code in {1, 3}, said
    assert "⛔ FAILED" in (attested.parent / "summary.md").read_text()


def test_inputs_are_data(attested: Path, tmp_path: Path) -> None:
    """Whatever an input holds, it runs nothing and is one argument a line."""
    mark = tmp_path / "mark"
    for evil in (f"$(touch {mark})", f"`touch {mark}`", f"x; touch {mark}", "*", f"' ; touch {mark} #"):
        code, said = act(attested, {"do": "verify", "targets": evil, "layout": evil})
        assert code not in {0, 126, 127}, (evil, said)
    assert not mark.exists()
    code, _ = act(attested, {"do": "verify", "targets": "model.txt\nmissing file with spaces"})
    assert code != 0
    assert "missing file with spaces" in (tmp_path / "summary.md").read_text()


def test_what_is_neither_is_refused(clone: Path) -> None:
    assert act(clone, {"do": "bless"})[0] == 2


def test_nothing_unpinned_is_used() -> None:
    """No other action, no package without a digest, no input inside of a script."""
    for step in ACTION["runs"]["steps"]:
        assert "uses" not in step
        assert "${{" not in step["run"]
    script = (CI / "gitchain-ci.sh").read_text()
    installs = [line for line in script.splitlines() if "pip install" in line]
    assert [("--require-hashes" in line, "--no-index" in line) for line in installs] == [
        (True, False),
        (True, False),
        (False, True),
    ]
    assert "--no-deps --no-build-isolation" in script
    assert "curl" not in script
    assert "wget" not in script


def test_the_component_asks_for_what_signing_needs() -> None:
    """GitLab's token has the audience sigstore, the commit is a whole digest, one script runs, its page is kept."""
    spec, jobs = COMPONENT
    assert spec["spec"]["inputs"]["commit"]["regex"] == "^[0-9a-f]{40}$"
    (job,) = jobs.values()
    assert job["id_tokens"] == {"SIGSTORE_ID_TOKEN": {"aud": "sigstore"}}
    assert job["script"] == ['sh /tmp/gitchain/deploy/ci/gitchain-ci.sh "$[[ inputs.do ]]"']
    assert job["artifacts"] == {"when": "always", "paths": ["gitchain-summary.md"]}
    assert job["cache"]["key"].endswith("-$CI_COMMIT_REF_SLUG")
    told = {
        name.removeprefix("GITCHAIN_").lower() for name in job["variables"] if name.startswith("GITCHAIN_")
    }
    assert {"steps", "targets", "layout", "signer", "issuer", "trust"} <= told & set(spec["spec"]["inputs"])


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_the_script_is_clean() -> None:
    done = subprocess.run(["shellcheck", CI / "gitchain-ci.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_install_gives_a_working_gitchain(tmp_path: Path) -> None:
    """The locked packages and the source are all that the command line needs."""
    source = tmp_path / "source"
    subprocess.run(["git", "clone", "-q", ROOT, source], check=True)
    done = subprocess.run(
        ["sh", CI / "gitchain-ci.sh", "install"],
        env=os.environ
        | {
            "GITCHAIN_VENV": str(tmp_path / "venv"),
            "GITCHAIN_SOURCE": str(source),
            "GITHUB_PATH": str(tmp_path / "path"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and re.search(
        "ConnectionError|NewConnectionError|Network is unreachable", done.stderr
    ):
        pytest.skip("the package index cannot be reached: the components' install step is NOT TESTED")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("gitchain")
    assert (tmp_path / "path").read_text() == f"{tmp_path / 'venv'}/bin\n"
    asked = subprocess.run(
        [tmp_path / "venv/bin/gitchain", "doctor"], cwd=source, capture_output=True, check=False
    )
    assert b"Traceback" not in asked.stderr


@pytest.mark.parametrize("do", ["attest", "verify"])
def test_actionlint_finds_nothing(do: str, actionlint: Path, git_repo: Path) -> None:
    """A workflow that uses the action is what GitHub takes, and the action's own inputs are checked against it."""
    shutil.copytree(CI, git_repo / "deploy/ci")
    place = git_repo / ".github/workflows/model.yml"
    place.parent.mkdir(parents=True)
    place.write_text(WORKFLOW.replace("DO", do), encoding="utf-8")
    linted = subprocess.run(
        [actionlint, "-color=false"], cwd=git_repo, capture_output=True, text=True, check=False
    )
    assert linted.returncode == 0, linted.stdout
    place.write_text(WORKFLOW.replace("DO", do).replace("targets:", "target:"), encoding="utf-8")
    wrong = subprocess.run(
        [actionlint, "-color=false"], cwd=git_repo, capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 1
    assert 'input "target" is not defined' in wrong.stdout

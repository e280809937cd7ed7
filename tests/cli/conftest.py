"""How the tests call the command line: as a process where it matters, in this process where speed does."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.faulty_server import FaultServer
from tests.support.preloaded import programs
from tests.support.prepared_repository import (
    GIT_IDENTITY,
    PreparedRepository,
    git,
    prepare_repository,
    repoint,
)
from tests.support.private_sigstore import QUICK, Site


@dataclass(frozen=True)
class Done:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def text(self) -> str:
        return self.out + self.err


Gitchain = Callable[..., Done]


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Go back to the current directory at the end, if there is one: -C changes that of the process."""
    try:
        before = Path.cwd()
    except FileNotFoundError:
        yield
        return
    try:
        yield
    finally:
        os.chdir(before)


@pytest.fixture
def gitchain(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Gitchain:
    """Return a function that runs `gitchain ARGS` in this process, in directory `cwd`."""
    from gitchain.cli.main import run

    def call(*args: str, cwd: Path | None = None) -> Done:
        with contextlib.chdir(cwd) if cwd else restored():
            code = run(args)
        out, err = capfd.readouterr()
        return Done(int(code), out, err)

    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return call


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Gitchain:
    """Return a function that runs `gitchain ARGS` as a process of its own; the installed one under limits or with descriptors."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

    def call(*args: str, cwd: Path | None = None, **kwargs: Any) -> Done:
        installed = [sys.executable, "-m", "gitchain"]
        done = subprocess.run(
            [
                *(
                    installed
                    if {"preexec_fn", "pass_fds"} & kwargs.keys()
                    else [str(programs() / "gitchain")]
                ),
                *args,
            ],
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            **kwargs,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> PreparedRepository:
    """Return a set-up repository, made once; tests work on copies of it."""
    from gitchain.cli.main import run

    top = tmp_path_factory.mktemp("world")

    def call(cwd: Path, command: tuple[str, ...]) -> int:
        before = Path.cwd()
        os.chdir(cwd)
        try:
            return int(run(("-q", *command)))
        finally:
            os.chdir(before)

    with pytest.MonkeyPatch.context() as patch:
        for key, value in {**GIT_IDENTITY, "HOME": str(top), "GITCHAIN_HOME": str(top / "home")}.items():
            patch.setenv(key, value)
        return prepare_repository(top / "repo", top / "home", call)


@pytest.fixture
def world(template: PreparedRepository, isolated: Path, tmp_path: Path) -> PreparedRepository:
    """Return a copy of the set-up repository and its user directory, to spoil."""
    shutil.copytree(template.repo, tmp_path / "project", symlinks=True)
    shutil.copytree(template.home, isolated, symlinks=True)
    repoint(isolated, template.repo, tmp_path / "project")
    return PreparedRepository(tmp_path / "project", isolated)


@pytest.fixture(scope="session")
def tiny_template(tmp_path_factory: pytest.TempPathFactory) -> PreparedRepository:
    """Return the repository of `tiny`, made once; tests work on copies of it."""
    from gitchain.cli.main import run
    from gitchain.trust.load_profile import load_profile

    top = tmp_path_factory.mktemp("tiny")
    repo, home = top / "repo", top / "home"
    repo.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for key, value in {**GIT_IDENTITY, "HOME": str(top), "GITCHAIN_HOME": str(home)}.items():
            patch.setenv(key, value)
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        (repo / "README.md").write_text("a repository\n", encoding="utf-8")
        for command in (("init", "-q"), ("add", "README.md"), ("commit", "-q", "-m", "first")):
            git(repo, *command)
        with contextlib.chdir(repo):
            assert run(("-q", "init", "--local", "--name", "tiny")) == 0
            instance = load_profile("local").instance
            assert instance is not None
            write_tiny(repo, instance.issuer)
            assert run(("-q", "layout", "sign")) == 0
    return PreparedRepository(repo, home)


def write_tiny(repo: Path, issuer: str) -> None:
    """Write the files and the layout of `tiny`."""
    (repo / "in.txt").write_text("in")
    (repo / "model.txt").write_text("model")
    (repo / ".gitchain/layout.yaml").write_text(
        "schema: https://gitchain.dev/layout/v1\nname: tiny\nversion: 1\nexpires: '2099-01-01T00:00:00Z'\n"
        f"functionaries: {{ada: {{identities: [{{issuer: '{issuer}', subject: ada@example.com}}]}}}}\n"
        "steps:\n  - name: train\n    functionaries: [ada]\n"
        "    expectedMaterials: [[ALLOW, in.txt], [ALLOW, 'git:*'], [DISALLOW, '*']]\n"
        "    expectedProducts: [[CREATE, model.txt], [DISALLOW, '*']]\n"
        "serve: [{step: train, products: [model.txt]}]\n"
    )


@pytest.fixture
def tiny(tiny_template: PreparedRepository, gitchain: Gitchain, git_repo: Path, isolated: Path) -> Path:
    """Return a repository that is set up, with a model and a signed layout of one step."""
    shutil.rmtree(git_repo)
    shutil.copytree(tiny_template.repo, git_repo, symlinks=True)
    shutil.copytree(tiny_template.home, isolated, symlinks=True, dirs_exist_ok=True)
    repoint(isolated, tiny_template.repo, git_repo)
    return git_repo


@pytest.fixture
def site(
    git_repo: Path, tmp_path: Path, gitchain: Gitchain, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """Set a repository up for an instance that is served on a free port, and be quick about failures."""
    from gitchain.instance import Instance
    from gitchain.sign import http

    monkeypatch.setattr(http, "USUAL", QUICK)
    with FaultServer(Instance.create(tmp_path / "private")) as server:
        trust = tmp_path / "trust.json"
        trust.write_text(server.instance.trust_config(server.url))
        done = gitchain("--trust", str(trust), "init", "--no-hooks", "--name", "demo", cwd=git_repo)
        assert done.code == 0, done.text
        yield Site(git_repo, server, git_repo / ".gitchain" / "trust.json", gitchain)

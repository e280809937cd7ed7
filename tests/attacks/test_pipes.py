"""A named pipe where a file is expected never stalls a command: it is refused, or is not read at all."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from gitchain.errors import ExitCode
from gitchain.platform.files import check_repository_files
from tests.support.command_line import Done, call
from tests.support.prepared_repository import PreparedRepository

SECONDS = 60


@contextmanager
def deadline() -> Iterator[None]:
    def late(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError("a command waited for a pipe")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def pipe(path: Path) -> Path:
    """Put a named pipe in the place of a file."""
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(path)
    return path


def ended(*command: str, cwd: Path) -> Done:
    check_repository_files.cache_clear()
    with deadline():
        done = call(*command, cwd=cwd)
    assert done.code != ExitCode.BUG, done.text
    return done


READERS = {
    ".gitchain/layout.sigstore.json": ("verify model.bin", "layout show", "doctor", "guard model.bin -- true"),
    ".gitchain/layout.yaml": ("layout lint", "layout sign", "verify model.bin"),
    ".gitchain/config.toml": ("attest", "doctor", "sync", "log"),
    "dvc.lock": ("attest", "doctor", "verify model.bin"),
    "dvc.yaml": ("attest", "layout draft --issuer https://x.example --subject y"),
    ".dvc/config": ("attest", "layout draft --issuer https://x.example --subject y"),
    ".dvc/config.local": ("verify", "layout draft --issuer https://x.example --subject y"),
    ".dvcignore": ("attest", "layout draft --issuer https://x.example --subject y"),
    ".gitattributes": ("verify model.bin", "attest", "sync"),
    "model.bin": ("verify model.bin", "attest", "guard model.bin -- true", "fetch model.bin out"),
    "x.sigstore.json": (
        "verify x.sigstore.json", "verify model.bin --layout x.sigstore.json", "--trust x.sigstore.json verify model.bin",
        "verify model.bin --checkpoint x.sigstore.json", "verify model.bin --witnesses x.sigstore.json",
        "verify model.bin --evidence x.sigstore.json", "bundle verify model.bin --bundle x.sigstore.json --key x.sigstore.json",
        "attest s -p data/raw.csv --key x.sigstore.json", "layout lint x.sigstore.json",
        "attest -m model.bin --type https://x.example/t --predicate x.sigstore.json",
    ),
    ".git/refs/gitchain/attestations": ("verify model.bin", "log", "sync", "doctor", "hooks status"),
    ".git/HEAD": ("verify model.bin", "doctor"),
    ".git/gitchain/queue": ("doctor", "sync"),
}  # fmt: skip
MUST_FAIL = {name for name in READERS if name.startswith(".git/")} | {"model.bin", "x.sigstore.json"}


@pytest.mark.parametrize("name", READERS)
def test_pipe_in_the_place_of_a_file_stalls_no_command(project: PreparedRepository, name: str) -> None:
    pipe(project.repo / name)
    for command in READERS[name]:
        done = ended(*command.split(), cwd=project.repo)
        if name in MUST_FAIL and "doctor" not in command:
            assert done.code != ExitCode.OK, (command, done.text)
    if name == ".gitchain/layout.sigstore.json":
        done = ended("verify", "model.bin", cwd=project.repo)
        assert done.code == ExitCode.LAYOUT
        assert "not a regular file" in done.err


OWN = {
    "pins.json": "cannot read the pins",
    "pins.lock": "cannot take a lock",
    "seen/*.json": "cannot read the last seen state of the store",
    "told.json": "",
}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("kind", ["pipe", "huge"])
def test_pipe_or_huge_file_in_the_users_own_directory_is_refused(
    project: PreparedRepository, name: str, kind: str
) -> None:
    """A backup that was restored badly, a full disk, another program: an error, and no wait or gigabyte."""
    assert ended("verify", "model.bin", cwd=project.repo).code == ExitCode.OK
    for place in [*project.home.glob(name)] or [project.home / name]:
        if kind == "pipe":
            pipe(place)
        else:
            with place.open("wb") as file:
                file.truncate(1 << 40)
    done = ended("verify", "model.bin", cwd=project.repo)
    if OWN[name] and (name != "pins.lock" or kind == "pipe"):
        assert OWN[name] in done.text
    assert "Traceback" not in done.text


def test_pipe_in_the_place_of_dvcs_variables_stalls_no_command(project: PreparedRepository) -> None:
    pipe(project.repo / "values.yaml")
    project.write("dvc.yaml", "vars: [values.yaml]\n" + (project.repo / "dvc.yaml").read_text())
    done = ended("layout", "draft", "--issuer", "https://x.example", "--subject", "y", cwd=project.repo)
    assert done.code != ExitCode.OK
    assert "special file" in done.err


def test_pipe_in_the_docker_configuration_is_no_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gitchain.store.docker_credentials import stored_credentials

    pipe(tmp_path / "config.json")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    with deadline():
        assert stored_credentials("registry.example.com") is None

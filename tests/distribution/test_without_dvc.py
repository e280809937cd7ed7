"""gitchain-core: an environment without DVC verifies, guards, monitors and serves; where DVC is needed, one error says so."""

from __future__ import annotations

import http.client
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gitchain.collect import dvc_api
from gitchain.errors import UsageError
from gitchain.produce.doctor import examine
from tests.support.admission import Client, certificate, oci, pod, review, write_admission_files
from tests.support.installed_distributions import BIN, GIT_ENV, Installed

STAGES = """\
stages:
  train:
    cmd: python train.py
    deps: [data.csv, train.py]
    outs: [model]
artifacts:
  model: {path: model, type: model}
"""
TRAIN = "import os; os.mkdir('model'); open('model/weights', 'w').write(open('data.csv').read() * 2)\n"
MESSAGE = "this needs DVC, which is not installed beside gitchain"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a directory with a DVC project, run under gitchain by the environment of the tests, and the user's own."""
    top = tmp_path_factory.mktemp("made")
    repo = top / "repo"
    repo.mkdir()
    for name, text in (
        ("data.csv", "1,2\n"),
        ("train.py", TRAIN),
        ("dvc.yaml", STAGES),
        (".dvcignore", "*.tmp\n"),
    ):
        (repo / name).write_text(text)
    environment = {**os.environ, **GIT_ENV, "PATH": f"{Path(sys.executable).parent}:{BIN}"}
    environment |= {"HOME": str(top), "GITCHAIN_HOME": str(top / "gitchain")}
    for command in (
        ["git", "init", "-q"],
        ["git", "commit", "-q", "--allow-empty", "-m", "first"],
        ["dvc", "init", "-q"],
        ["gitchain", "init", "--local"],
        ["gitchain", "run", "--", "dvc", "repro", "-q"],
        ["gitchain", "layout", "sign"],
    ):
        subprocess.run(command, cwd=repo, env=environment, check=True, capture_output=True)
    return top


@pytest.fixture
def dvc_project(made: Path, tmp_path: Path, isolated: Path) -> Path:
    """Return a copy of that project; the user's own directory is copied as well."""
    shutil.copytree(made / "gitchain", isolated)
    return Path(shutil.copytree(made / "repo", tmp_path / "repo", symlinks=True))


def test_dvc_is_not_there(small: Installed, tmp_path: Path) -> None:
    """The environment is what it says: no DVC, none of the packages that come with it alone."""
    names = ["dvc", "dvc_data", "dvc_objects", "celery", "diskcache", "git", "hydra", "scmrepo"]
    code = f"import importlib.util as u; print([n for n in {names} if u.find_spec(n)])"
    assert small.ok("python", "-c", code, cwd=tmp_path) == "[]\n"
    assert not (small.bin / "dvc").exists()


def test_chain_made_with_dvc_verifies_without_it(small: Installed, dvc_project: Path, tmp_path: Path) -> None:
    """A directory that DVC made and tracks: verify, log and guard read the chain, and notice what changed."""
    assert "PASSED" in small.ok("gitchain", "verify", "model", cwd=dvc_project)
    assert "train" in small.ok("gitchain", "log", "model", cwd=dvc_project)
    small.ok("gitchain", "bundle", "push", str(tmp_path / "evidence"), cwd=dvc_project)
    layout = str(dvc_project / ".gitchain/layout.sigstore.json")
    shutil.copytree(dvc_project / "model", tmp_path / "model")
    guard = ("guard", "model", "--layout", layout, "--evidence", "evidence", "--", "cat", "{}/weights")
    assert small.ok("gitchain", *guard, cwd=tmp_path) == "1,2\n1,2\n"
    (tmp_path / "model" / "weights").write_text("another")
    assert small.run("gitchain", *guard, cwd=tmp_path).returncode == 125


def test_monitor_runs_without_dvc(small: Installed, dvc_project: Path) -> None:
    """The log of the embedded instance only grew."""
    small.ok("gitchain", "monitor", cwd=dvc_project)


@pytest.mark.parametrize("command", [("attest",), ("layout", "draft"), ("run", "--", "dvc", "repro")])
def test_one_error_where_dvc_is_needed(small: Installed, dvc_project: Path, command: tuple[str, ...]) -> None:
    """What reads stages of DVC fails with one sentence and what to type: no traceback, and no half-made statement."""
    done = small.run("gitchain", *command, cwd=dvc_project)
    assert done.returncode == (125 if command[0] == "run" else 2)
    assert done.stderr.count(MESSAGE) == 1
    assert "pip install 'dvc>=3.67,<4'" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_misses_no_dvc_that_is_not_needed(small: Installed, git_repo: Path) -> None:
    """Without a DVC project the missing program is no problem; with one it is."""
    for files, state in (((), "ok"), (("dvc.yaml",), "problem")):
        for name in files:
            (git_repo / name).write_text("stages: {}\n")
            (git_repo / ".dvc").mkdir()
        done = small.run("gitchain", "doctor", "--json", cwd=git_repo)
        (check,) = [one for one in json.loads(done.stdout)["checks"] if one["name"] == "dvc"]
        assert check["state"] == state


def test_doctor_finds_both_distributions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """gitchain and gitchain-core hold the same files: removing one breaks the other."""
    folder = tmp_path / "site" / "gitchain_core-0.1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.4\nName: gitchain-core\nVersion: 0.1.0\n")

    def found() -> list[str]:
        checks = examine(tmp_path, None, datetime.now(UTC))
        return [check.state for check in checks if check.name == "installation"]

    assert found() == ["ok"]
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    assert found() == ["problem"]


def test_serve_answers_without_dvc(small: Installed, tmp_path: Path) -> None:
    """The server of the container image: a model that has its chain is admitted, another is not."""
    world = write_admission_files(tmp_path)
    places = certificate(tmp_path)
    command = [
        str(small.bin / "gitchain"), "serve", "--settings", str(world.top / "serve.yaml"), "--listen", "127.0.0.1:0",
        "--certificate", str(places[0]), "--key", str(places[1]), "--probes", "127.0.0.1:0",
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        try:
            assert process.stderr is not None
            ports = [int(process.stderr.readline().rsplit(":", 1)[1]) for _ in range(2)]
            wait_until_ready(ports[1])
            client = Client(ports[0])
            for model, admitted in (("good", True), ("revoked", False)):
                status, answer = client.post("/validate", review(pod(oci(model))))
                assert (status, answer["response"]["allowed"]) == (200, admitted)
        finally:
            process.kill()


def wait_until_ready(port: int) -> None:
    probe = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for _ in range(600):
        probe.request("GET", "/readyz")
        answer = probe.getresponse()
        answer.read()
        if answer.status == 200:
            return
        time.sleep(0.05)
    pytest.fail("the server does not get ready")


def test_dvc_api_names_the_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each function that needs DVC raises UsageError, and nothing that looks like a broken project."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    for needs in (
        dvc_api.dvc_version,
        lambda: dvc_api.load_stages(tmp_path),
        lambda: dvc_api.artifacts(tmp_path),
        lambda: dvc_api.fetch_artifact(tmp_path, tmp_path / "x"),
        lambda: dvc_api.ignored(tmp_path, []),
    ):
        with pytest.raises(UsageError, match=MESSAGE) as caught:
            needs()
        assert caught.value.exit_code == 2

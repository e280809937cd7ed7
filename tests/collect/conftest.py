"""A real Git + DVC pipeline, made once and copied for each test."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from gitchain.collect import repro
from gitchain.collect.hash_cache import StateCache
from gitchain.collect.subprocess_tee import run_plain
from tests.support.dvc_projects import forked_dvc

GIT_ENV = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
    "DVC_NO_ANALYTICS": "1",
}

PREPARE = """
import os, pathlib
rows = pathlib.Path("raw.csv").read_text().split()
os.makedirs("data/prepared/deep", exist_ok=True)
pathlib.Path("data/prepared/train.csv").write_text("\\n".join(rows[:2]))
pathlib.Path("data/prepared/deep/test.csv").write_text("\\n".join(rows[2:]))
"""
TRAIN = """
import pathlib, sys
region = sys.argv[1]
text = pathlib.Path("../data/prepared/train.csv").read_text()
pathlib.Path(f"model {region}.bin").write_text(region + text + pathlib.Path("../params.yaml").read_text())
print("trained", region)
"""
DVC_YAML = """
vars:
- regions: [us, eu]
stages:
  prepare:
    cmd: python prepare.py
    deps:
    - prepare.py
    - raw.csv
    outs:
    - data/prepared
  train:
    foreach: ${regions}
    do:
      wdir: src
      cmd: |
        echo first ${item}
        python train.py ${item}
      deps:
      - train.py
      - ../data/prepared
      params:
      - ../params.yaml:
        - lr
      outs:
      - model ${item}.bin
artifacts:
  credit:
    path: src/model us.bin
"""
SUB_YAML = """
stages:
  evaluate:
    cmd: python -c "open('metrics.json','w').write('{\\"acc\\":'+str(len(open('../src/model us.bin').read()))+'}')"
    deps:
    - ../src/model us.bin
    metrics:
    - metrics.json:
        cache: false
"""


def tool(cwd: Path, *args: str, check: bool = True) -> str:
    done = subprocess.run(args, cwd=cwd, check=False, capture_output=True, text=True)
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="session")
def pipeline_template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make the project and run it once, under the environment that every test gets."""
    with pytest.MonkeyPatch.context() as patch:
        for key, value in GIT_ENV.items():
            patch.setenv(key, value)
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.mktemp("site")))
        root = tmp_path_factory.mktemp("template") / "p"
        (root / "src").mkdir(parents=True)
        (root / "sub").mkdir()
        tool(root, "git", "init", "-q")
        tool(root, "dvc", "init", "-q")
        files = {"prepare.py": PREPARE, "src/train.py": TRAIN, "dvc.yaml": DVC_YAML, "sub/dvc.yaml": SUB_YAML}
        for name, text in {**files, "raw.csv": "a b c d", "params.yaml": "lr: 1e-05\n"}.items():
            (root / name).write_text(text, encoding="utf-8")
        tool(root, "dvc", "add", "-q", "raw.csv")
        tool(root, "dvc", "repro", "-q", "-R", ".")
        tool(root, "git", "add", "-A")
        tool(root, "git", "commit", "-q", "-m", "pipeline")
        yield root


@pytest.fixture
def pipeline(pipeline_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the pipeline that has run, with a clean work tree."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    root = tmp_path / "p"
    shutil.copytree(pipeline_template, root, symlinks=True)
    return root


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateCache]:
    with StateCache(tmp_path / "gitchain" / "state.db") as cache:
        yield cache


@pytest.fixture
def dvc() -> Callable[..., str]:
    """Return a function that runs dvc in a directory."""
    return lambda cwd, *args, check=True: tool(cwd, "dvc", *args, check=check)


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `observe_dvc` run DVC in a fork of this process, which has imported it; other programs run as they are."""

    def run(argv: Sequence[str], **options: Any) -> tuple[int | None, datetime, datetime]:
        return (forked_dvc if argv[0] == "dvc" else run_plain)(argv, **options)

    monkeypatch.setattr(repro, "run_plain", run)

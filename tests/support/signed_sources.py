"""A repository whose layout asks for signed sources, and who signs there: with SSH, or with whatever Git is told."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from gitchain.evidence.vocabulary import SOURCE

Gitchain = Callable[..., Any]
SCHEMA = json.loads((Path(__file__).parents[2] / "schemas" / "verify.schema.json").read_text())
LAYOUT = """\
schema: https://gitchain.dev/layout/v1
name: signed
version: 1
expires: '2099-01-01T00:00:00Z'
functionaries:
  dev: {{identities: {identities}}}
  ada: {{identities: [{{issuer: '{issuer}', subject: ada@example.com}}]}}
steps:
  - name: source
    predicateType: {source}
    functionaries: [dev]
    expectedProducts: [[ALLOW, '*']]
  - name: train
    functionaries: [ada]
    expectedMaterials: [[MATCH, train.py, WITH, PRODUCTS, FROM, source], [ALLOW, 'git:*'], [DISALLOW, '*']]
    expectedProducts: [[CREATE, model.txt], [DISALLOW, '*']]
serve: [{{step: train, products: [model.txt]}}]
"""


@dataclass(frozen=True)
class Signed:
    """A repository whose layout asks for signed sources, and the settings of Git with which its developer and a stranger sign."""

    repo: Path
    dev: Sequence[str]
    stranger: Sequence[str]
    run: Gitchain

    def git(self, *arguments: str, key: Sequence[str] = (), code: int = 0) -> str:
        signing = [part for setting in key for part in ("-c", setting)]
        done = subprocess.run(
            ["git", *signing, *arguments], cwd=self.repo, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        return done.stdout.strip()

    def trailer(self, *revision: str) -> str:
        program = [sys.executable, "-m", "gitchain.cli.git_sign", "--trailer", *revision]
        done = subprocess.run(program, cwd=self.repo, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(self, *, key: Sequence[str], bound: bool = True) -> None:
        """Commit everything, with the line that binds its files; then attest the training and what is pinned."""
        self.git("add", "-A")
        more = ["--trailer", self.trailer()] if bound else []
        self.git("commit", "-q", *(["-S"] if key else []), "-m", "work", *more, key=key)

    def attest(self) -> None:
        assert self.run("attest", "train", "-m", "train.py", "-p", "model.txt", cwd=self.repo).code == 0
        done = self.run("sync", cwd=self.repo)
        assert done.code == 0, done.text

    def verify(self, target: str, code: int = 0) -> dict[str, Any]:
        done = self.run("verify", target, "--json", cwd=self.repo)
        assert done.code == code, done.text
        Draft202012Validator(SCHEMA).validate(done.json)
        found: dict[str, Any] = done.json
        return found


@dataclass(frozen=True)
class People:
    """How developer and stranger sign, and the developer's identities as a layout holds them."""

    dev: Sequence[str]
    stranger: Sequence[str]
    identities: Sequence[dict[str, str]]


def ssh_people(folder: Path) -> People:
    keys = [folder / name for name in ("dev", "stranger")]
    for key in keys:
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    dev, stranger = (["gpg.format=ssh", f"user.signingkey={key}.pub"] for key in keys)
    return People(dev, stranger, [{"ssh": " ".join((folder / "dev.pub").read_text().split()[:2])}])


def make(tmp_path: Path, gitchain: Gitchain, form: str, people: People | None = None) -> Signed:
    repo = tmp_path / "repo"
    repo.mkdir()
    who = people or ssh_people(tmp_path)
    found = Signed(repo, who.dev, who.stranger, gitchain)
    found.git("init", "-q", f"--object-format={form}")
    (repo / ".dvc").mkdir()
    (repo / ".dvc" / "config").write_text("")
    (repo / "model.txt").write_text("model")
    md5 = hashlib.md5(b"model").hexdigest()
    (repo / "model.txt.dvc").write_text(f"outs:\n- md5: {md5}\n  size: 5\n  hash: md5\n  path: model.txt\n")
    (repo / ".gitignore").write_text("/model.txt\n")
    (repo / "train.py").write_text("print('model')\n")
    assert gitchain("init", "--local", "--name", "signed", "--no-hooks", cwd=repo).code == 0
    issuer = gitchain("local", "status", "--json", cwd=repo).json["issuer"]
    layout = LAYOUT.format(identities=json.dumps(who.identities), issuer=issuer, source=SOURCE)
    (repo / ".gitchain/layout.yaml").write_text(layout)
    done = gitchain("layout", "sign", cwd=repo)
    assert done.code == 0, done.text
    return found


def codes(document: dict[str, Any]) -> set[str]:
    return {finding["code"] for finding in document["findings"] if finding["severity"] == "error"}


def stored(repo: Path, text: str) -> str:
    """Store a commit as it is, also one that Git would not write, and return its id."""
    done = subprocess.run(
        ["git", "hash-object", "-t", "commit", "-w", "--literally", "--stdin"],
        cwd=repo,
        input=text.encode(),
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().strip()

"""Completion of files, tags, commits, steps, ids, identities, layouts and trust profiles; hostile names stay out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from gitchain.cli.candidates import MAX_FILE_BYTES
from gitchain.cli.main import gitchain as program
from gitchain.cli.shells import _KINDS, MAX_ITEMS
from gitchain.workspace.user_directory import LayoutPin, write_pin
from tests.support.completion_terminal import COMPLETE, Terminal
from tests.support.preloaded import programs

HEAVY = {"sigstore", "dvc", "in_toto", "pygit2", "cryptography", "securesystemslib", "requests"}
MODULES = 30
"""Most modules of gitchain that one completion may load."""
ID = "4a" + "0" * 62
OTHER = "4b" + "1" * 62
LAYOUT = """\
name: credit
functionaries:
  ci: {identities: [{issuer: https://i.example, subject: ci@example.com}]}
steps: [{name: approve}, {name: "x;touch pwned"}, nothing, {}]
"""
STAGES = (
    'stages:\n  train: {cmd: a}\n  test: {cmd: a}\n  "t$(touch pwned)": {cmd: a}\n  "t\\e[31m": {cmd: a}\n'
)
HOSTILE = (
    "v1$(touch${IFS}pwned)",
    "v1`touch`",
    "v1;touch",
    "v1'a",
    "v1&touch",
    "v1|touch",
    "v1{a,b}",
    "v1,a",
    "-v1",
)
PROBE = """
import json, sys
from gitchain.cli.main import run
code = run([])
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


@pytest.fixture
def repo(git_repo: Path, git: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with a layout, stages, tags, a remote and a store, some of them with hostile names."""
    (git_repo / ".gitchain").mkdir()
    (git_repo / ".gitchain" / "layout.yaml").write_text(LAYOUT)
    (git_repo / "dvc.yaml").write_text(STAGES)
    for name in ("v1.pkl", "v1 b.pkl", "v1$(touch pwned)"):
        (git_repo / name).write_text("")
    head = git(git_repo, "rev-parse", "HEAD").strip()
    for name in ("v1.0", "v1.1", *HOSTILE):
        (git_repo / ".git" / "refs" / "tags" / name).write_text(f"{head}\n")
    git(git_repo, "remote", "add", "origin", "https://never.invalid/a.git")
    blob = git(git_repo, "rev-parse", "HEAD:README.md").strip()
    for digits in (ID, OTHER):
        path = f"att/{digits[:2]}/{digits[2:4]}/{digits[4:]}"
        git(git_repo, "update-index", "--add", "--cacheinfo", f"100644,{blob},{path}")
    tree = git(git_repo, "write-tree").strip()
    git(git_repo, "reset", "-q", "--mixed")
    git(
        git_repo,
        "update-ref",
        "refs/gitchain/attestations",
        git(git_repo, "commit-tree", tree, "-m", "x").strip(),
    )
    home = git_repo.parent / "home"
    home.mkdir(mode=0o700, exist_ok=True)
    monkeypatch.setenv("GITCHAIN_HOME", str(home))
    write_pin(LayoutPin("pinned", (("https://i.example", "a"),), "local", "0" * 64))
    git(git_repo, "config", "user.email", "ada@example.com")
    places = (str(programs()), str(Path(sys.executable).parent), os.environ["PATH"])
    monkeypatch.setenv("PATH", os.pathsep.join(places))
    return git_repo


def complete(repo: Path, line: str, shell: str = "bash") -> list[str]:
    """Return the candidates for a line with the cursor at its end, by click's protocol of a shell."""
    words = line.split(" ")
    environment = {
        "bash": {"COMP_LINE": line, "COMP_WORD": words[-1]},
        "zsh": {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        "fish": {"COMP_WORDS": line, "COMP_CWORD": words[-1]},
    }[shell]
    done = subprocess.run(
        ["gitchain"],
        cwd=repo,
        env={**os.environ, **environment, "_GITCHAIN_COMPLETE": f"{shell}_complete"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    rows = done.stdout.decode().split("\n")
    if shell == "zsh":
        return [name for kind, name in zip(rows[::3], rows[1::3], strict=False) if kind == "plain"]
    return [row.removeprefix("plain,").split("\t")[0] for row in rows if row.startswith("plain,")]


@pytest.mark.parametrize(
    ("line", "expected"),
    {
        "verify v": ["v1.0", "v1.1"],
        "diff v1.0 v": ["v1.0", "v1.1"],
        "verify H": ["HEAD"],
        "log m": ["main"],
        "run t": ["test", "train"],
        "attest a": ["approve"],
        "show 4": [ID[:12], OTHER[:12]],
        f"show {ID[:12]}": [ID],
        "revoke attestation 4b": [OTHER[:12]],
        "revoke signer c": ["ci@example.com"],
        "attest --as a": ["ada@example.com"],
        "verify --layout-name ": ["credit", "pinned"],
        "trust pin --layout p": ["pinned"],
        "--trust p": ["public", "public-v2"],
        "verify --trust l": ["local"],
        "sync o": ["origin"],
        "layout dr": ["draft"],
        "-C /nowhere ver": ["verify"],
        "run train -- v": [],
        "show x;": [],
    }.items(),
)
def test_completion_lists_names_of_the_repository(repo: Path, line: str, expected: list[str]) -> None:
    """Each kind of name is completed; a name that a shell would change is not offered."""
    assert sorted(complete(repo, f"gitchain {line}")) == expected
    assert not (repo / "pwned").exists()


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_speaks_the_protocol_of_each_shell(repo: Path, shell: str) -> None:
    """Zsh and fish get the names that bash gets."""
    assert sorted(complete(repo, "gitchain verify v", shell)) == ["v1.0", "v1.1"]
    assert sorted(complete(repo, "gitchain run t", shell)) == ["test", "train"]
    assert complete(repo, "gitchain revoke attestation 4b", shell) == [OTHER[:12]]


def test_completion_of_commits_offers_the_last_ones(repo: Path, git: Callable[..., str]) -> None:
    """A commit is offered by its abbreviated id."""
    head = git(repo, "rev-parse", "--short", "HEAD").strip()
    assert complete(repo, f"gitchain verify {head[:3]}") == [head]


def test_completion_is_bounded(repo: Path) -> None:
    """A repository with many tags gives few candidates, and a huge file gives none."""
    head = (repo / ".git" / "refs" / "heads" / "main").read_text()
    for number in range(MAX_ITEMS + 50):
        (repo / ".git" / "refs" / "tags" / f"w{number}").write_text(head)
    assert len(complete(repo, "gitchain verify w")) == MAX_ITEMS
    (repo / "dvc.yaml").write_text(STAGES + "#" * MAX_FILE_BYTES)
    assert complete(repo, "gitchain run t") == []


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"a: [", b"[" * 9999, b"stages: 1\nsteps: 1", b"steps: [1]", b""]
)
def test_completion_of_a_broken_file_prints_nothing(repo: Path, content: bytes) -> None:
    """A file that is no layout, no pipeline and no list of pins adds no candidate."""
    for path in (repo / "dvc.yaml", repo / ".gitchain" / "layout.yaml", repo.parent / "home" / "pins.json"):
        path.write_bytes(content)
    assert complete(repo, "gitchain run t") == []
    assert complete(repo, "gitchain verify --layout-name p") == []
    assert complete(repo, "gitchain revoke signer c") == []


def test_completion_outside_of_a_repository_prints_nothing(tmp_path: Path, repo: Path) -> None:
    """Without a repository, or with a named pipe in place of dvc.yaml, nothing fails or hangs."""
    assert complete(tmp_path, "gitchain verify v") == []
    os.mkfifo(tmp_path / "dvc.yaml")
    assert complete(tmp_path, "gitchain run t") == []


@pytest.mark.parametrize("line", ["gitchain verify v", "gitchain run t", "gitchain show 4", "gitchain "])
def test_completion_loads_few_modules(repo: Path, line: str) -> None:
    """A completion loads no large library and few modules of gitchain."""
    asked = {"_GITCHAIN_COMPLETE": "bash_complete", "COMP_LINE": line, "COMP_WORD": ""}
    done = subprocess.run(
        [sys.executable, "-c", PROBE], cwd=repo, env={**os.environ, **asked}, capture_output=True, check=True
    )
    code, names = json.loads(done.stderr)
    ours = [name for name in names if name.startswith("gitchain")]
    if line != "gitchain ":  # it imports each verb for its summary
        assert len(ours) <= MODULES, ours
    assert code == 0
    assert not {name.partition(".")[0] for name in names} & HEAVY


@pytest.mark.parametrize("asked", ["bash_source", "bash_complete", "tcsh_complete", "nonsense"])
def test_completion_variable_is_no_verdict(repo: Path, asked: str) -> None:
    """With arguments a command runs, whatever the variable of the completion says."""
    done = subprocess.run(
        ["gitchain", "verify", "v1.pkl"],
        cwd=repo,
        env={**os.environ, "_GITCHAIN_COMPLETE": asked},
        capture_output=True,
        check=False,
    )
    assert done.returncode not in {0, 70}
    assert done.stderr


def _params(command: click.Command = program) -> Iterator[tuple[str, click.Parameter]]:
    yield from ((param.name or "", param) for param in command.params)
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), name)
            assert found is not None
            yield from (
                (f"{name} {path}" if " " not in path else path, param) for path, param in _params(found)
            )


def test_completion_kinds_name_parameters_that_exist() -> None:
    """A parameter that is renamed or deleted leaves no kind behind."""
    names = {param.name for _, param in _params()}
    assert {kind.split()[-1] for kind in _KINDS} <= names


@pytest.mark.parametrize("shell", [shell for shell in COMPLETE if shutil.which(shell)])
def test_completion_in_a_real_shell(repo: Path, shell: str) -> None:
    """In the shell itself, what Tab inserts is one word, and a hostile name runs nothing."""
    with Terminal(shell, repo) as terminal:
        assert terminal.completed("gitchain verify v1.") is not None
        assert terminal.completed("gitchain run tr") == ["run", "train"]
        assert terminal.completed("gitchain revoke signer ci@ex") == ["revoke", "signer", "ci@example.com"]
        assert terminal.completed("gitchain show 4b") == ["show", OTHER[:12]]
        assert terminal.completed("gitchain bundle verify v1\\ ") == ["bundle", "verify", "v1 b.pkl"]
        assert terminal.completed("gitchain bundle verify v1\\$") == ["bundle", "verify", "v1$(touch pwned)"]
    assert not (repo / "pwned").exists()


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_completion_runs_no_program_of_the_repository(repo: Path) -> None:
    """`./gitchain` of a hostile repository is not started to complete its own arguments."""
    (repo / "gitchain").write_text("#!/bin/sh\ntouch pwned\n")
    (repo / "gitchain").chmod(0o755)
    with Terminal("bash", repo) as terminal:
        terminal.type("./gitchain run tr\t\x15")  # Ctrl-U deletes the line
        assert terminal.completed("gitchain run tr") == ["run", "train"]
    assert not (repo / "pwned").exists()

"""The first ten minutes of a new user: what gitchain prints is typed as it stands, and ends in PASSED.

Only the words in capitals that a person has to fill in are filled in.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from gitchain.cli.main import VERBS
from tests.support.shell import Done, Shell

PIPELINE = "stages:\n  train:\n    cmd: cp data.csv model.bin\n    deps: [data.csv]\n    outs: [model.bin]\n"
ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
WHO = {"IDENTITY": "ada@example.com"}


def printed(text: str) -> Iterator[str]:
    """Yield the commands in a text: they begin with `gitchain`, and end where the sentence goes on."""
    for line in text.splitlines():
        for found in re.findall(rf"(?<![\w/.-])gitchain (?:-|(?:{'|'.join(VERBS)})\b)[^`;,()]*", line):
            yield re.split(r"  | (?:fetches|makes|signs|shows|or|and|which) ", found)[0].strip()


def typed(shell: Shell, command: str, words: Mapping[str, str] = WHO) -> Done:
    """Type one command, with its placeholders filled in; what stands behind > is written there."""
    for word, value in words.items():
        command = re.sub(rf"\b{word}\b", value, command)
    command, _, target = command.partition(" > ")
    done = shell.run(*shlex.split(command))
    if target:
        (shell.cwd / target).write_text(done.out, encoding="utf-8")
    return done


def next_commands(done: Done) -> list[str]:
    """Return what `init` says comes next."""
    assert done.code == 0, done.text
    lines = done.err.splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith("next"))
    rows = [line.removeprefix("next").strip() for line in lines[at:]]
    return [row for row in rows if row.startswith("gitchain")]


def new_project(folder: Path) -> Shell:
    """Return a Git repository with data and nothing else."""
    shell = Shell(folder / "project", folder / "user")
    for place in (shell.cwd, shell.home):
        place.mkdir()
    shell.must("git", "init", "-q", "-b", "main")
    shell.write({"data.csv": "1,2\n", "train.py": "import shutil\nshutil.copy('data.csv', 'model.bin')\n"})
    return shell


@pytest.fixture
def started(tmp_path: Path) -> Shell:
    """Return a Git repository with data and nothing else."""
    return new_project(tmp_path)


@pytest.fixture(scope="session")
def _dvc_project(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    shell = new_project(tmp_path_factory.mktemp("existing"))
    shell.must("dvc", "init", "-q")
    shell.write({"dvc.yaml": PIPELINE})
    shell.must("git", "add", "-A")
    shell.must("dvc", "repro", "-q")
    shell.commit("before gitchain")
    return shell


@pytest.fixture
def dvc_project(_dvc_project: Shell, tmp_path: Path) -> Shell:
    """Return an existing DVC project, all of it up to date."""
    return _dvc_project.copy(tmp_path)


def adopted(project: Shell) -> Shell:
    """Type what `init` says comes next, in a project that DVC has run already."""
    for command in next_commands(project.gitchain("init", "--local")):
        done = typed(project, command)
        assert done.code == 0, (command, done.text)
    assert "PASSED" in done.out
    return project


def test_existing_dvc_project(dvc_project: Shell) -> None:
    """init, and the commands that it prints."""
    adopted(dvc_project)


def test_existing_dvc_project_without_force(dvc_project: Shell) -> None:
    """A run in which every stage was up to date names the command that leads to PASSED."""
    for words in (("init", "--local"), ("layout", "sign")):
        assert dvc_project.gitchain(*words).code == 0
    done = dvc_project.gitchain("run", "--", "dvc", "repro")
    assert done.code == 0, done.text
    [command] = [one for one in printed(done.err) if "--force" in one]
    assert typed(dvc_project, command).code == 0
    dvc_project.verify("model.bin")


def test_existing_dvc_project_by_verify_alone(dvc_project: Shell) -> None:
    """Whoever starts with verify is led on: the help of a model without evidence makes it."""
    for words in (("init", "--local"), ("layout", "sign")):
        assert dvc_project.gitchain(*words).code == 0
    failed = dvc_project.gitchain("verify", "model.bin")
    assert failed.code == 3
    command = next(one for one in printed(failed.text) if " run -- dvc repro" in one)
    assert typed(dvc_project, command).code == 0
    dvc_project.verify("model.bin")


def test_project_without_dvc(started: Shell) -> None:
    """init, and the commands that it prints, with the step, its files and its command filled in."""
    words = {"STEP": "train", "INPUT": "data.csv", "MODEL": "model.bin", "COMMAND": "cp data.csv model.bin"}
    commands = next_commands(started.gitchain("init", "--local"))
    for command in commands:
        done = typed(started, command, words)
        assert done.code == 0, (command, done.text)
    assert "PASSED" in done.out


def test_project_without_an_identity(started: Shell) -> None:
    """Without user.email, init says how to name it, and either way works."""
    bare = Shell(started.cwd, started.home)
    without = bare.run(
        "env", "-u", "GIT_COMMITTER_EMAIL", "-u", "GIT_AUTHOR_EMAIL", "gitchain", "init", "--local"
    )
    assert without.code == 2
    commands = list(printed(without.err))
    assert commands == ["gitchain init --local", "gitchain init --local --as IDENTITY"]
    assert typed(bare, commands[1]).code == 0


def cloned(project: Shell, name: str, *options: str) -> Shell:
    """Publish a project, and clone it for another user; the model comes from elsewhere."""
    hub = project.cwd.parent / "hub.git"
    project.must("git", "init", "-q", "--bare", "-b", "main", str(hub))
    project.must("git", "remote", "add", "origin", str(hub))
    project.commit("with gitchain", hooks=False)
    project.must("git", "push", "-q", "--no-verify", "origin", "main")
    assert project.gitchain("sync").code == 0
    other = Shell(project.cwd.parent / name, project.cwd.parent / f"home of {name}")
    other.home.mkdir()
    project.must("git", "clone", "-q", *options, hub.as_uri(), str(other.cwd))
    shutil.copy(project.cwd / "model.bin", other.cwd)
    return other


def led_to_passed(first: Shell, other: Shell) -> None:
    """Type verify, then the first new command that the last output names, until verify passes."""
    tried: set[str] = set()
    said = other.gitchain("verify", "model.bin").text
    for _ in range(8):
        named = [
            one for one in printed(said) if one not in tried and " init " not in one and " run " not in one
        ]
        assert named, said
        tried.add(named[0])
        if named[0].startswith("gitchain local"):
            answer = typed(first, named[0])
            shutil.copy(first.cwd / "trust.json", other.cwd)
        else:
            answer = typed(other, named[0])
        verdict = other.gitchain("verify", "model.bin")
        if verdict.code == 0:
            assert "PASSED" in verdict.out
            return
        said = (answer.text if answer.code else "") + verdict.text + said
    pytest.fail(f"{tried} lead nowhere: {said}")


def test_second_machine(dvc_project: Shell) -> None:
    """A clone on another machine is led from the first error to PASSED."""
    led_to_passed(dvc_project, cloned(adopted(dvc_project), "second"))


def test_ci_clone(dvc_project: Shell) -> None:
    """So is a shallow clone whose user has no identity: it verifies, and signs nothing."""
    led_to_passed(dvc_project, cloned(adopted(dvc_project), "ci", "--depth", "1"))


@pytest.mark.parametrize("kind", ["with", "without"])
def test_commands_in_one_project(kind: str, request: pytest.FixtureRequest) -> None:
    """Every command of the first block of docs/commands.md, in its order, after the README's commands."""
    shell: Shell = request.getfixturevalue("dvc_project" if kind == "with" else "started")
    shell.write({"train.py": "import shutil\nshutil.copy('data.csv', 'model.pkl')\n"})
    if kind == "with":
        shell.write({"dvc.yaml": PIPELINE.replace("model.bin", "model.pkl")})
    for page, start in ((README, f"**A project {kind} DVC.**"), (COMMANDS, "## In one project")):
        for command in commands_after(start, page):
            done = shell.run("bash", "-c", command)
            assert done.code == 0, (command, done.text)


def commands_after(start: str, page: str = README) -> list[str]:
    """Return the commands of the first console block after a heading: lines without `$ ` are output."""
    block = page.split(start)[1].split("```console\n")[1].split("```", maxsplit=1)[0]
    return [line[2:].partition(" #")[0].strip() for line in block.splitlines() if line.startswith("$ ")]


def test_readme_for_a_project_with_dvc(dvc_project: Shell) -> None:
    """The four commands of the README, and of an existing project, with the installed programs."""
    dvc_project.write({"dvc.yaml": PIPELINE.replace("model.bin", "model.pkl")})
    for command in commands_after("**A project with DVC.**"):
        done = typed(replace(dvc_project, is_installed=True), command)
        assert done.code == 0, (command, done.text)
    assert "PASSED" in done.out


def test_readme_for_a_project_without_dvc(started: Shell) -> None:
    """The five commands of the README, with the installed program."""
    started.write({"train.py": "import shutil\nshutil.copy('data.csv', 'model.pkl')\n"})
    for command in commands_after("**A project without DVC.**"):
        done = typed(replace(started, is_installed=True), command)
        assert done.code == 0, (command, done.text)
    assert "PASSED" in done.out

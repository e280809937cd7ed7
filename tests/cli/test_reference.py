"""docs/reference/cli.md and docs/man are the program's help; each command has a summary and examples."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

from gitchain.cli.main import SECTIONS, VERBS, gitchain, run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module examples/cli_reference.py."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    sys.modules.pop("cli_reference", None)
    return importlib.import_module("cli_reference")


def commands(
    command: click.Command = gitchain, path: str = "gitchain"
) -> Iterator[tuple[str, click.Command]]:
    """Yield every command below one, with its path."""
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            found = command.get_command(ctx, name)
            assert found is not None
            yield f"{path} {name}", found
            yield from commands(found, f"{path} {name}")


COMMANDS = dict(commands())


def test_reference_is_todays(reference: ModuleType) -> None:
    """If this fails because a help text changed: python examples/cli_reference.py."""
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page()


def test_man_pages_are_todays(reference: ModuleType) -> None:
    """If this fails because a help text or the version changed: python examples/cli_reference.py."""
    written = {path.name: path.read_text(encoding="utf-8") for path in reference.PAGES.iterdir()}
    assert written == reference.man_pages()


def test_reference_has_every_command(reference: ModuleType) -> None:
    headings = {line.lstrip("# ") for line in reference.page().splitlines() if line.startswith("###")}
    assert headings == set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS)
def test_help_has_an_example_of_each_command(path: str) -> None:
    """Each command that is no group has an example that calls it; the pages' tests parse it."""
    command = COMMANDS[path]
    assert command.help
    if not isinstance(command, click.Group):
        examples = command.help.split("\b\n")[1].splitlines()
        words = path.split()
        assert any(
            all(word in line.replace('"', " ").split() or word in line for word in words) for line in examples
        )
        assert examples[0].strip() == "Examples:"


@pytest.mark.parametrize(
    "group",
    ["", *(path.removeprefix("gitchain ") for path, one in COMMANDS.items() if isinstance(one, click.Group))],
)
def test_help_of_a_group_shows_whole_summaries(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    """No summary ends in an ellipsis."""
    assert run([*group.split(), "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    prefix = f"gitchain {group}".strip()
    below = [one for path, one in COMMANDS.items() if path.rpartition(" ")[0] == prefix]
    assert below
    for command in below:
        first = " ".join(str(command.help).split("\n\n")[0].split())
        assert first.partition(". ")[0].rstrip(".") in shown
    assert "..." not in shown.split("Show this message and exit.")[1]


def test_help_groups_every_verb_once() -> None:
    assert sorted(verb for verbs in SECTIONS.values() for verb in verbs) == sorted(set(VERBS))
    assert {path.split()[1] for path in COMMANDS} == set(VERBS)


@pytest.mark.parametrize(
    ("words", "typed"),
    [
        (["verifi", "model.pkl"], "gitchain verify"),
        (["layout", "sgn"], "gitchain layout sign"),
        (["verify", "--explan"], "gitchain verify --explain"),
    ],
)
def test_unknown_word_gets_a_suggestion(
    words: list[str], typed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    assert f"help      {typed}   (or see " in capsys.readouterr().err

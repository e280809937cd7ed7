"""What the README says to type exists, and its table of exit codes is the program's."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from gitchain.cli.main import VERBS, gitchain
from gitchain.cli.output import Options
from gitchain.errors import ExitCode

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
REDIRECTIONS = {">", "|", "&&"}


def code_blocks() -> str:
    """Return the shell blocks, a continued line as one."""
    blocks = re.findall(r"^```(?:console|sh|bash|shell)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return "\n".join(blocks).replace("\\\n", " ")


def commands() -> Iterator[tuple[str, ...]]:
    """Yield the arguments of every `gitchain …` line, up to what the shell keeps for itself."""
    for line in code_blocks().splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words[:1] == ["gitchain"]:
            end = next((n for n, word in enumerate(words) if word in REDIRECTIONS), len(words))
            yield tuple(words[1:end])


def parse(arguments: tuple[str, ...]) -> None:
    """Parse a command line as the program does, down to the verb that would run; click.UsageError if it cannot."""
    command: click.Command = gitchain
    parent, rest = None, list(arguments)
    while isinstance(command, click.Group):
        context = command.make_context(command.name, rest, parent, obj=Options())
        _, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found is not None
        command, parent = found, context
    command.make_context(command.name, rest, parent)


@pytest.mark.parametrize("arguments", [*commands()], ids=" ".join)
def test_command_of_the_readme_exists(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verb, options and arguments are what the program accepts; the files that it names may be anything."""
    monkeypatch.chdir(tmp_path)
    for word in arguments:
        if word.endswith(".json") and "/" not in word:
            Path(word).write_text("{}", encoding="utf-8")
        if word.startswith("models/") and "bundle" in arguments:
            Path(word).mkdir(parents=True)
    parse(arguments)


@pytest.mark.parametrize(
    "line", ["nosuch", "verify --nosuch", "layout nosuch", "show", "attest --predicate none.json"]
)
def test_the_parser_of_this_test_refuses(line: str) -> None:
    """What does not exist is found: the test above can fail."""
    with pytest.raises(click.UsageError):
        parse(tuple(line.split()))


def test_every_verb_is_in_the_readme() -> None:
    """No verb is left for the reader to find by chance."""
    shown = {arguments[0] for arguments in commands()} | set(re.findall(r"gitchain ([a-z]+)", README))
    assert set(VERBS) <= shown


def test_exit_codes_of_the_readme() -> None:
    """The table holds every exit code, and no other."""
    table = README.split("| exit code | meaning |")[1].split("\n\n")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == set(ExitCode)


@pytest.mark.parametrize("path", re.findall(r"\]\(((?!http)[^)#]+)\)", README))
def test_links_of_the_readme_lead_somewhere(path: str) -> None:
    """Each page that the README points to is there."""
    assert (Path(__file__).parents[2] / path).exists()


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:tests|examples|bench)/[a-z_/.]*)`", README))))
def test_tests_of_the_readme_exist(path: str) -> None:
    """Each test that the threat table points to is there."""
    assert (Path(__file__).parents[2] / path).exists()

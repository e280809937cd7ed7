"""Every `gitchain …` command that an error's help names exists, with these options: advice that fails is worse than none."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from gitchain.cli.main import VERBS, gitchain
from gitchain.cli.output import Options

PACKAGE = Path(__file__).parents[2] / "gitchain"
COMMAND = re.compile(rf"(?<![\w/.-])gitchain (?:-|(?:{'|'.join(VERBS)})\b)[^`;,()…]*")
SENTENCE = re.compile(
    r"  |\. | (?:and|or|brings|fetches|makes|shows|signs|with|where|which|writes|in|once|later|for|is|does|will|when|if)\b"
)
NAMES = {"gitchain local instance"}  # what certificates of an embedded instance are called


def texts() -> Iterator[tuple[str, str]]:
    """Yield every string literal of the package, an f-string's values as X, with the place where it stands."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inner = {
            id(part)
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr)
            for part in ast.walk(node)
            if part is not node
        }
        documented = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            where = f"{path.relative_to(PACKAGE)}:{getattr(node, 'lineno', 0)}"
            if id(node) in inner or id(node) in documented:
                continue
            if isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
                yield where, "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield where, node.value


def commands() -> Iterator[tuple[str, str]]:
    """Yield every command in these texts, up to where its sentence goes on."""
    for where, text in texts():
        for found in COMMAND.findall(text):
            line = SENTENCE.split(found)[0].strip().rstrip(".:")
            if line not in NAMES:
                yield where, line


def parse(line: str) -> None:
    """Parse a command line as the program does, down to its options; click.UsageError if it has no such command or option.

    What is missing is no error: help leaves out what the reader knows.
    """
    words = [word for word in shlex.split(line.partition(" > ")[0].partition(" && ")[0])[1:] if word != "…"]
    words = words[: words.index("--")] if "--" in words else words
    command: click.Command = gitchain
    parent: click.Context | None = None
    while isinstance(command, click.Group):
        context = command.make_context(command.name, words, parent, obj=Options(), resilient_parsing=True)
        left = [*context._protected_args, *context.args]
        if not left:
            return
        _, found, words = command.resolve_command(context, left)
        if found is None:
            raise click.UsageError(f"no such command: {left[0]}")
        command, parent = found, context
    known = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    for word in words:
        if word.startswith("-") and word.partition("=")[0] not in known:
            raise click.NoSuchOption(word)


@pytest.mark.parametrize(("line", "where"), sorted({(line, where) for where, line in commands()}), ids=str)
def test_command_of_a_help_exists(line: str, where: str) -> None:
    """Verb, subcommand and options are what the program has."""
    try:
        parse(line)
    except click.UsageError as error:
        pytest.fail(f"{where}: {line}: {error.format_message()}")


def test_commands_of_helps_are_found() -> None:
    """The search finds many, in every room: an empty list would pass the test above."""
    found = list(commands())
    assert len(found) > 100
    assert {"cli", "consume", "produce", "store", "verify"} <= {where.split("/")[0] for where, _ in found}


@pytest.mark.parametrize(
    "line", ["gitchain layout nosuch", "gitchain trust pin --nosuch X", "gitchain nosuch"]
)
def test_the_parser_of_this_test_refuses(line: str) -> None:
    """What does not exist is found."""
    with pytest.raises(click.UsageError):
        parse(line)

"""What the README and the pages say to type exists, and the table of exit codes is the program's."""

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

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXIT_CODES = (ROOT / "docs" / "reference" / "exit-codes.md").read_text(encoding="utf-8")
REDIRECTIONS = {">", "|", "&&"}


def code_blocks(page: Path) -> str:
    """Return the shell blocks of a page, a continued line as one."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:console|sh|bash|shell)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return "\n".join(blocks).replace("\\\n", " ")


def commands(page: Path) -> Iterator[tuple[str, ...]]:
    """Yield the arguments of every `$ gitchain …` line, up to what the shell keeps for itself."""
    for line in code_blocks(page).splitlines():
        words = shlex.split(line[2:], comments=True) if line.startswith("$ ") else []
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


@pytest.mark.parametrize(
    "arguments", sorted({line for page in PAGES for line in commands(page)}), ids=" ".join
)
def test_command_of_a_page_exists(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Verb, options and arguments are what the program accepts; the files that it names may be anything."""
    monkeypatch.chdir(tmp_path)
    for word in arguments:
        if re.fullmatch(r"[\w-]+\.(?:json|pkl)|models/\w+", word):
            Path(word).parent.mkdir(exist_ok=True)
            Path(word).write_text("{}", encoding="utf-8")
        elif word.endswith(".git") and "/" not in word:
            Path(word).mkdir()
    parse(arguments)


@pytest.mark.parametrize(
    "line", ["nosuch", "verify --nosuch", "layout nosuch", "show", "attest --predicate none.json"]
)
def test_the_parser_of_this_test_refuses(line: str) -> None:
    """What does not exist is found: the test above can fail."""
    with pytest.raises(click.UsageError):
        parse(tuple(line.split()))


def test_every_verb_is_on_the_first_pages() -> None:
    """README.md and docs/commands.md show each verb: none is left for the reader to find by chance."""
    pages = (ROOT / "README.md", ROOT / "docs" / "commands.md")
    shown = {arguments[0] for page in pages for arguments in commands(page)}
    assert set(VERBS) <= shown | set(re.findall(r"gitchain ([a-z]+)", "".join(map(Path.read_text, pages))))


def test_readme_is_short() -> None:
    """Details belong to docs/."""
    assert len(README.splitlines()) <= 200


def test_exit_codes_of_the_reference() -> None:
    """The table holds every exit code, and no other."""
    table = EXIT_CODES.split("| exit code | meaning |")[1].split("\n\n")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == set(ExitCode)


@pytest.mark.parametrize("path", re.findall(r"\]\(((?!http)[^)#]+)\)", README))
def test_links_of_the_readme_lead_somewhere(path: str) -> None:
    """Each page that the README points to is there."""
    assert (ROOT / path).exists()


@pytest.mark.parametrize(
    "path",
    sorted(
        {
            path
            for page in PAGES
            for path in re.findall(
                r"`((?:tests|examples|bench|deploy)/[a-z_/.]*)`", page.read_text(encoding="utf-8")
            )
        }
    ),
)
def test_paths_of_the_pages_exist(path: str) -> None:
    """Each directory or file of tests, examples, measurements and deployment that a page names is there."""
    assert (ROOT / path).exists()

"""Write what is made from the code: `python examples/cli_reference.py`.

docs/reference/cli.md and the man pages come from the command line's help, docs/reference/layout.md from the schema.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click
import layout_reference
from man_pages import PAGES, context, man_pages

from gitchain.cli.main import SECTIONS, gitchain

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "cli.md"
HEAD = """# Command line

Made from `--help` by `examples/cli_reference.py`; `tests/cli/test_reference.py` compares it with the program.
[Commands](../commands.md) has tasks, and [exit codes](exit-codes.md) are the same for every command.
"""


def options(ctx: click.Context, left_out: set[str]) -> str:
    """Return the options of a command as `--help` prints them, without those that every command has."""
    records = [
        record
        for param in ctx.command.get_params(ctx)
        if param.name not in left_out and (record := param.get_help_record(ctx))
    ]
    formatter = ctx.make_formatter()
    if records:
        formatter.write_dl(records, col_max=34)
    return formatter.getvalue().rstrip()


def described(text: str) -> Iterator[str]:
    """Yield a help text's paragraphs, its examples as a console block."""
    for paragraph in cleandoc(text).split("\n\n"):
        lines = [line.strip() for line in paragraph.splitlines()]
        if lines[0] == "\b":
            yield "\n".join(["```console", *(f"$ {line}" for line in lines[2:]), "```"])
        else:
            yield " ".join(lines)


def section(ctx: click.Context, level: int, left_out: set[str]) -> Iterator[str]:
    """Yield the parts of a command's section, and of its subcommands'."""
    usage = " ".join([ctx.command_path, *ctx.command.collect_usage_pieces(ctx)])
    yield f"{'#' * level} {ctx.command_path}"
    yield f"`{usage}`"
    yield from described(ctx.command.help or "")
    if listed := options(ctx, left_out):
        yield f"```text\n{listed}\n```"
    if isinstance(ctx.command, click.Group):
        for name, command in sorted(ctx.command.commands.items()):
            yield from section(context(command, name, ctx), level + 1, left_out)


def page() -> str:
    """Return the page."""
    root = context(gitchain, "gitchain")
    names = {str(param.name) for param in gitchain.get_params(root)} | {"help"}
    parts = [
        HEAD.rstrip(),
        "## Options of every command",
        f"```text\n{options(root, {'help', 'version'})}\n```",
    ]
    for heading, verbs in SECTIONS.items():
        parts.append(f"## {heading}")
        for verb in verbs:
            command = importlib.import_module(f"gitchain.cli.{verb}").command
            parts += section(context(command, verb, root), 3, names)
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    layout_reference.PAGE.write_text(layout_reference.page(), encoding="utf-8")
    PAGES.mkdir(exist_ok=True)
    for path in PAGES.iterdir():
        path.unlink()
    for name, text in man_pages().items():
        (PAGES / name).write_text(text, encoding="utf-8")
    sys.stdout.write(f"{PAGE.name}, {layout_reference.PAGE.name} and {PAGES.name}/*.1 written\n")

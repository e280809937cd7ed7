"""The man pages of gitchain, made from the command line's own help: one for each verb, and two for the programs.

`examples/cli_reference.py` writes them to docs/man, from where a wheel installs them as share/man/man1.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator
from inspect import cleandoc
from pathlib import Path

import click

from gitchain import __version__
from gitchain.cli import git_sign
from gitchain.cli.main import SECTIONS, VERBS, gitchain
from gitchain.cli.output import Options

DOCS = Path(__file__).parent.parent / "docs"
PAGES = DOCS / "man"
WIDTH = 110
EXIT_CODE = re.compile(r"^\| (\d+) \| (.+) \|$", re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")
OPTION_OR_VALUE = re.compile(r"(?<![\w-])(--?[A-Za-z][\w-]*)|([A-Z][^\s,/|\[\]=]*)")
SAFE = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}
MANUAL = "https://gitchain.dev/docs/"
ABOUT = """gitchain records how a machine-learning model was made, as signed attestations in a Git repository, and checks
before use that it was made the way a signed layout requires. Each command has a page of its own."""
FIRST = (
    "gitchain init --local",
    "gitchain run train -m data.csv -m train.py -p model.pkl -- python train.py",
    "gitchain layout draft --write",
    "gitchain layout sign",
    "gitchain verify model.pkl",
)


def context(command: click.Command, name: str, parent: click.Context | None = None) -> click.Context:
    """Return a context in which a command formats its help at WIDTH."""
    return click.Context(
        command,
        parent,
        name,
        obj=Options(),
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    )


def roff(text: str) -> str:
    """Return text as roff prints it unchanged: special characters are named, and no line is a request."""
    named = "".join(SAFE.get(one, one if one.isascii() else f"\\[u{ord(one):04X}]") for one in text)
    return f"\\&{named}" if named.startswith(".") else named


def prose(text: str) -> str:
    """Return one paragraph as one line, with code between backquotes in bold."""
    parts = CODE.split(" ".join(text.split()))
    return "".join(rf"\fB{roff(part)}\fR" if at % 2 else roff(part) for at, part in enumerate(parts) if part)


def words(text: str) -> str:
    """Return options and their values: options in bold, values in italics, what separates them as it is."""
    parts = OPTION_OR_VALUE.split(text)
    fonts = ("", "B", "I")
    return "".join(
        rf"\f{fonts[at % 3]}{roff(part)}\fR" if at % 3 else roff(part)
        for at, part in enumerate(parts)
        if part
    )


def paragraphs(help_text: str) -> list[str]:
    """Return the paragraphs of a help text without its examples."""
    return [part for part in cleandoc(help_text).split("\n\n") if not part.startswith("\b")]


def examples(help_text: str) -> list[str]:
    """Return the commands that a help text shows as examples."""
    return [
        line.strip()
        for part in cleandoc(help_text).split("\n\n")
        if part.startswith("\b\nExamples:")
        for line in part.splitlines()[2:]
    ]


def summary(help_text: str) -> str:
    """Return the first sentence of a help text without its full stop."""
    return " ".join(paragraphs(help_text)[0].split()).partition(". ")[0].rstrip(".")


def tagged(items: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield a list of terms, which are roff already, with their descriptions."""
    for term, description in items:
        yield f".TP\n{term}\n{prose(description)}" if description else f".TP\n{term}\n\\&"


def options(ctx: click.Context, left_out: set[str]) -> list[tuple[str, str]]:
    """Return the options of a command, as roff, with their descriptions."""
    records = [
        param.get_help_record(ctx)
        for param in ctx.command.get_params(ctx)
        if isinstance(param, click.Option) and param.name not in left_out
    ]
    return [(words(record[0]), record[1]) for record in records if record]


def usage(ctx: click.Context) -> str:
    """Return how a command is called, as roff."""
    return rf"\fB{roff(ctx.command_path)}\fR " + words(" ".join(ctx.command.collect_usage_pieces(ctx)))


def children(ctx: click.Context) -> list[click.Context]:
    """Return the contexts of the commands directly below a group, none for a command."""
    below = ctx.command.commands if isinstance(ctx.command, click.Group) else {}
    return [context(below[name], name, ctx) for name in sorted(below)]


def leaves(ctx: click.Context) -> list[click.Context]:
    """Return the contexts of the commands at and below one that are no groups."""
    return [leaf for child in children(ctx) for leaf in leaves(child)] or [ctx]


def heading(name: str, title: str) -> list[str]:
    """Return the start of a page: comment, header and NAME."""
    return [
        '.\\" Made from --help by examples/cli_reference.py: change the help text, not this file.',
        f'.TH "{roff(name.upper())}" 1 "" "gitchain {__version__}" "gitchain manual"',
        ".nh\n.ad l",
        f".SH NAME\n{roff(name)} \\- {prose(title)}",
    ]


def exit_status() -> list[str]:
    """Return EXIT STATUS: the table of docs/reference/exit-codes.md."""
    codes = EXIT_CODE.findall((DOCS / "reference" / "exit-codes.md").read_text(encoding="utf-8"))
    return [
        ".SH EXIT STATUS\nThe codes are the same for every command. Only 0 means verified or done.",
        ".PD 0",
        *tagged((rf"\fB{code}\fR", f"{meaning[0].upper()}{meaning[1:]}.") for code, meaning in codes),
        ".PD",
    ]


def shown(commands: Iterable[str]) -> str:
    """Return EXAMPLES with command lines as they are typed."""
    return "\n".join([".SH EXAMPLES\n.nf", *(roff(f"$ {line}") for line in commands), ".fi"])


def see_also(names: Iterable[str]) -> str:
    """Return SEE ALSO with other pages."""
    pages = ",\n".join(rf"\fB{roff(name)}\fR(1)" for name in names)
    return f".SH SEE ALSO\n{pages}\n.PP\nTutorial, guides and formats: {roff(MANUAL)}"


def subsection(ctx: click.Context, left_out: set[str]) -> list[str]:
    """Return the subsections of one command of a group and of those below it."""
    text = [f".PP\n{prose(part)}" for part in paragraphs(ctx.command.help or "")]
    below = [line for child in children(ctx) for line in subsection(child, left_out)]
    own = tagged(options(ctx, left_out))
    return [f".SS {roff(ctx.command_path)}\n{usage(ctx)}", *text, *own, *below]


def verb_page(verb: str, root: click.Context) -> str:
    """Return the page of one verb, with its subcommands."""
    command: click.Command = importlib.import_module(f"gitchain.cli.{verb}").command
    help_text = command.help or ""
    ctx = context(command, verb, root)
    everywhere = {str(param.name) for param in gitchain.get_params(root)} | {"help"}
    below = [line for child in children(ctx) for line in subsection(child, everywhere)]
    own = list(tagged(options(ctx, everywhere)))
    near = next(verbs for verbs in SECTIONS.values() if verb in verbs)
    parts = [
        *heading(f"gitchain-{verb}", summary(help_text)),
        ".SH SYNOPSIS\n" + "\n.br\n".join(map(usage, leaves(ctx))),
        ".SH DESCRIPTION",
        *(prose(part) + "\n.PP" for part in paragraphs(help_text)[:-1]),
        prose(paragraphs(help_text)[-1]),
        *([".SH COMMANDS", *below] if below else []),
        ".SH OPTIONS",
        *([*own, ".SS Options of every command"] if own else []),
        *tagged(options(root, {"version"})),
        *exit_status(),
        shown(line for leaf in leaves(ctx) for line in examples(leaf.command.help or "")),
        see_also(["gitchain", *(f"gitchain-{one}" for one in near if one != verb)]),
    ]
    return "\n".join(parts) + "\n"


def main_page(root: click.Context) -> str:
    """Return gitchain(1), which lists the verbs."""
    listed: list[str] = []
    for title, verbs in SECTIONS.items():
        listed.append(f".SS {roff(title)}")
        for verb in verbs:
            help_text = importlib.import_module(f"gitchain.cli.{verb}").command.help
            listed += tagged([(rf"\fBgitchain\-{verb}\fR(1)", f"{summary(help_text)}.")])
    parts = [
        *heading("gitchain", summary(gitchain.help or "")),
        f".SH SYNOPSIS\n{usage(root)}",
        ".SH DESCRIPTION",
        prose(ABOUT),
        ".SH COMMANDS",
        *listed,
        ".SH OPTIONS",
        "They are accepted before and after the command.",
        *tagged(options(root, set())),
        *exit_status(),
        shown(FIRST),
        see_also([*(f"gitchain-{verb}" for verb in VERBS), "gitchain-git-sign", "git"]),
    ]
    return "\n".join(parts) + "\n"


def git_sign_page() -> str:
    """Return gitchain-git-sign(1), from the docstring of its module."""
    first, calls, *rest = cleandoc(git_sign.__doc__ or "").split("\n\n")
    lines = [re.split(r" {2,}", line.strip()) for line in calls.splitlines()]
    called = [line for line in lines if line[0].startswith("gitchain-git-sign")]
    title = first.partition(": ")[2].rstrip(".")
    parts = [
        *heading("gitchain-git-sign", title),
        ".SH SYNOPSIS\n" + "\n.br\n".join(rf"\fB{roff(line[0])}\fR" for line in called),
        f".SH DESCRIPTION\n{prose(rest[0])}",
        ".SH OPTIONS",
        *tagged((rf"\fB{roff(line[0])}\fR", f"{line[1][0].upper()}{line[1][1:]}.") for line in called),
        *exit_status(),
        shown(line[0] for line in lines),
        see_also(["gitchain", "gitchain-verify", "git-commit", "git-tag"]),
    ]
    return "\n".join(parts) + "\n"


def man_pages() -> dict[str, str]:
    """Return the text of every page by its file name."""
    root = context(gitchain, "gitchain")
    pages = {f"gitchain-{verb}.1": verb_page(verb, root) for verb in VERBS}
    return pages | {"gitchain.1": main_page(root), "gitchain-git-sign.1": git_sign_page()}

"""Turn click's usage errors into gitchain's: the fault, expected, got, and the command to type."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Sequence
from difflib import get_close_matches

import click

from gitchain.errors import UsageError

SIMILAR = 0.75  # of two words: below that a suggestion is a guess
_EXTRA = re.compile(r"Got unexpected extra arguments? \((.*)\)", re.DOTALL)


class AfterDashes(click.Command):
    """A command that separates its own arguments from the words after `--`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Split at the first `--`, and put the words after it into ctx.meta."""
        own, rest = (args[: args.index("--")], args[args.index("--") + 1 :]) if "--" in args else (args, [])
        ctx.meta["gitchain.command"] = tuple(rest)
        return super().parse_args(ctx, own)

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Return the pieces of the usage line, with the command after `--`."""
        return [*super().collect_usage_pieces(ctx), "-- CMD..."]


def usage_error(error: click.ClickException, root: click.Command, argv: Sequence[str]) -> UsageError:
    """Return the UsageError for a command line that click refused."""
    ctx = getattr(error, "ctx", None) or _context(root, argv)
    match error:
        case click.NoSuchOption():
            found = _no_such_option(error, ctx, argv)
        case click.exceptions.NoSuchCommand():
            found = _no_such_command(error, ctx)
        case click.MissingParameter():
            found = UsageError(f"{_name(error, ctx)} is missing", where=ctx.command_path, help=shortest(ctx))
        case click.BadParameter():
            found = _bad_value(error, ctx)
        case click.BadOptionUsage():
            found = _bad_option(error, ctx)
        case _:
            found = _other(error, ctx, argv)
    return found


def _other(error: click.ClickException, ctx: click.Context, argv: Sequence[str]) -> UsageError:
    path, usage = ctx.command_path, shortest(ctx)
    every = f"{path} --help"
    if found := _EXTRA.fullmatch(error.format_message()):
        return UsageError(
            "too many arguments",
            where=path,
            expected=usage,
            got=found[1],
            help=_with_dashes(ctx, argv) or every,
        )
    return UsageError(_plain(error.format_message()), where=path, expected=usage, help=every)


def shortest(ctx: click.Context) -> str:
    """Return a command with the arguments and options that it cannot do without, as to be typed."""
    words = [ctx.command_path]
    for param in ctx.command.get_params(ctx):
        if isinstance(param, click.Argument):
            words.append(param.make_metavar(ctx))
        elif param.required:
            words.append(_typed(param, ctx))
    if isinstance(ctx.command, AfterDashes):
        words.append("-- CMD...")
    if isinstance(ctx.command, click.Group):
        words.append("COMMAND")
    return " ".join(words)


def _context(root: click.Command, argv: Sequence[str]) -> click.Context:
    """Return the context of the command that the words name: click gives none where an option lacks its value."""
    ctx = click.Context(root, info_name="gitchain")
    for word in argv:
        command = ctx.command.get_command(ctx, word) if isinstance(ctx.command, click.Group) else None
        if command is not None:
            ctx = click.Context(command, info_name=word, parent=ctx)
    return ctx


def _no_such_command(error: click.exceptions.NoSuchCommand, ctx: click.Context) -> UsageError:
    known = ctx.command.list_commands(ctx) if isinstance(ctx.command, click.Group) else []
    help_ = _similar(error.command_name, known, ctx.command_path)
    return UsageError("no such command", got=error.command_name, help=help_)


def _no_such_option(error: click.NoSuchOption, ctx: click.Context, argv: Sequence[str]) -> UsageError:
    known = [name for param in ctx.command.get_params(ctx) for name in param.opts if name.startswith("--")]
    return UsageError(
        "no such option",
        where=ctx.command_path,
        got=error.option_name,
        help=_with_dashes(ctx, argv) or _similar(error.option_name, known, ctx.command_path),
    )


def _bad_value(error: click.BadParameter, ctx: click.Context) -> UsageError:
    path = ctx.command_path
    kind = getattr(error.param, "type", None)
    expected = ", ".join(str(choice) for choice in kind.choices) if isinstance(kind, click.Choice) else ""
    got = re.match(r"'(.*)' is not one of ", error.message)
    return UsageError(
        f"{_name(error, ctx)} cannot be used",
        where=path,
        expected=expected,
        got=got[1] if got and expected else _plain(error.message),
        help=f"{path} --help",
    )


def _bad_option(error: click.BadOptionUsage, ctx: click.Context) -> UsageError:
    found = [param for param in ctx.command.get_params(ctx) if error.option_name in param.opts]
    takes_none = "does not take" in error.message
    what = (
        f"option {error.option_name} takes no value"
        if takes_none
        else f"option {error.option_name} needs a value"
    )
    typed = error.option_name if takes_none or not found else _typed(found[0], ctx, error.option_name)
    return UsageError(what, where=ctx.command_path, help=f"{ctx.command_path} {typed}")


def _with_dashes(ctx: click.Context, argv: Sequence[str]) -> str:
    """Return the command line with `--` in front of the command to run, an empty text if it has one or needs none."""
    if not isinstance(ctx.command, AfterDashes) or "--" in argv or ctx.info_name not in argv:
        return ""
    at = list(argv).index(str(ctx.info_name)) + 1
    own = [param for param in ctx.command.get_params(ctx) if isinstance(param, click.Option)]
    flags = {name for param in own if param.is_flag for name in param.opts}
    named = True  # a STEP or MODEL may stand before the command
    while at < len(argv):
        if argv[at].startswith("-"):
            at += 1 if argv[at] in flags or "=" in argv[at] else 2
        elif named and (ctx.command.name == "guard" or not shutil.which(argv[at])):
            at, named = at + 1, False
        else:
            break
    if at >= len(argv):
        return ""
    return f"gitchain {shlex.join(argv[:at])} -- {shlex.join(argv[at:])}"


def _similar(given: str, known: Sequence[str], path: str) -> str:
    found = get_close_matches(given, known, 1, SIMILAR)
    return f"{path} {found[0]}   (or see {path} --help)" if found else f"{path} --help"


def _name(error: click.BadParameter, ctx: click.Context) -> str:
    param = error.param
    if param is None:
        return _plain(str(error.param_hint or "a value"))
    return param.make_metavar(ctx).strip("[]") if isinstance(param, click.Argument) else _long(param)


def _long(param: click.Parameter) -> str:
    return next((name for name in param.opts if name.startswith("--")), param.opts[0])


def _typed(param: click.Parameter, ctx: click.Context, name: str = "") -> str:
    metavar = param.make_metavar(ctx)
    if isinstance(param.type, click.Choice):
        metavar = "|".join(str(choice) for choice in param.type.choices)
    return f"{name or _long(param)} {metavar}"


def _plain(message: str) -> str:
    """Return a message of click on one line, as one of ours begins and ends."""
    line = " ".join(line.strip() for line in message.splitlines() if line.strip()).rstrip(".")
    return line[:1].lower() + line[1:]

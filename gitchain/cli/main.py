"""The command line: parse, wire, print, exit. Verbs are imported when they are called.

Only here does `except Exception` stand: whatever is not a GitchainError is our bug and exits 70, never 0.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import click

from gitchain import __version__
from gitchain.cli.output import HelpGroup, Options, escape
from gitchain.errors import ExitCode, GitchainError, LimitError, RunError, StoreError, UsageError

SECTIONS = {
    "Make and sign evidence": ("init", "run", "attest", "import", "sync", "revoke"),
    "Verify": ("verify", "models", "diff", "report", "log", "show", "guard", "fetch", "bundle", "archive"),
    "Many repositories": ("index", "query"),
    "Policy and trust": ("layout", "trust", "local"),
    "Clusters": ("serve", "admit"),
    "Operate": ("monitor", "hooks", "doctor", "completion"),
}
VERBS = tuple(sorted(verb for verbs in SECTIONS.values() for verb in verbs))


_REFUSALS = {
    errno.ENOSPC: "free some disk space and try again",
    errno.EDQUOT: "free some disk space and try again",
    errno.EFBIG: "free some disk space, or raise the limit (ulimit -f), and try again",
    errno.EROFS: "make the disk writable and try again",
    errno.EACCES: "give this user access and try again",
    errno.EPERM: "give this user access and try again",
    errno.EIO: "check the disk and try again",
    errno.EMFILE: "raise the limit (ulimit -n) and try again",
    errno.ENFILE: "close some programs and try again",
    errno.EAGAIN: "close some programs and try again",
}


class Verbs(HelpGroup):
    """A group that imports a verb's module when it is called."""

    SECTIONS = SECTIONS

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every verb."""
        del ctx
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one verb."""
        del ctx
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"gitchain.cli.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101 - every verb module has one
        return command


def _set(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    if param.name == "directory" and value is not None:
        _change_directory(value)
        return value
    if value is not None and value is not False:
        options = ctx.ensure_object(Options)
        setattr(options, str(param.name), value)
    return value


def _change_directory(path: Path) -> None:
    try:
        os.chdir(path)
    except OSError as error:
        raise UsageError(
            "cannot work in this directory",
            where=str(path),
            got=str(error.strerror),
            help="name a directory that exists: gitchain -C DIR",
        ) from error


def _no_color(ctx: click.Context, param: click.Parameter, value: bool | None) -> None:
    del param
    if value is False:
        ctx.ensure_object(Options).color = False


_GLOBAL_OPTIONS = (
    click.option(
        "-C",
        "directory",
        type=click.Path(path_type=Path),
        expose_value=False,
        callback=_set,
        metavar="DIR",
        help="Work as if started in DIR.",
    ),
    click.option(
        "-q",
        "--quiet",
        is_flag=True,
        expose_value=False,
        callback=_set,
        help="Print only errors on stderr.",
    ),
    click.option(
        "-v",
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=_set,
        help="Print more, and tracebacks of bugs.",
    ),
    click.option(
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_set,
        help="Print one JSON document on stdout.",
    ),
    click.option(
        "--no-color",
        "color",
        flag_value=False,
        type=bool,
        default=None,
        expose_value=False,
        callback=_no_color,
        help="Print no colour.",
    ),
    click.option("--offline", is_flag=True, expose_value=False, callback=_set, help="Use no network."),
    click.option(
        "--trust",
        metavar="NAME|FILE|URL",
        expose_value=False,
        callback=_set,
        help="Trust profile: local, public, public-v2, a file, or the URL of a TUF repository.",
    ),
)


def global_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the global options, which are accepted before and after the verb."""
    for option in reversed(_GLOBAL_OPTIONS):
        function = option(function)
    return function


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="gitchain", message="%(prog)s %(version)s")
@global_options
def gitchain() -> None:
    """Signed, logged, verifiable provenance for machine-learning models, kept in Git."""


def run(argv: Sequence[str]) -> int:
    """Run one command line and return its exit code; every exception in existence maps to a non-zero one."""
    asked = os.environ.pop("_GITCHAIN_COMPLETE", None)
    if asked and not argv:  # a shell completes: with arguments, the variable must not stand in for a verdict
        from gitchain.cli.shells import answer

        return answer(asked, gitchain)
    try:
        code = _run(argv)
    except SystemExit as end:
        code = _ended(end)
    for stream in (sys.stdout, sys.stderr):
        _settle(stream)
    return code


def _ended(end: SystemExit) -> int:
    """Return the exit code of an early exit: a signal's or click's. A library's exit with 0 never counts as success."""
    if isinstance(end.code, int) and end.code > 128:
        raise end  # a signal was heard
    # click ends with 1 where the reader of the output went away; here 1 is a verdict
    return ExitCode.INTERRUPTED if end.code == 1 else ExitCode.BUG


def _settle(stream: TextIO) -> None:
    """Discard output that cannot be written: Python would try again at exit, and change the exit code."""
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _run(argv: Sequence[str]) -> int:  # noqa: PLR0911 - one return for each way to end
    options = Options()
    if "--json" in argv[: argv.index("--") if "--" in argv else None]:
        options.json = True  # errors of parsing are answered in JSON as well
    try:
        result = gitchain.main(list(argv), prog_name="gitchain", standalone_mode=False, obj=options)
        sys.stdout.flush()
        return _code(result)
    except (click.exceptions.Abort, KeyboardInterrupt):
        with contextlib.suppress(OSError):
            click.echo("interrupted", err=True)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return ExitCode.INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        return _no_command(options, error)
    except click.ClickException as error:
        from gitchain.cli.usage import usage_error

        return _failed(options, usage_error(error, gitchain, argv))
    except GitchainError as error:
        return _failed(options, error)
    except Exception as error:  # noqa: BLE001 - the one place that maps the unknown to 70
        if known := system_error(error):
            return _failed(options, known)
        if options.verbose:
            traceback.print_exc()
        bug = GitchainError(
            "a bug in gitchain",
            got=f"{type(error).__name__}: {escape(str(error), 500)}",
            help="run again with -v and report it: see SECURITY.md if it let something pass",
        )
        return _failed(options, bug)


def _no_command(options: Options, error: click.exceptions.NoArgsIsHelpError) -> int:
    """Print the help of a command that was called without arguments, and the error."""
    path = error.ctx.command_path
    if not options.json:
        with contextlib.suppress(OSError):
            click.echo(error.format_message() + "\n", err=True, color=error.ctx.color)
    return _failed(options, UsageError("no command is given", where=path, help=f"{path} --help"))


def system_error(error: Exception) -> GitchainError | None:
    """Return the error for an unexpected refusal of the system, or None for an exception that may be a bug."""
    if isinstance(error, MemoryError | RecursionError):
        return LimitError("out of memory or stack", got=type(error).__name__)
    if not isinstance(error, OSError):
        return None
    try:
        Path.cwd()
    except OSError:
        return UsageError(
            "the current directory does not exist any more", got=str(error.strerror), help="cd somewhere else"
        )
    where = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    if error.errno == errno.ENAMETOOLONG:
        return UsageError(
            "a name is too long for this system", where=ascii(where[:100]), got=f"{len(where)} bytes"
        )
    if error.errno in _REFUSALS:
        return StoreError(
            "the system refused", where=where, got=str(error.strerror), help=_REFUSALS[error.errno]
        )
    return None


@contextlib.contextmanager
def run_errors() -> Iterator[None]:
    """Turn each error of the block into RunError, which ends with 125: other codes could be the command's."""
    try:
        yield
    except RunError:
        raise
    except (GitchainError, OSError, MemoryError, RecursionError) as error:
        known = error if isinstance(error, GitchainError) else system_error(error)
        if known is None:
            raise
        fields = {name: getattr(known, name) for name in ("where", "expected", "got", "help")}
        raise RunError(known.what, **fields) from error


def _failed(options: Options, error: GitchainError) -> int:
    cause = error.__cause__
    if not error.help and isinstance(cause, OSError) and cause.errno in _REFUSALS:
        error.help = _REFUSALS[cause.errno]
    with contextlib.suppress(
        OSError
    ):  # nobody can be told where even stderr takes nothing: the code still tells
        options.error(error)
    return int(error.exit_code)


def _code(result: object) -> int:
    """Return a verb's result as an exit code: None is OK, an unknown value is a bug."""
    if result is None:
        return ExitCode.OK
    known = (
        isinstance(result, int) and not isinstance(result, bool) and 0 <= result < 256
    )  # 256 would end as 0
    return int(result) if isinstance(result, int) and known else ExitCode.BUG

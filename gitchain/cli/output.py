"""Print for the verbs: data on stdout, messages on stderr, one JSON document with a schema under --json.

Every text that came from evidence or files passes `escape`: no terminal control sequence survives it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import click

from gitchain.errors import GitchainError

ERROR_SCHEMA = "https://gitchain.dev/error/v1"
NOTICE = "embedded instance: proves only that the holder of this machine's keys signed"


SUMMARY = 1000
"""Longest summary of a command in the help of its group, in characters."""
GAP = 2
"""Spaces between two columns of a table."""
NARROWEST = 10
"""Columns of a table do not get narrower than this, in characters."""
LARGE_BYTES = 32 << 20  # hashed in a few hundredths of a second: below that a bar only flickers


class HashingBar:
    """A progress bar with the true number of bytes, which collect counts before it reads; small work shows none."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._left = 0

    def total(self, files: int, size: int) -> None:
        """Start a bar for this many files and bytes."""
        self._close()
        if size >= LARGE_BYTES:
            self._left = size
            self._bar = click.progressbar(
                length=size, label=f"hashing {files} file(s)", file=sys.stderr, show_eta=True
            )
            self._bar.render_progress()

    def advance(self, files: int, size: int) -> None:
        """Move the bar on; it closes itself at the end."""
        del files
        if self._bar is not None:
            self._bar.update(size)
            self._left -= size
            if self._left <= 0:
                self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.render_finish()
            self._bar = None


class HelpGroup(click.Group):
    """A group whose help shows each command's summary in full, below headings where it has SECTIONS."""

    SECTIONS: Mapping[str, Sequence[str]] = {}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands; a summary that is longer than its line wraps."""
        for heading, names in (self.SECTIONS or {"Commands": self.list_commands(ctx)}).items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            rows = [(name, command.get_short_help_str(SUMMARY)) for name, command in commands if command]
            with formatter.section(heading):
                formatter.write_dl(rows)


@dataclass
class Options:
    """The global options, and the way to speak to the user under them."""

    directory: Path = Path()
    json: bool = False
    quiet: bool = False
    verbose: bool = False
    color: bool = True
    offline: bool = False
    trust: str | None = None

    def talk(self, message: str = "") -> None:
        """Say something to people: stderr, silent under --quiet."""
        if not self.quiet:
            click.echo(message, err=True, color=self._coloured(sys.stderr))

    def data(self, text: str) -> None:
        """Print the answer for people; under --json the document is the answer instead."""
        if not self.json:
            click.echo(text, color=self._coloured(sys.stdout))

    @property
    def width(self) -> int | None:
        """The width of the terminal in columns, or None if the answer goes elsewhere."""
        return shutil.get_terminal_size().columns if sys.stdout.isatty() else None

    def page(self, text: str) -> None:
        """Print a long answer for people: through PAGER on a terminal that it does not fit on, as Git does."""
        fits = text.count("\n") + 2 < shutil.get_terminal_size().lines
        if self.json or not sys.stdout.isatty() or fits or os.environ.get("PAGER") in {"", "cat"}:
            self.data(text)
            return
        from gitchain.platform.processes import safe_path

        os.environ.setdefault("LESS", "FRX")
        try:
            with safe_path(Path()):  # no pager from within the repository
                click.echo_via_pager(text + "\n", color=self._coloured(sys.stdout))
        except ValueError:  # PAGER is no command line
            self.data(text)

    def document(self, value: Mapping[str, Any]) -> None:
        """Print the one JSON document of --json."""
        if self.json:
            click.echo(json.dumps(value, indent=2, ensure_ascii=True))

    def style(self, text: str, **how: Any) -> str:
        """Colour `text` where colours are wanted."""
        return click.style(text, **how)

    def _coloured(self, stream: Any) -> bool:
        return self.color and "NO_COLOR" not in os.environ and bool(stream.isatty())

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[Callable[[int], None]]:
        """Show a bar with a true total on a terminal; yields the function to call with each advance."""
        if self.quiet or self.json or not sys.stderr.isatty() or total <= 0:
            yield lambda _advance: None
            return
        with click.progressbar(length=total, label=label, file=sys.stderr, show_eta=True) as bar:
            yield bar.update

    def clear_progress(self) -> None:
        """Clear the progress bar before a result is printed; the next advance draws it again."""
        if not self.quiet and not self.json and sys.stdout.isatty() and sys.stderr.isatty():
            click.echo("\r\x1b[K", err=True, nl=False)

    @property
    def hashing(self) -> HashingBar | None:
        """The bar for hashing large files, where there is a terminal to show it on."""
        return None if self.quiet or self.json or not sys.stderr.isatty() else HashingBar()

    def error(self, error: GitchainError, *, document: bool = True) -> None:
        """Report one error: fault, place, expected, got and help; also as the JSON document, unless there is another."""
        if self.json and document:
            self.document(error_document(error))
        lines = [click.style("error: ", fg="red", bold=True) + escape(error.what)]
        lines += [
            f"  {label:<9} {escape(value)}"
            for label, value in (
                ("where", error.where),
                ("expected", error.expected),
                ("got", error.got),
                ("help", error.help),
            )
            if value
        ]
        click.echo("\n".join(lines), err=True, color=self._coloured(sys.stderr))


def error_document(error: GitchainError) -> dict[str, Any]:
    """Return one error as --json prints it."""
    fields = {key: getattr(error, key) for key in ("what", "where", "expected", "got", "help")}
    code = {"code": type(error).__name__, "exitCode": int(error.exit_code)}
    return {"schema": ERROR_SCHEMA, "error": code | fields}


def escape(text: str, limit: int = 4000) -> str:
    """Return `text` with control and bidirectional-override characters shown as escapes, cut at `limit`."""
    shown = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text[:limit]
    )
    return shown + ("…" if len(text) > limit else "")


def table(
    rows: Sequence[Sequence[str]],
    header: Sequence[str],
    width: int | None = None,
    wrapped: Collection[str] = (),
) -> str:
    """Return rows as aligned columns. Cells of the columns `wrapped` break where the table is wider than `width`."""
    cells = [tuple(header), *[tuple(escape(cell) for cell in row) for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    if width is not None:
        _narrow(widths, width, [column for column, name in enumerate(header) if name in wrapped])
    return "\n".join(line for row in cells for line in _lines(row, widths))


def _narrow(widths: list[int], width: int, columns: Sequence[int]) -> None:
    """Take the excess over `width` from the widest of the columns, down to NARROWEST."""
    excess = sum(widths) + GAP * (len(widths) - 1) - width
    while excess > 0 and (widest := max(columns, key=lambda column: widths[column], default=-1)) >= 0:
        if widths[widest] <= NARROWEST:
            return
        widths[widest] -= 1
        excess -= 1


def _lines(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    """Yield the lines of one row; a cell that is wider than its column takes several, so that none looks like a row."""
    cells = [
        textwrap.wrap(cell, width, subsequent_indent="  ", break_on_hyphens=False)
        if len(cell) > width
        else [cell]
        for cell, width in zip(row, widths, strict=True)
    ]
    for parts in zip_longest(*cells, fillvalue=""):
        yield (" " * GAP).join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip()

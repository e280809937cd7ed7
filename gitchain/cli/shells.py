"""The completion scripts of bash, zsh and fish, and the answers to them.

A completion never fails, and uses no network. Only names are offered that every shell reads as one plain word, so a
hostile name neither runs a command nor controls the terminal. The shell completes file names itself.
"""

from __future__ import annotations

import os
import re
import sys
from typing import Any

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    ShellComplete,
    get_completion_class,
    split_arg_string,
)

from gitchain.cli.candidates import NAMES

VARIABLE = "_GITCHAIN_COMPLETE"
MAX_ITEMS = 200
"""Most candidates of one completion."""

_PLAIN = re.compile(r"[^\W_][\w./:@+=-]*")
"""What no shell changes: no blank, quote, wildcard or variable; no comma, which separates the fields of an answer."""
_BASH = """\
_gitchain_completion() {
    local kind value
    COMPREPLY=()
    while IFS=, read -r kind value; do
        case $kind in
            plain) COMPREPLY+=("$value") ;;
            file) compopt -o filenames
                while IFS= read -r value; do COMPREPLY+=("$value"); done < <(compgen -f -- "$2") ;;
            dir) compopt -o filenames
                while IFS= read -r value; do COMPREPLY+=("$value"); done < <(compgen -d -- "$2") ;;
        esac
    done < <(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORD="$2" \\
        _GITCHAIN_COMPLETE=bash_complete gitchain 2>/dev/null)
}
complete -F _gitchain_completion gitchain
"""


def answer(instruction: str, program: click.Group) -> int:
    """Print the candidates for the command line in the environment; return 0, and print nothing, where anything fails."""
    try:
        shell, _, what = instruction.partition("_")
        completion = completion_of(shell, program)
        if completion is not None and what in {"complete", "source"}:
            text = completion.complete() if what == "complete" else completion.source()
            sys.stdout.buffer.write(text.encode("utf-8", "replace") + b"\n")
    except (Exception, KeyboardInterrupt, SystemExit):  # noqa: BLE001 - a shell prints what a completion prints
        return 0
    return 0


def completion_of(shell: str, program: click.Group) -> ShellComplete | None:
    """Return the completion of a shell, with the candidates of this module, or None for an unknown shell."""
    known = _Bash if shell == "bash" else get_completion_class(shell)
    if known is None:
        return None
    kind: type[ShellComplete] = type(f"Gitchain{known.__name__}", (_NameCandidates, known), {})
    return kind(program, {}, "gitchain", VARIABLE)


class _NameCandidates(ShellComplete):
    """Completes parameters that take a name with the candidates in `NAMES`."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem]:
        """Return the candidates for the word at the cursor."""
        if "--" in args and {"run", "guard"} & set(args):
            return [CompletionItem(incomplete, type="file")]  # another program's arguments
        assert isinstance(self.cli, click.Group)  # noqa: S101 - it is `gitchain`
        _prepare(self.cli, "")
        for verb in self.cli.list_commands(click.Context(self.cli)):
            if verb in args:
                found = self.cli.get_command(click.Context(self.cli), verb)
                if found is not None:
                    _prepare(found, verb)
        return super().get_completions(args, incomplete)


class _Bash(BashComplete):
    """Bash, which splits words at `:`, `=` and `@` too and replaces the last part alone."""

    source_template = _BASH

    @staticmethod
    def _check_version() -> None:
        """Ask bash nothing: the script runs in every version that has `compopt` (4.0)."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the whole words before the cursor, and the one at the cursor."""
        words = split_arg_string(os.environ["COMP_LINE"] + "\1")
        return words[1:-1], words[-1].rstrip("\1")

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Return the kind and the part of the value that bash replaces."""
        word = self.get_completion_args()[1]
        part = os.environ.get("COMP_WORD", "")
        kept = len(word) - len(part) if word.endswith(part) else 0
        return f"{item.type},{item.value[kept:] if item.type == 'plain' else ''}"


class _NamedString(click.types.StringParamType):
    """A string whose candidates are names of one kind, and files if `kind` ends with `+files`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the plain words of the kind that continue the word, without repetition."""
        del ctx, param
        kind, _, files = self.kind.partition("+")
        found = dict.fromkeys(NAMES[kind](incomplete) if kind else ())
        fitting = [name for name in found if name.startswith(incomplete) and _PLAIN.fullmatch(name)]
        items = [CompletionItem(name) for name in fitting[:MAX_ITEMS]]
        return [*items, CompletionItem(incomplete, type="file")] if files else items


_KINDS = {
    "artifact": "+files",
    "artifacts": "+files",
    "attestation": "attestation",
    "bundle verify target": "+files",
    "checkpoint": "+files",
    "data": "+files",
    "database": "+files",
    "diff a": "revision+files",
    "diff b": "revision+files",
    "fetch name": "",
    "ids": "attestation",
    "identity": "identity",
    "key": "+files",
    "layout_name": "layout",
    "materials": "+files",
    "metrics": "+files",
    "name": "layout",
    "params": "+files",
    "place": "+files",
    "places": "+files",
    "products": "+files",
    "remote": "remote",
    "signer": "identity",
    "source": "+files",
    "sources": "+files",
    "step": "step",
    "steps": "step",
    "subject": "identity",
    "subjects": "identity",
    "target": "revision+files",
    "targets": "revision+files",
    "trust": "trust+files",
}
"""The kind of names that a parameter takes, by its name, or by its command and its name."""


def _prepare(command: click.Command, path: str) -> None:
    """Give the parameters of a command, and of those below it, the candidates of their kind."""
    for param in command.params:
        kind = _KINDS.get(f"{path} {param.name}", _KINDS.get(str(param.name)))
        if kind and type(param.type) is click.types.StringParamType:
            param.type = _NamedString(kind)
    if path and isinstance(command, click.Group):
        for name, found in command.commands.items():
            _prepare(found, f"{path} {name}")

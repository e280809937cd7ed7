"""Add gitchain's marked block to a Git hook, and remove it.

    #!/bin/sh
    # >>> gitchain >>> 1 created
    …shell…
    # <<< gitchain <<<

The word after the format's number tells `remove` what to do: `created` (gitchain wrote the whole file), `added`
(to an existing shell script: the block follows its first line, because such scripts end in `exec`), `chained`
(another program's hook was moved to `<hook>.gitchain-chained` and runs at the end).

Pure: bytes in, bytes out. Does NOT touch files (`gitchain.hooks.install` does).
"""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from importlib import resources
from typing import Literal, get_args

from gitchain.errors import ProjectError

Way = Literal["created", "added", "chained"]

HOOKS = ("post-commit", "post-merge", "post-rewrite", "pre-push")
"""Hooks that are installed by default."""

TAG_HOOK = "reference-transaction"
"""Hook that detects tags at once and slows every ref update; optional (docs/decisions/0004-git-hooks.md)."""

FORMAT = 1
SHEBANG = b"#!/bin/sh\n"
CHAINED = ".gitchain-chained"
ASLEEP = ".gitchain-asleep"

_BEGIN = b"# >>> gitchain >>> "
_END = b"# <<< gitchain <<<\n"
_MARK = re.compile(rb"^# (?:>>> gitchain >>>|<<< gitchain <<<)", re.MULTILINE)
_BLOCK = re.compile(rb"^# >>> gitchain >>> (\d+) (\w+)\n.*?^# <<< gitchain <<<\n", re.MULTILINE | re.DOTALL)
_SHELL = re.compile(rb"#![ \t]*(?:/\S*/env[ \t]+)?(?:/\S*/)?(?:sh|dash|bash|ksh|ash)(?:[ \t][^\r\n]*)?\n")
_CHAIN = '[ ! -x "${{0%/*}}/{name}" ] || exec "${{0%/*}}/{name}" "$@"\n'


@dataclass(frozen=True, slots=True)
class HookBlock:
    """A block in a hook: its bytes, how it was installed, and the file without it."""

    text: bytes
    way: Way
    rest: bytes


def render(hook: str, way: Way, python: str = sys.executable) -> bytes:
    """Return the block for `hook`, which starts the interpreter `python`."""
    shims = resources.files("gitchain.hooks") / "shims"
    _, _, body = (shims / hook).read_text(encoding="utf-8").partition("\n")
    common = (shims / "common.sh").read_text(encoding="utf-8").rstrip("\n")
    body = body.replace("@COMMON@", common).replace("@PYTHON@", shlex.quote(python), 1)
    if way == "chained":
        body += _CHAIN.format(name=hook + CHAINED)
    return _BEGIN + f"{FORMAT} {way}\n{body}".encode("utf-8", "surrogateescape") + _END


def find(content: bytes) -> HookBlock | None:
    """Return the block in a hook, or None. Raises ProjectError if its marks were damaged."""
    found = _BLOCK.search(content)
    marks = len(_MARK.findall(content))
    if found is None and not marks:
        return None
    way = found[2].decode("ascii") if found else ""
    if found is None or marks != 2 or way not in get_args(Way):
        raise ProjectError(
            "gitchain's marks in a hook are damaged",
            expected="one block from `# >>> gitchain >>>` to `# <<< gitchain <<<`",
            help="delete these lines from the hook, then gitchain hooks install",
        )
    return HookBlock(found[0], way, content[: found.start()] + content[found.end() :])  # type: ignore[arg-type]


def is_shell(content: bytes) -> bool:
    """Return True if a block can be inserted after the first line: a POSIX shell script without NUL bytes."""
    return _SHELL.match(content) is not None and b"\0" not in content


def insert(content: bytes, block: bytes) -> bytes:
    """Return the shell script `content` with `block` inserted after its first line."""
    end = content.index(b"\n") + 1
    return content[:end] + block + content[end:]

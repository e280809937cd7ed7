"""Pointer files, which Git LFS and git-annex leave where the content was not fetched.

A pointer names the content and is not it: it is refused, as no statement may be about a pointer as if it were the model.
"""

from __future__ import annotations

import re

from gitchain.errors import ProjectError

_LFS = re.compile(
    rb"(?:\xef\xbb\xbf)?version https?://(?:git-lfs\.github\.com/spec|hawser\.github\.com/spec|git-media\.io)/v[0-9]+\r?\n"
    rb"(?:.*\n)*?oid [a-z0-9]+:[0-9a-f]{40,128}\r?\n"
)
_ANNEX = re.compile(rb"/annex/objects/[^\n]+\n?")


def check_no_pointer(data: bytes, shown: str) -> None:
    """Raise ProjectError, with the command that gets the content, if these bytes, a whole file, are a pointer."""
    if _LFS.match(data):
        kind, fetch = "Git LFS", "git lfs pull"
    elif _ANNEX.fullmatch(data):
        kind, fetch = "git-annex", "git annex get"
    else:
        return
    raise ProjectError(
        f"file is a {kind} pointer, not the content",
        where=ascii(shown[:200]),
        expected="the content that the pointer names",
        help=fetch,
    )

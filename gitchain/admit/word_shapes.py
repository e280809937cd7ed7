"""Shapes of words in free text: harmless, a plain word, or something that can name a model."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from gitchain.admit.addresses import is_disguised_address, is_number, is_path
from gitchain.admit.option_names import (
    MAX_CACHED,
    words,
)
from gitchain.admit.references import LOCAL, filled, is_local_path

COMMON = words(
    "vllm sglang tritonserver torchserve torchrun mlserver python python3 sh bash exec run serve server start launch"
    " api_server worker head router auto none true false on off yes no debug info warning error critical trace cpu cuda gpu"
    " float half bfloat16 float16 float32 fp8 int8 ray mp sleep infinity"
)
"""Words of command lines that name no model of any hub."""

_NETWORK = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}/[0-9]{1,2}|[0-9]{1,7}/[0-9]+")


WORD = re.compile(r"[A-Za-z0-9_.+:@%*?!#^~-]+|\{\{\.[A-Za-z.]+\}\}|\$\([A-Za-z_][A-Za-z0-9_]*\)(?::[0-9]+)?")

_SCHEMED = re.compile(r"([A-Za-z0-9+.-]+)://([^\s\"'`;|&$(){}<>\\,\[\]]*)")


def harmless(token: str, *, words: bool) -> bool:
    """Return True if a word cannot name a model; with `words`, any word without a slash is harmless."""
    shape = _known_shape if len(token) <= MAX_CACHED else _shape
    found = shape(token)
    return found == "harmless" or (words and found == "word")


def _shape(token: str) -> Literal["harmless", "word", "other"]:
    """Return the shape of a word."""
    if (
        token in COMMON
        or _is_address(token)
        or not any(char.isalnum() or not char.isascii() or char in "$`\\" for char in token)
        or is_number(token)
        or is_path(token)
        or token.lower() in {"true", "false"}
    ):
        return "harmless"
    if is_disguised_address(token):
        return "other"
    return "other" if WORD.fullmatch(token) is None and _NETWORK.fullmatch(token) is None else "word"


def _is_address(token: str) -> bool:
    """Return True if a word is one text with a scheme, and no program or list that begins with one."""
    found = _SCHEMED.fullmatch(filled(token) if "://" in token else "")
    return found is not None and (found[1].lower() not in LOCAL or is_local_path(found[2]))


_known_shape = lru_cache(4096)(_shape)

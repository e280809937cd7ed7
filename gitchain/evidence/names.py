r"""One grammar for the names of artifacts and steps, checked before any rule sees a name.

An artifact name is a repository-relative POSIX path that is already normalised: `data/prepared/train.csv`.
A name that could be read in two ways (`a//b`, `./a`, `a/../b`, `a\b`, NFD instead of NFC) is refused, never
rewritten: rewriting could make two names equal after a rule has distinguished them.
A URI (`git+https://…`) does not name a path, so the path grammar does not apply to it.

Does NOT look at the disk, and does not know which names exist.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from gitchain.errors import LimitError, MalformedError

MAX_NAME_BYTES = 1024
"""Longest artifact name: below PATH_MAX (4096) on every system, far above any path that people write."""

MAX_STEP_NAME = 200
"""Longest step name in characters: a DVC stage address such as `sub/dvc.yaml:train@us` with room to spare."""

MAX_URI_BYTES = 4096
"""Longest URI: what browsers and proxies take; a longer one is data, not a name."""

_URI = re.compile(r"[a-z][a-z0-9+.-]*:.+", re.ASCII)
_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_REFUSED_CATEGORIES = frozenset({"Cc", "Cs", "Zl", "Zp"})


def _shown(name: str) -> str:
    return ascii(name[:100])


def _has_refused(text: str) -> bool:
    """Return whether the text holds a control, a line separator, a surrogate or a bidirectional override."""
    if text.isascii():
        return not text.isprintable()
    return any(char in _BIDI or unicodedata.category(char) in _REFUSED_CATEGORIES for char in text)


def check_name(name: str, what: str = "artifact name") -> str:
    """Return the name if it is a normalised repository-relative path.

    Raises MalformedError if it is not, or is longer than MAX_NAME_BYTES.
    """
    if not name:
        raise MalformedError(f"{what} is empty")
    if _has_refused(name):
        raise MalformedError(
            f"{what} holds a control character", where=_shown(name), help="rename the file without it"
        )
    if "\\" in name:
        raise MalformedError(f"{what} holds a backslash", where=_shown(name), help="separate with /")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise MalformedError(
            f"{what} is too long", where=_shown(name), expected=f"at most {MAX_NAME_BYTES} bytes in UTF-8"
        )
    if not unicodedata.is_normalized("NFC", name):
        raise MalformedError(
            f"{what} is not in Unicode normal form C",
            where=_shown(name),
            help="rename the file to its NFC form",
        )
    for part in name.split("/"):
        if part in {"", ".", ".."}:
            raise MalformedError(
                f"{what} is not a normalised relative path",
                where=_shown(name),
                expected="no empty, . or .. part, no / at either end",
            )
    return name


def check_names(names: Iterable[str]) -> None:
    """Check each name, and that no two are equal, or equal once case-folded and NFC-normalised.

    Raises MalformedError: two such names are one file on some systems and two on others.
    """
    seen: dict[str, str] = {}
    for name in names:
        check_name(name)
        folded = unicodedata.normalize("NFC", name.casefold())
        if folded in seen:
            same = seen[folded] == name
            raise MalformedError(
                "artifact name appears twice" if same else "two artifact names differ only in case",
                where=_shown(name),
                got="" if same else f"also {_shown(seen[folded])}",
            )
        seen[folded] = name


def check_step_name(name: str) -> str:
    """Return the step name if it is 1 to MAX_STEP_NAME printable characters with no space at either end.

    Raises MalformedError otherwise. DVC's addresses (`train@us`, `sub/dvc.yaml:train`) are step names.
    """
    if not 1 <= len(name) <= MAX_STEP_NAME:
        raise MalformedError(
            "step name has the wrong length",
            where=_shown(name),
            expected=f"1 to {MAX_STEP_NAME} characters",
            got=str(len(name)),
        )
    if not name.isprintable():
        raise MalformedError("step name holds an unprintable character", where=_shown(name))
    if name != name.strip():
        raise MalformedError("step name begins or ends with a space", where=_shown(name))
    if not unicodedata.is_normalized("NFC", name):
        raise MalformedError("step name is not in Unicode normal form C", where=_shown(name))
    return name


def check_uri(uri: str, what: str = "uri") -> str:
    """Return the URI if it starts with a lower-case scheme and holds no control character or space.

    Raises MalformedError otherwise. Nothing in gitchain ever fetches such a URI.
    """
    if _URI.fullmatch(uri) is None or _has_refused(uri) or " " in uri:
        raise MalformedError(f"{what} is not a URI", where=_shown(uri), expected="scheme:rest, no spaces")
    if len(uri.encode()) > MAX_URI_BYTES:
        raise LimitError(f"{what} is too long", where=_shown(uri), expected=f"at most {MAX_URI_BYTES} bytes")
    return uri

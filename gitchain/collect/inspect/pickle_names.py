"""Pickles: which of the names that a pickle imports are dangerous to load.

Whether a name is dangerous says a scanner that others keep up to date, picklescan (the extra `gitchain[inspect]`), plus a
few rules on top: names that reach through a module (`logging` / `os.system`), names as Python 2 spelled them, and functions
that load further code. It is a list of what is known to be bad. With `allowed` patterns it is the other way round: every
name must match one, which is the only way to be sure.

Does NOT import what it judges.
"""

from __future__ import annotations

import _compat_pickle  # the tables by which the unpickler itself renames what Python 2 wrote
import io
import itertools
import logging
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase

from gitchain.collect.inspect.pickle_machine import UNKNOWN, Name

_MODULES = frozenset({
    "_imp", "_posixsubprocess", "_thread", "code", "codeop", "concurrent", "dill", "imp", "importlib", "linecache",
    "marshal", "multiprocessing", "readline", "signal", "threading", "zipimport",
})  # fmt: skip
"""Modules whose functions start or load code, beyond the scanner's list."""

_FUNCTIONS = frozenset({
    ("builtins", "__import__"), ("builtins", "__build_class__"), ("builtins", "delattr"), ("builtins", "globals"),
    ("builtins", "input"), ("builtins", "locals"), ("builtins", "setattr"), ("builtins", "vars"), ("joblib", "load"),
    ("joblib.numpy_pickle", "load"), ("numpy", "load"), ("pandas", "read_pickle"), ("pandas.io.pickle", "read_pickle"),
    ("torch", "load"), ("torch.hub", "load"),
})  # fmt: skip

_REACHED = frozenset({
    "builtins", "ctypes", "importlib", "marshal", "nt", "os", "pickle", "posix", "pty", "runpy", "shutil", "socket",
    "subprocess", "sys",
})  # fmt: skip
"""Modules that are dangerous to get hold of through another module."""


def scanner_is_here() -> bool:
    """Tell whether the scanner is installed."""
    try:
        import picklescan.scanner  # noqa: F401 - only whether it is there
    except ImportError:
        return False
    return True


def dangerous(names: Iterable[Name], allowed: Sequence[str] = ()) -> tuple[Name, ...]:
    """Return the names that are dangerous, sorted; with `allowed`, those that no pattern allows as well."""
    found = set()
    for name in names:
        if name == UNKNOWN or (allowed and not _is_allowed(name, allowed)) or _is_known_bad(name):
            found.add(name)
    return tuple(sorted(found))


def _is_allowed(name: Name, allowed: Sequence[str]) -> bool:
    return any(fnmatchcase(".".join(name), pattern) for pattern in allowed)


def _is_known_bad(name: Name) -> bool:
    forms = tuple(_forms(name))
    return any(_is_ours(form) for form in forms) or _scanner_refuses(forms)


def _forms(name: Name) -> Iterator[Name]:
    """Yield every way in which the unpickler could take the name."""
    module, attribute = name
    yield name
    renamed = _compat_pickle.NAME_MAPPING.get(name)
    if renamed is not None:
        yield renamed
    yield _compat_pickle.IMPORT_MAPPING.get(module, module), attribute
    parts = attribute.split(".")
    for at in range(len(parts) - 1):  # protocol 4 walks a dotted attribute from module to module
        for reached in {parts[at], parts[at].lstrip("_")}:
            yield reached, ".".join(parts[at + 1 :])


def _is_ours(name: Name) -> bool:
    module, attribute = name
    parents = set(itertools.accumulate(module.split("."), lambda left, right: f"{left}.{right}"))
    return bool(
        parents & _MODULES
        or name in _FUNCTIONS
        or attribute.rpartition(".")[2].lstrip("_") in _REACHED
        or "__" in attribute.replace("__main__", "").strip("_")
    )


def _scanner_refuses(names: Iterable[Name]) -> bool:
    """Let the scanner judge a pickle that imports these names and does nothing else."""
    from picklescan.scanner import scan_pickle_bytes

    logging.getLogger("picklescan").addHandler(logging.NullHandler())  # it would speak to the terminal
    program = b"".join(f"c{module}\n{attribute}\n".encode("ascii") for module, attribute in names) + b"."
    result = scan_pickle_bytes(io.BytesIO(program), "names")
    return bool(result.issues_count or result.scan_err or not result.globals)

"""Lists of the names that models of a framework import at loading, and that run no code that the file chooses.

One JSON file a framework, with its `versions`, the lists that it `includes`, and `names` and `objects` as
`{module: [attribute, …]}`.
A pickle may import and call `names`. Of `objects` it may only make instances without calling the constructor, or keep
them: called, they open files, or call methods of what they are given.
`tests/collect/frameworks/generate.py` writes them from the installed frameworks; a list only grows, so that models of
earlier versions stay loadable. docs/inspections.md has the criteria for a list.
"""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import Literal


@lru_cache(maxsize=32)
def names_of(framework: str, kind: Literal["names", "objects"] = "names") -> frozenset[tuple[str, str]]:
    """Return the names of a framework, and of those that it includes, as pairs of module and attribute."""
    data = json.loads(files(__name__).joinpath(f"{framework}.json").read_text(encoding="utf-8"))
    own = frozenset((module, name) for module, names in data[kind].items() for name in names)
    return own.union(*(names_of(one, kind) for one in data["includes"]))

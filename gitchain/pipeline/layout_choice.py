"""Which pinned layout applies: the verifier says so, never the repository that brings the layout.

 1. By name (`--layout-name`): the signed layout must have that name.
 2. By a file of the verifier's own: any but a repository's `.gitchain/layout.sigstore.json`.
 3. By a pin that names this repository, or one that this repository is a clone of: same remote, or same first commits.
 4. By the only pin there is.

Where several pins could apply the layout is not verified: LayoutError, exit code 5. docs/layout.md (Which layout applies)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from gitchain.errors import GitchainError, LayoutError
from gitchain.pipeline.home import Pin, read_pins
from gitchain.platform.git import Git

DIRECTORY = ".gitchain"
"""The directory of a repository's own layout."""


def chosen_pin(wanted: str | None, path: Path, name: str, *, is_signer_named: bool) -> Pin | None:
    """Return the pin for the signed layout of this name at the path, None if there is none.

    `wanted` is the name that the verifier gave. A verifier that names the layout's signer and trust needs no pin.
    Raises LayoutError where another layout applies, or where several pins could.
    """
    pins = read_pins()
    if wanted is not None and wanted != name:
        raise LayoutError(
            "this is another layout than the one to verify by",
            where=str(path),
            expected=wanted,
            got=name,
        )
    if wanted is not None or path.parent.name != DIRECTORY:
        return pins.get(name)
    related = _related(path.absolute().parent.parent, pins)
    if len(related) == 1 and related[0].layout != name:
        raise LayoutError(
            "this repository brings another layout than the one it is pinned to",
            expected=related[0].layout,
            got=name,
            help=_what_to_type(name),
        )
    if len(related) != 1 and name in pins and len(pins) > 1 and not is_signer_named:
        raise LayoutError(
            "more than one pinned layout could apply to this repository",
            where=str(path),
            expected="one of " + ", ".join(sorted(pins)),
            got=f"the repository brings {name}",
            help=_what_to_type(name),
        )
    return pins.get(name)


def _what_to_type(name: str) -> str:
    return (
        f"--layout-name {name}   if you mean this layout; to bind this repository to it: "
        f"gitchain trust pin --layout {name} --signer IDENTITY"
    )


def _related(root: Path, pins: Mapping[str, Pin]) -> list[Pin]:
    """Return the pins that name this repository; else those that name one that it is a clone of."""
    own = _common_directory(root)
    named = [pin for pin in pins.values() if own is not None and str(own) in pin.repositories]
    if named or own is None or len(pins) < 2:
        return named
    marks = {*_marks(own)}
    return [
        pin
        for pin in pins.values()
        if any(not marks.isdisjoint(_marks(Path(place))) for place in pin.repositories)
    ]


def _common_directory(root: Path) -> Path | None:
    found = _lines(root, "rev-parse", "--path-format=absolute", "--git-common-dir")
    return Path(found[0]) if found else None


def _marks(repository: Path) -> Iterator[str]:
    """Yield what a clone has in common with the repository: its own place, its remotes' URLs, its first commits."""
    if not repository.is_dir():
        return
    yield _place(str(repository))
    for line in _lines(repository, "config", "--get-regexp", r"^remote\..*\.url$"):
        yield _place(line.partition(" ")[2])
    for commit in _lines(repository, "rev-list", "--max-parents=0", "HEAD"):
        yield f"commit {commit}"


def _place(url: str) -> str:
    """Return a remote's URL; of a directory of this machine its resolved path, without a last `.git`."""
    path = Path(url.removeprefix("file://"))
    if not path.is_absolute():
        return url.removesuffix("/").removesuffix(".git")
    return str(path.resolve()).removesuffix("/.git").removesuffix(".git")


def _lines(directory: Path, *args: str) -> list[str]:
    """Return the lines that a git command prints, none where it fails."""
    try:
        done = Git(directory, offline=True).run(*args)
    except GitchainError:
        return []
    return done.stdout.decode("utf-8", "surrogateescape").splitlines()

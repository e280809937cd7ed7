"""Selection of the pinned layout. The verifier selects it, never the repository that contains the layout.

1. By name (`--layout-name`): the signed layout must have that name.
2. By the verifier's own file: outside of the verified repository, and not `.gitchain/layout.sigstore.json`.
3. By a pin for this repository, or for one that it was cloned from or shares a remote with.
4. By the only pin, if there is exactly one.

If several pins could apply, LayoutError is raised (exit code 5). An attacker with push access also controls the first
commits of a clone: the first commits of a pinned repository forbid other layouts, but select none.

docs/layout.md (Which layout applies)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from gitchain.collect.paths import climbed
from gitchain.errors import GitchainError, LayoutError
from gitchain.platform.git import Git
from gitchain.workspace.user_directory import LayoutPin

DIRECTORY = ".gitchain"
"""The directory of a repository's own layout."""


def chosen_pin(
    pins: Mapping[str, LayoutPin],
    wanted: str | None,
    path: Path,
    name: str,
    *,
    is_signer_named: bool,
    root: Path | None = None,
) -> LayoutPin | None:
    """Return the pin for the signed layout with this name and path, or None.

    `pins` were read before the layout: another process may accept a newer layout, and pin its version, meanwhile.
    `wanted` is the name from the verifier, `root` the verified repository. A verifier that gives the layout's signer
    and trusted root needs no pin. Raises LayoutError if another layout applies, or if several pins could.
    """
    if wanted is not None and wanted != name:
        raise LayoutError(
            "this is another layout than the one to verify by",
            where=str(path),
            expected=wanted,
            got=name,
            help="give the layout of that name with --layout FILE, or another --layout-name",
        )
    repository = repository_of(path, root)
    if wanted is not None or repository is None:
        return pins.get(name)
    related, is_certain = _related(repository, pins)
    if len(related) == 1 and related[0].layout != name:
        raise LayoutError(
            "this repository brings another layout than the one it is pinned to",
            expected=related[0].layout,
            got=name,
            help=_what_to_type(name),
        )
    is_chosen = is_certain and len(related) == 1
    if not is_chosen and name in pins and len(pins) > 1 and not is_signer_named:
        raise LayoutError(
            "more than one pinned layout could apply to this repository",
            where=str(path),
            expected="one of " + ", ".join(sorted(pins)),
            got=f"the repository brings {name}",
            help=_what_to_type(name),
        )
    return pins.get(name)


def repository_of(path: Path, root: Path | None) -> Path | None:
    """Return the repository that owns the signed layout, or None for the verifier's own file.

    `root` is the verified repository: all of its files are untrusted.
    """
    absolute = path.absolute()
    if absolute.parent.name == DIRECTORY:
        return absolute.parent.parent
    if root is not None and any(one.is_relative_to(root) for one in (climbed(path), absolute.resolve())):
        return root
    return None


def _what_to_type(name: str) -> str:
    return (
        f"--layout-name {name}   if you mean this layout; to bind this repository to it: "
        f"gitchain trust pin --layout {name} --signer IDENTITY"
    )


def _related(root: Path, pins: Mapping[str, LayoutPin]) -> tuple[list[LayoutPin], bool]:
    """Return the pins for this repository, else for related ones, and whether the relation is certain.

    It is uncertain if only first commits are equal.
    """
    own = _common_directory(root)
    named = [pin for pin in pins.values() if own is not None and str(own) in pin.repositories]
    if named or own is None or len(pins) < 2:
        return named, True
    places, commits = set(_places(own)), set(_first_commits(own))
    found = [
        pin
        for pin in pins.values()
        if any(_shares(Path(repository), places, commits) for repository in pin.repositories)
    ]
    sure = [
        pin
        for pin in found
        if any(_shares(Path(repository), places, set()) for repository in pin.repositories)
    ]
    return found, found == sure


def _shares(repository: Path, places: set[str], commits: set[str]) -> bool:
    """Return True if a pinned repository shares one of the remotes or first commits."""
    if not repository.is_dir():
        return False
    return not places.isdisjoint(_places(repository)) or (
        bool(commits) and not commits.isdisjoint(_first_commits(repository))
    )


def _common_directory(root: Path) -> Path | None:
    found = _lines(root, "rev-parse", "--path-format=absolute", "--git-common-dir")
    return Path(found[0]) if found else None


def _places(repository: Path) -> Iterator[str]:
    """Yield the location of the repository and of its remotes."""
    yield _place(str(repository))
    for line in _lines(repository, "config", "--get-regexp", r"^remote\..*\.url$"):
        yield _place(line.partition(" ")[2])


def _first_commits(repository: Path) -> list[str]:
    return _lines(repository, "rev-list", "--max-parents=0", "HEAD")


def _place(url: str) -> str:
    """Return a remote's URL; for a local directory its resolved path without the suffix `.git`."""
    path = Path(url.removeprefix("file://"))
    if not path.is_absolute():
        return url.removesuffix("/").removesuffix(".git")
    return str(path.resolve()).removesuffix("/.git").removesuffix(".git")


def _lines(directory: Path, *args: str) -> list[str]:
    """Return the output lines of a git command, or none if it fails."""
    try:
        done = Git(directory, offline=True).run(*args)
    except GitchainError:
        return []
    return done.stdout.decode("utf-8", "surrogateescape").splitlines()

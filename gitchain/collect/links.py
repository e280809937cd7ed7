"""Resolve the links that may be followed while reading files: into DVC's cache, and in a Hugging Face cache.

    models--ORG--NAME/snapshots/REVISION/model.bin -> ../../blobs/HASH

A snapshot's links may lead to a file directly in `blobs` of the same repository's directory, and nowhere else: neither to
another link, nor to a directory, pipe or device, nor to a file that has a second name (a hard link), which could be
changed under a path outside of that directory. The file is opened from the root's handle, part by part without
following links, and it is the open file that is hashed.

Entries of a Kubernetes volume are links too: `gitchain.collect.paths`. Any other link is refused, by name.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from gitchain.collect.paths import (
    DVC_CACHE,
    HUGGING_FACE,
    OPEN_FILE,
    check_path_name,
    open_at,
    opened,
    read_link,
    refused_link,
)

if TYPE_CHECKING:
    from gitchain.collect.dvc_cache import CacheLinks

_REPOSITORY = re.compile(r"(?:models|datasets|spaces)--.+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class FollowedLink:
    """A link that may be followed: its kind, and its target as a path below a root without links."""

    kind: str
    root: str
    name: str
    text: str
    """The link's own text, for messages."""

    @property
    def path(self) -> str:
        """Return the link's target as an absolute path."""
        return os.path.join(self.root, self.name)

    def open(self, shown: str) -> int:
        """Open the file. Raises ProjectError if it is missing, not a regular file, or has a second name."""
        *parents, last = self.name.split("/")
        with opened(self.root, parents, shown) as parent:
            try:
                info = os.stat(last, dir_fd=parent, follow_symlinks=False)
            except OSError as error:
                raise refused_link(shown, self.text, "it leads to nothing") from error
            if not stat.S_ISREG(info.st_mode):
                raise refused_link(shown, self.text, "it leads to no regular file")
            handle = open_at(last, OPEN_FILE, parent, shown)
        if self.kind == HUGGING_FACE and os.fstat(handle).st_nlink > 1:
            os.close(handle)
            raise refused_link(shown, self.text, "the file has a second name (a hard link)")
        return handle


class AllowedLinks:
    """The links below a root that may be followed."""

    def __init__(self, root: str, cache: CacheLinks | None = None) -> None:
        self._root = root
        self._given = cache

    @cached_property
    def _cache(self) -> CacheLinks:
        from gitchain.collect.dvc_cache import CacheLinks

        return self._given or CacheLinks(self._root)

    def follow(self, name: str, parent: int, shown: str) -> FollowedLink:
        """Return the target of the link in the open directory; `shown` is its path below the root.

        Raises ProjectError for a link of no kind that is followed.
        """
        text = read_link(name, parent) or ""
        link = os.path.join(self._root, shown)
        found = _snapshot_link(link, text)
        if found is not None:
            root, below = found
            if not _is_blob(below):
                raise refused_link(shown, text, f"it leads out of the blobs of {os.path.basename(root)}")
            return FollowedLink(HUGGING_FACE, root, below, text)
        target = self._cache.target(link, shown)
        root, _, _ = target.rpartition("/")
        root, _, _ = root.rpartition("/")
        return FollowedLink(DVC_CACHE, root, os.path.relpath(target, root), text)

    def check(self, followed: FollowedLink, md5: str, shown: str) -> None:
        """Raise VerificationError unless an object in DVC's cache has the md5 that names it."""
        if followed.kind == DVC_CACHE:
            self._cache.check(followed.path, md5, shown)


def _snapshot_link(link: str, text: str) -> tuple[str, str] | None:
    """Return the repository's directory and the link's target below it, or None for a link outside of snapshots."""
    directory = os.path.realpath(os.path.dirname(link))
    parts = directory.split("/")
    for index in range(len(parts) - 2, 0, -1):
        if parts[index] == "snapshots" and _REPOSITORY.fullmatch(parts[index - 1]):
            root = "/".join(parts[:index])
            return root, os.path.relpath(os.path.normpath(os.path.join(directory, text)), root)
    return None


def _is_blob(below: str) -> bool:
    first, _, name = below.partition("/")
    return first == "blobs" and bool(name) and "/" not in name and check_path_name(name) == name

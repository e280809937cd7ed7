"""Open a file to inspect, by its name below a root; follow the same links as hashing does.

As when files are hashed (`gitchain.collect.files`): part by part, so that no other part of the name can be a link.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from gitchain.collect.paths import (
    OPEN_DIRECTORY,
    OPEN_FILE,
    check_path_name,
    is_volume_link,
    open_at,
    opened,
    unreadable,
    volume_directory,
)


@contextmanager
def open_file(root: str, name: str) -> Iterator[int]:
    """Open the file at `name` below `root`. Raises ProjectError unless it exists, is a regular file and is not refused."""
    *parents, last = check_path_name(name).split("/")
    with opened(root, parents, name) as parent:
        handle = _open(root, last, parent, name)
    try:
        yield handle
    finally:
        os.close(handle)


def _open(root: str, last: str, parent: int, name: str) -> int:
    try:
        info = os.stat(last, dir_fd=parent, follow_symlinks=False)
    except OSError as error:
        raise unreadable(error, name) from error
    if not stat.S_ISLNK(info.st_mode):
        return open_at(last, OPEN_FILE, parent, name)
    if not is_volume_link(last, parent):
        from gitchain.collect.links import AllowedLinks

        return AllowedLinks(root).follow(last, parent, name).open(name)
    behind = open_at(volume_directory(parent, name) or "", OPEN_DIRECTORY, parent, name)
    try:
        return open_at(last, OPEN_FILE, behind, name)
    finally:
        os.close(behind)

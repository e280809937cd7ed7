"""Opens a file to inspect, by its name below a root, following nothing but DVC's own links into its cache.

As when files are hashed (`gitchain.collect.files`): part by part, so that no part of the name can be a link.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from gitchain.collect.dvc_cache import CacheLinks
from gitchain.collect.paths import OPEN_FILE, check_path_name, open_at, opened, unreadable


@contextmanager
def open_file(root: str, name: str) -> Iterator[int]:
    """Open the file at `name` below `root`; raises ProjectError for what is missing, a link or no regular file."""
    *parents, last = check_path_name(name).split("/")
    with opened(root, parents, name) as parent:
        try:
            info = os.stat(last, dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            raise unreadable(error, name) from error
        link = CacheLinks(root).target(os.path.join(root, name), name) if stat.S_ISLNK(info.st_mode) else None
        handle = open_at(link or last, OPEN_FILE, parent, name)
    try:
        yield handle
    finally:
        os.close(handle)

"""A lock has one holder, and ends with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gitchain.errors import StoreError
from gitchain.platform.files import hold_lock, open_lock, take_lock, try_lock


def test_open_lock_makes_the_file_and_never_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link", "/dev/null"):
        with pytest.raises(OSError, match="not a regular file"):
            open_lock(tmp_path / name)
    for _ in range(2):
        with open_lock(tmp_path / "lock") as lock:
            assert lock.read() == b""
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_locks_have_one_holder(tmp_path: Path) -> None:
    """Of several that may share, none waits; a lock that cannot be taken is an error."""
    path = tmp_path / "lock"
    with hold_lock(path), try_lock(path) as is_second, open_lock(path) as third:
        assert not is_second
        assert not take_lock(third, 0.01)
    with open_lock(path) as first, open_lock(path) as second, try_lock(path) as is_third:
        assert is_third
        assert not take_lock(first, shared=True)
    with open_lock(path) as first, open_lock(path) as second:
        assert take_lock(first, shared=True)
        assert take_lock(second, shared=True)
        assert not take_lock(second)
    with pytest.raises(StoreError, match="cannot take a lock"), hold_lock(tmp_path):
        pass
    with pytest.raises(StoreError, match="cannot take a lock"), try_lock(tmp_path):
        pass


def test_a_lock_ends_with_the_process_that_holds_it(tmp_path: Path) -> None:
    """`take_lock` waits until it is free."""
    code = "import sys, time; from gitchain.platform.files import *; from pathlib import Path\n"
    code += "with hold_lock(Path(sys.argv[1])): print(flush=True); time.sleep(600)"
    holder = subprocess.Popen([sys.executable, "-c", code, tmp_path / "lock"], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    holder.stdout.readline()
    with open_lock(tmp_path / "lock") as lock:
        assert not take_lock(lock)
        holder.kill()
        assert take_lock(lock, 30)
    holder.communicate()

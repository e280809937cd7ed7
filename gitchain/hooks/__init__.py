"""Git hooks: installation beside existing hooks, and the drainer that attests the events they queue.

`gitchain.hooks.events` and `gitchain.hooks.drainer` need the signing stack and are imported by name.
"""

from __future__ import annotations

from gitchain.hooks.failure_log import troubles
from gitchain.hooks.install import HookState, HookStatus, install, remove, status

__all__ = ["HookState", "HookStatus", "install", "remove", "status", "troubles"]

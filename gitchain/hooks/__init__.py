"""The Git hooks: install them beside what is there; the drainer turns what they queued into attestations.

`gitchain.hooks.events` and `gitchain.hooks.drainer` need the signing stack and are imported by name.
"""

from __future__ import annotations

from gitchain.hooks.install import HookState, HookStatus, install, remove, status
from gitchain.hooks.troubles import troubles

__all__ = ["HookState", "HookStatus", "install", "remove", "status", "troubles"]

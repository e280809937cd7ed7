"""The Git hooks: install them beside what is there; the drainer turns what they queued into attestations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitchain.hooks.install import HookState, HookStatus, install, remove, status
from gitchain.hooks.troubles import troubles

if TYPE_CHECKING:
    from gitchain.hooks.drainer import drain
    from gitchain.hooks.events import catch_up

__all__ = ["HookState", "HookStatus", "catch_up", "drain", "install", "remove", "status", "troubles"]


def __getattr__(name: str) -> object:
    """Import what needs the signing stack when it is asked for: installing hooks does not."""
    if name == "catch_up":
        from gitchain.hooks.events import catch_up

        return catch_up
    if name == "drain":
        from gitchain.hooks.drainer import drain

        return drain
    raise AttributeError(name)

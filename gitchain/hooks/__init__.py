"""The Git hooks: install them beside what is there; the drainer turns what they queued into attestations."""

from __future__ import annotations

from gitchain.hooks.install import HookState, HookStatus, install, remove, status

__all__ = ["HookState", "HookStatus", "install", "remove", "status"]

"""The embedded Sigstore instance (docs/design.md section 7, profile `local`)."""

from __future__ import annotations

from gitchain.instance.local import Instance

__all__ = ["Instance"]

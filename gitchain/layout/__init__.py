"""Layouts: their model, their language, and artifact rules. docs/layout.md is the reference."""

from __future__ import annotations

from gitchain.layout.load import layout_from_json, parse_layout
from gitchain.layout.model import Functionary, Identity, Layout, ServedProducts, Step

__all__ = ["Functionary", "Identity", "Layout", "ServedProducts", "Step", "layout_from_json", "parse_layout"]

"""Verification: bundles to verified statements, then a layout and statements to a decision."""

"""Verification for users: targets, layouts, evidence, history, guard and fetch."""

"""Collect the facts for statements: materials, products, command, parameters, environment, from disk, Git and DVC."""

"""A step of signed sources: products and no materials, and SSH keys may do it alone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gitchain.errors import LayoutError
from gitchain.evidence.vocabulary import SOURCE
from gitchain.layout import parse_layout
from gitchain.layout.lint import lint

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c"
TEXT = f"""\
schema: https://gitchain.dev/layout/v1
name: signed
version: 1
expires: '2099-01-01T00:00:00Z'
functionaries:
  dev: {{identities: [{{ssh: "{KEY}"}}]}}
  ci: {{identities: [{{issuer: 'https://issuer.example.com', subject: ci@example.com}}]}}
steps:
  - name: source
    predicateType: TYPE
    functionaries: [dev]
    expectedProducts: [[ALLOW, train.py], [DISALLOW, '*']]
  - name: train
    functionaries: [ci]
    expectedMaterials: [[MATCH, train.py, WITH, PRODUCTS, FROM, source], [DISALLOW, '*']]
    expectedProducts: [[CREATE, model.bin], [DISALLOW, '*']]
serve: [{{step: train, products: [model.bin]}}]
"""
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_an_ssh_key_may_sign_sources_alone() -> None:
    """Such a step has products and no materials, and lint finds nothing unsatisfiable in it."""
    layout = parse_layout(TEXT.replace("TYPE", SOURCE).encode())
    step = layout.step("source")
    assert (step.has_products, step.has_materials, step.transformational) == (True, False, True)
    assert not [one for one in lint(layout, NOW) if one.severity == "error"]


def test_materials_of_signed_sources_are_refused() -> None:
    """Nothing goes into a commit, so a rule about it would never be asked."""
    text = TEXT.replace("TYPE", SOURCE).replace(
        "    expectedProducts: [[ALLOW",
        "    expectedMaterials: [[DISALLOW, '*']]\n    expectedProducts: [[ALLOW",
        1,
    )
    with pytest.raises(LayoutError):
        parse_layout(text.encode())


def test_an_ssh_key_signs_no_other_step() -> None:
    """Attestations are not signed with it: lint says so, as before."""
    text = TEXT.replace("TYPE", "https://slsa.dev/provenance/v1")
    found = {one.code.name for one in lint(parse_layout(text.encode()), NOW) if one.severity == "error"}
    assert "UNSATISFIABLE" in found

"""Every limit of the rooms that decide, by its number.

A limit is part of what others can rely on: a larger one lets in what was refused, a smaller one refuses what was
signed long ago. That the code holds to a limit is tested beside that code.
"""

from __future__ import annotations

import ast
import importlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import gitchain

LIMITS: dict[str, Any] = {
    "evidence.cosignature.MAX_KEY_CHARS": 1024,
    "evidence.cosignature.MAX_TIME": 2**63 - 1,
    "evidence.deployment.MAX_FIELD": 1024,
    "evidence.deployment.MAX_CODES": 32,
    "evidence.gitobject.MAX_OBJECT_BYTES": 1_048_576,
    "evidence.gitobject.MAX_SIGNATURE_BYTES": 65_536,
    "evidence.gitobject.MAX_LINE": 76,
    "verify.cms.MAX_TIMESTAMPS": 32,
    "verify.witnesses.MAX_POLICY_BYTES": 65_536,
    "verify.witnesses.MAX_NAMES": 256,
    "evidence.bundle.MAX_BUNDLE_BYTES": 25_165_824,
    "evidence.bundle.MAX_ENTRIES": 32,
    "evidence.bundle.MAX_TIMESTAMPS": 32,
    "evidence.bundle.MAX_CHAIN": 10,
    "evidence.bundle.MAX_HINT_CHARS": 1024,
    "evidence.canonical.MAX_JSON_BYTES": 2**24,
    "evidence.canonical.MAX_JSON_DEPTH": 64,
    "evidence.canonical.MAX_JSON_VALUES": 400_000,
    "evidence.canonical.MAX_SAFE_INTEGER": 2**53 - 1,
    "evidence.checkpoint.MAX_CHECKPOINT_CHARS": 1_000_000,
    "evidence.checkpoint.MAX_SIGNATURES": 100,
    "evidence.checkpoint.MAX_EXTENSIONS": 16,
    "evidence.digest.MAX_DIGESTS": 32,
    "evidence.digest.MAX_DIGEST_CHARS": 1024,
    "evidence.dsse.MAX_PAYLOAD_TYPE": 256,
    "evidence.dsse.MAX_SIGNATURES": 32,
    "evidence.dsse.MAX_SIGNATURE_BYTES": 1024,
    "evidence.dsse.MAX_KEYID": 1024,
    "evidence.entry.MAX_PROOF_HASHES": 64,
    "evidence.entry.MAX_BODY_BYTES": 2**20,
    "evidence.entry.MAX_DER_BYTES": 2**16,
    "evidence.entry.MAX_KIND_CHARS": 64,
    "evidence.fields.MAX_UINT_DIGITS": 19,
    "evidence.store_checkpoint.MAX_ADDED": 2**12,
    "evidence.store_checkpoint.MAX_PREVIOUS": 256,
    "evidence.manifest.MAX_DIRECTORY_ENTRIES": 1_000_000,
    "evidence.manifest.MAX_NODE_BYTES": 2**28,
    "evidence.manifest.MAX_FILES": 10_000_000,
    "evidence.manifest.MAX_DEPTH": 512,
    "evidence.merkle.MAX_TREE_SIZE": 2**63 - 1,
    "evidence.names.MAX_NAME_BYTES": 1024,
    "evidence.names.MAX_STEP_NAME": 200,
    "evidence.names.MAX_URI_BYTES": 2**12,
    "evidence.oms.MAX_RESOURCES": 100_000,
    "evidence.oms.MAX_IGNORED": 1000,
    "evidence.openpgp.MAX_HEADERS": 8,
    "evidence.openpgp.MAX_KEY_BYTES": 2**16 - 1,
    "evidence.openpgp.MAX_LINE": 76,
    "evidence.openpgp.MAX_PACKETS": 1000,
    "evidence.revocation.MAX_REVOKED": 10_000,
    "evidence.revocation.MAX_IDENTITY_CHARS": 2**11,
    "evidence.statement.MAX_DESCRIPTORS": 10_000,
    "evidence.statement.MAX_MEDIA_TYPE": 256,
    "evidence.tile.MAX_LEVEL": 7,
    "evidence.tile.MAX_ENTRY_BYTES": 65_535,
    "evidence.vocabulary.MAX_TEXT": 10_000,
    "layout.artifact.MAX_CONTENTS": 10_000,
    "layout.artifact.MAX_OPENED_FILES": 1_000_000,
    "layout.casefile.MAX_CASE_BYTES": 2**20,
    "layout.casefile.MAX_STATEMENTS": 1000,
    "layout.cel_cost.MAX_WORK": 4_000_000,
    "layout.cel_cost.MAX_TURNS": 10_000,
    "layout.cel_cost.MAX_PATTERN": 256,
    "layout.cel_cost.MAX_NESTING": 4,
    "layout.fields.MAX_TEXT": 2**11,
    "layout.constraint.MAX_VALUES": 200_000,
    "layout.constraint.MAX_LEVELS": 128,
    "layout.constraint.MAX_COMPILED": 1024,
    "layout.constraint.MAX_PROBLEM": 300,
    "layout.constraint.MAX_SEEN": 4,
    "layout.keys.MAX_KEY_CHARS": 2**13,
    "layout.lint.MAX_LIFETIME": timedelta(days=398),
    "layout.lint_functionaries.MAX_COMPARED": 2000,
    "layout.load.MAX_LAYOUT_BYTES": 2**20,
    "layout.load.MAX_SIGNED_BYTES": 2**22,
    "layout.load.MAX_CONSTRAINTS": 100,
    "layout.load.MAX_INSPECTIONS": 100,
    "layout.load.MAX_DURATION": timedelta(days=36_500),
    "layout.model.MAX_STEPS": 1000,
    "layout.model.MAX_FUNCTIONARIES": 10_000,
    "layout.openpgp.MAX_BLOCK_CHARS": 2**15,
    "layout.parts.MAX_EXPRESSION": 2**12,
    "layout.parts.MAX_SIZE": 2**53 - 1,
    "layout.rule.MAX_PATTERN_BYTES": 1024,
    "layout.step.MAX_VERSION": 2**53 - 1,
    "layout.yaml.MAX_DEPTH": 32,
    "verify.verified.MAX_CLOCK_SKEW": timedelta(seconds=300),
    "verify.bundle.MAX_KEYS": 100,
    "verify.bundle.MAX_NAMED": 3,
    "verify.certificate.MAX_SCTS": 16,
    "verify.constraints.MAX_ROWS": 1000,
    "verify.explain.MAX_BESIDE": 100,
    "verify.explain.MAX_SEEDS": 8,
    "verify.keys.MAX_RSA_BITS": 2**13,
    "verify.witnesses.MAX_TIME": 253_402_300_799,
    "verify.trust.MAX_REMEMBERED": 2**12,
    "verify.sublayout_candidates.MAX_DEPTH": 4,
    "verify.oms.MAX_CHAIN": 8,
    "verify.step_diagnostics.MAX_PER_STEP": 5,
    "verify.other_statements.MAX_OTHERS": 5,
    "verify.step_diagnostics.MAX_FILES": 10,
    "verify.search.MAX_UNDER": 20_000,
    "verify.search.MAX_CHECKS": 20_000,
    "verify.trust.MAX_TRUST_BYTES": 2**20,
    "verify.trust.MAX_KEYS": 1000,
    "verify.vsa_check.MAX_LEVELS": 100,
}


def _limits() -> dict[str, Any]:
    """Return every MAX_… that a module of these rooms sets."""
    found: dict[str, Any] = {}
    for room in ("evidence", "layout", "verify"):
        for path in sorted((Path(gitchain.__file__).parent / room).glob("*.py")):
            for node in ast.parse(path.read_text("utf-8")).body:
                targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
                for name in (target.id for target in targets if isinstance(target, ast.Name)):
                    if name.startswith("MAX_"):
                        module = importlib.import_module(f"gitchain.{room}.{path.stem}")
                        found[f"{room}.{path.stem}.{name}"] = getattr(module, name)
    return found


def test_every_limit_is_the_number_that_was_decided() -> None:
    """No limit changes, comes or goes without this table."""
    assert _limits() == LIMITS

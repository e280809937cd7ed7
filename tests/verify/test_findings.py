"""Findings: every code with its meaning and its advice, as golden/findings.json holds them, in the order of the codes."""

from __future__ import annotations

import json
from pathlib import Path

from gitchain.verify.findings import ADVICE, MEANINGS, FindingCode

GOLDEN = Path(__file__).parent / "golden" / "findings.json"


def test_code_meaning_advice_are_the_golden_table() -> None:
    """Programs compare the codes, people follow the advice: a change of either must be a change of the table."""
    table = {
        code.name: {"code": code.value, "meaning": MEANINGS.get(code), "advice": ADVICE.get(code)}
        for code in FindingCode
    }
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert table == golden
    assert list(table) == list(golden)

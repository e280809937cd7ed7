"""The page, the schemas and the code say the same about admission."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from gitchain.admit import references
from gitchain.admit.config import SCHEMA, read_settings
from gitchain.admit.denial_reasons import MEANINGS
from gitchain.admit.kinds import KNOWN
from gitchain.errors import UsageError
from gitchain.layout.yaml import read_yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "admission.md").read_text(encoding="utf-8")
SETTINGS = re.findall(r"^```yaml\n(.*?)\n```$", PAGE, re.DOTALL | re.MULTILINE)[0]


def schema(name: str) -> Draft202012Validator:
    document: dict[str, Any] = json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text())
    return Draft202012Validator(document)


def test_the_codes_are_those_of_the_code() -> None:
    """Each code is on the page, in order, with its meaning."""
    rows = re.findall(r"^\| `(GC-A\d{4})` \| (.+?) \| .+ \|$", PAGE, re.MULTILINE)
    assert rows == [(str(code), meaning) for code, meaning in MEANINGS.items()]


def test_the_kinds_are_those_of_the_code() -> None:
    """The page names every kind that is looked at."""
    assert [one.kind for one in KNOWN if f"`{one.kind}`" not in PAGE] == []
    assert all(f"`{scheme}`" in PAGE for scheme in references.OCI_SCHEMES)


def test_the_example_is_good(tmp_path: Path) -> None:
    """The page's settings satisfy the schema and are read."""
    assert list(schema("serve").iter_errors(read_yaml(SETTINGS))) == []
    (tmp_path / "serve.yaml").write_text(SETTINGS)
    found = read_settings(tmp_path / "serve.yaml")
    assert found.sources["credit"].layout == tmp_path / "credit.sigstore.json"
    assert [one.mode for one in found.rules] == ["enforce", "warn", "audit"]


BROKEN = {
    "another schema": (SCHEMA, "https://gitchain.dev/serve/v2"),
    "unknown field": ("decisions:", "decision:"),
    "unknown mode": ("mode: warn", "mode: Off"),
    "unknown layout": ("[ml-dev], layout: credit", "[ml-dev], layout: other"),
    "no signer": ('[{issuer: "https://issuer.example.com", subject: risk@example.com}]', "[]"),
    "no evidence": ("repository: evidence ", "# "),
    "text for a boolean": ("claims: true", 'claims: "true"'),
    "out of range": ("answer: 8", "answer: 30"),
    "no namespace": ("[ml-dev]", "[]"),
    "evidence that goes stale at once": ("fresh: 60", "fresh: 9"),
    "a duplicate": ("decisions: 10000", "decisions: 10000\ndecisions: 10000"),
    "not YAML": ("rules:", "rules: ["),
}


@pytest.mark.parametrize(("old", "new"), BROKEN.values(), ids=BROKEN)
def test_broken_settings_are_refused(tmp_path: Path, old: str, new: str) -> None:
    """Nothing starts on settings that are not understood to the last field, and the message names the file."""
    assert old in SETTINGS
    text = SETTINGS.replace(old, new, 1)
    if old.startswith("repository"):
        text = text.replace("    evidence: [", "    # [")
    (tmp_path / "serve.yaml").write_text(text)
    with pytest.raises(UsageError) as caught:
        read_settings(tmp_path / "serve.yaml")
    assert "serve.yaml" in caught.value.where
    if "duplicate" not in text and old not in {"fresh: 60", "rules:", "decisions: 10000"}:
        try:
            value = read_yaml(text)
        except Exception:  # noqa: BLE001 - YAML itself is broken
            return
        if "layout: other" not in text:
            assert list(schema("serve").iter_errors(value))


def test_settings_that_are_not_there_are_refused(tmp_path: Path) -> None:
    """A file that is missing, no text, or endless."""
    with pytest.raises(UsageError):
        read_settings(tmp_path / "none.yaml")
    for data in (b"\xff", b"#" * (1 << 20) + b"##"):
        (tmp_path / "serve.yaml").write_bytes(data)
        with pytest.raises(UsageError):
            read_settings(tmp_path / "serve.yaml")

"""Typical mistakes in the settings: one clear error each, that names the file and the field, from `serve` and from `admit`."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from gitchain.cli.main import run
from tests.support.admission import AdmissionFiles, certificate, oci, pod

MISTAKES: dict[str, tuple[str, str, str]] = {
    "the schema left out": ("schema: https://gitchain.dev/serve/v1", "", "schema"),
    "another version": ("serve/v1", "serve/v9", "schema"),
    "layouts as a list": ("layouts:\n  credit:", "layouts:\n  - name: credit", "layouts"),
    "no layouts": ("layouts:", "layout:", "layouts"),
    "a field in another spelling": ("signers:", "signer:", "signers"),
    "signers as one map": (
        'signers: [{issuer: "ISSUER", subject: ada@example.com}]',
        "signers: {issuer: x}",
        "signers",
    ),
    "a signer as a text": (
        '[{issuer: "ISSUER", subject: ada@example.com}]',
        "[ada@example.com]",
        "signers[0]",
    ),
    "a signer without an issuer": ('issuer: "ISSUER", subject', "subject", "signers[0].issuer"),
    "no signer": ('[{issuer: "ISSUER", subject: ada@example.com}]', "[]", "signers"),
    "no trust": ("    trust: trust.json\n", "", "trust"),
    "no evidence": ("    repository: repo\n", "", "layouts.credit"),
    "an empty source": ("    repository: repo\n", '    evidence: [""]\n', "layouts.credit.evidence[0]"),
    "a source with one slash": (
        "    repository: repo\n",
        "    evidence: ['git+https:/h']\n",
        "credit.evidence[0]",
    ),
    "a source of Windows": ("    repository: repo\n", "    evidence: ['C:\\x']\n", "credit.evidence[0]"),
    "a blank source": ("    repository: repo\n", "    evidence: [' ']\n", "credit.evidence[0]"),
    "a source without a tag": (
        "    repository: repo\n",
        "    evidence: ['oci://h/x']\n",
        "credit.evidence[0]",
    ),
    "a source with a login": (
        "    repository: repo\n",
        "    evidence: ['git+https://u:p@h/x']\n",
        "credit.evidence[0]",
    ),
    "a source without TLS": (
        "    repository: repo\n",
        "    evidence: ['git+http://h/x']\n",
        "credit.evidence[0]",
    ),
    "a blank path": ("repository: repo", "repository: ' '", "credit.repository"),
    "a trust without TLS": ("trust: trust.json", "trust: 'http://h/x'", "credit.trust"),
    "a NUL in a path": ("repository: repo", 'repository: "a\\0b"', "line"),
    "evidence as a text": ("    repository: repo\n", "    evidence: repo\n", "evidence"),
    "a version as a text": ("    trust:", '    minimumVersion: "3"\n    trust:', "minimumVersion"),
    "a version below 0": ("    trust:", "    minimumVersion: -3\n    trust:", "minimumVersion"),
    "namespaces as a text": ('namespaces: [prod, "prod-*"]', "namespaces: prod", "rules[0].namespaces"),
    "a rule for no namespace": ('namespaces: [prod, "prod-*"]', "namespaces: []", "rules[0].namespaces"),
    "an unknown layout": ("layout: credit, strict", "layout: credits, strict", "rules[1].layout"),
    "an unknown mode": ("mode: warn", "mode: warning", "mode"),
    "a mode as a boolean": ("mode: audit", "mode: false", "mode"),
    "a boolean as a text": ("strict: false", 'strict: "no"', "strict"),
    "YAML 1.1's no": ("strict: false", "strict: no", "strict"),
    "a field of another rule": ("claims: true", "claim: true", "claim"),
    "seconds with a unit": ("rules:", "times: {refresh: 10s}\nrules:", "times.refresh"),
    "seconds out of range": ("rules:", "times: {answer: 60}\nrules:", "times.answer"),
    "fresh below refresh": ("rules:", "times: {refresh: 60, fresh: 10}\nrules:", "times.fresh"),
    "an unknown time": ("rules:", "times: {timeout: 5}\nrules:", "times.timeout"),
    "a guard by its tag": ("claims: true", 'claims: true, guard: {image: "r/g:v1"}', "guard.image"),
    "no rules": ("rules:", "rule:", "rules"),
    "the same key twice": ("rules:", "rules: []\nrules:", "line"),
    "a tab": ("    trust:", "\ttrust:", ""),
    "an anchor": ("layouts:", "layouts: &a", "line"),
}


@pytest.mark.parametrize(("old", "new", "field"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_one_clear_error(
    models: AdmissionFiles, tmp_path: Path, capfd: pytest.CaptureFixture[str], old: str, new: str, field: str
) -> None:
    """Usage, with the file and the field in one place, and advice; nothing else is printed, and nothing starts."""
    issuer = models.settings.sources["credit"].signers[0].issuer
    text = (models.top / "serve.yaml").read_text()
    old, new = old.replace("ISSUER", issuer), new.replace("ISSUER", issuer)
    assert old in text
    rules, source = tmp_path / "serve.yaml", tmp_path / "pod.yaml"
    rules.write_text(text.replace(old, new, 1))
    source.write_text(yaml.safe_dump(pod(oci("good"))))
    (tmp_path / "tls").mkdir()
    pair = certificate(tmp_path / "tls")
    told = []
    for arguments in (
        ["serve", "--certificate", str(pair[0]), "--key", str(pair[1]), "--listen", "127.0.0.1:0"],
        ["admit", "-f", str(source), "-n", "prod"],
    ):
        assert run([*arguments, "--settings", str(rules)]) == 2
        found = capfd.readouterr()
        assert found.out == ""
        told.append(found.err)
    assert told[0] == told[1]
    lines = told[0].splitlines()
    assert lines[0].startswith("error: ")
    (where,) = [line for line in lines if line.startswith("  where ")]
    assert str(rules) in where
    assert field in where
    assert any(line.startswith("  help ") for line in lines)
    assert len(lines) <= 5

"""Results of `gitchain verify` for CI systems: JUnit XML (--junit) and SARIF 2.1.0 (--sarif), beside the job summary.

Formats: https://github.com/testmoapp/junitxml for what CI systems read as JUnit XML;
https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html. Both are made from the documents that `verify --json`
prints. All texts may come from evidence: characters that are not printable are written as escapes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.etree import ElementTree as ET

from gitchain import __version__
from gitchain.cli.output import escape
from gitchain.errors import GitchainError, StoreError, os_errors_as
from gitchain.evidence.digest import sha256_hex
from gitchain.verify.findings import MEANINGS, FindingCode

if TYPE_CHECKING:
    from gitchain.layout.model import Layout

Document = Mapping[str, Any]
SARIF = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
HELP = "https://gitchain.dev/docs/findings"
MAX_RESULTS = 5000
"""GitHub shows at most 5,000 results of a SARIF run; the rest is left out, errors first in the order of the targets."""


@dataclass(frozen=True, slots=True)
class CiReports:
    """The files that `verify` writes for CI systems; None for those not wanted."""

    summary: Path | None
    junit: Path | None
    sarif: Path | None

    def write(
        self,
        decided: Sequence[tuple[str, Document]],
        failed: Sequence[tuple[str, GitchainError]],
        layout: Layout | None,
    ) -> None:
        """Write the decisions and the targets without a verdict. Raises StoreError if a file cannot be written."""
        if self.summary is not None:
            from gitchain.cli import job_summary

            documents = [document for _, document in decided]
            pages = [job_summary.verdicts(documents, layout)] if documents and layout else []
            pages += [job_summary.failures(failed)] if failed else []
            job_summary.append(self.summary, "\n".join(pages))
        if self.junit is not None:
            _write(self.junit, junit(decided, failed), "--junit FILE")
        if self.sarif is not None:
            text = json.dumps(sarif(decided, failed), indent=2, ensure_ascii=True)
            _write(self.sarif, f"{text}\n".encode("ascii"), "--sarif FILE")


def _write(path: Path, data: bytes, option: str) -> None:
    with os_errors_as(StoreError, "cannot write the report", path, help=option):
        path.write_bytes(data)


def junit(decided: Sequence[tuple[str, Document]], failed: Sequence[tuple[str, GitchainError]]) -> bytes:
    """Return one test case for each model, passed or failed with its findings, and one for each target without a verdict."""
    failures = sum(not _passed(document) for _, document in decided)
    counts = {"tests": len(decided) + len(failed), "failures": failures, "errors": len(failed)}
    totals = {"name": "gitchain verify"} | {name: str(count) for name, count in counts.items()}
    top = ET.Element("testsuites", totals)
    suite = ET.SubElement(top, "testsuite", totals)
    for target, document in decided:
        case = ET.SubElement(suite, "testcase", classname="gitchain.verify", name=_name(target, document))
        findings = document["findings"]
        if not _passed(document):
            first = next(one for one in findings if one["severity"] == "error")
            node = ET.SubElement(case, "failure", type=first["code"], message=escape(first["message"]))
            node.text = "\n".join(_lines(findings))
        elif findings:
            ET.SubElement(case, "system-out").text = "\n".join(_lines(findings))
    for target, error in failed:
        case = ET.SubElement(suite, "testcase", classname="gitchain.verify", name=escape(target))
        node = ET.SubElement(case, "error", type=type(error).__name__, message=escape(error.what))
        node.text = _details(error)
    ET.indent(top)
    text: bytes = ET.tostring(top, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def sarif(
    decided: Sequence[tuple[str, Document]], failed: Sequence[tuple[str, GitchainError]]
) -> dict[str, Any]:
    """Return a SARIF log with one result for each finding, and for each target without a verdict."""
    results = [
        _result(target, document, finding) for target, document in decided for finding in document["findings"]
    ]
    results += [_no_verdict(target, error) for target, error in failed]
    results.sort(key=lambda result: result["level"] != "error")
    used = dict.fromkeys(str(result["ruleId"]) for result in results[:MAX_RESULTS])
    driver = {
        "name": "gitchain",
        "version": __version__,
        "informationUri": "https://gitchain.dev/",
        "rules": [_rule(code) for code in used],
    }
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results[:MAX_RESULTS]}
    return {"$schema": SARIF, "version": "2.1.0", "runs": [run]}


def _rule(code: str) -> dict[str, Any]:
    known = code in {str(one) for one in FindingCode}
    meaning = MEANINGS[FindingCode(code)] if known else "there is no verdict about the target"
    return {"id": code, "shortDescription": {"text": meaning}, "helpUri": HELP}


def _result(target: str, document: Document, finding: Document) -> dict[str, Any]:
    place = _location(target, document["resource"].get("name"))
    if finding.get("step"):
        place["logicalLocations"] = [{"name": escape(finding["step"]), "kind": "step"}]
    text = "\n".join(_details_of(finding))
    digest = document["resource"]["digest"].get("sha256", "")
    name = document["resource"].get("name")
    parts = (finding["code"], finding.get("step"), finding.get("artifact"), target, name)
    return {
        "ruleId": finding["code"],
        "level": "error" if finding["severity"] == "error" else "warning",
        "message": {"text": text},
        "locations": [place],
        "partialFingerprints": {"finding/v1": sha256_hex(json.dumps(parts).encode("ascii"))},
        "properties": {"target": escape(target), "sha256": digest},
    }


def _no_verdict(target: str, error: GitchainError) -> dict[str, Any]:
    kind = type(error).__name__
    return {
        "ruleId": kind,
        "level": "error",
        "message": {"text": f"{escape(error.what)}\n{_details(error)}".rstrip()},
        "locations": [_location(target, None)],
        "partialFingerprints": {"finding/v1": sha256_hex(json.dumps([kind, target]).encode("ascii"))},
        "properties": {"target": escape(target)},
    }


def _location(target: str, name: str | None) -> dict[str, Any]:
    """Return the model as a relative reference, and its first line: code scanning shows a result only with both.

    A target without a name, such as a digest, has the layout's file in its place.
    """
    is_path = name is not None or not target.startswith(("sha256:", "oci://"))
    path = (name or target).lstrip("/") if is_path else ".gitchain/layout.yaml"
    uri = quote(path.encode("utf-8", "surrogatepass"), safe="/") or "."
    return {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": 1}}}


def _passed(document: Document) -> bool:
    return bool(document["verificationResult"] == "PASSED")


def _name(target: str, document: Document) -> str:
    name = document["resource"].get("name")
    return escape(target if name in {None, target} else f"{target}: {name}")


def _lines(findings: Sequence[Document]) -> Iterator[str]:
    for one in findings:
        first, *rest = _details_of(one)
        yield f"{one['severity']} {one['code']} {first}"
        yield from (f"  {line}" for line in rest)


def _details_of(finding: Document) -> Iterator[str]:
    where = ", ".join(escape(finding[key]) for key in ("step", "artifact") if finding.get(key))
    yield f"{where}{': ' if where else ''}{escape(finding['message'])}"
    yield from (f"{key}: {escape(finding[key])}" for key in ("expected", "got", "help") if finding.get(key))


def _details(error: GitchainError) -> str:
    fields = ("where", "expected", "got", "help")
    return "\n".join(f"{name}: {escape(value)}" for name in fields if (value := getattr(error, name)))

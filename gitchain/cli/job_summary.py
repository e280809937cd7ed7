"""`gitchain verify --summary FILE`: the verdict and the chain as Markdown, appended for a CI job's summary page.

GitHub shows what a step appends to $GITHUB_STEP_SUMMARY, with Mermaid graphs; GitLab shows such text in a merge
request's note. Names come from evidence, so no character of them can be markup: outside of letters, digits and a few
signs each is written as a numeric reference (HTML 5, section 13.5; Mermaid takes the same with its own sign).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gitchain.errors import GitchainError, StoreError, os_errors_as

if TYPE_CHECKING:
    from gitchain.layout.model import Layout

Document = Mapping[str, Any]
MAX_TEXT = 300
MAX_FINDINGS = 50
MAX_VERDICTS = 20
"""GitHub takes 1 MiB for each step's summary: this keeps well below, and the rest is counted."""
PLAIN = frozenset(" -.,:;/@=+")


def verdicts(documents: Sequence[Document], layout: Layout) -> str:
    """Return the Markdown page of the decisions about some targets."""
    blocks = [_verdict(document, layout) for document in documents[:MAX_VERDICTS]]
    if len(documents) > MAX_VERDICTS:
        blocks.append(f"… and {len(documents) - MAX_VERDICTS} more targets.\n")
    return "\n".join(blocks)


def failures(failed: Sequence[tuple[str, GitchainError]]) -> str:
    """Return the page of targets about which there is no verdict."""
    lines: list[str] = []
    for target, error in failed[:MAX_VERDICTS]:
        rows = (
            ("where", error.where),
            ("expected", error.expected),
            ("got", error.got),
            ("help", error.help),
        )
        lines += [f"## ⛔ No verdict: {_text(target)}\n", f"{_text(error.what)}\n"]
        lines += [f"- {name}: {_text(value)}" for name, value in rows if value] + [""]
    if len(failed) > MAX_VERDICTS:
        lines.append(f"… and {len(failed) - MAX_VERDICTS} more without a verdict.\n")
    return "\n".join(lines)


def append(path: Path, page: str) -> None:
    """Append the page to a file that other steps may have written to. Raises StoreError if it cannot be written."""
    writing = os_errors_as(StoreError, "cannot write the summary", path, help="--summary FILE")
    with writing, path.open("a", encoding="utf-8") as file:
        file.write(page)
        file.flush()
        os.fsync(file.fileno())


def _verdict(document: Document, layout: Layout) -> str:
    passed = document["verificationResult"] == "PASSED"
    resource, said = document["resource"], document["layout"]
    digest = " ".join(f"{name}:{value}" for name, value in resource.get("digest", {}).items())
    by = f"{_text(digest)}, by layout {_text(said['name'])} version {said['version']}, "
    by += f"signed by {_text(said['signer']['subject'])}, verified {_text(document['timeVerified'])}.\n"
    lines = [
        f"## {'✅' if passed else '⛔'} {document['verificationResult']}: {_text(str(resource.get('name') or digest))}\n",
        by,
    ]
    if document["trust"] and document["trust"]["local"]:
        lines.append("The embedded instance signed: this proves only who held one machine's keys.\n")
    lines += ["```mermaid", *_graph(document, layout), "```", ""]
    lines += [*_steps(document["steps"])] if passed else []
    return "\n".join([*lines, *_findings(document["findings"]), ""])


def _graph(document: Document, layout: Layout) -> Iterator[str]:
    """Yield the graph of the steps, with an edge for each MATCH rule of the layout; broken steps are red."""
    needed = {step["name"] for step in document["steps"]} or {step.name for step in layout.steps}
    steps = [step for step in layout.steps if step.name in needed]
    number = {step.name: f"s{index}" for index, step in enumerate(steps)}
    broken = {one["step"] for one in document["findings"] if one["severity"] == "error"}
    signed = {step["name"]: step["functionaries"] for step in document["steps"]}
    yield "graph LR"
    for step in steps:
        who = ", ".join(signed.get(step.name, ())) or "not shown"
        yield f'  {number[step.name]}["{_label(step.name)}<br/>{_label(who)}"]'
    for step in steps:
        rules = (*step.expected_materials, *step.expected_products)
        before = dict.fromkeys(
            rule.match.step for rule in rules if rule.match and rule.match.step != step.name
        )
        yield from (f"  {number[name]} --> {number[step.name]}" for name in before if name in number)
    for served in dict.fromkeys(one.step for one in layout.serve if one.step in needed):
        yield f'  {number[served]} --> target(["{_label(str(document["resource"].get("name") or "the model"))}"])'
    if document["verificationResult"] == "PASSED":
        yield "  style target fill:#cfc,stroke:#080,color:#000"
    else:
        yield "  style target fill:#fcc,stroke:#a00,color:#000"
    for name, node in number.items():
        if name in broken:
            yield f"  style {node} fill:#fcc,stroke:#a00,color:#000"


def _steps(steps: Sequence[Document]) -> Iterator[str]:
    yield "| step | signed by | evidence | when | log entry |"
    yield "|---|---|---|---|---|"
    for step in steps:
        for one in step["attestations"]:
            log = one["log"]
            cells = (step["name"], one["signer"]["subject"], step["evidence"] or "-", one["time"])
            entry = f"{_text(log['origin'])} {log['index']}"
            yield f"| {' | '.join(_text(cell) for cell in cells)} | {entry} |"
    yield ""


def _findings(findings: Sequence[Document]) -> Iterator[str]:
    for one in findings[:MAX_FINDINGS]:
        where = ", ".join(_text(one[key]) for key in ("step", "artifact") if one.get(key))
        yield f"- **{_text(one['severity'])} {_text(one['code'])}** {where}{': ' if where else ''}{_text(one['message'])}"
        yield from (f"  - {key}: {_text(one[key])}" for key in ("expected", "got", "help") if one.get(key))
    if len(findings) > MAX_FINDINGS:
        yield f"- … and {len(findings) - MAX_FINDINGS} more"
    if findings:
        yield ""


def _text(text: str) -> str:
    return _quoted(text, "&#")


def _label(text: str) -> str:
    return _quoted(text, "#")


def _quoted(text: str, sign: str) -> str:
    """Return the text with every character that could be markup as a numeric reference."""
    shown = "".join(
        char if char in PLAIN or (char.isalnum() and char.isprintable()) else f"{sign}{ord(char)};"
        for char in text[:MAX_TEXT].replace("\n", " ")
    )
    return shown + ("…" if len(text) > MAX_TEXT else "")

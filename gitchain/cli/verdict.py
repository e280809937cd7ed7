"""Print a verdict: first the result, then the steps or the findings, and with --explain every check.

All text is made from the documents that `verify --json` prints, so that both agree.
"""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gitchain.cli.output import Options, escape
from gitchain.errors import GitchainError

if TYPE_CHECKING:
    from gitchain.trust.profiles import Profile
    from gitchain.verify.decide import Decision
    from gitchain.verify.trust import Trust

Document = Mapping[str, Any]

SHOWN_ARTIFACTS = 3
"""Most names that one check shows; the document has all."""

NARROWEST = 40
"""Text is not wrapped to less than this, however small the terminal."""


def decision_document(decision: Decision, profile: Profile) -> dict[str, Any]:
    """Return the document of a decision, with the trust that it was made under."""
    return decision.to_json(trust_document(profile.name, profile.trust))


def trust_document(name: str, trust: Trust) -> dict[str, Any]:
    """Return the block `trust` of a document: which trust configuration it was, and if of an embedded instance."""
    return {"name": name, "digest": trust.digest, "local": trust.is_local}


def print_verdict(
    options: Options, document: Document, *, explain: bool = False, word: str | None = None
) -> None:
    """Print one verdict: the target, the layout and its signer, and the steps or the findings; with `explain` all checks.

    `word` replaces PASSED where the verdict alone is not enough.
    """
    passed = document["verificationResult"] == "PASSED"
    layout = document["layout"]
    result = (
        _result(options, document)
        if not passed or word is None
        else options.style(word, fg="yellow", bold=True)
    )
    options.data(f"{result}  {_name(document)}  {_digest(document['resource'])}")
    options.data(
        f"  layout    {escape(layout['name'])} v{layout['version']}, signed by {_who(layout['signer'])}"
    )
    for one in document.get("git", ()):
        options.data(_signature(one))
    if explain and not passed:
        for line in _way(options, document):
            options.data(line)
    _print_steps(options, document["steps"], "  ")
    for finding in document["findings"]:
        _print_finding(options, finding)
    if explain:
        _print_checks(options, document)


def _signature(one: Document) -> str:
    """Return one line about the signature of a tag or commit: who, when, and whether the layout lets them."""
    what = f"  {one['kind']:<9} {escape(one['name'] or one['id'][:12])}"
    if one["state"] == "unsigned":
        return f"{what}  not signed"
    if one["state"] == "unread":
        return f"{what}  {escape(str(one['message']))}"
    if one["state"] == "unchecked":
        return f"{what}  its signature cannot be checked: {escape(str(one['message']))}"
    if one["state"] == "invalid":
        return f"{what}  its signature does not verify: {escape(str(one['message']))}"
    when = f" at {one['time']}" if one["time"] else ", at a time that it does not prove"
    may = f"may sign step {', '.join(map(escape, one['steps']))}" if one["allowed"] else "may sign no step"
    names = ", ".join(map(escape, one["functionaries"])) or "no functionary of the layout"
    return f"{what}  signed by {_who(one['signer'])}{when}: {names}, {may}"


def _print_steps(options: Options, steps: Iterable[Document], indent: str) -> None:
    """Print the steps, and below a sublayout's step the steps of its chain."""
    for step in steps:
        who = ", ".join(escape(str(person)) for person in step["functionaries"])
        options.data(f"{indent}step      {escape(step['name']):<20} {step['evidence'] or '-':<9} {who}")
        behind = step.get("sublayout")
        if behind is not None:
            options.data(f"{indent}  sublayout {escape(behind['name'])} v{behind['version']}")
            _print_steps(options, behind["steps"], f"{indent}  ")


def print_line(options: Options, document: Document) -> None:
    """Print one verdict in one line, with the first error if there is one."""
    errors = [finding for finding in document["findings"] if finding["severity"] == "error"]
    line = f"{_result(options, document)}  {_name(document)}  {_digest(document['resource'])}"
    if errors:
        where = " ".join(escape(errors[0][key]) for key in ("step", "artifact") if errors[0].get(key))
        line += f"  {errors[0]['code']} {where}{': ' if where else ''}{escape(errors[0]['message'])}"
    options.data(line)


def print_error(options: Options, target: str, error: GitchainError) -> None:
    """Print in one line why there is no verdict about a target."""
    options.data(f"{options.style('ERROR', fg='red', bold=True)}   {escape(target)}  {escape(str(error))}")


def _result(options: Options, document: Document) -> str:
    result = document["verificationResult"]
    return options.style(result, fg="green" if result == "PASSED" else "red", bold=True)


def _name(document: Document) -> str:
    resource = document["resource"]
    return escape(str(resource.get("name") or resource.get("uri") or ""))


def _print_finding(options: Options, finding: Document) -> None:
    colour = "red" if finding["severity"] == "error" else "yellow"
    options.data(
        f"{options.style(finding['severity'], fg=colour)}[{finding['code']}]: {escape(finding['message'])}"
    )
    for label, key in (
        ("step", "step"),
        ("file", "artifact"),
        ("expected", "expected"),
        ("got", "got"),
        ("help", "help"),
    ):
        if finding.get(key):
            options.data(f"  {label:<9} {escape(str(finding[key]))}")


def _way(options: Options, document: Document) -> Iterator[str]:
    """Yield the shortest path from the target to the broken step, as a small tree."""
    from gitchain.verify.findings import MEANINGS, FindingCode

    elbow = "└─ " if _can_draw() else "`- "
    signed = {
        check["step"]: check["attestations"] for check in document["checks"] if check["check"] == "evidence"
    }
    broken = next(finding for finding in document["findings"] if finding["severity"] == "error")
    path = document["path"]
    if path:
        broken = next((one for one in document["findings"] if one["step"] == path[-1]), broken)
    yield ""
    yield f"  {_name(document) or _digest(document['resource'])}"
    for depth, name in enumerate(path):
        who = ", ".join(dict.fromkeys(escape(one["signer"]["subject"]) for one in signed.get(name, ())))
        yield f"  {'   ' * depth}{elbow}{escape(name)}{f', signed by {who}' if who else ''}"
    indent = "  " + "   " * len(path) + elbow
    cross = options.style("FAIL", fg="red", bold=True)
    what = f"{broken['code']} {MEANINGS[FindingCode(broken['code'])]}"
    yield from _wrapped(f"{indent}FAIL ", what, f"{indent}{cross} ")
    if broken["artifact"]:
        yield f"{' ' * len(indent)}     {escape(broken['artifact'])}"
    yield ""


def _print_checks(options: Options, document: Document) -> None:
    options.data("")
    lead = "Every check, in order. Proven: by signatures, the log and bytes. Claimed: by the signers' statements."
    for line in _wrapped("", lead):
        options.data(line)
    told: set[str] = set()
    before = ""
    for check in document["checks"]:
        heading = _heading(check)
        if heading != before:
            options.data(options.style(f"  {heading}", bold=True))
        before = heading
        _print_check(options, check, told)
    options.data(options.style("  unknown", bold=True))
    for text in document["unknown"]:
        for line in _wrapped("    -    unknown  ", text):
            options.data(line)


def _heading(check: Document) -> str:
    if check["check"] in {"serve", "chain", "inspection"}:
        return "the target"
    return f"step {escape(check['step'])}" if check["step"] else "the layout"


def _print_check(options: Options, check: Document, told: set[str]) -> None:
    word, colour = ("ok", "green") if check["passed"] else ("FAIL", "red")
    rest = f" {check['basis']:<8} "
    shown = f"    {options.style(f'{word:<4}', fg=colour, bold=not check['passed'])}{rest}"
    for line in _wrapped(f"    {word:<4}{rest}", escape(check["message"]), shown):
        options.data(line)
    for start, text in _details(check, told):
        for line in _wrapped(f"{' ' * 18}{start}", text):
            options.data(line)


def _details(check: Document, told: set[str]) -> Iterator[tuple[str, str]]:
    """Yield the sides of a comparison that failed, the names it was about, and once who signed, when and where."""
    if not check["passed"] or check["check"] == "signature":
        for key in ("expected", "got"):
            if check[key]:
                yield f"{key:<9}", escape(check[key])
    names = check["artifacts"]
    if names:
        more = f" and {len(names) - SHOWN_ARTIFACTS} more" if len(names) > SHOWN_ARTIFACTS else ""
        yield "", ", ".join(escape(name) for name in names[:SHOWN_ARTIFACTS]) + more
    for one in check["attestations"]:
        if one["id"] not in told:
            told.add(one["id"])
            log = one["log"]
            yield f"{one['id'][:12]} ", f"by {_who(one['signer'])}"
            yield " " * 13, f"at {one['time']}, logged in {escape(log['origin'])} as entry {log['index']}"


def _wrapped(start: str, text: str, shown: str | None = None) -> Iterable[str]:
    """Return the start with the text after it, wrapped to the terminal if there is one; `shown` is the coloured start."""
    width = shutil.get_terminal_size().columns - len(start) if sys.stdout.isatty() else 0
    lines = (
        textwrap.wrap(text, max(width, NARROWEST), break_on_hyphens=False, break_long_words=False)
        if width
        else [text]
    )
    return [(start if shown is None else shown) + lines[0], *(" " * len(start) + line for line in lines[1:])]


def _can_draw() -> bool:
    try:
        "└─".encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _digest(resource: Document) -> str:
    return " ".join(f"{name}:{value}" for name, value in resource.get("digest", {}).items())


def _who(signer: Mapping[str, str]) -> str:
    return escape(f"{signer['subject']} ({signer['issuer']})")

"""`gitchain admit`: review objects in files as the admission webhook would."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import Options, escape
from gitchain.errors import ExitCode, NoEvidenceError, StoreError, UsageError, reason

if TYPE_CHECKING:
    from gitchain.admit.admission import AdmissionResult
    from gitchain.admit.manifests import KubernetesManifest
    from gitchain.admit.offline import ReviewedObject

ADMIT_SCHEMA = "https://gitchain.dev/admit/v1"


@click.command(
    name="admit",
    epilog="\b\nExamples:\n"
    "  gitchain admit --settings serve.yaml -f pod.yaml --namespace ml-prod\n"
    "  helm template ./chart | gitchain admit --settings serve.yaml -f - --json",
)
@click.option(
    "-f",
    "--filename",
    "files",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    multiple=True,
    required=True,
    metavar="FILE|-",
    help="Objects to review, as YAML or JSON; may be given more than once.",
)
@click.option(
    "--settings",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="Layouts and rules: the file of gitchain serve (docs/admission.md).",
)
@click.option(
    "-n",
    "--namespace",
    help="Namespace of objects that name none [default: default].",
)
@global_options
@click.pass_obj
def command(options: Options, files: tuple[Path, ...], settings: Path, namespace: str | None) -> ExitCode:
    """Print what the admission webhook would answer if the objects in FILE were created now.

    Exit code 0 means that every object is admitted, 1 that one is denied. No cluster is needed.

    \b
    Examples:
      gitchain admit --settings serve.yaml -f pod.yaml
      gitchain admit --settings serve.yaml -f deployment.yaml -n ml-prod
    """
    from gitchain.admit.config import read_settings
    from gitchain.admit.offline import admit

    if options.trust is not None:
        raise UsageError("the settings name the trust of each layout", where="--trust", got=options.trust)
    if namespace == "":
        raise UsageError(
            "the namespace is empty", where="--namespace", help="gitchain admit -f FILE -n NAMESPACE"
        )
    rules = read_settings(settings)
    manifests = [one for path in files for one in _manifests(path)]
    answers = admit(rules, manifests, namespace, offline=options.offline)
    reviewed = [one for one in answers if one.result is not None]
    if not reviewed:
        raise NoEvidenceError(
            "no object of a kind that is reviewed",
            where=", ".join(map(str, files)),
            got=f"{len(answers)} other objects",
            help="docs/admission.md lists the kinds",
        )
    denied = sum(one.is_denied for one in reviewed)
    options.document(
        {"schema": ADMIT_SCHEMA, "admitted": not denied, "objects": [_document(one) for one in answers]}
    )
    for one in answers:
        _print(options, one)
    options.talk(
        f"{len(reviewed)} reviewed: {len(reviewed) - denied} admitted, {denied} denied;"
        f" {len(answers) - len(reviewed)} of kinds that are not reviewed"
    )
    return ExitCode.FAILED if denied else ExitCode.OK


def _manifests(path: Path) -> Iterator[KubernetesManifest]:
    from gitchain.admit.manifests import read_manifests
    from gitchain.platform.files import open_regular

    if str(path) == "-":
        yield from read_manifests(_content(sys.stdin.buffer), "(stdin)")
        return
    try:
        with open_regular(path) as file:
            data = _content(file)
    except FileNotFoundError as error:
        raise UsageError(
            "no such file", where=str(path), help="gitchain admit --settings SETTINGS -f FILE"
        ) from error
    except OSError as error:
        raise StoreError(
            "cannot read the file",
            where=str(path),
            got=reason(error),
            help="check that the path names a file that this user may read; a pipe is read with -f -",
        ) from error
    yield from read_manifests(data, str(path))


def _content(file: BinaryIO) -> bytes:
    from gitchain.admit.manifests import MAX_FILE_BYTES

    return file.read(MAX_FILE_BYTES + 1)


def _document(one: ReviewedObject) -> dict[str, Any]:
    found: dict[str, Any] = {
        "file": one.manifest.file,
        "document": one.manifest.document,
        "kind": str(one.kind),
        "namespace": one.namespace or None,
        "name": one.name or None,
        "reviewed": one.result is not None,
    }
    return found | _answer(one.result) if one.result else found


def _answer(found: AdmissionResult) -> dict[str, Any]:
    problems = [
        {"code": str(one.code), "message": one.message, "where": one.where or None, "help": one.help or None}
        for one in found.problems
    ]
    return {
        "admitted": found.answer.allowed,
        "outcome": found.reason,
        "layout": found.rule.layout if found.rule else None,
        "mode": found.rule.mode if found.rule else None,
        "models": [f"sha256:{one.sha256}" for one in found.verdicts],
        "problems": problems,
        "warnings": list(found.answer.warnings),
    }


def _print(options: Options, one: ReviewedObject) -> None:
    place = "/".join(filter(None, (one.namespace, one.name or "(unnamed)")))
    shown = escape(f"{one.kind.kind} {place}  {one.manifest.where}")
    found = one.result
    if found is None:
        options.data(f"-         {shown}: not reviewed")
        return
    word, colour = ("ADMITTED", "green") if found.answer.allowed else ("DENIED  ", "red")
    options.data(f"{options.style(word, fg=colour, bold=True)}  {shown}: {_why(found)}")
    for problem in found.problems:
        options.data(f"  {escape(str(problem))}")
    told: Sequence[str] = () if found.problems else found.answer.warnings
    for warning in told:
        options.data(f"  warning: {escape(warning)}")


def _why(found: AdmissionResult) -> str:
    """Return the reason in words: the layout that decided, and the mode where it does not enforce."""
    about = f"layout {escape(found.rule.layout)}" if found.rule else "no rule"
    soft = found.rule is not None and found.rule.mode != "enforce"
    return f"{found.reason}, {about}" + (f", mode {found.rule.mode}" if soft and found.rule else "")

"""`gitchain fetch`: copy a model to a server's directory only if it passes, also as KServe's storage initializer."""

from __future__ import annotations

from pathlib import Path

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import Options, escape
from gitchain.cli.signing import not_empty
from gitchain.cli.verdict import decision_document, print_verdict
from gitchain.cli.verify_options import VerifyOptions, refused_documents, tell_reading, unread, verify_options
from gitchain.errors import ExitCode


@click.command(name="fetch")
@click.argument("source")
@click.argument("to", type=click.Path(path_type=Path, file_okay=False), metavar="DEST")
@verify_options
@click.option(
    "--name",
    metavar="NAME",
    callback=not_empty,
    help="Name of the model in the layout [default: any model that it serves].",
)
@global_options
@click.pass_obj
def command(options: Options, source: str, to: Path, name: str | None, chosen: VerifyOptions) -> ExitCode:
    """Copy the model at SOURCE to DEST, read-only, if it passes; otherwise DEST stays empty.

    SOURCE is a path, file:///PATH or oci://HOST/NAME@sha256:…; with @sha256:… after a path its bytes must have
    that digest.

    \b
    Examples:
      gitchain fetch model.pkl served/
      gitchain fetch model.pkl served/ --layout layout.sigstore.json --evidence evidence/
    """
    from gitchain.consume.fetch import FetchSource, hand_over

    wanted = FetchSource.parse(source)
    inputs = chosen.open(options, (str(wanted.reference),) if wanted.reference else ())
    verifier = inputs.verifier()
    decision = hand_over(verifier, wanted, to, name=name)
    document = decision_document(decision, verifier.accepted.profile)
    print_verdict(options, document)
    refused = verifier.evidence.refused
    options.document(document | {"refused": refused_documents(refused)} | unread(inputs.project))
    tell_reading(options, verifier.accepted, refused, verifier.forgotten)
    if not decision.passed:
        return ExitCode(decision.exit_code)
    options.talk(f"fetched   {escape(str(to))}")
    return ExitCode.OK

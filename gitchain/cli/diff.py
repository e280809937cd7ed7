"""`gitchain diff`: compare two versions of a model."""

from __future__ import annotations

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import Options
from gitchain.cli.verify_options import (
    VerifyOptions,
    refused_documents,
    tell_bundle,
    tell_reading,
    unread,
    verify_options,
)
from gitchain.errors import ExitCode, UsageError


@click.command(name="diff")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@verify_options
@click.option("--markdown", is_flag=True, help="Print Markdown, for the comment of a pull request.")
@global_options
@click.pass_obj
def command(options: Options, a: str, b: str, chosen: VerifyOptions, markdown: bool) -> ExitCode:
    """Compare the models A and B: each a path, tag, commit, sha256:…, oci://… or bundle file.

    Verifies both under one layout, and shows what differs in the signed statements of their chains: data,
    parameters, metrics, code, command, environment, evidence, signers, approvals, suppliers' layouts. Each
    line is proven (verified by signatures, the log and digests) or claimed (stated by signers, not verified).
    Exit code 0 means that both are verified, whether or not they differ.

    \b
    Examples:
      gitchain diff v1.0 model.pkl
      gitchain diff v1.0 model.pkl --markdown
      gitchain diff v1.0 model.pkl --layout layout.sigstore.json --evidence evidence/
    """
    from datetime import UTC, datetime

    from gitchain.cli.verdict import trust_document
    from gitchain.consume.diff import diff

    if markdown and options.json:
        raise UsageError("--markdown and --json exclude each other", help="leave one of them out")
    inputs = chosen.open(options, (a, b))
    named = (inputs.targets[0], inputs.targets[1])
    found = diff(inputs.project, named, inputs.policy, datetime.now(UTC), inputs.sources)
    profile = found.accepted.profile
    document = found.to_json() | {"trust": trust_document(profile.name, profile.trust)}
    last = found.b.verification
    document |= {"refused": refused_documents(last.refused)} | unread(inputs.project)
    if options.json:
        options.document(document)
    elif markdown:
        from gitchain.cli.diff_markdown import page

        options.data(page(document))
    else:
        from gitchain.cli.diff_text import lines

        for line in lines(options, document):
            options.data(line)
    for side in (found.a, found.b):
        tell_bundle(options, side.target, side.verification)
    tell_reading(options, found.accepted, last.refused, last.forgotten)
    return found.exit_code

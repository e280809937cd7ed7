"""`gitchain fetch`: a model verified before it appears where a server looks for it, as KServe's storage initializer."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from gitchain.cli.evidence import look_up, policy_of, policy_options, project_of
from gitchain.cli.main import global_options
from gitchain.cli.output import Options, escape
from gitchain.cli.signing import not_empty
from gitchain.cli.verdict import print_verdict
from gitchain.errors import ExitCode


@click.command(name="fetch")
@click.argument("source")
@click.argument("to", type=click.Path(path_type=Path, file_okay=False), metavar="DEST")
@policy_options
@click.option(
    "--name",
    metavar="NAME",
    callback=not_empty,
    help="What the layout calls the model [default: any model it serves].",
)
@global_options
@click.pass_obj
def command(options: Options, /, source: str, to: Path, name: str | None, **arguments: Any) -> ExitCode:
    """Copy the model at SOURCE to DEST, read-only, if it passes; otherwise DEST stays empty.

    SOURCE is a path, file:///PATH or oci://HOST/NAME@sha256:…; with @sha256:… after a path its bytes must have
    that digest.

    \b
    Examples:
      gitchain fetch model.pkl served/
      gitchain fetch model.pkl served/ --layout layout.sigstore.json --evidence evidence/
    """
    from gitchain.consume.fetch import FetchSource, hand_over
    from gitchain.consume.verifier import Verifier

    places = arguments.pop("places")
    wanted = FetchSource.parse(source)
    policy = policy_of(options, **arguments)
    project = project_of(options, arguments["layout"])
    _, sources = look_up(options, (str(wanted.reference),) if wanted.reference else (), places)
    verifier = Verifier.open(project, policy, datetime.now(UTC), (), sources)
    decision = hand_over(verifier, wanted, to, name=name)
    trust = verifier.accepted.profile
    document = decision.to_json(
        {"name": trust.name, "digest": trust.trust.digest, "local": trust.trust.is_local}
    )
    print_verdict(options, document)
    options.document(document | {"refused": []})
    if not decision.passed:
        return ExitCode(decision.exit_code)
    options.talk(f"fetched   {escape(str(to))}")
    return ExitCode.OK

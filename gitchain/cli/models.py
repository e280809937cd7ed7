"""`gitchain models`: list the models that the layout serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import Options, table
from gitchain.cli.verdict import trust_document
from gitchain.cli.verify_options import VerifyOptions, refused_documents, tell_reading, unread, verify_options
from gitchain.errors import ExitCode

if TYPE_CHECKING:
    from gitchain.consume.model_versions import ModelVersion, Placement

MODELS_SCHEMA = "https://gitchain.dev/models/v1"
SHOWN = 3  # places on one line; --json has them all
MOST = 1000


@click.command(name="models")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--last",
    type=click.IntRange(1, MOST),
    default=20,
    show_default=True,
    metavar="N",
    help=f"Show the N newest versions, at most {MOST}.",
)
@verify_options
@global_options
@click.pass_obj
def command(options: Options, names: tuple[str, ...], last: int, chosen: VerifyOptions) -> ExitCode:
    """List the versions of the models that the layout serves, newest first [default: of all models].

    NAME is an attested name, as in the first column. Shows the verdict for each attested digest; no file is read.
    Tags, stages (GTO's tags MODEL#STAGE) and deployments are claims of functionaries. Tags come from release
    attestations, which hooks and `gitchain sync` make for commits with files that DVC tracks. The exit code is 0
    whatever the listed verdicts are, and 3 if nothing is listed.

    \b
    Examples:
      gitchain models
      gitchain models model.pkl --last 5
    """
    from gitchain.consume.model_versions import model_versions

    inputs = chosen.open(options)
    verifier = inputs.verifier()
    found = model_versions(verifier, names, last)
    signed, profile = verifier.accepted.signed, verifier.accepted.profile
    options.document(
        {
            "schema": MODELS_SCHEMA,
            "layout": {"name": signed.layout.name, "version": signed.layout.version},
            "trust": trust_document(profile.name, profile.trust),
            "models": [one.to_json() for one in found.newest],
            "older": found.older,
            "notByFunctionaries": found.strange,
            "refused": refused_documents(verifier.evidence.refused),
        }
        | unread(inputs.project)
    )
    header = ("model", "tags", "stage", "verdict", "made (UTC)", "serves in", "sha256")
    rows = [_row(one) for one in found.newest]
    options.page(table(rows, header, options.width, wrapped={"model", "tags", "stage", "serves in"}))
    if found.older and last < MOST:
        options.talk(f"{found.older} older: --last {min(found.older + last, MOST)}")
    if found.strange:
        options.talk(f"not listed: {found.strange} that no functionary of their step signed")
    tell_reading(options, verifier.accepted, verifier.evidence.refused, verifier.forgotten)
    return ExitCode.OK


def _row(model: ModelVersion) -> tuple[str, ...]:
    decision = model.decision
    codes = dict.fromkeys(str(one.code) for one in decision.findings if one.severity == "error")
    verdict = decision.result if decision.passed else " ".join([decision.result, *list(codes)[:1]])
    places = [_place(one) for one in model.placements]
    shown = ", ".join(places[:SHOWN]) + (f" and {len(places) - SHOWN} more" if len(places) > SHOWN else "")
    others = f"({model.others} claimed by others)" if model.others else ""
    return (
        model.name,
        ", ".join(model.tags[:SHOWN]) or "-",
        ", ".join(model.stages[:SHOWN]) or "-",
        verdict,
        model.made.time.strftime("%Y-%m-%d %H:%M"),
        " ".join(filter(None, (shown, others))) or "-",
        decision.target.sha256[:12],
    )


def _place(placement: Placement) -> str:
    return " / ".join(value for key, value in placement.place.items() if key != "uid")

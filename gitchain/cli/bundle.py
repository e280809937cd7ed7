"""`gitchain bundle`: single Sigstore bundles, without a layout. `verify` is a sigstore-conformance client."""

from __future__ import annotations

from pathlib import Path

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import Options, escape
from gitchain.errors import ExitCode

BUNDLE_SCHEMA = "https://gitchain.dev/bundle/v1"


@click.group(name="bundle")
@global_options
def command() -> None:
    """Sigstore bundles of single files, whoever made them."""


@command.command(name="verify")
@click.argument("target", metavar="FILE_OR_DIGEST")
@click.option(
    "--bundle", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Bundle to verify."
)
@click.option("--certificate-identity", "subject", metavar="IDENTITY", help="Who must have signed, exactly.")
@click.option("--certificate-oidc-issuer", "issuer", metavar="URL", help="Issuer of that identity, exactly.")
@click.option(
    "--key", type=click.Path(path_type=Path), metavar="FILE", help="Public key (PEM) that must have signed."
)
@click.option(
    "--trusted-root",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Trusted root [default: the public instance's].",
)
@click.option("--staging", is_flag=True, help="Trust the staging instance.")
@global_options
@click.pass_obj
def verify(
    options: Options,
    target: str,
    bundle: Path,
    subject: str | None,
    issuer: str | None,
    key: Path | None,
    trusted_root: Path | None,
    *,
    staging: bool,
) -> ExitCode:
    """Verify that FILE_OR_DIGEST was signed, or is a subject of a signed statement.

    FILE_OR_DIGEST is a path or sha256:… Exit code 0 means verified, and nothing else does. No network is used.
    """
    from gitchain.pipeline.bundles import bundle_trust, verify_file, wanted_signer

    wanted = wanted_signer(subject, issuer, key)
    trust = bundle_trust(trusted_root, options.trust, staging=staging)
    verified = verify_file(bundle, target, wanted, trust)
    options.document(
        {
            "schema": BUNDLE_SCHEMA,
            "verified": True,
            "signer": verified.identity.to_json(),
            "claims": dict(verified.claims),
            "time": verified.time.isoformat(),
            "log": {"origin": verified.log.origin, "index": verified.log.index},
            "trust": {"name": trust.name, "digest": trust.digest, "local": trust.is_local},
        }
    )
    options.data(f"{options.style('VERIFIED', fg='green', bold=True)}  {escape(target)}")
    options.data(f"  signer    {escape(str(verified.identity))}")
    options.data(f"  time      {verified.time.isoformat()}")
    options.data(f"  log       {escape(verified.log.origin)} entry {verified.log.index}")
    return ExitCode.OK

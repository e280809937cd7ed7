"""`gitchain bundle`: Sigstore bundles without a layout. `verify` is a sigstore-conformance client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gitchain.cli.main import global_options
from gitchain.cli.output import HelpGroup, Options, escape
from gitchain.cli.signing import signing_options
from gitchain.cli.verdict import trust_document
from gitchain.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from gitchain.consume.single_bundle import ExpectedSigner
    from gitchain.produce.sign_and_store import SigningIdentity
    from gitchain.trust.profiles import Profile
    from gitchain.verify.oms import VerifiedModel
    from gitchain.verify.trust import Trust

BUNDLE_SCHEMA = "https://gitchain.dev/bundle/v1"
PUSHED_SCHEMA = "https://gitchain.dev/pushed/v1"
MODEL_SCHEMA = "https://gitchain.dev/model/v1"


@click.group(name="bundle", cls=HelpGroup)
@global_options
def command() -> None:
    """Sign, verify and publish Sigstore bundles without a layout."""


@command.command(name="verify")
@click.argument("target", metavar="FILE_OR_DIGEST")
@click.option(
    "--bundle", type=click.Path(path_type=Path), required=True, metavar="FILE", help="Bundle to verify."
)
@click.option(
    "--certificate-identity", "subject", metavar="IDENTITY", help="Identity that must have signed, exactly."
)
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
@click.option(
    "--certificate-chain",
    "chains",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="Authority (PEM) under whose certificates a model may be signed, without a log.",
)
@click.option(
    "--ignore-path", "ignored", multiple=True, metavar="PATH", help="Path in a model directory to leave out."
)
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
    chains: tuple[Path, ...],
    ignored: tuple[str, ...],
    *,
    staging: bool,
) -> ExitCode:
    """Verify that FILE_OR_DIGEST was signed, or is a subject of a signed statement.

    FILE_OR_DIGEST is a path or sha256:…, or a model directory with an OpenSSF model signature. Exit code 0 means
    verified, and no other code does. No network is used.

    \b
    Examples:
      gitchain bundle verify model.pkl --bundle model.sig --key ada.pub
      gitchain bundle verify model.pkl --bundle model.sig --certificate-identity ada@example.com --certificate-oidc-issuer https://accounts.example.com
    """
    from gitchain.consume.model_signature import is_model
    from gitchain.consume.single_bundle import bundle_trust, verify_file, wanted_signer

    if is_model(bundle, target):
        named = subject or issuer or key
        wanted = None if chains and not named else wanted_signer(subject, issuer, key)
        model = _ModelOptions(bundle, Path(target), chains, ignored)
        return _verify_model(
            options, model, wanted, lambda: bundle_trust(trusted_root, options.trust, staging=staging)
        )
    if chains or ignored:
        raise UsageError("not a model", where=target, expected="a directory with a model signature")
    wanted = wanted_signer(subject, issuer, key)
    trust = bundle_trust(trusted_root, options.trust, staging=staging)
    verified = verify_file(bundle, target, wanted, trust, datetime.now(UTC))
    options.document(
        {
            "schema": BUNDLE_SCHEMA,
            "verified": True,
            "signer": verified.identity.to_json(),
            "claims": dict(verified.claims),
            "time": verified.time.isoformat(),
            "log": {"origin": verified.log.origin, "index": verified.log.index},
            "trust": trust_document(trust.name, trust),
        }
    )
    options.data(f"{options.style('VERIFIED', fg='green', bold=True)}  {escape(target)}")
    options.data(f"  signer    {escape(str(verified.identity))}")
    options.data(f"  time      {verified.time.isoformat()}")
    options.data(f"  log       {escape(verified.log.origin)} entry {verified.log.index}")
    return ExitCode.OK


@command.command(name="push")
@click.argument("place", metavar="DIRECTORY|oci://…")
@global_options
@click.pass_obj
def push(options: Options, place: str) -> ExitCode:
    """Copy every attestation of this repository into a directory or an OCI registry.

    `gitchain verify --evidence` finds them there without the repository. Existing files and artifacts stay.

    \b
    Examples:
      gitchain bundle push evidence/
      gitchain bundle push oci://registry.example.com/team/model:v3
    """
    from gitchain.produce.publish import publish
    from gitchain.workspace.project import open_project

    done = publish(
        open_project(options.directory, configured=False, changes=False), place, offline=options.offline
    )
    options.document(
        {
            "schema": PUSHED_SCHEMA,
            "to": done.to,
            "bundles": done.bundles,
            "nodes": done.nodes,
            "written": done.written,
        }
    )
    options.data(
        f"pushed    {done.bundles} bundle(s), {done.nodes} manifest node(s) to {escape(done.to)}: {done.written} new"
    )
    return ExitCode.OK


@command.command(name="sign")
@click.argument("model", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="File to write the bundle to.",
)
@click.option(
    "--ignore-path", "ignored", multiple=True, metavar="PATH", help="Path in a model directory to leave out."
)
@signing_options
@global_options
@click.pass_obj
def sign(
    options: Options, model: Path, output: Path, ignored: tuple[str, ...], who: SigningIdentity
) -> ExitCode:
    """Sign MODEL, a directory or a file, as an OpenSSF model signature (OMS v1.0).

    `model_signing verify` and `gitchain bundle verify` read it. Git's own files are left out.

    \b
    Examples:
      gitchain bundle sign model.pkl -o model.sig
      gitchain bundle sign models/bert -o bert.sig --key ada.pem
    """
    from gitchain.produce.model_signature import sign_model

    profile, who = _signing_profile(options, who)
    found = sign_model(model, output, profile, who, ignored)
    options.document(_model_document(found) | {"path": str(output)})
    options.data(f"signed    {escape(str(model))}  {len(found.signature.files)} files  {escape(str(output))}")
    options.data(f"  signer    {escape(str(found.signer))}")
    return ExitCode.OK


def _signing_profile(options: Options, who: SigningIdentity) -> tuple[Profile, SigningIdentity]:
    """Return the trust to sign under and the signer. With --trust and a signer, no repository is needed."""
    from gitchain.errors import NoRepositoryError
    from gitchain.produce.sign_and_store import project_profile
    from gitchain.produce.signing_identities import signing_identity
    from gitchain.trust.load_profile import load_profile
    from gitchain.workspace.project import open_project

    try:
        project = open_project(options.directory)
    except NoRepositoryError:
        if options.trust is None:
            raise
        return load_profile(options.trust, offline=options.offline), who
    profile = project_profile(project, options.trust, offline=options.offline) if project.config else None
    if profile is None:
        profile = load_profile(options.trust or project.configured().trust, offline=options.offline)
    who = signing_identity(project, profile, who)
    profile.check(who.name, who.key)
    return profile, who


def _model_document(found: VerifiedModel) -> dict[str, Any]:
    log = None if found.log is None else {"origin": found.log.origin, "index": found.log.index}
    return {
        "schema": MODEL_SCHEMA,
        "verified": True,
        "signer": found.signer if isinstance(found.signer, str) else found.signer.to_json(),
        "files": len(found.signature.files),
        "time": None if found.time is None else found.time.isoformat(),
        "log": log,
    }


@dataclass(frozen=True)
class _ModelOptions:
    """The options about a model."""

    bundle: Path
    target: Path
    chains: tuple[Path, ...]
    ignored: tuple[str, ...]


def _verify_model(
    options: Options, model: _ModelOptions, wanted: ExpectedSigner | None, trust: Callable[[], Trust]
) -> ExitCode:
    from gitchain.consume.model_signature import ExpectedModelSigner, authorities_of, verify_model

    if wanted is not None and model.chains:
        raise UsageError(
            "give the expected signer in exactly one way",
            expected="an identity, a key or a certificate chain",
            help="gitchain bundle verify FILE --bundle BUNDLE --certificate-identity IDENTITY --certificate-oidc-issuer URL",
        )
    signer = ExpectedModelSigner(wanted, authorities_of(model.chains))
    found = verify_model(
        model.bundle,
        model.target,
        signer,
        trust,
        datetime.now(UTC),
        model.ignored,
    )
    files, time = len(found.signature.files), None if found.time is None else found.time.isoformat()
    options.document(_model_document(found))
    options.data(f"{options.style('VERIFIED', fg='green', bold=True)}  {escape(str(model.target))}")
    options.data(f"  signer    {escape(str(found.signer))}")
    options.data(f"  files     {files}, all as they were signed")
    options.data(f"  time      {time or 'not proven: it may have been signed at any time'}")
    options.data(
        f"  log       {escape(found.log.origin)} entry {found.log.index}"
        if found.log
        else "  log       not logged: no public record shows that this signature exists"
    )
    return ExitCode.OK

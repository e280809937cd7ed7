"""Which layout may decide: signed by whom the user said, in force, and not older than one accepted before.

Trust and the layout's signer come from flags or pins, never from the repository.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from gitchain.errors import GitchainError, LayoutError, TrustError, UsageError
from gitchain.evidence.bundle import Bundle
from gitchain.layout.model import Identity
from gitchain.pipeline.archive import kept_keys
from gitchain.pipeline.home import Pin, pin_for_repository, read_pins
from gitchain.pipeline.layout_choice import chosen_pin
from gitchain.pipeline.policy import read_signed_layout
from gitchain.pipeline.profiles import Profile, load_profile
from gitchain.pipeline.project import SIGNED_LAYOUT, Project
from gitchain.platform.files import open_regular
from gitchain.verify.layout import verify_layout
from gitchain.verify.verified import SignedLayout
from gitchain.verify.witnesses import MAX_POLICY_BYTES


@dataclass(frozen=True, slots=True)
class Policy:
    """What the caller says about the layout; what is left out comes from the user's own pins."""

    layout: Path | None = None
    signers: tuple[Identity, ...] = ()
    trust: str | None = None
    offline: bool = False
    minimum_version: int = 0
    checkpoint: str | None = None
    """A checkpoint of the attestation set that the store must hold: its attestation id, or a bundle file."""

    witnesses: Path | None = None
    """A witness policy that the log's checkpoint in every bundle has to satisfy."""

    name: str | None = None
    """The name that the layout must have."""


@dataclass(frozen=True)
class Accepted:
    """A layout that may decide: signed by the one who may sign it, in force, not rolled back."""

    signed: SignedLayout
    profile: Profile
    path: Path


def load_policy(project: Project | None, policy: Policy, now: datetime) -> Accepted:
    """Find, verify and accept the layout.

    Raises LayoutError (no layout, wrong signer, expired, older than seen) or TrustError (nothing pinned, other trust).
    """
    if policy.layout is None and project is None:
        raise UsageError(
            "outside a repository the layout has to be named", help="gitchain verify … --layout FILE"
        )
    candidates = [policy.layout] if policy.layout else [project.root / SIGNED_LAYOUT]  # type: ignore[union-attr]
    path, raw = read_signed_layout(candidates, project.root if project and not policy.layout else None)
    name = _claimed_name(raw, path)
    pin = chosen_pin(policy.name, path, name, is_signer_named=bool(policy.signers and policy.trust))
    signers, trust = _who_and_trust(policy, pin, name)
    profile = load_profile(trust, offline=policy.offline)
    if policy.witnesses is not None:
        profile = replace(profile, witnesses=_witnesses(policy.witnesses))
    if pin and not policy.trust and pin.trust_digest not in {"", profile.trust.digest}:
        raise TrustError(
            "the trust configuration is not the one that was pinned",
            where=trust,
            expected=f"sha256:{pin.trust_digest}",
            got=f"sha256:{profile.trust.digest}",
            help="if you replaced it yourself: gitchain trust pin …",
        )
    minimum = max(policy.minimum_version, pin.version if pin else 0)
    signed = verify_layout(raw, profile.trust, signers, now, minimum, kept_keys(signers))
    if signed.layout.name != name:
        raise LayoutError(
            "the layout's name is not the one it was looked up by", expected=name, got=signed.layout.name
        )
    if pin and signed.layout.version == pin.version and pin.digest not in {"", signed.digest}:
        raise LayoutError(
            "another layout with the same version was accepted before",
            where=str(path),
            expected=f"sha256:{pin.digest}",
            got=f"sha256:{signed.digest}",
            help="its owner must raise the version",
        )
    return Accepted(signed, profile, path)


def pinned_signers(name: str) -> tuple[Identity, ...]:
    """Return who may sign the layout of this name, as far as it is pinned."""
    pin = read_pins().get(name)
    return tuple(Identity(*signer) for signer in pin.signers) if pin else ()


def pinned_profile(project: Project, *, offline: bool = False) -> Profile | None:
    """Return the trust that this repository's layout is pinned under, None if it is the configured trust or not pinned.

    A machine that pinned another machine's trust verifies under it and signs nothing. Raises as `load_profile`.
    """
    pin = pin_for_repository(project.git.common_dir)
    if pin is None or pin.trust == project.configured().trust:
        return None
    return load_profile(pin.trust, offline=offline)


def _witnesses(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(MAX_POLICY_BYTES + 1)
    except OSError as error:
        raise TrustError(
            "cannot read the witness policy",
            where=str(path),
            got=str(error.strerror),
            help="a file in the format of https://c2sp.org/tlog-policy",
        ) from error


def _claimed_name(raw: bytes, path: Path) -> str:
    try:
        name = Bundle.parse(raw).statement().predicate.get("name")
    except GitchainError as error:
        raise LayoutError(
            "the signed layout is not a bundle", where=str(path), got=str(error), help="gitchain layout sign"
        ) from error
    if not isinstance(name, str):
        raise LayoutError("the signed layout has no name", where=str(path))
    return name


def _who_and_trust(policy: Policy, pin: Pin | None, name: str) -> tuple[tuple[Identity, ...], str]:
    signers = policy.signers or (tuple(Identity(*signer) for signer in pin.signers) if pin else ())
    trust = policy.trust or (pin.trust if pin else None)
    if not signers or trust is None:
        raise TrustError(
            "no trusted signer is configured for this layout",
            where=f"layout {name}",
            help=f"gitchain trust pin --layout {name} --signer IDENTITY   (or --signer, --issuer and --trust on verify)",
        )
    return signers, trust

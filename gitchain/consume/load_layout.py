"""Load the layout: signed by an allowed signer, in force, and not older than one accepted before.

Trusted root and layout signer come from flags or pins, never from the repository.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from gitchain.consume.layout_choice import chosen_pin, repository_of
from gitchain.errors import GitchainError, LayoutError, TrustError, UsageError
from gitchain.evidence.bundle import Bundle
from gitchain.layout.load import MAX_SIGNED_BYTES
from gitchain.layout.model import KEY_ISSUER, Identity
from gitchain.platform.files import open_regular, read_input
from gitchain.trust.load_profile import is_path, load_profile
from gitchain.trust.profiles import Profile
from gitchain.verify.layout import verify_layout
from gitchain.verify.verified import SignedLayout
from gitchain.workspace.project import SIGNED_LAYOUT, Project
from gitchain.workspace.user_directory import LayoutPin, pin_for_repository, read_pins


@dataclass(frozen=True, slots=True)
class LayoutOptions:
    """The caller's options about the layout. Missing values come from the user's pins."""

    layout: Path | None = None
    signers: tuple[Identity, ...] = ()
    trust: str | None = None
    offline: bool = False
    minimum_version: int = 0
    checkpoint: str | None = None
    """A required checkpoint of the attestation set: its attestation id, or a bundle file."""

    witnesses: Path | None = None
    """A witness policy that every bundle's log checkpoint must satisfy."""

    name: str | None = None
    """The name that the layout must have."""

    keys: tuple[bytes, ...] = ()
    """Keys (DER) of signers that are keys, beside those in the user's directory. A signer names its key by digest."""


@dataclass(frozen=True)
class AcceptedLayout:
    """A layout with a valid signature by an allowed signer, in force, not rolled back."""

    signed: SignedLayout
    profile: Profile
    path: Path
    is_choice_open: bool = False
    """Whether the options would also accept another layout of the same signer from this repository."""
    raw: bytes = field(default=b"", repr=False)
    """The bundle that was verified."""


def load_policy(project: Project | None, policy: LayoutOptions, now: datetime) -> AcceptedLayout:
    """Find, verify and accept the layout.

    Raises LayoutError (no layout, wrong signer, expired, older than the accepted version) or TrustError (no pin, or a
    different trusted root).
    """
    if policy.layout is None and project is None:
        raise UsageError(
            "outside a repository the layout has to be named", help="gitchain verify … --layout FILE"
        )
    candidates = [policy.layout] if policy.layout else [project.root / SIGNED_LAYOUT]  # type: ignore[union-attr]
    own = project if project and not policy.layout else None
    pins = read_pins()
    path, raw = _read_signed(
        candidates, own.root if own else None, has_work_tree=own is None or own.git.has_work_tree
    )
    name = _claimed_name(raw, path)
    root = project.root if project else None
    is_signer_named = bool(policy.signers and policy.trust)
    pin = chosen_pin(pins, policy.name, path, name, is_signer_named=is_signer_named, root=root)
    signers, trust = _signers_and_trust(policy, pin, name)
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
    keys = (*_kept_keys(signers), *policy.keys)
    signed = verify_layout(raw, profile.trust, signers, now, minimum, keys)
    if signed.layout.name != name:
        raise LayoutError(
            "the layout's name is not the one it was looked up by",
            expected=name,
            got=signed.layout.name,
            help="give the layout of that name with --layout FILE, or another --layout-name",
        )
    _check_content(signed, pin, path)
    is_open = bool(policy.signers) and policy.name is None and repository_of(path, root) is not None
    return AcceptedLayout(signed, profile, path, is_open, raw)


def _read_signed(
    paths: Sequence[Path], root: Path | None = None, *, has_work_tree: bool = True
) -> tuple[Path, bytes]:
    """Return path and bytes of the first existing signed layout. Raises LayoutError if there is none.

    The layout of the repository at `root` is also read from Git's index if a sparse checkout left it out.
    """
    for path in paths:
        try:
            with open_regular(path) as file:
                data = file.read(MAX_SIGNED_BYTES + 1)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise LayoutError(
                "cannot read the signed layout", where=str(path), got=str(error.strerror)
            ) from error
        if len(data) > MAX_SIGNED_BYTES:
            raise LayoutError(
                "the signed layout is too large", where=str(path), expected=f"≤ {MAX_SIGNED_BYTES} bytes"
            )
        return path, data
    if root is not None and not has_work_tree:
        raise LayoutError(
            "a repository without a work tree has no signed layout of its own",
            where=str(root),
            help=f"git show HEAD:{SIGNED_LAYOUT.as_posix()} > layout.json, then again with --layout layout.json",
        )
    from gitchain.collect.committed import left_out, restoring

    own = None if root is None else root / SIGNED_LAYOUT
    kept = left_out(root, SIGNED_LAYOUT) if root is not None and own in paths else None
    if own is not None and kept is not None:
        return own, kept
    lost = restoring(root, SIGNED_LAYOUT) if root is not None and own in paths else ""
    raise LayoutError(
        "the signed layout is not in the work tree" if lost else "there is no signed layout",
        where=", ".join(str(path) for path in paths),
        help=lost or "gitchain layout sign   or give one with --layout FILE",
    )


def _kept_keys(signers: Sequence[Identity]) -> tuple[bytes, ...]:
    """Return the keys (DER) of the signers that are keys. Raises the errors of `kept_keys`."""
    if not any(signer.issuer == KEY_ISSUER for signer in signers):
        return ()
    from gitchain.trust.archive import kept_keys

    return kept_keys(signers)


def _check_content(signed: SignedLayout, pin: LayoutPin | None, path: Path) -> None:
    """Raise LayoutError if different content was accepted before under the same version."""
    if pin and signed.layout.version == pin.version and pin.digest not in {"", signed.digest}:
        raise LayoutError(
            "another layout with the same version was accepted before",
            where=str(path),
            expected=f"sha256:{pin.digest}",
            got=f"sha256:{signed.digest}",
            help="its owner must raise the version",
        )


def pinned_signers(name: str) -> tuple[Identity, ...]:
    """Return the pinned signers of the layout with this name."""
    pin = read_pins().get(name)
    return tuple(Identity(*signer) for signer in pin.signers) if pin else ()


def pinned_profile(project: Project, *, offline: bool = False) -> Profile | None:
    """Return the trust profile in the layout's pin; None if it is the configured one or there is no pin.

    A machine that pinned another machine's trusted root verifies with it and signs nothing. Raises the errors of
    `load_profile`.
    """
    pin = pin_for_repository(project.git.common_dir)
    trust = project.configured().trust
    if pin is None or pin.trust == trust or (is_path(trust) and pin.trust.startswith("sha256:")):
        return None
    return load_profile(pin.trust, offline=offline)


def _witnesses(path: Path) -> bytes:
    from gitchain.verify.witnesses import MAX_POLICY_BYTES

    remedy = "a file in the format of https://c2sp.org/tlog-policy"
    return read_input(path, MAX_POLICY_BYTES, TrustError, "cannot read the witness policy", help=remedy)


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


def _signers_and_trust(
    policy: LayoutOptions, pin: LayoutPin | None, name: str
) -> tuple[tuple[Identity, ...], str]:
    signers = policy.signers or (tuple(Identity(*signer) for signer in pin.signers) if pin else ())
    trust = policy.trust or (pin.trust if pin else None)
    if not signers or trust is None:
        raise TrustError(
            "no trusted signer is configured for this layout",
            where=f"layout {name}",
            help=f"gitchain trust pin --layout {name} --signer IDENTITY   or add --signer, --issuer and --trust",
        )
    return signers, trust

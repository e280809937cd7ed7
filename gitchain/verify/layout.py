"""Verify a signed layout and return a SignedLayout, in the order of in-toto section 5.2.

A signed layout is an attestation: predicate type `https://gitchain.dev/predicate/layout/v1`, the layout as
predicate, one subject with the layout's name and the SHA-256 of its canonical JSON. `bound_layout` checks that alone,
also for sublayouts, whose signers `gitchain.verify.sublayout` checks.

Every failure is a LayoutError (exit code 5). The allowed signers and the minimum version are parameters: they come
from outside of the repository that is verified.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime

from gitchain.errors import GitchainError, LayoutError, LayoutExpiredError
from gitchain.evidence.statement import Statement
from gitchain.evidence.vocabulary import LAYOUT
from gitchain.layout.identities import KEY_ISSUER
from gitchain.layout.load import layout_from_json
from gitchain.layout.model import Identity, Layout
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.trust import Trust
from gitchain.verify.verified import SignedLayout, VerifiedStatement, is_ahead

__all__ = ["SignedLayout", "bound_layout", "verify_layout"]


def verify_layout(
    raw: bytes,
    trust: Trust,
    signers: Sequence[Identity],
    now: datetime,
    minimum_version: int,
    keys: Sequence[bytes] = (),
) -> SignedLayout:
    """Return the verified layout in the bundle. `keys` are the bare keys (DER) among the signers.

    Raises LayoutError unless the bundle verifies, one of the signers signed it, its subject matches the layout, it has
    not expired (it expires at `expires`), and its version is at least `minimum_version`.
    """
    verified = _verified(raw, trust, keys)
    _check_signer(verified, signers)
    layout = bound_layout(verified.statement)
    _check_time(layout, verified, now)
    if layout.version < minimum_version:
        raise LayoutError(
            "layout is older than pinned",
            where=layout.name,
            expected=f"version {minimum_version} or newer",
            got=f"version {layout.version}",
            help="fetch the current layout: gitchain sync",
        )
    return SignedLayout(
        layout, verified.identity, layout.digest, layout.version, verified.attestation_id, verified.time
    )


def _verified(raw: bytes, trust: Trust, keys: Sequence[bytes]) -> VerifiedStatement:
    try:
        return verify_bundle(raw, trust, keys)
    except GitchainError as error:
        raise LayoutError(
            f"signed layout does not verify: {error.what}",
            where=error.where,
            expected=error.expected,
            got=error.got,
            help=error.help or "was it signed on the instance that you trust?",
        ) from error


def _check_signer(verified: VerifiedStatement, signers: Sequence[Identity]) -> None:
    if verified.identity not in signers:
        raise LayoutError(
            "layout is signed by an identity that may not sign it",
            expected=" or ".join(map(str, signers)) or "a signer: none is given",
            got=str(verified.identity),
            help=f"if you trust this signer: {pin_command(verified.statement.subject[0].name or 'NAME', verified.identity)}",
        )


def pin_command(name: str, signer: Identity) -> str:
    """Return the command that pins an identity as signer of the layout."""
    if signer.issuer == KEY_ISSUER:
        return f"gitchain trust pin --layout {shlex.quote(name)} --signer-key FILE"
    who = f"--signer {shlex.quote(signer.subject)} --issuer {shlex.quote(signer.issuer)}"
    return f"gitchain trust pin --layout {shlex.quote(name)} {who}"


def _check_time(layout: Layout, verified: VerifiedStatement, now: datetime) -> None:
    if layout.expires <= now:
        raise LayoutExpiredError(
            "layout has expired",
            where=layout.name,
            expected=f"a time after {now.isoformat()}",
            got=layout.expires.isoformat(),
            help="its owner must raise expires and version, and sign it again",
        )
    if is_ahead(verified.time, now):
        raise LayoutError(
            "layout was signed in the future",
            where=layout.name,
            expected=f"not after {now.isoformat()}",
            got=verified.time.isoformat(),
            help="check the clock of this machine: gitchain doctor",
        )
    if is_ahead(verified.log.cosigned, now):
        raise LayoutError(
            "the log entry of the layout was cosigned in the future",
            where=layout.name,
            expected=f"not after {now.isoformat()}",
            got=str(verified.log.cosigned),
            help="check the clock of this machine: gitchain doctor",
        )


def bound_layout(statement: Statement) -> Layout:
    """Return the layout in the statement. Raises LayoutError if it is no layout, or not the one in the subject."""
    if statement.predicate_type != LAYOUT:
        raise LayoutError("not a signed layout", expected=LAYOUT, got=statement.predicate_type)
    layout = layout_from_json(dict(statement.predicate))
    subject = [(one.name, one.digest.get("sha256")) for one in statement.subject]
    if subject != [(layout.name, layout.digest)]:
        raise LayoutError(
            "signed layout does not match its subject",
            expected=f"{layout.name} sha256:{layout.digest}",
            got=", ".join(f"{name} sha256:{digest}" for name, digest in subject),
        )
    return layout

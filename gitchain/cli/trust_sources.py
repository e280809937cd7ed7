"""Rows and lines about a trust configuration, for `gitchain trust status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gitchain.cli.output import Options, escape
from gitchain.evidence.digest import sha256_hex

if TYPE_CHECKING:
    from gitchain.trust.profiles import Profile
    from gitchain.verify.trust import ValidityPeriod
    from gitchain.workspace.user_directory import LayoutPin


def source_row(profile: Profile) -> dict[str, Any]:
    """Return where a trust came from, how old it is and which keys it holds."""
    fetched = profile.fetched
    trust = profile.trust
    logs = (("log", trust.logs), ("certificate log", trust.ct_logs))
    keys: list[dict[str, str | None]] = [
        {"kind": kind, "host": one.host, "id": one.log_id.hex(), **_window(one.window)}
        for kind, several in logs
        for one in several
    ]
    authorities = (
        ("certificate authority", trust.authorities),
        ("timestamp authority", trust.timestamp_authorities),
    )
    keys += [
        {"kind": kind, "host": "", "id": sha256_hex(one.certificates[0]), **_window(one.window)}
        for kind, several in authorities
        for one in several
    ]
    return {
        "name": profile.name,
        "from": fetched.url if fetched else "sigstore-python" if profile.rotates else profile.name,
        "digest": trust.digest,
        "fetched": fetched.time.isoformat() if fetched else None,
        "expires": fetched.expires.isoformat() if fetched else None,
        "keys": keys,
    }


def _window(window: ValidityPeriod) -> dict[str, str | None]:
    return {"start": window.start.isoformat(), "end": window.end.isoformat() if window.end else None}


def show_source(options: Options, source: dict[str, Any]) -> None:
    """Print where a trust configuration is from, its digest and its services."""
    options.data(f"\n{escape(source['name'])}  sha256:{source['digest']}")
    options.data(f"  from      {escape(source['from'])}")
    if source["fetched"]:
        options.data(f"  fetched   {source['fetched']}, good until {source['expires']}")
    for key in source["keys"]:
        until = key["end"] or "now"
        options.data(
            f"  {key['kind']:<22} {key['id'][:16]}  {key['start']} to {until}  {escape(key['host'])}"
        )


def pin_row(options: Options, pin: LayoutPin) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the row of a pinned layout, and that of its trust; None for a trust that cannot be loaded."""
    from gitchain.errors import GitchainError
    from gitchain.trust.load_profile import load_profile

    source = None
    try:
        profile = load_profile(options.trust or pin.trust, offline=options.offline)
        digest = profile.trust_digest
        if digest != pin.trust_digest:  # what was pinned is known to be usable
            digest = profile.trust.digest
        state = "ok" if pin.trust_digest in {"", digest} else "changed since it was pinned"
        source = source_row(profile)
    except GitchainError as error:
        digest, state = "", str(error)
    row = {
        "layout": pin.layout,
        "signers": [f"{subject} ({issuer})" for issuer, subject in pin.signers],
        "trust": pin.trust,
        "digest": digest,
        "highestVersion": pin.version,
        "state": state,
    }
    return row, source

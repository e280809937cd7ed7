"""Archive of trusted roots and layout signers' keys, by digest.

`trust/archive/<sha256>.json` in the user's directory holds a trust configuration that was used once: an old bundle
may need the root of its time, and `--trust sha256:…` selects it. `trust/keys/<sha256>.der` holds the key of a layout
signer without a certificate: a pin refers to it by digest.

The archive does NOT decide whether an old root is still trusted: the user who selects it does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.errors import TrustError, reason
from gitchain.evidence.digest import sha256_hex
from gitchain.platform.files import make_directory, open_regular, read_regular, write_durably
from gitchain.workspace.user_directory import user_directory

if TYPE_CHECKING:
    from gitchain.layout.model import Identity

NAME = re.compile(r"sha256:([0-9a-f]{64})")
MAX_ARCHIVED_BYTES = 16 << 20


def archive(text: str) -> str:
    """Store a trust configuration and return its digest. An archived configuration is not overwritten."""
    from gitchain.verify.trust import trust_digest

    digest = trust_digest(text)
    path = _directory() / f"{digest}.json"
    if not path.exists():
        write_durably(path, text.encode())
    return digest


def archived(name: str) -> str | None:
    """Return the archived configuration for a `sha256:…` name, or None for any other name.

    Raises TrustError if the archive has no configuration with this digest.
    """
    from gitchain.verify.trust import trust_digest

    found = NAME.fullmatch(name)
    if found is None:
        return None
    path = _directory() / f"{found[1]}.json"
    try:
        with open_regular(path) as file:
            text = file.read(MAX_ARCHIVED_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise TrustError(
            "this trusted root is not kept here",
            where=str(path),
            got=reason(error),
            help="gitchain trust status   shows those that are",
        ) from error
    if trust_digest(text) != found[1]:
        raise TrustError("a kept trusted root was changed", where=str(path), expected=found[0])
    return text


def keep_key(spki: bytes) -> Identity:
    """Store a layout signer's key (DER) and return the identity that pins use for it."""
    from gitchain.layout.model import KEY_ISSUER, Identity

    digest = sha256_hex(spki)
    write_durably(_directory("keys") / f"{digest}.der", spki)
    return Identity(KEY_ISSUER, f"sha256:{digest}")


def kept_keys(signers: Iterable[Identity]) -> tuple[bytes, ...]:
    """Return the archived keys (DER) of the signers that are keys.

    Raises TrustError if a stored key does not match its digest.
    """
    from gitchain.layout.model import KEY_ISSUER

    found: list[bytes] = []
    for signer in signers:
        named = NAME.fullmatch(signer.subject) if signer.issuer == KEY_ISSUER else None
        path = _directory("keys") / f"{named[1]}.der" if named else None
        if path is None or not path.exists():
            continue
        data = read_regular(path, MAX_ARCHIVED_BYTES)
        if f"sha256:{sha256_hex(data)}" != signer.subject:
            raise TrustError("a kept key was changed", where=str(path), expected=signer.subject)
        found.append(data)
    return tuple(found)


def digests() -> tuple[str, ...]:
    """Return the digests of all archived trust configurations."""
    return tuple(sorted(path.stem for path in _directory().glob("*.json")))


def _directory(what: str = "archive") -> Path:
    path = user_directory()
    for part in ("trust", what):
        path /= part
        make_directory(path)
    return path

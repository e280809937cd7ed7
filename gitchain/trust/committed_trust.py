"""Trust configuration of a private Sigstore, committed with the repository, and the user's consent to sign under it.

.gitchain/trust.json    in the repository, so that every clone has it
told.json               in the user's directory: the digest of the file that the user accepted, per repository

The file names the services that receive a signer's OIDC token, so an attacker who changes it could collect tokens.
That is why gitchain signs only under the exact bytes that the user accepted; no repository can accept them.
Verification reads nothing from the file: a pin holds the trusted root by digest.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.errors import LimitError, ProjectError, TrustError
from gitchain.evidence.digest import sha256_hex
from gitchain.platform.files import make_directory, read_regular, write_durably
from gitchain.trust.load_profile import MAX_TRUST_BYTES, is_path, load_profile
from gitchain.trust.profiles import Profile
from gitchain.trust.publication_consent import chosen_trust, remember_chosen

if TYPE_CHECKING:
    from gitchain.workspace.project import Project

COMMITTED = Path(".gitchain") / "trust.json"


class NotChosenError(TrustError):
    """Raised if the user has not accepted the repository's trust configuration for signing."""


def committed(root: Path, directory: Path, trust: str, *, force: bool) -> tuple[str, str]:
    """Return the `sign.trust` value for a trust file, relative to the repository, and the text to write there.

    The text is empty if the file is already inside the repository. `trust` is relative to `directory`. Raises
    ProjectError if another file is at the place of the copy, unless `force`, and the errors of `load_profile`.
    """
    path = (directory / trust).absolute()
    text = load_profile(str(path)).text
    real, top = path.resolve(), root.resolve()
    if real.is_relative_to(top):
        return real.relative_to(top).as_posix(), ""
    place = root / COMMITTED
    if os.path.lexists(place) and not _holds(place, text.encode()) and not force:
        raise ProjectError(
            "the repository has another trust configuration",
            where=str(place),
            help=f"gitchain --trust {trust} init --force   replaces it",
        )
    return COMMITTED.as_posix(), text


def _holds(place: Path, data: bytes) -> bool:
    """Return True if `place` is a regular file (not a link) that contains `data`."""
    try:
        return not place.is_symlink() and read_regular(place, MAX_TRUST_BYTES) == data
    except (OSError, LimitError):
        return False


def write_committed(root: Path, text: str) -> None:
    """Write the trust configuration into the repository. Raises StoreError."""
    make_directory((root / COMMITTED).parent)
    write_durably(root / COMMITTED, text.encode(), mode=0o644)


def choose(project: Project, profile: Profile) -> str:
    """Store the user's consent to sign under this trust configuration, and return its digest. Raises StoreError."""
    remember_chosen(str(project.git.common_dir), _digest(profile))
    return _digest(profile)


def check_chosen(project: Project, profile: Profile) -> None:
    """Check that the user accepted this trust configuration for this repository.

    Raises NotChosenError if the user accepted none, TrustError if the user accepted a different one.
    """
    if not is_path(project.configured().trust):
        return
    found = chosen_trust(str(project.git.common_dir))
    if found == _digest(profile):
        return
    changed = found is not None
    raise (TrustError if changed else NotChosenError)(
        "the trust configuration is not the one that you chose to sign under"
        if changed
        else "you have not chosen to sign under the repository's trust configuration",
        where=profile.name,
        expected=found or "",
        got=_digest(profile),
        help="read the file, it names where your identity token is sent, then: gitchain trust agree",
    )


def services_of(profile: Profile) -> tuple[str, ...]:
    """Return the URLs of the services in a trust configuration."""
    config = json.loads(profile.text).get("signingConfig")
    groups = config.values() if isinstance(config, dict) else ()
    entries = [entry for group in groups if isinstance(group, list) for entry in group]
    return tuple(
        dict.fromkeys(str(entry["url"]) for entry in entries if isinstance(entry, dict) and "url" in entry)
    )


def _digest(profile: Profile) -> str:
    """Return the digest of the whole file, service URLs included."""
    return f"sha256:{sha256_hex(profile.text.encode())}"

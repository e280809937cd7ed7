"""Sign commits and tags for Git, and check such signatures, under the trust that the user chose on this machine.

    git config gitchain.trust local          local | public | a trust configuration file; else the repository's pin
    git config gitchain.identity ada@…       embedded instance only; else the signing key's or the committer's e-mail
    git config gitchain.cacheCertificate no  a certificate for each signature

Nothing is taken from files that a clone brings along: a repository must not choose where an identity token goes to.
Does NOT say whether a signer may sign: `gitchain verify COMMIT` does.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.errors import (
    AuthenticationError,
    MalformedError,
    ProjectError,
    SignatureError,
    StoreError,
    TrustError,
    UsageError,
)
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.gitobject import GitObject, GitSignature, unarmored, with_signature
from gitchain.pipeline.home import pin_for_repository
from gitchain.pipeline.profiles import Identity, Profile, load_profile
from gitchain.platform.git import Git

if TYPE_CHECKING:
    from sigstore.sign import SigningContext

    from gitchain.sign.gitcms import Credential
    from gitchain.verify.verified import VerifiedObject

GIT_SECONDS = 10
_EMAIL = re.compile(r"[^<>]*<([^<>\s]+)>")
HELP_TRUST = "git config --global gitchain.trust local   (or public, or a trust configuration file)"


@dataclass(frozen=True, slots=True)
class GitSettings:
    """What Git's own configuration says about signing here."""

    trust: str
    trust_digest: str
    identity: str | None
    cache: bool


@dataclass(frozen=True, slots=True)
class MadeSignature:
    """An armored signature, and the SHA-256 of the certificate that made it."""

    armored: bytes
    fingerprint: str
    subject: str


def read_settings(directory: Path) -> GitSettings:
    """Return the settings that count in this directory; TrustError, saying what to type, where there is no trust."""
    found = _git_settings(directory)
    trust, digest = found.get("gitchain.trust"), ""
    if trust is None:
        common = _git(directory, "rev-parse", "--path-format=absolute", "--git-common-dir").strip()
        pin = pin_for_repository(Path(common)) if common else None
        if pin is None:
            raise TrustError("nobody has said with which Sigstore instance to sign commits", help=HELP_TRUST)
        trust, digest = pin.trust, pin.trust_digest
    cache = found.get("gitchain.cachecertificate", "true").lower() not in {"false", "no", "off", "0"}
    return GitSettings(trust, digest, found.get("gitchain.identity"), cache)


def settings_profile(settings: GitSettings, *, offline: bool = False) -> Profile:
    """Return the profile to sign with or to verify under; TrustError unless it is the pinned one."""
    profile = load_profile(settings.trust, base=Path.home(), offline=offline)
    if settings.trust_digest not in {"", profile.trust.digest}:
        raise TrustError(
            "the trust configuration is not the one that was pinned",
            where=settings.trust,
            expected=f"sha256:{settings.trust_digest}",
            got=f"sha256:{profile.trust.digest}",
            help="if you replaced it yourself: gitchain trust pin …",
        )
    return profile


def sign_for_git(payload: bytes, key: str, settings: GitSettings, now: datetime) -> MadeSignature:
    """Return a signature of what Git is about to write, verified before it is handed out.

    `key` is Git's `user.signingkey`, or the committer. Raises what the profile, the token and the services raise.
    """
    from cryptography.hazmat.primitives import hashes

    from gitchain.sign.gitcms import sign_payload
    from gitchain.verify.identity import identity_of

    profile = settings_profile(settings)
    context, credential = _ready(profile, settings, key, now)
    armored = sign_payload(context, credential, payload, now)
    if payload.startswith((b"tree ", b"object ")):  # and not a push certificate
        verify_for_git(payload, armored, profile)
    fingerprint = credential.certificate.fingerprint(hashes.SHA256()).hex()
    return MadeSignature(armored, fingerprint, str(identity_of(credential.certificate)))


def verify_for_git(payload: bytes, armored: bytes, profile: Profile) -> VerifiedObject:
    """Return who signed the payload of a commit or tag; raises as `verify_object`, MalformedError for another payload."""
    from gitchain.verify.gitsigned import verify_object

    kind = {b"tree": "commit", b"object": "tag"}.get(payload.partition(b" ")[0])
    if kind is None:
        raise MalformedError("not a commit or a tag", got=ascii(payload[:40]))
    raw = with_signature(kind, payload, armored)
    size = len(payload.partition(b"\n")[0].partition(b" ")[2])  # the length of an id here
    found = GitObject.parse(kind, sha256_hex(raw)[:size], raw)
    if found.signature is not None and found.signature.form != "x509":
        raise SignatureError("not a CMS signature", got=found.signature.form)
    return verify_object(found, profile.trust)


def certificate_fingerprint(armored: bytes) -> str:
    """Return the SHA-256 of the certificate in an armored signature that verified; raises as `parse_cms`."""
    from gitchain.verify.cms import parse_cms

    return sha256_hex(parse_cms(unarmored(GitSignature("x509", armored))).certificate)


def _ready(
    profile: Profile, settings: GitSettings, key: str, now: datetime
) -> tuple[SigningContext, Credential]:
    """Return where to sign, and with what: the kept credential, or a new one."""
    from gitchain.pipeline.credentials import credential_path, keep_credential, kept_credential
    from gitchain.sign.gitcms import new_credential

    name = settings.identity or _email(key) if profile.instance else None
    context = profile.context()
    path = credential_path(profile.trust.digest, name or _token_subject()) if settings.cache else None
    credential = kept_credential(path, now)
    if credential is None:
        credential = new_credential(context, _token(profile, name))
        keep_credential(path, credential)
    return context, credential


def _token(profile: Profile, name: str | None) -> str:
    if profile.instance is None:
        return profile.token(Identity(agreed=bool(os.environ.get("GITCHAIN_YES"))))
    if name is None:
        raise AuthenticationError(
            "no identity to sign as", help="git config gitchain.identity you@example.com"
        )
    profile.check_identity(name)
    return profile.instance.token(name)


def _token_subject() -> str:
    """Return whom a token in the environment is for, so that another token never uses its certificate."""
    from gitchain.sign.token import VARIABLE, parse_token

    given = os.environ.get(VARIABLE)
    if given is None:
        return ""
    token = parse_token(given.strip())
    return f"{token.federated_issuer} {token.identity}"


def _email(key: str) -> str | None:
    """Return the e-mail in `Name <e-mail>`, the key itself where it is an e-mail or a URI, else None."""
    match = _EMAIL.fullmatch(key.strip())
    if match:
        return match[1]
    return key.strip() if "@" in key or "://" in key else None


def _git_settings(directory: Path) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for item in _git(directory, "config", "-z", "--get-regexp", r"^gitchain\.").split("\0"):
        name, _, value = item.partition("\n")
        found[name] = value  # the last one counts, as for Git
    return found


def _git(directory: Path, *arguments: str) -> str:
    """Return git's output in the environment that git started this program in; nothing if it exits with an error."""
    try:
        done = Git(directory, offline=True, bound=True).run(*arguments, seconds=GIT_SECONDS, accept=None)
    except (ProjectError, StoreError) as error:
        raise UsageError("git cannot be run", got=str(error), help="install git") from error
    return done.stdout.decode("utf-8", "surrogateescape") if done.code == 0 else ""

"""Sign commits and tags for Git, and verify such signatures, under the user's trust settings.

git config gitchain.trust local          local | public | a trust configuration file; else the repository's pin
git config gitchain.identity ada@…       embedded instance only; else the signing key's or the committer's e-mail
git config gitchain.cacheCertificate no  a certificate for each signature

Files in a clone are not read: a repository must not choose the receiver of an identity token. Whether a signer is
allowed is decided by `gitchain verify COMMIT`.
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
from gitchain.platform.git import Git
from gitchain.trust.load_profile import load_profile
from gitchain.trust.profiles import Profile, SigningIdentity
from gitchain.workspace.user_directory import pin_for_repository

if TYPE_CHECKING:
    from sigstore.sign import SigningContext

    from gitchain.sign.gitcms import Credential
    from gitchain.verify.verified import VerifiedObject

GIT_SECONDS = 10
_EMAIL = re.compile(r"[^<>]*<([^<>\s]+)>")
HELP_TRUST = "git config --global gitchain.trust local   (or public, or a trust configuration file)"


@dataclass(frozen=True, slots=True)
class GitSettings:
    """Settings for signing, from Git's configuration."""

    trust: str
    trust_digest: str
    identity: str | None
    cache: bool


@dataclass(frozen=True, slots=True)
class MadeSignature:
    """An armored signature, and the SHA-256 of its certificate."""

    armored: bytes
    fingerprint: str
    subject: str


def read_settings(directory: Path) -> GitSettings:
    """Return the settings for this directory. Raises TrustError, with a command, if no trust is configured."""
    config = _git_settings(directory)
    trust, digest = config.get("gitchain.trust"), ""
    if trust is None:
        common = _git(directory, "rev-parse", "--path-format=absolute", "--git-common-dir").strip()
        pin = pin_for_repository(Path(common)) if common else None
        if pin is None:
            raise TrustError("no Sigstore instance is configured for signing commits", help=HELP_TRUST)
        trust, digest = pin.trust, pin.trust_digest
    cache = config.get("gitchain.cachecertificate", "true").lower() not in {"false", "no", "off", "0"}
    return GitSettings(trust, digest, config.get("gitchain.identity"), cache)


def settings_profile(settings: GitSettings, *, offline: bool = False) -> Profile:
    """Return the profile for signing and verifying. Raises TrustError unless it is the pinned one."""
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
    """Return a verified signature over the content that Git is about to write.

    `key` is Git's `user.signingkey`, or the committer. Raises the errors of the profile, the token and the services.
    """
    from cryptography.hazmat.primitives import hashes

    from gitchain.sign.gitcms import sign_payload
    from gitchain.verify.identity import identity_of

    profile = settings_profile(settings)
    context, credential = _ready(profile, settings, key, now)
    armored = sign_payload(context, credential, payload, now)
    if payload.startswith((b"tree ", b"object ")):  # excludes push certificates
        verify_for_git(payload, armored, profile)
    fingerprint = credential.certificate.fingerprint(hashes.SHA256()).hex()
    return MadeSignature(armored, fingerprint, str(identity_of(credential.certificate)))


def verify_for_git(payload: bytes, armored: bytes, profile: Profile) -> VerifiedObject:
    """Return the signer of a commit's or tag's payload.

    Raises the errors of `verify_object`, and MalformedError for another payload.
    """
    from gitchain.verify.gitsigned import verify_object

    kind = {b"tree": "commit", b"object": "tag"}.get(payload.partition(b" ")[0])
    if kind is None:
        raise MalformedError("not a commit or a tag", got=ascii(payload[:40]))
    raw = with_signature(kind, payload, armored)
    size = len(
        payload.partition(b"\n")[0].partition(b" ")[2]
    )  # the length of an object id in this repository
    git_object = GitObject.parse(kind, sha256_hex(raw)[:size], raw)
    if git_object.signature is not None and git_object.signature.form != "x509":
        raise SignatureError("not a CMS signature", got=git_object.signature.form)
    return verify_object(git_object, profile.trust)


def certificate_fingerprint(armored: bytes) -> str:
    """Return the SHA-256 of the certificate in a verified armored signature. Raises the errors of `parse_cms`."""
    from gitchain.verify.cms import parse_cms

    return sha256_hex(parse_cms(unarmored(GitSignature("x509", armored))).certificate)


def _ready(
    profile: Profile, settings: GitSettings, key: str, now: datetime
) -> tuple[SigningContext, Credential]:
    """Return the signing context and the credential: the cached one or a new one."""
    from gitchain.produce.credentials import credential_path, keep_credential, kept_credential
    from gitchain.sign.gitcms import new_credential

    name = settings.identity or _email(key) if profile.is_local else None
    context = profile.context()
    path = credential_path(profile.trust.digest, name or _token_subject()) if settings.cache else None
    credential = kept_credential(path, now)
    if credential is None:
        credential = new_credential(context, _token(profile, name))
        keep_credential(path, credential)
    return context, credential


def _token(profile: Profile, name: str | None) -> str:
    if profile.instance is None:
        return profile.token(SigningIdentity(agreed=bool(os.environ.get("GITCHAIN_YES"))))
    if name is None:
        raise AuthenticationError(
            "no identity to sign as", help="git config gitchain.identity you@example.com"
        )
    profile.check_identity(name)
    return profile.instance.token(name)


def _token_subject() -> str:
    """Return the subject of a token in the environment, so that its certificate is not used with another token."""
    from gitchain.sign.token import VARIABLE, parse_token

    given = os.environ.get(VARIABLE)
    if given is None:
        return ""
    token = parse_token(given.strip())
    return f"{token.federated_issuer} {token.identity}"


def _email(key: str) -> str | None:
    """Return the e-mail in `Name <e-mail>`, the key itself if it is an e-mail or a URI, else None."""
    match = _EMAIL.fullmatch(key.strip())
    if match:
        return match[1]
    return key.strip() if "@" in key or "://" in key else None


def _git_settings(directory: Path) -> Mapping[str, str]:
    config: dict[str, str] = {}
    for item in _git(directory, "config", "-z", "--get-regexp", r"^gitchain\.").split("\0"):
        name, _, value = item.partition("\n")
        config[name] = value  # the last value counts, as in Git
    return config


def _git(directory: Path, *arguments: str) -> str:
    """Return git's stdout in the environment of the calling git, or an empty text if it exits non-zero."""
    try:
        done = Git(directory, offline=True, bound=True).run(*arguments, seconds=GIT_SECONDS, accept=None)
    except (ProjectError, StoreError) as error:
        raise UsageError("git cannot be run", got=str(error), help="install git") from error
    return done.stdout.decode("utf-8", "surrogateescape") if done.code == 0 else ""

"""Trust profiles: `local` (the embedded instance), `public` (the public-good Sigstore), a TUF repository, or a file.

All of them become a Sigstore `ClientTrustConfig`: the trusted root to verify with and the signing configuration to
sign with.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.errors import (
    AuthenticationError,
    LimitError,
    TransportError,
    TrustError,
    UsageError,
    reason,
)
from gitchain.platform.files import open_regular, read_regular
from gitchain.trust.archive import NAME, archive, archived
from gitchain.workspace.user_directory import local_directory

if TYPE_CHECKING:
    from sigstore.sign import SigningContext

    from gitchain.instance import Instance
    from gitchain.sign import Signer
    from gitchain.sign.keys import KeyHolder
    from gitchain.sign.services import SigningServices
    from gitchain.trust.tuf import Fetched, Repository
    from gitchain.verify.trust import Trust

EXPORTED = "trust.json"
"""Where the embedded instance keeps its trust configuration, in its directory."""
MAX_TRUST_BYTES = 16 << 20  # the public trusted root has about 10 kB


@dataclass(frozen=True, slots=True)
class SigningIdentity:
    """How to sign: an identity of the embedded instance, an OIDC token, a key, or the environment's credentials.

    `interactive` allows a login prompt. `agreed` accepts publication of the identity without a prompt.
    """

    name: str | None = None
    token: str | None = None
    key: str | None = None
    interactive: bool = False
    agreed: bool = False

    def __post_init__(self) -> None:
        if self.key is not None and (self.name is not None or self.token is not None):
            raise UsageError(
                "choose one way to sign",
                expected="--key, or --as, or --identity-token",
                got="several",
                help="give one of them; GITCHAIN_KEY and GITCHAIN_IDENTITY_TOKEN count too",
            )

    def check_token(self) -> None:
        """Raise AuthenticationError if a token was given that cannot be used."""
        if self.token is not None:
            from gitchain.sign.token import check_token

            check_token(self.token.strip())


@dataclass(frozen=True)
class Profile:
    """A named trust configuration."""

    name: str
    text: str
    directory: Path | None = None
    """The directory of the embedded instance, for `local`."""
    rotates: bool = False
    """Whether the root is updated over TUF. A pin then refers to it by name and holds no digest."""
    fetched: Fetched | None = None
    offline: bool = False
    witnesses: bytes | None = None
    """The verifier's own witness policy (https://c2sp.org/tlog-policy), which every checkpoint must satisfy."""

    @property
    def is_local(self) -> bool:
        """Return True for the embedded instance."""
        return self.directory is not None

    @cached_property
    def instance(self) -> Instance | None:
        """Return the opened embedded instance, to sign; None for other profiles. Raises TrustError if it is broken."""
        if self.directory is None:
            return None
        from gitchain.instance import Instance

        return Instance.open(self.directory)

    @cached_property
    def trust(self) -> Trust:
        """Return the trusted root for verification."""
        from gitchain.verify.trust import Trust

        root = Trust.parse(self.text)
        if self.witnesses is None:
            return root
        from gitchain.verify.witnesses import WitnessPolicy

        return replace(root, witnesses=WitnessPolicy.parse(self.witnesses))

    @cached_property
    def services(self) -> SigningServices:
        """Return the signing services; connections and recent failures are cached with this profile.

        Raises TransportError under --offline.
        """
        from gitchain.sign.context import signing_services

        if self.offline:
            raise TransportError("--offline: nothing was sent", where=self.name, help="gitchain sync, later")
        return signing_services(self.text)

    def check(self, identity: str | None, key: str | None = None) -> None:
        """Validate trust and key before anything is queued: TrustError for invalid trust, UsageError for a bad key."""
        self.check_identity(identity)
        _ = self.trust
        _ = self.instance
        if key is not None:
            with suppress(AuthenticationError, TransportError):  # do not cache the token; a PIN is cached
                self._key_signer(key)

    def check_identity(self, identity: str | None) -> None:
        """Raise UsageError if this profile can never sign as `identity`. None leaves the choice to the environment."""
        if identity is None:
            return
        if not self.is_local:
            raise UsageError(
                "--as works with the embedded instance only",
                got=self.name,
                help="remove --as: the OIDC token contains the identity",
            )
        from gitchain.instance.info import check_identity

        check_identity(identity)

    @property
    def trust_digest(self) -> str:
        """Return the digest of the trusted root without validating it; see `trust_digest`."""
        from gitchain.verify.trust import trust_digest

        return trust_digest(self.text)

    def context(self) -> SigningContext:
        """Return where to sign: the embedded instance, or the services that the configuration names."""
        return self.services.context() if self.instance is None else self.instance.signing_context()

    def signer(self, identity: SigningIdentity, again: str = "gitchain sync") -> Signer:
        """Return a signer: a key, an identity of the embedded instance, the given token, or the environment's credentials.

        Asks the user to accept publication of the identity before it requests a certificate from a public instance.
        Raises AuthenticationError without an identity; UsageError for --as outside the embedded instance, for a key
        that cannot sign here, and without consent; TransportError if a service is unavailable. `again` is the command
        to show in errors: it signs once an identity is available.
        """
        from gitchain.sign.keyless import KeylessSigner

        if identity.key is not None:
            return self._key_signer(identity.key)
        if self.instance is not None:
            instance, name = self.instance, identity.name or ""
            if identity.token is None and identity.name is None:
                raise AuthenticationError(
                    "no identity to sign as",
                    help=f"git config user.email you@example.com, then: {again}   (or {again} --as IDENTITY)",
                )
            return KeylessSigner(instance.signing_context(), identity.token or (lambda: instance.token(name)))
        self.check_identity(identity.name)
        return KeylessSigner(self.context(), self.token(identity))

    def token(self, identity: SigningIdentity) -> str:
        """Return the OIDC token to sign with, after the user accepted publication. Raises the errors of `signer`."""
        from gitchain.sign.token import find_token, parse_token
        from gitchain.trust.publication_consent import require_consent

        services = self.services
        token = find_token(identity.token, log_in=self._log_in(interactive=identity.interactive))
        if services.is_public:
            require_consent(
                self.name, parse_token(token).identity, services.keeps_statements, accepted=identity.agreed
            )
        return token

    def _log_in(self, *, interactive: bool) -> Callable[[], str] | None:
        """Return a function that lets the user log in, or None if the session is not interactive."""
        from gitchain.sign.login import is_terminal, log_in

        if not (interactive or is_terminal()):
            return None
        return lambda: log_in(self.services.oidc_url, self.services.http)

    def _key_signer(self, uri: str) -> Signer:
        from gitchain.sign.keyed import KeySigner

        recorder = self.services if self.instance is None else self.instance.recorder()
        return KeySigner(self._holder(uri), recorder)

    def _holder(self, uri: str) -> KeyHolder:
        """Return the opened key. It is opened once per profile, so a passphrase is entered once."""
        from gitchain.sign.keys import open_key

        if uri not in self._holders:
            self._holders[uri] = open_key(uri)
        return self._holders[uri]

    @cached_property
    def _holders(self) -> dict[str, KeyHolder]:
        return {}


def load_profile(
    name: str, *, base: Path | None = None, offline: bool = False, now: datetime | None = None
) -> Profile:
    """Return the profile called `name`, or load it from a file path relative to `base`.

    Contacts a TUF repository only if the cached metadata is due, and never if `offline`. Raises TrustError if the
    profile cannot be loaded, TransportError if a due update fails.
    """
    return replace(_load(name, base or Path(), now or datetime.now(UTC), offline=offline), offline=offline)


def _load(name: str, base: Path, now: datetime, *, offline: bool) -> Profile:
    if name == "local":
        directory = local_directory()
        return Profile(name="local", text=_exported(directory) or _opened(directory), directory=directory)
    from gitchain.trust.tuf import Repository

    repository, kept = Repository.of(name), archived(name)
    if repository is not None:
        return _from_tuf(repository, offline=offline, now=now)
    if kept is not None:
        return Profile(name=name, text=kept)
    return _from_file(base / name, _left_out(base, name))


def _exported(directory: Path) -> str | None:
    """Return the trust configuration that the embedded instance exported: to verify, its keys are not opened.

    None if it cannot be read, or others may have written it: opening the instance then names the fault.
    """
    place = directory / EXPORTED
    try:
        for path, is_kind in ((directory, stat.S_ISDIR), (place, stat.S_ISREG)):
            found = path.lstat()
            if not is_kind(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
                return None
        return read_regular(place, MAX_TRUST_BYTES).decode("utf-8")
    except (OSError, LimitError, UnicodeDecodeError):
        return None


def _opened(directory: Path) -> str:
    from gitchain.instance import Instance

    return Instance.open(directory).trust_config()


def _left_out(base: Path, name: str) -> bytes | None:
    """Return a trust configuration of the repository at `base` that a sparse checkout left out, or None."""
    inside = not Path(name).is_absolute() and ".." not in Path(name).parts
    if not inside or (base / name).exists() or not (base / ".git").exists():
        return None
    from gitchain.collect.committed import left_out

    return left_out(base, Path(name))


def is_path(name: str) -> bool:
    """Return True if a --trust value is a file path, not an instance, a TUF repository or an archived root."""
    from gitchain.trust.tuf import Repository

    return name != "local" and Repository.of(name) is None and NAME.fullmatch(name) is None


def pin_root(name: str, root: bytes | None) -> None:
    """Pin the initial root of the TUF repository called `name`.

    Raises UsageError if `name` is no TUF repository, and the errors of `Repository.pin`.
    """
    if root is None:
        return
    from gitchain.trust.tuf import Repository

    repository = Repository.of(name)
    if repository is None:
        raise UsageError(
            "--tuf-root belongs to a TUF repository",
            got=name,
            expected="--trust https://…",
            help="gitchain --trust https://HOST init --tuf-root root.json",
        )
    repository.pin(root)


def update_profile(name: str) -> Profile:
    """Update a profile from its TUF repository and return it.

    Raises UsageError if the profile has no TUF repository, and the errors of `Repository.refresh`.
    """
    from gitchain.sign.http import Http
    from gitchain.trust.tuf import Repository

    repository = Repository.of(name)
    if repository is None:
        raise UsageError(
            "this trust is not updated",
            got=name,
            expected="public, public-v2 or the URL of a TUF repository",
            help="local trust and files need no update; gitchain trust status   shows them",
        )
    return _profile(repository, repository.refresh(Http(), datetime.now(UTC)))


def _from_tuf(repository: Repository, *, offline: bool, now: datetime) -> Profile:
    cached = repository.cached()
    if cached is not None and (offline or not cached.is_due(now)):
        return _profile(repository, cached)
    if offline:
        return _never_fetched(repository)
    from gitchain.sign.http import Http

    try:
        return _profile(repository, repository.refresh(Http(), now))
    except TransportError:
        if cached is None or now > cached.expires:
            raise
        return _profile(repository, cached)  # older than a day, but not expired


def _never_fetched(repository: Repository) -> Profile:
    from gitchain.trust.tuf import PUBLIC

    if repository.name == PUBLIC:
        from gitchain.verify.trust import public_trust_config

        return Profile(name=PUBLIC, text=public_trust_config(offline=True), rotates=True)
    raise TrustError(
        "this trust was never fetched, and --offline fetches nothing",
        where=repository.url,
        help=f"gitchain --trust {repository.name} trust update",
    )


def _profile(repository: Repository, fetched: Fetched) -> Profile:
    archive(fetched.text)
    return Profile(name=repository.name, text=fetched.text, rotates=True, fetched=fetched)


def _from_file(path: Path, kept: bytes | None = None) -> Profile:
    from gitchain.verify.trust import trust_digest

    try:
        data = kept
        if data is None:
            with open_regular(path) as file:
                data = file.read(MAX_TRUST_BYTES + 1)
        if len(data) > MAX_TRUST_BYTES:
            raise TrustError(
                "the trust configuration is too large", where=str(path), expected=f"≤ {MAX_TRUST_BYTES} bytes"
            )
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TrustError(
            "cannot read the trust configuration",
            where=str(path),
            got=reason(error),
            help="--trust takes local, public, public-v2, the https:// URL of a TUF repository, sha256:… of a kept root, "
            "or a file that holds a Sigstore trust configuration or trusted root",
        ) from error
    try:
        trust_digest(text)  # validate the file before anything is signed under it
    except TrustError as error:
        where = f"{path}: {error.where}" if error.where else str(path)
        raise TrustError(
            error.what, where=where, expected=error.expected, got=error.got, help=error.help
        ) from error
    return Profile(name=str(path), text=text)

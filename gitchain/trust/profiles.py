"""Trust profiles: `local` (the embedded instance), `public` (the public-good Sigstore), a TUF repository, or a file.

All of them become a Sigstore `ClientTrustConfig`: the trusted root to verify with and the signing configuration to
sign with. A SigningIdentity is the signer that the user chose.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.errors import AuthenticationError, TransportError, UsageError

if TYPE_CHECKING:
    from sigstore.sign import SigningContext

    from gitchain.instance import Instance
    from gitchain.sign import StatementSigner
    from gitchain.sign.keys import KeyHolder
    from gitchain.sign.services import SigningServices
    from gitchain.trust.tuf import FetchedTrust
    from gitchain.verify.trust import Trust


@dataclass(frozen=True)
class Profile:
    """A named trust configuration."""

    name: str
    text: str
    directory: Path | None = None
    """The directory of the embedded instance, for `local`."""
    rotates: bool = False
    """Whether the root is updated over TUF. A pin then refers to it by name and holds no digest."""
    fetched: FetchedTrust | None = None
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

    def signer(self, identity: SigningIdentity, again: str = "gitchain sync") -> StatementSigner:
        """Return a signer: a key, an identity of the embedded instance, the given token, or the environment's credentials.

        Asks the user to accept publication of the identity before it requests a certificate from a public instance.
        Raises AuthenticationError without an identity. Raises UsageError for --as outside the embedded instance, for a key
        that cannot sign here, and without consent. Raises TransportError if a service is unavailable. `again` is the command
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

    def _key_signer(self, uri: str) -> StatementSigner:
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

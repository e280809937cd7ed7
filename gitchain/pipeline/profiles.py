"""Trust profiles: `local` (the embedded instance), `public` (the public-good Sigstore), or a file.

One code path for all three: a Sigstore `ClientTrustConfig`, which holds the trusted root to verify with and the
signing configuration to sign with.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gitchain.errors import AuthenticationError, TransportError, TrustError, UsageError
from gitchain.pipeline.home import local_directory

if TYPE_CHECKING:
    from sigstore.sign import SigningContext

    from gitchain.instance import Instance
    from gitchain.sign import Signer
    from gitchain.sign.keys import KeyHolder
    from gitchain.sign.services import Services
    from gitchain.verify.trust import Trust

MAX_TRUST_BYTES = 16 << 20  # the public trusted root has about 10 kB


@dataclass(frozen=True)
class Profile:
    """A named trust configuration."""

    name: str
    text: str
    instance: Instance | None = None

    @cached_property
    def trust(self) -> Trust:
        """The trusted root, for verifying."""
        from gitchain.verify.trust import Trust

        return Trust.parse(self.text)

    @cached_property
    def services(self) -> Services:
        """The services to sign with, for as long as this profile lives: connections, and what failed a moment ago."""
        from gitchain.sign.context import signing_services

        return signing_services(self.text)

    def check(self, identity: str | None, key: str | None = None) -> None:
        """Raise what no waiting can mend: TrustError for a trust that is none, UsageError for a key that is none."""
        self.check_identity(identity)
        _ = self.trust
        if key is not None:
            with suppress(
                AuthenticationError, TransportError
            ):  # a token may be put in later, a PIN remembered
                self._key_signer(key)

    def check_identity(self, identity: str | None) -> None:
        """Raise UsageError for an identity that this profile can never sign as; None is for the environment to say."""
        if identity is None:
            return
        if self.instance is None:
            raise UsageError(
                "--as works with the embedded instance only",
                got=self.name,
                help="leave --as out: the OIDC token says who signs",
            )
        from gitchain.instance.info import check_identity

        check_identity(identity)

    @property
    def trust_digest(self) -> str:
        """Which trusted root this is, without saying that it can be verified with; see `trust_digest`."""
        from gitchain.verify.trust import trust_digest

        return trust_digest(self.text)

    def context(self) -> SigningContext:
        """Return where to sign: the embedded instance, or the services that the configuration names."""
        return self.services.context() if self.instance is None else self.instance.signing_context()

    def signer(
        self, identity: str | None, token: str | None, key: str | None = None, *, interactive: bool = False
    ) -> Signer:
        """Return a signer: with `key`, as `identity` on the embedded instance, else by `token` or what there is.

        Raises AuthenticationError without an identity, UsageError for --as elsewhere than on the embedded instance and
        for a key that cannot sign here, and TransportError for one that is not there.
        """
        from gitchain.sign.keyless import Signer

        if key is not None:
            return self._key_signer(key)
        if self.instance is not None:
            instance, name = self.instance, identity or ""
            if token is None and identity is None:
                raise AuthenticationError(
                    "no identity to sign as",
                    help="git config user.email you@example.com, or add --as IDENTITY",
                )
            return Signer(instance.signing_context(), token or (lambda: instance.token(name)))
        self.check_identity(identity)
        from gitchain.sign.token import find_token

        del interactive
        return Signer(self.services.context(), token or find_token())

    def _key_signer(self, uri: str) -> Signer:
        from gitchain.sign.keyed import KeySigner

        recorder = self.services if self.instance is None else self.instance.recorder()
        return KeySigner(self._holder(uri), recorder)

    def _holder(self, uri: str) -> KeyHolder:
        """Return the key, opened once: a passphrase is asked for once."""
        from gitchain.sign.keys import open_key

        if uri not in self._holders:
            self._holders[uri] = open_key(uri)
        return self._holders[uri]

    @cached_property
    def _holders(self) -> dict[str, KeyHolder]:
        return {}


def load_profile(name: str, *, base: Path | None = None, offline: bool = False) -> Profile:
    """Return the profile called `name`, or read it as a file (relative to `base`); TrustError when it cannot be had."""
    if name == "local":
        from gitchain.instance import Instance

        instance = Instance.open(local_directory())
        return Profile(name="local", text=instance.trust_config(), instance=instance)
    if name == "public":
        from gitchain.verify.trust import public_trust_config

        return Profile(name="public", text=public_trust_config(offline=offline))
    path = (base or Path()) / name
    try:
        with path.open("rb") as file:
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
            got=str(error),
            help="--trust takes local, public, or a file that holds a Sigstore trust configuration or trusted root",
        ) from error
    from gitchain.verify.trust import trust_digest

    trust_digest(text)  # a file that is no trust is refused before anything is stated under it
    return Profile(name=str(path), text=text)

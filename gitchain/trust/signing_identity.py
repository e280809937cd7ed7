"""The signer that the user chose: an identity of the embedded instance, a token, a key, or the environment."""

from __future__ import annotations

from dataclasses import dataclass

from gitchain.errors import (
    UsageError,
)


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

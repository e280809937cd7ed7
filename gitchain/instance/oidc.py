"""OIDC issuer of the embedded instance: short-lived ES256 identity tokens and their discovery documents.

Tokens are created by processes that can read the instance's directory, never over HTTP. Claims: iss, aud `sigstore`,
sub, iat, nbf, exp, jti, and email if the identity is an address (OpenID Connect Core 1.0 section 2; RFC 7519).

People are not authenticated: the owner of the directory may use any identity.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from gitchain.errors import AuthenticationError
from gitchain.instance.info import AUDIENCE, InstanceInfo, check_identity, is_email
from gitchain.instance.keys import public_der

TOKEN_LIFETIME = timedelta(minutes=5)
LEEWAY_SECONDS = 5
MAX_TOKEN_CHARS = 16384
ALGORITHM = "ES256"
REQUIRED_CLAIMS = ("iss", "aud", "sub", "iat", "exp")


@dataclass(frozen=True, slots=True)
class Issuer:
    """Makes and checks the identity tokens of one instance."""

    info: InstanceInfo
    key: ec.EllipticCurvePrivateKey

    def token(self, identity: str, now: datetime) -> str:
        """Return a signed token for `identity`. Raises UsageError if no certificate can carry it."""
        check_identity(identity)
        issued = int(now.timestamp())
        claims: dict[str, object] = {
            "iss": self.info.issuer,
            "aud": AUDIENCE,
            "sub": identity,
            "iat": issued,
            "nbf": issued,
            "exp": issued + int(TOKEN_LIFETIME.total_seconds()),
            "jti": secrets.token_hex(16),
        }
        if is_email(identity):
            claims |= {"email": identity, "email_verified": True}
        return jwt.encode(claims, self.key, ALGORITHM, headers={"kid": self.key_id})

    def identity_of(self, token: str) -> str:
        """Return the identity that a token of this issuer proves. Raises AuthenticationError for any other token."""
        if len(token) > MAX_TOKEN_CHARS or not token.isascii():
            raise AuthenticationError(
                "the identity token is no token", expected=f"at most {MAX_TOKEN_CHARS} ASCII characters"
            )
        try:
            claims = jwt.decode(
                token,
                self.key.public_key(),
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=self.info.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": list(REQUIRED_CLAIMS), "strict_aud": True},
            )
        except jwt.PyJWTError as error:
            raise AuthenticationError(
                "the local instance refuses this identity token",
                expected=f"a fresh token of {self.info.issuer}",
                got=str(error),
                help="gitchain local token IDENTITY",
            ) from error
        return check_identity(claims["sub"])

    @property
    def key_id(self) -> str:
        """The `kid` of the signing key."""
        return sha256(public_der(self.key.public_key())).hexdigest()[:16]

    def discovery(self, base_url: str) -> Mapping[str, object]:
        """Return the OpenID Connect discovery document, its endpoints under `base_url`."""
        return {
            "issuer": self.info.issuer,
            "authorization_endpoint": f"{base_url}/oauth2/authorize",
            "token_endpoint": f"{base_url}/oauth2/token",
            "jwks_uri": f"{base_url}/oauth2/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }

    def jwks(self) -> Mapping[str, object]:
        """Return the public key as a JSON Web Key Set (RFC 7517)."""
        numbers = self.key.public_key().public_numbers()
        point = {"x": _coordinate(numbers.x), "y": _coordinate(numbers.y)}
        return {
            "keys": [
                {"kty": "EC", "crv": "P-256", "use": "sig", "alg": ALGORITHM, "kid": self.key_id, **point}
            ]
        }


def _coordinate(value: int) -> str:
    return urlsafe_b64encode(value.to_bytes(32, "big")).rstrip(b"=").decode()

"""The identity provider of the tests' stack: RS256 tokens of every kind, good ones and bad ones.

Its documents are served by front.py. A token is made by who can read the key file, never over HTTP.
"""

from __future__ import annotations

import secrets
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

AUDIENCE = "sigstore"
LIFETIME = 600.0  # seconds
KEY_ID = "gitchain-test"


@dataclass(frozen=True, slots=True)
class Issuer:
    """Makes tokens that the stack's certificate authority takes, and on request tokens that it must refuse."""

    url: str
    key: rsa.RSAPrivateKey = field(repr=False)

    @classmethod
    def load(cls, url: str, file: Path) -> Issuer:
        """Return the issuer whose key lies in `file`."""
        key = load_pem_private_key(file.read_bytes(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        return cls(url, key)

    def token(
        self,
        identity: str,
        *,
        audience: str = AUDIENCE,
        issuer: str = "",
        starts: float = 0.0,
        lifetime: float = LIFETIME,
        signed: bool = True,
        key: rsa.RSAPrivateKey | None = None,
        **claims: object,
    ) -> str:
        """Return a token for `identity`, `starts` seconds from now; unsigned, or by another key, if so asked.

        `sub` is the address: clients sign the proof that they hold their key over `sub`.
        """
        start = int(time.time() + starts)
        content: dict[str, object] = {
            "iss": issuer or self.url,
            "aud": audience,
            "sub": identity,
            "email": identity,
            "email_verified": True,
            "iat": start,
            "nbf": start,
            "exp": start + int(lifetime),
            "jti": secrets.token_hex(8),
        }
        headers = {"kid": KEY_ID}
        if not signed:
            return jwt.encode(content | claims, "", "none", headers=headers)
        return jwt.encode(content | claims, key or self.key, "RS256", headers=headers)

    def documents(self) -> dict[str, object]:
        """Return what the issuer serves, by path (OpenID Connect Discovery 1.0; RFC 7517)."""
        numbers = self.key.public_key().public_numbers()
        jwk = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID}
        jwk |= {"n": _integer(numbers.n), "e": _integer(numbers.e)}
        discovery = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/auth",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }
        return {"/.well-known/openid-configuration": discovery, "/keys": {"keys": [jwk]}}


def _integer(value: int) -> str:
    return urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()

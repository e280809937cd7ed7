"""Where an identity token comes from: the command line, the environment, or the CI system.

It does NOT open a browser, and it does NOT check a token's signature: the certificate authority does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from sigstore.oidc import IdentityError, IdentityToken, detect_credential

from gitchain.errors import AuthenticationError

VARIABLE = "SIGSTORE_ID_TOKEN"
HELP = (
    f"give --identity-token TOKEN, set {VARIABLE}, or run where CI provides one "
    "(GitHub Actions: permissions: id-token: write); "
    "with the embedded instance, type gitchain init --local and sign with --as IDENTITY"
)


def find_token(explicit: str | None = None, environment: Mapping[str, str] = os.environ) -> str:
    """Return the identity token to sign with: `explicit`, else the environment's, else the CI system's.

    AuthenticationError, saying what to type, if there is none or the one found cannot be used.
    """
    given = explicit if explicit is not None else environment.get(VARIABLE)
    if given is not None:
        return check_token(given.strip())
    found = ambient_token()
    if found is None:
        raise AuthenticationError("no identity token to sign with", help=HELP)
    return check_token(found)


def ambient_token() -> str | None:
    """Return the token that the CI system provides, or None outside of one.

    AuthenticationError if there is a CI system whose token cannot be had.
    """
    try:
        return detect_credential()
    except IdentityError as error:
        raise AuthenticationError(
            "the CI system's identity token cannot be had", got=str(error), help=HELP
        ) from error


def check_token(token: str) -> str:
    """Return `token` if it reads as an unexpired Sigstore identity token; AuthenticationError otherwise."""
    parse_token(token)
    return token


def parse_token(token: str) -> IdentityToken:
    """Return the token's claims; AuthenticationError if malformed, expired or for another audience."""
    try:
        return IdentityToken(token)
    except IdentityError as error:
        reason = str(error.__cause__ or error)
        raise AuthenticationError(
            "the identity token cannot be used",
            expected="an unexpired token for audience sigstore",
            got=reason,
            help=HELP,
        ) from error

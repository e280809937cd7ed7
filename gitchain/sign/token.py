"""Where an identity token comes from: the command line, the environment, the CI system, or a person who logs in.

CI systems: GitHub Actions, GitLab, Buildkite, CircleCI and Google Cloud, by sigstore-python.
It does NOT check a token's signature: the certificate authority does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

import jwt
from sigstore.oidc import IdentityError, IdentityToken, detect_credential

from gitchain.errors import AuthenticationError
from gitchain.sign.deadline import Deadline

VARIABLE = "SIGSTORE_ID_TOKEN"
AMBIENT_SECONDS = 60.0  # the CI systems' own programs have no limit
HELP = (
    f"give --identity-token TOKEN, set {VARIABLE}, log in with --interactive, or run where CI provides one "
    "(GitHub Actions: permissions: id-token: write); "
    "with the embedded instance, type gitchain init --local and sign with --as IDENTITY"
)


def find_token(
    explicit: str | None = None,
    environment: Mapping[str, str] = os.environ,
    log_in: Callable[[], str] | None = None,
) -> str:
    """Return the identity token to sign with: `explicit`, the environment's, the CI system's, or what `log_in` gets.

    AuthenticationError, saying what to type, if there is none or the one found cannot be used.
    """
    given = explicit if explicit is not None else environment.get(VARIABLE)
    if given is not None:
        return check_token(given.strip())
    found = ambient_token()
    if found is None and log_in is not None:
        found = log_in()
    if found is None:
        raise AuthenticationError("no identity token to sign with", help=HELP)
    return check_token(found)


def ambient_token() -> str | None:
    """Return the token that the CI system provides, or None outside of one.

    AuthenticationError if there is a CI system whose token cannot be had, TransportError if it does not answer.
    """
    deadline = Deadline()
    try:
        return deadline.run(detect_credential, AMBIENT_SECONDS, "the CI system")
    except (IdentityError, OSError, ValueError) as error:
        raise AuthenticationError(
            "the CI system's identity token cannot be had", got=str(error)[:300], help=HELP
        ) from error
    finally:
        deadline.close()


def check_token(token: str) -> str:
    """Return `token` if it reads as an unexpired Sigstore identity token; AuthenticationError otherwise."""
    parse_token(token)
    return token


def parse_token(token: str) -> IdentityToken:
    """Return the token's claims; AuthenticationError if malformed, unsigned, expired or for another audience."""
    try:
        found = IdentityToken(token)
        signed = str(jwt.get_unverified_header(token).get("alg", "none")).lower() != "none"
    except (IdentityError, jwt.PyJWTError) as error:
        reason = str(error.__cause__ or error)
        raise AuthenticationError(
            "the identity token cannot be used",
            expected="an unexpired token for audience sigstore",
            got=reason,
            help=HELP,
        ) from error
    if not signed or not token.rpartition(".")[2]:
        raise AuthenticationError(
            "the identity token cannot be used",
            expected="a signed token",
            got="one that nobody signed",
            help=HELP,
        )
    return found

"""Find an identity token: on the command line, in the environment, from the CI system, or by a login.

CI systems: GitHub Actions, GitLab, Buildkite, CircleCI and Google Cloud, by sigstore-python.

The token's signature is checked by the certificate authority, not here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import jwt
from sigstore.oidc import IdentityError, IdentityToken, detect_credential

from gitchain.errors import AuthenticationError, TransportError, reason

AUDIENCE = "sigstore"
VARIABLE = "SIGSTORE_ID_TOKEN"
AMBIENT_SECONDS = 60.0  # the CI systems' own programs have no limit
HELP = (
    f"give --identity-token TOKEN, set {VARIABLE}, log in with --interactive, or run where CI provides one "
    "(GitHub Actions: permissions: id-token: write); "
    "in a repository that was set up with --local, --as IDENTITY signs without a token"
)


def find_token(
    explicit: str | None = None,
    environment: Mapping[str, str] = os.environ,
    log_in: Callable[[], str] | None = None,
) -> str:
    """Return the identity token: `explicit`, the environment's, the CI system's, or the result of `log_in`.

    Raises AuthenticationError, with a command, if there is none or the token cannot be used.
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
    result: list[str | None] = []
    errors: list[Exception] = []

    def detect() -> None:
        try:
            result.append(detect_credential())
        except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
            errors.append(error)

    asking = threading.Thread(
        target=detect, name="gitchain-token", daemon=True
    )  # it has no time limit of its own
    asking.start()
    asking.join(AMBIENT_SECONDS)
    try:
        if errors:
            raise errors[0]
    except (IdentityError, OSError, ValueError) as error:
        raise AuthenticationError(
            "the CI system's identity token cannot be had", got=reason(error)[:300], help=HELP
        ) from error
    if not result:
        raise TransportError(
            "the CI system did not answer",
            expected=f"an answer within {AMBIENT_SECONDS:g} s",
            help="try again",
        )
    return result[0]


def check_token(token: str) -> str:
    """Return `token` if it reads as an unexpired Sigstore identity token; AuthenticationError otherwise."""
    parse_token(token)
    return token


def parse_token(token: str) -> IdentityToken:
    """Return the token's claims.

    AuthenticationError if the token is malformed, unsigned, expired, not yet valid or for another audience; it names
    the claim at fault.
    """
    try:
        found = IdentityToken(token)
        signed = str(jwt.get_unverified_header(token).get("alg", "none")).lower() != "none"
    except (IdentityError, jwt.PyJWTError, TypeError, ValueError) as error:  # claims of a wrong type, too
        raise _fault(token, datetime.now(UTC), str(error.__cause__ or error)) from error
    if not signed or not token.rpartition(".")[2]:
        raise _refused(expected="a signed token", got="one without a signature")
    return found


def _refused(*, expected: str, got: str, where: str = "", advice: str = "") -> AuthenticationError:
    return AuthenticationError(
        "the identity token cannot be used",
        where=where,
        expected=expected,
        got=got,
        help=advice or HELP,
    )


def _fault(token: str, now: datetime, reason: str) -> AuthenticationError:
    """Return the error for a token that sigstore-python refused with `reason`, with the first faulty claim."""
    claims = _claims(token)
    if claims is None:
        return _refused(expected="a JSON Web Token: three parts, separated by dots", got=reason)
    issuer = f"token of issuer {_shown(claims['iss'])}" if claims.get("iss") else "token without an issuer"
    missing = [name for name in ("iss", "aud", "sub", "iat", "exp") if claims.get(name) is None]
    if missing:
        return _refused(
            where=issuer,
            expected=f"a token with the claim {missing[0]!r}",
            got=f"claims {', '.join(sorted(map(_shown, claims))) or 'none'}",
            advice=f"request a token that holds the claims {', '.join(missing)}: an OpenID Connect identity token",
        )
    audiences = _audiences(claims["aud"])
    if AUDIENCE not in audiences:
        named = ", ".join(map(_shown, audiences)) or "none"
        return _refused(
            where=issuer,
            expected=f"audience {AUDIENCE}",
            got=f"audience {named}",
            advice=f"request the token for audience {AUDIENCE} (GitLab: id_tokens: SIGSTORE_ID_TOKEN: aud: {AUDIENCE})",
        )
    for name in ("nbf", "iat", "exp"):
        time = _time(claims.get(name))
        if time is not None and (time <= now if name == "exp" else time > now):
            return _out_of_time(name, time, now, issuer)
    return _refused(where=issuer, expected="an identity token that Sigstore accepts", got=reason)


def _out_of_time(name: str, time: datetime, now: datetime, issuer: str) -> AuthenticationError:
    """Return the error for a token that is not valid at `now`, the time of this machine's clock."""
    shown, here = f"{time:%Y-%m-%d %H:%M:%S} UTC", f"this machine's clock is {now:%Y-%m-%d %H:%M:%S} UTC"
    apart = abs(int((time - now).total_seconds()))
    if name == "exp":
        return _refused(
            where=issuer,
            expected="a token that has not expired",
            got=f"one that expired at {shown}, {apart} s ago; {here}",
            advice="request a new token just before you sign, or log in with --interactive; "
            "if it is new already, set this machine's clock",
        )
    return _refused(
        where=issuer,
        expected="a token that is valid now",
        got=f"one that is valid from {shown}, {apart} s in the future ({name}); {here}",
        advice="set this machine's clock or the issuer's (clock skew), then request a new token",
    )


def _claims(token: str) -> dict[str, Any] | None:
    """Return the unverified claims of a token, or None if it is not a JSON Web Token."""
    try:
        return dict(jwt.decode(token, options={"verify_signature": False}))
    except (jwt.PyJWTError, ValueError):
        return None


def _audiences(value: object) -> tuple[object, ...]:
    return tuple(value) if isinstance(value, list) else (value,)


def _time(value: object) -> datetime | None:
    """Return the time in a claim, or None for any other value."""
    try:
        return datetime.fromtimestamp(float(value), UTC) if isinstance(value, int | float | str) else None
    except (ValueError, OverflowError, OSError):
        return None


def _shown(value: object) -> str:
    return str(value)[:200]

"""Translate sigstore-python's errors while signing into gitchain's.

It does NOT touch errors that are gitchain's already: those of the services' clients, and the embedded instance's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError
from sigstore.errors import Error as SigstoreError
from sigstore.models import InvalidBundle
from sigstore.oidc import ExpiredIdentity, IdentityError

from gitchain.errors import AuthenticationError, GitchainError, TransportError
from gitchain.sign.http import TRY_AGAIN
from gitchain.sign.services import NEW_TOKEN

MAX_REASON = 300


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Raise AuthenticationError or TransportError, naming `what`, for every failure of the signer."""
    try:
        yield
    except GitchainError:
        raise
    except (ExpiredIdentity, IdentityError) as error:
        raise AuthenticationError(
            "the identity token is expired or broken", got=str(error), help=NEW_TOKEN
        ) from error
    except InvalidBundle as error:
        raise TransportError(
            "the services' answers make no valid bundle",
            expected="a log entry and a signed timestamp",
            got=_short(error),
            help=TRY_AGAIN,
        ) from error
    except (SigstoreError, ValidationError, ValueError, KeyError, TypeError) as error:
        raise TransportError(
            f"{what} gave an answer that cannot be used", got=_short(error), help=TRY_AGAIN
        ) from error
    except Exception as error:
        if not type(error).__module__.startswith("sigstore."):
            raise
        # a class that sigstore-python does not export, such as that of a certificate that is expired already
        raise TransportError(f"{what} failed", got=_short(error), help=TRY_AGAIN) from error


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:MAX_REASON]

"""Turn what sigstore-python raises while signing into gitchain's errors.

Its Fulcio and Rekor clients raise types of their own that are not exported; they are named here and nowhere
else.
It does NOT touch errors that are gitchain's already: the embedded instance raises those.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from pydantic import ValidationError
from sigstore._internal.fulcio.client import ExpiredCertificate, FulcioClientError
from sigstore._internal.rekor import RekorClientError
from sigstore.errors import Error as SigstoreError
from sigstore.models import InvalidBundle
from sigstore.oidc import ExpiredIdentity, IdentityError

from gitchain.errors import AuthenticationError, GitchainError, TransportError

MAX_REASON = 300
TRY_AGAIN = "try again; gitchain doctor shows which service fails"
NEW_TOKEN = "get a fresh identity token"  # noqa: S105 - a sentence
REFUSED_IDENTITY = (400, 401, 403)


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
    except FulcioClientError as error:
        raise _certificate_error(error) from error
    except RekorClientError as error:
        response = _response(error)
        raise TransportError(
            "the transparency log refused the entry", got=_reason(error, response), help=TRY_AGAIN
        ) from error
    except ExpiredCertificate as error:
        raise TransportError("the certificate expired while signing", help="try again") from error
    except InvalidBundle as error:
        raise TransportError(
            "the services' answers make no valid bundle",
            expected="a log entry and a signed timestamp",
            got=str(error)[:MAX_REASON],
            help=TRY_AGAIN,
        ) from error
    except requests.RequestException as error:
        raise TransportError(f"{what} cannot be reached", got=_short(error), help=TRY_AGAIN) from error
    except (SigstoreError, ValidationError, ValueError, KeyError, TypeError) as error:
        raise TransportError(
            f"{what} gave an answer that cannot be used", got=_short(error), help=TRY_AGAIN
        ) from error


def _certificate_error(error: FulcioClientError) -> GitchainError:
    response = _response(error)
    reason = _reason(error, response)
    if response is not None and response.status_code in REFUSED_IDENTITY:
        return AuthenticationError(
            "the certificate authority refused the identity token", got=reason, help=NEW_TOKEN
        )
    return TransportError("the certificate authority gave no certificate", got=reason, help=TRY_AGAIN)


def _response(error: Exception) -> requests.Response | None:
    """Return the response behind a client error: sigstore-python drops its text, as errors are falsy."""
    for below in (error.__cause__, error.__context__):
        if isinstance(below, requests.HTTPError):
            return below.response
    return None


def _reason(error: Exception, response: requests.Response | None) -> str:
    if response is None:
        return _short(error)
    try:
        message = json.loads(response.content[:65536])["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        message = response.reason
    return f"HTTP {response.status_code}: {ascii(message)[1:-1][:MAX_REASON]}"


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:MAX_REASON]

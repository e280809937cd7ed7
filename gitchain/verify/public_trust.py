"""Get the trust configuration of the public-good Sigstore instance with sigstore-python, by TUF or from its cache.

Does NOT parse it: `gitchain.verify.trust` does.
"""

from __future__ import annotations

from functools import cache

from gitchain.errors import TransportError, TrustError, reason


def public_trust_config(*, offline: bool = False, staging: bool = False) -> str:
    """Return the ClientTrustConfig of the public-good Sigstore instance, by TUF or from its local cache.

    `staging` is for its test instance.

    Raises TransportError if it cannot be fetched, TrustError if it does not verify.
    """
    from requests.exceptions import RequestException
    from sigstore.errors import Error, TUFError
    from sigstore.models import ClientTrustConfig
    from tuf.api.exceptions import DownloadError

    silence_sigstore()
    try:
        load = ClientTrustConfig.staging if staging else ClientTrustConfig.production
        config = load(offline=offline)
    except (TUFError, Error, RequestException, OSError) as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, (DownloadError, RequestException, OSError)):
                raise TransportError(
                    "cannot fetch the public trusted root", got=str(cause), help="try again, or: --offline"
                ) from error
            cause = cause.__cause__ or cause.__context__
        raise TrustError("the public trusted root does not verify", got=reason(error)) from error
    return str(config._inner.to_json())  # noqa: SLF001 - sigstore-python has no public way to write it


@cache
def silence_sigstore() -> None:
    """Keep sigstore-python's log lines off standard error: relevant problems are raised as our errors.

    Handlers of a program that configures logging still get them.
    """
    import logging

    logging.getLogger("sigstore").addHandler(logging.NullHandler())

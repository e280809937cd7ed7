"""Signing services of a trust configuration.

Nothing is fetched: the configuration is a file, the embedded instance's, or one in a TUF cache.
"""

from __future__ import annotations

from base64 import b64decode

from pydantic import ValidationError
from sigstore.errors import Error as SigstoreError
from sigstore.models import ClientTrustConfig
from sigstore.sign import SigningContext

from gitchain.errors import MalformedError, TrustError, UsageError
from gitchain.evidence.canonical import Json, strict_json
from gitchain.platform.http import checked_url
from gitchain.sign import http
from gitchain.sign.http import Http, Limits
from gitchain.sign.services import SigningServices
from gitchain.verify.public_trust import silence_sigstore

MAX_CONFIG_BYTES = 16 << 20
HELP = "use a Sigstore ClientTrustConfig with a signing config, for example from gitchain trust export"


def signing_context(text: str) -> SigningContext:
    """Return sigstore-python's signing context. Raises the errors of `signing_services`."""
    return signing_services(text).context()


def signing_services(text: str, limits: Limits | None = None) -> SigningServices:
    """Return the services in a ClientTrustConfig.

    Raises TrustError if the text is not a ClientTrustConfig with usable services, or has an http URL off loopback:
    tokens and entries would be sent unencrypted.
    """
    try:
        config = strict_json(text.encode(), "trust config", max_bytes=MAX_CONFIG_BYTES)
    except (MalformedError, UnicodeEncodeError) as error:
        raise TrustError("the trust config is not JSON", got=_first_line(error), help=HELP) from error
    check_services(config)
    silence_sigstore()
    try:
        found = ClientTrustConfig.from_json(text)
        services = SigningServices(
            Http(limits or http.USUAL), found.signing_config, found.trusted_root, _log_ids(config)
        )
        services.signing.get_fulcio()
        _ = services.log_client
    except (SigstoreError, ValidationError, ValueError, IndexError) as error:
        raise TrustError(
            "the trust config cannot be signed with", got=_first_line(error), help=HELP
        ) from error
    return services


def _log_ids(config: Json) -> tuple[bytes, ...]:
    """Return the ids of the logs in the trusted root."""
    root = config.get("trustedRoot") if isinstance(config, dict) else None
    logs = root.get("tlogs") if isinstance(root, dict) else None
    found = []
    for one in logs if isinstance(logs, list) else []:
        log_id = one.get("logId") if isinstance(one, dict) else None
        text = log_id.get("keyId") if isinstance(log_id, dict) else None
        found.append(b64decode(text) if isinstance(text, str) else b"")
    return tuple(one for one in found if one)


def check_services(config: Json) -> None:
    """Raise TrustError unless every service of the signing config is https, or http on loopback."""
    signing = config.get("signingConfig") if isinstance(config, dict) else None
    if not isinstance(signing, dict):
        raise TrustError("the trust config has no signing config", expected="signingConfig", help=HELP)
    for name, services in signing.items():  # sigstore-python reads two spellings: caUrls, ca_urls
        for service in services if isinstance(services, list) else []:
            url = service.get("url") if isinstance(service, dict) else None
            if not isinstance(url, str) or not is_protected(url):
                raise TrustError(
                    "the signing config names a service without https",
                    where=name,
                    expected="https://, or http:// on loopback",
                    got=ascii(url)[:200],
                    help=HELP,
                )
    if signing.get("tsaUrls", []) == [] and _versions(signing.get("rekorTlogUrls")) <= {"2"}:
        raise TrustError(
            "the signing config gives no source of time",
            where="tsaUrls",
            expected="a timestamp authority beside a Rekor v2 log",
            help=HELP,
        )


def _versions(services: Json) -> set[str]:
    found = services if isinstance(services, list) else []
    return {str(item.get("majorApiVersion")) for item in found if isinstance(item, dict)}


def is_protected(url: str) -> bool:
    """Return True for https, and for http to a loopback address literal."""
    try:
        checked_url(url)
    except UsageError:
        return False
    return True


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]

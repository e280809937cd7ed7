"""sigstore-python as a second opinion: a `Trust` of ours, and its `Verifier` over the same trusted root."""

from __future__ import annotations

import json

from cryptography import x509
from sigstore.models import Bundle, ClientTrustConfig
from sigstore.verify import Verifier

from gitchain.verify.trust import CONFIG_TYPE, Trust

SIGNING = {
    "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
    "rekorTlogConfig": {"selector": "ANY"},
    "tsaConfig": {"selector": "ANY"},
}
_texts: dict[str, str] = {}


def trust_of(text: str) -> Trust:
    """Return our trust, and keep the text for sigstore-python."""
    trust = Trust.parse(text)
    _texts[trust.digest] = text
    return trust


def verifier_of(text: str) -> Verifier:
    """Return sigstore-python's verifier for this trust configuration or trusted root."""
    value = json.loads(text)
    root = value.get("trustedRoot", value)
    config = {"mediaType": CONFIG_TYPE, "trustedRoot": root, "signingConfig": SIGNING}
    return Verifier(trusted_root=ClientTrustConfig.from_json(json.dumps(config)).trusted_root)


def oracle_of(trust: Trust) -> Verifier:
    """Return sigstore-python's verifier for a trust that trust_of() made."""
    return verifier_of(_texts[trust.digest])


class Anyone:
    """A policy that accepts every identity."""

    def verify(self, cert: x509.Certificate) -> None:
        """Accept."""


def sigstore_accepts(bundle: bytes, trust: Trust) -> bool:
    """Tell that sigstore-python is satisfied with this bundle; it raises if not."""
    oracle_of(trust).verify_dsse(Bundle.from_json(bundle), Anyone())
    return True

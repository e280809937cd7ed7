"""The instance's public trust material as Sigstore's `ClientTrustConfig` v0.1 JSON.

It holds the trusted root (log, CA, CT log and timestamp authority keys) and a signing config whose services
are all on one loopback port. Any Sigstore client that takes a trust config verifies with it; no key in it is
secret.
Formats: https://github.com/sigstore/protobuf-specs (trusted root v0.1, signing config v0.2).
It does NOT decide what to trust: a verifier gets this file from its owner, never from the repository that it verifies.
"""

from __future__ import annotations

import json

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gitchain.evidence.fields import encode_base64
from gitchain.evidence.vocabulary import time_text
from gitchain.instance import ct
from gitchain.instance.info import InstanceInfo
from gitchain.instance.keys import InstanceKeys, public_der

CONFIG_TYPE = "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json"
ROOT_TYPE = "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
SIGNING_TYPE = "application/vnd.dev.sigstore.signingconfig.v0.2+json"
TSA_PATH = "/api/v1/timestamp"
OPERATOR = "gitchain local instance"


def trust_config(info: InstanceInfo, keys: InstanceKeys, log_key_id: bytes, base_url: str) -> str:
    """Return the ClientTrustConfig; the same instance and URL always give the same text."""
    config = {
        "mediaType": CONFIG_TYPE,
        "trustedRoot": _trusted_root(info, keys, log_key_id),
        "signingConfig": _signing_config(info, base_url),
    }
    return json.dumps(config, indent=2) + "\n"


def _trusted_root(info: InstanceInfo, keys: InstanceKeys, log_key_id: bytes) -> dict[str, object]:
    log = public_der(keys.log.public_key())
    ct_key = keys.ct.public_key()
    return {
        "mediaType": ROOT_TYPE,
        "tlogs": [_log(info, log, "PKIX_ED25519", log_key_id)],
        "certificateAuthorities": [_authority(info, keys.ca_certificate, keys.root_certificate)],
        "ctlogs": [_log(info, public_der(ct_key), "PKIX_ECDSA_P256_SHA_256", ct.log_id(ct_key))],
        "timestampAuthorities": [_authority(info, keys.tsa_certificate, keys.root_certificate)],
    }


def _signing_config(info: InstanceInfo, base_url: str) -> dict[str, object]:
    def service(url: str, version: int) -> list[dict[str, object]]:
        start = {"start": time_text(info.valid_from)}
        return [{"url": url, "majorApiVersion": version, "validFor": start, "operator": OPERATOR}]

    return {
        "mediaType": SIGNING_TYPE,
        "caUrls": service(base_url, 1),
        "oidcUrls": service(base_url, 1),
        "rekorTlogUrls": service(base_url, 2),
        "tsaUrls": service(base_url + TSA_PATH, 1),
        "rekorTlogConfig": {"selector": "ANY"},
        "tsaConfig": {"selector": "ANY"},
    }


def _log(info: InstanceInfo, public_key: bytes, details: str, key_id: bytes) -> dict[str, object]:
    key = {
        "rawBytes": encode_base64(public_key),
        "keyDetails": details,
        "validFor": {"start": time_text(info.valid_from)},
    }
    return {
        "baseUrl": f"https://{info.origin}",
        "hashAlgorithm": "SHA2_256",
        "publicKey": key,
        "logId": {"keyId": encode_base64(key_id)},
    }


def _authority(info: InstanceInfo, *chain: x509.Certificate) -> dict[str, object]:
    return {
        "subject": {"organization": OPERATOR, "commonName": info.origin},
        "uri": f"https://{info.origin}",
        "certChain": {
            "certificates": [{"rawBytes": encode_base64(item.public_bytes(Encoding.DER))} for item in chain]
        },
        "validFor": {"start": time_text(info.valid_from)},
    }

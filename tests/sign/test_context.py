"""Which trust configs a token may be sent to."""

from __future__ import annotations

import json

import pytest
from sigstore.sign import SigningContext

from gitchain.errors import GitchainError, TrustError
from gitchain.instance import Instance
from gitchain.sign.context import is_protected, signing_context


def config(instance: Instance) -> dict[str, dict[str, list[dict[str, object]]]]:
    return dict(json.loads(instance.trust_config()))


def test_exported_config_gives_a_context(instance: Instance) -> None:
    """The embedded instance's own export can be signed with: http on loopback is fine."""
    assert isinstance(signing_context(instance.trust_config()), SigningContext)


@pytest.mark.parametrize("field", ["caUrls", "oidcUrls", "rekorTlogUrls", "tsaUrls"])
@pytest.mark.parametrize(
    "url", ["http://example.com", "http://127.0.0.1@example.com", "ftp://127.0.0.1", "", 7]
)
def test_services_in_the_clear_are_refused(instance: Instance, field: str, url: object) -> None:
    """A token or an entry is never sent by plain http off this machine."""
    changed = config(instance)
    changed["signingConfig"][field].append(changed["signingConfig"][field][0] | {"url": url})
    with pytest.raises(TrustError, match="https") as caught:
        signing_context(json.dumps(changed))
    assert caught.value.where == field


@pytest.mark.parametrize("field", ["caUrls", "oidcUrls", "rekorTlogUrls", "tsaUrls"])
def test_services_in_the_clear_are_refused_in_the_other_spelling(instance: Instance, field: str) -> None:
    """sigstore-python takes the names of protobuf's text form as well."""
    changed = config(instance)
    other = field.replace("Urls", "_urls").replace("Tlog", "_tlog")
    changed["signingConfig"][other] = [changed["signingConfig"].pop(field)[0] | {"url": "http://example.com"}]
    with pytest.raises(TrustError, match="https") as caught:
        signing_context(json.dumps(changed))
    assert caught.value.where == other


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("https://example.com", True), ("http://127.0.0.1:80/x", True), ("http://[::1]:80", True), ("http://localhost", True),
        ("http://127.0.0.1.example.com", False), ("http://localhost.example.com", False), ("http://0.0.0.0", False),
        ("https://", False), ("//127.0.0.1", False), ("http://[::1", False), ("file:///etc", False), ("http://2130706433.com", False),
    ],
)  # fmt: skip
def test_protected_urls(url: str, *, good: bool) -> None:
    """https, or http to a literal loopback address, and nothing that only looks like it."""
    assert is_protected(url) is good


def test_rekor_v2_needs_a_timestamp_authority(instance: Instance) -> None:
    """Without a timestamp authority a v2 entry would be logged for a bundle that can never verify."""
    changed = config(instance)
    changed["signingConfig"]["tsaUrls"] = []
    with pytest.raises(TrustError, match="source of time"):
        signing_context(json.dumps(changed))
    changed["signingConfig"]["rekorTlogUrls"][0]["majorApiVersion"] = 1
    assert isinstance(signing_context(json.dumps(changed)), SigningContext)


@pytest.mark.parametrize(
    "text",
    ["", "x", "[]", "{}", "null", '{"signingConfig":[]}', '{"signingConfig":{}}', '{"a":1,"a":2}', "\ud800",
     '{"signingConfig":{"caUrls":{},"tsaUrls":1}}', '{"mediaType":"x","trustedRoot":{},"signingConfig":{"tsaUrls":[]}}', "[" * 99_999],
)  # fmt: skip
def test_what_is_no_trust_config_is_refused(text: str) -> None:
    """Any other text is an error about trust."""
    with pytest.raises(GitchainError) as caught:
        signing_context(text)
    assert caught.value.exit_code in {4, 8}


@pytest.mark.parametrize("field", ["caUrls", "rekorTlogUrls"])
def test_config_without_a_needed_service(instance: Instance, field: str) -> None:
    """A signing config that lacks the CA or the log is refused."""
    changed = config(instance)
    changed["signingConfig"][field] = []
    with pytest.raises(TrustError):
        signing_context(json.dumps(changed))


def test_unknown_field_is_refused(instance: Instance) -> None:
    """What sigstore-python cannot read is an error about trust, not a crash."""
    with pytest.raises(TrustError, match="cannot be signed with"):
        signing_context(json.dumps(config(instance) | {"surprise": {}}))

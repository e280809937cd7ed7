"""Trust: what a trusted root must be, and what is read from it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from requests.exceptions import RequestException
from sigstore.errors import TUFError
from sigstore.models import ClientTrustConfig

from gitchain.errors import ExitCode, TransportError, TrustError
from gitchain.instance import Instance
from gitchain.verify import public_trust as trust_module
from gitchain.verify.public_trust import public_trust_config, silence_sigstore
from gitchain.verify.trust import Trust, ValidityPeriod, trust_digest
from tests.support.bundle_kinds import both_logs


def test_config_and_root_alone_are_the_same_trust(instance: Instance, trust: Trust) -> None:
    """A ClientTrustConfig and the trusted root in it have one digest, name and set of keys."""
    root = Trust.parse(json.dumps(json.loads(instance.trust_config())["trustedRoot"], indent=7))
    assert root == trust
    assert (trust.is_local, trust.name) == (True, instance.origin)
    assert trust.log(instance.log.key_id) is trust.logs[0]
    assert trust.log(b"x" * 32) is None


def test_two_instances_are_two_trusts(stranger: Instance, trust: Trust) -> None:
    """Another instance has another digest."""
    assert Trust.parse(stranger.trust_config()).digest != trust.digest


def test_the_public_instance_is_not_local() -> None:
    """sigstore-python's own copy of the public trusted root is read without a network."""
    text = public_trust_config(offline=True)
    assert not Trust.parse(text).is_local
    assert len(Trust.parse(text).logs) >= 2


def test_one_local_log_makes_a_trust_local(instance: Instance) -> None:
    """Beside any other log it still proves only who held this machine's keys."""
    both = both_logs(instance)
    assert [log.host.endswith(".gitchain.invalid") for log in both.logs] == [True, False]
    assert both.is_local


def config(change: Callable[[dict[str, Any]], object]) -> Callable[[str], str]:
    def text(source: str) -> str:
        value = json.loads(source)
        change(value)
        return json.dumps(value)

    return text


BROKEN: dict[str, Callable[[str], str]] = {
    "empty": lambda _: "",
    "not json": lambda _: "trust me",
    "a list": lambda _: "[]",
    "lone surrogate": lambda _: "\ud800",
    "twice": lambda text: text.replace('"mediaType"', '"mediaType": "x", "mediaType"', 1),
    "too large": lambda text: text + " " * 2_000_000,
    "another type": config(lambda v: v.update(mediaType="application/json")),
    "no root": config(lambda v: v.pop("trustedRoot")),
    "root of another version": config(lambda v: v["trustedRoot"].update(mediaType="application/vnd.dev.sigstore.trustedroot.v0.2+json")),
    "unknown field": config(lambda v: v["trustedRoot"].update(extra=[])),
    "no log": config(lambda v: v["trustedRoot"].update(tlogs=[])),
    "no authority": config(lambda v: v["trustedRoot"].update(certificateAuthorities=[])),
    "log without start": config(lambda v: v["trustedRoot"]["tlogs"][0]["publicKey"].pop("validFor")),
    "log without id": config(lambda v: v["trustedRoot"]["tlogs"][0].pop("logId")),
    "time without zone": config(lambda v: v["trustedRoot"]["tlogs"][0]["publicKey"]["validFor"].update(start="2026-01-01T00:00:00")),
    "no such time": config(lambda v: v["trustedRoot"]["tlogs"][0]["publicKey"]["validFor"].update(start="yesterday")),
    "broken certificate": config(lambda v: v["trustedRoot"]["certificateAuthorities"][0]["certChain"].update(certificates=[{"rawBytes": "AAAA"}])),
    "another hash": config(lambda v: v["trustedRoot"]["tlogs"][0].update(hashAlgorithm="SHA2_512")),
    "log without key details": config(lambda v: v["trustedRoot"]["ctlogs"][0]["publicKey"].pop("keyDetails")),
    "authority without certificate": config(lambda v: v["trustedRoot"]["timestampAuthorities"][0]["certChain"].update(certificates=[])),
    "unknown field of a key": config(lambda v: v["trustedRoot"]["tlogs"][0]["publicKey"].update(revoked=True)),
    "unknown field of a window": config(lambda v: v["trustedRoot"]["tlogs"][0]["publicKey"]["validFor"].update(until="2027-01-01T00:00:00Z")),
    "a bare root of another version": lambda text: json.dumps(json.loads(text)["trustedRoot"] | {"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.9"}),
    "http service": config(lambda v: v["signingConfig"]["caUrls"][0].update(url="http://fulcio.example.com")),
    "http provider": config(lambda v: v["signingConfig"].update(oidcUrls=[{"url": "http://login.example.com"}])),
    "http log": config(lambda v: v["signingConfig"].update(rekorTlogUrls=[{"url": "http://rekor.example.com"}])),
    "ftp service": config(lambda v: v["signingConfig"]["tsaUrls"][0].update(url="ftp://127.0.0.1")),
    "broken url": config(lambda v: v["signingConfig"]["tsaUrls"][0].update(url="https://[")),
}  # fmt: skip


@pytest.mark.parametrize("change", BROKEN.values(), ids=BROKEN)
def test_broken_trust_is_a_trust_error(instance: Instance, change: Callable[[str], str]) -> None:
    """Whatever is wrong with the trust configuration, it is exit code 4, with a place or a reason."""
    with pytest.raises(TrustError) as caught:
        Trust.parse(change(instance.trust_config()))
    assert caught.value.exit_code is ExitCode.TRUST
    assert caught.value.help


def test_the_digest_needs_no_usable_keys(instance: Instance, trust: Trust) -> None:
    """Which trust it is can be said without verifying with it; not of what is none."""
    text = instance.trust_config()
    assert trust_digest(text) == trust.digest
    root = json.loads(text)["trustedRoot"]
    root["tlogs"] = []
    assert trust_digest(json.dumps(root)) != trust.digest
    with pytest.raises(TrustError):
        trust_digest("[]")


def test_a_hash_that_is_not_named_is_the_usual_one(instance: Instance, trust: Trust) -> None:
    """The field may be absent, as in proto3 JSON."""
    root = json.loads(instance.trust_config())["trustedRoot"]
    del root["tlogs"][0]["hashAlgorithm"]
    assert Trust.parse(json.dumps(root)).logs == trust.logs


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError("no disk"), TransportError),
        (RequestException("no network"), TransportError),
        (TimeoutError("too slow"), TransportError),
        (TUFError("wrong"), TrustError),
    ],
    ids=["disk", "network", "slow", "signature"],
)
@pytest.mark.parametrize("staging", [True, False])
def test_public_trust_that_cannot_be_had(
    monkeypatch: pytest.MonkeyPatch, error: Exception, expected: type[Exception], *, staging: bool
) -> None:
    """What the network or the disk refused may be tried again; what does not verify is no trust."""

    def fail(*, offline: bool) -> None:
        assert offline
        if isinstance(error, RequestException):
            raise TUFError("refresh") from error
        if isinstance(error, TimeoutError):
            try:
                raise error
            except TimeoutError:
                raise TUFError("refresh")  # noqa: B904 - as libraries do that name no cause
        raise error

    silenced: list[bool] = []
    monkeypatch.setattr(trust_module, "silence_sigstore", lambda: silenced.append(True))
    monkeypatch.setattr(ClientTrustConfig, "staging" if staging else "production", fail)
    with pytest.raises(expected):
        public_trust_config(offline=True, staging=staging)
    assert silenced  # the error says it all


def test_the_staging_instance_is_another(trust: Trust) -> None:
    """Its trusted root comes with sigstore-python as the public one does."""
    public, staging = (Trust.parse(public_trust_config(offline=True, staging=one)) for one in (False, True))
    assert len({public.digest, staging.digest, trust.digest}) == 3


def test_windows_include_both_ends() -> None:
    """A key is valid at its start and at its end, and not a second outside."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    window, second = ValidityPeriod(start, start + timedelta(days=1)), timedelta(seconds=1)
    assert [
        window.contains(start + at)
        for at in (-second, second * 0, timedelta(days=1), timedelta(days=1) + second)
    ] == [
        False,
        True,
        True,
        False,
    ]
    assert ValidityPeriod(start, None).contains(start + timedelta(days=9999))


def test_sigstore_s_log_lines_go_nowhere_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a handler of the program's, Python would write its warnings to standard error."""
    logger = logging.getLogger("sigstore")
    monkeypatch.setattr(logger, "handlers", [])
    silence_sigstore.__wrapped__()
    assert [type(one) for one in logger.handlers] == [logging.NullHandler]
    assert logger.propagate

"""The validity window matrix: every key and certificate of a trusted root, and the time before, in and after it.

A bundle of one second is judged under trusted roots whose windows are shifted around that second, and with
certificates of the signer, the intermediate authority and the timestamp authority that are valid around it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from gitchain.errors import GitchainError, InclusionError, SignatureError, TrustError
from gitchain.instance import Instance, keys
from gitchain.instance.tsa import EmbeddedTimestampAuthority, TimestampRequest
from gitchain.verify.bundle import verify_bundle
from gitchain.verify.trust import Trust
from tests.support.forged_bundles import Forge, b64, raw
from tests.support.removed_checks import goes_red, guarded, names

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
WINDOWS: dict[str, tuple[timedelta, timedelta | None, bool]] = {  # start and end around the proven time
    "before": (SECOND, DAY, False),
    "its first second": (timedelta(0), DAY, True),
    "in": (-DAY, DAY, True),
    "in, without an end": (-DAY, None, True),
    "its last second": (-DAY, timedelta(0), True),
    "after": (-DAY, -SECOND, False),
}
KEYS = {
    "log key": ("tlogs", InclusionError),
    "CT log": ("ctlogs", SignatureError),
    "certificate authority": ("certificateAuthorities", SignatureError),
    "timestamp authority": ("timestampAuthorities", SignatureError),
}


def text(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def window(time: datetime, start: timedelta, end: timedelta | None) -> dict[str, str]:
    found = {"start": text(time + start)}
    return found if end is None else {**found, "end": text(time + end)}


def wide(instance: Instance) -> dict[str, Any]:
    """Return the trusted root with every window wide open."""
    root: dict[str, Any] = json.loads(instance.trust_config())["trustedRoot"]
    for name, _ in KEYS.values():
        for one in root[name]:
            one.get("publicKey", one)["validFor"] = {"start": "2001-01-01T00:00:00Z"}
    return root


@dataclass(frozen=True)
class Stamped:
    bundle: bytes
    time: datetime


def stamped(forge: Forge, at: datetime | None = None) -> Stamped:
    """Return a bundle that is proven to be of one whole second."""
    time = (at or datetime.now(UTC)).replace(microsecond=0)
    return Stamped(raw(forge.bundle(stamps=lambda signature: [forge.stamp(signature, time)])), time)


def judged(bundle: bytes, root: dict[str, Any]) -> None:
    verify_bundle(bundle, Trust.parse(json.dumps(root)))


@pytest.mark.parametrize("when", WINDOWS)
@pytest.mark.parametrize("key", KEYS)
def test_a09_validity_window_matrix(instance: Instance, forge: Forge, key: str, when: str) -> None:
    """Each key of the trusted root, with the proven time before, in and after its window; both ends count."""
    one, root = stamped(forge), wide(instance)
    (name, error), (start, end, passes) = KEYS[key], WINDOWS[when]
    for item in root[name]:
        item.get("publicKey", item)["validFor"] = window(one.time, start, end)
    if passes:
        judged(one.bundle, root)
        return
    with pytest.raises(error):
        judged(one.bundle, root)


@pytest.mark.parametrize("key", KEYS)
def test_a09_a_key_without_a_start_is_never_valid(instance: Instance, key: str) -> None:
    """No start is no window, not an endless one."""
    for valid in ({}, {"end": "2999-01-01T00:00:00Z"}, None):
        root = wide(instance)
        for item in root[KEYS[key][0]]:
            item.get("publicKey", item)["validFor"] = valid
        with pytest.raises(TrustError):
            Trust.parse(json.dumps(root))


@pytest.mark.parametrize(
    "offset", [-DAY, -SECOND, timedelta(0), timedelta(minutes=10), timedelta(minutes=10, seconds=1)]
)
def test_a09_leaf(instance: Instance, forge: Forge, offset: timedelta) -> None:
    """A signature that was made before or after its certificate's ten minutes is nobody's."""
    now = datetime.now(UTC).replace(microsecond=0)
    made = forge.bundle(stamps=lambda signature: [forge.stamp(signature, now + offset)])
    certificate = x509.load_der_x509_certificate(
        base64.b64decode(made["verificationMaterial"]["certificate"]["rawBytes"])
    )
    time = now + offset
    valid = certificate.not_valid_before_utc <= time <= certificate.not_valid_after_utc
    if valid:
        judged(raw(made), wide(instance))
        return
    with pytest.raises(SignatureError):
        judged(raw(made), wide(instance))


def reissued(
    certificate: x509.Certificate,
    signer: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    start: datetime,
    end: datetime,
) -> x509.Certificate:
    """Return the same certificate, with another validity, signed by another issuer."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(certificate.subject)
        .issuer_name(issuer)
        .public_key(certificate.public_key())
        .serial_number(certificate.serial_number)
        .not_valid_before(start)
        .not_valid_after(end)
    )
    for extension in certificate.extensions:
        value = extension.value
        if isinstance(value, x509.AuthorityKeyIdentifier):
            value = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = builder.add_extension(value, extension.critical)
    return builder.sign(signer, hashes.SHA256())


def new_root(instance: Instance) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Return a root of our own, valid for as long as the instance's."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key, keys._authority(instance.info, "root", key, None)


def with_chain(root: dict[str, Any], name: str, *chain: x509.Certificate) -> dict[str, Any]:
    root[name][0]["certChain"]["certificates"] = [
        {"rawBytes": b64(one.public_bytes(Encoding.DER))} for one in chain
    ]
    return root


@pytest.mark.parametrize("when", [one for one in WINDOWS if WINDOWS[one][1] is not None])
def test_a09_intermediate(instance: Instance, forge: Forge, when: str) -> None:
    """An authority's intermediate certificate that was not valid then issued nothing, whatever its root says."""
    one, (start, end, passes) = stamped(forge), WINDOWS[when]
    assert end is not None
    key, root = new_root(instance)
    middle = reissued(instance.keys.ca_certificate, key, root.subject, one.time + start, one.time + end)
    trusted = with_chain(wide(instance), "certificateAuthorities", middle, root)
    if passes:
        judged(one.bundle, trusted)
        return
    with pytest.raises(SignatureError):
        judged(one.bundle, trusted)


@pytest.mark.parametrize("when", [one for one in WINDOWS if WINDOWS[one][1] is not None])
def test_a09_timestamp_certificate(instance: Instance, forge: Forge, when: str) -> None:
    """A timestamp authority's certificate that was not valid then proves no time.

    Its very last second counts as after: the timestamp library has the end exclusive, which refuses too much.
    """
    time, (start, end, passes) = datetime.now(UTC).replace(microsecond=0), WINDOWS[when]
    assert end is not None
    key, root = new_root(instance)
    leaf = reissued(instance.keys.tsa_certificate, key, root.subject, time + start, time + end)

    def stamps(signature: bytes) -> list[bytes]:
        digest = hashlib.sha256(signature).digest()
        request = TimestampRequest(digest, None, certificates=True)
        return [EmbeddedTimestampAuthority(instance.keys.tsa, leaf).stamp(request, time)]

    bundle = raw(forge.bundle(stamps=stamps))
    trusted = with_chain(wide(instance), "timestampAuthorities", leaf, root)
    if passes and end:
        judged(bundle, trusted)
        return
    with pytest.raises(SignatureError):
        judged(bundle, trusted)


def after(instance: Instance, forge: Forge, name: str, error: type[GitchainError]) -> None:
    one, root = stamped(forge), wide(instance)
    for item in root[name]:
        item.get("publicKey", item)["validFor"] = window(one.time, -DAY, -SECOND)
    with pytest.raises(error):
        judged(one.bundle, root)


@guarded(("gitchain.verify.certificate:_chain", "if not authority.window.contains(time):", "if False:"))
def test_cve_2026_24122_authority_after_its_end(instance: Instance, forge: Forge) -> None:
    """A certificate authority after the end of its window."""
    after(instance, forge, "certificateAuthorities", SignatureError)


@guarded(("gitchain.verify.certificate:_check_ct_log", "log.window.contains(time)", "True"))
def test_cve_2026_24122_ct_log_after_its_end(instance: Instance, forge: Forge) -> None:
    """A CT log after the end of its window."""
    after(instance, forge, "ctlogs", SignatureError)


@guarded(("gitchain.verify.log_inclusion:_check_window", "not log.window.contains(time)", "False"))
def test_cve_2026_54787_log_key_after_its_end(instance: Instance, forge: Forge) -> None:
    """A log key after the end of its window."""
    after(instance, forge, "tlogs", InclusionError)


@guarded(("gitchain.verify.timestamp:_answers", "if authority.window.contains(time):", "if True:"))
def test_cve_2026_39984_timestamp_authority_after_its_end(instance: Instance, forge: Forge) -> None:
    """A timestamp authority after the end of its window."""
    after(instance, forge, "timestampAuthorities", SignatureError)


@guarded(
    (
        "gitchain.verify.timestamp:_answers",
        "yield verifier.verify_message(stamp, signature)",
        "yield True",
    )
)
def test_cve_2026_39984_wrong_certificate_in_token(
    instance: Instance, stranger: Instance, forge: Forge
) -> None:
    """A token of a stranger's authority, which carries its own certificate, is not our authority's."""
    time = datetime.now(UTC).replace(microsecond=0)
    bundle = raw(forge.bundle(stamps=lambda signature: [Forge(stranger).stamp(signature, time)]))
    with pytest.raises(SignatureError):
        judged(bundle, wide(instance))


@pytest.mark.parametrize("name", names(globals()))
def test_without_its_check_the_attack_succeeds(
    name: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each attack's test goes red when the check that it names is taken out of the code."""
    goes_red(globals()[name], request, monkeypatch)

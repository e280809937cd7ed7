"""Several certificate authorities in one trusted root, and certificates whose key cannot be read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from gitchain.errors import SignatureError
from gitchain.evidence.bundle import CertificateSigner
from gitchain.instance import Instance
from gitchain.verify.certificate import check_certificate, leaf_of, load_certificate
from gitchain.verify.trust import Trust, TrustedAuthority, ValidityPeriod
from tests.support.forged_bundles import Forge
from tests.support.sigstore_oracle import trust_of

EC_KEY, UNKNOWN_KEY = bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06072a8648ce3d027f")


def with_authorities(trust: Trust, *authorities: TrustedAuthority) -> Trust:
    return replace(trust, authorities=authorities)


def check(forge: Forge, trust: Trust) -> None:
    signer = CertificateSigner(forge.certificate().public_bytes(Encoding.DER))
    check_certificate(leaf_of(signer, trust), trust, [datetime.now(UTC)])


def told(forge: Forge, trust: Trust) -> SignatureError:
    with pytest.raises(SignatureError) as caught:
        check(forge, trust)
    return caught.value


@pytest.fixture
def foreign(stranger: Instance) -> TrustedAuthority:
    """The authority of another instance, in use."""
    return trust_of(stranger.trust_config()).authorities[0]


def test_check_certificate_asks_every_authority_in_use(
    forge: Forge, trust: Trust, foreign: TrustedAuthority
) -> None:
    """One that was not in use, or that did not issue the certificate, does no harm beside the right one."""
    own, start = trust.authorities[0], datetime(2020, 1, 1, tzinfo=UTC)
    ended = replace(foreign, window=ValidityPeriod(start, start))
    for other in (ended, foreign):
        check(forge, with_authorities(trust, other, own))
        check(forge, with_authorities(trust, own, other))
    error = told(forge, with_authorities(trust, ended, ended))
    assert error.what == "certificate authority was not in use at that time"
    assert error.expected == f"{ended.window}; {ended.window}"


def test_check_certificate_says_what_the_first_authority_in_use_found(
    forge: Forge, trust: Trust, foreign: TrustedAuthority
) -> None:
    """The order is that of the trusted root, so that the message stays the same."""
    longer = replace(foreign, certificates=(*trust.authorities[0].certificates, *foreign.certificates))
    one, other = (told(forge, with_authorities(trust, one)).got for one in (foreign, longer))
    assert one != other
    assert told(forge, with_authorities(trust, foreign, longer)).got == one
    assert told(forge, with_authorities(trust, longer, foreign)).got == other


def test_load_certificate_refuses_a_key_of_a_kind_that_nobody_knows(forge: Forge) -> None:
    """It is read with the certificate: an error later would be none of ours."""
    good = forge.certificate().public_bytes(Encoding.DER)
    assert load_certificate(good).subject is not None
    assert EC_KEY in good
    with pytest.raises(SignatureError, match="certificate cannot be read"):
        load_certificate(good.replace(EC_KEY, UNKNOWN_KEY))

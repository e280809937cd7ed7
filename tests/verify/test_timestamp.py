"""Timestamps (T4, T5): which authorities of the trusted root prove a time, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from gitchain.errors import SignatureError
from gitchain.verify.timestamp import proven_times, stamped_times
from gitchain.verify.trust import Trust, TrustedAuthority, ValidityPeriod
from tests.support.certificates import ROOT_KEY, certified, named, stamp
from tests.support.forged_bundles import Forge

SIGNATURE = b"a signature"
KEY = ec.derive_private_key(31, ec.SECP256R1())
ROOT = certified(named("stamps"), ROOT_KEY.public_key())
LEAF = certified(named("leaf"), KEY.public_key(), above=ROOT, stamping=True)
HOUR = timedelta(hours=1)


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def authority(start: datetime, end: datetime | None = None) -> TrustedAuthority:
    """Return an authority of our own, which the instance does not have."""
    chain = tuple(one.public_bytes(Encoding.DER) for one in (LEAF, ROOT))
    return TrustedAuthority(chain, ValidityPeriod(start, end))


def with_authorities(trust: Trust, *authorities: TrustedAuthority) -> Trust:
    return replace(trust, timestamp_authorities=authorities)


def test_stamped_times_of_any_authority_count(trust: Trust, forge: Forge) -> None:
    """One of the authorities made each timestamp; which of them, and in which order they stand, does not matter."""
    first, second = now(), now() + timedelta(minutes=1)
    stamps = [forge.stamp(SIGNATURE, first), stamp(KEY, LEAF, SIGNATURE, second)]
    (theirs,), ours = trust.timestamp_authorities, authority(now() - HOUR)
    for both in ((theirs, ours), (ours, theirs)):
        assert stamped_times(stamps, SIGNATURE, with_authorities(trust, *both)) == (first, second)
    assert stamped_times(stamps, SIGNATURE, with_authorities(trust, theirs)) == (first,)
    assert stamped_times(stamps, SIGNATURE, with_authorities(trust, ours)) == (second,)
    assert stamped_times(stamps, b"another signature", with_authorities(trust, theirs, ours)) == ()


def test_stamped_times_outside_an_authority_s_window_do_not_count(trust: Trust) -> None:
    """An authority proves times of its window alone, both ends included."""
    moment = now()
    stamps = [stamp(KEY, LEAF, SIGNATURE, moment)]
    second = timedelta(seconds=1)
    for start, end, counts in (
        (moment, moment, True),
        (moment + second, None, False),
        (moment - HOUR, moment - second, False),
    ):
        found = stamped_times(stamps, SIGNATURE, with_authorities(trust, authority(start, end)))
        assert found == ((moment,) if counts else ())


@pytest.mark.parametrize("certificates", [[LEAF], [LEAF, LEAF], [LEAF, ROOT, ROOT, ROOT]], ids=range(3))
def test_stamped_times_of_an_authority_without_a_chain_do_not_count(trust: Trust, certificates: list) -> None:  # type: ignore[type-arg]
    """A leaf without its root, or a certificate that stands in the chain twice, proves nothing and stops nothing."""
    chain = tuple(one.public_bytes(Encoding.DER) for one in certificates)
    broken = TrustedAuthority(chain, ValidityPeriod(now() - HOUR, None))
    stamps = [stamp(KEY, LEAF, SIGNATURE, now())]
    assert stamped_times(stamps, SIGNATURE, with_authorities(trust, broken)) == ()
    whole = with_authorities(trust, broken, authority(now() - HOUR))
    assert len(stamped_times(stamps, SIGNATURE, whole)) == 1


def test_stamped_times_refuses_what_cannot_be_checked(trust: Trust, forge: Forge) -> None:
    """A timestamp that is unreadable or occurs twice, and any where the trusted root names no authority."""
    good = forge.stamp(SIGNATURE)
    for stamps, found, reason in (
        ([good, b"junk"], trust, "cannot be read"),
        ([good, good], trust, "occurs twice"),
        ([good], with_authorities(trust), "names no authority"),
    ):
        with pytest.raises(SignatureError, match=reason):
            stamped_times(stamps, SIGNATURE, found)
    assert stamped_times([], SIGNATURE, with_authorities(trust)) == ()


def test_proven_times_are_sorted_and_at_least_one(trust: Trust, forge: Forge) -> None:
    """The log's promise counts beside the timestamps; without either no time is proven."""
    early, late = now(), now() + timedelta(minutes=1)
    assert proven_times([forge.stamp(SIGNATURE, early)], SIGNATURE, trust, late) == (early, late)
    assert proven_times([forge.stamp(SIGNATURE, late)], SIGNATURE, trust, early) == (early, late)
    assert proven_times([], SIGNATURE, trust, early) == (early,)
    with pytest.raises(SignatureError, match="proves no time"):
        proven_times([], SIGNATURE, trust, None)

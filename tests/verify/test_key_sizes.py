"""Keys: which kinds and sizes are accepted."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from gitchain.errors import SignatureError
from gitchain.verify.keys import Key


def of_size(bits: int) -> rsa.RSAPublicKey:
    """Return a public key whose modulus has so many bits; nobody has its private key."""
    return rsa.RSAPublicNumbers(65537, (1 << bits - 1) | 1).public_key()


@pytest.mark.parametrize("bits", [2048, 3072, 8192])
def test_rsa_keys_of_these_sizes_are_accepted(bits: int) -> None:
    """From the smallest that is not weak to the largest that costs no verifier too much."""
    assert Key.of(of_size(bits)).details == f"PKIX_RSA_PKCS1V15_{bits}_SHA256"


@pytest.mark.parametrize("bits", [1024, 2047, 8193])
def test_rsa_keys_of_other_sizes_are_refused(bits: int) -> None:
    """One bit less, and one bit more."""
    with pytest.raises(SignatureError, match="not accepted"):
        Key.of(of_size(bits))

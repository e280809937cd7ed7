"""Envelopes and message signatures: where an error is, and which digests a message signature names."""

from __future__ import annotations

from typing import Any

import pytest

from gitchain.errors import MalformedError
from gitchain.evidence.dsse import Envelope, MessageSignature


def test_an_error_names_the_field_of_the_bundle() -> None:
    """Without another place the names of the bundle's own fields stand there."""
    with pytest.raises(MalformedError) as caught:
        Envelope.parse({})
    assert caught.value.where == "dsseEnvelope.payloadType"
    with pytest.raises(MalformedError) as caught:
        MessageSignature.parse({}, "other")
    assert caught.value.where == "other.signature"
    with pytest.raises(MalformedError) as caught:
        MessageSignature.parse({})
    assert caught.value.where == "messageSignature.signature"


@pytest.mark.parametrize(
    ("name", "algorithm"), [("SHA2_256", "sha256"), ("SHA2_384", "sha384"), ("SHA2_512", "sha512")]
)
def test_a_message_signature_names_the_digest_of_its_file(name: str, algorithm: str) -> None:
    """By Sigstore's name; no other kind of digest is read."""
    value: dict[str, Any] = {"signature": "c2ln", "messageDigest": {"algorithm": name, "digest": "ZA=="}}
    found = MessageSignature.parse(value)
    assert (found.signature, found.algorithm, found.digest) == (b"sig", algorithm, b"d")
    with pytest.raises(MalformedError, match="unknown kind"):
        MessageSignature.parse({**value, "messageDigest": {"algorithm": algorithm, "digest": "ZA=="}})


def test_a_message_signature_may_leave_the_digest_out() -> None:
    """Then it says nothing about the file."""
    found = MessageSignature.parse({"signature": "c2ln"})
    assert (found.signature, found.algorithm, found.digest) == (b"sig", "", b"")

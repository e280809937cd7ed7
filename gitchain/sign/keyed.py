"""Sign statements with a key instead of OIDC; they are timestamped and logged as well.

The bundle has no certificate. Its key hint has no effect: verifiers must have the key, which a layout contains
(`gitchain:key`, docs/layout.md). Statements are signed one by one, so that a failure loses none.

Keys are in `gitchain.sign.keys`. Results are verified by the caller.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gitchain.evidence.bundle import BUNDLE_MEDIA_TYPE
from gitchain.evidence.canonical import Json, canonical_json
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.dsse import IN_TOTO_PAYLOAD_TYPE, Envelope, pae
from gitchain.evidence.fields import encode_base64
from gitchain.evidence.statement import Statement
from gitchain.sign.entries import envelope_json, signed
from gitchain.sign.keys import KeyHolder
from gitchain.verify.keys import Key
from gitchain.verify.rekor_entry import SignatureRecord


class Recorder(Protocol):
    """Timestamps and logs signatures: an instance over HTTP, or the embedded one."""

    def check_key(self, key: Key) -> None:
        """Raise UsageError for a key that the log does not support."""

    def stamps(self, signature: bytes) -> tuple[bytes, ...]:
        """Return timestamps over the signature, DER. Raises TransportError."""

    def log(self, one: SignatureRecord) -> Mapping[str, Json]:
        """Log the signature and return its TransparencyLogEntry. Raises TransportError."""


class KeySigner:
    """Signs batches with one key, like `gitchain.sign.keyless.KeylessSigner`."""

    def __init__(self, holder: KeyHolder, recorder: Recorder) -> None:
        """Create a signer. Raises UsageError if the log does not support this key."""
        recorder.check_key(holder.key)
        self._holder = holder
        self._recorder = recorder
        pem = holder.key.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self._hint = sha256_hex(pem)  # the one form that another program, model_signing, looks at
        self.keys: tuple[bytes, ...] = (holder.key.spki,)

    def sign(self, statements: Sequence[Statement]) -> tuple[bytes, ...]:
        """Return one bundle (JSON bytes) per statement, signed, timestamped and logged. Raises the errors of `each`."""
        return tuple(self.each(statements))

    def each(self, statements: Sequence[Statement]) -> Iterator[bytes]:
        """Yield the bundles one by one, so that those before an error are kept: they are in the log.

        Raises AuthenticationError if the key cannot be used. Raises TransportError if it is unavailable, or a service fails.
        """
        return (self._sign(statement) for statement in statements)

    def close(self) -> None:
        """Release the key."""
        self._holder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _sign(self, statement: Statement) -> bytes:
        signature = self._holder.sign(pae(IN_TOTO_PAYLOAD_TYPE, statement.payload))
        envelope = Envelope(IN_TOTO_PAYLOAD_TYPE, statement.payload, signature)
        stamps = self._recorder.stamps(
            signature
        )  # before logging: a signature without a timestamp is not logged
        entry = self._recorder.log(signed(envelope, self._holder.key))
        return _bundle(envelope, self._hint, stamps, entry)


def _bundle(envelope: Envelope, hint: str, stamps: Sequence[bytes], entry: Mapping[str, Json]) -> bytes:
    timestamps: Json = [{"signedTimestamp": encode_base64(one)} for one in stamps]
    entries: Json = [dict(entry)]
    material: Json = {
        "publicKey": {"hint": hint},
        "tlogEntries": entries,
        "timestampVerificationData": {"rfc3161Timestamps": timestamps},
    }
    return canonical_json(
        {
            "mediaType": BUNDLE_MEDIA_TYPE,
            "verificationMaterial": material,
            "dsseEnvelope": envelope_json(envelope),
        }
    )

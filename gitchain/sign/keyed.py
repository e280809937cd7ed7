"""Sign statements with a key, where there is no OIDC: still timestamped, still logged.

The bundle names no certificate; it carries a hint at the key, which decides nothing: whoever verifies has to know the
key, and a layout names it (`gitchain:key`, docs/layout.md). One statement after the other: a failure loses none.

It does NOT hold keys (`gitchain.sign.keys` does), and does NOT verify what comes back.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from gitchain.evidence.bundle import BUNDLE_MEDIA_TYPE
from gitchain.evidence.canonical import Json, canonical_json
from gitchain.evidence.digest import sha256_hex
from gitchain.evidence.dsse import IN_TOTO_PAYLOAD_TYPE, Envelope, pae
from gitchain.evidence.statement import Statement
from gitchain.sign.entries import envelope_json, signed
from gitchain.sign.keys import KeyHolder
from gitchain.verify.entry import Signed
from gitchain.verify.keys import Key


class Recorder(Protocol):
    """Where signatures are timestamped and logged: an instance over HTTP, or the embedded one."""

    def check_key(self, key: Key) -> None:
        """Raise UsageError for a key whose signatures the log takes none of."""

    def stamps(self, signature: bytes) -> tuple[bytes, ...]:
        """Return timestamps over the signature, DER; TransportError."""

    def log(self, one: Signed) -> Mapping[str, Json]:
        """Log the signature and return its TransparencyLogEntry; TransportError."""


class KeySigner:
    """Signs batches with one key. The same interface as `gitchain.sign.keyless.Signer`."""

    def __init__(self, holder: KeyHolder, recorder: Recorder) -> None:
        """Make a signer; UsageError if the log takes no signatures of this key."""
        recorder.check_key(holder.key)
        self._holder = holder
        self._recorder = recorder
        pem = holder.key.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self._hint = sha256_hex(pem)  # the one form that another program, model_signing, looks at
        self.keys: tuple[bytes, ...] = (holder.key.spki,)

    def sign(self, statements: Sequence[Statement]) -> tuple[bytes, ...]:
        """Return one bundle (JSON bytes) per statement, each signed, timestamped and logged; errors as `each`."""
        return tuple(self.each(statements))

    def each(self, statements: Sequence[Statement]) -> Iterator[bytes]:
        """Yield one bundle after the other, so that those before an error are not lost: they are in the log.

        AuthenticationError if the key cannot be used; TransportError if it is gone, or a service fails.
        """
        return (self._sign(statement) for statement in statements)

    def close(self) -> None:
        """Let go of the key."""
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
        stamps = self._recorder.stamps(signature)  # first: what cannot be timestamped is not logged
        entry = self._recorder.log(signed(envelope, self._holder.key))
        return _bundle(envelope, self._hint, stamps, entry)


def _bundle(envelope: Envelope, hint: str, stamps: Sequence[bytes], entry: Mapping[str, Json]) -> bytes:
    timestamps: Json = [{"signedTimestamp": b64encode(one).decode()} for one in stamps]
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

"""Sign statements with a short-lived certificate for an identity token (Sigstore's keyless flow).

sigstore-python creates the key, requests the certificate, the timestamp and the log entry, and returns a bundle v0.3.
One certificate serves a whole batch; a new one is requested shortly before it expires. Results are verified with the
trusted root by `gitchain.verify`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from sigstore.dsse import Statement as SigstoreStatement
from sigstore.sign import Signer as SigstoreSigner
from sigstore.sign import SigningContext

from gitchain.evidence.statement import Statement
from gitchain.sign.failures import translated
from gitchain.sign.token import parse_token

MARGIN = timedelta(seconds=30)  # minimum remaining lifetime of a certificate for one more signature


class KeylessSigner:
    """Signs batches for one identity; `token` may be a function if a batch takes longer than a token is valid."""

    keys: tuple[bytes, ...] = ()
    """The bare keys (DER) that a verifier of the bundles has to know: none."""

    def __init__(self, context: SigningContext, token: str | Callable[[], str]) -> None:
        self._context = context
        self._token = token
        self._signer: SigstoreSigner | None = None
        self._expires: datetime | None = None

    def sign(self, statements: Sequence[Statement]) -> tuple[bytes, ...]:
        """Return one bundle (JSON bytes) per statement, signed, timestamped and logged. Raises the errors of `each`."""
        return tuple(self.each(statements))

    def each(self, statements: Sequence[Statement]) -> Iterator[bytes]:
        """Yield the bundles one by one, so that those before an error are kept: they are in the log.

        Raises AuthenticationError if the identity token is refused or expired. Raises TransportError if a service fails,
        refuses or does not respond in time.
        """
        return (self._sign(statement) for statement in statements)

    def close(self) -> None:
        """Delete the key; signing again requests a new certificate."""
        self._signer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _sign(self, statement: Statement) -> bytes:
        signer = self._ready()
        with translated("signing"):
            bundle = signer.sign_dsse(SigstoreStatement(statement.payload))
            self._expires = bundle.signing_certificate.not_valid_after_utc
            return bundle.to_json().encode()

    def _ready(self) -> SigstoreSigner:
        """Return a signer whose certificate is valid long enough for one more signature."""
        if self._expires is not None and datetime.now(UTC) + MARGIN > self._expires:
            self._signer = None
        if self._signer is None:
            token = parse_token(self._token if isinstance(self._token, str) else self._token())
            with translated("the certificate authority"):
                # cache=True always: without it sigstore-python 4.5.1 makes a new key at each use of the key.
                self._signer = SigstoreSigner(token, self._context, cache=True)
            self._expires = None
        return self._signer

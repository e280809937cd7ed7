"""Signing: keyless with any Sigstore trust configuration, or with a key (docs/design.md section 3, docs/signing.md).

Implementations of `StatementSigner`: `gitchain.sign.keyless.KeylessSigner` for an identity token,
`gitchain.sign.keyed.KeySigner` for a key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from gitchain.evidence.statement import Statement

__all__ = ["StatementSigner"]


class StatementSigner(Protocol):
    """Signs statements: each bundle is timestamped and logged."""

    keys: tuple[bytes, ...]
    """The keys without certificates (DER SubjectPublicKeyInfo) that verify the bundles."""

    def sign(self, statements: Sequence[Statement]) -> tuple[bytes, ...]:
        """Return one bundle (JSON bytes) per statement. Raises AuthenticationError or TransportError."""

    def each(self, statements: Sequence[Statement]) -> Iterator[bytes]:
        """Yield the bundles one by one: those before an error are logged, and must be kept."""

    def close(self) -> None:
        """Release the key."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

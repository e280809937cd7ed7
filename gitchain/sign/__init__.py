"""Signing: keyless with any Sigstore trust config, or with a key (docs/design.md section 3, docs/signing.md).

What signs is a `Signer`: `gitchain.sign.keyless.Signer` for an identity token, `gitchain.sign.keyed.KeySigner` for a
key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from gitchain.evidence.statement import Statement

__all__ = ["Signer"]


class Signer(Protocol):
    """Signs statements: each bundle is timestamped and logged."""

    keys: tuple[bytes, ...]
    """The bare keys (DER SubjectPublicKeyInfo) that a verifier of the bundles has to know."""

    def sign(self, statements: Sequence[Statement]) -> tuple[bytes, ...]:
        """Return one bundle (JSON bytes) per statement; AuthenticationError, TransportError."""

    def each(self, statements: Sequence[Statement]) -> Iterator[bytes]:
        """Yield one bundle after the other: those before an error are logged, and must not be lost."""

    def close(self) -> None:
        """Let go of the key."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

"""Digest sets: the digests that name one artifact, and when two sets name the same one.

A set is `{"sha256": "<64 hex>", …}`. sha256, sha384 and sha512 are accepted for matching; every other
algorithm is carried and never matched on: md5 (DVC's) is broken, Git's object ids are usually SHA-1.

Format: https://github.com/in-toto/attestation/blob/main/spec/v1/digest_set.md
Does NOT hash files: that is done where files are read.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Literal, NewType, overload

from gitchain.errors import LimitError, MalformedError

ACCEPTED = ("sha256", "sha384", "sha512")
"""Algorithms that may prove two artifacts equal: collision-resistant, known to every Sigstore client."""

MAX_DIGESTS = 32
"""Most digests in one set: the limit of other Sigstore clients; real sets hold one to four."""

MAX_DIGEST_CHARS = 1024
"""Longest value of an algorithm that we do not know: far above any digest in use."""

_HEX_LENGTHS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "sha256": (64,),
        "sha384": (96,),
        "sha512": (128,),
        "gitCommit": (40, 64),
        "gitTree": (40, 64),
        "gitBlob": (40, 64),
        "gitTag": (40, 64),
        "sha1": (40,),
        "md5": (32,),
    }
)
_HEX = re.compile(r"[0-9a-f]+", re.ASCII)
_ALGORITHM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+-]{0,63}", re.ASCII)


Sha256 = NewType("Sha256", str)
"""A SHA-256 in lower-case hex: 64 digits."""


def sha256_hex(data: bytes) -> Sha256:
    """Return the SHA-256 of the bytes in lower-case hex."""
    return Sha256(hashlib.sha256(data).hexdigest())


def check_hex(value: str, lengths: tuple[int, ...], where: str) -> str:
    """Return the value if it is lower-case hex of one of the lengths, or raise MalformedError."""
    if len(value) not in lengths or _HEX.fullmatch(value) is None:
        wanted = " or ".join(str(length) for length in lengths)
        raise MalformedError(
            "digest is malformed",
            where=where,
            expected=f"{wanted} lower-case hex digits",
            got=ascii(value[:140]),
        )
    return value


class DigestSet(Mapping[str, str]):
    """A frozen, validated map from algorithm to digest; equal and hashable by content.

    The constructor raises MalformedError for a known algorithm whose value is not lower-case hex of its exact
    length, LimitError beyond MAX_DIGESTS. An empty set is allowed and matches nothing.
    """

    __slots__ = ("_items",)

    def __init__(self, digests: Mapping[str, str] = MappingProxyType({})) -> None:
        if len(digests) > MAX_DIGESTS:
            raise LimitError("too many digests", expected=f"at most {MAX_DIGESTS}", got=str(len(digests)))
        for algorithm, value in digests.items():
            _check(algorithm, value)
        self._items: Mapping[str, str] = MappingProxyType(dict(sorted(digests.items())))

    @overload
    def __getitem__(self, algorithm: Literal["sha256"]) -> Sha256: ...
    @overload
    def __getitem__(self, algorithm: str) -> str: ...
    def __getitem__(self, algorithm: str) -> str:
        return self._items[algorithm]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, algorithm: object) -> bool:
        return (
            algorithm in self._items
        )  # Mapping's own raises and catches KeyError: slow in the rules' inner loop

    def __hash__(self) -> int:
        return hash(tuple(self._items.items()))

    def __repr__(self) -> str:
        return f"DigestSet({dict(self._items)!r})"

    @property
    def sha256(self) -> Sha256 | None:
        """Return the SHA-256, or None if the set has none."""
        return self["sha256"] if "sha256" in self._items else None

    @property
    def accepted(self) -> tuple[tuple[str, str], ...]:
        """Return the accepted algorithms with their values: the digests by which artifacts may be compared."""
        return tuple([item for item in self._items.items() if item[0] in ACCEPTED])  # a list: twice as fast

    def matches(self, other: Mapping[str, str]) -> bool:
        """Return whether both sets name one artifact.

        True if they share at least one accepted algorithm and agree on every accepted one that they share.
        """
        mine = self._items
        common = [algorithm for algorithm in ACCEPTED if algorithm in mine and algorithm in other]
        return bool(common) and all(mine[algorithm] == other[algorithm] for algorithm in common)


def _check(algorithm: str, value: str) -> None:
    lengths = _HEX_LENGTHS.get(algorithm)
    if lengths is not None:
        check_hex(value, lengths, f"digest {algorithm}")
    elif _ALGORITHM.fullmatch(algorithm) is None:
        raise MalformedError("digest algorithm is malformed", got=ascii(algorithm[:100]))
    elif not 1 <= len(value) <= MAX_DIGEST_CHARS or not (value.isascii() and value.isprintable()):
        raise MalformedError("digest is malformed", where=f"digest {algorithm}", got=ascii(value[:140]))

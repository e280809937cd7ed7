r"""Parse the OpenPGP that layouts and signed commits use: armor, packets, keys with their fingerprints, one signature.

    -----BEGIN PGP SIGNATURE-----\n\n<base64>\n=<CRC-24>\n-----END PGP SIGNATURE-----
    key         4, uint32 created, algorithm, numbers      fingerprint: SHA-1 of 0x99, uint16 length, and all of that
    signature   4, class, key algorithm, hash algorithm, hashed subpackets, unhashed ones, 2 bytes of the digest, numbers

Only version 4 is accepted, which GnuPG writes: no two programs agree on versions 5 and 6 yet. Lengths must be definite,
and no bytes may precede, separate or follow the packets, so that another reader cannot find other packets in them.
A fingerprint is only a name: it does not bind the key, because it is a SHA-1. The key's own bytes bind it.

Format: RFC 9580 sections 4.2, 5.2.3, 5.5.2, 5.5.4 and 6. Does NOT verify anything, nor decide which keys are accepted.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.fields import decode_base64, encode_base64

SIGNATURE, PUBLIC_KEY = "PGP SIGNATURE", "PGP PUBLIC KEY BLOCK"
"""What a block is called that holds a signature, a key."""

MAX_PACKETS = 1000
"""Most packets of a key: each name and subkey has two or three."""

MAX_HEADERS = 8
"""Most lines of a block's header, such as Version and Comment."""

MAX_LINE = 76
"""Longest line of base64 in a block (RFC 9580 section 6.2)."""

MAX_KEY_BYTES = 0xFFFF
"""Longest packet of a key: a fingerprint of version 4 counts its bytes in two."""

VERSION = 4
_HEADER = re.compile(rb"[A-Za-z]+: [ -~]{0,200}")
_CHECKSUM = re.compile(rb"=([A-Za-z0-9+/]{4})")
_SIGNATURE, _SECRET_KEY, _KEY, _SECRET_SUBKEY, _USER, _SUBKEY, _ATTRIBUTE = 2, 5, 6, 7, 13, 14, 17
_ISSUER, _ISSUER_FINGERPRINT = 16, 33


def _crc_of(byte: int) -> int:
    crc = byte << 16
    for _ in range(8):
        crc = crc << 1 ^ (0x1864CFB if crc & 0x800000 else 0)
    return crc


_CRC = tuple(map(_crc_of, range(256)))


@dataclass(frozen=True, slots=True)
class PgpKey:
    """A primary key or a subkey: its fingerprint in hex, its algorithm's number, and the bytes of its numbers."""

    fingerprint: str
    algorithm: int
    numbers: bytes = field(repr=False)

    @property
    def key_id(self) -> str:
        """Return the last 16 digits of the fingerprint."""
        return self.fingerprint[-16:]


@dataclass(frozen=True, slots=True)
class PgpSignature:
    """One signature packet and its fields, unverified; `issuers` are fingerprints and key ids, in hex, as hints."""

    packet: bytes = field(repr=False)
    kind: int
    key_algorithm: int
    hash_algorithm: int
    issuers: frozenset[str]


def parse_signature(block: bytes) -> PgpSignature:
    """Return the one signature in an armored block. Raises MalformedError for anything else, or another version."""
    data = dearmored(block, SIGNATURE)
    found = tuple(_packets(data))
    if [tag for tag, _ in found] != [_SIGNATURE]:
        raise MalformedError(
            "not one OpenPGP signature",
            expected=f"packet {_SIGNATURE}",
            got=f"packets {', '.join(str(tag) for tag, _ in found[:10])}",
        )
    source = PgpReader(found[0][1])
    _check_version(source)
    kind, key_algorithm, hash_algorithm = source.take(3)
    subpackets = [source.take(source.number(2)) for _ in range(2)]
    issuers = frozenset(one for part in subpackets for one in _issuers(part))
    return PgpSignature(data, kind, key_algorithm, hash_algorithm, issuers)


def parse_key(data: bytes) -> tuple[PgpKey, ...]:
    """Return the primary key of these packets and its subkeys.

    MalformedError for a private key, several primary keys, another version, or what belongs to no key. Raises LimitError for
    too many packets, or too long a key.
    """
    found: list[PgpKey] = []
    for tag, body in _packets(data):
        if tag in {_SECRET_KEY, _SECRET_SUBKEY}:
            raise MalformedError("a private key instead of a public key")
        if (tag == _KEY) is bool(found):
            raise MalformedError("not one primary key with its subkeys", expected="1 primary key, first")
        if tag not in {_KEY, _SIGNATURE, _USER, _SUBKEY, _ATTRIBUTE}:
            raise MalformedError("a packet that belongs to no public key", got=f"packet {tag}")
        if tag in {_KEY, _SUBKEY}:
            found.append(_key(body))
    if not found:
        raise MalformedError("not one primary key with its subkeys", got="none")
    return tuple(found)


def dearmored(block: bytes, label: str) -> bytes:
    """Return the bytes in a block of this label. Raises MalformedError unless it is one block with a valid checksum."""
    lines = block.removesuffix(b"\n").split(b"\n")
    begin, end = f"-----BEGIN {label}-----".encode(), f"-----END {label}-----".encode()
    if lines[0] != begin or lines[-1] != end or b"" not in lines:
        raise MalformedError("not one block of OpenPGP", expected=begin.decode(), got=ascii(lines[0][:40]))
    blank = lines.index(b"")
    if blank > MAX_HEADERS + 1 or any(_HEADER.fullmatch(line) is None for line in lines[1:blank]):
        raise MalformedError("header of a block is malformed", expected="such as Comment: …")
    body = lines[blank + 1 : -1]
    checksum = _CHECKSUM.fullmatch(body[-1]) if body else None
    if checksum is not None:
        body = body[:-1]
    if not body or any(not 0 < len(line) <= MAX_LINE for line in body):
        raise MalformedError("block has an empty or a long line", expected=f"1 to {MAX_LINE} characters")
    data = decode_base64(b"".join(body).decode("latin-1"), "block")
    if checksum is not None and checksum[1] != _crc24(data):
        raise MalformedError("checksum of a block is wrong")
    return data


def armored(data: bytes, label: str) -> str:
    """Return the block that holds these bytes, as GnuPG writes it."""
    text = encode_base64(data)
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    head, end = f"-----BEGIN {label}-----", f"-----END {label}-----"
    return "\n".join((head, "", *lines, f"={_crc24(data).decode()}", end, ""))


@dataclass(slots=True)
class PgpReader:
    """Reads OpenPGP's numbers and strings of bytes. Raises MalformedError where they end too early or too late."""

    data: bytes
    at: int = 0

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        found = self.data[self.at : self.at + count]
        if len(found) != count:
            raise MalformedError("OpenPGP packet ends early")
        self.at += count
        return found

    def number(self, size: int) -> int:
        """Return the number in the next bytes."""
        return int.from_bytes(self.take(size))

    def integer(self) -> bytes:
        """Return the next multiprecision integer (RFC 9580 section 3.2), which has one spelling."""
        bits = self.number(2)
        found = self.take((bits + 7) // 8)
        if int.from_bytes(found).bit_length() != bits:
            raise MalformedError("number of an OpenPGP packet is malformed")
        return found

    def end(self) -> None:
        """Check that nothing follows."""
        if self.at != len(self.data):
            raise MalformedError("OpenPGP packet holds more than it should")


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and body of each packet."""
    source, count = PgpReader(data), 0
    while source.at < len(data):
        count += 1
        if count > MAX_PACKETS:
            raise LimitError("too many OpenPGP packets", expected=f"at most {MAX_PACKETS}")
        head = source.number(1)
        if head & 0xC0 == 0xC0:
            yield head & 0x3F, source.take(_length(source))
        elif head & 0x80 and head & 3 != 3:
            yield head >> 2 & 0x0F, source.take(source.number(1 << (head & 3)))
        else:
            raise MalformedError("not an OpenPGP packet of a definite length")


def _length(source: PgpReader, partial: int = 224) -> int:
    """Return the length that follows. Raises MalformedError for a partial one: a first byte from `partial` to 254."""
    first = source.number(1)
    if first < 192:
        return first
    if first < partial:
        return (first - 192 << 8) + source.number(1) + 192
    if first < 255:
        raise MalformedError("not an OpenPGP packet of a definite length")
    return source.number(4)


def _issuers(data: bytes) -> Iterator[str]:
    source = PgpReader(data)
    while source.at < len(data):
        inner = PgpReader(source.take(_length(source, 255)))
        kind = inner.number(1) & 0x7F
        if kind == _ISSUER_FINGERPRINT:
            _check_version(inner)
        if kind in {_ISSUER, _ISSUER_FINGERPRINT}:
            yield inner.take(8 if kind == _ISSUER else 20).hex().upper()
            inner.end()


def _key(body: bytes) -> PgpKey:
    if len(body) > MAX_KEY_BYTES:
        raise LimitError("key is too long", expected=f"at most {MAX_KEY_BYTES} bytes", got=str(len(body)))
    source = PgpReader(body)
    _check_version(source)
    source.take(4)
    algorithm = source.number(1)
    digest = hashlib.sha1(b"\x99" + len(body).to_bytes(2) + body, usedforsecurity=False)
    return PgpKey(digest.hexdigest().upper(), algorithm, body[source.at :])


def _check_version(source: PgpReader) -> None:
    version = source.number(1)
    if version != VERSION:
        raise MalformedError("OpenPGP packet is of another version", expected=str(VERSION), got=str(version))


def _crc24(data: bytes) -> bytes:
    """Return the checksum of a block (RFC 9580 section 6.1.1), in base64."""
    crc = 0xB704CE
    for byte in data:
        crc = (crc << 8 & 0xFFFFFF) ^ _CRC[crc >> 16 ^ byte]
    return base64.b64encode(crc.to_bytes(3))

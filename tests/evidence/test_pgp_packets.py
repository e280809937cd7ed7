"""OpenPGP packets and armor, read strictly: against GnuPG's own bytes, and against what nobody should write."""

from __future__ import annotations

import base64
import hashlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.openpgp import (
    MAX_KEY_BYTES,
    PUBLIC_KEY,
    SIGNATURE,
    PgpReader,
    armored,
    dearmored,
    parse_key,
    parse_signature,
)

KEY = """\
-----BEGIN PGP PUBLIC KEY BLOCK-----

mDMEZZIAgBYJKwYBBAHaRw8BAQdAkijbL+0HeuQArL6S9d2nLaNFT5luYlloszI7
uvQsfLe0FUFkYSA8YWRhQGV4YW1wbGUuY29tPoiQBBMWCAA4FiEEBfSKVblIa26Y
2ALoWhOXgD+/uU4FAmWSAIACGwEFCwkIBwIGFQoJCAsCBBYCAwECHgECF4AACgkQ
WhOXgD+/uU5mCQD8DfLbwwY1pBQly+TOos9tazVSEmdv3R3JXxTTT3pisAMBAMYl
tthoxRjzp2qeINOSbmetf8NndjkQnfRUZsb/99ACuDMEZZIAgBYJKwYBBAHaRw8B
AQdAP5S7BUzc72RAlSZb1v/WyqlVElI7Sy4UtwXDULn9x0eI7wQYFggAIBYhBAX0
ilW5SGtumNgC6FoTl4A/v7lOBQJlkgCAAhsCAIEJEFoTl4A/v7lOdiAEGRYIAB0W
IQSb5kJeRIxEFxl/GZUAGuaIVkefVgUCZZIAgAAKCRAAGuaIVkefVjwzAPwKWU0y
zKYhbuUOoDVBoIBkj0tWcljsxC95qzaIvsbYrgD+KPjv8IpkHIICB3JQ/fbF8dHL
CQxzY9pKlMfdz4b93AaIOwEA/BBFx3qR1Xy4EYGE3VSuf7zqoKtX19SZRZPmTuet
TF4A/1aTQ+QHt2aw2ysFaKkTRXBU5wHusHqXveuZP1isqzYLuDgEZZIAgBIKKwYB
BAGXVQEFAQEHQFv72fwc6M+JGmzcCXDdebF7qR0QAHu5NlL96br6oKZ6AwEIB4h4
BBgWCAAgFiEEBfSKVblIa26Y2ALoWhOXgD+/uU4FAmWSAIACGwwACgkQWhOXgD+/
uU7f4gEAp6JPaTjpDr607kI2DoOAzfn0NTA5UA4DsgJm/6H37MoBAL4if1z5duk2
tSC4vUzIX5wbt5NBMxgJk5n6E0butDUF
=BtxI
-----END PGP PUBLIC KEY BLOCK-----
"""
MADE = """\
-----BEGIN PGP SIGNATURE-----

iHUEABYIAB0WIQSb5kJeRIxEFxl/GZUAGuaIVkefVgUCZZIAgAAKCRAAGuaIVkef
VjplAP4pHbE0LGpdpVxaP7xKjtjq36ZQ92zbZUfAmvTmYQFKqwEA/1t6HtOVv/57
wY4e1J3yMXentg0s+Kh6MjdEUasntgY=
=flvr
-----END PGP SIGNATURE-----
"""
PRIMARY, SIGNS, TAKES = (
    "05F48A55B9486B6E98D802E85A1397803FBFB94E",
    "9BE6425E448C4417197F1995001AE68856479F56",
    "ADAE7C2B49C47D6EE334BF347D1C5A6D80BB3E1E",
)
DATA = dearmored(KEY.encode(), PUBLIC_KEY)
PACKET = dearmored(MADE.encode(), SIGNATURE)


def packet(tag: int, body: bytes) -> bytes:
    return bytes([0xC0 | tag, 255]) + len(body).to_bytes(4) + body


def signature(hashed: bytes = b"", unhashed: bytes = b"", version: int = 4) -> bytes:
    parts = b"".join(len(one).to_bytes(2) + one for one in (hashed, unhashed))
    return packet(2, bytes([version, 0, 22, 8]) + parts + b"\1\2")


def block(data: bytes) -> bytes:
    return armored(data, SIGNATURE).encode()


def test_gnupgs_key_has_the_fingerprints_that_it_prints() -> None:
    """Primary key and subkeys, in their order, with their algorithms; the armor is the one that gpg writes."""
    found = parse_key(DATA)
    assert [(one.fingerprint, one.algorithm) for one in found] == [(PRIMARY, 22), (SIGNS, 22), (TAKES, 18)]
    assert found[0].key_id == PRIMARY[-16:]
    assert len(found[0].numbers) == 1 + 9 + 2 + 33
    assert armored(DATA, PUBLIC_KEY) == KEY


def test_gnupgs_signature_says_what_it_is() -> None:
    """Class, algorithms, and the key that made it, twice."""
    found = parse_signature(MADE.encode())
    assert (found.kind, found.key_algorithm, found.hash_algorithm) == (0, 22, 8)
    assert found.issuers == {SIGNS, SIGNS[-16:]}
    assert found.packet == PACKET
    assert armored(PACKET, SIGNATURE) == MADE


def test_lengths_have_several_forms() -> None:
    """Old packets with one, two and four bytes, new ones with one, two and five; subpackets with one, two and five."""
    body = signature()[6:]
    for head in (
        b"\x88" + bytes([len(body)]),
        b"\x89" + len(body).to_bytes(2),
        b"\x8a" + len(body).to_bytes(4),
        b"\xc2" + bytes([len(body)]),
        b"\xc2\xff" + len(body).to_bytes(4),
    ):
        assert parse_signature(block(head + body)).issuers == frozenset()
    for size in (192, 300, 8383):
        note = b"\x14" + bytes(size - 1)
        two = bytes([(size - 192 >> 8) + 192, size - 192 & 255])
        issuer = b"\x09\x10" + b"\xab" * 8
        for head in (two, b"\xff" + size.to_bytes(4)):
            found = parse_signature(block(signature(head + note + issuer)))
            assert found.issuers == {"AB" * 8}
    body = signature(bytes([1, 20]) * 100)[6:]
    head = bytes([0xC2, (len(body) - 192 >> 8) + 192, len(body) - 192 & 255])
    assert parse_signature(block(head + body)).kind == 0
    wide = b"\xfe\xff" + b"\x14" + bytes((254 - 192 << 8) + 255 + 192 - 1)
    assert parse_signature(block(signature(wide))).issuers == frozenset()


ISSUER = b"\x16\x21\x04" + b"\xcd" * 20


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x00", "definite length"),
        (b"\x7f\x01x", "definite length"),
        (b"\x09" + signature()[6:], "definite length"),
        (b"\x8b" + signature()[6:], "definite length"),
        (b"\xc2\xe0x", "definite length"),
        (b"\xc2\xfex", "definite length"),
        (b"\xc2", "ends early"),
        (b"\xc2\xc0", "ends early"),
        (b"\xc2\xff\0\0", "ends early"),
        (b"\xc2\x05\4", "ends early"),
        (b"\x89\x00", "ends early"),
        (signature()[:-1], "ends early"),
        (packet(2, b""), "ends early"),
        (packet(2, b"\4\0\x16"), "ends early"),
        (packet(2, b"\4\0\x16\x08\0\x09"), "ends early"),
        (packet(2, b"\4\0\x16\x08\0\0\0\5"), "ends early"),
        (signature(b"\0"), "ends early"),
        (signature(b"\5\x10\0"), "ends early"),
        (signature(b"\xc0"), "ends early"),
        (signature(b"\x08\x10" + bytes(7)), "ends early"),
        (signature(b"\x0a\x10" + bytes(9)), "more than it should"),
        (signature(ISSUER[:-1].replace(b"\x16", b"\x15", 1)), "ends early"),
        (signature(b"\x17" + ISSUER[1:] + b"x"), "more than it should"),
        (signature(ISSUER.replace(b"\4", b"\5", 1)), "another version"),
        (signature(b"", ISSUER.replace(b"\4", b"\6", 1)), "another version"),
        (signature(version=3), "another version"),
        (signature(version=6), "another version"),
        (signature() * 2, "not one OpenPGP signature"),
        (packet(6, b"x"), "not one OpenPGP signature"),
        (DATA, "not one OpenPGP signature"),
    ],
)
def test_what_is_not_one_signature_is_refused(data: bytes, says: str) -> None:
    """Indefinite lengths, early ends, other versions, other packets."""
    with pytest.raises(MalformedError, match=says):
        parse_signature(block(data))


def test_issuers_are_read_wherever_they_stand() -> None:
    """Hashed or not, critical or not, several of them."""
    critical = b"\x09\x90" + b"\x0f" * 8
    found = parse_signature(block(signature(ISSUER + critical, b"\x09\x10" + b"\xab" * 8)))
    assert found.issuers == {"CD" * 20, "0F" * 8, "AB" * 8}


NAME = packet(13, b"Ada")
FIRST = packet(6, DATA[2 : 2 + DATA[1]])
SECRET = "a private key instead of a public key"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not one primary key"),
        (NAME, "not one primary key"),
        (packet(14, FIRST[6:]), "not one primary key"),
        (NAME + FIRST, "not one primary key"),
        (FIRST + NAME + FIRST, "not one primary key"),
        (DATA + DATA, "not one primary key"),
        (packet(5, FIRST[6:]), SECRET),
        (FIRST + packet(7, FIRST[6:]), SECRET),
        (FIRST + packet(12, b"\6\0"), "belongs to no public key"),
        (FIRST + packet(8, b"\0"), "belongs to no public key"),
        (FIRST + packet(11, b"b\0" + bytes(4)), "belongs to no public key"),
        (FIRST + packet(63, b""), "belongs to no public key"),
        (packet(6, b"\3" + FIRST[7:]), "another version"),
        (packet(6, b"\6" + FIRST[7:]), "another version"),
        (packet(6, b"\4\0\0"), "ends early"),
        (packet(6, b"\4\0\0\0\0"), "ends early"),
        (packet(6, b""), "ends early"),
        (DATA[:-1], "ends early"),
    ],
)
def test_what_is_not_one_public_key_is_refused(data: bytes, says: str) -> None:
    """A trust packet would say to gpg that it has checked already; a private key is called one."""
    with pytest.raises(MalformedError, match=says):
        parse_key(data)


def test_a_key_may_have_names_and_pictures() -> None:
    """They are gpg's to read."""
    (found,) = parse_key(FIRST + NAME + packet(17, b"x") + packet(2, b"x"))
    body = FIRST[6:]
    digest = hashlib.sha1(b"\x99" + len(body).to_bytes(2) + body, usedforsecurity=False)
    assert found.fingerprint == PRIMARY == digest.hexdigest().upper()


def test_a_key_is_as_long_as_its_fingerprint_can_count() -> None:
    """Two bytes count it: the longest is read, one byte more is an error of ours and no other."""
    head = b"\x04" + bytes(4) + b"\x01"
    longest = b"\x9a" + MAX_KEY_BYTES.to_bytes(4) + head + bytes(MAX_KEY_BYTES - len(head))
    assert len(parse_key(longest)) == 1
    longer = b"\x9a" + (MAX_KEY_BYTES + 1).to_bytes(4) + head + bytes(MAX_KEY_BYTES + 1 - len(head))
    with pytest.raises(LimitError, match="key is too long"):
        parse_key(longer)


def test_packets_are_counted() -> None:
    """A block of 64 kB could hold 32,000."""
    assert len(parse_key(FIRST + packet(13, b"x") * 999)) == 1
    with pytest.raises(LimitError, match="too many OpenPGP packets"):
        parse_key(FIRST + packet(13, b"x") * 1000)


LINES = KEY.encode().split(b"\n")


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [LINES[0]],
        [LINES[0], LINES[-2]],
        LINES[1:],
        LINES[:-2],
        LINES[2:],
        [b"x", *LINES],
        [*LINES, b"x"],
        [*LINES, *LINES],
        [LINES[0], *LINES[2:]],
        [LINES[0], b"Comment", *LINES[1:]],
        [LINES[0], b"Comment:x", *LINES[1:]],
        [LINES[0], b"A b: c", *LINES[1:]],
        [LINES[0], b"Comment: \xff", *LINES[1:]],
        [LINES[0], b"Comment: " + b"x" * 201, *LINES[1:]],
        [LINES[0], *[b"Comment: x"] * 9, *LINES[1:]],
        [LINES[0], b"", *LINES[1:]],
        [LINES[0], b"", b"=BtxI", LINES[-2]],
        [LINES[0], b"", LINES[-2]],
        [*LINES[:-3], b"=AAAA", *LINES[-2:]],
        [*LINES[:-3], b"=BtxI=", *LINES[-2:]],
        [*LINES[:2], LINES[2] + LINES[3], *LINES[4:]],
        [*LINES[:2], LINES[2][:-1] + b" ", *LINES[3:]],
        [*LINES[:2], LINES[2][:-1] + b"\xff", *LINES[3:]],
        [*LINES[:-4], LINES[-4][:-1], *LINES[-3:]],
    ],
)
def test_what_is_not_one_block_is_refused(lines: list[bytes]) -> None:
    """Nothing around it, nothing in it but a header, base64 and a checksum that is right."""
    with pytest.raises(MalformedError):
        dearmored(b"\n".join(lines), PUBLIC_KEY)


def test_headers_are_read_over_and_the_checksum_may_be_missing() -> None:
    """As old and as new programs write it, with and without the last line's end, in lines of any length up to the limit."""
    for lines in (
        [LINES[0], *[b"Comment: x"] * 8, *LINES[1:]],
        [LINES[0], b"Version: GnuPG v2.0.22 (GNU/Linux)", *LINES[1:-1]],
        [*LINES[:-3], *LINES[-2:]],
        [*LINES[:2], LINES[2][:1], LINES[2][1:], *LINES[3:]],
    ):
        assert dearmored(b"\n".join(lines), PUBLIC_KEY) == DATA
    with pytest.raises(MalformedError):
        dearmored(KEY.encode(), SIGNATURE)


def test_the_checksum_is_the_standards() -> None:
    """CRC-24 of "123456789", as the catalogues of checksums have it, and of one byte."""
    for data, crc in ((b"123456789", "21CF02"), (b"", "B704CE")):
        assert f"={base64.b64encode(bytes.fromhex(crc)).decode()}\n" in armored(data, SIGNATURE)


@pytest.mark.parametrize("data", [b"\0\1\2", b"\0\x09\0\1", b"\0\1", b"\0"])
def test_an_integer_has_one_spelling(data: bytes) -> None:
    """As long as it says, to the bit."""
    with pytest.raises(MalformedError):
        PgpReader(data).integer()
    assert PgpReader(b"\0\x09\1\xff").integer() == b"\1\xff"
    assert PgpReader(b"\0\0").integer() == b""


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """No other exception, whatever stands there; and a block holds what was put into it."""
    for parse in (parse_key, lambda one: parse_signature(block(one))):
        with suppress(MalformedError, LimitError):
            parse(data)
    if data:
        assert dearmored(block(data), SIGNATURE) == data

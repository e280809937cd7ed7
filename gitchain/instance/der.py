"""Write DER (ITU-T X.690): just the types that a timestamp token and a certificate extension need.

Values go in, bytes come out; every length is definite and minimal, every SET OF is sorted, as DER demands.
It does NOT parse: foreign DER is read by libraries.
"""

from __future__ import annotations

from datetime import datetime

INTEGER = 0x02
OCTET_STRING = 0x04
OBJECT_IDENTIFIER = 0x06
UTF8_STRING = 0x0C
SEQUENCE = 0x30
SET = 0x31
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
FIRST_GENERALIZED_YEAR = 2050  # RFC 5652 section 11.3: UTCTime through 2049, GeneralizedTime after


def tlv(tag: int, content: bytes) -> bytes:
    """Return tag, definite length and content (X.690 section 8.1)."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def sequence(*parts: bytes) -> bytes:
    """Return a SEQUENCE of parts that are DER already."""
    return tlv(SEQUENCE, b"".join(parts))


def set_of(*parts: bytes, tag: int = SET) -> bytes:
    """Return a SET OF, sorted by encoding (X.690 section 11.6); `tag` serves implicit tagging."""
    return tlv(tag, b"".join(sorted(parts)))


def integer(value: int) -> bytes:
    """Return an INTEGER of a value that is not negative."""
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def octets(content: bytes) -> bytes:
    """Return an OCTET STRING."""
    return tlv(OCTET_STRING, content)


def utf8(text: str) -> bytes:
    """Return a UTF8String."""
    return tlv(UTF8_STRING, text.encode())


def explicit(number: int, content: bytes) -> bytes:
    """Return `content` under the explicit context tag `number`."""
    return tlv(0xA0 | number, content)


def oid(dotted: str) -> bytes:
    """Return an OBJECT IDENTIFIER from its dotted form (X.690 section 8.19)."""
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    return tlv(OBJECT_IDENTIFIER, b"".join(map(_arc, (first * 40 + second, *rest))))


def generalized_time(moment: datetime) -> bytes:
    """Return a GeneralizedTime in whole seconds of a UTC moment."""
    return tlv(GENERALIZED_TIME, moment.strftime("%Y%m%d%H%M%SZ").encode())


def time(moment: datetime) -> bytes:
    """Return a CMS Time: UTCTime through 2049, GeneralizedTime after (RFC 5652 section 11.3)."""
    if moment.year >= FIRST_GENERALIZED_YEAR:
        return generalized_time(moment)
    return tlv(UTC_TIME, moment.strftime("%y%m%d%H%M%SZ").encode())


def _arc(value: int) -> bytes:
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(0x80 | (value & 0x7F))
    return bytes(reversed(digits))

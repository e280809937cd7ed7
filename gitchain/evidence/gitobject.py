r"""Parse a Git commit or tag from its exact bytes: the signed bytes, the one signature, and the object it points to.

    tree <id>\nparent <id>\nauthor …\ncommitter …\ngpgsig -----BEGIN …\n <more of it>\n\n<message>
    object <id>\ntype commit\ntag <name>\ntagger …\n\n<message>-----BEGIN …

The signed bytes are the object without its signature, never an object that was written again. What two readers could
read in two ways is refused: a header twice or out of order, a NUL, a carriage return in a header, several signatures,
text behind a signature. So is a signature over the object's other form (`gpgsig-sha256` in a SHA-1 repository).

Format: https://git-scm.com/docs/signature-format. Does NOT verify anything: `gitchain.verify.gitsigned` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from gitchain.errors import LimitError, MalformedError
from gitchain.evidence.digest import Sha256, sha256_hex
from gitchain.evidence.fields import decode_base64

Kind = Literal["commit", "tag"]
Form = Literal["ssh", "x509", "openpgp"]

MAX_OBJECT_BYTES = 1024 * 1024
"""Largest commit or tag that is read: a message of a million characters is no message."""

MAX_SIGNATURE_BYTES = 64 * 1024
"""Largest signature: with certificate, log entry and timestamp one has 6 kB."""

MAX_LINE = 76
"""Longest line of base64 in a block (RFC 7468 section 2): Git's own programs write 64 or 70 characters."""

_FORMS: dict[bytes, Form] = {
    b"SSH SIGNATURE": "ssh",
    b"SIGNED MESSAGE": "x509",
    b"PGP SIGNATURE": "openpgp",
    b"PGP MESSAGE": "openpgp",
}
_BEGIN = re.compile(
    rb"^-----BEGIN (SSH SIGNATURE|SIGNED MESSAGE|PGP SIGNATURE|PGP MESSAGE)-----", re.MULTILINE
)
_HEADER = re.compile(rb"([!-~]+) ([^\n]*)")
_OID = re.compile(rb"[0-9a-f]{40}|[0-9a-f]{64}")
_SIGNATURES = {b"gpgsig": 40, b"gpgsig-sha256": 64}
"""The header that signs an object, by the length of the ids in it."""

_COMMIT = (b"tree", b"parent", b"author", b"committer")
_TAG = (b"object", b"type", b"tag", b"tagger")
_SINGLE = frozenset({*_COMMIT, *_TAG, *_SIGNATURES, b"encoding"}) - {b"parent"}


@dataclass(frozen=True, slots=True)
class GitSignature:
    """One signature as the object holds it: its form, and its lines without the header's indent."""

    form: Form
    armored: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class GitObject:
    """A commit or an annotated tag. Make it with parse().

    `points_at` is the tree of a commit, the object of a tag; `name` and `target` (the kind of that object) are a tag's.
    """

    kind: Kind
    oid: str
    sha256: Sha256
    points_at: str
    payload: bytes = field(repr=False)
    signature: GitSignature | None
    name: str = ""
    target: str = "tree"

    @classmethod
    def parse(cls, kind: str, oid: str, raw: bytes) -> GitObject:
        """Return the parsed object. The caller has checked the bytes against `oid`.

        Raises MalformedError for anything that Git does not write itself, LimitError beyond the limits above.
        """
        if kind not in {"commit", "tag"}:
            raise MalformedError("not a commit or an annotated tag", where=oid, got=ascii(kind[:40]))
        if len(raw) > MAX_OBJECT_BYTES:
            raise LimitError(
                "Git object is too large",
                where=oid,
                expected=f"at most {MAX_OBJECT_BYTES}",
                got=str(len(raw)),
            )
        try:
            return _commit(oid, raw) if kind == "commit" else _tag(oid, raw)
        except MalformedError as error:
            error.where = f"{kind} {oid[:12]}{f', {error.where}' if error.where else ''}"
            raise

    @property
    def message(self) -> bytes:
        """Return the message, without a signature."""
        return self.payload.partition(b"\n\n")[2]


@dataclass(frozen=True, slots=True)
class _Header:
    """One header with its continuation lines; `start` and `end` are its offsets in the object."""

    name: bytes
    value: bytes
    start: int
    end: int


def _commit(oid: str, raw: bytes) -> GitObject:
    headers, _ = _headers(raw)
    _check_order(headers, _COMMIT, required=(b"tree", b"author", b"committer"))
    signature = _header_signature(oid, headers)
    payload = raw if signature is None else raw[: signature.start] + raw[signature.end :]
    signed = None if signature is None else _armor(signature.value)
    return GitObject("commit", oid, sha256_hex(raw), _oid(oid, headers[0]), payload, signed)


def _tag(oid: str, raw: bytes) -> GitObject:
    headers, head_size = _headers(raw)
    _check_order(headers, _TAG, required=(b"object", b"type", b"tag"))
    if any(one.name in _SIGNATURES for one in headers):
        raise MalformedError("a tag's signature is in a header", expected="at the end of its message")
    found = [one.start() for one in _BEGIN.finditer(raw, head_size)]
    if len(found) > 1:
        raise MalformedError("several signatures", expected="1", got=str(len(found)))
    end = found[0] if found else len(raw)
    signed = _armor(raw[end:].removesuffix(b"\n")) if found else None
    values = {one.name: one.value for one in headers}
    name, target = _text(values[b"tag"], "tag"), _text(values[b"type"], "type")
    return GitObject("tag", oid, sha256_hex(raw), _oid(oid, headers[0]), raw[:end], signed, name, target)


def _headers(raw: bytes) -> tuple[Sequence[_Header], int]:
    """Return the headers, and where they end."""
    if b"\0" in raw:
        raise MalformedError("a NUL byte", got=f"byte {raw.index(0)}")
    head, blank, _ = raw.partition(b"\n\n")
    if not blank:
        raise MalformedError("headers do not end", expected="an empty line")
    if b"\r" in head:
        raise MalformedError("a carriage return in the headers")
    return tuple(_split(head + b"\n")), len(head)


def _split(text: bytes) -> Iterator[_Header]:
    at = 0
    lines = text.splitlines(keepends=True)
    while lines:
        match = _HEADER.fullmatch(lines[0].removesuffix(b"\n"))
        if match is None:
            raise MalformedError("header is malformed", got=ascii(lines[0][:60]))
        count = next((n for n, line in enumerate(lines[1:], 1) if not line.startswith(b" ")), len(lines))
        more = b"".join(b"\n" + line[1:].removesuffix(b"\n") for line in lines[1:count])
        size = sum(map(len, lines[:count]))
        yield _Header(match[1], match[2] + more, at, at + size)
        at, lines = at + size, lines[count:]


def _check_order(headers: Sequence[_Header], known: tuple[bytes, ...], required: tuple[bytes, ...]) -> None:
    """Check that required headers come first and in order, and that only repeatable ones repeat."""
    names = [one.name for one in headers]
    for name in names:
        if name in _SINGLE and names.count(name) > 1:
            raise MalformedError("header occurs twice", where=name.decode())
    first = [name for name in names if name in known]
    if first != names[: len(first)] or first != sorted(first, key=known.index):
        raise MalformedError("headers are out of order", expected=b", ".join(known).decode())
    missing = [name for name in required if name not in names]
    if missing:
        raise MalformedError("header is missing", where=missing[0].decode())
    for one in headers:
        if one.name in known and b"\n" in one.value:
            raise MalformedError("header has several lines", where=one.name.decode())


def _header_signature(oid: str, headers: Sequence[_Header]) -> _Header | None:
    """Return the one header that signs this form of the commit, None if there is no signature."""
    found = [one for one in headers if one.name in _SIGNATURES]
    if len(found) > 1:
        raise MalformedError("several signatures", expected="1", got=str(len(found)))
    if found and _SIGNATURES[found[0].name] != len(oid):
        raise MalformedError("signature is over another form of the commit", got=found[0].name.decode())
    return found[0] if found else None


def _armor(text: bytes) -> GitSignature:
    """Return the signature that is exactly this block."""
    if len(text) > MAX_SIGNATURE_BYTES:
        raise LimitError(
            "signature is too large", expected=f"at most {MAX_SIGNATURE_BYTES}", got=str(len(text))
        )
    begin = _BEGIN.match(text)
    if begin is None:
        raise MalformedError(
            "signature is of an unknown form", expected="SSH, CMS or OpenPGP", got=ascii(text[:40])
        )
    label = begin[1]
    head, end = b"-----BEGIN " + label + b"-----\n", b"\n-----END " + label + b"-----"
    whole = text.startswith(head) and text.endswith(end)
    if not whole or text.count(b"-----BEGIN ") != 1 or text.count(b"-----END ") != 1:
        raise MalformedError("signature is not one block", expected=end.decode().strip())
    if b"\r" in text:
        raise MalformedError("a carriage return in the signature")
    return GitSignature(_FORMS[label], text + b"\n")


def _oid(own: str, header: _Header) -> str:
    if _OID.fullmatch(header.value) is None or len(header.value) != len(own):
        raise MalformedError(
            "object id is malformed", where=header.name.decode(), got=ascii(header.value[:80])
        )
    return header.value.decode()


def _text(value: bytes, where: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError("header is not UTF-8", where=where, got=ascii(value[:60])) from error


def unarmored(signature: GitSignature) -> bytes:
    """Return the bytes in the block, whose lines are base64 and nothing else. Raises MalformedError for other lines.

    OpenPGP has its own armor, with headers and a checksum: its blocks are for `gpg` to read.
    """
    lines = signature.armored.split(b"\n")[1:-2]
    if any(not 0 < len(line) <= MAX_LINE for line in lines):
        raise MalformedError("signature has an empty or a long line", expected=f"1 to {MAX_LINE} characters")
    return decode_base64(b"".join(lines).decode("latin-1"), "signature")


def with_signature(kind: str, payload: bytes, armored: bytes) -> bytes:
    """Return the commit or tag that this signature of these bytes makes, as Git writes it."""
    if kind == "tag":
        return payload + armored
    head, _, message = payload.partition(b"\n\n")
    size = len(head.partition(b"\n")[0].partition(b" ")[2])
    name = next((name for name, length in _SIGNATURES.items() if length == size), b"gpgsig")
    return head + b"\n" + name + b" " + armored.rstrip().replace(b"\n", b"\n ") + b"\n\n" + message
